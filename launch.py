"""Install SO8T Studio into .venv and start it.

    python launch.py [ARGUMENTS]        start the dashboard (--port N, --no-browser, --config FILE)
    python launch.py test [ARGUMENTS]   install what the tests need and run them (arguments go to pytest)
    python launch.py setup              install and stop
"""
# The standard library alone; it parses under Python 3.8, so that an old Python can be told which one is needed.

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import locale
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple, NoReturn

ROOT = Path(__file__).absolute().parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
STAMP = VENV / "so8t_studio.json"
"""What is installed. Written last: an install that was cut short has none, so the next start goes on with it."""

LOCK = ("pyproject.toml", "constraints.txt")
"""While these are the same, nothing is installed again."""

EXTRAS = {
    "start": ["benchmarks", "oracle"],
    "setup": ["benchmarks", "oracle"],
    "test": ["benchmarks", "dev", "oracle"],
}
"""What each command installs beside the program: the general benchmarks (a third of a GB) and llama.cpp, which proves an
export, belong to what a person gets."""

PYTHON_PAGE = "https://www.python.org/downloads/release/python-31316/"
WHEELS = "https://download.pytorch.org/whl/"

BUILDS_OF = "2.13"
BUILDS = (("cu130", (13, 0), (7, 5), (99, 0)), ("cu126", (12, 6), (5, 0), (9, 0)))
"""CUDA builds of torch BUILDS_OF, best first: the CUDA version that the driver must speak, then the oldest and newest
compute capability inside (PyTorch's RELEASE.md, "PyTorch CUDA Support Matrix"). Look them up for each new torch."""


class Stop(Exception):
    """What happened and what to do next, for a person, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Choice(NamedTuple):
    """A build of torch ("cpu", "cu126", "cu130") and why it was chosen."""

    build: str
    why: str


def main(arguments: list[str]) -> int:
    """Run one of the three commands and give back its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A Japanese Windows console starts in code page 932, which does not have every sign.
        stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    named = bool(arguments) and not arguments[0].startswith("-")
    command, rest = (arguments[0], arguments[1:]) if named else ("start", arguments)
    try:
        if command not in EXTRAS or (command == "setup" and rest):
            raise Stop(__doc__, 2)
        check_python(sys.version_info[:2], 64 if sys.maxsize > 2**32 else 32)
        with one_at_a_time():
            install(EXTRAS[command])
        if command == "setup":
            return 0
        return hand_over(["-m", "pytest" if command == "test" else "dashboard", *rest])
    except Stop as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print(say("interrupted"))
        return 130


