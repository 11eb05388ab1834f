"""Ollama over HTTP: what it has, and what one of its models answers, as it comes.

The forms are those of its published page, https://github.com/ollama/ollama/blob/main/docs/api.md.
Only the address of the settings is asked: no proxy is used and no redirect followed. Errors are EngineErrors:
"ollama.silent" (nobody answers there), "ollama.refused" (it answered with another status than 200), "ollama.broken"
(its answer ended in an error, was cut, or is none of Ollama's).
"""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from so8t_engine.errors import EngineError

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 300.0
"""How long an answer may pause: a large model is loaded from a slow disk before its first word."""

LONGEST_LINE = 1 << 20
LONGEST_LIST = 1 << 24
"""Bytes."""

Hold = Callable[[socket.socket], None]


class Ollama:
    """The Ollama at one address, such as http://127.0.0.1:11434. Keeps no connection open."""

    def __init__(self, address: str) -> None:
        self.address = address

    def models(self, seconds: float = CONNECT_SECONDS) -> list[tuple[str, str]]:
        """(name, digest) of every model that it has; each step of the answer may take `seconds`."""
        with _opened(self.address, "/api/tags", None, seconds) as answer, _read(self.address):
            found = _parsed(answer.read(LONGEST_LIST))
            try:
                return [(str(model["name"]), str(model["digest"])) for model in found["models"]]
            except (KeyError, TypeError):
                raise ValueError("models") from None

    def version(self) -> str:
        """What Ollama calls itself, such as "0.12.6". It need not look for that: more than a few seconds is silence."""
        with _opened(self.address, "/api/version", None, CONNECT_SECONDS) as answer, _read(self.address):
            found = _parsed(answer.read(LONGEST_LINE)).get("version")
            if not isinstance(found, str):
                raise ValueError("version")
            return found

    def has_blob(self, digest: str) -> bool:
        """Whether the file of that digest ("sha256:" and 64 hex digits) is in its store."""
        try:
            self._asked("HEAD", f"/api/blobs/{digest}")
        except EngineError as error:
            if error.code == "ollama.refused" and error.facts["status"] == "404":
                return False
            raise
        return True

    def show(self, model: str) -> dict[str, Any]:
        """What Ollama tells of a model: "template", "system", "parameters", "license", "modelfile" and more."""
        return self._asked("POST", "/api/show", {"model": model})

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name; what had that name before loses it."""
        self._asked("POST", "/api/copy", {"source": source, "destination": destination})

    def delete(self, model: str) -> None:
        """Delete a name, and what no other name needs of its files."""
        self._asked("DELETE", "/api/delete", {"model": model})

    def chat(self, model: str, messages: list[dict[str, str]], options: dict[str, Any]) -> "Words":
        """The answer of `model` in pieces. Nothing is sent before the first one is asked for.

        Ollama is asked to leave the thinking in the text (`think` false): our filter must see the whole answer, also
        of a model whose template names our tags (export/model_card.py).

        Args:
            messages: {"role": "system" | "user" | "assistant", "content": text}, oldest first.
            options: Ollama's own, such as temperature, num_predict and num_ctx.
        """
        body = {"model": model, "messages": messages, "options": options, "stream": True, "think": False}
        return Words(Lines(self.address, "/api/chat", body))

    def _asked(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The object that Ollama answers with; {} where it answers with nothing."""
        sent = None if body is None else json.dumps(body).encode()
        opened = _opened(self.address, path, sent, CONNECT_SECONDS, _patient, method)
        with opened as answer, _read(self.address):
            data = answer.read(LONGEST_LIST)
            return _parsed(data) if data else {}


