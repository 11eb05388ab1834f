"""Where a stage goes on: in a folder that it knows as its own, and never in one of another run or model."""

import json

import pytest

from so8t_engine import runs
from so8t_engine.pipeline_chain import Chain, again
from so8t_engine.pipeline_record import Entry, Record
from so8t_engine.pipeline_stages import JapaneseTest


@pytest.mark.parametrize("left, known", [
    (["plan.json", "rows.jsonl"], True), (["MANIFEST.json"], True), (["run.json"], True), ([".lock"], True), ([], True),
    (None, True), (["rows.jsonl"], False), (["plan.json.77.tmp"], False), (["config.yaml", "best_model"], False),
])  # fmt: skip
def test_what_a_killed_try_left_without_a_mark_is_not_gone_on_with(tmp_path, left, known):
    old, new = tmp_path / "old", tmp_path / "new"
    if left is not None:
        old.mkdir()
    for name in left or ():
        (old / name).touch()
    assert again(Entry("running", [str(old)]), [new]) == [old if known else new]
    assert sorted(path.name for path in old.glob("*")) == sorted(left or ())


def test_a_folder_of_another_run_or_of_a_stage_that_was_left_out_is_not_taken(tmp_path):
    old, new = tmp_path / "one" / "export" / "1", tmp_path / "two" / "export" / "2"
    assert again(Entry("running", [str(old)]), [new]) == [new]
    assert again(Entry("skipped", [str(tmp_path / "run")]), [tmp_path / "new"]) == [tmp_path / "new"]
    assert again(Entry(), [new]) == [new]


@pytest.mark.parametrize("model, same", [("ollama:so8t-phi35:latest", True), ("ollama:other:latest", False), ("run:one", False)])
def test_a_japanese_test_of_another_model_is_begun_anew_and_that_of_the_base_kept(tmp_path, tiny_settings, model, same):
    record = Record.open(runs.Pipeline.at(tmp_path / "pipeline-one"))
    root = tiny_settings.resolve(tiny_settings.runs)
    record.stages["train"] = Entry("finished", [str(root / "one")])
    begun = [root / "japanese_test-1", root / "one" / "japanese_test" / "2"]
    for folder, key in zip(begun, ("original", model), strict=True):
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps({"model": key}), encoding="utf-8")
    entry = record.stages["japanese_test"] = Entry("running", [str(folder) for folder in begun])
    base, winner = JapaneseTest().folders(Chain(tiny_settings, record, frozenset()), entry)
    assert base == begun[0] and (winner == begun[1]) == same and winner.parent == begun[1].parent
