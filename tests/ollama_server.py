"""A stand-in for Ollama as a whole: the published API with its rules, and faults on demand. The product never imports it.

Follows https://github.com/ollama/ollama/blob/main/docs/api.md and, where that page is silent, server/routes.go and
server/create.go. What Ollama would refuse is refused, in its words. `ollama_stand_in` is for single answers by script.
"""

import hashlib
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

from go_template import GoTemplate, TemplateError
from made import answer
from ollama_answers import in_message, in_response, spoken, thinks
from ollama_store import Model, Name, Refusal, Store, shown
from ollama_wire import FIELDS, Wire

PIECE = 1 << 16
INVALID = "invalid model name"
NO_SPACE = "write {}: no space left on device"


@dataclass
class Faults:
    """What goes wrong. Bytes are those of an upload's body.

    reset_after: the connection is reset. full_after: the disk is full.
    create_error: the words of an error line at status 200. create_refusal: of a status 500. create_silent: the stream
    ends without "success". show: what /api/show tells instead. chat_error: an error line after the first piece.
    upload_gate, create_gate, chat_gate: nothing goes on before it is set.
    """

    reset_after: int | None = None
    full_after: int | None = None
    create_error: str = ""
    create_refusal: str = ""
    create_silent: bool = False
    show: dict = field(default_factory=dict)
    chat_error: str = ""
    upload_gate: threading.Event | None = None
    create_gate: threading.Event | None = None
    chat_gate: threading.Event | None = None


def escalated(prompt: str) -> str:
    """A whole answer in the format, to whatever."""
    return answer("ESCALATION")


@dataclass
class OllamaServer:
    """Serves on a free port of 127.0.0.1 from its making to `stop`.

    Args:
        folder: a new one, for its store.
        version: whose rules hold.
        answer: prompt, as the template gives it, to all that the model says.

    Attributes:
        asked: (method, path, body) of every request, oldest first; the body of an upload is its length.
        arrived: bytes of uploads that have arrived so far. left: set when a client went away before its answer.
    """

    folder: Path
    version: str = "0.12.6"
    answer: Callable[[str], str] = escalated
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.store = Store(self.folder)
        self.asked: list[tuple[str, str, object]] = []
        self.arrived = 0
        self.left, self.ended = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"ollama": self}))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Serve no more: the port is closed."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def at_least(self, *number: int) -> bool:
        return tuple(int(part) for part in self.version.split("-")[0].split(".")) >= number

    def paths(self) -> list[str]:
        """Method and path of every request, oldest first."""
        return [f"{method} {path}" for method, path, _ in self.asked]


