"""The main figures of a stage as a person reads them: the engine gives them by name, as text."""

import re

from dashboard import numbers, texts
from dashboard.bridge import Page

SCORES = ("macro_f1", "score")
"""No shares of rows: 0.861, where a share is 86.1 %."""


def figure(stage: str, name: str, text: str, page: Page) -> tuple[str, str]:
    """(label, value), in the units of the page: 87.4 % for 87.4%, MiB for MB, +16.2 pt for a difference of shares.

    A name that this page has no word for is shown as it is: nothing that was measured is hidden.
    """
    label = texts.known(f"overnight.figure.{stage}_{name}", page.language) or name
    if told := re.fullmatch(r"([+-]?[\d.]+)%", text):
        value = float(told[1]) / 100
        return label, difference(name, value) if stage == "ab_test" else _value(name, value)
    if told := re.fullmatch(r"([\d,.]+) MB", text):
        return label, numbers.file_size(float(told[1].replace(",", "")) * 1e6)
    return label, text


def difference(name: str, value: float) -> str:
    """Of two models: +16.2 pt of a share, +0.167 of a score."""
    return f"{value:+.3f}" if name in SCORES else points(value)


def points(value: float) -> str:
    """A difference of shares."""
    return f"{100 * value:+.1f} pt"


def _value(name: str, value: float) -> str:
    return numbers.fixed(value, 3) if name in SCORES else numbers.percent(100 * value)
