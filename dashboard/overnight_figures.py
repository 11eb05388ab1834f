"""The main figures of a stage as a person reads them: the engine gives them by name, as text."""

import re

from dashboard import texts
from dashboard.bridge import Page


def figure(stage: str, name: str, text: str, page: Page) -> tuple[str, str]:
    """(label, value). A name that this page has no word for is shown as it is: nothing that was measured is hidden."""
    label = texts.known(f"overnight.figure.{stage}_{name}", page.language)
    return label or name, _spaced(text)


def _spaced(text: str) -> str:
    """87.4% as 87.4 %, as everywhere on the page."""
    return re.sub(r"(?<=\d)%", " %", text)
