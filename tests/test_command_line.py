"""The command line: exit codes, messages that name file and line, and the same run on the same command."""

import subprocess
import sys

import pytest
from made import ROOT, environment, row, write_rows

from so8t_engine import Engine, config
from so8t_engine import events as e
from so8t_engine.__main__ import main
from so8t_engine.progress import Printer, describe


@pytest.fixture
def job(tmp_path, tiny_settings):
    file = tmp_path / "job.yaml"
    file.write_text(config.to_yaml(tiny_settings), encoding="utf-8")
    return str(file)


def test_train_ends_with_0_and_the_same_command_finds_nothing_to_do(tmp_path, job, capsys):
    output = str(tmp_path / "出力 (1)")
    assert main(["train", "--config", job, "--output", output]) == 0
    told = capsys.readouterr().out
    assert "step 8/8" in told and "40 rows" in told and "done in" in told
    assert main(["train", "--config", job, "--output", output]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["train", "--config", job, "--output", output, "--resume", "never"]) == 2
    assert "already holds" in capsys.readouterr().err


def test_dataset_and_settings_of_the_command_line_win(tmp_path, job, capsys):
    file = write_rows(tmp_path / "other.jsonl", [row(i, "DENY") for i in range(8)])
    code = main(["train", "--config", job, "--dataset", str(file), "--set", "train.epochs=1", "--output", str(tmp_path / "o")])
    assert code == 0
    told = capsys.readouterr().out
    assert "8 rows (ALLOW 0, ESCALATION 0, DENY 8, REFUSE 0)" in told and "step 1/1" in told


BAD = {
    "no config": (["--config", "nowhere.yaml"], "nowhere.yaml: There is no config file"),
    "unknown setting": (["--set", "train.epoch=1"], "train.epoch"),
    "bad value": (["--set", "train.epochs=-1"], "train.epochs"),
    "no model": (["--base-model", "nowhere"], "There is no model folder"),
    "no dataset": (["--dataset", "nowhere.jsonl"], "There is no dataset file"),
    "missing target": (["--set", "so8t.targets=[q_proj]", "--set", "so8t.rotate=[]"], "has no linear layer called q_proj; it has o_proj, qkv_proj"),
    "no such run": (["--resume", "20990101-000000-abcdef"], "There is no run called 20990101"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_2_and_says_what_is_wrong(tmp_path, job, capsys, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    assert main(["train", "--config", job, *arguments]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert "Traceback" not in told.err


def test_all_faults_of_a_config_are_told_at_once_in_the_language_asked_for(tmp_path, capsys):
    file = tmp_path / "設定.yaml"
    file.write_text("train:\n  epochs: -1\n  lr: 1\nseed: x\n", encoding="utf-8")
    assert main(["train", "--config", str(file), "--language", "ja"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert any(line.startswith(f"{file}:2: train.epochs") and "でなければなりません" in line for line in lines)


def test_bad_row_is_named_and_skipped_only_when_asked(tmp_path, job, capsys):
    file = write_rows(tmp_path / "rows.jsonl", [row(i, "DENY") for i in range(8)])
    file.write_bytes(file.read_bytes() + b'{"instruction": "x", "four_class_label": "MAYBE"}\n')
    arguments = ["train", "--config", job, "--dataset", str(file), "--set", "train.epochs=1"]
    assert main(arguments) == 2
    assert f"{file}:9: four_class_label is MAYBE" in capsys.readouterr().err
    assert main([*arguments, "--set", "data.on_bad_row=skip"]) == 0
    assert "1 bad rows skipped" in capsys.readouterr().out


def test_real_rows_with_answers_are_trained_on_from_start_to_end(tmp_path, shared, capsys):
    """XSTest's own prompts with the demo's tokenizer, on a tiny share of an epoch."""
    file = shared / "data" / "xstest_four_class_with_outputs.jsonl"
    arguments = ["--config", str(config.CONFIGS / "demo.yaml"), "--dataset", str(file), "--output", str(tmp_path / "run")]
    assert main(["train", *arguments, "--set", "train.epochs=0.05", "--set", "data.max_length=512"]) == 0
    told = capsys.readouterr().out
    assert "234 rows (ALLOW 130, ESCALATION 13, DENY 26, REFUSE 65)" in told and "done in" in told


def test_real_rows_without_answers_are_counted_and_refused_for_training(tmp_path, shared, capsys):
    file = shared / "data" / "xstest_four_class.jsonl"
    assert main(["lint", "--dataset", str(file)]) == 0
    assert "train 188, validation 23, test 23; 234 without output" in capsys.readouterr().out
    assert main(["train", "--dataset", str(file), "--output", str(tmp_path / "run")]) == 2
    told = capsys.readouterr()
    assert "train 188, validation 23, test 23" in told.out
    assert "234 of 234 rows have no output" in told.err and "classification only" in told.err


def test_a_console_in_another_encoding_is_survived(job, tmp_path):
    """Code page 932 and ASCII pipes: nothing that we print may end the run."""
    for encoding in ("cp932", "ascii"):
        result = subprocess.run(
            [sys.executable, "-m", "so8t_engine", "lint", "--config", job, "--language", "ja"],
            env=environment() | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, cwd=ROOT, capture_output=True,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr


def test_the_console_says_what_is_in_memory_and_what_gave_way_when_it_was_full():
    plan = e.MemoryPlanned(
        pack=7083, recomputed=32, layers=32, bytes=int(7.2 * 2**30), room=int(7.4 * 2**30), attention="flash", fused=True
    )
    told = "packs of up to 7,083 tokens, 32 of 32 layers computed twice, 7.2 of 7.4 GiB; flash attention, fused kernels"
    assert describe(plan) == told
    bare = e.MemoryPlanned(pack=2048, recomputed=0, layers=2, attention="rows", fused=False)
    assert describe(bare) == "packs of up to 2,048 tokens; attention row by row"


def test_memory_that_was_full_is_told_of_as_trouble_that_costs_nothing(tmp_path, capsys):
    printer = Printer(Engine(tmp_path), "en")
    printer.show(e.PackHalved(step=60, before=7083, after=3541, recomputed=0))
    printer.show(e.PackHalved(step=61, before=900, after=900, recomputed=32))
    told = capsys.readouterr()
    assert not told.out and told.err.splitlines() == [
        "memory was full in step 60: it begins again with packs of up to 3,541 tokens instead of 7,083, nothing is lost",
        "memory was full in step 61: it begins again with 32 layers computed twice, nothing is lost",
    ]
