"""Right and wrong answers to the Japanese test, and models in a stand-in for Ollama that give them."""

import json
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

from ollama_server import OllamaServer
from ollama_store import Model, Name

from so8t_engine import events as e
from so8t_engine.answer.format import Answer, Final, build
from so8t_engine.export.japanese_prompts import Prompt, paper
from so8t_engine.export.japanese_test import japanese_test
from so8t_engine.export.model_card import TEMPLATE

with (Path(__file__).parent / "japanese_answers.toml").open("rb") as file:
    ANSWERS: dict[str, dict] = tomllib.load(file)

PROMPTS = {prompt.id: prompt for prompt in paper().prompts}
PLAIN_TEMPLATE = TEMPLATE.replace("{{ if false }}<think-task>{{ .Thinking }}</think-policy>{{ end }}", "")


def in_format(answer: str, thought: str = "考える。") -> str:
    """A whole answer in our format."""
    return build(Answer(thought, thought, thought, Final("ALLOW", 0.9, "害はありません。", answer)))


def asked(rendered: str) -> Prompt:
    """Which question a rendered prompt ends with, all its turns in order."""
    (found,) = (
        one for one in PROMPTS.values() if rendered.endswith(f"<|user|>\n{one.turns[-1]}<|end|>\n<|assistant|>\n")
    )
    places = [rendered.index(turn) for turn in found.turns]
    assert places == sorted(places)
    return found


def right(rendered: str) -> str:
    """The right answer, plain."""
    return ANSWERS[asked(rendered).id]["right"]


def serve(
    folder: Path, answer: Callable[[str], str], template: str = TEMPLATE, weights: bytes = b"GGUF"
) -> OllamaServer:
    """A stand-in with the model "so8t:latest"."""
    server = OllamaServer(folder, answer=answer)
    put(server, template, weights)
    return server


def put(server: OllamaServer, template: str = TEMPLATE, weights: bytes = b"GGUF", name: str = "so8t") -> None:
    """Give the stand-in's model these weights and this template."""
    file = server.store.blob(server.store.add(weights))
    server.store.write(Name.parse(name), Model(file, template, "", "", {"stop": ["<|end|>"]}))


def test_of(settings, model, folder: Path, seen=None, cancel=None, against=None) -> list[e.Event]:
    """A test to its end; `seen` is given each event."""
    events = []
    for event in japanese_test(settings, model, folder, cancel or threading.Event(), against):
        events.append(event)
        if seen:
            seen(event)
    return events


test_of.__test__ = False


def results_of(folder: Path) -> dict:
    (file,) = folder.glob("*_japanese_llm_performance_test_*.json")
    return json.loads(file.read_text(encoding="utf-8"))


def report_of(folder: Path) -> str:
    (file,) = folder.glob("*_japanese_llm_performance_test_*.md")
    return file.read_text(encoding="utf-8")


def found_in(folder: Path, events: list[e.Event], mark: str) -> list[str]:
    """Where `mark` turns up: names of files, kinds of events."""
    files = [path.name for path in folder.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]
    return files + [type(event).__name__ for event in events if mark in event.to_json()]
