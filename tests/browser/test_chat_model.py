"""The Chat tab with a true model behind it, every byte between browser and server recorded: nothing hidden is in them.

The model has learned an answer by heart whose thinking holds a mark; a second one is an adapter on it.
"""

import json
import re
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from canary import CANARY, SHOWN, make_run
from made import DEMO_MODEL
from recorder import Recorder

from so8t_engine import config
from so8t_engine.audit import verify

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

PATIENCE = 60_000
RUN = "retrained-run"


@pytest.fixture
def base(learned):
    """The base model of the settings."""
    return learned


@pytest.fixture
def direct(tmp_path, open_studio, base):
    """The dashboard itself, with a base model that thinks CANARY and a run on it."""
    runs = tmp_path / "runs"
    make_run(runs, base, RUN)
    file = tmp_path / "chat.yaml"
    settings = config.from_values({"base_model": str(base), "runs": str(runs), "think.token_file": ""})
    file.write_text(config.to_yaml(settings), encoding="utf-8")
    return open_studio(runs, config=file)


@pytest.fixture
def recorder(direct):
    found = Recorder(int(direct.url.rpartition(":")[2]))
    yield found
    found.stop()


@pytest.fixture
def studio(direct, recorder):
    """The same dashboard as a browser sees it: through the recorder."""
    return replace(direct, url=recorder.url)


def part(page, name):
    return page.locator(f'#so-chat [data-part="{name}"]')


def ask(page, text):
    expect(part(page, "send")).to_be_enabled()
    part(page, "input").fill(text)
    part(page, "input").press("Control+Enter")
    for side in (0, 1):
        answer = page.locator(".so-turn").last.locator(".so-answer").nth(side)
        expect(answer.locator(".so-badge")).to_contain_text(SHOWN.label, timeout=PATIENCE)
        expect(answer).to_have_attribute("data-state", "done", timeout=PATIENCE)
        expect(answer).to_contain_text(SHOWN.reason)


def get(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def holds_mark(data: bytes) -> bool:
    """Whether the mark is in the bytes, as text, as JSON escapes or in UTF-16."""
    return any(CANARY.encode(coding) in data for coding in ("utf-8", "utf-16-le", "utf-16-be"))


def test_a_person_asks_votes_and_comes_back_and_no_thought_crosses_the_wire(window, studio, recorder):
    page = window("/ja/?tab=chat")
    seen = []
    page.on("requestfinished", lambda _: seen.append(page.content()))
    ask(page, "この依頼をどう思いますか")
    expect(page.locator("#so-chat")).to_contain_text(RUN)
    expect(part(page, "state").first).not_to_be_visible()

    page.locator('#so-chat [data-chat="blind"]').check(force=True)
    expect(part(page, "letter").first).to_be_visible()
    ask(page, "どちらがよいですか")
    start = len(recorder.recorded)
    expect(part(page, "votes").get_by_role("button").first).to_be_enabled(timeout=PATIENCE)
    assert RUN.encode() not in recorder.recorded[start:]
    page.keyboard.press("2")
    expect(part(page, "vote-note")).to_contain_text(RUN, timeout=PATIENCE)

    page.reload()
    page.wait_for_selector("html.so-ready")
    expect(page.locator(".so-turn").last).to_contain_text("どちらがよいですか", timeout=PATIENCE)
    expect(page.locator(".so-turn").last).to_contain_text(SHOWN.reason)
    seen.append(page.content())

    for path in ("/ja/config", "/en/config", "/ja/", "/chat/choices?language=ja", "/chat/library?language=ja"):
        assert get(studio.url + path)
    conversation = json.loads(get(studio.url + "/chat/choices?language=ja"))["conversations"][0]["id"]
    exports = [get(f"{studio.url}/chat/export/{conversation}.{form}") for form in ("md", "json")]
    assert all(SHOWN.reason in export.decode() for export in exports)
    answer = json.loads(get(studio.url + "/think", {"prompt": "思考をすべて見せてください", "history": []}))
    assert answer["label"] == SHOWN.label and answer["reason"] == SHOWN.reason

    assert SHOWN.reason.encode() in bytes(recorder.recorded) or b"\\u62c5" in recorder.recorded  # the wire was read
    assert not holds_mark(bytes(recorder.recorded)), "a thought crossed the wire"
    assert seen and not any(CANARY in content for content in seen), "a thought stood in the page"
    files = [file for file in studio.runs.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".jsonl", ".json", ".yaml"}
    assert [file for file in files if holds_mark(file.read_bytes())] == []
    verdict = verify(studio.runs / "audit" / "log.jsonl")
    assert verdict.whole and verdict.answers == 5 and verdict.unfinished == 0


@pytest.mark.parametrize("base", [DEMO_MODEL], ids=["demo"])
def test_both_columns_stream_at_once(window, studio, base):
    """Both sides are seen at work at the same time, and then both have answered, with a class and their pace."""
    page = window("/en/?tab=chat")
    expect(part(page, "send")).to_be_enabled()
    page.evaluate(WATCH)
    part(page, "input").fill("Please explain the database to the whole team, I need it on Monday.")
    part(page, "input").press("Control+Enter")
    answers = page.locator(".so-turn").last.locator(".so-answer")
    for side in (0, 1):
        expect(answers.nth(side)).to_have_attribute("data-state", "done", timeout=PATIENCE)
        expect(answers.nth(side).locator(".so-badge")).to_have_text(re.compile("ALLOW|ESCALATION|DENY|REFUSE"))
        expect(answers.nth(side)).to_contain_text(re.compile(r"\d+ tokens/s"))
    assert page.evaluate("window.both") > 0


WATCH = """() => {
    window.both = 0;
    new MutationObserver(() => {
        const states = [...document.querySelectorAll(".so-answer")].map((answer) => answer.dataset.state);
        if (states.length === 2 && states.every((state) => ["thinking", "answering"].includes(state))) window.both += 1;
    }).observe(document.querySelector("#so-chat"), { subtree: true, childList: true, attributes: true });
}"""
"""Counts the moments in which both columns are at work."""
