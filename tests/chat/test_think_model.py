"""Fifty requests at once to the demo model, through the dashboard's own application."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from types import SimpleNamespace

import httpx
import pytest
from made import DEMO_MODEL, ROOT
from think_place import running

from dashboard.app import create_app
from dashboard.draft import Draft
from so8t_engine import Engine, config
from so8t_engine.answer.format import CLASSES, HIDDEN_SECTIONS
from so8t_engine.audit import verify
from so8t_engine.chat.reply import Reply

PROMPTS = 8


@pytest.fixture
def server(tmp_path):
    """The address of a dashboard whose /think has the demo's base model, and fifteen places in its line."""
    file = tmp_path / "settings.yaml"
    values = {"base_model": str(DEMO_MODEL), "runs": str(tmp_path / "runs"), "chat.max_tokens": 128}
    values |= {"think.waiting": 15, "think.requests_per_minute": 1000}
    file.write_text(config.to_yaml(config.from_values(values)), encoding="utf-8")
    draft = Draft(file)
    engine = Engine(tmp_path / "runs", draft.settings)
    with running(SimpleNamespace(app=create_app(engine, draft))) as address:
        yield address
    engine.rest()


@pytest.fixture
def written(monkeypatch):
    """What the model writes, thinking and all, one text an answer."""
    texts: dict[int, str] = {}
    feed = Reply.feed

    def listening(reply, text):
        texts[id(reply)] = texts.get(id(reply), "") + text
        kept.append(reply)  # its id is its own as long as it lives
        feed(reply, text)

    kept: list[Reply] = []
    monkeypatch.setattr(Reply, "feed", listening)
    return texts


def test_fifty_at_once_get_the_answers_that_each_gets_alone(server, written, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    rows = (ROOT / "assets" / "data" / "demo_heldout.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(row)["instruction"] for row in rows[:: len(rows) // PROMPTS]][:PROMPTS]

    def ask(prompt):
        return httpx.post(f"{server}/think", json={"prompt": prompt}, timeout=300)

    alone = {prompt: ask(prompt).json() for prompt in prompts}
    assert len({answer["final"] for answer in alone.values()}) > PROMPTS / 2, "equal answers could not be told apart"
    assert {answer["label"] for answer in alone.values()} <= set(CLASSES)
    asked = list(islice(cycle(prompts), 50))
    with ThreadPoolExecutor(50) as threads:
        told = list(threads.map(ask, asked))
    assert {answer.status_code for answer in told} <= {200, 429}
    good = [(prompt, answer.json()) for prompt, answer in zip(asked, told, strict=True) if answer.status_code == 200]
    assert len(good) >= 15
    for prompt, answer in good:
        assert {**answer, "audit_id": 0} == {**alone[prompt], "audit_id": 0}
    verdict = verify(tmp_path / "runs" / "audit" / "log.jsonl")
    assert (verdict.whole, verdict.answers, verdict.unfinished) == (True, PROMPTS + len(good), 0)

    hidden = {text.partition(f"<{name}>")[2].partition("</")[0] for text in written.values() for name in HIDDEN_SECTIONS}
    assert len(written) == verdict.answers and len(max(hidden, key=len)) > 10
    sinks = [*(answer.text for answer in told), *map(str, alone.values()), caplog.text, *capfd.readouterr()]
    sinks += [file.read_text(encoding="utf-8", errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    everything = "\n".join(sinks)
    assert "<think" not in everything
    assert [thought for thought in hidden if thought and thought in everything] == []
