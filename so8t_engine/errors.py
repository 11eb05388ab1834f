"""What can go wrong, in words that a person can act on.

An error carries a code, the place, and the facts; the sentences stand in `assets/texts/errors.toml`, once in
English and once in Japanese, so that the page and the command line say the same thing in their own language.
"""

import tomllib
from functools import cache
from pathlib import Path

CATALOGUE = Path(__file__).parent.parent / "assets" / "texts" / "errors.toml"
LANGUAGES = ("en", "ja")


class EngineError(Exception):
    """Something a person can mend: what happened, where, why, and what to do next.

    Args:
        code: key in the catalogue, such as "data.bad_label".
        where: file and line, setting, or folder; "" when there is no one place.
        facts: values that the sentences name, such as `label="MAYBE"`.
    """

    def __init__(self, code: str, *, where: str = "", **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.where = where
        self.facts = {name: str(value) for name, value in facts.items()}

    def what(self, language: str = "en") -> str:
        """What happened and why, in `language`."""
        return sentence(self.code, "what", language, self.facts)

    def hint(self, language: str = "en") -> str:
        """What to do next, in `language`."""
        return sentence(self.code, "hint", language, self.facts)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what()} {self.hint()}".rstrip()


class BadInput(EngineError):
    """A file, a setting or a command that a person gave can't be used (exit code 2)."""


class SettingsError(BadInput):
    """A config with one or more faults, all of them in `faults`."""

    def __init__(self, faults: "list[EngineError]", *, where: str = "") -> None:
        super().__init__("config.faults", where=where, count=len(faults))
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {fault}" for fault in self.faults)])


class ModelError(BadInput):
    """A model folder, an adapter or a target layer that can't be used."""


class CheckpointError(EngineError):
    """A checkpoint could not be written or read."""


class Busy(EngineError):
    """Another job holds the engine, or another process the run."""


def sentence(code: str, part: str, language: str, facts: dict[str, str]) -> str:
    """The sentence `part` ("what" or "hint") of `code`, filled with `facts`."""
    entry = catalogue()[code]
    return entry[f"{part}_{language}"].format_map(facts)


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every code with `what_en`, `hint_en`, `what_ja` and `hint_ja`."""
    with CATALOGUE.open("rb") as file:
        return tomllib.load(file)
