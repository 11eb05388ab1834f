"""How the stand-in for Ollama speaks HTTP: bodies with types, answers whole or a JSON object a line, errors in JSON."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

from ollama_answers import joined
from ollama_store import Refusal

FIELDS = {
    "/api/create": {"model": str, "name": str, "files": dict, "from": str, "template": str, "system": str,
                    "parameters": dict, "stream": bool, "modelfile": str, "path": str},
    "/api/show": {"model": str, "name": str},
    "/api/copy": {"source": str, "destination": str},
    "/api/delete": {"model": str, "name": str},
    "/api/chat": {"model": str, "messages": list, "options": dict, "stream": bool, "think": bool},
    "/api/generate": {"model": str, "prompt": str, "system": str, "options": dict, "stream": bool, "think": bool},
}  # fmt: skip
"""What a body may hold, with its type; Go leaves out a field that it does not know and refuses a wrong type."""


class Wire(BaseHTTPRequestHandler):
    """What every answer needs. `ollama`: the server, with `ended`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> dict:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not data:
            raise Refusal(400, "missing request body")
        try:
            body = json.loads(data)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        for key, kind in FIELDS[self.path].items():
            if body.get(key) is not None and not isinstance(body[key], kind):
                raise Refusal(400, f"json: cannot unmarshal into Go struct field .{key} of type {kind.__name__}")
        return body

    def _stream(self, lines: Iterator[dict], body: dict) -> None:
        """One JSON object a line; the first one decides the status, an error after it is a line at status 200."""
        if body.get("stream") is False:
            self._tell(joined(list(lines)))
            return
        try:
            for line in lines:
                self._line(line)
        except Refusal as refusal:
            if not self.begun:
                raise
            self._line({"error": refusal.text})
        self.wfile.write(b"0\r\n\r\n")

    def _line(self, line: dict) -> None:
        if not self.begun:
            self.begun = True
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _tell(self, said: dict) -> None:
        self._send(200, json.dumps(said, ensure_ascii=False).encode(), "application/json; charset=utf-8")

    def _refuse(self, refusal: Refusal) -> None:
        """Like Go's server, which reads no more of a body that nobody wanted: it says so, waits a little and closes."""
        plain = refusal.status == 403 or refusal.text.startswith(str(refusal.status))
        data = refusal.text.encode() if plain else json.dumps({"error": refusal.text}).encode()
        self.close_connection = True
        with suppress(OSError):
            self._send(refusal.status, data, "text/plain" if plain else "application/json; charset=utf-8")
            if self.command == "POST" and "/blobs/" in self.path:
                self.connection.shutdown(socket.SHUT_WR)
                time.sleep(0.5)

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _gate(self, gate: threading.Event | None) -> None:
        """Wait for an Event, and notice meanwhile when the client has gone."""
        while gate is not None and not gate.wait(0.02) and not self.ollama.ended.is_set():
            self.connection.setblocking(False)
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            finally:
                self.connection.setblocking(True)
