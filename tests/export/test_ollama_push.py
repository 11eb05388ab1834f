"""A GGUF file on its way into Ollama, against a stand-in that keeps Ollama's rules: the whole way and each failure."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from made import ROOT, answer, environment
from ollama_server import OllamaServer
from ollama_stand_in import StandIn
from ollama_store import Model, Name

from so8t_engine import EngineError
from so8t_engine import events as e
from so8t_engine.export import question
from so8t_engine.export.model_card import TEMPLATE, ModelCard
from so8t_engine.export.ollama import push
from so8t_engine.export.upload import PIECE
from so8t_engine.ollama import Ollama

CANARY = "zebra-canary-7302"
CARD = ModelCard(system="四つに分類してください。\n二行目。", license='MIT\n"as is"')
NAME = Name.parse("so8t")
OLD = "the model of yesterday"


@pytest.fixture
def server(tmp_path):
    """With a model of another content under the name that is pushed."""
    server = OllamaServer(tmp_path / "store")
    old = server.store.blob(server.store.add(b"GGUF old"))
    server.store.write(NAME, Model(old, system=OLD))
    yield server
    server.stop()


class File:
    def __init__(self, path, size=3 * PIECE + 17):
        self.path = path
        with path.open("wb") as file:
            file.write(b"GGUF" + os.urandom(1000))
            file.truncate(size)
        with path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.digest = f"sha256:{self.sha256}"
        self.candidate = f"so8t:candidate-{self.sha256[:12]}"


@pytest.fixture
def file(tmp_path):
    return File(tmp_path / "so8t-q8_0.gguf")


def pushed(server, file, *, name="so8t", sha256="", card=CARD, consent=True, cancel=None):
    return list(
        push(server.address, name, file.path, sha256 or file.sha256, card, consent, cancel or threading.Event())
    )


def fault_of(server, file, **more) -> EngineError:
    with pytest.raises(EngineError) as caught:
        pushed(server, file, **more)
    for language in ("en", "ja"):
        assert caught.value.what(language) and caught.value.hint(language)
    return caught.value


def names(server):
    return {str(name) for name in server.store.names()}


def is_old(server):
    """Whether the name still means yesterday's model, weights included, and nothing else was left."""
    model = server.store.read(NAME)
    return model.system == OLD and model.file.exists() and names(server) == {"so8t:latest"}


def uploads(server):
    return [path for path in server.paths() if path.startswith("POST /api/blobs/")]


def weights(server):
    """Files in the store that are large, whole or not."""
    return [blob for blob in server.store.blobs.iterdir() if blob.stat().st_size > 1000]


def until(seen):
    while not seen():
        time.sleep(0.005)


# The whole way


def test_a_file_becomes_a_model_that_replaces_the_old_one(server, file):
    prompts = []
    server.answer = lambda prompt: prompts.append(prompt) or answer("DENY")
    *progress, created, done = pushed(server, file)
    assert isinstance(created, e.ModelCreated) and created.candidate == file.candidate
    assert (done.name, done.label, done.version, done.thinking) == ("so8t:latest", "DENY", "0.12.6", "field")
    assert all(isinstance(event, e.UploadProgressed) for event in progress)
    size = file.path.stat().st_size
    assert (progress[-1].file, progress[-1].sent, progress[-1].total) == ("so8t-q8_0.gguf", size, size)
    model = server.store.read(NAME)
    assert model.file.read_bytes() == file.path.read_bytes()
    assert (model.template, model.system, model.license) == (TEMPLATE, CARD.system, CARD.license)
    assert model.parameters == CARD.parameters and model.parameters["num_ctx"] == 4096
    assert names(server) == {"so8t:latest"}
    system, asked = CARD.system, question.QUESTION
    assert prompts == [f"<|system|>\n{system}<|end|>\n<|user|>\n{asked}<|end|>\n<|assistant|>\n"]


def test_the_name_is_given_only_after_the_check(server, file):
    seen = []
    server.answer = lambda prompt: seen.append((server.store.read(NAME).system, names(server))) or answer("ALLOW")
    pushed(server, file)
    assert seen == [(OLD, {"so8t:latest", file.candidate})]


@pytest.mark.parametrize(
    "version, thinking",
    [("0.5.5", "answer"), ("0.9.0", "answer"), ("0.12.4", "answer"), ("0.12.5", "field"), ("0.40.12-rc1", "field")],
)
def test_where_the_thinking_stands_is_seen_and_told(server, file, version, thinking):
    server.version = version
    server.answer = lambda prompt: answer("REFUSE").replace("害を考える。", CANARY)
    events = pushed(server, file, name="me/so8t:q8")
    assert (events[-1].name, events[-1].thinking, events[-1].label) == ("me/so8t:q8", thinking, "REFUSE")
    assert CANARY not in repr(events)


@pytest.mark.parametrize("version", ["0.5.5", "0.9.0", "0.12.6"])
def test_the_chat_gets_the_whole_answer_of_a_pushed_model(server, file, version):
    server.version = version
    pushed(server, file)
    words = Ollama(server.address).chat("so8t", [{"role": "user", "content": "質問"}], {"temperature": 0.5})
    assert "".join(words) == answer("ESCALATION")  # thinking too: the filter must see it


