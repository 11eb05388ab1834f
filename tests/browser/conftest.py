"""Dashboards, and a real Chromium that may talk to nothing else."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from made import environment

from so8t_engine import config

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip

PATIENCE = 60_000
"""Milliseconds that a page is waited for: a loaded machine may be ten times slower than an idle one."""


SHORT = ["train.batch_size=4", "train.validate_every=10", "train.epochs=1.0"]
"""The demo's settings with steps of about a tenth of a second."""


@dataclass
class Studio:
    """A running dashboard: its address and its runs."""

    url: str
    runs: Path


class House:
    """The process in which the dashboards of all tests live, one after the other: `tests/studios.py`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "tests/studios.py"], cwd=config.ROOT, env=environment(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def tell(self, **wish: object) -> int:
        """Open or close a dashboard; its port."""
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process of the dashboards has ended: what it said stands above"
        return int(answer)

    def end(self) -> None:
        """Close every dashboard and the process."""
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture(scope="session")
def house():
    """Where dashboards are opened; made anew when one of them has brought it down."""
    houses = [House()]

    def living() -> House:
        if houses[-1].process.poll() is not None:
            houses.append(House())
        return houses[-1]

    yield living
    for one in houses:
        one.end()


@pytest.fixture
def open_studio(house):
    """`open_studio(runs, config=file)`: the dashboard on these settings; `open_studio(runs, pace=seconds)`: with a scripted chat.

    night: seconds that each stage of an overnight chain takes, which is then played by script. It has an engine of its own, but the process is the house's. It is closed after the test.
    """
    opened = []

    def start(runs: Path, *, config: Path | None = None, pace: float = 0.0, night: float = 0.0) -> Studio:
        living = house()
        wish = {"runs": str(runs), "pace": pace} if config is None else {"config": str(config), "night": night}
        port = living.tell(**wish)
        opened.append((living, port))
        return Studio(f"http://127.0.0.1:{port}", runs)

    yield start
    for living, port in opened:
        if living.process.poll() is None:
            living.tell(close=port)


@pytest.fixture
def serve():
    """`serve(runs, *arguments)`: a dashboard in a process of its own, as `python arguments --port N`."""
    processes = []

    def start(runs: Path, *arguments: str) -> Studio:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, *arguments, "--port", str(port)]
        process = subprocess.Popen(command, cwd=config.ROOT, env=environment())
        processes.append(process)
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process)
        return Studio(url, runs)

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def runs(tmp_path) -> Path:
    """Where the dashboard's runs lie."""
    return tmp_path / "runs"


@pytest.fixture
def settings_file(tmp_path, runs) -> Path:
    """The demo's settings, shortened, with runs in the test's folder."""
    settings = config.load(config.CONFIGS / "demo.yaml", overrides=SHORT)
    file = tmp_path / "試し & <test>.yaml" if os.name == "posix" else tmp_path / "試し & test.yaml"
    file.write_text(config.to_yaml(settings.model_copy(update={"runs": str(runs)})), encoding="utf-8")
    return file


@pytest.fixture
def own_process() -> bool:
    """Whether the dashboard is `python -m dashboard`, as a person starts it; a test may say so."""
    return False


@pytest.fixture
def studio(open_studio, serve, runs, settings_file, own_process):
    """The dashboard with a config of its own."""
    if own_process:
        return serve(runs, "-m", "dashboard", "--no-browser", "--config", str(settings_file))
    return open_studio(runs, config=settings_file)


@pytest.fixture(scope="session")
def chromium():
    """A real Chromium, named by the variable CHROMIUM or found on the path."""
    binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        pytest.skip("no Chromium here: install one, or name its binary in the variable CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def window(chromium, studio):
    """Opens windows: `window(path, init=script, **options)`; the script runs before the page's own.

    What a page asks for elsewhere, or complains of, fails the test.
    """
    complaints: list[str] = []
    contexts = []

    def open_window(path="/ja/?tab=train", init="", **options):
        context = chromium.new_context(**({"viewport": {"width": 1440, "height": 1000}} | options))
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        context.add_init_script(init)
        page = context.new_page()
        page.on("request", lambda request: _stays_here(request.url, studio.url, complaints))
        page.on("console", lambda message: message.type == "error" and complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"page: {error}"))
        page.goto(studio.url + path)
        page.wait_for_selector("html.so-ready")
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert complaints == []


def _stays_here(url: str, home: str, complaints: list[str]) -> None:
    if not url.startswith((home + "/", "data:", "blob:")):
        complaints.append(f"request: {url}")


def _wait_for(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        assert process.poll() is None, "the dashboard ended before it answered"
        try:
            with urllib.request.urlopen(url + "/alive", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {url} within {PATIENCE} ms")
