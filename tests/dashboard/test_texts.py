"""Every sentence in both languages, none missing, none left over."""

import ast
import re
import string

import pytest

from dashboard import texts
from so8t_engine import commands, config, errors

CATALOGUE = texts.catalogue()
SOURCES = sorted((config.ROOT / "dashboard").rglob("*.py"))
SCRIPTS = sorted((config.ROOT / "assets" / "dashboard").glob("*.js"))
KEY = re.compile(r"[a-z_]+(\.[A-Za-z_]*[A-Za-z])+")


def wanted() -> tuple[set[str], list[re.Pattern]]:
    """Keys written out in the sources, and patterns for the ones put together there (`f"state.{state}"`)."""
    whole: set[str] = set()
    parts: list[re.Pattern] = []
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value):
                whole.add(node.value)
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                pieces = [re.escape(p.value) if isinstance(p, ast.Constant) else r"[\w.]+" for p in node.values]
                if re.match(r"[a-z_]+\\?\.", pieces[0]):
                    parts.append(re.compile("".join(pieces)))
    for file in SCRIPTS:
        whole |= set(re.findall(r'"(\w+(?:\.\w+)+)"', file.read_text(encoding="utf-8")))
        starts = re.findall(r"words\[`([\w.]+)\$", file.read_text(encoding="utf-8"))
        parts += [re.compile(re.escape(start) + r"\w+") for start in starts]
    return whole, parts


def facts_of(words: str) -> set[str]:
    """The names in curly brackets."""
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


@pytest.mark.parametrize("key", CATALOGUE)
def test_a_text_is_complete(key):
    assert set(CATALOGUE[key]) == set(texts.LANGUAGES)
    facts = [facts_of(words) for words in CATALOGUE[key].values()]
    assert facts[0] == facts[1], "both languages name the same facts"
    for words in CATALOGUE[key].values():
        assert "!" not in words and "！" not in words
        assert all(ord(sign) < 0x1F000 for sign in words), "no emoji"


def test_every_key_in_use_exists():
    groups = {key.split(".")[0] for key in CATALOGUE}
    whole, _ = wanted()
    codes = set(errors.catalogue())
    missing = {key for key in whole if key.split(".")[0] in groups and key not in CATALOGUE}
    settings = {field.path for field in config.fields()}
    assert {key for key in missing - codes - settings if not key.endswith((".js", ".css", ".csv", ".build"))} == set()


def test_every_key_is_in_use():
    whole, parts = wanted()
    unused = [key for key in CATALOGUE if key not in whole and not any(part.fullmatch(key) for part in parts)]
    told_by_kind = ("log.", "keys.")  # the log's sentences are found by the name of the event
    assert [key for key in unused if not key.startswith(told_by_kind)] == []


@pytest.mark.parametrize("command", commands.Command.__subclasses__())
def test_every_command_has_a_name(command):
    assert f"command.{command.__name__}" in CATALOGUE


def test_an_unknown_error_is_shown_and_not_hidden():
    assert texts.error_sentence("no.such_code", "what", "ja", {}) == "no.such_code"
    assert texts.error_sentence("no.such_code", "hint", "ja", {}) == ""
    assert "{command}" in texts.error_sentence("engine.busy", "what", "en", {})
