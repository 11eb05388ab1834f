"""What a chain and its run remember of a night: each can be shown again as it was, alone."""

import threading
from dataclasses import fields

import pytest

from so8t_engine import Snapshot, runs
from so8t_engine import events as e
from so8t_engine.errors import EngineError
from so8t_engine.jobs import Worker
from so8t_engine.runs import Pipeline
from so8t_engine.settings import STAGES
from so8t_engine.snapshot import replay


def step(number: int) -> e.StepFinished:
    return e.StepFinished(step=number, epoch=1.0, loss=1.0 / number, label_nll=None, learning_rate=0.1, gradient_norm=1.0,
                          tokens=9, seconds=0.1)  # fmt: skip


def ended(stage: str, outcome: str = "finished", **more) -> e.StageFinished:
    return e.StageFinished(stage=stage, outcome=outcome, seconds=2.0, **more)


@pytest.fixture
def run(tiny_settings):
    return runs.create(tiny_settings.resolve(tiny_settings.runs) / "one", tiny_settings, "data")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "pipeline-one").mkdir()
    return Pipeline.at(tmp_path / "pipeline-one")


class Night:
    """A worker that does chains by script."""

    def __init__(self, place, run) -> None:
        self.place, self.run, self.worker = place, run, Worker(Snapshot())

    def opened(self, resumed: bool = False) -> e.PipelineOpened:
        return e.PipelineOpened(pipeline="one", folder=str(self.place.folder), stages=STAGES, resumed=resumed)

    def begun(self, resumed: bool = False) -> e.RunOpened:
        return e.RunOpened(run="one", folder=str(self.run.folder), resumed=resumed)

    def does(self, *script: e.Event | Exception | threading.Event) -> Snapshot:
        """One try. An exception is raised, a threading.Event stands for a person's Stop."""

        def stage(cancel):
            for item in script:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, threading.Event):
                    self.worker.cancel()
                    return
                yield item

        self.worker.start("RunPipeline", stage)
        self.worker.wait(30)
        return self.worker.snapshot()


@pytest.fixture
def night(place, run):
    return Night(place, run)


def same(one: Snapshot, other: Snapshot) -> list[str]:
    """Names of the fields that differ, but for the count of events and what depends on the clock."""
    apart = ("version", "log", "hardware")
    return [f.name for f in fields(Snapshot) if f.name not in apart and _plain(one, f.name) != _plain(other, f.name)]


def _plain(snapshot: Snapshot, name: str):
    value = getattr(snapshot, name)
    return list(value) if hasattr(value, "chunks") else value


def kinds(place) -> list[str]:
    return [type(event).__name__ for event in place.events() if not isinstance(event, e.HardwareSampled)]


TRAINED = (step(1), step(2), ended("train"))
LATER = (e.StageStarted(stage="evaluate"), e.EvaluationFinished(folder="x", seconds=1.0), ended("evaluate"))


def test_the_run_ends_with_its_stage_and_the_chain_keeps_all(night):
    live = night.does(night.opened(), e.StageStarted(stage="train"), night.begun(), *TRAINED, *LATER)
    assert kinds(night.run) == ["JobStarted", "RunOpened", "StepFinished", "StepFinished", "JobFinished"]
    alone = replay(night.run.events())
    assert (alone.command, alone.state, alone.step, alone.evaluation_finished) == ("StartTraining", "finished", 2, None)
    assert alone.job == live.job and alone.pipeline is None
    assert same(replay(night.place.events()), live) == [] and live.evaluation_finished and live.run == "one"


@pytest.mark.parametrize("script, state, last", [
    ((step(1), ended("train", "failed", code="train.diverged"), EngineError("train.diverged", step=2)), "failed", "JobFailed"),
    ((step(1), threading.Event()), "stopped", "JobStopped"),
])  # fmt: skip
def test_a_run_that_did_not_come_to_its_end_says_how(night, script, state, last):
    night.does(night.opened(), e.StageStarted(stage="train"), night.begun(), *script)
    for place in (night.run, night.place):
        assert kinds(place)[-1] == last and replay(place.events()).state == state


def test_a_chain_that_goes_on_shows_its_stages_anew_and_the_curves_of_all_tries(night):
    night.does(night.opened(), e.StageStarted(stage="train"), night.begun(), step(1), threading.Event())
    live = night.does(night.opened(True), e.StageStarted(stage="train"), night.begun(True), step(2), ended("train"), *LATER)
    assert [event.step for event in live.steps] == [1, 2]
    assert [(event.stage, event.outcome) for event in live.stages] == [("train", "finished"), ("evaluate", "finished")]
    assert live.pipeline.resumed and same(replay(night.place.events()), live) == []
    live = night.does(night.opened(True), ended("train", "kept"), ended("evaluate", "kept"))
    assert [event.step for event in live.steps] == [1, 2] and live.evaluation_finished is None
    assert [event.outcome for event in live.stages] == ["kept", "kept"]
    assert same(replay(night.place.events()), live) == []


def test_a_training_that_is_done_anew_begins_with_empty_curves(night, tiny_settings):
    night.does(night.opened(), e.StageStarted(stage="train"), night.begun(), *TRAINED)
    night.run = runs.create(night.run.folder.parent / "two", tiny_settings, "data")
    live = night.does(night.opened(True), e.StageStarted(stage="train"), night.begun(), step(1), ended("train"))
    assert [event.step for event in live.steps] == [1]
    assert kinds(night.run) == ["JobStarted", "RunOpened", "StepFinished", "JobFinished"]


def test_a_chain_whose_process_died_is_interrupted_and_so_is_its_run(night):
    night.does(night.opened(), e.StageStarted(stage="train"), night.begun(), step(1))
    for place in (night.run, night.place):
        text = place.events_file.read_text(encoding="utf-8").splitlines()
        place.events_file.write_text("\n".join(line for line in text if "JobFinished" not in line) + '\n{"kind": "Ste', encoding="utf-8")
        assert replay(place.events()).state == "interrupted"
