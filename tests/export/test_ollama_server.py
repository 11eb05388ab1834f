"""The stand-in for Ollama refuses what Ollama would refuse, in its words."""

import http.client
import json

import pytest
from made import answer
from ollama_server import OllamaServer
from ollama_store import Model, Name

from so8t_engine.export.model_card import TEMPLATE
from so8t_engine.ollama import Ollama

ABSENT = "sha256:" + "0" * 64
TURNS = [{"role": "user", "content": "質問"}]


@pytest.fixture
def server(tmp_path):
    server = OllamaServer(tmp_path / "store")
    file = server.store.blob(server.store.add(b"GGUF"))
    server.store.write(Name.parse("thinks"), Model(file, TEMPLATE, parameters={"stop": ["<|end|>"]}))
    server.store.write(Name.parse("plain"), Model(file))
    yield server
    server.stop()


def ask(server, method, path, body=None, **headers):
    """(status, answer): parsed where it is JSON."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"))
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        got = connection.getresponse()
        data = got.read().decode()
    finally:
        connection.close()
    lines = [json.loads(line) for line in data.splitlines()] if "json" in got.headers["Content-Type"] else data
    return got.status, lines[0] if len(lines) == 1 else lines


@pytest.mark.parametrize(
    "method, path, body, status, words",
    [
        ("GET", "/api/nothing", None, 404, "404 page not found"),
        ("GET", "/api/show", None, 405, "405 method not allowed"),
        ("DELETE", f"/api/blobs/{ABSENT}", None, 405, "405 method not allowed"),
        ("POST", "/api/show", None, 400, "missing request body"),
        ("POST", "/api/show", {"model": 3}, 400, "json: cannot unmarshal"),
        ("POST", "/api/show", {}, 400, "model is required"),
        ("POST", "/api/show", {"model": "absent"}, 404, "model 'absent' not found"),
        ("POST", "/api/blobs/sha256:12", {}, 400, "invalid digest format"),
        ("POST", "/api/copy", {"source": "absent", "destination": "b"}, 404, 'model "absent" not found'),
        ("POST", "/api/copy", {"source": "plain", "destination": "-"}, 400, 'destination "-" is invalid'),
        ("DELETE", "/api/delete", {"model": "absent"}, 404, "model 'absent' not found"),
        ("POST", "/api/create", {"model": "a b", "files": {"m.gguf": ABSENT}}, 400, "invalid model name"),
        ("POST", "/api/create", {"model": "a", "modelfile": "FROM x"}, 400, "neither 'from' or 'files' was specified"),
        ("POST", "/api/create", {"model": "a", "files": {"m.gguf": ABSENT}}, 400, "blob not found"),
        ("POST", "/api/create", {"model": "a", "files": {"m.bin": ABSENT}}, 400, "unknown type"),
        ("POST", "/api/create", {"model": "a", "files": ["m.gguf"]}, 400, "json: cannot unmarshal"),
        ("POST", "/api/chat", {"model": "plain", "messages": TURNS, "think": True}, 400, "does not support thinking"),
        ("POST", "/api/generate", {"model": "absent", "prompt": "a"}, 404, "model 'absent' not found"),
    ],
)
def test_what_ollama_would_refuse_is_refused(server, method, path, body, status, words):
    got, said = ask(server, method, path, body)
    said = said["error"] if isinstance(said, dict) else said
    assert got == status and words in said


def test_a_foreign_host_is_refused(server):
    assert ask(server, "GET", "/api/tags", Host="evil.example:80")[0] == 403


def test_before_0_5_5_a_model_is_made_from_a_modelfile_alone(server):
    server.version = "0.5.4"
    got = ask(server, "POST", "/api/create", {"model": "a", "files": {"m.gguf": ABSENT}})
    assert got == (400, {"error": "path or Modelfile are required"})


def test_an_error_after_the_first_line_comes_at_status_200(server):
    server.faults.create_error = "no"
    digest = server.store.add(b"GGUF other")
    got, lines = ask(server, "POST", "/api/create", {"model": "a", "files": {"m.gguf": digest}})
    assert got == 200 and lines[-1] == {"error": "no"}


def test_case_does_not_count_in_a_name(server):
    assert ask(server, "POST", "/api/show", {"model": "PLAIN:Latest"})[0] == 200
    ask(server, "POST", "/api/copy", {"source": "thinks", "destination": "Plain"})
    assert {name for name, _ in Ollama(server.address).models()} == {"plain:latest", "thinks:latest"}


@pytest.mark.parametrize("think, apart", [(None, True), (True, True), (False, False)])
def test_thinking_is_told_apart_unless_it_is_unwanted(server, think, apart):
    for path, body in (("/api/chat", {"messages": TURNS}), ("/api/generate", {"prompt": "質問"})):
        said = ask(server, "POST", path, {"model": "thinks", "stream": False, "think": think, **body})[1]
        said = said.get("message", {"content": said.get("response"), "thinking": said.get("thinking", "")})
        assert said["content"].startswith("<final>" if apart else "<think-task>")
        assert bool(said.get("thinking")) is apart
        if apart:
            assert f"<think-task>{said['thinking']}</think-policy>{said['content']}" == answer("ESCALATION")


def test_a_stop_word_and_the_longest_length_end_an_answer(server):
    server.answer = lambda prompt: "abcdef<|end|>ghi"
    body = {"model": "thinks", "messages": TURNS, "stream": False}
    assert ask(server, "POST", "/api/chat", body)[1]["message"]["content"] == "abcdef"
    said = ask(server, "POST", "/api/chat", {**body, "options": {"num_predict": 1}})[1]
    assert (said["message"]["content"], said["done_reason"]) == ("abc", "length")
