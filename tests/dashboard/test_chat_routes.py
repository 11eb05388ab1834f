"""The chat over HTTP: what the stream shows, which wishes are granted, and that nothing tells too much."""

import http.client
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import anyio
import pytest
from anyio import CapacityLimiter
from fastapi.testclient import TestClient
from made import ROOT, environment
from scripted_chat import RUN, SECRET, make_runs, scripted_engine, weights

from dashboard import chat_routes, texts
from dashboard.app import create_app
from dashboard.bridge import Bridge, Page
from dashboard.chat_routes import FRAME_SECONDS, LONGEST_WISH, WISHES, changed
from dashboard.draft import Draft
from so8t_engine import BadInput, Busy, EngineError, SettingsError, config

HERE = "http://127.0.0.1:7860"
PATIENCE = 30.0

RIGHT = {
    "ask": {"prompt": "議事録を要約して"}, "regenerate": {}, "edit": {"prompt": "別の質問"}, "stop": {},
    "choose": {"left": "original", "right": "original"}, "tune": {"system": None, "sampling": {"seed": 1}},
    "blind": {"on": True}, "vote": {"choice": "left"}, "new": {}, "open": {"id": "a"}, "delete": {"id": "a"},
    "restore": {"id": "a"},
}  # fmt: skip


@pytest.fixture
def engine(tmp_path):
    make_runs(tmp_path / "runs")
    return scripted_engine(tmp_path / "runs")


@pytest.fixture
def app(engine):
    return create_app(engine, Draft(config.CONFIGS / "demo.yaml"))


@pytest.fixture
def client(app):
    with TestClient(app, base_url=HERE) as client:
        yield client


class Recorder:
    """A desk that remembers what it was asked for, or refuses it."""

    def __init__(self, refusal: EngineError | None = None) -> None:
        self.calls: list[tuple[str, dict]] = []
        self.refusal = refusal

    def __getattr__(self, name):
        def call(**values):
            if self.refusal:
                raise self.refusal
            self.calls.append((name, values))

        return call


def settled(desk) -> dict:
    """The picture once nobody speaks any more."""
    deadline = time.monotonic() + PATIENCE
    picture = desk.picture()
    while picture["speaking"]:
        assert time.monotonic() < deadline, "the answers never end"
        picture = desk.wait(picture["version"], 1)
    return picture


def ask(client, prompt, **more):
    answer = client.post("/chat/ask", json={"prompt": prompt}, **more)
    assert answer.json() == {} and answer.status_code == 200
    return settled(client.app.state.desk)


@pytest.fixture(autouse=True)
def desk(app, engine):
    app.state.desk = engine.chat
    return engine.chat


# Wishes


def test_every_wish_reaches_the_desk_with_its_fields(client, engine):
    assert set(RIGHT) == set(WISHES)
    engine.chat = Recorder()
    for wish, fields in RIGHT.items():
        answer = client.post(f"/chat/{wish}", json=fields)
        assert (answer.status_code, answer.json()) == (200, {})
    assert engine.chat.calls == [("set_blind" if wish == "blind" else wish, fields) for wish, fields in RIGHT.items()]


@pytest.mark.parametrize(
    ("wish", "body", "code"),
    [
        ("ask", b"{", "wish.not_json"), ("ask", b'"text"', "wish.not_json"), ("ask", b"\xff\xfe", "wish.not_json"),
        ("ask", b'{"prompt": "\\ud800"}', "wish.not_json"), ("ask", b"[" * 50_000, "wish.not_json"),
        ("ask", b"", "wish.bad_field"), ("ask", b'{"prompt": 5}', "wish.bad_field"),
        ("ask", b'{"prompt": null}', "wish.bad_field"), ("ask", b'{"prompt": "a", "model": "b"}', "wish.bad_field"),
        ("stop", b'{"now": true}', "wish.bad_field"), ("blind", b'{"on": 1}', "wish.bad_field"),
        ("tune", b'{"system": null, "sampling": []}', "wish.bad_field"), ("tune", b'{"system": ""}', "wish.bad_field"),
        ("ask", b'{"prompt": "' + b"a" * LONGEST_WISH + b'"}', "wish.too_long"),
    ],
)  # fmt: skip
def test_what_is_no_wish_reaches_nobody(client, engine, wish, body, code):
    engine.chat = Recorder()
    answer = client.post(f"/chat/{wish}?language=en", content=body)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (400, code)
    assert told["what"] and told["hint"]
    assert engine.chat.calls == []