def check_python(version: tuple[int, int], bits: int) -> None:
    """Refuse what pyproject.toml's requires-python excludes, and 32 bits (read without tomllib, new in 3.11)."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    bounds = re.search(r'requires-python = ">=(\d+)\.(\d+),<(\d+)\.(\d+)"', project)
    a, b, c, d = map(int, bounds.groups())
    if (a, b) <= version < (c, d) and bits == 64:
        return
    this, needed = "%d.%d (%d-bit)" % (*version, bits), "%d.%d - %d.%d (64-bit)" % (a, b, c, d - 1)
    if in_japanese():
        raise Stop(f"この Python は {this} ですが、{needed} が必要です。ここから入れてください: {PYTHON_PAGE}", 2)
    raise Stop(f"This is Python {this}; SO8T Studio needs {needed}. Install one from {PYTHON_PAGE}", 2)


def install(extras: list[str]) -> None:
    """Bring .venv to what the lock, this machine and `extras` ask for; does nothing when it is there already."""
    made = usable()
    stamp = read_stamp() if made else {}
    choice = keep_cuda(choose(), stamp)
    torch = f"{pinned_torch()}+{choice.build}"
    wanted = {
        "lock": hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in LOCK)).hexdigest(),
        "root": str(ROOT),  # in a moved folder the project is registered again under its new path
        "torch": torch,
        "extras": sorted({*extras, *stamp.get("extras", []), *(["gpu"] if choice.build != "cpu" else [])}),
    }
    print(f"torch {torch}: {choice.why}")
    if stamp == wanted:
        return
    if not made:
        base = getattr(sys, "_base_executable", sys.executable)  # not .venv's own Python, which is about to go
        with stage("making"):
            run([base, "-m", "venv", "--clear", str(VENV)])
    STAMP.unlink(missing_ok=True)
    with stage("torch", torch=torch):
        install_torch(choice.build)
    with stage("packages"):
        extras = ",".join(wanted["extras"])
        run(pip("-c", "constraints.txt", "-e", f".[{extras}]" if extras else "."))
    with stage("checking"):
        answer = run([PYTHON, "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"])
    version, cuda = answer.split()[-2:]
    print(f"torch {version}, torch.cuda.is_available() = {cuda}")
    if choice.build != "cpu" and cuda != "True":
        print(say("cuda_silent"))
    STAMP.write_text(json.dumps(wanted), encoding="utf-8")


def choose() -> Choice:
    """The build for this machine: the best CUDA build that its driver and its card can run, else the CPU one."""
    if platform.system() not in ("Windows", "Linux") or not shutil.which("nvidia-smi"):
        return Choice("cpu", say("no_card"))
    header = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d+)\.(\d+)", nvidia_smi())  # "UMD" since driver 610
    if not header or not re.search(r"^GPU \d", nvidia_smi("-L"), re.MULTILINE):
        return Choice("cpu", say("no_answer"))
    driver = (int(header[1]), int(header[2]))
    rows = re.findall(r"(.+), (\d+)\.(\d+)\s", nvidia_smi("--query-gpu=name,compute_cap", "--format=csv,noheader"))
    cards = [((int(major), int(minor)), name) for name, major, minor in rows]
    # A driver that can't tell a card's capability is too old for every build, so that the default decides nothing.
    capability, name = max(cards, default=((8, 0), "NVIDIA"))
    facts = {"name": name, "driver": "%d.%d" % driver, "capability": "%d.%d" % capability}
    fitting = [(build, needed) for build, needed, oldest, newest in BUILDS if oldest <= capability <= newest]
    for build, needed in fitting:
        if driver >= needed:
            return Choice(build, say("card", **facts))
    if fitting:
        least = min(needed for _, needed in fitting)
        return Choice("cpu", say("driver_too_old", **facts, least="%d.%d" % least))
    return Choice("cpu", say("card_too_old", **facts, least="%d.%d" % min(build[2] for build in BUILDS)))


def keep_cuda(choice: Choice, stamp: dict) -> Choice:
    """A CUDA build in place is not thrown away because the card is silent for once."""
    build = stamp.get("torch", "").partition("+")[2]
    if choice.build == "cpu" and build.startswith("cu"):
        return Choice(build, say("kept", why=choice.why))
    return choice


def nvidia_smi(*arguments: str) -> str:
    """What nvidia-smi prints; "" when it fails or hangs."""
    try:
        return output_of([shutil.which("nvidia-smi"), *arguments], timeout=15)
    except (OSError, subprocess.SubprocessError):
        return ""


def output_of(command: list[str], timeout: int) -> str:
    """What a short command prints. Raises OSError or SubprocessError when it fails or hangs."""
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    answer = subprocess.run(command, stdout=subprocess.PIPE, timeout=timeout, check=True, **quiet)
    return answer.stdout.decode("utf-8", "replace")


def pinned_torch() -> str:
    """The version of torch that pyproject.toml pins."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next(line[len("torch==") :] for line in project["dependencies"] if line.startswith("torch=="))


