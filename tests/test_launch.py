"""The launcher: what it installs, when it installs nothing, and what it tells a person. No real install runs here."""

import ast
import contextlib
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import launch  # noqa: E402

SOURCE = (ROOT / "launch.py").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
posix = pytest.mark.skipif(
    os.name == "nt", reason="the stand-ins for Python are scripts, which Windows can't run as .exe"
)
on_cards = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no NVIDIA cards: nvidia-smi is not asked")

HEADER = "| NVIDIA-SMI 610.57.04   KMD Version: 610.57.04   CUDA Version: {} |"
NEW_HEADER = "| NVIDIA-SMI 610.57.04   KMD Version: 610.57.04   CUDA UMD Version: {} |"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    launch.in_japanese.cache_clear()
    yield
    launch.in_japanese.cache_clear()


# The file itself


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse(SOURCE)
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_an_old_python_can_read_it():
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    assert not any(getattr(node, "name", None) == "tomllib" for top in tree.body for node in getattr(top, "names", []))


def test_every_text_it_says_is_there_in_both_languages():
    said = set(re.findall(r'(?:say|stage)\("(\w+)"', SOURCE))
    texts = {name: words for name, words in launch.catalogue().items() if name != "advice"}
    assert said == set(texts)
    for words in [*texts.values(), *launch.catalogue()["advice"]]:
        assert words["en"].isascii() and not words["ja"].isascii()
        assert re.findall(r"\{(\w+)\}", words["en"]) or not re.findall(r"\{(\w+)\}", words["ja"])


def test_only_pytorchs_wheels_and_pythons_page_are_named():
    hosts = re.findall(r"https?://([^/\"\s]+)", SOURCE + (ROOT / "assets" / "launch.toml").read_text(encoding="utf-8"))
    assert set(hosts) == {"download.pytorch.org", "www.python.org"}


# Which Python


@pytest.mark.parametrize(("version", "bits"), [((3, 8), 64), ((3, 10), 64), ((3, 14), 64), ((3, 12), 32)])
def test_an_unsupported_python_is_refused_with_a_link(version, bits):
    with pytest.raises(launch.Stop) as stop:
        launch.check_python(version, bits)
    message = str(stop.value)
    assert stop.value.code == 2
    assert f"{version[0]}.{version[1]} ({bits}-bit)" in message and "3.11 - 3.13 (64-bit)" in message
    assert re.search(r"https://www\.python\.org/downloads/release/python-313\d+/", message)


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_a_supported_python_is_taken(minor):
    launch.check_python((3, minor), 64)


# Which torch


def nvidia_smi(
    folder: Path, monkeypatch, *, header: str = "", cards: str = "", listing: str | None = None, code: int = 0
):
    """Put an nvidia-smi on PATH that answers with these texts."""
    listing = (
        "\n".join(f"GPU {i}: x (UUID: y)" for i, _ in enumerate(cards.splitlines())) if listing is None else listing
    )
    folder.mkdir(exist_ok=True)
    answer = folder / "answer.py"
    answer.write_text(
        "import sys\n"
        f"texts = {{'-L': {listing!r}, '--query-gpu=name,compute_cap': {cards!r}, '': {header!r}}}\n"
        "print(texts[sys.argv[1] if len(sys.argv) > 1 else ''])\n"
        f"sys.exit({code})\n",
        encoding="utf-8",
    )
    if os.name == "nt":
        (folder / "nvidia-smi.bat").write_text(f'@"{sys.executable}" -S "{answer}" %*\n')
    else:
        script = folder / "nvidia-smi"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{answer}" "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@on_cards