class Lines(Iterator[dict[str, Any]]):
    """One request whose answer is a JSON object a line; it is sent when the first line is asked for.

    Any thread may call `close`: the connection ends at once, and so does the iteration. A line {"error": …} is raised
    as "ollama.broken".

    Attributes:
        failure: what such a line has said, in full; "" before.
    """

    def __init__(self, address: str, path: str, body: dict[str, Any]) -> None:
        self.address = address
        self.failure = ""
        self._path, self._body = path, json.dumps(body).encode()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._answer: Any = None
        self._closed = False

    def __next__(self) -> dict[str, Any]:
        if self._closed:
            raise StopIteration
        try:
            said = self._next()
        except EngineError:
            if self._closed:  # what broke is what `close` has cut
                raise StopIteration from None
            self.close()
            raise
        if said is None:
            self.close()
            raise StopIteration
        return said

    def close(self) -> None:
        """End the connection. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                with suppress(OSError):  # already ended from the other side
                    self._socket.shutdown(socket.SHUT_RDWR)
                self._socket = None

    def _next(self) -> dict[str, Any] | None:
        if self._answer is None:
            self._answer = _opened(self.address, self._path, self._body, CONNECT_SECONDS, self._hold)
        with _read(self.address):
            line = self._answer.readline(LONGEST_LINE)
            said = _parsed(line) if line else None
        if said is not None and "error" in said:
            self.failure = str(said["error"])
            raise EngineError("ollama.broken", where=self.address, reason=_short(said["error"]))
        return said

    def _hold(self, opened: socket.socket) -> None:
        _patient(opened)
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError
            self._socket = opened


class Words(Iterator[str]):
    """The text of one answer in pieces, one a token; "" for a token without any. What Ollama calls thinking is dropped.

    Attributes:
        ended: Ollama's reason for the end ("stop", "length"); "" until it has come.
        tokens, write_seconds: of the answer, as Ollama counts them (eval_count, eval_duration): without reading the
            prompt. load_seconds: loading the model. None until the end, and where it does not tell.
    """

    def __init__(self, lines: Lines) -> None:
        self.ended = ""
        self.tokens: int | None = None
        self.write_seconds: float | None = None
        self.load_seconds: float | None = None
        self._lines = lines
        self._begun = self._closed = False

    def __next__(self) -> str:
        """The next piece. Raises EngineError, also when the answer stops before Ollama has said that it is done."""
        while not self.ended:
            try:
                said = next(self._lines, None)
            except EngineError as error:
                if self._begun and error.code == "ollama.broken":  # some of its errors quote what the model has said
                    raise EngineError(error.code, where=error.where, reason="error") from None
                raise
            if said is None:
                if self._closed:
                    break
                raise EngineError("ollama.broken", where=self._lines.address, reason="EOF")
            self._begun = True
            message = said.get("message")
            text = str(message.get("content") or "") if isinstance(message, dict) else ""
            if said.get("done") is True:
                self._end(said)
            if text or not self.ended:
                return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair could not be stored
        raise StopIteration

    def close(self) -> None:
        """End the connection and the iteration, from any thread."""
        self._closed = True
        self._lines.close()

    def _end(self, said: dict[str, Any]) -> None:
        self.ended = str(said.get("done_reason") or "stop")
        self.tokens = _count(said.get("eval_count"))
        self.write_seconds, self.load_seconds = (
            None if (told := _count(said.get(name))) is None else told / 1e9 for name in ("eval_duration", "load_duration")
        )
        self._lines.close()


@contextmanager
def ended_by(cancel: Any, end: Callable[[], None]) -> Iterator[None]:
    """Inside it `end` is called, once and on another thread, as soon as `cancel` is set: no silence is waited out.

    cancel: anything with `is_set()`.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            if cancel.is_set():
                end()
                return

    watching = threading.Thread(target=watch, name="ollama-cancel", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def reason_in(body: bytes, otherwise: str) -> str:
    """What Ollama says in the body of an answer with another status than 200, else `otherwise`. One line."""
    try:
        return _short(_parsed(body)["error"])
    except (ValueError, RecursionError, KeyError):
        return _short(otherwise)


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None


def _patient(opened: socket.socket) -> None:
    opened.settimeout(SILENCE_SECONDS)


def _opened(
    address: str, path: str, body: bytes | None, seconds: float, hold: Hold = lambda _: None, method: str | None = None
) -> Any:
    """The open answer to a request; `hold` is given the socket before anything is sent. Raises EngineError."""
    opener = urllib.request.OpenerDirector()  # bare: no handler for proxies, none for redirects
    for handler in (_Watched(hold), urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, data=body, headers=headers, method=method)
    try:
        return opener.open(request, timeout=seconds)
    except urllib.error.HTTPError as error:
        with error:
            raise EngineError("ollama.refused", where=address, status=error.code, reason=_reason(error)) from None
    except (OSError, HTTPException) as error:
        reason = _short(getattr(error, "reason", None) or error)
        raise EngineError("ollama.silent", where=address, reason=reason or type(error).__name__) from None


class _Watched(urllib.request.HTTPSHandler):
    """Shows the socket of a connection as soon as there is one, long before the answer begins."""

    http_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, hold: Hold) -> None:
        super().__init__()
        self._hold = hold

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._kind(HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._kind(HTTPSConnection), request)

    def _kind(self, kind: type[HTTPConnection]) -> type[HTTPConnection]:
        hold = self._hold

        class Shown(kind):
            def connect(self) -> None:
                super().connect()
                hold(self.sock)

        return Shown


@contextmanager
def _read(address: str) -> Iterator[None]:
    """Turns what may be raised while an answer is read into an EngineError."""
    try:
        yield
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        reason = _short(error) or type(error).__name__
        raise EngineError("ollama.broken", where=address, reason=reason) from None


def _parsed(line: bytes) -> dict[str, Any]:
    said = json.loads(line)
    if not isinstance(said, dict):
        raise ValueError("JSON")
    return said


def _reason(error: urllib.error.HTTPError) -> str:
    """What Ollama says beside its status, else HTTP's own words for it."""
    try:
        return reason_in(error.read(LONGEST_LINE), str(error.reason))
    except (OSError, HTTPException):
        return _short(error.reason)


def _short(reason: object) -> str:
    return " ".join(str(reason).split())[:200]
