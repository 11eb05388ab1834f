"""What a training has cost is told as it was, and what nobody has measured is not told."""

import json
import subprocess
import sys
import time
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made import ROOT, StopsAfter, environment
from test_resume import new_run

from so8t_engine import config, hardware
from so8t_engine import events as e
from so8t_engine.snapshot import replay
from so8t_engine.train import gauges as gauges_module
from so8t_engine.train import gradient, loop, profile
from so8t_engine.train.loop import train
from so8t_engine.train.profile import Profile

ENDLESS = float("inf")


class Watch:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch, module) -> None:
        self.now = 0.0
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now, strftime=time.strftime))

    def takes(self, monkeypatch, place, name, seconds):
        """That function now takes so long."""
        real = getattr(place, name)

        def slow(*args, **kwargs):
            self.now += seconds
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, slow)


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr(profile, "_CardClock", profile._Clock)  # a card has a clock of its own, which no test turns
    return Watch(monkeypatch, profile)


def told(run) -> dict:
    return json.loads(run.performance_report.read_bytes())


def measured(events) -> list[e.PerformanceMeasured]:
    return [event for event in events if isinstance(event, e.PerformanceMeasured)]


# One place in the loop for each phase, and how often it is come to in four steps of four packs, after which come
# validation rows, the best model and the last checkpoint.
PLACES = {
    "data": (gradient, "pack", {"data": 16, "validation": 2}),
    "forward": (gradient, "answer_loss", {"forward": 16, "validation": 2}),
    "backward": (torch.Tensor, "backward", {"backward": 16}),
    "optimizer": (torch.nn.utils, "clip_grad_norm_", {"optimizer": 4}),
    "checkpoint": (loop.checkpoint, "save", {"checkpoint": 2}),
    "other": (loop, "rotations_error", {"other": 1}),
}  # fmt: skip


@pytest.mark.parametrize("phase", PLACES)
def test_time_is_counted_for_the_phase_in_which_it_was_spent(tiny_settings, monkeypatch, watch, phase):
    settings = config.from_values(config.to_values(tiny_settings) | {"train.validate_every": 1000, "train.epochs": 1})
    place, name, wanted = PLACES[phase]
    watch.takes(monkeypatch, place, name, 3.0)
    run = new_run(settings)
    list(train(settings, run, StopsAfter(ENDLESS)))
    report = told(run)
    assert {name: part["seconds"] / 3.0 for name, part in report["time"].items() if part["seconds"]} == wanted
    assert report["seconds"] == 3.0 * sum(wanted.values())
    shares = [part["share"] for part in report["time"].values()]
    assert min(shares) == 0.0 and sum(shares) == pytest.approx(1.0)


def test_speed_and_percentiles_are_those_of_the_steps(tiny_settings):
    run = new_run(tiny_settings)
    events = list(train(tiny_settings, run, StopsAfter(ENDLESS)))
    steps = [event for event in events if isinstance(event, e.StepFinished)]
    seconds, report = [step.seconds for step in steps], told(run)
    assert report["step_seconds"]["p50"] == pytest.approx(np.percentile(seconds, 50))
    assert report["step_seconds"]["p95"] == pytest.approx(np.percentile(seconds, 95))
    assert report["step_seconds"]["max"] == max(seconds)
    assert report["tokens"] == sum(step.tokens for step in steps)
    assert report["tokens_per_second"] == pytest.approx(report["tokens"] / sum(seconds))
    assert report["samples_per_second"] == pytest.approx(64 / sum(seconds)), "32 rows, twice"
    assert (report["from_step"], report["to_step"], report["steps"], report["rows"]) == (0, 8, 8, 64)
    assert report["settings"]["so8t.r"] == 4
    assert report["versions"]["torch"] == version("torch")
    assert sum(seconds) <= report["seconds"]
    last = measured(events)[-1]
    assert (last.step_p50, last.shares["forward"]) == (report["step_seconds"]["p50"], report["time"]["forward"]["share"])
    assert replay(events).performance == last, "a reload shows it too"


def test_what_was_not_measured_is_absent(tiny_settings):
    run = new_run(tiny_settings)
    settings = config.from_values(config.to_values(tiny_settings) | {"train.epochs": 0.5})
    events = list(train(settings, run, StopsAfter(ENDLESS)))
    report = told(run)
    assert "null" not in run.performance_report.read_text(encoding="utf-8")
    if not torch.cuda.is_available():
        assert "card" not in report and not [name for name in report["memory"] if name.startswith("vram")]
        assert (measured(events)[-1].vram_peak, measured(events)[-1].joules_per_1000_tokens) == (None, None)


def test_a_pause_is_no_time_of_the_training(tiny_settings, monkeypatch, watch):
    watch.takes(monkeypatch, torch.Tensor, "backward", 1.0)
    run = new_run(tiny_settings)
    for event in train(tiny_settings, run, StopsAfter(ENDLESS)):
        if isinstance(event, e.StepFinished):
            watch.now += 100.0  # whoever takes the events stands still
    report = told(run)
    assert (report["seconds"], report["held_seconds"]) == (32.0, 800.0)
    assert report["time"]["backward"]["share"] == 1.0


def test_a_stopped_run_has_a_report_and_a_resumed_one_tells_of_its_own_steps(tiny_settings):
    run = new_run(tiny_settings)
    first = list(train(tiny_settings, run, StopsAfter(13)))
    report = told(run)
    assert (report["from_step"], report["to_step"], report["all_tries"]["steps"]) == (0, 3, 3)
    assert not run.finished and measured(first)[-1].to_step == 3
    list(train(tiny_settings, run, StopsAfter(ENDLESS)))
    second = told(run)
    assert (second["from_step"], second["to_step"], second["steps"]) == (3, 8, 5)
    assert second["rows"] == 40, "4 x 2 rows a step"
    sums = second["all_tries"]
    assert (sums["tries"], sums["steps"]) == (2, 8)
    assert sums["tokens"] == report["tokens"] + second["tokens"]
    assert sums["seconds"] == pytest.approx(report["seconds"] + second["seconds"])


