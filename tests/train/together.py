"""Run by `accelerate launch` in test_ranks.py: trainings that are taken up or stopped, in one pair of processes.

Arguments: for each training its config, its run folder, and after how many looks the first process wishes to stop, or 0.
What each yields is added to <run folder>.told.
"""

import os
import sys
import threading
from pathlib import Path

from made import StopsAfter

from so8t_engine import config, event_file
from so8t_engine.train.job import retrain
from so8t_engine.train.ranks import Ranks


def main(arguments: list[str]) -> None:
    ranks = Ranks()
    assert ranks.count == 2
    first = ranks.first
    if not first:
        sys.addaudithook(_only_reading([str(Path(folder)) for folder in arguments[1::3]]))
    for job, folder, looks in zip(arguments[::3], arguments[1::3], map(int, arguments[2::3]), strict=True):
        # The second process is not told of the stop: it ends with the first one all the same.
        cancel = StopsAfter(looks) if looks and first else threading.Event()
        told = list(retrain(config.load(job), folder, "auto", cancel))
        assert bool(told) == first, "the first process tells, and it alone"
        if first:
            event_file.append(Path(f"{folder}.told"), told)


def _only_reading(folders: list[str]):
    """A hook that lets nothing be written, made, moved or deleted in those folders."""
    changing = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")

    def look(event: str, facts: tuple) -> None:
        writing = event == "open" and facts[2] & (os.O_WRONLY | os.O_RDWR)
        if (writing or event in changing) and str(facts[0]).startswith(tuple(folders)):
            raise PermissionError(f"the second process: {event} {facts}")

    return look


if __name__ == "__main__":
    main(sys.argv[1:])