def torch_commands(version: str, build: str, system: str) -> list[list[str]]:
    """The pip commands to try in turn. pip's own settings come first: a mirror or a folder may have the wheel."""
    if build == "cpu" and system != "Linux":
        return [pip(f"torch=={version}")]  # there PyPI's wheel is the CPU build
    wheel = f"torch=={version}+{build}"
    return [pip(wheel), pip(wheel, "--index-url", WHEELS + build)]


def install_torch(build: str) -> None:
    """Run those commands until one finds the wheel."""
    *others, last = torch_commands(pinned_torch(), build, platform.system())
    for command in others:
        code, output = quietly(command)
        if code == 0:
            return
        if "No matching distribution" not in output:
            fail(command, output)
    run(last)


def pip(*arguments: str) -> list[str]:
    """A pip install into .venv. It runs in ROOT, so that no argument names a folder of the person's."""
    return [PYTHON, "-m", "pip", "install", "-q", *arguments]


def usable() -> bool:
    """Whether .venv runs, has pip, and is of the Python that runs this file."""
    try:
        version = output_of([PYTHON, "-c", "import sys, pip; print('%d.%d' % sys.version_info[:2])"], timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return version.strip() == "%d.%d" % sys.version_info[:2]


def read_stamp() -> dict:
    """What the last whole install wrote; {} when there was none."""
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def stage(key: str, **facts: str) -> Iterator[None]:
    """Tell what is being done, and afterwards how long it took."""
    print(say(key, **facts), "...", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    finally:
        print(" %.1f s" % (time.monotonic() - began))


def run(command: list[str]) -> str:
    """The output of `command`. Raises Stop with it, and with advice, when it fails."""
    code, output = quietly(command)
    if code != 0:
        fail(command, output)
    return output


def quietly(command: list[str]) -> tuple[int, str]:
    """Exit code and output of `command`; a dot every five seconds while it runs."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryFile() as log:
        options = {"cwd": ROOT, "env": environment, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        with subprocess.Popen(command, **options) as child:
            while True:
                try:
                    code = child.wait(timeout=5)
                    break
                except subprocess.TimeoutExpired:
                    print(".", end="", flush=True)
        log.seek(0)
        return code, log.read().decode("utf-8", "replace")


def fail(command: list[str], output: str) -> NoReturn:
    """Raise Stop: the end of the output, the command, and what to do."""
    entry = next(entry for entry in catalogue()["advice"] if re.search(entry["pattern"], output))
    advice = entry["ja" if in_japanese() else "en"]
    end = "\n".join(output.strip().splitlines()[-25:])
    raise Stop(end + say("failed", command=" ".join(command), advice=advice))


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait while another start installs into the same .venv."""
    with Path(__file__).open("rb") as file:
        busy = not locked(file.fileno())
        if busy:
            print(say("waiting"))
        while busy:
            time.sleep(0.5)
            busy = not locked(file.fileno())
        yield


def locked(descriptor: int) -> bool:
    """Lock an open file until it is closed; False when another process has it."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far past the end: a lock there keeps nobody from reading
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks
    return True


def hand_over(arguments: list[str]) -> int:
    """Run .venv's Python and wait for it. Ctrl-C is its business: a run ends with a checkpoint, which takes a while."""
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    with subprocess.Popen([PYTHON, *arguments], cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"}) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        code = child.wait()
    return code if code >= 0 else 128 - code


def say(key: str, **facts: str) -> str:
    """The text `key` in the language of the system."""
    return catalogue()[key]["ja" if in_japanese() else "en"].format_map(facts)


@functools.lru_cache(maxsize=None)
def catalogue() -> dict:
    """Everything that is said, in both languages."""
    import tomllib

    return tomllib.loads((ROOT / "assets" / "launch.toml").read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def in_japanese() -> bool:
    """Whether the system's locale is Japanese."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return os.environ[name].startswith("ja")
    try:
        return locale.setlocale(locale.LC_CTYPE, "").lower().startswith("ja")  # "Japanese_Japan.932" on Windows
    except locale.Error:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
