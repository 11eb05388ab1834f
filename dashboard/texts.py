"""The words of the page: every sentence in Japanese and English, from `assets/texts/*.toml`.

A key is the path of its table: `[train]` with `start = {ja = "…", en = "…"}` is `train.start`.
"""

import tomllib
from collections.abc import Iterator
from functools import cache

from so8t_engine import errors

FOLDER = errors.CATALOGUE.parent
LANGUAGES = ("ja", "en")


def text(key: str, language: str, **facts: object) -> str:
    """The words of `key` in `language`, filled with `facts`."""
    words = catalogue()[key][language]
    return words.format_map(facts) if facts else words


def known(key: str, language: str) -> str:
    """The words of `key`, or "" where there are none: a newer engine may tell of what the page has no word for."""
    words = catalogue().get(key)
    return words[language] if words else ""


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every key with its words by language. The engine's errors have a catalogue of their own."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(FOLDER.glob("*.toml")):
        if file == errors.CATALOGUE:
            continue
        with file.open("rb") as stream:
            for key, words in _leaves(tomllib.load(stream), ""):
                if key in found:
                    raise ValueError(f"{key} stands twice in {FOLDER}")
                found[key] = words
    return found


def error_sentence(code: str, part: str, language: str, facts: dict[str, str]) -> str:
    """The engine's sentence ("what" or "hint") for an error. An unknown code is shown as it is, never hidden."""
    if code not in errors.catalogue():
        return code if part == "what" else ""
    command = f"command.{facts.get('command')}"
    if command in catalogue():
        facts = {**facts, "command": text(command, language)}
    try:
        return errors.sentence(code, part, language, facts)
    except (KeyError, IndexError, ValueError):  # a fact is missing: the raw sentence still helps
        return errors.catalogue()[code][f"{part}_{language}"]


def _leaves(table: dict, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    for name, value in table.items():
        if all(isinstance(words, str) for words in value.values()):
            yield prefix + name, value
        else:
            yield from _leaves(value, f"{prefix}{name}.")