def test_a_file_that_ollama_has_is_not_sent_again(server, file):
    pushed(server, file)
    first, *_, done = pushed(server, file, name="so8t:second")
    assert (first.sent, first.total, first.seconds) == (file.path.stat().st_size, file.path.stat().st_size, 0.0)
    assert done.name == "so8t:second" and len(uploads(server)) == 1
    assert names(server) == {"so8t:latest", "so8t:second"}


def test_no_proxy_of_the_environment_is_asked(server, file, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(pushed(server, file)[-1], e.ModelPushed)


def test_a_large_file_takes_the_memory_of_a_piece(server, tmp_path):
    large = File(tmp_path / "large.gguf", size=200 << 20)
    tracemalloc.start()
    try:
        events = pushed(server, large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(events[-1], e.ModelPushed) and server.arrived == 200 << 20
    assert peak < 8 * PIECE  # bytes; the server's own share among them
    sent = [event.sent for event in events[:-2]]
    assert sent == sorted(set(sent)) and sent[-1] == 200 << 20


# Refused before anything is sent


def test_without_consent_nothing_is_asked(server, file):
    fault = fault_of(server, file, consent=False)
    assert fault.code == "push.no_consent" and server.asked == []


@pytest.mark.parametrize(
    "name", ["", "-so8t", "so 8t", "so8t:", ":q8", "a/b/c/d", "me.you/so8t", "日本語", "x" * 81, "so8t:q8@sha256:0", "so8t\n"],
)  # fmt: skip
def test_a_name_that_ollama_would_refuse_is_not_sent(server, file, name):
    assert fault_of(server, file, name=name).code == "push.bad_name" and server.asked == []
    assert Name.parse(name) is None


@pytest.mark.parametrize("tag", ["cloud", "CLOUD", "local", "20b-cloud", "candidate-0123456789ab"])
def test_a_tag_that_means_another_model_is_not_sent(server, file, tag):
    assert fault_of(server, file, name=f"so8t:{tag}").code == "push.reserved_tag" and server.asked == []


@pytest.mark.parametrize("version", ["0.5.4", "0.0.0", "0.4.9-rc2", "dev"])
def test_an_old_ollama_is_refused_with_its_version(server, file, version):
    server.version = version
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.too_old", {"version": version, "oldest": "0.5.5"})
    assert server.paths() == ["GET /api/version"]


def test_nobody_there_is_told(server, file):
    server.stop()
    fault = fault_of(server, file)
    assert (fault.code, fault.where) == ("ollama.silent", server.address)


def test_something_else_at_the_address_is_told(file):
    other = StandIn()
    try:
        assert fault_of(other, file).code == "ollama.refused"
    finally:
        other.stop()


def test_a_file_that_is_not_there_is_told(server, file):
    file.path.unlink()
    assert fault_of(server, file).code == "push.unreadable" and is_old(server)


# The upload


def test_a_full_disk_is_told_in_ollamas_words_before_all_is_sent(server, tmp_path):
    large = File(tmp_path / "large.gguf", size=64 << 20)
    server.faults.full_after = PIECE
    fault = fault_of(server, large)
    assert fault.code == "push.disk_full" and fault.facts["reason"].endswith("no space left on device")
    assert server.arrived < 2 * PIECE and is_old(server)
    assert not weights(server)


def test_a_connection_cut_in_mid_upload_is_told_and_repeated(server, file):
    server.faults.reset_after = PIECE
    fault = fault_of(server, file)
    assert fault.code == "push.cut" and is_old(server)
    server.faults.reset_after = None
    assert isinstance(pushed(server, file)[-1], e.ModelPushed)
    assert server.store.read(NAME).file.read_bytes() == file.path.read_bytes()


CHILD = """
import sys, threading
from pathlib import Path
from so8t_engine.export.model_card import ModelCard
from so8t_engine.export.ollama import push
address, file, sha256 = sys.argv[1:]
list(push(address, "so8t", Path(file), sha256, ModelCard(), True, threading.Event()))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills the way POSIX does")
def test_a_process_killed_in_mid_upload_leaves_nothing_and_a_repeat_succeeds(server, tmp_path):
    large = File(tmp_path / "large.gguf", size=64 << 20)
    server.faults.upload_gate = threading.Event()
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.address, large.path, large.sha256],
                             env=environment(), cwd=ROOT)  # fmt: skip
    try:
        until(lambda: uploads(server) or child.poll() is not None)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    server.faults.upload_gate.set()
    assert server.left.wait(30) and is_old(server) and not weights(server)
    server.faults.upload_gate = None
    assert isinstance(pushed(server, large)[-1], e.ModelPushed)


def test_a_file_that_is_not_what_its_hash_says_is_told(server, file):
    fault = fault_of(server, file, sha256="0" * 64)
    assert fault.code == "push.digest" and "digest mismatch" in fault.facts["reason"]
    assert is_old(server)


def test_a_hash_that_is_none_is_refused(server, file):
    fault = fault_of(server, file, sha256="xyz")
    assert (fault.code, fault.facts["status"]) == ("ollama.refused", "400") and is_old(server)


def test_a_file_that_shrinks_under_way_is_told(server, tmp_path):
    large = File(tmp_path / "large.gguf", size=256 << 20)
    server.faults.upload_gate = threading.Event()

    def shrink():
        until(lambda: uploads(server))
        os.truncate(large.path, PIECE)
        server.faults.upload_gate.set()

    thread = threading.Thread(target=shrink)
    thread.start()
    fault = fault_of(server, large)
    thread.join()
    assert (fault.code, fault.where) == ("push.file_changed", str(large.path)) and is_old(server)


# Making the model


def test_an_error_line_at_status_200_is_a_failure(server, file):
    server.faults.create_error = "unsupported architecture"
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.create_failed", {"reason": "unsupported architecture"})
    assert is_old(server)


def test_a_status_of_a_newer_version_is_the_same_failure(server, file):
    server.faults.create_refusal = "unsupported architecture"
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.create_failed", {"reason": "unsupported architecture"})


@pytest.mark.parametrize("fault", ["create_error", "create_refusal"])
def test_a_disk_that_gets_full_while_the_model_is_made_has_its_own_words(server, file, fault):
    setattr(server.faults, fault, "write /x: There is not enough space on the disk.")
    assert fault_of(server, file).code == "push.disk_full" and is_old(server)


def test_a_file_that_is_no_gguf_is_told(server, file):
    file.path.write_bytes(b"<html>")
    file.sha256 = hashlib.sha256(b"<html>").hexdigest()
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.create_failed", {"reason": "invalid file magic"})


def test_a_stream_without_success_is_a_failure_and_a_repeat_sends_no_file(server, file):
    server.faults.create_silent = True
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.create_unfinished", {"status": "writing manifest"})
    assert is_old(server)
    server.faults.create_silent = False
    assert isinstance(pushed(server, file)[-1], e.ModelPushed) and len(uploads(server)) == 1


# The check


@pytest.mark.parametrize(
    "shown, what",
    [
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"system": ""}, "system"),
        ({"license": "MIT"}, "license"),
        ({"parameters": "num_ctx 2048"}, "parameters"),
        ({"parameters": ""}, "parameters"),
        ({"modelfile": "FROM /blobs/sha256-" + "0" * 64}, "weights"),
        ({"system": None, "modelfile": None}, "system, weights"),
    ],
)
def test_what_stands_there_must_be_what_was_sent(server, file, shown, what):
    server.faults.show = shown
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.shown_differs", {"name": file.candidate, "what": what})
    assert is_old(server)


ENDLESS = answer("ALLOW").replace("依頼を読む。", "考える。" * 4000)


@pytest.mark.parametrize("version", ["0.6.0", "0.12.6"])
@pytest.mark.parametrize(
    "said, ended",
    [
        ("こんにちは " + CANARY, "stop"),
        (answer("DENY").replace("<think-safety>", "<think-task>" + CANARY), "sealed"),
        (answer("DENY").replace("DENY", "MAYBE"), "stop"),
        (ENDLESS, "length"),
        ("<think-task>" + CANARY, "stop"),
        ("", "stop"),
    ],
    ids=["no format", "tag twice", "no such class", "endless", "breaks off", "silent"],
)
def test_an_answer_without_a_class_is_a_failure_and_the_old_model_stays(server, file, version, said, ended):
    server.version, server.answer = version, lambda prompt: said
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("push.no_class", {"name": file.candidate, "ended": ended})
    assert is_old(server) and CANARY not in str(fault)


@pytest.mark.parametrize("version", ["0.6.0", "0.12.6"])
def test_a_check_that_could_not_be_made_keeps_the_candidate_for_the_repeat(server, file, version):
    server.version = version
    server.faults.chat_error = f"llama runner process has terminated: {CANARY}"
    fault = fault_of(server, file)
    assert (fault.code, fault.facts) == ("ollama.broken", {"reason": "error"})
    assert server.store.read(NAME).system == OLD and names(server) == {"so8t:latest", file.candidate}
    server.faults.chat_error = ""
    assert isinstance(pushed(server, file)[-1], e.ModelPushed)
    assert len(uploads(server)) == 1 and names(server) == {"so8t:latest"}


# Stopping


@pytest.mark.parametrize("gate, path", [("upload_gate", "/api/blobs/"), ("create_gate", "/api/create"),
                                        ("chat_gate", "/api/chat")])  # fmt: skip
def test_a_stop_takes_effect_at_once_and_leaves_the_old_model(server, tmp_path, gate, path):
    large = File(tmp_path / "large.gguf", size=64 << 20)
    setattr(server.faults, gate, threading.Event())
    cancel = threading.Event()

    def stop():
        until(lambda: any(asked.startswith(f"POST {path}") for asked in server.paths()))
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    events = pushed(server, large, cancel=cancel)  # the server still waits at its gate
    thread.join()
    assert not any(isinstance(event, e.ModelPushed) for event in events)
    getattr(server.faults, gate).set()
    assert server.left.wait(30) and is_old(server)
    cancel.clear()
    assert isinstance(pushed(server, large)[-1], e.ModelPushed)
