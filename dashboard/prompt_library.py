"""The prompt library: requests to try, with the class that a careful assistant gives them."""

import tomllib
from functools import cache

from dashboard import texts

FILE = texts.FOLDER.parent / "prompts" / "library.toml"

KINDS = ("harmless", "borderline", "refusable", "demo")
"""In the order of the list; "demo" is worded as the demo model understands it."""

OFFERED = ("ALLOW", "ESCALATION", "REFUSE")
"""Classes of the three prompts that an empty chat offers."""


def library(language: str, *, demo: bool) -> dict:
    """All prompts of a language by kind, and the three that an empty chat offers.

    demo: the base model is the demo: what it understands then comes first.
    """
    kinds = sorted(KINDS, key=lambda kind: demo and kind != "demo")
    groups = [
        {"name": texts.text(f"chat.library.{kind}", language), "prompts": prompts(kind, language)} for kind in kinds
    ]
    all_of_them = [prompt for group in groups for prompt in group["prompts"]]
    offered = [next(prompt for prompt in all_of_them if prompt["label"] == label) for label in OFFERED]
    return {"groups": groups, "offered": offered}


def prompts(kind: str, language: str) -> list[dict[str, str]]:
    """{"text", "label"} of every prompt of a kind, by class."""
    return [{"text": text, "label": label} for label, found in _stored()[kind][language].items() for text in found]


@cache
def _stored() -> dict[str, dict[str, dict[str, list[str]]]]:
    with FILE.open("rb") as file:
        return tomllib.load(file)
