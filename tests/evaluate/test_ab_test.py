"""The whole A/B test on tiny models: figures, turns, going on, what is refused, and what may not leak."""

import json
import shutil
import subprocess
import sys
import threading
import weakref

import pytest
import torch
from canary import CANARY, SHOWN, make_run
from made import ROOT, StopsAfter, environment, row, write_rows
from scipy.stats import binomtest, ttest_rel, wilcoxon
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from so8t_engine import BadInput, EngineError, ab_tests, config, evaluations
from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate import ab_test as stage
from so8t_engine.evaluate import modes, plan
from so8t_engine.evaluate.ab_test import ab_test
from so8t_engine.model import score as scoring
from so8t_engine.voice import named

SIDES = ("base", "retrained")
ROWS = 24


@pytest.fixture(scope="module")
def place(learned, tmp_path_factory):
    """(settings, file of rows that nobody has seen, id of a run whose adapter decides otherwise)."""
    folder = tmp_path_factory.mktemp("ab_test")
    root = folder / "runs"
    run = make_run(root, learned, "retrained", **{"so8t.alpha": 1000})
    run.split_file.write_text(json.dumps({"train": [], "validation": [], "test": []}), encoding="utf-8")
    labels = [CLASSES[i // 2 % 4] if i % 2 else "ESCALATION" for i in range(ROWS)]
    rows = [row(i, label, domain_label="a" if i % 3 else "b") | {"output": ""} for i, label in enumerate(labels)]
    values = {
        "base_model": str(learned), "runs": str(root), "evaluate.max_tokens": 64, "evaluate.batch_size": 5,
        "ab_test.latency_rows": 2,
    }  # fmt: skip
    return config.from_values(values), write_rows(folder / "test.jsonl", rows), run.id


def run(settings, file, folder, base="original", retrained="retrained", cancel=None):
    root = settings.resolve(settings.runs)
    voices = [named(name, root, settings) for name in (base, retrained)]
    return list(ab_test(settings, *voices, folder, str(file), cancel or threading.Event()))


@pytest.fixture(scope="module")
def whole(place, tmp_path_factory):
    """(events, the finished test) of a run against its base, in one piece, with its reports."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    told = run(*place[:2], folder)
    return told, ab_tests.read(folder)


@pytest.fixture(autouse=True)
def no_reports(whole, monkeypatch):
    """They take longer than a test of tiny models; those of `whole` are there, and test_ab_reports.py tries the rest."""
    monkeypatch.setattr(stage, "write_ab_reports", lambda *_: None)


def journal(folder, side, mode):
    return {entry["index"]: entry for entry in evaluations.lines(folder / f"{side}-{mode}.jsonl")}


@pytest.mark.parametrize("mode", ["scored", "generated"])
def test_figures_are_those_of_the_journals_by_scikit_learn_and_scipy(whole, mode):
    told, found = whole
    rows = evaluations.lines(found.folder / "rows.jsonl")
    expected = [one["expected"] for one in rows]
    given = {side: [journal(found.folder, side, mode)[one["index"]]["given"] for one in rows] for side in SIDES}
    assert given["base"] != given["retrained"], "the models differ"
    pairing = found.results["modes"][mode]["pairing"]
    values = {}
    for side, name in zip(SIDES, ("first", "second"), strict=True):
        labels = sorted({*expected, *given[side]} & set(CLASSES))
        values[side] = (
            accuracy_score(expected, given[side]),
            f1_score(expected, given[side], labels=labels, average="macro", zero_division=0),
        )
        assert (pairing[name]["accuracy"]["value"], pairing[name]["macro_f1"]["value"]) == pytest.approx(values[side])
        matrix = confusion_matrix(expected, given[side], labels=[*CLASSES, ""])[:4]
        assert found.results["modes"][mode][side]["summary"]["confusion"] == matrix.tolist()
    moved = [second - first for first, second in zip(*values.values(), strict=True)]
    differences = pairing["differences"]
    assert [differences[name]["value"] for name in ("accuracy", "macro_f1", "score")] == pytest.approx(
        [*moved, sum(moved) / 2]
    )
    hits = [[a == b for a, b in zip(expected, given[side], strict=True)] for side in SIDES]
    only = [sum(a and not b for a, b in zip(*pair, strict=True)) for pair in (hits, hits[::-1])]
    assert [pairing["only_first"], pairing["only_second"]] == only
    assert pairing["both"] + pairing["neither"] + sum(only) == pairing["rows"] == ROWS
    p = binomtest(only[1], sum(only)).pvalue if sum(only) else 1.0
    assert differences["accuracy"]["p"] == pytest.approx(p)
    last = [event for event in told if isinstance(event, e.AbTestMeasured) and event.mode == mode][-1]
    assert (last.rows, last.total, last.fixed, last.broken) == (ROWS, ROWS, only[1], only[0])
    assert last.difference["accuracy"][0] == pytest.approx(moved[0])


def test_times_and_format_are_those_of_the_journals(whole):
    _, found = whole
    part = found.results["modes"]["generated"]
    entries = {side: journal(found.folder, side, "generated") for side in SIDES}
    alone = {side: sorted(index for index, one in entries[side].items() if one["alone"]) for side in SIDES}
    assert alone["base"] == alone["retrained"] and len(alone["base"]) == 2 == part["times"]["answer"]["rows"]
    assert part["times"]["in_turns"]
    for name, key in (("first_token", "first_seconds"), ("answer", "seconds")):
        first, second = ([entries[side][index][key] for index in alone[side]] for side in SIDES)
        one = part["times"][name]
        assert one["p"] == pytest.approx(wilcoxon(second, first).pvalue)
        assert one["t_p"] == pytest.approx(ttest_rel(second, first).pvalue)
        assert one["mean"]["value"] == pytest.approx(sum(second) / 2 - sum(first) / 2)
    whole_ones = {side: {index for index, one in entries[side].items() if one["format"] == "whole"} for side in SIDES}
    for side in SIDES:
        assert part["format"][side]["value"] == len(whole_ones[side]) / ROWS
    moved = part["format"]["difference"]
    only = [len(whole_ones[a] - whole_ones[b]) for a, b in (SIDES, SIDES[::-1])]
    assert moved["value"] == pytest.approx((only[1] - only[0]) / ROWS)
    assert moved["p"] == pytest.approx(binomtest(only[1], sum(only)).pvalue if sum(only) else 1.0)


def test_the_verdict_is_the_rule_applied_to_the_deciding_mode(whole):
    told, found = whole
    winner = found.results["winner"]
    rule, pairing = winner["rule"], found.results["modes"]["generated"]["pairing"]
    assert (rule["mode"], rule["metric"]) == ("generated", "score")
    assert rule["value"] == pairing["differences"]["score"]["value"] < 0, "the base knows one answer, the other none"
    assert rule["p_adjusted"] == pairing["differences"]["score"]["p_adjusted"] <= 0.05
    assert (winner["winner"], winner["code"], rule["ahead"]) == ("base", "better", "base")
    assert isinstance(told[-1], e.AbTestFinished)
    assert (told[-1].winner, told[-1].code, told[-1].facts) == ("base", "better", winner["facts"])
    for language, words in (("en", "The base is better"), ("ja", "元のモデルの方が優れています")):
        assert found.verdict("what", language).startswith(words) and "{" not in found.verdict("hint", language)


def test_every_case_says_what_changed(whole):
    _, found = whole
    for mode in ("scored", "generated"):
        cases, pairing = found.cases(mode), found.results["modes"][mode]["pairing"]
        counts = {change: sum(case["change"] == change for case in cases) for change in ab_tests.CHANGES.values()}
        wanted = {"both_right": "both", "broken": "only_first", "fixed": "only_second", "both_wrong": "neither"}
        assert counts == {change: pairing[name] for change, name in wanted.items()}
        assert all(case["base"]["index"] == case["retrained"]["index"] == case["index"] for case in cases)


def test_the_events_tell_how_far_it_is_and_what_has_come(whole):
    told, _ = whole
    opened, progress = told[0], [event for event in told if isinstance(event, e.AbTestProgressed)]
    assert (opened.base, opened.retrained, opened.rows, opened.resumed) == ("original", "run:retrained", ROWS, False)
    done = [event.done for event in progress]
    assert done == sorted(done) and done[-1] == progress[-1].total == 4 * ROWS
    assert progress[-1].seconds_left == 0


def test_figures_come_after_each_chunk_that_both_have_decided(place, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(stage, "SCORED_CHUNK", 10)
    told = [event for event in run(*place[:2], tmp_path / "out") if isinstance(event, e.AbTestMeasured)]
    rows = {mode: [event.rows for event in told if event.mode == mode] for mode in ("scored", "generated")}
    assert rows == {"scored": [10, 20, 24], "generated": [1, 2, 12, 22, 24]}


def test_no_thought_leaves_the_process(whole):
    told, found = whole
    files = [path for path in found.folder.rglob("*") if path.is_file()]
    assert {"ab_test_report.html", "comparison_chart.png", "confusion_matrix_comparison.png"} <= {
        path.name for path in files
    }
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    assert not any(CANARY in event.to_json() for event in told)
    shown = [case["base"]["final"] for case in found.cases("generated")]
    assert any(SHOWN.reason in text for text in shown), "the model thinks, and what may be shown is there"


def test_the_timed_answers_come_in_turns_and_the_models_are_warm(place, tmp_path, monkeypatch):
    """A B B A: a machine that slows down hits both alike."""
    spoken, write = [], modes.write

    def listening(voices, voice, prompts, **more):
        spoken.append(("warm" if more["limit"] == modes.WARM else len(prompts), "base" if voice == "" else "retrained"))
        return write(voices, voice, prompts, **more)

    monkeypatch.setattr(modes, "write", listening)
    run(*place[:2], tmp_path / "out")
    assert spoken[:2] == [("warm", "base"), ("warm", "retrained")]
    turns = ["base", "retrained", "retrained", "base"]
    assert spoken[2:6] == [(1, side) for side in turns]
    assert spoken[6:10] == [(10, side) for side in turns]
    assert spoken[10:] == [(2, side) for side in turns[:2]], "the rest"


def without_times(value):
    """Results less what a clock has measured, and less means of probabilities, whose last bits hang on the batch."""
    left_out = ("seconds", "created", "id", "times", "latency", "rows_per_second", "calibration")
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in left_out}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def assert_equal(pieces, whole):
    assert without_times(pieces.results) == without_times(whole.results)
    for one, other in zip(whole.cases("generated"), pieces.cases("generated"), strict=True):
        assert all(one[side]["final"] == other[side]["final"] for side in SIDES)


def test_a_stopped_test_goes_on_and_ends_like_one_in_a_piece(place, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "TOLD_SECONDS", 0.0)
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 64)
    out, tries = tmp_path / "pieces", 0
    while not (out / "ab_test_results.json").exists():
        told = run(*place[:2], out, cancel=StopsAfter(40 * 2**tries))
        assert told[0].resumed == (tries > 0)
        if tries == 1:  # the plug was pulled while a line was being written
            torn = out / "base-scored.jsonl"
            torn.write_bytes(torn.read_bytes()[:-9])
        tries += 1
    assert tries > 3
    assert_equal(ab_tests.read(out), whole[1])


def test_a_test_whose_page_was_closed_goes_on(place, whole, tmp_path):
    """The generator is closed in the middle of it: no event was lost that a file should hold."""
    settings, file, _ = place
    root = settings.resolve(settings.runs)
    going = ab_test(
        settings,
        *(named(name, root, settings) for name in ("original", "retrained")),
        tmp_path / "out",
        str(file),
        threading.Event(),
    )
    for event in going:
        if isinstance(event, e.AbTestMeasured):
            break
    going.close()
    assert ab_tests.interrupted(tmp_path) == [] and not (tmp_path / "out" / "ab_test_results.json").exists()
    assert run(settings, file, tmp_path / "out")[0].resumed
    assert_equal(ab_tests.read(tmp_path / "out"), whole[1])


DYING = """
import os, sys
from so8t_engine.__main__ import main
from so8t_engine.evaluate.journal import Journal
append = Journal.append
def dying(journal, entries):
    append(journal, entries)
    if journal.file.name == "retrained-generated.jsonl":
        os._exit(9)
Journal.append = dying
main(sys.argv[1:])
"""


def test_a_test_whose_process_died_goes_on_behind_its_last_line(place, whole, tmp_path):
    settings, file, _ = place
    job, out = tmp_path / "job.yaml", tmp_path / "out"
    job.write_text(config.to_yaml(settings), encoding="utf-8")
    wanted = ["abtest", "--config", job, "--retrained-model", "retrained", "--test-data", file, "--output-dir", out]
    process = subprocess.run(
        [sys.executable, "-c", DYING, *wanted], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    assert process.returncode == 9
    parts = [(side, mode) for side in SIDES for mode in stage.MODES]
    assert [len(journal(out, *part)) for part in parts] == [ROWS, 1, ROWS, 1]
    assert run(settings, file, out)[0].resumed
    assert_equal(ab_tests.read(out), whole[1])


def test_a_copy_of_a_model_never_wins_and_each_base_is_alone_in_memory(place, learned, tmp_path, monkeypatch):
    settings, file, _ = place
    twin = tmp_path / "twin"
    shutil.copytree(learned, twin)
    held, most = [], []

    class Counted(stage.Voices):
        def __init__(self, *arguments):
            most.append(sum(reference() is not None for reference in held) + 1)
            held.append(weakref.ref(self))
            super().__init__(*arguments)

    monkeypatch.setattr(stage, "Voices", Counted)
    told = run(settings, file, tmp_path / "out", retrained=str(twin))
    results = ab_tests.read(tmp_path / "out").results
    assert most == [1, 1], "the first base is freed before the second one is loaded"
    assert results["models"]["base"]["weights"] == results["models"]["retrained"]["weights"]
    assert (
        (results["winner"]["winner"], results["winner"]["code"]) == (None, "equal") == (told[-1].winner, told[-1].code)
    )
    for mode in results["modes"].values():
        assert mode["pairing"]["only_first"] == mode["pairing"]["only_second"] == 0
    assert results["modes"]["generated"]["times"]["in_turns"] is False


def test_two_bases_decide_as_one_base_does(place, whole, tmp_path):
    """A run that holds its base otherwise than the settings do: two loads, the same decisions."""
    settings, file, _ = place
    other = config.from_values(config.to_values(settings) | {"model.dtype": "float32"})
    run(other, file, tmp_path / "out")
    for mode in ("scored", "generated"):
        for side in SIDES:
            one, two = (journal(folder, side, mode) for folder in (tmp_path / "out", whole[1].folder))
            assert {index: entry["given"] for index, entry in one.items()} == {
                i: entry["given"] for i, entry in two.items()
            }


def refused(code, *arguments, **more):
    with pytest.raises(BadInput) as found:
        run(*arguments, **more)
    assert found.value.code == code
    return str(found.value)


def test_a_folder_takes_no_second_question(place, tmp_path):
    settings, file, _ = place
    out = tmp_path / "out"
    run(settings, file, out)
    refused("evaluate.finished", settings, file, out)
    (out / "ab_test_results.json").unlink()
    assert "base" in refused("evaluate.other_plan", settings, file, out, base="retrained")
    other = config.from_values(config.to_values(settings) | {"ab_test.metric": "accuracy"})
    assert "settings" in refused("evaluate.other_plan", other, file, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    refused("evaluate.folder_taken", settings, file, tmp_path / "mine")
    refused("voice.unknown", settings, file, tmp_path / "none", retrained="nobody")
    assert not (tmp_path / "none").exists()


def test_other_weights_do_not_go_on_with_it(place, tmp_path):
    settings, file, _ = place
    out = tmp_path / "out"
    run(settings, file, out, cancel=StopsAfter(3))
    held = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    assert set(held["weights"]) == set(SIDES)
    held["weights"]["retrained"] = "0" * 64
    (out / "plan.json").write_text(json.dumps(held), encoding="utf-8")
    refused("evaluate.other_weights", settings, file, out)


def test_full_memory_and_a_full_disk_are_named_and_lose_nothing(place, whole, tmp_path, monkeypatch):
    settings, file, _ = place
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(modes, "write", lambda *_, **__: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
        with pytest.raises(EngineError) as failed:
            run(settings, file, out)
    assert failed.value.code == "evaluate.out_of_memory"
    assert [len(journal(out, side, "scored")) for side in SIDES] == [ROWS, ROWS]
    whole_file = plan.write_whole

    def full(path, data):
        if path.name == "ab_test_results.json":
            raise OSError(28, "No space left on device")
        whole_file(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(plan, "write_whole", full)
        with pytest.raises(EngineError) as failed:
            run(settings, file, out)
    assert failed.value.code == "evaluate.unwritten" and "No space" in str(failed.value)
    assert run(settings, file, out)[0].resumed
    assert_equal(ab_tests.read(out), whole[1])


def test_rows_that_either_run_has_seen_are_left_out(place, learned, tmp_path):
    """And prompts that are too long for the models are counted."""
    settings, file, _ = place
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()][:8]
    hashes = [one["hash"] for one in evaluations.lines(whole_rows(settings, file, tmp_path / "rows"))]
    root = tmp_path / "runs"
    for name, seen in (
        ("one", {"train": hashes[:2], "validation": hashes[2:3]}),
        ("two", {"train": hashes[2:4], "validation": []}),
    ):
        trained = make_run(root, learned, name)
        trained.split_file.write_text(json.dumps({**seen, "test": []}), encoding="utf-8")
    settings = config.from_values(config.to_values(settings) | {"runs": str(root), "ab_test.latency_rows": 0})
    long = {"instruction": "long " * 6000, "four_class_label": "DENY"}
    some = write_rows(tmp_path / "some.jsonl", [*rows, long])
    told = run(settings, some, tmp_path / "out", base="one", retrained="two")
    results = ab_tests.read(tmp_path / "out").results
    assert (
        results["data"]["excluded"] == {"training": 4, "validation": 0, "duplicates": 0, "limit": 0} == told[0].excluded
    )
    assert sorted(results["data"]["checked_against"]) == ["one", "two"]
    assert (results["data"]["rows"], results["data"]["too_long"]) == (4, 1)
    assert results["modes"]["generated"]["times"] is None, "nothing was timed"
    seen_all = write_rows(tmp_path / "seen.jsonl", rows[:4])
    assert "one" in refused("evaluate.all_seen", settings, seen_all, tmp_path / "none", base="one", retrained="two")


def whole_rows(settings, file, folder):
    """rows.jsonl of a test that is stopped at once."""
    run(settings, file, folder, cancel=StopsAfter(0))
    return folder / "rows.jsonl"


def test_each_model_is_asked_as_it_was_trained(place, learned, tmp_path):
    settings, file, _ = place
    settings = config.from_values(config.to_values(settings) | {"data.system_prompt": "安全に答えてください。"})
    run(settings, file, tmp_path / "out")
    results = ab_tests.read(tmp_path / "out").results
    assert [results["models"][side]["system"] for side in SIDES] == ["安全に答えてください。", ""]
    assert {one["system"] for one in evaluations.lines(tmp_path / "out" / "rows.jsonl")} == {""}


def test_results_that_cannot_be_read_are_named_and_hide_no_others(whole, tmp_path):
    _, found = whole
    for name in ("a", "b"):
        shutil.copytree(found.folder, tmp_path / f"ab_test-{name}")
    (tmp_path / "ab_test-a" / "ab_test_results.json").write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(BadInput) as refused_:
        ab_tests.read(tmp_path / "ab_test-a")
    assert refused_.value.code == "evaluate.bad_results"
    assert [one.id for one in ab_tests.finished(tmp_path)] == ["b"]
    (tmp_path / "ab_test-b" / "ab_test_results.json").unlink()
    assert [one.id for one in ab_tests.interrupted(tmp_path)] == ["b"]
