"""What the Evaluate tab asks the engine for, and what it refuses before anything has begun."""

import json
import threading
from pathlib import Path

import made_evaluation
import pytest
from made import ROOT, row, write_rows

from dashboard import evaluate_wishes
from dashboard.evaluate_wishes import go_on, key, plan_of, start
from so8t_engine import BadInput, EngineError, SettingsError, config
from so8t_engine.evaluate.suite import evaluate
from so8t_engine.voice import resolve

FORM = {
    "model": "original",
    "rows": "test",
    "file": "",
    "scored": True,
    "generated": True,
    "benchmarks": False,
    "limit": "",
}


@pytest.fixture
def asked(bridge, monkeypatch) -> list:
    """Every command that reached the engine."""
    commands = []
    monkeypatch.setattr(bridge.engine, "submit", commands.append)
    return commands


def test_the_form_becomes_the_command(bridge, asked, tmp_path):
    file = write_rows(tmp_path / "試し rows.jsonl", [row(1, "ALLOW")])
    start(bridge, FORM)
    start(
        bridge, FORM | {"rows": "file", "file": f'  "{file}" ', "generated": False, "benchmarks": True, "limit": " 25 "}
    )
    first, second = asked
    assert (first.model, first.test_data, first.output) == ("original", "", "")
    assert (first.scored, first.generated, first.benchmarks) == (True, True, False)
    assert (second.scored, second.generated, second.benchmarks) == (True, False, True)
    assert (second.test_data, second.settings.evaluate.limit) == (str(file), 25)
    assert first.settings.evaluate.limit == 0


def test_results_lie_where_the_page_lists_them(bridge, asked):
    bridge.draft.edit(config.changed(bridge.draft.text, "runs", "/somewhere/else"))
    start(bridge, FORM)
    assert Path(asked[0].settings.runs) == bridge.engine.runs_folder


def test_a_path_that_is_not_absolute_starts_at_the_program(bridge, asked):
    start(bridge, FORM | {"rows": "file", "file": "assets/data/demo_heldout.jsonl"})
    assert Path(asked[0].test_data) == ROOT / "assets" / "data" / "demo_heldout.jsonl"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "run:../../etc"}, "voice.unknown"), ({"model": ""}, "voice.unknown"), ({"model": None}, "voice.unknown"),
        ({"model": "run:nobody"}, "voice.unknown"), ({"scored": False, "generated": False}, "evaluate.no_mode"),
        ({"scored": "yes", "generated": 1}, "evaluate.no_mode"),
        ({"rows": "file"}, "evaluate.no_path"), ({"rows": "file", "file": '""'}, "evaluate.no_path"),
        ({"rows": "file", "file": "/no/such.jsonl"}, "evaluate.no_file"), ({"rows": "file", "file": "a\0b"}, "evaluate.no_file"),
        ({"rows": "file", "file": str(ROOT)}, "evaluate.no_file"), ({"rows": "file", "file": "x" * 5000}, "evaluate.no_file"),
        ({"limit": "-1"}, "config.faults"), ({"limit": "many"}, "config.faults"), ({"limit": "1.5"}, "config.faults"),
        ({"limit": "99999999999"}, "config.faults"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_begins_nothing(bridge, asked, change, code):
    with pytest.raises(EngineError) as refused:
        start(bridge, FORM | change)
    assert refused.value.code == code
    if isinstance(refused.value, SettingsError):
        assert [fault.facts["field"] for fault in refused.value.faults] == ["evaluate.limit"]
    assert asked == []


def test_an_interrupted_evaluation_goes_on_as_it_was_begun(bridge, asked):
    lines = made_evaluation.rows(4)
    folder = made_evaluation.begun(
        bridge.engine.runs_folder / "evaluation-x",
        asked=lines,
        journals={"scored": made_evaluation.scored(lines[:2], 1.0)},
    )
    for path, value in (("seed", 7), ("evaluate.limit", 3), ("evaluate.batch_size", 2)):
        bridge.draft.edit(config.changed(bridge.draft.text, path, value))
    go_on(bridge, key(folder))
    (command,) = asked
    assert Path(command.output) == folder
    assert (command.scored, command.generated, command.benchmarks, command.test_data) == (True, False, False, "")
    settings = command.settings
    assert (settings.seed, settings.evaluate.limit, settings.evaluate.batch_size) == (42, 0, 16)


@pytest.mark.parametrize("test_data", ["", "rows.jsonl"])
def test_the_plan_that_the_stage_writes_is_the_plan_that_goes_on(bridge, asked, tiny_settings, tmp_path, test_data):
    voice = resolve("original", tmp_path / "runs", tiny_settings)
    data = str(tmp_path / test_data) if test_data else ""
    folder = bridge.engine.runs_folder / "evaluation-y"
    stage = evaluate(tiny_settings, voice, folder, ("generated",), data, threading.Event())
    next(stage)
    stage.close()
    go_on(bridge, key(folder))
    (command,) = asked
    assert (command.model, command.test_data, command.settings.seed) == ("original", data, tiny_settings.seed)
    assert (command.scored, command.generated) == (False, True)


@pytest.mark.parametrize("wanted", ["", "nobody", "../evaluation-x", "evaluation-x"])
def test_only_a_listed_evaluation_goes_on(bridge, asked, wanted):
    made_evaluation.begun(bridge.engine.runs_folder / "evaluation-x", asked=[], journals={"scored": []})
    for reach in (lambda: go_on(bridge, wanted), lambda: evaluate_wishes.find(bridge, wanted)):
        with pytest.raises(BadInput, match=r"evaluation"):
            reach()
    assert asked == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": 5}', '{"settings": {"evaluate": null, "seed": 1}}', "\xff"]
)
def test_a_plan_that_can_not_be_read_is_told(bridge, asked, text):
    folder = made_evaluation.begun(bridge.engine.runs_folder / "evaluation-x", asked=[], journals={})
    (folder / "plan.json").write_bytes(text.encode("latin-1"))
    assert plan_of(folder / "plan.json") is None
    with pytest.raises(BadInput) as refused:
        go_on(bridge, key(folder))
    assert refused.value.code == "evaluate.bad_plan"
    assert asked == []


def test_a_key_tells_no_path(tmp_path):
    folder = made_evaluation.begun(tmp_path / "evaluation-x", asked=[], journals={})
    assert key(folder).isalnum() and "evaluation" not in key(folder)
    assert key(folder) == key(str(folder)) == key(folder / ".." / folder.name)
    assert json.dumps(key(folder)).isascii()
