"""Many dashboards in one process, each with an engine, a draft and a port of its own: Python starts once for them all.

    python tests/studios.py

reads one JSON object a line. {"config": FILE} opens what `python -m dashboard --config FILE` serves, {"runs": FOLDER,
"pace": SECONDS} the same with a chat that answers by script; the answer is a line with its port. "night": SECONDS beside
"config" has the stages of overnight chains played by script until that dashboard is closed. {"close": PORT} ends one as
Ctrl-C does; the answer is the port again. The end of the input ends them all.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from scripted_chat import make_runs, scripted_engine

from dashboard.app import create_app
from dashboard.draft import Draft
from so8t_engine import Engine, config


class Studio:
    """A dashboard that is served from a thread. undo: called when it is closed."""

    def __init__(self, engine: Engine, draft: Draft, undo: Callable[[], None] = lambda: None) -> None:
        self.engine, self.undo = engine, undo
        options = uvicorn.Config(
            create_app(engine, draft), host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=2
        )
        self.server = uvicorn.Server(options)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)

    @property
    def port(self) -> int:
        return self.server.servers[0].sockets[0].getsockname()[1]

    def close(self) -> None:
        """In the order of `python -m dashboard`."""
        self.server.should_exit = True
        self.thread.join()
        self.engine.cancel()
        self.engine.wait()
        self.engine.rest()
        self.undo()


def opened(wish: dict) -> Studio:
    """The dashboard that a line asks for."""
    if "config" in wish:
        draft = Draft(Path(wish["config"]))
        settings = draft.settings()
        undo = _played(wish["night"]) if wish.get("night") else lambda: None
        return Studio(Engine(settings.resolve(settings.runs), draft.settings), draft, undo)
    folder = Path(wish["runs"])
    if not folder.exists():
        make_runs(folder)
    return Studio(scripted_engine(folder, wish["pace"]), Draft(config.CONFIGS / "demo.yaml"))


def _played(pace: float) -> Callable[[], None]:
    from scripted_overnight import played  # loads torch, which most dashboards are opened without

    return played(pace)


def main() -> None:
    """Obey the lines of the input."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed is no answer
    studios: dict[int, Studio] = {}
    for line in sys.stdin:
        wish = json.loads(line)
        if "close" in wish:
            port = wish["close"]
            studios.pop(port).close()
        else:
            studio = opened(wish)
            port = studio.port
            studios[port] = studio
        print(port, file=answers, flush=True)
    for studio in studios.values():
        studio.close()


if __name__ == "__main__":
    main()
