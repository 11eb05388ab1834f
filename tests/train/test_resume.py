"""A resumed run is the same run: whatever stopped it, weights and losses end bit for bit where they would have."""

import _thread
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from made import ROOT, eight_steps, environment, forty_rows
from safetensors.torch import load_file

from so8t_engine import checkpoint, config, runs
from so8t_engine import events as e
from so8t_engine.__main__ import main
from so8t_engine.data.sources import fingerprint
from so8t_engine.train.job import retrain
from so8t_engine.train.loop import train


class CancelAfter:
    """A cancel token that is set at the n-th look."""

    def __init__(self, looks: float = float("inf")) -> None:
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def new_run(settings, name="run"):
    folder = settings.resolve(settings.runs) / name
    return runs.create(folder, settings, fingerprint(settings.resolve(settings.dataset)))


def losses(events):
    return {x.step: x.loss for x in events if isinstance(x, e.StepFinished)}


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def assert_same_weights(one, other):
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(a[name].equal(b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tiny_model, tmp_path_factory):
    """A run that nothing has stopped, on the same rows as those of `tiny_settings`."""
    folder = tmp_path_factory.mktemp("whole")
    settings = eight_steps(tiny_model, forty_rows(folder), folder / "runs")
    run = new_run(settings, "whole")
    return run, list(train(settings, run, CancelAfter()))


def validations(events):
    return {x.step: (x.loss, x.best) for x in events if isinstance(x, e.ValidationFinished)}


# 32 training rows, 2 x 4 a step: 4 looks at the token a step, 8 steps; 2 looks in the validation after steps 3, 6, 8.
@pytest.mark.parametrize(("looks", "done"), [(1, 0), (5, 1), (13, 3), (14, 3), (16, 3), (31, 6), (37, 8)])
def test_stopped_and_resumed_run_is_bit_identical(tiny_settings, whole, looks, done):
    run = new_run(tiny_settings, "stopped")
    first = list(train(tiny_settings, run, CancelAfter(looks)))
    assert max(losses(first), default=0) == done
    assert not run.finished
    second = list(train(tiny_settings, run, CancelAfter()))
    assert [x.step for x in second if isinstance(x, e.Resumed)] == ([done] if done else [])
    assert losses(first) | losses(second) == losses(whole[1])
    assert not set(losses(first)) & set(losses(second))
    assert validations(first) | validations(second) == validations(whole[1])
    assert_same_weights(run.final_model, whole[0].final_model)


def test_a_run_goes_on_with_less_memory_than_it_was_started_with(tiny_settings, whole):
    first = list(retrain(tiny_settings, "", "auto", CancelAfter(13)))
    (run,) = runs.all_runs(tiny_settings.resolve(tiny_settings.runs))
    less = {"gradient_checkpointing": True, "max_tokens": 1}
    settings = tiny_settings.model_copy(update={"train": tiny_settings.train.model_copy(update=less)})
    second = list(retrain(settings, str(run.folder), "auto", CancelAfter()))
    planned = [next(x for x in events if isinstance(x, e.MemoryPlanned)) for events in (first, second)]
    assert planned[0].pack > planned[1].pack and planned[1].recomputed == planned[1].layers
    assert run.finished and run.settings() == settings
    assert losses(first) | losses(second) == pytest.approx(losses(whole[1]), rel=1e-3)


def test_resumed_run_is_bit_identical_on_several_threads(tiny_settings, several_threads):
    settings = config.from_values(config.to_values(tiny_settings) | {"train.epochs": 0.75})
    straight, run = new_run(settings, "straight"), new_run(settings, "stopped")
    whole = list(train(settings, straight, CancelAfter()))
    first = list(train(settings, run, CancelAfter(5)))
    second = list(train(settings, run, CancelAfter()))
    assert [x.step for x in second if isinstance(x, e.Resumed)] == [1]
    assert losses(first) | losses(second) == losses(whole)
    assert_same_weights(run.final_model, straight.final_model)


def test_best_model_that_cannot_be_written_costs_a_warning_not_the_run(tiny_settings):
    run = new_run(tiny_settings, "no_room")
    run.best_model.rmdir()
    run.best_model.write_text("a file where the folder should be: every write into it fails")
    events = list(train(tiny_settings, run, CancelAfter()))
    assert next(x.code for x in events if isinstance(x, e.CheckpointFailed)) == "checkpoint.unwritten"
    assert run.finished


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
def test_8bit_base_is_trained_saved_and_resumed(tiny_settings, optimizer):
    flat = config.to_values(tiny_settings) | {
        "model.quantization": "8bit", "train.optimizer": optimizer, "train.gradient_checkpointing": True,
        # wide enough a matrix that bitsandbytes keeps 8-bit states for it
        "so8t.r": 64, "train.epochs": 1,
    }  # fmt: skip
    settings = config.from_values(flat)
    whole = new_run(settings, "whole8")
    straight = list(train(settings, whole, CancelAfter()))
    loaded = next(x for x in straight if isinstance(x, e.ModelLoaded))
    assert loaded.quantization == "8bit"
    assert losses(straight)[4] < losses(straight)[1]
    stopped = new_run(settings, "stopped8")
    first = list(train(settings, stopped, CancelAfter(9)))
    second = list(train(settings, stopped, CancelAfter()))
    assert losses(first) | losses(second) == losses(straight)
    assert_same_weights(stopped.final_model, whole.final_model)


def test_damaged_newest_checkpoint_is_put_aside_and_the_one_before_used(tiny_settings, whole):
    settings = tiny_settings.model_copy(update={"checkpoint": tiny_settings.checkpoint.model_copy(update={"interval_seconds": 1})})
    run = new_run(settings, "damaged")
    list(train(settings, run, CancelAfter(9)))
    list(train(settings, run, CancelAfter(9)))
    newest, older = sorted(run.checkpoints.glob("step-*"), reverse=True)[:2]
    file = newest / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    events = list(train(settings, run, CancelAfter()))
    assert [x.folder for x in events if isinstance(x, e.CheckpointPutAside)] == [str(file)]
    assert [x.checkpoint for x in events if isinstance(x, e.Resumed)] == [str(older)]
    assert_same_weights(run.final_model, whole[0].final_model)


def test_best_model_is_the_one_with_the_lowest_validation_loss(whole):
    run, events = whole
    best = min((x for x in events if isinstance(x, e.ValidationFinished)), key=lambda x: x.loss)
    found, _ = checkpoint.newest_good(run.best_model)
    assert found.step == best.step
    assert best.best


@pytest.fixture
def signals():
    """Puts back the handlers that the command line sets in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def arguments(settings_file, output):
    return ["train", "--config", str(settings_file), "--output", str(output)]


def killed(settings_file, output, line, seconds):
    """What the command says in a process of its own that is killed so many seconds after a line that begins so."""
    command = [sys.executable, "-m", "so8t_engine", *arguments(settings_file, output)]
    process = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    told = []
    for said in process.stdout:
        told.append(said)
        if said.startswith(line):
            break
    threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would hold it
    time.sleep(seconds)
    process.kill()
    process.wait()
    return "".join(told)


def secured(run):
    """The last step of which a whole checkpoint stands on the disk; 0 if there is none."""
    return max((json.loads(file.read_bytes())["step"] for file in run.checkpoints.glob("step-*/MANIFEST.json")), default=0)


def assert_begins_after(step, told):
    """The command has resumed at that step; at 0 it has begun anew; where all was done it has said so."""
    resumed = re.search(r"^resumed at step (\d+) ", told, re.MULTILINE)
    assert (int(resumed[1]) if resumed else 0) == step or "nothing to do" in told


def test_kill_9_at_random_moments_then_the_same_command_ends_bit_identical(tmp_path, tiny_settings, capsys, signals):
    """A kill before anything is secured costs what was done; one after it costs what came since the checkpoint."""
    flat = config.to_values(tiny_settings) | {
        "train.epochs": 25, "train.validate_every": 10, "checkpoint.interval_seconds": 1, "checkpoint.keep": 3,
    }  # fmt: skip
    file = tmp_path / "job.yaml"
    file.write_text(config.to_yaml(config.from_values(flat)), encoding="utf-8")
    straight, broken = runs.Run.at(tmp_path / "straight"), runs.Run.at(tmp_path / "broken")
    assert main(arguments(file, straight.folder)) == 0
    chance, step = random.Random(time.time_ns()), 0
    for line in ("step ", "checkpoint at step "):  # training has begun; a checkpoint stands
        told = killed(file, broken.folder, line, chance.uniform(0.0, 0.8))
        assert_begins_after(step, told)
        step = secured(broken)
    assert step, "the last kill came after a checkpoint"
    capsys.readouterr()
    assert main(arguments(file, broken.folder)) == 0
    assert_begins_after(step, capsys.readouterr().out)
    assert_same_weights(broken.final_model, straight.final_model)
    assert losses(broken.events()) == losses(straight.events())


def test_ctrl_c_leaves_a_checkpoint_and_exit_code_1(tmp_path, tiny_settings, capsys, signals):
    file = tmp_path / "job.yaml"
    file.write_text(config.to_yaml(config.from_values(config.to_values(tiny_settings) | {"train.epochs": 500})), encoding="utf-8")
    run, ended = runs.Run.at(tmp_path / "out"), threading.Event()

    def press():
        while not any(isinstance(event, e.StepFinished) for event in run.events()):
            if ended.wait(0.05):
                return
        _thread.interrupt_main(signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    try:
        assert main(arguments(file, run.folder)) == 1
    finally:
        ended.set()
        presser.join()
    assert "(stop)" in capsys.readouterr().out
    found, faults = checkpoint.newest_good(run.checkpoints)
    assert found and not faults
