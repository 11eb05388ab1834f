"""How fast the demo trains on this machine's processor, this checkout against another one, in turns.

    git worktree add ../before COMMIT
    python bench/train_cpu.py ../before

Both train the first 36 steps of configs/demo.yaml through their own command line, eight times each in turns. Real tokens a
second, the first three steps of a run left out. What else runs on a shared machine makes single runs differ by a third, from
minute to minute, so the two are compared within each turn.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from shapes import machine

ROOT = Path(__file__).parent.parent
TURNS, WARM = 8, 3
LESS = ("train.epochs=0.2", "train.validate_every=100000", "evaluate.every_minutes=0.0", "checkpoint.interval_seconds=3600")


def speed(checkout: Path) -> float:
    """Tokens a second of one run of the code in `checkout`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "so8t_engine", "train", "--config", "configs/demo.yaml", "--output", f"{scratch}/run"]
        command += [part for change in LESS for part in ("--set", change)]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        subprocess.run(command, check=True, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = (Path(scratch) / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [event for event in map(json.loads, told) if event["kind"] == "StepFinished"][WARM:]
    return sum(step["tokens"] for step in steps) / sum(step["seconds"] for step in steps)


def main() -> None:
    other = Path(sys.argv[1]).resolve()
    found = {"this": [], "other": []}
    for _ in range(TURNS):
        found["this"].append(speed(ROOT))
        found["other"].append(speed(other))
        print({name: round(values[-1]) for name, values in found.items()}, flush=True)
    middle = {name: statistics.median(values) for name, values in found.items()}
    turns = sorted(this / other for this, other in zip(found["this"], found["other"], strict=True))
    print(f"medians: this {middle['this']:,.0f} tokens/s, the other {middle['other']:,.0f}: {middle['this'] / middle['other']:.2f} times")
    print(f"within a turn: median {statistics.median(turns):.2f} times, {turns[0]:.2f} to {turns[-1]:.2f}")
    print(machine())


if __name__ == "__main__":
    main()
