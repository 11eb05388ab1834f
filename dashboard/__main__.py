"""`python -m dashboard [--port N] [--no-browser] [--config FILE]`: serve the dashboard on this machine."""

import argparse
import os
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

from so8t_engine import EngineError, config

HOST = "127.0.0.1"
FIRST_PORT, LAST_PORT = 7860, 7879


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C; a running job is then stopped with a checkpoint. Returns the exit code."""
    _speak_utf8()
    options = _options(arguments)
    try:
        listening = _listen(options.port)
    except OSError as error:
        print(f"Port {options.port or FIRST_PORT} can't be used: {error}. Choose another one with --port.")
        return 2
    from dashboard.draft import Draft

    try:
        draft = Draft(options.config)
    except EngineError as error:
        print(error)
        return 2
    return _serve(draft, listening, open_browser=not options.no_browser)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dashboard", description="The dashboard of SO8T Studio.")
    parser.add_argument("--port", type=int, help=f"default: the first free one from {FIRST_PORT}; 0: any free one")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    parser.add_argument("--config", type=Path, default=config.CONFIGS / "demo.yaml", help="settings to open with")
    return parser.parse_args(arguments)


def _listen(port: int | None) -> socket.socket:
    """A socket on this machine alone. Raises OSError when the wanted port, or all usual ones, are taken."""
    ports = [port] if port is not None else range(FIRST_PORT, LAST_PORT + 1)
    for number in ports:
        listening = socket.socket()
        if os.name == "posix":  # on Windows this option would share the port with another program
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
        except OSError as taken:
            listening.close()
            last = taken
            continue
        listening.listen(128)
        return listening
    raise last


def _serve(draft, listening: socket.socket, *, open_browser: bool) -> int:
    import uvicorn

    from dashboard.app import create_app
    from so8t_engine import Engine

    engine = Engine(_runs_folder(draft), draft.settings)
    app = create_app(engine, draft)
    address = f"http://{HOST}:{listening.getsockname()[1]}/"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    print(f"SO8T Studio: {address}  (Ctrl-C ends it)", flush=True)
    if open_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if engine.snapshot().active:
        print("Stopping the job; its checkpoint is being written. Ctrl-C again gives up on it.", flush=True)
        engine.cancel()
        engine.wait()
    engine.rest()
    return 0


def _runs_folder(draft) -> Path:
    try:
        settings = draft.settings()
    except EngineError:
        settings = config.Settings()  # the faults are shown on the page
    return settings.resolve(settings.runs)


def _speak_utf8() -> None:
    """A console of code page 932 must not end the program over one sign it does not have."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    sys.exit(main())
