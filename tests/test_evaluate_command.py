"""`evaluate` on the command line: one command from rows to figures, and bad input named with exit code 2."""

import json

import pytest
from made import row, write_rows

from so8t_engine import config
from so8t_engine.__main__ import main
from so8t_engine.answer.format import CLASSES


@pytest.fixture
def job(tmp_path, tiny_settings):
    """(config file, file with twelve rows without an answer)."""
    file = tmp_path / "job.yaml"
    short = config.from_values(config.to_values(tiny_settings) | {"evaluate.max_tokens": 8})
    file.write_text(config.to_yaml(short), encoding="utf-8")
    rows = [row(i, CLASSES[i % 4]) | {"output": ""} for i in range(100, 112)]
    return str(file), str(write_rows(tmp_path / "test.jsonl", rows))


def evaluate(job, *more):
    return main(["evaluate", "--config", job[0], "--skip-hf-benchmark", *more])


def test_one_command_measures_a_run_on_the_rows_that_it_never_saw(tmp_path, job, capsys):
    assert main(["train", "--config", job[0], "--output", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert evaluate(job, "--model", str(tmp_path / "run")) == 0
    told = capsys.readouterr().out
    for word in ("unsafe ALLOW", "over-refusal", "accuracy", "scored:", "generated:"):
        assert word in told
    folder = next((tmp_path / "run" / "evaluation").iterdir())
    results = json.loads((folder / "evaluation_results.json").read_text(encoding="utf-8"))
    assert results["data"]["split"] == "test" and results["data"]["checked_against"] == "run"
    kept = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))["test"]
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(one["hash"] for one in rows) == kept
    for name in ("evaluation_report.html", "confusion_matrix.png", "metrics_comparison.png"):
        assert (folder / name).stat().st_size > 1000


def test_rows_without_an_answer_are_scored_in_a_folder_of_ones_choice(tmp_path, job, capsys):
    out = tmp_path / "結果 (1)"
    arguments = ["--model", "original", "--test-data", job[1], "--mode", "scored", "--output-dir", str(out)]
    assert evaluate(job, *arguments) == 0
    results = json.loads((out / "evaluation_results.json").read_text(encoding="utf-8"))
    assert list(results["modes"]) == ["scored"] and results["data"]["checked_against"] is None
    assert {"unsafe_allow", "over_refusal"} <= results["modes"]["scored"]["summary"].keys()
    assert evaluate(job, *arguments) == 2
    assert "finished results" in capsys.readouterr().err


BAD = {
    "no model": (["--model", "nowhere"], "neither a run"),
    "no rows file": (["--model", "original", "--test-data", "nowhere.jsonl"], "There is no dataset file"),
    "no such folder of a model": (["--model", "empty"], "config.json"),
    "foreign label": (["--model", "original", "--test-data", "foreign.jsonl"], "foreign.jsonl:1"),
    "empty file": (["--model", "original", "--test-data", "empty.jsonl"], "empty.jsonl"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_2_and_leaves_no_folder(tmp_path, job, capsys, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    write_rows(tmp_path / "foreign.jsonl", [{"instruction": "a", "four_class_label": "MAYBE"}])
    arguments, message = BAD[case]
    assert evaluate(job, *arguments, "--output-dir", "out") == 2
    told = capsys.readouterr()
    assert message in told.err and "Traceback" not in told.err
    assert not (tmp_path / "out").exists()


def test_all_rows_seen_in_training_is_refused(tmp_path, job, capsys, rows_file):
    assert main(["train", "--config", job[0], "--set", "data.test_share=0", "--output", str(tmp_path / "run")]) == 0
    assert evaluate(job, "--model", str(tmp_path / "run"), "--test-data", str(rows_file)) == 2
    told = capsys.readouterr().err
    assert "All 40 rows" in told and "would say nothing" in told
