"""A dashboard in a process of its own, and a real Chromium that may talk to nothing else."""

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

START_SECONDS = 60


@dataclass
class Studio:
    """A running dashboard: its address, its runs, its process."""

    url: str
    runs: Path
    process: subprocess.Popen


@pytest.fixture
def serve():
    """`serve(runs, *arguments)`: a dashboard, as `python arguments --port N`; it is stopped after the test."""
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
        return Studio(url, runs, process)

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def studio(tmp_path, serve):
    """`python -m dashboard` on a free port with a config of its own, whose runs lie in the test's folder."""
    runs = tmp_path / "runs"
    settings = config.load(config.CONFIGS / "demo.yaml", overrides=["train.validate_every=10", "train.epochs=1.0"])
    file = tmp_path / "試し & <test>.yaml" if os.name == "posix" else tmp_path / "試し & test.yaml"
    file.write_text(config.to_yaml(settings.model_copy(update={"runs": str(runs)})), encoding="utf-8")
    return serve(runs, "-m", "dashboard", "--no-browser", "--config", str(file))


@pytest.fixture(scope="session")
def chromium():
    """A real Chromium, named by the variable CHROMIUM or found on the path."""
    binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        pytest.skip("no Chromium here: install one, or name its binary in the variable CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])")
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
        contexts.append(context)
        context.add_init_script(init)
        page = context.new_page()
        page.on("request", lambda request: _stays_here(request.url, studio.url, complaints))
        page.on("console", lambda message: message.type == "error" and complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"page: {error}"))
        page.goto(studio.url + path)
        page.wait_for_selector("html.so-ready", timeout=20_000)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert complaints == []


def _stays_here(url: str, home: str, complaints: list[str]) -> None:
    if not url.startswith((home + "/", "data:", "blob:")):
        complaints.append(f"request: {url}")


def _wait_for(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the dashboard ended before it answered"
        try:
            with urllib.request.urlopen(url + "/alive", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {url} within {START_SECONDS} s")