class _Handler(Wire):
    ollama: OllamaServer

    def do_GET(self) -> None:
        self._serve({"/": self._hello, "/api/version": self._version, "/api/tags": self._tags})

    def do_HEAD(self) -> None:
        self._serve({"/": self._hello, "/api/version": self._version, "/api/tags": self._tags}, self._head_blob)

    def do_DELETE(self) -> None:
        self._serve({"/api/delete": self._delete})

    def do_POST(self) -> None:
        known = {"/api/show": self._show, "/api/create": self._create, "/api/copy": self._copy,
                 "/api/chat": self._chat, "/api/generate": self._generate}  # fmt: skip
        self._serve(known, self._post_blob)

    def _serve(self, known: dict[str, Callable], blob: Callable | None = None) -> None:
        self.begun = False
        try:
            if self.headers.get("Host", "").rpartition(":")[0] not in ("127.0.0.1", "localhost", "[::1]"):
                raise Refusal(403, "")
            if self.path.startswith("/api/blobs/"):
                if blob is None:
                    raise Refusal(405, "405 method not allowed")
                blob(self.path.removeprefix("/api/blobs/"))
            elif self.path in known:
                body = self._body() if self.path in FIELDS else None
                self.ollama.asked.append((self.command, self.path, body))
                known[self.path](*([] if body is None else [body]))
            else:
                there = self.path in (*FIELDS, "/", "/api/version", "/api/tags")
                raise Refusal(405 if there else 404, "405 method not allowed" if there else "404 page not found")
        except Refusal as refusal:
            self._refuse(refusal)
        except (OSError, ValueError):  # the socket was shut
            self.ollama.left.set()
            self.close_connection = True

    # What it has

    def _hello(self) -> None:
        self._send(200, b"Ollama is running", "text/plain")

    def _version(self) -> None:
        self._tell({"version": self.ollama.version})

    def _tags(self) -> None:
        self._tell({"models": self.ollama.store.listed()})

    def _show(self, body: dict) -> None:
        text = body.get("model") or body.get("name") or ""
        if not text:
            raise Refusal(400, "model is required")
        model = self._found(text)
        self._tell({**shown(model, thinks(self.ollama, model)), **self.ollama.faults.show})

    def _copy(self, body: dict) -> None:
        names = []
        for key in ("source", "destination"):
            name = Name.parse(body.get(key, ""))
            if name is None:
                raise Refusal(400, f'{key} "{body.get(key, "")}" is invalid')
            names.append(name)
        if not self.ollama.store.copy(*names):
            raise Refusal(404, f'model "{body["source"]}" not found')
        self._send(200, b"", "text/plain")

    def _delete(self, body: dict) -> None:
        text = body.get("model") or body.get("name") or ""
        name = Name.parse(text)
        if name is None:
            raise Refusal(400, f'name "{text}" is invalid')
        if not self.ollama.store.delete(name):
            raise Refusal(404, f"model '{text}' not found")
        self._send(200, b"", "text/plain")

    # Files

    def _head_blob(self, digest: str) -> None:
        self.ollama.asked.append(("HEAD", self.path, None))
        if not self.ollama.store.blob(digest).exists():
            raise Refusal(404, f'blob "{digest}" not found')
        self._send(200, b"", "text/plain")

    def _post_blob(self, digest: str) -> None:
        length = self.headers.get("Content-Length", "")
        self.ollama.asked.append(("POST", self.path, int(length or 0)))
        if not length.isdigit():
            raise Refusal(411, "length required")
        if self.ollama.store.blob(digest).exists():
            self._drain(int(length))
            self._send(200, b"", "text/plain")
            return
        found = self._stored(int(length))
        if found != digest:
            raise Refusal(400, f'digest mismatch, expected "{digest}", got "{found}"')
        self._send(201, b"", "text/plain")

    def _drain(self, length: int) -> None:
        while length:
            length -= len(self.rfile.read1(min(PIECE, length))) or length

    def _stored(self, length: int) -> str:
        """Take the body; like Ollama, keep it under the digest that it really has. Half a body is thrown away."""
        seen, left, store = hashlib.sha256(), length, self.ollama.store
        with tempfile.NamedTemporaryFile(dir=store.blobs, prefix="sha256-", delete=False) as file:
            try:
                while left:
                    self._disturb(length - left, file.name)
                    piece = self.rfile.read1(min(PIECE, left))
                    if not piece:
                        raise ConnectionResetError
                    self.ollama.arrived += len(piece)
                    left -= len(piece)
                    seen.update(piece)
                    file.write(piece)
            except (OSError, Refusal):
                file.close()
                Path(file.name).unlink()
                raise
        digest = "sha256:" + seen.hexdigest()
        Path(file.name).replace(store.blob(digest))
        return digest

    def _disturb(self, done: int, file: str) -> None:
        faults = self.ollama.faults
        self._gate(faults.upload_gate)
        if faults.full_after is not None and done >= faults.full_after:
            raise Refusal(500, NO_SPACE.format(file))
        if faults.reset_after is not None and done >= faults.reset_after:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionResetError

    # Models

    def _create(self, body: dict) -> None:
        if not self.ollama.at_least(0, 5, 5):
            if not body.get("modelfile") and not body.get("path"):
                raise Refusal(400, "path or Modelfile are required")
            raise Refusal(501, "the stand-in reads no Modelfile")
        name = Name.parse(body.get("model") or body.get("name") or "")
        if name is None:
            raise Refusal(400, INVALID)
        if not body.get("files"):
            raise Refusal(400, "neither 'from' or 'files' was specified")
        self._stream(self._creation(name, body), body)

    def _creation(self, name: Name, body: dict) -> Iterator[dict]:
        faults, store = self.ollama.faults, self.ollama.store
        if faults.create_refusal:
            raise Refusal(500, faults.create_refusal)
        (path, digest), *others = body["files"].items()
        if others or not path.endswith(".gguf"):
            raise Refusal(400, "unknown type")
        file = store.blob(digest)
        if not file.exists():
            raise Refusal(400, f"blob not found for {path} (digest {digest})")
        yield {"status": "parsing GGUF"}
        self._gate(faults.create_gate)
        with file.open("rb") as weights:
            if weights.read(4) != b"GGUF":
                raise Refusal(400, "invalid file magic")
        if faults.create_error:
            raise Refusal(500, faults.create_error)
        model = Model(file, body.get("template", ""), body.get("system", ""), body.get("license", ""))
        model.parameters = body.get("parameters", {})
        try:
            GoTemplate(model.template)
        except TemplateError as error:
            raise Refusal(400, f"template error: {error}") from None
        yield {"status": f"using existing layer {digest}"}
        yield {"status": "writing manifest"}
        if not faults.create_silent:
            store.write(store.existing(name), model)
            yield {"status": "success"}

    # Answers

    def _chat(self, body: dict) -> None:
        if not body.get("model"):
            raise Refusal(400, "model is required")
        model = self._found(body["model"])
        if body.get("messages"):
            self._stream(self._gated(spoken(self.ollama, model, body["messages"], body, in_message)), body)
        else:
            self._tell({"model": body["model"], **in_message("", ""), "done_reason": "load", "done": True})

    def _generate(self, body: dict) -> None:
        model = self._found(body.get("model", ""))
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        messages = [*system, {"role": "user", "content": body.get("prompt", "")}]
        self._stream(self._gated(spoken(self.ollama, model, messages, body, in_response)), body)

    def _gated(self, lines: Iterator[dict]) -> Iterator[dict]:
        for line in lines:
            self._gate(self.ollama.faults.chat_gate)
            yield line
            if self.ollama.faults.chat_error:
                raise Refusal(500, self.ollama.faults.chat_error)

    def _found(self, text: str) -> Model:
        name = Name.parse(text)
        if name is None:
            raise Refusal(400, INVALID)
        model = self.ollama.store.read(name)
        if model is None:
            raise Refusal(404, f"model '{text}' not found")
        return model
