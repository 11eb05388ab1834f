"""How soon the dashboard answers: seconds from `python launch.py` to the first whole page, in a warm .venv.

    python bench/page_start.py [TIMES]
"""

import platform
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent


def seconds_to(url: str, begun: float) -> float:
    """Ask again and again until `url` answers."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                answer.read()
                return time.monotonic() - begun
        except OSError:
            time.sleep(0.05)


def once() -> tuple[float, float]:
    """Seconds to the page's HTML, and to torch-free idleness: (page, memory in MiB)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    command = [sys.executable, str(ROOT / "launch.py"), "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        page = seconds_to(f"http://127.0.0.1:{port}/ja/", begun)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        return page, max(p.memory_info().rss for p in family) / 2**20
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def main() -> None:
    times = int(sys.argv[1]) if sys.argv[1:] else 5
    print(f"{'start':>6}{'page':>10}{'memory':>12}")
    for number in range(1, times + 1):
        page, memory = once()
        print(f"{number:6}{page:8.2f} s{memory:8.0f} MiB", flush=True)
    cores = f"{psutil.cpu_count(False)} cores"
    print(f"{platform.processor() or platform.machine()}, {cores}; Python {platform.python_version()}, "
          f"gradio {version('gradio')}; {date.today()}")  # fmt: skip


if __name__ == "__main__":
    main()
