"""Two processes train what one does: on a CPU, the tiny model, nine rows a step and one in every fifth."""

import os
import subprocess
import sys
from collections import Counter

import pytest
import torch
from made import ROOT, StopsAfter, eight_steps, environment, row, write_rows
from safetensors.torch import load_file

from so8t_engine import checkpoint, config, event_file, runs
from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES
from so8t_engine.train.job import retrain

LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
]  # fmt: skip
"""With --cpu it starts one process, whatever the number; --multi_gpu starts several where there is no card too."""

ROWS, STEPS = 37, 10

pytestmark = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes can't share one card")


def launch(*command):
    """What two processes write."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run([*LAUNCH, *map(str, command)], env=environment() | paths, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alone(settings, folder, looks=float("inf")):
    return list(retrain(settings, str(folder), "auto", StopsAfter(looks)))


@pytest.fixture(scope="module")
def job(tiny_model, tmp_path_factory):
    """Settings in a file; without dropout, which every process draws for itself."""
    folder = tmp_path_factory.mktemp("job")
    rows = write_rows(folder / "rows.jsonl", [row(i, CLASSES[i % 4]) for i in range(45)])
    settings = config.from_values(
        config.to_values(eight_steps(tiny_model, rows, folder / "runs"))
        | {"so8t.dropout": 0.0, "train.batch_size": 9, "train.gradient_accumulation": 1, "train.validate_every": 4}
    )
    file = folder / "job.yaml"
    file.write_text(config.to_yaml(settings), encoding="utf-8")
    return settings, file


@pytest.fixture(scope="module")
def one(job, tmp_path_factory):
    """A run of one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    return runs.Run.at(folder), alone(job[0], folder)


@pytest.fixture(scope="module")
def two(job, tmp_path_factory):
    """The command of the manual, with two processes."""
    run = runs.Run.at(tmp_path_factory.mktemp("two") / "run")
    launch("-m", "so8t_engine", "train", "--config", job[1], "--output", run.folder)
    return run, list(run.events())


@pytest.fixture(scope="module")
def crossed(job, tmp_path_factory):
    """A run that one process begins and two end, and one the other way round: with what each try has told."""
    folder = tmp_path_factory.mktemp("crossed")
    one_two, two_one = runs.Run.at(folder / "one_two"), runs.Run.at(folder / "two_one")
    begun = alone(job[0], one_two.folder, looks=10)
    launch("tests/train/together.py", job[1], one_two.folder, 0, job[1], two_one.folder, 10)
    ended = list(event_file.read(folder / "one_two.told"))
    halted = list(event_file.read(folder / "two_one.told"))
    return {"one, then two": (one_two, begun, ended), "two, then one": (two_one, halted, alone(job[0], two_one.folder))}


def steps(events):
    return {x.step: x for x in events if isinstance(x, e.StepFinished)}


def assert_same_course(found, wanted):
    """Losses, gradient norms and validations, to rounding."""
    found, wanted = (
        [(x.step, x.loss, x.label_nll, getattr(x, "gradient_norm", 0)) for x in events
         if isinstance(x, e.StepFinished | e.ValidationFinished)]
        for events in (found, wanted)
    )  # fmt: skip
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def assert_same_weights(run, other):
    a, b = (load_file(folder / "adapter_model.safetensors") for folder in (run.final_model, other.final_model))
    assert a.keys() == b.keys()
    assert all((a[name] - b[name]).abs().max() < 1e-5 for name in a)


def test_two_processes_train_what_one_does(one, two):
    assert next(x.processes for x in two[1] if isinstance(x, e.ModelLoaded)) == 2
    assert_same_course(two[1], one[1])
    assert_same_weights(two[0], one[0])
    assert [x.tokens for x in steps(two[1]).values()] == [x.tokens for x in steps(one[1]).values()]


def test_a_step_of_fewer_rows_than_processes_is_done_all_the_same(one, two):
    plan = next(x for x in two[1] if isinstance(x, e.TrainingPlanned))
    assert (plan.rows, plan.steps) == (ROWS, STEPS), "each fifth step has one row"
    assert steps(two[1])[5].loss == pytest.approx(steps(one[1])[5].loss, rel=1e-4)
    assert steps(two[1])[5].tokens < steps(two[1])[4].tokens / 4


def test_the_first_process_alone_writes(two, crossed):
    """In `crossed` a write by the second process is an error."""
    run, events = two
    assert [folder.name for folder in run.folder.parent.iterdir()] == ["run"]
    assert len([file for file in run.folder.rglob("*.jsonl")]) == 1
    told = Counter(type(x).__name__ for x in events)
    once = ("JobStarted", "RunOpened", "DatasetRead", "LengthsCounted", "ModelLoaded", "TrainingPlanned", "MemoryPlanned",
            "ModelSaved", "JobFinished")  # fmt: skip
    assert {name: told[name] for name in once} == dict.fromkeys(once, 1)
    assert [x.step for x in events if isinstance(x, e.StepFinished)] == list(range(1, STEPS + 1))
    validated = [x.step for x in events if isinstance(x, e.ValidationFinished)]
    assert validated == [4, 8, STEPS]
    found, faults = checkpoint.newest_good(run.checkpoints)
    assert (found.step, faults) == (STEPS, [])


@pytest.mark.parametrize("order", ["one, then two", "two, then one"])
def test_a_run_goes_on_with_another_number_of_processes(one, crossed, order):
    run, first, second = crossed[order]
    done = max(steps(first))
    assert 0 < done < STEPS and not any(isinstance(x, e.ModelSaved) for x in first)
    assert [x.step for x in second if isinstance(x, e.Resumed)] == [done]
    assert_same_course([*first, *second], one[1])
    assert_same_weights(run, one[0])
