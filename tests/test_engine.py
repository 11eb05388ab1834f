"""The engine's worker: one job at a time, failures as events, the run folder tells the whole story."""

import json
import threading
import time

import pytest
from made import row, write_rows

from so8t_engine import BadInput, Busy, Engine, LintDataset, Run, StartTraining, config, runs
from so8t_engine import events as e
from so8t_engine.data.sources import fingerprint
from so8t_engine.jobs import Worker
from so8t_engine.snapshot import Snapshot, replay


def follow(engine, command):
    engine.submit(command)
    events = list(engine.follow())
    engine.wait(120)
    return events


def test_training_through_the_engine_fills_the_run_folder(tiny_settings):
    engine = Engine(tiny_settings.resolve(tiny_settings.runs))
    events = follow(engine, StartTraining(settings=tiny_settings))
    snapshot = engine.snapshot()
    assert snapshot.state == "finished"
    assert (snapshot.step, snapshot.plan.steps) == (8, 8)
    assert snapshot.rotation_error < 1e-6
    run = engine.runs()[0]
    assert run.finished and run.settings() == tiny_settings
    assert [x for x in run.events() if not isinstance(x, e.HardwareSampled)] == [
        x for x in events if not isinstance(x, e.HardwareSampled)
    ]
    assert any(isinstance(x, e.HardwareSampled) and x.ram_total > 0 for x in run.events())
    split = json.loads(run.split_file.read_text())
    assert {name: len(rows) for name, rows in split.items()} == {"train": 32, "validation": 4, "test": 4}
    shown = replay(run.events())
    assert list(shown.steps) == list(snapshot.steps) and shown.state == "finished"
    again = follow(engine, StartTraining(settings=tiny_settings, output=str(run.folder)))
    assert any(isinstance(x, e.RunAlreadyFinished) for x in again)


def test_stop_takes_effect_within_one_step_and_the_same_command_goes_on(tiny_settings):
    settings = config.from_values(config.to_values(tiny_settings) | {"train.epochs": 200})
    engine = Engine(settings.resolve(settings.runs))
    engine.submit(StartTraining(settings=settings))
    asked = None
    for event in engine.follow():
        if isinstance(event, e.StepFinished) and event.step == 3:
            engine.cancel()
            asked = engine.snapshot().step
    assert engine.snapshot().state == "stopped"
    assert engine.snapshot().step <= asked + 1
    before = list(engine.snapshot().steps)
    engine.wait(120)
    engine.submit(StartTraining(settings=settings))
    for event in engine.follow():
        if isinstance(event, e.StepFinished):
            engine.cancel()
    assert len(engine.runs()) == 1
    assert engine.snapshot().resumed
    assert list(engine.snapshot().steps)[: len(before)] == before


def test_second_job_is_refused_while_one_runs():
    worker = Worker(Snapshot())
    gate = threading.Event()

    def stage(cancel):
        gate.wait(30)
        yield e.RowFaulted(code="data.bad_label", where="x")

    worker.start("First", stage)
    with pytest.raises(Busy):
        worker.start("Second", stage)
    gate.set()
    worker.wait(30)
    assert worker.snapshot().state == "finished"
    worker.start("Second", stage)
    worker.wait(30)
    assert worker.snapshot().command == "Second"


def test_unexpected_fault_becomes_an_event_with_details_and_the_engine_lives_on(rows_file, tiny_settings):
    worker = Worker(Snapshot())

    def stage(cancel):
        yield e.StopRequested(job="x")
        raise RuntimeError("boom <b>")

    worker.start("Broken", stage)
    worker.wait(30)
    failure = worker.snapshot().failure
    assert worker.snapshot().state == "failed" and failure.code == "engine.unexpected"
    assert "boom <b>" in failure.facts["reason"] and "Traceback" in failure.details and not failure.bad_input


def test_job_that_ended_before_anybody_looked_is_told_all_the_same(tmp_path, tiny_settings):
    settings = tiny_settings.model_copy(update={"dataset": str(tmp_path / "nowhere.jsonl")})
    engine = Engine(tmp_path)
    assert list(engine.follow()) == []
    engine.submit(StartTraining(settings=settings))
    engine.wait(120)
    assert isinstance(list(engine.follow())[-1], e.JobFailed)