@pytest.mark.parametrize(
    ("header", "cards", "build", "why"),
    [
        (HEADER.format("13.0"), "NVIDIA GeForce RTX 4090, 8.9", "cu130", "RTX 4090, its driver speaks CUDA 13.0"),
        (NEW_HEADER.format("13.4"), "NVIDIA GeForce RTX 5060, 12.0", "cu130", "CUDA 13.4"),
        (HEADER.format("12.8"), "NVIDIA GeForce RTX 3060, 8.6", "cu126", "CUDA 12.8"),
        (HEADER.format("12.6"), "NVIDIA GeForce RTX 3060, 8.6", "cu126", "CUDA 12.6"),
        (HEADER.format("13.0"), "NVIDIA GeForce GTX 1080 Ti, 6.1", "cu126", "GTX 1080 Ti"),
        (HEADER.format("12.2"), "NVIDIA GeForce RTX 3060, 8.6", "cpu", "needs a driver that speaks CUDA 12.6, this one speaks 12.2"),
        (HEADER.format("12.8"), "NVIDIA GeForce RTX 5090, 12.0", "cpu", "needs a driver that speaks CUDA 13.0, this one speaks 12.8"),
        (HEADER.format("13.0"), "Tesla K40m, 3.5", "cpu", "too old for this torch (compute capability 3.5, 5.0 is needed)"),
        (HEADER.format("13.0"), "NVIDIA T400, 7.5\nNVIDIA RTX A5000, 8.6", "cu130", "RTX A5000"),
        (HEADER.format("13.0"), "", "cpu", "no working NVIDIA card"),
        ("NVIDIA-SMI has failed", "NVIDIA T400, 7.5", "cpu", "no working NVIDIA card"),
    ],
)  # fmt: skip
def test_the_build_follows_driver_and_card(tmp_path, monkeypatch, header, cards, build, why):
    nvidia_smi(tmp_path / "a b & 漢字", monkeypatch, header=header, cards=cards)
    choice = launch.choose()
    assert choice.build == build and why in choice.why


@on_cards
def test_a_driver_too_old_to_tell_the_capability_is_told_so(tmp_path, monkeypatch):
    nvidia_smi(
        tmp_path, monkeypatch, header=HEADER.format("11.2"), cards="", listing="GPU 0: GeForce GTX 960 (UUID: y)"
    )
    assert launch.choose().build == "cpu" and "update the NVIDIA driver" in launch.choose().why


@on_cards
def test_an_nvidia_smi_that_fails_is_no_card(tmp_path, monkeypatch):
    nvidia_smi(tmp_path, monkeypatch, header=HEADER.format("13.0"), cards="NVIDIA T400, 7.5", code=9)
    assert launch.choose() == ("cpu", "nvidia-smi names no working NVIDIA card")


