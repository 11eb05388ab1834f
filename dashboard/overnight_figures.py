"""The main figures of a stage as a person reads them: the engine gives them by name, as text."""

import re

from dashboard import numbers, texts
from dashboard.bridge import Page


def figure(stage: str, name: str, text: str, page: Page) -> tuple[str, str]:
    """(label, value), in the units of the page: 87.4 % for 87.4%, +16.2 pt for a difference of shares, MiB for MB.

    A name that this page has no word for is shown as it is: nothing that was measured is hidden.
    """
    label = texts.known(f"overnight.figure.{stage}_{name}", page.language)
    text = re.sub(r"(?<=\d)%", " pt" if stage == "ab_test" else " %", text)
    return label or name, re.sub(r"([\d,.]+) MB", lambda size: _size(size[1]), text)


def _size(megabytes: str) -> str:
    return numbers.file_size(float(megabytes.replace(",", "")) * 1e6)


def points(difference: float) -> str:
    """A difference of shares: +16.2 pt."""
    return f"{100 * difference:+.1f} pt"
