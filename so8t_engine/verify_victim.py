"""A child process that saves checkpoints until it is killed: `python -m so8t_engine.verify_victim FOLDER MODE`.

It writes "saving" once a first checkpoint is whole and the next one has begun, then the step of each that is saved.
MODE "half" stands still in the middle of a file; "loop" saves on and on.
"""

import sys
import time
from pathlib import Path

from so8t_engine import checkpoint

STEPS = 100_000
"""More than are saved before the parent kills; an orphan comes to an end all the same."""

ORPHAN_SECONDS = 60


def content(step: int) -> bytes:
    """What the checkpoint of `step` holds."""
    return step.to_bytes(8, "big") * 2**17


def main(folder: Path, mode: str) -> None:
    """Save until killed; after a minute without a kill the parent must be gone."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    checkpoint.save(folder, 1, lambda target: _fill(target, 1), {}, keep=2)
    for step in range(2, STEPS):
        if time.monotonic() > deadline:
            return
        checkpoint.save(folder, step, lambda target, step=step: _begin(target, step, mode), {}, keep=2)
        print(step, flush=True)


def _begin(target: Path, step: int, mode: str) -> None:
    if mode == "half":
        data = content(step)
        (target / "state.bin").write_bytes(data[: len(data) // 2])
    if step == 2:
        print("saving", flush=True)
    if mode == "half":
        time.sleep(ORPHAN_SECONDS)
    _fill(target, step)


def _fill(target: Path, step: int) -> None:
    (target / "state.bin").write_bytes(content(step))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
