"""The main figures of a stage as a person reads them: the engine gives them by name, as text."""

import re

from dashboard import texts
from dashboard.bridge import Page


def figure(stage: str, name: str, text: str, page: Page) -> tuple[str, str]:
    """(label, value): 87.4% as 87.4 %, a difference of shares as +16.2 pt.

    A name that this page has no word for is shown as it is: nothing that was measured is hidden.
    """
    label = texts.known(f"overnight.figure.{stage}_{name}", page.language)
    return label or name, re.sub(r"(?<=\d)%", " pt" if stage == "ab_test" else " %", text)


def points(difference: float) -> str:
    """A difference of shares: +16.2 pt."""
    return f"{100 * difference:+.1f} pt"
