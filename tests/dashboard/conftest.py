"""Snapshots folded from made-up events, and pages over an engine that runs nothing."""

import pytest

from dashboard.bridge import Bridge, Page
from dashboard.draft import Draft
from so8t_engine import Engine, config, events
from so8t_engine.snapshot import replay

NASTY = '<img src=x onerror="alert(1)">&\'日本'
"""What a folder, a file or an error text may hold."""


@pytest.fixture
def bridge(tmp_path) -> Bridge:
    """An engine without runs and the demo's settings."""
    return Bridge(Engine(tmp_path / "runs"), Draft(config.CONFIGS / "demo.yaml"))


@pytest.fixture(params=["ja", "en"])
def page(request, bridge) -> Page:
    """The page in both languages."""
    return Page(request.param, bridge)


@pytest.fixture
def story(tmp_path):
    """`story(steps, *more)`: the events of a training of so many steps, then `more`."""

    def tell(steps: int = 30, *more: events.Event) -> list[events.Event]:
        run = tmp_path / "runs" / NASTY
        begun = [
            events.JobStarted(time=100.0, job="j", command="StartTraining"),
            events.RunOpened(time=100.0, run=NASTY, folder=str(run), resumed=False),
            events.DatasetRead(
                time=101.0, file=f"data/{NASTY}.jsonl", rows=40, classes=dict.fromkeys(("ALLOW", "DENY"), 20),
                languages={"ja": 40}, without_output=0, duplicates=0, skipped=1, first_skipped=NASTY,
                splits={"train": 32, "validation": 4, "test": 4},
            ),
            events.LengthsCounted(time=101.0, longest=90, mean=40.0, max_length=80, too_long=3),
            events.ModelLoaded(
                time=102.0, folder=NASTY, architecture="Phi3", parameters=4_000_000, trainable=100_000, device="cpu",
                dtype="float32", quantization="none", seconds=1.0,
            ),
            events.TrainingPlanned(time=102.0, steps=100, steps_per_epoch=50, rows=32, epochs=2.0),
            events.MemoryPlanned(
                time=102.0, pack=7083, recomputed=31, layers=32, bytes=int(7.2 * 2**30), room=int(7.4 * 2**30),
                attention="flash", fused=True,
            ),
        ]  # fmt: skip
        return [*begun, *(step(number) for number in range(1, steps + 1)), *more]

    return tell


@pytest.fixture
def replayed():
    """From events to the snapshot of a stored run."""
    return replay


def step(number: int, **changes) -> events.StepFinished:
    """One step, a second after the one before."""
    facts = {
        "time": 102.0 + number, "step": number, "epoch": number / 50, "loss": 3.0 / number, "label_nll": 1.0 / number,
        "learning_rate": 1e-3, "gradient_norm": 1.0, "tokens": 1000, "seconds": 1.0, "rotation_error": 3e-7,
    }  # fmt: skip
    return events.StepFinished(**facts | changes)