def test_rows_without_output_are_refused_for_training_with_the_reason(tmp_path, tiny_settings):
    rows = [row(1, "ALLOW"), row(2, "DENY", output=""), row(3, "DENY", output="")]
    file = write_rows(tmp_path / "silent.jsonl", rows)
    settings = tiny_settings.model_copy(update={"dataset": str(file)})
    engine = Engine(settings.resolve(settings.runs))
    events = follow(engine, StartTraining(settings=settings))
    failure = engine.snapshot().failure
    assert (failure.code, failure.where, failure.bad_input) == ("data.no_output", f"{file}:2", True)
    assert failure.facts == {"count": "2", "rows": "3"}
    read = next(x for x in events if isinstance(x, e.DatasetRead))
    assert (read.rows, read.without_output) == (3, 2)


def test_too_long_rows_are_left_out_and_counted(tmp_path, tiny_settings):
    rows = [row(i, "ALLOW") for i in range(10)] + [row(99, "DENY", input="長い" * 400)]
    settings = config.from_values(
        config.to_values(tiny_settings)
        | {"dataset": str(write_rows(tmp_path / "long.jsonl", rows)), "data.max_length": 300, "data.test_share": 0,
           "data.validation_share": 0}
    )  # fmt: skip
    events = follow(Engine(tmp_path), StartTraining(settings=settings))
    lengths = next(x for x in events if isinstance(x, e.LengthsCounted))
    assert (lengths.too_long, lengths.max_length) == (1, 300) and lengths.longest > 300
    assert next(x for x in events if isinstance(x, e.TrainingPlanned)).rows == 10
    assert isinstance(events[-1], e.JobFinished)


def test_lint_names_every_fault_and_counts(tmp_path, tiny_settings):
    wrong = row(3, "DENY") | {"four_class_label": "ALLOW"}
    file = write_rows(tmp_path / "rows.jsonl", [row(1, "ALLOW"), row(1, "ALLOW"), wrong, row(4, "DENY", output="x")])
    file.write_bytes(file.read_bytes() + b"{broken\n")
    settings = tiny_settings.model_copy(update={"dataset": str(file)})
    events = follow(Engine(tmp_path), LintDataset(settings=settings))
    faults = [(x.code, x.where) for x in events if isinstance(x, e.RowFaulted)]
    assert faults == [("data.bad_answer", f"{file}:3"), ("data.bad_answer", f"{file}:4"), ("data.not_json", f"{file}:5")]
    read = next(x for x in events if isinstance(x, e.DatasetRead))
    assert (read.rows, read.duplicates, read.skipped) == (4, 1, 1)


@pytest.fixture
def run(tiny_settings):
    return runs.create(tiny_settings.resolve(tiny_settings.runs) / "one", tiny_settings, "data")


def test_auto_takes_the_newest_unfinished_run_of_the_same_settings_and_data(tiny_settings, run):
    assert runs.open_run(tiny_settings, "data", "", "auto") == (run, True)
    assert runs.open_run(tiny_settings, "data", "", "one") == (run, True)
    saved_elsewhere = tiny_settings.model_copy(update={"checkpoint": tiny_settings.checkpoint.model_copy(update={"keep": 4})})
    assert runs.open_run(saved_elsewhere, "data", "", "auto") == (run, True)
    memory = {"gradient_checkpointing": True, "max_tokens": 300, "memory_gib": 7.5}
    with_less = tiny_settings.model_copy(update={"train": tiny_settings.train.model_copy(update=memory)})
    assert runs.open_run(with_less, "data", "", "auto") == (run, True)
    other = tiny_settings.model_copy(update={"seed": 99})
    assert not runs.open_run(other, "data", "", "auto")[1]
    assert not runs.open_run(tiny_settings, "changed", "", "auto")[1]
    assert runs.open_run(tiny_settings, "data", "", "never")[0] != run


