"""The Japanese test from question to result, of our models and of those in Ollama: what is judged, kept and gone on with."""

import json
import threading

import pytest
from canary import CANARY, make_run
from japanese_papers import (
    ANSWERS,
    PLAIN_TEMPLATE,
    PROMPTS,
    asked,
    found_in,
    in_format,
    put,
    report_of,
    results_of,
    right,
    serve,
    test_of,
)
from made import StopsAfter
from ollama_answers import TOKEN_NANOSECONDS

from so8t_engine import config
from so8t_engine import events as e
from so8t_engine.errors import BadInput, Busy, EngineError
from so8t_engine.export import japanese_test as stage
from so8t_engine.export.japanese_prompts import Paper
from so8t_engine.voice import named

SOME = ("understanding-4", "generation-3", "reasoning-1", "dialogue-8", "terms-9")


@pytest.fixture
def few(monkeypatch):
    """Five questions, one a category."""
    monkeypatch.setattr(stage, "paper", lambda: Paper(tuple(PROMPTS[id] for id in SOME), "few"))


@pytest.fixture
def place(tmp_path):
    """Starts stand-ins: place(answer, ...) gives (server, settings)."""
    servers = []

    def start(answer=lambda rendered: in_format(right(rendered)), **more):
        servers.append(serve(tmp_path / f"store{len(servers)}", answer, **more))
        return servers[-1], settings_at(servers[-1])

    yield start
    for server in servers:
        server.stop()


def settings_at(server):
    return config.from_values({"ollama.address": server.address, "seed": 7})


def fault_of(settings, model, folder, **more) -> EngineError:
    with pytest.raises(EngineError) as caught:
        test_of(settings, model, folder, **more)
    for language in ("en", "ja"):
        assert caught.value.what(language) and caught.value.hint(language)
    return caught.value


def forms(folder):
    return results_of(folder)["forms"]


# What is judged


def test_a_model_that_answers_all_rightly_passes_all(place, tmp_path):
    server, settings = place()
    events = test_of(settings, "so8t", tmp_path / "out")
    opened, *checked, done = events
    assert (opened.model, opened.prompts, opened.resumed) == ("ollama:so8t:latest", len(PROMPTS), False)
    assert [event.prompt for event in checked] == list(PROMPTS) and checked[-1].done == checked[-1].total == len(
        PROMPTS
    )
    assert all(event.passed == event.checks > 1 for event in checked)
    assert done.score == 1.0 and done.categories == dict.fromkeys(done.categories, 1.0) and len(done.categories) == 5
    assert done.tokens_per_second == pytest.approx(1e9 / TOKEN_NANOSECONDS) and done.unmeasured == 0
    results = results_of(tmp_path / "out")
    assert results["forms"] == {"final": len(PROMPTS), "plain": 0, "none": 0} and results["comparison"] is None
    assert [one["answer"] for one in results["answers"]] == [ANSWERS[id]["right"].strip() for id in PROMPTS]
    assert all(one["seconds"] > 0 and one["pace"][0] == one["tokens"] > 0 for one in results["answers"])
    assert (
        results["model"]["weights"]
        == dict((row["name"], row["digest"]) for row in server.store.listed())["so8t:latest"]
    )
    chats = [body for _, path, body in server.asked if path == "/api/chat"]
    for body in chats:
        assert body["think"] is False
        assert body["options"] == {
            "temperature": 0,
            "seed": 7,
            "num_predict": 512,
            "num_ctx": 4096,
            "repeat_penalty": 1.0,
        }
    assert len(chats) == len(PROMPTS)


