"""What a training costs: speed, memory, energy, and where its time went, in `performance_report.json`.

The phases are measured where the work is done. On a card that is its own clock: an event is put into the stream at each
border and read after it has passed, so that nothing waits for the card. A card works through its stream while the
processor is ahead, so what the processor does meanwhile (the next rows, say) costs nothing, and is counted as nothing.
"""

import json
import platform
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import torch

from so8t_engine import config
from so8t_engine import events as e
from so8t_engine.disk import write_whole
from so8t_engine.errors import EngineError
from so8t_engine.runs import Run
from so8t_engine.train.gauges import Gauges, known

STANDSTILL = 1.0
"""Seconds between an event and the wish for the next from which on the job stood still: what the card used is not its."""


class _Clock:
    """Marks by the processor's clock."""

    def mark(self) -> float:
        return time.perf_counter()

    def passed(self, mark: float) -> bool:
        return True

    def seconds(self, begun: float, ended: float) -> float:
        return ended - begun

    def wait(self, mark: float) -> None:
        """Nothing to wait for."""


class _CardClock:
    """Marks in the card's stream; they are used again once they have been read."""

    def __init__(self) -> None:
        self._spare: list[torch.cuda.Event] = []

    def mark(self) -> torch.cuda.Event:
        event = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def passed(self, mark: torch.cuda.Event) -> bool:
        return mark.query()

    def seconds(self, begun: torch.cuda.Event, ended: torch.cuda.Event) -> float:
        self._spare += (begun, ended)
        return begun.elapsed_time(ended) / 1000

    def wait(self, mark: torch.cuda.Event) -> None:
        mark.synchronize()


class Profile:
    """The figures of one try at a run. It holds a few numbers a step and draws nothing at random.

    Args:
        device: where the model computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._clock = _CardClock() if device.type == "cuda" else _Clock()
        self._gauges = Gauges(device)
        self._waiting: list[tuple] = []  # name, begin and end of phases that the card may not have come to yet
        self._phases: dict[str, float] = defaultdict(float)
        self._steps = array("d")  # seconds of each
        self._rows = self._tokens = self._last = 0
        self._begun, self._away = time.perf_counter(), 0.0
        self._earlier: dict[str, float] = {}
        self._told = True

    def follow(self, events: Iterator[e.Event], run: Run, settings: config.Settings, versions: dict) -> Iterator[e.Event]:
        """`events` of the training, and PerformanceMeasured behind each checkpoint and at the end.

        The time for which the taker keeps an event (to write it down; in a pause, for minutes) is not the training's.
        """
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._begun = time.perf_counter()
        self._gauges.look(0)
        for event in self._reported(events, run, settings, versions):
            left = time.perf_counter()
            yield event
            away = time.perf_counter() - left
            self._away += away
            if away > STANDSTILL:
                self._gauges.leave_out()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time in here for `name`: data, forward, backward, optimizer, checkpoint or validation.

        A step may enter a phase often, but not from within another one.
        """
        if name == "backward":  # the card is at work: what it tells now is what the training makes of it
            self._gauges.look_when_due(self._tokens)
        begun = self._clock.mark()
        yield
        self._waiting.append((name, begun, self._clock.mark()))
        self._told = False

    def finish_step(self, rows: int, tokens: int, seconds: float) -> None:
        """A step is done: its rows, its real tokens, its wall time."""
        self._rows += rows
        self._tokens += tokens
        self._steps.append(seconds)
        self._read()
        self._told = False

    def report(self, run: Run, settings: config.Settings, versions: dict[str, str]) -> dict:
        """All that was measured in this try so far; what was not is left out. Call it after a finished step."""
        if self._waiting:
            self._clock.wait(self._waiting[-1][2])  # behind a checkpoint: the card has nothing left to do
        self._read()
        self._gauges.look(self._tokens)
        passed = time.perf_counter() - self._begun - self._away
        parts = dict(self._phases)
        whole = max(passed, sum(parts.values()))
        parts["other"] = whole - sum(parts.values())
        stepping, steps = float(sum(self._steps)), len(self._steps)
        p50, p95 = np.percentile(self._steps, (50, 95))
        now = {"tries": 1, "steps": steps, "tokens": self._tokens, "seconds": passed}
        return {
            "about": "the steps of one try at the run: those after from_step, up to to_step",
            "run": run.id, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "from_step": self._last - steps, "to_step": self._last, "steps": steps,
            "rows": self._rows, "tokens": self._tokens, "seconds": passed, "held_seconds": self._away,
            "samples_per_second": self._rows / stepping, "tokens_per_second": self._tokens / stepping,
            "step_seconds": {"mean": stepping / steps, "p50": float(p50), "p95": float(p95), "max": max(self._steps)},
            "time": {name: {"seconds": part, "share": part / whole} for name, part in parts.items()},
            "memory": self._gauges.memory(),
            **known({"card": self._gauges.card() or None}),
            "all_tries": {name: value + self._earlier.get(name, 0) for name, value in now.items()},
            "machine": self._machine(), "versions": versions, "settings": config.to_values(settings),
        }  # fmt: skip

    def _reported(self, events: Iterator[e.Event], run: Run, settings: config.Settings, versions: dict) -> Iterator[e.Event]:
        self._earlier = _earlier(run)
        for event in events:
            yield event
            if isinstance(event, e.StepFinished):
                self._last = event.step
            elif isinstance(event, e.CheckpointSaved) and self._steps:
                yield self._write(run, self.report(run, settings, versions))
        if self._steps and not self._told:
            yield self._write(run, self.report(run, settings, versions))

    def _write(self, run: Run, report: dict) -> e.PerformanceMeasured:
        """Write the file, and tell its main figures. A disk that refuses costs the file, not the run."""
        self._told, file = True, run.performance_report
        try:
            write_whole(file, json.dumps(report, indent=1, ensure_ascii=False).encode("utf-8"))
        except (OSError, EngineError):
            file = None
        memory, card = report["memory"], report.get("card", {})
        return e.PerformanceMeasured(
            from_step=report["from_step"], to_step=report["to_step"], seconds=report["seconds"],
            tokens_per_second=report["tokens_per_second"], samples_per_second=report["samples_per_second"],
            step_p50=report["step_seconds"]["p50"], step_p95=report["step_seconds"]["p95"],
            ram_peak=memory["ram_process_peak"], vram_peak=memory.get("vram_allocated_peak"),
            joules_per_1000_tokens=card.get("joules_per_1000_tokens"),
            shares={name: part["share"] for name, part in report["time"].items()}, file=str(file) if file else None,
        )  # fmt: skip

    def _read(self) -> None:
        """Add up the phases that are over, in order."""
        done = 0
        for name, begun, ended in self._waiting:
            if not self._clock.passed(ended):
                break
            self._phases[name] += self._clock.seconds(begun, ended)
            done += 1
        del self._waiting[:done]

    def _machine(self) -> dict[str, object]:
        on_card = self._device.type == "cuda"
        return known({
            "system": platform.platform(), "processor": platform.processor() or None,
            "cores": psutil.cpu_count(logical=False), "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(self._device) if on_card else "CPU",
            "cuda": torch.version.cuda if on_card else None,
        })  # fmt: skip


def _earlier(run: Run) -> dict[str, float]:
    """The sums over the tries of `run` before this one, as far as they were written down."""
    try:
        return json.loads(run.performance_report.read_bytes())["all_tries"]
    except (OSError, ValueError, KeyError):
        return {}
