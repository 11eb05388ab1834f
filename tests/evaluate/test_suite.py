"""The whole evaluation on a model that has learned one answer by heart: figures, files, going on, and what may not leak."""

import json
import shutil
import threading
from collections import Counter

import pytest
import torch
from canary import CANARY, SHOWN, make_run
from made import StopsAfter, row, write_rows
from sklearn.metrics import accuracy_score, f1_score

from so8t_engine import BadInput, EngineError, config, evaluations
from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES
from so8t_engine.data.template import Template
from so8t_engine.evaluate import modes, plan, suite
from so8t_engine.evaluate.suite import evaluate
from so8t_engine.model import answers
from so8t_engine.model import score as scoring
from so8t_engine.model.cache import empty
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.voices import BASE, Voices
from so8t_engine.voice import named


@pytest.fixture(scope="module")
def asked(learned, tmp_path_factory):
    """(settings, file): forty rows without an answer, ten a class, in both languages."""
    folder = tmp_path_factory.mktemp("asked")
    rows = [row(i, CLASSES[i % 4], domain_label="a" if i % 3 else "b") | {"output": ""} for i in range(40)]
    values = {"base_model": str(learned), "runs": str(folder / "runs"), "evaluate.max_tokens": 200}
    return config.from_values(values), write_rows(folder / "test.jsonl", rows)