def test_a_thought_is_never_an_answer_and_turns_up_nowhere(few, place, tmp_path):
    """Right answers stand in the thinking, or in front of tags that are not whole: none of them counts."""
    broken = {
        "understanding-4": lambda text: in_format("わかりません。", text + CANARY),
        "generation-3": lambda text: f"<think-task>{text}{CANARY}",
        "reasoning-1": lambda text: f"{text}{CANARY}<final>分類結果: ALLOW\n回答: {text}</final>",
        "dialogue-8": lambda text: f"{text}{CANARY}</think-policy>",
        "terms-9": lambda text: text + CANARY,
    }
    server, settings = place(lambda rendered: broken[asked(rendered).id](right(rendered)))
    events = test_of(settings, "so8t", tmp_path / "out")
    assert forms(tmp_path / "out") == {"final": 1, "plain": 0, "none": 4}
    assert sum(event.passed for event in events[1:-1]) == events[1].passed < events[1].checks
    assert found_in(tmp_path / "out", events, CANARY) == []
    put(server, PLAIN_TEMPLATE, b"GGUF other", "other")
    events = test_of(settings, "other", tmp_path / "other")
    assert forms(tmp_path / "other") == {"final": 1, "plain": 1, "none": 3}  # nothing like a tag stands in the last one
    assert found_in(tmp_path / "other", events, CANARY) == []


def test_plain_text_of_another_model_is_judged_and_not_kept(few, place, tmp_path):
    _, settings = place(lambda rendered: right(rendered), template=PLAIN_TEMPLATE)
    events = test_of(settings, "so8t", tmp_path / "out")
    assert events[-1].score == 1.0 and forms(tmp_path / "out") == {"final": 0, "plain": len(SOME), "none": 0}
    for id in ("understanding-4", "terms-9"):
        mark = ANSWERS[id]["right"][-12:]
        assert (
            found_in(tmp_path / "out", events, mark) == [] == found_in(tmp_path / "out", events, json.dumps(mark)[1:-1])
        )
    assert "本文は保存していません" in report_of(tmp_path / "out")


def test_a_class_that_is_not_allow_has_refused_whatever_it_says(few, place, tmp_path):
    _, settings = place(lambda rendered: in_format(right(rendered)).replace("ALLOW", "DENY"))
    events = test_of(settings, "so8t", tmp_path / "out")
    assert events[-1].score == 0.0 and results_of(tmp_path / "out")["refused"] == len(SOME)


def test_a_run_is_held_to_the_format_and_thinks_in_secret(few, learned, tmp_path):
    run = make_run(tmp_path / "runs", learned, **{"data.system_prompt": "考えてください。"})
    settings = config.from_values(
        {"base_model": str(learned), "runs": str(tmp_path / "runs"), "evaluate.max_tokens": 96}
    )
    events = test_of(settings, named("retrained", tmp_path / "runs", settings), tmp_path / "out")
    results = results_of(tmp_path / "out")
    assert results["model"]["plain"] is False and results["model"]["system"] and events[0].model == "run:retrained"
    assert results["forms"]["plain"] == 0 and events[-1].score == 0.0
    assert any(one["label"] == "ESCALATION" and one["reason"] for one in results["answers"])
    (file,) = (tmp_path / "out").glob("*.md")
    assert file.name.endswith(f"_{run.id}_japanese_llm_performance_test_learned_model.md")
    assert found_in(tmp_path / "out", events, CANARY) == []
    speed = results["speed"]
    assert speed["tokens_per_second"] > 0 and speed["seconds"]["count"] == len(SOME)
    assert all(one["seconds"] >= one["pace"][1] > 0 for one in results["answers"])


def test_the_original_is_asked_without_a_system_text_and_may_write_plainly(few, tiny_model, tmp_path):
    values = {"base_model": str(tiny_model), "evaluate.max_tokens": 8, "data.system_prompt": "考えてください。"}
    settings = config.from_values(values)
    voice = named("original", tmp_path, settings)
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        test_of(settings, voice, folder)
    first, second = map(results_of, folders)
    assert (first["model"]["plain"], first["model"]["system"], first["model"]["kind"]) == (True, False, "ours")
    assert all(one["tokens"] == 8 and one["ended"] == "length" for one in first["answers"])
    passed = [[one["checks"] for one in results["answers"]] for results in (first, second)]
    assert passed[0] == passed[1] and first["forms"] == second["forms"]
    assert list(folders[0].glob("*_original_japanese_llm_performance_test_tiny_model*.json"))


