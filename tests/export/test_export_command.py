"""`export` on the command line and through the engine: exit codes, what is printed, the picture that a page sees."""

import random
import signal
import subprocess
import sys
import time

import pytest
from canary import CANARY
from made import ROOT, environment
from ollama_server import OllamaServer
from tiny_exports import BOTH, Bench, disturb, read, sha256

from so8t_engine import Engine, commands
from so8t_engine import events as e
from so8t_engine.__main__ import main
from so8t_engine.snapshot import QUIET


@pytest.fixture
def bench(tmp_path, learned):
    return Bench(tmp_path, learned)


@pytest.fixture
def llama_cpp():
    pytest.importorskip("xllamacpp", reason="llama.cpp is not here: install the `oracle` extra")


def arguments(bench, *more: str, folder: str = "out") -> list[str]:
    sets = [text for name, value in bench.values.items() for text in ("--set", f"{name}={value}")]
    return [
        "export",
        "--model",
        "retrained",
        "--output-dir",
        str(bench.folder / folder),
        *sets,
        "--language",
        "en",
        *more,
    ]


def test_the_whole_way_is_told_and_ends_with_0(bench, llama_cpp, capsys):
    server = OllamaServer(bench.folder / "store")
    bench.values["ollama.address"] = server.address
    try:
        assert main(arguments(bench, "--quant", "f16, q8_0", "--ollama", "so8t", "--accept-visible-thinking")) == 0
    finally:
        server.stop()
    told, trouble = capsys.readouterr()
    for kind in BOTH:
        assert f"retrained-{kind}.gguf: " in told and f"{kind} decides like the model on 6 prompts" in told
        assert f"{kind}: 6/6 prompts" in told
    assert "MB/s" in told and "ollama run so8t:latest" in told and "equal decisions 100.0%" in told
    assert not trouble and CANARY not in told


def test_a_file_that_decides_otherwise_ends_with_1_and_its_prompts(bench, llama_cpp, capsys):
    assert main(arguments(bench, "--no-gate", "--quant", "f16")) == 0
    assert "not compared with the model" in capsys.readouterr().out
    disturb(bench.folder / "out", "f16")
    assert main(arguments(bench, "--quant", "f16")) == 1
    told = capsys.readouterr().out
    assert "f16 DECIDES OTHERWISE THAN THE MODEL" in told and "look at lines " in told
    assert main(arguments(bench, "--quant", "f16", "--ollama", "so8t", "--accept-visible-thinking")) == 1
    assert "Not pushed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, said",
    [(("--quant", "q4"), "q4"), (("--ollama", "so8t"), "thinking"), (("--prompts", "nowhere.jsonl"), "nowhere.jsonl")],
)
def test_bad_input_ends_with_2_and_writes_nothing(bench, llama_cpp, capsys, more, said):
    assert main(arguments(bench, *more)) == 2
    assert said in capsys.readouterr().err and not (bench.folder / "out").exists()


def test_the_picture_has_what_was_done_and_the_log_no_progress(bench, llama_cpp):
    engine = Engine(bench.root)
    engine.submit(commands.ExportModel(settings=bench.settings, model="run:retrained"))
    followed = list(engine.follow())
    engine.wait()
    seen = engine.snapshot()
    assert seen.state == "finished" and seen.export.model == "run:retrained"
    assert (
        [event.quantization for event in seen.exported] == [event.quantization for event in seen.fidelity] == list(BOTH)
    )
    assert seen.export_finished.passed and seen.pushed is None
    assert isinstance(seen.exporting, e.FidelityProgressed) and seen.exporting.done == seen.exporting.total
    assert any(isinstance(event, e.ConversionProgressed) for event in followed)
    assert not any(isinstance(event, QUIET) for event in seen.log)
    assert not any(CANARY in event.to_json() for event in followed)
    folder = bench.run.folder / "export"
    assert seen.export.folder == str(next(folder.iterdir())) and bench.run.finished


def test_the_base_itself_is_exported_beside_the_runs(bench):
    engine = Engine(bench.root)
    engine.submit(commands.ExportModel(settings=bench.settings, quantizations=("bf16",), gate=False))
    engine.wait()
    (folder,) = bench.root.glob("export-*")
    assert (folder / "learned_model-bf16.gguf").exists() and read(folder / "export_results.json")["model"][
        "run"
    ] is None


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills the way POSIX does")
def test_killed_at_any_moment_a_named_file_is_whole_and_a_repeat_succeeds(bench, llama_cpp):
    command = [sys.executable, "-m", "so8t_engine", *arguments(bench)]
    chance = random.Random(time.time_ns())
    bench.export(bench.folder / "whole", gate=False)
    whole = {kind: sha256(bench.folder / "whole" / f"retrained-{kind}.gguf") for kind in BOTH}
    folder = bench.folder / "out"
    for lines, longest in ((1, 0.2), (5, 0.0)):  # of its output, then seconds: in the conversion, in the comparison
        child = subprocess.Popen(
            command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(lines):
            child.stdout.readline()
        time.sleep(chance.uniform(0.0, longest))
        child.kill()
        child.communicate()
        named = [file for file in folder.glob("*.gguf")]
        assert all(sha256(file) == whole[file.stem.removeprefix("retrained-")] for file in named)
        assert not (folder / "export_results.json").exists()
    assert len(named) == 2
    assert main(arguments(bench)) == 0
    assert {kind: sha256(folder / f"retrained-{kind}.gguf") for kind in BOTH} == whole
    assert not list(folder.glob("*.part")) and read(folder / "export_results.json")["gate"]["outcome"] == "passed"
