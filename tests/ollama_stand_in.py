"""A server that answers like Ollama, line by line as a test says; the product never imports it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def words(*pieces: str, thinking: str = "", reason: str = "stop") -> list[dict]:
    """The lines of an answer: one piece a line, then the end."""
    said = [{"message": {"role": "assistant", "content": "", "thinking": thinking}, "done": False}] if thinking else []
    said += [{"message": {"role": "assistant", "content": piece}, "done": False} for piece in pieces]
    return [*said, {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason}]


class StandIn:
    """Serves on a free port of 127.0.0.1 from its making to `stop`.

    Attributes:
        models: name to digest, as /api/tags lists them.
        answers: what /api/chat sends, by model: dicts become lines; bytes are sent as they are; an Event is waited
            for; "cut" ends the connection without an end; an int first of all is sent as the status.
        asked: the body of every /api/chat, oldest first.
        reached: set when the first of them is there.
        left: set when a client has closed its connection before its answer was over.
    """

    def __init__(self) -> None:
        self.models: dict[str, str] = {}
        self.answers: dict[str, list] = {}
        self.asked: list[dict] = []
        self.reached = threading.Event()
        self.left = threading.Event()
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Serve no more: the port is closed."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            if self.path != "/api/tags":
                self.whole(404, {"error": "no such path"})
                return
            listed = stand_in.models
            models = [{"name": name, "digest": listed[name]} for name in listed] if isinstance(listed, dict) else listed
            self.whole(200, {"models": models})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.asked.append(body)
            stand_in.reached.set()
            answer = iter(stand_in.answers[body["model"]])
            first = next(answer, None)
            if isinstance(first, int):
                self.whole(first, next(answer))
                return
            try:
                self.stream(first, answer)
            except OSError:
                stand_in.left.set()
            self.close_connection = True

        def stream(self, first: object, answer: Iterator) -> None:
            self.gate(first)  # like Ollama, which sends no header before its first word
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (first, *answer):
                if part == "cut":
                    return
                self.gate(part)
                if isinstance(part, dict):
                    part = json.dumps(part).encode() + b"\n"
                if isinstance(part, bytes):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")

        def gate(self, part: object) -> None:
            """Wait for an Event, and notice meanwhile when the other side has gone."""
            if not isinstance(part, threading.Event):
                return
            self.connection.settimeout(0.02)
            while not part.is_set() and not stand_in.ended.is_set():
                try:
                    if not self.connection.recv(1):
                        raise ConnectionResetError
                except TimeoutError:
                    continue
            self.connection.settimeout(None)

        def whole(self, status: int, content: object) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