# What goes wrong, and how it goes on


def test_an_error_of_ollama_is_not_measured_and_no_part_of_the_score(few, place, tmp_path):
    server, settings = place()

    def seen(event):
        done = getattr(event, "done", 0)
        server.faults.chat_error = f"tool call parse error: {CANARY}" if done == 1 else ""

    events = test_of(settings, "so8t", tmp_path / "out", seen)
    assert [event.checks > 0 for event in events[1:-1]] == [True, False, True, True, True]
    assert (events[-1].score, events[-1].unmeasured) == (1.0, 1) and "generation" not in events[-1].categories
    results = results_of(tmp_path / "out")
    assert results["categories"]["generation"] == {
        "value": None, "passed": 0, "checks": 0, "prompts": 0, "whole": 0, "unmeasured": 1
    }  # fmt: skip
    assert results["answers"][1]["unmeasured"] == {"code": "ollama.broken", "facts": {"reason": "error"}}
    assert found_in(tmp_path / "out", events, CANARY) == []
    assert "| 生成 | — |" in report_of(tmp_path / "out") and "未測定: Ollama" in report_of(tmp_path / "out")


def test_when_nothing_could_be_measured_nothing_is_claimed(few, place, tmp_path):
    server, settings = place()
    server.faults.chat_error = "model runner has unexpectedly stopped"
    assert fault_of(settings, "so8t", tmp_path / "out").code == "ollama.broken"
    assert not list((tmp_path / "out").glob("*.md"))
    server.faults.chat_error = ""
    assert test_of(settings, "so8t", tmp_path / "out")[-1].score == 1.0


def test_ollama_gone_in_the_middle_keeps_the_answers_and_goes_on(few, place, tmp_path):
    server, settings = place()

    def seen(event):
        if getattr(event, "done", 0) == 3:
            server.stop()

    assert fault_of(settings, "so8t", tmp_path / "out", seen=seen).code == "ollama.silent"
    with (tmp_path / "out" / "answers.jsonl").open("ab") as file:
        file.write(b'{"prompt": "terms-9", "passed": [tr')  # the power failed as well
    again, settings = place()
    events = test_of(settings, "so8t", tmp_path / "out")
    assert events[0].resumed and [event.done for event in events[1:-1]] == [1, 2, 3, 4, 5] and events[-1].score == 1.0
    assert again.paths().count("POST /api/chat") == 2
    test_of(settings, "so8t", tmp_path / "whole")
    told = [
        [{key: value for key, value in one.items() if key != "seconds"} for one in results_of(folder)["answers"]]
        for folder in (tmp_path / "out", tmp_path / "whole")
    ]
    assert told[0] == told[1]


