"""What the A/B test tab asks the engine for, and what it refuses before anything has begun."""

from pathlib import Path

import made_ab_test
import pytest
from made import ROOT, row, write_rows
from made_ab_test import RUN, journals, rows

from dashboard import ab_test_wishes
from dashboard.ab_test_wishes import go_on, plan_of, start
from dashboard.evaluate_wishes import key
from so8t_engine import BadInput, Engine, EngineError, Voice, config
from so8t_engine.settings import ModelSettings

FORM = {"base": "original", "retrained": f"run:{RUN}", "rows": "test", "file": ""}


@pytest.fixture
def asked(bridge, monkeypatch, tmp_path) -> list:
    """Every command that reached the engine, which knows the original and one run."""
    commands = []
    known = [Voice(name, name, tmp_path, None, ModelSettings(), "") for name in ("original", f"run:{RUN}")]
    monkeypatch.setattr(Engine, "voices", lambda *_: known)
    monkeypatch.setattr(bridge.engine, "submit", commands.append)
    return commands


def test_the_form_becomes_the_command(bridge, asked, tmp_path):
    file = write_rows(tmp_path / "試し rows.jsonl", [row(1, "ALLOW")])
    bridge.draft.edit(config.changed(bridge.draft.text, "ab_test.metric", "accuracy"))
    start(bridge, FORM)
    start(bridge, FORM | {"base": f"run:{RUN}", "retrained": "original", "rows": "file", "file": f' "{file}" '})
    first, second = asked
    assert (first.base, first.retrained, first.test_data, first.output) == ("original", f"run:{RUN}", "", "")
    assert (second.base, second.retrained, second.test_data) == (f"run:{RUN}", "original", str(file))
    assert first.settings.ab_test.metric == "accuracy" and Path(first.settings.runs) == bridge.engine.runs_folder


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"base": "run:../../etc"}, "voice.unknown"), ({"base": None}, "voice.unknown"), ({"retrained": "run:nobody"}, "voice.unknown"),
        ({"retrained": ""}, "ab_test.no_retrained"), ({"retrained": None}, "ab_test.no_retrained"),
        ({"rows": "file"}, "evaluate.no_path"), ({"rows": "file", "file": "/no/such.jsonl"}, "evaluate.no_file"),
        ({"rows": "file", "file": str(ROOT)}, "evaluate.no_file"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_begins_nothing(bridge, asked, change, code):
    with pytest.raises(EngineError) as refused:
        start(bridge, FORM | change)
    assert refused.value.code == code and asked == []


def test_an_interrupted_test_goes_on_as_it_was_begun(bridge, asked):
    lines = rows(4)
    folder = made_ab_test.begun(bridge.engine.runs_folder / "ab_test-x", asked=lines, answers=journals(lines, (0.5, 0.5)))
    for path, value in (("seed", 7), ("ab_test.metric", "accuracy"), ("evaluate.batch_size", 2)):
        bridge.draft.edit(config.changed(bridge.draft.text, path, value))
    go_on(bridge, key(folder))
    (command,) = asked
    assert Path(command.output) == folder and (command.base, command.retrained) == ("original", f"run:{RUN}")
    settings = command.settings
    assert (settings.seed, settings.ab_test.metric, settings.evaluate.batch_size) == (42, "score", 16)
    assert command.test_data == ""


@pytest.mark.parametrize("wanted", ["", "nobody", "../ab_test-x", "ab_test-x"])
def test_only_a_listed_test_goes_on(bridge, asked, wanted):
    made_ab_test.begun(bridge.engine.runs_folder / "ab_test-x", asked=[], answers={})
    for reach in (go_on, ab_test_wishes.find):
        with pytest.raises(BadInput) as refused:
            reach(bridge, wanted)
        assert refused.value.code == "ab_test.unknown"
    assert asked == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 5}', '{"settings": {"evaluate": null, "seed": 1}}', "\xff"])
def test_a_plan_that_can_not_be_read_is_told(bridge, asked, text):
    folder = made_ab_test.begun(bridge.engine.runs_folder / "ab_test-x", asked=[], answers={})
    (folder / "plan.json").write_bytes(text.encode("latin-1"))
    assert plan_of(folder / "plan.json") is None
    with pytest.raises(BadInput) as refused:
        go_on(bridge, key(folder))
    assert refused.value.code == "ab_test.bad_plan" and asked == []
