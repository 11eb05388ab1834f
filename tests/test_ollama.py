"""The client of Ollama against a stand-in: pieces as they come, every way to fail, and an end from another thread."""

import socket
import threading

import pytest
from ollama_stand_in import StandIn, words

from so8t_engine import EngineError
from so8t_engine.ollama import Ollama

CANARY = "zebra-canary-8841"


@pytest.fixture
def stand_in():
    server = StandIn()
    yield server
    server.stop()


def say(server, model="m", options=None):
    return Ollama(server.address).chat(model, [{"role": "user", "content": "質問"}], options or {})


def test_models_are_told_with_their_digests(stand_in):
    stand_in.models = {"borea:latest": "sha-a", "日本語:1b": "sha-b"}
    assert Ollama(stand_in.address).models() == [("borea:latest", "sha-a"), ("日本語:1b", "sha-b")]


def test_an_answer_comes_piece_by_piece_before_it_is_over(stand_in):
    gate = threading.Event()
    stand_in.answers["m"] = [*words("は", "い")[:2], gate, *words("。")]
    pieces = say(stand_in, options={"temperature": 0.5, "num_ctx": 4096})
    assert [next(pieces), next(pieces)] == ["は", "い"]  # the server still waits at the gate
    gate.set()
    assert list(pieces) == ["。"] and pieces.ended == "stop"
    assert stand_in.asked == [
        {"model": "m", "messages": [{"role": "user", "content": "質問"}], "stream": True, "think": False,
         "options": {"temperature": 0.5, "num_ctx": 4096}}
    ]  # fmt: skip


def test_thinking_is_dropped_and_counts_as_a_token(stand_in):
    stand_in.answers["m"] = words("a", thinking=CANARY, reason="length")
    pieces = say(stand_in)
    assert list(pieces) == ["", "a"] and pieces.ended == "length"


def test_what_ollama_tells_of_an_answer_is_kept_and_nothing_is_made_up(stand_in):
    told = {"eval_count": 12, "eval_duration": 500_000_000, "load_duration": 3_000_000_000}
    *pieces, end = words("a")
    stand_in.answers["m"] = [*pieces, end | told]
    answer = say(stand_in)
    assert next(answer) == "a" and answer.tokens is None
    assert list(answer) == [] and (answer.tokens, answer.write_seconds, answer.load_seconds) == (12, 0.5, 3.0)
    stand_in.answers["m"] = [*pieces, end | {"eval_count": "12", "eval_duration": None, "load_duration": -1}]
    answer = say(stand_in)
    assert list(answer) == ["a"] and (answer.tokens, answer.write_seconds, answer.load_seconds) == (None, None, None)


def test_half_a_surrogate_pair_becomes_a_letter_that_can_be_stored(stand_in):
    stand_in.answers["m"] = words("\ud83d")
    assert list(say(stand_in)) == ["?"]


def fault_of(action):
    with pytest.raises(EngineError) as caught:
        action()
    return caught.value


def test_nobody_there_is_silent():
    server = StandIn()
    server.stop()
    for action in (lambda: Ollama(server.address).models(), lambda: list(say(server))):
        fault = fault_of(action)
        assert (fault.code, fault.where) == ("ollama.silent", server.address)


def test_a_status_is_told_with_ollamas_reason(stand_in):
    stand_in.answers["m"] = [404, {"error": "model 'm' not found"}]
    fault = fault_of(lambda: list(say(stand_in)))
    assert (fault.code, fault.facts) == ("ollama.refused", {"status": "404", "reason": "model 'm' not found"})
    stand_in.answers["m"] = [500, b"<html>"]
    assert fault_of(lambda: list(say(stand_in))).facts == {"status": "500", "reason": "Internal Server Error"}


def test_a_redirect_is_not_followed(stand_in):
    stand_in.answers["m"] = [307, {}]
    assert fault_of(lambda: list(say(stand_in))).code == "ollama.refused"


def test_no_proxy_of_the_environment_is_asked(stand_in, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    stand_in.models = {"m": "d"}
    assert Ollama(stand_in.address).models() == [("m", "d")]


@pytest.mark.parametrize(
    "rest", [["cut"], [{"error": f"no tool: raw='{CANARY}'"}], [b"<html>\n"], [b"[1]\n"], []],
    ids=["cut", "error", "html", "list", "no end"],
)  # fmt: skip
def test_an_answer_that_breaks_off_is_told_without_quoting_the_model(stand_in, rest):
    stand_in.answers["m"] = [*words("a")[:1], *rest]
    pieces = say(stand_in)
    assert next(pieces) == "a"
    fault = fault_of(lambda: next(pieces))
    assert fault.code == "ollama.broken" and CANARY not in str(fault)


def test_an_error_before_the_first_word_is_told_in_ollamas_words(stand_in):
    stand_in.answers["m"] = [{"error": "out of memory"}]
    fault = fault_of(lambda: list(say(stand_in)))
    assert (fault.code, fault.facts) == ("ollama.broken", {"reason": "out of memory"})


@pytest.mark.parametrize("listed", [[{"name": "m"}], ["m"], None, 3])
def test_a_list_that_is_not_ollamas_is_broken(stand_in, listed):
    stand_in.models = listed
    assert fault_of(lambda: Ollama(stand_in.address).models()).code == "ollama.broken"


@pytest.mark.parametrize("spoken", [0, 1], ids=["while the model loads", "in mid-answer"])
def test_closing_from_another_thread_ends_the_answer_and_the_connection(stand_in, spoken):
    never = threading.Event()
    stand_in.answers["m"] = [*words("a")[:spoken], never, *words("b")]
    pieces = say(stand_in)
    got = [next(pieces) for _ in range(spoken)]
    reader = threading.Thread(target=lambda: got.extend(pieces))
    reader.start()
    assert stand_in.reached.wait(30)
    pieces.close()
    reader.join(30)
    assert not reader.is_alive() and got == ["a"] * spoken
    assert stand_in.left.wait(30)
    pieces.close()
    assert list(pieces) == []


def test_an_answer_closed_before_it_was_asked_for_sends_nothing(stand_in):
    pieces = say(stand_in)
    pieces.close()
    assert list(pieces) == [] and stand_in.asked == []


def test_an_answer_closed_while_it_connects_sends_nothing(stand_in, monkeypatch):
    pieces = say(stand_in)
    connect = socket.create_connection

    def slow(*arguments, **more):
        pieces.close()
        return connect(*arguments, **more)

    monkeypatch.setattr(socket, "create_connection", slow)
    assert list(pieces) == [] and stand_in.asked == []