def test_without_nvidia_smi_it_is_the_cpu_build(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch.choose() == ("cpu", "no NVIDIA card was found (there is no nvidia-smi)")


def test_a_cuda_build_in_place_outlives_a_silent_card():
    choice = launch.keep_cuda(launch.Choice("cpu", "no card"), {"torch": "2.13.0+cu130"})
    assert choice.build == "cu130" and choice.why.startswith("no card; ")
    assert launch.keep_cuda(launch.Choice("cu126", "x"), {"torch": "2.13.0+cpu"}).build == "cu126"


@pytest.mark.parametrize(
    ("build", "system", "ends"),
    [
        ("cpu", "Linux", [["torch==9.9+cpu"], ["torch==9.9+cpu", "--index-url", "https://download.pytorch.org/whl/cpu"]]),
        ("cpu", "Windows", [["torch==9.9"]]),
        ("cpu", "Darwin", [["torch==9.9"]]),
        ("cu130", "Windows", [["torch==9.9+cu130"], ["torch==9.9+cu130", "--index-url", "https://download.pytorch.org/whl/cu130"]]),
        ("cu126", "Linux", [["torch==9.9+cu126"], ["torch==9.9+cu126", "--index-url", "https://download.pytorch.org/whl/cu126"]]),
    ],
)  # fmt: skip
def test_the_pip_commands_for_torch(build, system, ends):
    start = [launch.PYTHON, "-m", "pip", "install", "-q"]
    assert launch.torch_commands("9.9", build, system) == [start + end for end in ends]


def test_the_builds_belong_to_the_pinned_torch():
    assert launch.pinned_torch().startswith(launch.BUILDS_OF + "."), "look BUILDS up again for the new torch"


# Installing


STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path

called = " ".join(sys.argv[1:])
with (Path(__file__).parent / "calls").open("a", encoding="utf-8") as file:
    print(called, file=file)
if "import sys, pip" in called:
    print("%d.%d" % sys.version_info[:2])
elif "import torch" in called:
    print("2.13.0+cpu False")
elif os.environ.get("FAILING", "nothing") in called:
    print(os.environ.get("SAYING", "ERROR: No matching distribution found"), file=sys.stderr)
    sys.exit(1)
elif "--wait" in called:
    def end(*_):
        time.sleep(0.3)
        print("checkpoint written", flush=True)
        os._exit(7)
    signal.signal(signal.SIGINT, end)
    print("up", os.getpid(), flush=True)
    time.sleep(30)
elif "--port" in called:
    sys.exit(5)
"""


class Copy:
    """A copy of the launcher beside a .venv whose Python only writes down how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "assets").mkdir(parents=True)
        for name in ("launch.py", "assets/launch.toml", "pyproject.toml", "constraints.txt"):
            (folder / name).write_bytes((ROOT / name).read_bytes())
        (folder / "nowhere").mkdir()
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        (folder / "stand_in.py").write_text(STAND_IN, encoding="utf-8")
        python.write_text(f"""#!/bin/sh
exec "{sys.executable}" -S "${{0%/.venv/*}}/stand_in.py" "$@"
""")
        python.chmod(0o755)

    @contextlib.contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen]:
        """The launcher, running; killed at the end if it still does."""
        clean = {**os.environ, "LC_ALL": "C", "PATH": str(self.folder / "nowhere"), **environment}
        with subprocess.Popen(
            [sys.executable, "-S", str(self.folder / "launch.py"), *arguments], env=clean, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        ) as child:  # fmt: skip
            try:
                yield child
            finally:
                child.kill()

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit code and everything printed."""
        with self.start(*arguments, **environment) as child:
            output = child.communicate(timeout=120)[0]
        return child.returncode, output

    def calls(self) -> list[str]:
        """How the stand-in was called since the last look, without the question whether it is usable."""
        file = self.folder / "calls"
        lines = file.read_text(encoding="utf-8").splitlines()
        file.write_text("")
        return [line for line in lines if "import sys, pip" not in line]


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path / "a b & (漢字)! 100%^")


TORCH = f"-m pip install -q torch=={launch.pinned_torch()}+cpu"
PACKAGES = "-m pip install -q -c constraints.txt -e .[benchmarks,oracle]"
PACKAGES_AND_TESTS = PACKAGES.replace("oracle]", "dev,oracle]")
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI's torch is the CPU build: other commands")


@linux
def test_a_second_start_installs_nothing(copy):
    code, output = copy.run("setup")
    assert code == 0, output
    first, second, check = copy.calls()
    assert (first, second) == (TORCH, PACKAGES) and "torch.cuda.is_available()" in check
    assert "torch 2.13.0+cpu: no NVIDIA card was found" in output
    assert "torch.cuda.is_available() = False" in output
    assert re.search(r"Installing the pinned packages \.\.\. \d+\.\d s", output)

    assert copy.run() == (0, "torch 2.13.0+cpu: no NVIDIA card was found (there is no nvidia-smi)\n")
    assert copy.calls() == ["-m dashboard"]


@linux
def test_the_tests_add_what_they_need_once(copy):
    copy.run("setup")
    copy.calls()
    assert copy.run("test", "tests/test_x.py", "-k", "y")[0] == 0
    assert copy.calls()[1::2] == [PACKAGES_AND_TESTS, "-m pytest tests/test_x.py -k y"]
    copy.run("test")
    assert copy.calls() == ["-m pytest"]
    copy.run()
    assert copy.calls() == ["-m dashboard"]


@linux
@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_lock_installs_again_with_the_same_extras(copy, name):
    copy.run("test")
    copy.calls()
    with (copy.folder / name).open("a") as file:
        file.write("\n# changed\n")
    copy.run("setup")
    assert copy.calls()[:2] == [TORCH, PACKAGES_AND_TESTS]


@linux
def test_a_moved_folder_is_registered_again(copy):
    copy.run("setup")
    copy.calls()
    copy.folder = copy.folder.rename(copy.folder.parent / "moved")
    copy.run("setup")
    assert PACKAGES in copy.calls()


@linux
def test_an_install_that_was_cut_short_goes_on(copy):
    code, output = copy.run("setup", FAILING="constraints.txt", SAYING="OSError: [Errno 28] No space left on device")
    assert code == 1
    assert "No space left on device" in output and "This failed:" in output and "The disk is full" in output
    copy.calls()
    assert copy.run("setup")[0] == 0
    assert copy.calls()[:2] == [TORCH, PACKAGES]


@linux
def test_torch_comes_from_pytorchs_index_when_pip_does_not_know_it(copy):
    code, output = copy.run("setup", FAILING="install -q torch")
    assert code == 1 and "Check the connection" in output
    assert copy.calls() == [TORCH, TORCH + " --index-url https://download.pytorch.org/whl/cpu"]


@linux
def test_another_failure_of_torch_is_told_at_once(copy):
    code, output = copy.run("setup", FAILING="install -q torch", SAYING="ProxyError('Cannot connect to proxy.')")
    assert code == 1 and "HTTPS_PROXY" in output
    assert copy.calls() == [TORCH]


def test_a_broken_venv_is_made_anew(copy, monkeypatch):
    made = []

    class Made(Exception):
        pass

    def run(command):
        made.append(command)
        raise Made

    monkeypatch.setattr(launch, "PYTHON", str(copy.folder / "deleted" / "python"))
    monkeypatch.setattr(launch, "VENV", copy.folder / ".venv")
    monkeypatch.setattr(launch, "run", run)
    with pytest.raises(Made):
        launch.install([])
    assert made[0][1:] == ["-m", "venv", "--clear", str(copy.folder / ".venv")]
    assert not Path(made[0][0]).is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix


@posix
def test_two_starts_do_not_install_at_once(copy):
    holder = os.open(copy.folder / "launch.py", os.O_RDONLY)
    assert launch.locked(holder)
    with copy.start("setup") as child:
        assert child.stdout.readline() == "Another start is installing; waiting for it.\n"
        assert not (copy.folder / "calls").exists()
        os.close(holder)
        child.communicate(timeout=120)
    assert child.returncode == 0 and copy.calls()


# Starting


@posix
def test_arguments_and_exit_code_are_passed_on(copy):
    assert copy.run("--port", "8000", "--no-browser")[0] == 5
    assert copy.calls()[-1] == "-m dashboard --port 8000 --no-browser"


def up(child: subprocess.Popen) -> int:
    """Wait until the stand-in for the dashboard runs; its process number."""
    for line in child.stdout:
        if line.startswith("up "):
            return int(line.split()[1])
    raise AssertionError("it ended before it was up")


@posix
def test_ctrl_c_leaves_the_dashboard_time_for_its_checkpoint(copy):
    with copy.start("--wait") as child:
        for process in (up(child), child.pid):  # Ctrl-C reaches everyone on the console
            os.kill(process, signal.SIGINT)
        assert child.communicate(timeout=120)[0] == "checkpoint written\n"
    assert child.returncode == 7


@posix
def test_a_polite_kill_reaches_the_dashboard(copy):
    with copy.start("--wait") as child:
        up(child)
        child.terminate()
        child.communicate(timeout=120)
    assert child.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("arguments", [["tset"], ["setup", "--port"]])
def test_a_word_it_does_not_know_is_refused_before_anything_is_installed(copy, arguments):
    code, output = copy.run(*arguments)
    assert code == 2 and "python launch.py test" in output
    assert not (copy.folder / "calls").exists()


@linux
def test_it_speaks_japanese_on_a_japanese_system(copy):
    code, output = copy.run("setup", LC_ALL="ja_JP.UTF-8")
    assert code == 0 and "版を固定したパッケージをインストール" in output


# launch.bat and .ci/run


def test_the_batch_file_is_what_cmd_can_read():
    data = (ROOT / "launch.bat").read_bytes()
    assert data.isascii() and data.startswith(b"@echo off\r\n")
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")


def test_the_batch_file_takes_the_same_pythons():
    batch = (ROOT / "launch.bat").read_text(encoding="ascii")
    low, high = re.search(r"\(3, (\d+)\) <= sys\.version_info\[:2\] < \(3, (\d+)\)", batch).groups()
    assert PROJECT["requires-python"] == f">=3.{low},<3.{high}"
    supported = [f"3.{minor}" for minor in range(int(low), int(high))]
    assert re.findall(r"call :try py -(3\.\d+)", batch) == supported[::-1]
    assert f"{', '.join(supported[:-1])} or {supported[-1]}" in batch
    assert launch.PYTHON_PAGE in batch


def test_the_batch_file_asks_python_a_question_that_python_understands():
    batch = (ROOT / "launch.bat").read_text(encoding="ascii")
    question = re.search(r'-c "([^"]+)"', batch)[1]
    assert "%" not in question and "!" not in question  # cmd would change them
    assert subprocess.run([sys.executable, "-S", "-c", question]).returncode == 42


def test_ci_runs_the_same_command_as_everyone():
    script = ROOT / ".ci" / "run"
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec python3 launch.py test")
    assert os.name == "nt" or script.stat().st_mode & 0o111 == 0o111