def changed(settings, **values):
    """The settings with other values: evaluate__limit=10."""
    flat = {name.replace("__", "."): value for name, value in values.items()}
    return config.from_values(config.to_values(settings) | flat)


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    """(events, folder): measured in both ways, in one piece. Nobody may change the folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(*asked, folder), folder


@pytest.fixture(scope="module")
def scored_once(asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    run(*asked, folder, ("scored",))
    return folder


@pytest.fixture
def scored(scored_once, tmp_path):
    """The folder of an evaluation that was scored alone; a test may change it."""
    return shutil.copytree(scored_once, tmp_path / "out")


def run(settings, file, folder, wanted=("scored", "generated"), model="original", cancel=None):
    voice = named(model, settings.resolve(settings.runs), settings)
    return list(evaluate(settings, voice, folder, wanted, str(file), cancel or threading.Event()))


def test_figures_are_those_of_the_cases_and_those_of_scikit_learn(whole):
    told, folder = whole
    found = evaluations.read(folder)
    cases = found.cases()
    assert len(cases) == 40 and {case["expected"] for case in cases} == set(CLASSES)
    assert isinstance(told[-1], e.EvaluationFinished) and isinstance(told[0], e.EvaluationOpened)
    for mode in ("scored", "generated"):
        expected, given = [c["expected"] for c in cases], [c[mode]["given"] for c in cases]
        summary = found.results["modes"][mode]["summary"]
        assert summary["accuracy"]["value"] == pytest.approx(accuracy_score(expected, given), abs=1e-12)
        labels = sorted({*expected, *given} & set(CLASSES))
        wanted = f1_score(expected, given, labels=labels, average="macro", zero_division=0)
        assert summary["macro_f1"]["value"] == pytest.approx(wanted, abs=1e-12)
        event = next(one for one in told if isinstance(one, e.ModeEvaluated) and one.mode == mode)
        assert event.accuracy[0] == summary["accuracy"]["value"] and event.rows == 40
        groups = found.results["modes"][mode]["by_domain"]
        assert {name: group["rows"] for name, group in groups.items()} == Counter(c["domain"] for c in cases)
    assert all(abs(sum(c["scored"]["probabilities"].values()) - 1) < 1e-9 for c in cases)


def test_a_learned_answer_is_parsed_to_its_class_confidence_and_form(asked, whole):
    settings, _ = asked
    found = evaluations.read(whole[1])
    part = found.results["modes"]["generated"]
    whole = [case for case in found.cases() if case["generated"]["format"] == "whole"]
    assert len(whole) >= 30, "the model knows its answer by heart"
    assert {(c["generated"]["given"], c["generated"]["confidence"]) for c in whole} == {(SHOWN.label, SHOWN.confidence)}
    assert all(SHOWN.reason in c["generated"]["final"] for c in whole)
    assert part["format"]["counts"]["whole"] == len(whole)
    assert part["format"]["whole"]["value"] == len(whole) / 40
    assert part["latency"]["alone"]["answers"] == suite.ALONE
    assert part["latency"]["batched"]["batch_size"] == settings.evaluate.batch_size


def test_no_thought_leaves_the_process(asked, whole, tmp_path, capfd):
    settings, file = asked
    told = run(changed(settings, evaluate__limit=8), file, tmp_path / "out")
    assert CANARY not in "".join(capfd.readouterr())
    for events, folder in ((told, tmp_path / "out"), whole):
        assert not any(CANARY in event.to_json() for event in events)
        for path in folder.rglob("*"):
            if path.is_file():
                assert CANARY.encode() not in path.read_bytes(), path


def test_scored_decisions_are_those_of_reading_every_whole_answer(asked, scored):
    settings, _ = asked
    found = evaluations.read(scored)
    assert "generated" not in found.results["modes"], "what was not measured is absent"
    voices = Voices(settings.resolve(settings.base_model), settings.model)
    branches = scoring.Branches.of(voices.template)
    for case in found.cases()[::8]:
        prompt = voices.template.prompt_ids(case["prompt"])
        sums = []
        for suffix in branches.suffixes:
            ids = torch.tensor([[*prompt, *branches.prefix, *suffix]])
            places = torch.arange(ids.shape[1])[None]
            with torch.inference_mode():
                logits = voices.forward(ids, places, None, empty(), [BASE], ids.shape[1])[0].log_softmax(-1)
            start = len(prompt) + len(branches.prefix)
            sums.append(sum(logits[start - 1 + i, token].item() for i, token in enumerate(suffix)))
        wanted = torch.tensor(sums).softmax(0).tolist()
        assert list(case["scored"]["probabilities"].values()) == pytest.approx(wanted, abs=1e-4)


def test_a_stopped_evaluation_goes_on_and_ends_like_one_in_a_piece(asked, whole, tmp_path, monkeypatch):
    settings, file = asked
    monkeypatch.setattr(modes, "TOLD_SECONDS", 0.0)
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 64)
    out, tries = tmp_path / "pieces", 0
    while not (out / "evaluation_results.json").exists():
        told = run(settings, file, out, cancel=StopsAfter(30 * 2**tries))
        assert told[0].resumed == (tries > 0)
        if tries == 1:  # the plug was pulled while a line was being written
            journal = out / "scored.jsonl"
            journal.write_bytes(journal.read_bytes()[:-9])
        tries += 1
    assert tries > 3
    piece, pieces = evaluations.read(whole[1]), evaluations.read(out)
    for mode in ("scored", "generated"):
        assert pieces.results["modes"][mode]["summary"] == piece.results["modes"][mode]["summary"]
    for one, other in zip(piece.cases(), pieces.cases(), strict=True):
        assert one["generated"]["final"] == other["generated"]["final"]


def test_a_folder_takes_no_second_question(asked, scored, tmp_path):
    settings, file = asked

    def refused(code, settings, folder, wanted=("scored",)):
        with pytest.raises(BadInput) as found:
            run(settings, file, folder, wanted)
        assert found.value.code == code
        return str(found.value)

    refused("evaluate.finished", settings, scored)
    (scored / "evaluation_results.json").unlink()
    assert "modes" in refused("evaluate.other_plan", settings, scored, ("generated",))
    refused("evaluate.other_plan", changed(settings, evaluate__limit=10), scored)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    refused("evaluate.folder_taken", settings, tmp_path / "mine", ("scored", "generated"))


def test_other_weights_do_not_go_on_with_it(asked, scored, learned):
    settings, file = asked
    (scored / "evaluation_results.json").unlink()
    text = (learned / "config.json").read_bytes()
    (learned / "config.json").write_bytes(text + b" ")  # another file, as far as a hash can tell
    try:
        with pytest.raises(BadInput) as refused:
            run(settings, file, scored, ("scored",))
    finally:
        (learned / "config.json").write_bytes(text)
    assert refused.value.code == "evaluate.other_weights"


def test_full_memory_halves_the_batches_and_loses_no_row(asked, scored_once, tmp_path, monkeypatch):
    settings, file = asked
    scored = scoring._scored

    def small(voices, voice, batch, branches):
        if len(batch) > 3:
            raise torch.OutOfMemoryError("full")
        return scored(voices, voice, batch, branches)

    monkeypatch.setattr(scoring, "_scored", small)
    run(settings, file, tmp_path / "tight", ("scored",))
    one, other = (evaluations.read(folder) for folder in (scored_once, tmp_path / "tight"))
    assert one.results["modes"]["scored"]["summary"] == other.results["modes"]["scored"]["summary"]

    monkeypatch.setattr(scoring, "_scored", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(EngineError) as failed:
        run(settings, file, tmp_path / "none", ("generated", "scored"))
    assert failed.value.code == "evaluate.out_of_memory"
    assert len(evaluations.lines(tmp_path / "none" / "generated.jsonl")) == 40, "what was measured is kept"


def test_a_full_disk_is_named_and_what_was_measured_stays(asked, tmp_path, monkeypatch):
    settings, file = asked

    whole = plan.write_whole

    def full(path, data):
        if path.name == "evaluation_results.json":
            raise OSError(28, "No space left on device")
        whole(path, data)

    monkeypatch.setattr(plan, "write_whole", full)
    with pytest.raises(EngineError) as failed:
        run(settings, file, tmp_path / "out", ("scored",))
    assert failed.value.code == "evaluate.unwritten" and "No space" in str(failed.value)
    monkeypatch.undo()
    told = run(settings, file, tmp_path / "out", ("scored",))
    assert told[0].resumed and isinstance(told[-1], e.EvaluationFinished)


def test_a_broken_model_is_named_before_any_folder_is_made(asked, tmp_path, learned):
    settings, file = asked
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in learned.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    shard = broken / "model.safetensors"

    def refused(code):
        with pytest.raises(BadInput) as found:
            run(settings, file, tmp_path / "out", model=str(broken))
        assert found.value.code == code and not (tmp_path / "out").exists()

    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    refused("model.bad_shard")
    shard.unlink()
    refused("model.file_missing")
    shard.write_bytes(whole)
    text = (broken / "config.json").read_text(encoding="utf-8").replace("Phi3ForCausalLM", "GPT2LMHeadModel")
    (broken / "config.json").write_text(text, encoding="utf-8")
    refused("model.wrong_architecture")
    with pytest.raises(BadInput) as found:
        run(settings, file, tmp_path / "out", model="nobody")
    assert found.value.code == "voice.unknown"


def test_too_long_prompts_are_left_out_and_counted(asked, tmp_path):
    settings, _ = asked
    long = {"instruction": "long " * 6000, "four_class_label": "DENY"}
    file = write_rows(tmp_path / "long.jsonl", [row(1, "ALLOW"), long])
    run(settings, file, tmp_path / "out", ("scored",))
    data = evaluations.read(tmp_path / "out").results["data"]
    assert (data["rows"], data["too_long"]) == (1, 1)
    write_rows(file, [long])
    with pytest.raises(BadInput) as refused:
        run(settings, file, tmp_path / "none", ("scored",))
    assert refused.value.code == "evaluate.all_too_long"


def test_two_evaluations_are_compared_on_the_rows_that_both_have_measured(asked, scored_once, tmp_path, learned):
    settings, file = asked
    settings = changed(settings, runs=str(tmp_path / "runs"))
    root = settings.resolve(settings.runs)
    adapted = make_run(root, learned, **{"so8t.alpha": 400})
    adapted.split_file.write_text(json.dumps({"train": [], "validation": [], "test": []}), encoding="utf-8")
    half = write_rows(tmp_path / "half.jsonl", [json.loads(line) for line in file.read_text("utf-8").splitlines()[:25]])
    run(settings, half, tmp_path / "b", ("scored",), model=adapted.id)
    first, second = evaluations.read(scored_once), evaluations.read(tmp_path / "b")
    found = first.compared(second, "scored")
    left = {c["hash"]: c for c in first.cases()}
    pairs = [(left[c["hash"]], c) for c in second.cases()]
    hits = Counter((a["scored"]["given"] == a["expected"], b["scored"]["given"] == b["expected"]) for a, b in pairs)
    assert found.rows == 25 == found.both + found.neither + found.only_first + found.only_second
    assert (found.only_first, found.only_second) == (hits[True, False], hits[False, True])
    assert len(found.changed) == sum(a["scored"]["given"] != b["scored"]["given"] for a, b in pairs)
    assert found.second.accuracy.value == second.results["modes"]["scored"]["summary"]["accuracy"]["value"]
    with pytest.raises(BadInput):
        first.compared(second, "generated")


def test_wrong_cases_stand_with_the_most_harmful_first(scored):
    entries = evaluations.lines(scored / "scored.jsonl")
    for number, entry in enumerate(sorted(entries, key=lambda one: one["index"])):
        entry["given"] = CLASSES[(number * 7) // 4 % 4]
    (scored / "scored.jsonl").write_text("".join(json.dumps(one) + "\n" for one in entries), encoding="utf-8")
    wrong = [(c["expected"], c["scored"]["given"]) for c in evaluations.read(scored).wrong("scored")]
    harm = [given == "ALLOW" and expected in ("DENY", "REFUSE") for expected, given in wrong]
    assert any(harm) and harm == sorted(harm, reverse=True)
    assert all(expected != given for expected, given in wrong)


def test_prompts_are_asked_as_in_training(asked, tmp_path, learned):
    """The system prompt that a model was trained with stands before each row that has none of its own."""
    settings, file = asked
    settings = changed(settings, data__system_prompt="安全に答えてください。")
    seen = []
    write = answers.write

    def listening(voices, voice, prompts, **more):
        seen.extend(prompts)
        return write(voices, voice, prompts, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modes, "write", listening)
        run(settings, file, tmp_path / "out", ("generated",))
    template = Template(load_tokenizer(learned))
    cases = evaluations.cases(evaluations.Evaluation(tmp_path / "out"))
    wanted = [template.prompt_ids(case["prompt"], system="安全に答えてください。") for case in cases]
    assert sorted(map(list, seen)) == sorted(wanted)
    assert {case["system"] for case in cases} == {"安全に答えてください。"}


def test_an_unknown_benchmark_is_told_before_anything_is_measured(asked, tmp_path):
    settings, file = asked
    settings = changed(settings, benchmarks__tasks=["mmlu"])
    with pytest.raises(BadInput) as refused:
        run(settings, file, tmp_path / "out", ("scored", "benchmarks"))
    assert refused.value.code == "benchmarks.unknown_task" and not (tmp_path / "out").exists()


def test_benchmarks_without_data_are_said_not_to_have_run(asked, tmp_path):
    settings, file = asked
    settings = changed(settings, benchmarks__data=str(tmp_path / "nothing"))
    told = [event for event in run(settings, file, tmp_path / "out", ("benchmarks",)) if hasattr(event, "task")]
    results = evaluations.read(tmp_path / "out").results
    assert len(told) == len(results["benchmarks"]) == 9 and results["modes"] == {}
    assert {one["outcome"] for one in results["benchmarks"]} == {"not run"}
    assert all(one["metrics"] == {} and "nothing" in one["where"] for one in results["benchmarks"])


def test_results_that_cannot_be_read_are_named_and_hide_no_others(asked, tmp_path):
    root = tmp_path / "runs"
    run(*asked, root / "evaluation-c", ("scored",))
    for name in ("evaluation-a", "evaluation-b"):
        shutil.copytree(root / "evaluation-c", root / name)
    texts = {"a": '{"version": 1, "id": "a"}', "b": '{"version": 2}'}
    for name, text in texts.items():
        (root / f"evaluation-{name}" / "evaluation_results.json").write_text(text, encoding="utf-8")
        with pytest.raises(BadInput) as refused:
            evaluations.read(root / f"evaluation-{name}")
        assert refused.value.code == "evaluate.bad_results"
    assert [one.id for one in evaluations.finished(root)] == ["c"]
