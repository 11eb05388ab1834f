"""Who tells a person of the chain: an open page as long as there is one, this machine otherwise; and what there is to tell."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dashboard import numbers
from dashboard.bridge import Page
from dashboard.overnight_progress import COMMAND
from so8t_engine import Snapshot, events

OPEN_SECONDS = 5.0
"""A page that has not asked for longer than this is closed, or its browser has put it to sleep."""

FRESH_SECONDS = 10.0
"""What is older is told no more: the machine has, or the page was not open then."""


class Presence:
    """Whether a page is open that plays the sounds, or that was told to be silent: then the machine plays nothing.

    clock: seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: float | None = None

    def told(self) -> None:
        """A page has said that it takes care."""
        with self._lock:
            self._last = self._clock()

    def __call__(self) -> bool:
        with self._lock:
            return self._last is not None and self._clock() - self._last < OPEN_SECONDS


@dataclass(frozen=True)
class News:
    """One thing to tell. kind: "stage_done", "all_done" or "trouble", each with a sound of its own. key: equal for all windows;
    at: when it happened, seconds since 1970."""

    kind: str
    key: str
    at: float
    title: str
    body: str


def news(snapshot: Snapshot, page: Page) -> News | None:
    """The newest thing to tell of the chain. A stop is none: who stopped it knows."""
    if snapshot.command != COMMAND:
        return None
    if failure := snapshot.failure:
        what = page.error(failure.code, "what", failure.facts)
        return News("trouble", f"{snapshot.job} trouble", failure.time, page.t("overnight.news.trouble"), what)
    if over := snapshot.pipeline_finished:
        time_ = page.t("overnight.news.took", time=numbers.duration(over.seconds, page.language))
        return News("all_done", f"{snapshot.job} done", over.time, page.t("overnight.news.done"), time_)
    told = [one for one in snapshot.stages if isinstance(one, events.StageFinished) and one.outcome == "finished"]
    if not told:
        return None
    last = told[-1]
    name, took = page.t(f"overnight.stage.{last.stage}"), numbers.duration(last.seconds, page.language)
    return News(
        "stage_done", f"{snapshot.job} {last.stage}", last.time, page.t("overnight.news.stage", stage=name),
        page.t("overnight.news.took", time=took),
    )  # fmt: skip
