"""The few wishes that the page has of the engine."""

import pytest

from so8t_engine import Busy, EngineError, Run, SettingsError, StartTraining, config, runs
from so8t_engine.runs import MANIFEST


@pytest.fixture
def submitted(bridge, monkeypatch):
    """The commands that reach the engine, which runs none of them."""
    commands: list[StartTraining] = []
    monkeypatch.setattr(bridge.engine, "submit", commands.append)
    return commands


def make_run(bridge, name: str, *lines: str) -> Run:
    run = runs.create(bridge.engine.runs_folder / name, config.load(config.CONFIGS / "demo.yaml"), "data")
    run.events_file.write_text("\n".join(lines), encoding="utf-8")
    return run


def test_start_makes_a_run_of_its_own_with_unsaved_changes(bridge, submitted):
    bridge.draft.edit(bridge.draft.text.replace("seed: 42", "seed: 7"))
    bridge.start()
    assert submitted[0].resume == "never" and submitted[0].output == ""
    assert submitted[0].settings.seed == 7


def test_faults_start_nothing(bridge, submitted):
    bridge.draft.edit("seed: -1")
    with pytest.raises(SettingsError):
        bridge.start()
    assert submitted == []


def test_the_demo_writes_beside_the_other_runs(bridge, submitted):
    bridge.draft.edit("seed: -1")
    bridge.start_demo()
    assert submitted[0].settings.runs == str(bridge.engine.runs_folder)


def test_resume_uses_the_runs_own_settings_with_the_drafts_of_memory(bridge, submitted):
    run = make_run(bridge, "20260101-000000-aa")
    bridge.draft.edit("seed: -1\ntrain: {max_tokens: 300}")  # with a fault it says nothing
    bridge.resume(run.id)
    assert submitted[0].settings == run.settings()
    bridge.draft.edit("seed: 1\ntrain: {max_tokens: 300}")  # of another run: it says nothing of this one
    bridge.resume(run.id)
    assert submitted.pop().settings == run.settings()
    own = run.settings()
    less = own.model_copy(update={"train": own.train.model_copy(update={"max_tokens": 300})})
    bridge.draft.edit(config.to_yaml(less))
    bridge.resume(run.id)
    assert submitted.pop().settings == less
    assert (submitted[0].output, submitted[0].resume) == (str(run.folder), "auto")


@pytest.mark.parametrize("name", ["gone", "../../etc", ""])
def test_a_run_that_is_not_there_is_an_error(bridge, submitted, name):
    with pytest.raises(EngineError) as caught:
        bridge.resume(name)
    assert caught.value.code == "run.missing" and submitted == []


def test_unfinished_runs_are_listed_newest_first_with_their_secured_step(bridge):
    make_run(bridge, "20260101-000000-aa", '{"kind": "TrainingPlanned", "steps": 90}',
             '{"kind": "CheckpointSaved", "step": 30}', '{"kind": "StepFinished", "step": 44}', '{"kind": "Check')
    done = make_run(bridge, "20260102-000000-bb")
    (done.final_model).mkdir()
    (done.final_model / MANIFEST).write_text("{}")
    make_run(bridge, "20260103-000000-cc")
    found = bridge.unfinished()
    assert [(item.run.id, item.step, item.steps) for item in found] == [("20260101-000000-aa", 30, 90)]


def test_the_newest_run_is_on_view_at_the_start(bridge, story):
    bridge.show_newest()
    assert bridge.engine.snapshot().run == ""
    run = make_run(bridge, "20260101-000000-aa")
    run.append(story(5))
    bridge.show_newest()
    assert bridge.engine.snapshot().state == "interrupted"
    assert bridge.engine.snapshot().step == 5


def test_a_running_job_keeps_the_view(bridge, monkeypatch):
    def busy(run):
        raise Busy("engine.busy", command="x")

    make_run(bridge, "20260101-000000-aa")
    monkeypatch.setattr(bridge.engine, "show", busy)
    bridge.show_newest()