def test_run_of_other_settings_or_data_is_not_gone_on_with(tiny_settings, run):
    other = tiny_settings.model_copy(update={"seed": 99})
    with pytest.raises(BadInput, match="seed: 3 -> 99"):
        runs.open_run(other, "data", str(run.folder), "auto")
    run.config_file.write_text(config.to_yaml(other), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        runs.open_run(other, "data", str(run.folder), "auto")
    assert caught.value.code == "run.edited_settings"
    run.config_file.write_text(config.to_yaml(tiny_settings), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        runs.open_run(tiny_settings, "changed", str(run.folder), "auto")
    assert caught.value.code == "run.other_data"
    with pytest.raises(BadInput) as caught:
        runs.open_run(tiny_settings, "data", str(run.folder), "never")
    assert caught.value.code == "run.folder_taken"
    with pytest.raises(BadInput) as caught:
        runs.open_run(tiny_settings, "data", "", "20990101-nothing")
    assert caught.value.code == "run.missing"


def test_a_folder_with_a_persons_files_is_never_taken_for_a_run(tmp_path, tiny_settings):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput):
        runs.open_run(tiny_settings, "data", str(tmp_path), "auto")
    assert [p.name for p in tmp_path.iterdir() if p.is_file() and p.suffix == ".txt"] == ["notes.txt"]


def test_half_a_last_line_is_left_out_and_never_joined_to_the_next(run):
    one, two = e.StopRequested(job="1"), e.StopRequested(job="2")
    run.append([one])
    with run.events_file.open("ab") as file:
        file.write(b'{"kind": "StepFin')
    assert list(Run.at(run.folder).events()) == [one]
    run.append([two])
    assert list(run.events()) == [one, two]


def test_full_disk_loses_no_event(run, monkeypatch):
    worker = Worker(Snapshot())
    append, failures = Run.append, [0]

    def full(self, events):
        failures[0] += 1
        if failures[0] in (2, 3):
            raise OSError(28, "No space left on device")
        append(self, events)

    monkeypatch.setattr(Run, "append", full)

    def stage(cancel):
        yield e.RunOpened(run=run.id, folder=str(run.folder), resumed=False)
        yield from (e.StopRequested(job=str(i)) for i in range(6))

    worker.start("Full", stage)
    worker.wait(30)
    stored = [x for x in run.events() if isinstance(x, e.StopRequested)]
    assert [x.job for x in stored] == list("012345")
    assert fingerprint(run.config_file)


def test_a_paused_job_stands_still_between_two_events_and_goes_on():
    """The chat loads its model in such a pause: loading turns global switches of torch."""
    worker, done = Worker(Snapshot()), []

    def stage(cancel):
        for _ in range(400):
            done.append(len(done))
            time.sleep(0.002)
            yield e.StepFinished(step=len(done), epoch=0.0, loss=1.0, label_nll=None, learning_rate=0.0,
                                 gradient_norm=0.0, tokens=1, seconds=0.0)  # fmt: skip

    with worker.paused(10):  # nothing runs: a job that begins now waits for the end of the pause
        worker.start("StartTraining", stage)
        time.sleep(0.1)
        assert not done
    while len(done) < 5:
        time.sleep(0.001)
    with worker.paused(10):
        stood = len(done)
        time.sleep(0.1)
        assert len(done) == stood < 400
    worker.wait(30)
    assert len(done) == 400 and worker.snapshot().state == "finished"


def test_a_pause_that_the_job_does_not_come_to_is_refused_and_forgotten():
    worker, begun, free = Worker(Snapshot()), threading.Event(), threading.Event()

    def stage(cancel):
        begun.set()
        free.wait(30)
        yield e.RunAlreadyFinished(run="x", folder="x")

    worker.start("StartTraining", stage)
    assert begun.wait(30)
    with pytest.raises(Busy) as refused, worker.paused(0.05):
        pass
    assert refused.value.code == "engine.no_pause"
    free.set()
    worker.wait(30)
    assert worker.snapshot().state == "finished"