def test_ollama_gone_in_an_answer_is_no_answer_that_could_not_be_measured(few, place, tmp_path):
    calls = []

    def answer(rendered):
        calls.append(rendered)
        if len(calls) == 3:
            server.faults.chat_error = "llama runner process has terminated"
            server.stop()
        return in_format(right(rendered))

    server, settings = place(answer)
    assert fault_of(settings, "so8t", tmp_path / "out").code == "ollama.silent"
    kept = (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prompt"] for line in kept] == list(SOME[:2])


@pytest.mark.parametrize("moment", ["between two answers", "in an answer"])
def test_a_stop_keeps_what_was_answered_and_writes_no_results(few, place, tmp_path, moment):
    server, settings = place()
    cancel = threading.Event()

    def seen(event):
        if getattr(event, "done", 0) == 2:
            if moment == "in an answer":
                server.faults.chat_gate = threading.Event()
                threading.Timer(0.2, cancel.set).start()
            else:
                cancel.set()

    events = test_of(settings, "so8t", tmp_path / "out", seen, cancel)
    assert len(events) == 3 and not list((tmp_path / "out").glob("*_japanese_*"))
    server.faults.chat_gate = None
    assert test_of(settings, "so8t", tmp_path / "out")[-1].score == 1.0


def test_a_stop_ends_an_answer_of_ours_at_its_next_token(few, tiny_model, tmp_path):
    settings = config.from_values({"base_model": str(tiny_model), "evaluate.max_tokens": 4000})
    cancel = StopsAfter(8)
    assert len(test_of(settings, named("original", tmp_path, settings), tmp_path / "out", cancel=cancel)) == 1


def test_another_model_never_mixes_in(few, place, tmp_path):
    server, settings = place()
    put(server, weights=b"GGUF other", name="other")
    cancel = threading.Event()
    test_of(
        settings,
        "so8t",
        tmp_path / "out",
        lambda event: cancel.set() if getattr(event, "done", 0) == 2 else None,
        cancel,
    )
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    fault = fault_of(settings, "other", tmp_path / "out")
    assert (fault.code, fault.facts) == ("japanese.other_plan", {"names": "model"})
    longer = config.from_values({"ollama.address": server.address, "seed": 7, "evaluate.max_tokens": 9})
    assert fault_of(longer, "so8t", tmp_path / "out").facts == {"names": "settings"}
    put(server, weights=b"GGUF pushed again")
    assert fault_of(settings, "so8t", tmp_path / "out").code == "japanese.other_weights"
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before


def test_a_model_that_is_replaced_while_it_is_tested_gets_no_results(few, place, tmp_path):
    server, settings = place()

    def seen(event):
        if getattr(event, "done", 0) == 3:
            put(server, weights=b"GGUF pushed again")

    assert fault_of(settings, "so8t", tmp_path / "out", seen=seen).code == "japanese.weights_changed"
    assert not list((tmp_path / "out").glob("*_japanese_*"))


def test_a_folder_of_something_else_or_of_a_finished_test_is_left_alone(few, place, tmp_path):
    _, settings = place()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    fault = fault_of(settings, "so8t", tmp_path / "mine")
    assert fault.code == "japanese.folder_taken" and isinstance(fault, BadInput)
    test_of(settings, "so8t", tmp_path / "out")
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert fault_of(settings, "so8t", tmp_path / "out").code == "japanese.finished"
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_two_tests_in_one_folder_do_not_meet(few, place, tmp_path):
    _, settings = place()

    def seen(event):
        if getattr(event, "done", 0) == 1:
            with pytest.raises(Busy):
                test_of(settings, "so8t", tmp_path / "out")

    assert test_of(settings, "so8t", tmp_path / "out", seen)[-1].score == 1.0


def test_a_model_that_ollama_lacks_is_named_with_those_that_it_has(few, place, tmp_path):
    server, settings = place()
    fault = fault_of(settings, "borea", tmp_path / "out")
    assert (fault.code, fault.facts) == ("japanese.no_such_model", {"name": "borea", "known": "so8t:latest"})
    assert not (tmp_path / "out").exists()
    server.stop()
    assert fault_of(settings, "so8t", tmp_path / "out").code == "ollama.silent"


def test_a_full_disk_is_told(few, place, tmp_path, monkeypatch):
    _, settings = place()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("so8t_engine.export.japanese_place.append_lines", full)
    fault = fault_of(settings, "so8t", tmp_path / "out")
    assert (fault.code, fault.facts) == ("japanese.unwritten", {"reason": "No space left on device"})


def test_the_engine_shows_the_test_as_it_goes(few, place, tmp_path):
    from so8t_engine import Engine, commands

    _, settings = place()
    engine = Engine(tmp_path / "runs")
    settings = config.from_values(config.to_values(settings) | {"runs": str(tmp_path / "runs")})
    engine.submit(commands.RunJapaneseTest(settings=settings, model="ollama:so8t"))
    engine.wait()
    seen = engine.snapshot()
    assert seen.state == "finished" and len(seen.japanese_checked) == len(SOME) and seen.japanese_finished.score == 1.0
    assert not any(isinstance(event, e.JapaneseAnswerChecked) for event in seen.log)
    (folder,) = (tmp_path / "runs").glob("japanese_test-*")
    assert seen.japanese.folder == str(folder)
