"""The catalogue of errors: every code that the source raises has its sentences, with the facts they need."""

import ast
import string

import pytest

from so8t_engine import EngineError, errors
from so8t_engine.config import ROOT

PARTS = ("what_en", "hint_en", "what_ja", "hint_ja")


def _classes(root: type) -> set[str]:
    return {root.__name__}.union(*(_classes(child) for child in root.__subclasses__()))


ERRORS = _classes(EngineError)


def raised() -> list[tuple[str, set[str] | None, str]]:
    """(code, names of the given facts or None for **facts, place) of each error that is made in the source."""
    found = []
    for folder in ("so8t_engine", "dashboard"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                name = getattr(node, "func", None)
                if isinstance(node, ast.Call) and getattr(name, "id", getattr(name, "attr", "")) in ERRORS:
                    facts = {keyword.arg for keyword in node.keywords}
                    for code in _codes(node):
                        found.append((code, None if None in facts else facts, f"{file.name}:{node.lineno}"))
    return found


def _codes(call: ast.Call) -> list[str]:
    """The code, or each of two in `a if x else b`; a code that is computed is left to the tests of its module."""
    first = call.args[0] if call.args else None
    parts = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_code_in_the_source_has_sentences_and_facts():
    assert len(raised()) > 20
    unknown = {f"{place}: {code}" for code, _, place in raised() if code not in errors.catalogue()}
    assert not unknown
    for code, facts, place in raised():
        for part in PARTS:
            needed = placeholders(errors.catalogue()[code][part])
            assert facts is None or needed <= facts, f"{place}: {code} needs {needed - facts}"


@pytest.mark.parametrize("code", sorted(errors.catalogue()))
def test_both_languages_say_the_same(code):
    entry = errors.catalogue()[code]
    assert set(entry) == set(PARTS)
    assert all(entry[part].strip() for part in PARTS)
    for part in ("what", "hint"):
        assert placeholders(entry[f"{part}_en"]) == placeholders(entry[f"{part}_ja"])
    assert not any(sign in entry[part] for part in PARTS for sign in "!！")


def test_an_error_reads_as_place_event_and_advice():
    error = errors.BadInput("config.double", where="a.yaml:3", field="seed")
    assert str(error) == "a.yaml:3: seed stands twice. Delete one of the two."
    assert error.what("ja") == "seed が二度書かれています。"
