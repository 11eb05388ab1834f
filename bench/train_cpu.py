"""How fast the demo trains on this machine's processor, this checkout against another one, step by step in turns.

    git worktree add ../before COMMIT
    python bench/train_cpu.py ../before

Both train the first epoch of configs/demo.yaml, each in a process of its own: while one makes a step, the other waits. What
else runs on a shared machine makes single runs differ by a third, from minute to minute; two steps beside each other meet
the same machine. Real tokens a second, the first steps left out.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from shapes import machine

ROOT = Path(__file__).parent.parent
WARM = 3
PAUSE = 0.02
"""Seconds between two turns: the threads of the one that has just finished may spin for some milliseconds."""

CHILD = """
import sys, threading
from so8t_engine import config
from so8t_engine.train.job import retrain

less = ["train.epochs=1.0", "train.validate_every=100000", "evaluate.every_minutes=0.0", "checkpoint.interval_seconds=3600"]
input()
for event in retrain(config.load("configs/demo.yaml", less), sys.argv[1], "never", threading.Event()):
    if type(event).__name__ == "StepFinished":
        print(event.tokens, flush=True)
        input()
print("end", flush=True)
"""
"""Trains with the code of the folder it is started in; each line that it is given lets it go on to the end of a step."""


def start(checkout: Path, output: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, output], cwd=checkout, env=environment, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def turn(process: subprocess.Popen) -> tuple[int, float] | None:
    """Tokens and seconds of its next step; None when there is none."""
    time.sleep(PAUSE)
    begun = time.perf_counter()
    print(file=process.stdin, flush=True)
    told = process.stdout.readline().strip()
    return (int(told), time.perf_counter() - begun) if told.isdigit() else None


def main() -> None:
    checkouts = {"this": ROOT, "other": Path(sys.argv[1]).resolve()}
    with tempfile.TemporaryDirectory() as scratch:
        processes = {name: start(checkout, f"{scratch}/{name}") for name, checkout in checkouts.items()}
        steps = []
        while all(step := [turn(process) for process in processes.values()]):
            steps.append(step)
    steps = steps[WARM:]
    assert all(this[0] == other[0] for this, other in steps), "they do not train on the same rows"
    tokens = sum(this[0] for this, _ in steps)
    speeds = [tokens / sum(step[side][1] for step in steps) for side in (0, 1)]
    ratios = sorted(other[1] / this[1] for this, other in steps)
    tenth = len(ratios) // 10
    print(f"{len(steps)} steps: this {speeds[0]:,.0f} tokens/s, the other {speeds[1]:,.0f}: {speeds[0] / speeds[1]:.2f} times")
    print(f"step against step: median {statistics.median(ratios):.2f} times, 10 to 90 % of them {ratios[tenth]:.2f} to {ratios[-tenth - 1]:.2f}")
    print(machine())


if __name__ == "__main__":
    main()