def test_a_run_without_a_step_has_no_report(tiny_settings):
    run = new_run(tiny_settings)
    assert not measured(train(tiny_settings, run, StopsAfter(1)))
    assert not run.performance_report.exists()


def test_a_report_is_written_at_each_checkpoint_and_whole_after_a_kill(tmp_path, tiny_settings):
    """The process dies in the moment in which the second report would take the place of the first."""
    values = config.to_values(tiny_settings) | {"checkpoint.interval_seconds": 1, "train.epochs": 500}
    file = tmp_path / "job.yaml"
    file.write_text(config.to_yaml(config.from_values(values)), encoding="utf-8")
    code = (
        "import os, sys\n"
        "from so8t_engine.__main__ import main\n"
        "real, seen = os.replace, []\n"
        "def replace(source, target):\n"
        "    if str(target).endswith('performance_report.json'):\n"
        "        seen.append(1)\n"
        "        if len(seen) == 2: os._exit(9)\n"
        "    return real(source, target)\n"
        "os.replace = replace\n"
        f"main(['train', '--config', {str(file)!r}, '--output', {str(tmp_path / 'out')!r}])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True)
    assert ended.returncode == 9, ended.stderr
    run = loop.Run.at(tmp_path / "out")
    report = told(run)
    saved = [event.step for event in run.events() if isinstance(event, e.CheckpointSaved)]
    assert report["to_step"] == saved[0] and len(saved) == 2


def test_a_report_that_can_not_be_written_costs_the_file_and_not_the_run(tiny_settings):
    run = new_run(tiny_settings)
    run.performance_report.mkdir()
    (run.performance_report / "in_the_way").touch()
    events = list(train(tiny_settings, run, StopsAfter(ENDLESS)))
    assert run.finished
    assert measured(events)[-1].file is None


class Card:
    """A card that is played: each look at it takes the next figures."""

    def __init__(self, monkeypatch, watts, joules):
        self.watts, self.joules = iter(watts), iter(joules)
        seen = hardware.sample()
        monkeypatch.setattr(hardware, "energy", lambda: next(self.joules))
        monkeypatch.setattr(hardware, "sample", lambda: seen.model_copy(
            update={"gpu_name": "GPU", "gpu": 90.0, "temperature": 60.0, "power": next(self.watts)}))  # fmt: skip


@pytest.fixture
def gauges():
    return gauges_module.Gauges(torch.device("cuda"))


def test_energy_is_the_difference_of_the_counter_without_pauses(monkeypatch, gauges):
    Card(monkeypatch, [100.0, 300.0, 100.0, 100.0], [5000.0, 5060.0, 9000.0, 9030.0])
    gauges.look(0)
    gauges.look(1000)
    gauges.leave_out()
    gauges.look(1500)  # the 3,940 J before it were used in a pause, and its 500 tokens go with them
    gauges.look(2500)
    card = gauges.card()
    assert (card["energy_joules"], card["energy_from"], card["joules_per_1000_tokens"]) == (90.0, "counter", 45.0)
    assert card["power_watts"] == {"mean": 150.0, "max": 300.0}
    assert card["use_percent"]["mean"] == 90.0 and card["temperature_celsius"]["max"] == 60.0


def test_without_a_counter_energy_is_power_over_time(monkeypatch, gauges):
    Card(monkeypatch, [100.0, 300.0], [None, None])
    watch = Watch(monkeypatch, gauges_module)
    gauges.look(0)
    watch.now += 2.0
    gauges.look(4000)
    card = gauges.card()
    assert (card["energy_joules"], card["energy_from"], card["joules_per_1000_tokens"]) == (400.0, "power", 100.0)


def test_a_card_that_tells_nothing_of_its_energy_gives_no_figure_of_it(monkeypatch, gauges):
    Card(monkeypatch, [None, None], [None, None])
    gauges.look(0)
    gauges.look(4000)
    assert gauges.card().keys() == {"name", "use_percent", "temperature_celsius"}


def test_a_slow_driver_is_asked_less_often(monkeypatch, gauges):
    watch, asked, seen = Watch(monkeypatch, gauges_module), [], hardware.sample()
    monkeypatch.setattr(hardware, "energy", lambda: asked.append(watch.now))
    monkeypatch.setattr(hardware, "sample", lambda: seen)
    watch.takes(monkeypatch, hardware, "sample", 0.125)
    for _ in range(1000):
        gauges.look_when_due(0)
        watch.now += 0.125
    assert asked == [0.125, 25.25, 50.375, 75.5, 100.625], "half a per cent of the time"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card")
def test_phases_on_a_card_are_those_of_its_stream():
    """The processor is ahead of the card, and each phase has the time that the card took for it."""
    figures = Profile(torch.device("cuda"))
    matrix = torch.randn(4096, 4096, device="cuda")
    for _ in range(20):
        for name, times in (("forward", 5), ("backward", 10)):
            with figures.phase(name):
                for _ in range(times):
                    matrix @ matrix
        figures.finish_step(1, 1, 1.0)
    torch.cuda.synchronize()
    figures._read()
    assert not figures._waiting
    assert figures._phases["backward"] / figures._phases["forward"] == pytest.approx(2, rel=0.3)