@pytest.mark.parametrize("wish", ["shutdown", "__class__", "export", "picture", "wait", "set_blind"])
def test_a_method_of_the_desk_that_is_no_wish_is_not_found(client, engine, wish):
    engine.chat = Recorder()
    assert client.post(f"/chat/{wish}", json={}).status_code == 404
    assert engine.chat.calls == []


def test_another_sites_page_may_wish_for_nothing(client, engine):
    engine.chat = Recorder()
    for wish, fields in RIGHT.items():
        answer = client.post(f"/chat/{wish}", json=fields, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
    assert engine.chat.calls == []


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_a_refusal_says_what_and_what_next_in_the_language_of_the_page(client, engine, language):
    engine.chat = Recorder(Busy("engine.busy", where="here", command="StartTraining"))
    answer = client.post(f"/chat/ask?language={language}", json={"prompt": "x"})
    told = answer.json()
    assert answer.status_code == 409
    assert (told["code"], told["where"]) == ("engine.busy", "here")
    assert texts.text("command.StartTraining", language) in told["what"]
    assert told["hint"] == texts.error_sentence("engine.busy", "hint", language, {})
    engine.chat = Recorder(BadInput("chat.empty"))
    assert client.post("/chat/ask", json={"prompt": ""}).status_code == 400


def test_every_fault_of_the_sampling_is_told_at_its_field(client):
    sampling = {"temperature": 9, "top_p": "abc", "max_tokens": None, "seed": 1.5}
    answer = client.post("/chat/tune?language=ja", json={"system": None, "sampling": sampling})
    faults = {fault["field"]: fault["what"] + fault["hint"] for fault in answer.json()["faults"]}
    assert set(faults) == {f"chat.{name}" for name in sampling}
    assert "温度は 9" in faults["chat.temperature"]
    assert client.post("/chat/tune", json={"system": "短く", "sampling": {"seed": 7}}).status_code == 200
    assert client.app.state.desk.picture()["sampling"]["seed"] == 7
    assert client.app.state.desk.picture()["system"] == "短く"


# What is sent


def run(visit):
    """What the coroutine gives back, on a thread of its own: a browser's test may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(anyio.run, visit).result()


def sent_by(desk, *, until, language="ja") -> list[dict]:
    """The messages of the stream until one of them satisfies `until`."""

    async def collect():
        found = []
        stream = chat_routes._stream(desk, Page(language, None), CapacityLimiter(1))
        with anyio.fail_after(PATIENCE):
            async for line in stream:
                if line.startswith("data: "):
                    assert line.endswith("\n\n") and line.count("\n") == 2
                    found.append(json.loads(line[6:]))
                    if until(found[-1]):
                        await stream.aclose()
                        return found

    return run(collect)


def shown(messages) -> dict:
    """The picture as a page builds it."""
    picture: dict = {}
    for message in messages:
        turn = message.pop("turn", None)
        picture |= message
        if turn:
            picture["turns"] = [*picture["turns"][:-1], turn]
    return picture


def test_the_stream_shows_the_desk_and_later_only_what_changed(engine, desk):
    desk._speaker.pace = 0.004
    desk.ask("一つ目")
    settled(desk)
    desk.ask("二つ目 [DENY]")
    begun = time.monotonic()
    messages = sent_by(desk, until=lambda message: not message["speaking"])
    took = time.monotonic() - begun
    assert len(messages) - 1 <= took / FRAME_SECONDS, "at most 20 a second"
    assert len(messages[0]["turns"]) == 2
    middle = [message for message in messages[1:] if message["speaking"]]
    assert middle and all(set(message) == {"version", "turn", "speaking"} for message in middle)
    assert SECRET not in json.dumps(messages, ensure_ascii=False)
    picture = shown(messages)
    assert picture == desk.picture()
    assert [answer["label"] for answer in picture["turns"][1]["answers"]] == ["DENY", "DENY"]


def test_changed_sends_the_whole_picture_unless_the_last_answers_alone_differ():
    turn = {"prompt": "p", "answers": [{"text": "a"}, {"text": "b"}]}
    base = {"version": 1, "conversation": "c", "speaking": True, "turns": [turn, turn]}
    later = {"prompt": "p", "answers": [{"text": "a…"}, {"text": "b"}]}
    assert changed(None, base) == base
    assert changed(base, base | {"version": 2, "turns": [turn, later]}) == {
        "version": 2, "turn": later, "speaking": True,
    }  # fmt: skip
    for other in ({"conversation": "d"}, {"turns": [turn]}, {"turns": [later, turn]}, {"turns": []},
                  {"turns": [turn, {**turn, "prompt": "q"}]}):  # fmt: skip
        assert changed(base, base | other) == base | other


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_what_went_wrong_comes_in_the_language_of_the_page(desk, language):
    desk.ask("[fail]")
    settled(desk)
    desk._speaker.refused = Busy("chat.job_starting", command="StartTraining")
    (picture,) = sent_by(desk, until=lambda message: True, language=language)
    facts = {"tokens": "9000", "limit": "4096"}
    failed = picture["turns"][0]["answers"][1]
    assert failed["what"] == texts.error_sentence("chat.no_room", "what", language, facts)
    assert "what" not in picture["turns"][0]["answers"][0]
    assert texts.text("command.StartTraining", language) in picture["refusal"]["what"]


def test_a_fault_in_the_settings_is_told_and_the_picture_follows_once_it_is_mended():
    faults = iter([SettingsError([BadInput("config.empty", field="base_model")])])
    picture = {"version": 3, "turns": [], "refusal": None}

    def wait(version, seconds):
        for fault in faults:
            raise fault
        return picture

    first, second = sent_by(SimpleNamespace(wait=wait), until=lambda message: "version" in message)
    assert first["trouble"]["faults"][0]["field"] == "base_model"
    assert second == picture


def test_the_stream_ends_when_the_page_leaves(app):
    async def visit():
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/chat/stream", "raw_path": b"/chat/stream", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7860),
        }  # fmt: skip
        seen = anyio.Event()

        async def receive():
            await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if b"data:" in message.get("body", b""):
                seen.set()

        with anyio.fail_after(PATIENCE):
            await app(scope, receive, send)
        return seen.is_set()

    assert run(visit)


def test_before_the_vote_nothing_that_is_sent_names_a_side(client, desk):
    ask(client, "名前の出る会話")
    client.post("/chat/blind", json={"on": True})
    messages = []
    desk._speaker.pace = 0.002
    client.post("/chat/ask", json={"prompt": "どちらがよいですか"})
    messages += sent_by(desk, until=lambda message: not message["speaking"])
    id = desk.picture()["conversation"]
    sent = [json.dumps(messages), client.get("/chat/choices").text]
    sent += [client.get(f"/chat/export/{id}.{form}").text for form in ("md", "json")]
    telling = ["original", RUN, weights("original"), weights(f"run:{RUN}"), SECRET]
    for text in sent:
        assert not [word for word in telling if word in text]
    assert client.post("/chat/vote", json={"choice": "tie"}).status_code == 200
    assert {side["name"] for side in desk.picture()["sides"]} == {"original", RUN}
    choices = client.get("/chat/choices").json()
    assert [result["ties"] for result in choices["results"]] == [1] and len(choices["sides"]) == 3


def test_a_conversation_can_be_taken_away_as_a_file(client, desk):
    id = ask(client, "要約して")["conversation"]
    for form, kind in (("md", "text/markdown"), ("json", "application/json")):
        answer = client.get(f"/chat/export/{id}.{form}")
        assert answer.headers["content-type"].startswith(kind)
        assert f"{id}.{form}" in answer.headers["content-disposition"]
        assert "要約して" in answer.text and SECRET not in answer.text
    for name in (f"{id}.exe", "..%2F..%2Fsecret.md", "gone.md", ".md", id):
        assert client.get(f"/chat/export/{name}").status_code in (400, 404)


def test_the_library_puts_what_the_demo_understands_first(client):
    english = client.get("/chat/library?language=en").json()
    assert english["groups"][0]["name"] == texts.text("chat.library.demo", "en")
    assert [prompt["label"] for prompt in english["offered"]] == ["ALLOW", "ESCALATION", "REFUSE"]
    assert client.get("/chat/library?language=xx").json() == client.get("/chat/library?language=ja").json()


def test_a_server_with_an_open_stream_ends_when_it_is_told_to(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "tests/scripted_chat.py", "--port", str(port), "--runs", str(tmp_path / "runs")]
    server = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("GET", "/chat/stream")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        assert connection.getresponse().readline().startswith(b"data: ")
        server.terminate()
        server.wait(PATIENCE)
    finally:
        server.kill()


def test_the_page_has_every_label_in_both_languages(tmp_path, engine):
    from dashboard.tabs.chat import frame

    bridge = Bridge(engine, Draft(config.CONFIGS / "demo.yaml"))
    for language in texts.LANGUAGES:
        html = frame(Page(language, bridge))
        for field in config.fields():
            if field.path.startswith("chat."):
                assert field.label(language) in html and field.help(language) in html
        assert "{" not in html and SECRET not in html
