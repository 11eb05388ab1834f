"""What the tests of /think are made of: a scripted model, the whole application over it, and a server."""

import contextlib
import json
import queue
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import uvicorn
from fastapi.testclient import TestClient

from dashboard.app import create_app
from dashboard.draft import Draft
from so8t_engine import Engine, EngineError, config
from so8t_engine.answer.format import Answer, Final, build
from so8t_engine.chat.think import Think

SECRET = "აბგდევზთ"
HERE = "http://127.0.0.1:7860"
ASK = {"prompt": "mark-1"}


def written(prompt: str) -> str:
    """What the scripted model writes."""
    mark = re.search(r"mark-\w+", prompt).group()
    thinking = f"{SECRET} {prompt} {SECRET}"
    return build(Answer(thinking, thinking, thinking, Final("ALLOW", 0.9, "害はありません。", f"{mark} です。")))


@dataclass
class Scripted:
    """The speaker's contract with a few threads for a model, which answer when `gate` is open.

    write: from a prompt to the text. asked: every question. why_not: what `ask` raises.
    """

    write: Callable[[str], str] = written
    gate: threading.Event = field(default_factory=threading.Event)
    why_not: EngineError | None = None
    fault: EngineError | None = None
    asked: list = field(default_factory=list)
    _line: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)

    def __post_init__(self):
        self.gate.set()
        self.threads = [threading.Thread(target=self._work) for _ in range(8)]
        for thread in self.threads:
            thread.start()

    def leave(self):
        for _ in self.threads:
            self._line.put(None)
        self.gate.set()

    def ask(self, voice, question, reply):
        if self.why_not:
            raise self.why_not
        self.asked.append((voice, question, reply))
        self._line.put((voice, question, reply))

    def refusal(self):
        return self.why_not

    def rest(self):
        pass

    def _work(self):
        while asked := self._line.get():
            voice, question, reply = asked
            try:
                self._speak(voice, question, reply)
            except EngineError as error:
                reply.fail(error)
            except Exception as error:
                reply.fail(EngineError("chat.unexpected", reason=error))

    def _speak(self, voice, question, reply):
        reply.begin(voice.name, "f" * 64)
        for piece in re.findall(r"(?s).{1,5}", self.write(question.prompt)):
            while not self.gate.wait(0.005) and not reply.stopping:
                pass
            reply.feed(piece)
            if reply.over:
                break
        if self.fault:
            raise self.fault
        reply.end("stopped" if reply.stopping else "complete")


class Place:
    """The application over an engine whose /think has a scripted model."""

    def __init__(self, tmp_path):
        self.file = tmp_path / "settings.yaml"
        self.values = {"runs": str(tmp_path / "runs"), "think.requests_per_minute": 10_000}
        self.set()
        self.draft = Draft(self.file)
        self.engine = Engine(tmp_path / "runs", lambda: config.load(self.file))
        self.speaker, self.now = Scripted(), 0.0
        self.audit = self.engine.audit
        self.engine.think = Think(
            lambda: config.load(self.file), self.speaker, self.audit, self.engine.runs_folder, lambda: self.now
        )
        self.app = create_app(self.engine, self.draft)
        self.client = TestClient(self.app, base_url=HERE)

    def set(self, **values):
        """Change settings of `think`."""
        self.values |= {f"think.{name}": value for name, value in values.items()}
        self.file.write_text(config.to_yaml(config.from_values(self.values)), encoding="utf-8")

    def post(self, body=ASK, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post("/think", content=content, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def wait_for(self, count):
        """Until the model has been asked so often."""
        deadline = time.monotonic() + 60
        while len(self.speaker.asked) < count:
            assert time.monotonic() < deadline, f"asked {len(self.speaker.asked)} times, not {count}"
            time.sleep(0.002)

    @contextlib.contextmanager
    def held(self, threads):
        """The model says nothing inside; gives threads to ask from, whose answers come at the end at the latest."""
        self.speaker.gate.clear()
        with ThreadPoolExecutor(threads) as pool:
            try:
                yield pool
            finally:
                self.speaker.gate.set()


def code(answer):
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]


@contextlib.contextmanager
def running(place):
    """The application behind uvicorn on a port of its own."""
    server = uvicorn.Server(
        uvicorn.Config(place.app, port=0, log_level="debug", log_config=None, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
