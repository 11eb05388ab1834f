"""Waiting for the page's own clock, and presses that are not lost."""

from collections.abc import Callable

import pytest

Error = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").Error

AGAIN = 10_000
"""Milliseconds after which a press without effect is made again."""


def wait_for_ticks(page, count: int = 2) -> None:
    """Until the page has asked the server so often what there is to show, and has been told: about a second each."""
    for _ in range(count):
        with page.expect_event("requestfinished", lambda request: "/gradio_api/queue/data" in request.url):
            pass


def press(button, seen: Callable[[int], object], longest: int) -> None:
    """Press until `seen(milliseconds)` raises nothing, for at most `longest` milliseconds and a few seconds.

    A press is lost where the card is drawn anew between the mouse's down and up. It is made again only where the
    button still stands: what runs has another one in its place.
    """
    for left in range(longest, 0, -AGAIN):
        if button.is_visible() and button.is_enabled():
            try:
                button.click(timeout=AGAIN)
            except Error:
                continue  # drawn anew once too often
        try:
            seen(min(AGAIN, left))
            return
        except (AssertionError, Error):
            continue
    seen(AGAIN)
