"""`japanese` on the command line: exit codes, what is printed, and a process that is killed."""

import json
import re
import signal
import subprocess
import sys
import threading

import pytest
from canary import CANARY
from japanese_papers import PLAIN_TEMPLATE, PROMPTS, in_format, put, results_of, right, serve
from made import ROOT, environment

from so8t_engine.__main__ import main


@pytest.fixture
def server(tmp_path):
    started = serve(tmp_path / "store", lambda rendered: in_format(right(rendered), CANARY))
    put(started, PLAIN_TEMPLATE, b"GGUF base", "base")
    yield started
    started.stop()


def arguments(server, *more, model="ollama:so8t"):
    sets = ["--set", f"ollama.address={server.address}", "--language", "en"]
    return ["japanese", "--model", model, *sets, *more]


def test_the_base_first_and_then_the_winner_against_it(server, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.answer = lambda rendered: right(rendered) if "個" in rendered else "わかりません。"
    assert main(arguments(server, "--output-dir", "base", model="ollama:base")) == 0
    told = capsys.readouterr()
    assert "base:latest: 45 questions in Japanese, to " in told.out and "45/45  terms-9: " in told.out
    assert re.search(r"\d+\.\d% of the checks passed; understanding ", told.out) and "tokens/s" in told.out
    server.answer = lambda rendered: in_format(right(rendered), CANARY)
    assert main(arguments(server, "--output-dir", "結果 (1)", "--against", "base")) == 0
    told = capsys.readouterr()
    assert "100.0% of the checks passed" in told.out and "points against the other model (better)" in told.out
    assert not told.err and CANARY not in told.out
    assert results_of(tmp_path / "結果 (1)")["comparison"]["base"]["folder"] == str(tmp_path / "base")


@pytest.mark.parametrize(
    "more, model, said",
    [((), "ollama:nobody", "Ollama has no model called nobody"), ((), "nobody", "neither a run"),
     (("--against", "nowhere"), "ollama:so8t", "no results of a Japanese test")],
)  # fmt: skip
def test_bad_input_ends_with_2_and_leaves_no_folder(server, tmp_path, capsys, monkeypatch, more, model, said):
    monkeypatch.chdir(tmp_path)
    assert main(arguments(server, "--output-dir", "out", *more, model=model)) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_ollama_that_is_not_there_ends_with_1(server, tmp_path, capsys):
    server.stop()
    assert main(arguments(server, "--output-dir", str(tmp_path / "out"))) == 1
    assert "Ollama does not answer" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills the way POSIX does")
def test_killed_in_an_answer_the_same_command_goes_on(server, tmp_path):
    command = [sys.executable, "-m", "so8t_engine", *arguments(server, "--output-dir", str(tmp_path / "out"))]
    child = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in child.stdout:
        if line.startswith(b"3/45"):
            break
    server.faults.chat_gate = threading.Event()
    child.kill()
    child.communicate()
    assert not list((tmp_path / "out").glob("*_japanese_*"))
    kept = (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    server.faults.chat_gate = None
    server.asked.clear()
    assert main(arguments(server, "--output-dir", str(tmp_path / "out"))) == 0
    assert 3 <= len(kept) <= server.paths().count("POST /api/chat") + len(kept) == len(PROMPTS)
    results = results_of(tmp_path / "out")
    assert (
        results["score"]["value"] == 1.0 and [json.loads(line)["prompt"] for line in kept] == list(PROMPTS)[: len(kept)]
    )


def test_a_model_in_ollama_is_tested_without_loading_torch():
    code = (
        "import sys; import so8t_engine.export.japanese_test; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), cwd=ROOT)
