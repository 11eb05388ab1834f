"""`abtest` on the command line and through the engine: one command from rows to a verdict, bad input with exit code 2."""

import json

import pytest
from canary import make_run
from made import row, write_rows

from so8t_engine import Engine, RunAbTest, config
from so8t_engine import events as e
from so8t_engine.__main__ import main
from so8t_engine.answer.format import CLASSES
from so8t_engine.data import sources
from so8t_engine.data.split import cut
from so8t_engine.snapshot import QUIET


@pytest.fixture
def job(tmp_path, tiny_settings):
    """(settings, config file) with a finished run "tuned" that keeps rows for testing."""
    values = {"evaluate.max_tokens": 6, "ab_test.latency_rows": 1, "data.test_share": 0.2}
    settings = config.from_values(config.to_values(tiny_settings) | values)
    run = make_run(
        settings.resolve(settings.runs), settings.resolve(settings.base_model), "tuned", dataset=settings.dataset
    )
    parts = cut(sources.read(settings.resolve(settings.dataset)).samples, settings)
    run.split_file.write_text(json.dumps(parts.record()), encoding="utf-8")
    file = tmp_path / "job.yaml"
    file.write_text(config.to_yaml(settings), encoding="utf-8")
    return settings, file


def abtest(job, *more):
    return main(["abtest", "--config", str(job[1]), *map(str, more)])


def test_one_command_judges_a_run_on_the_rows_that_it_never_saw(job, capsys):
    assert abtest(job, "--retrained-model", "tuned", "--language", "ja") == 0
    told = capsys.readouterr()
    assert "tuned against original on 8 rows" in told.out and not told.err
    for words in ("scored: unsafe ALLOW", "generated: unsafe ALLOW", "rows fixed", "勝者なし", "results in"):
        assert words in told.out
    settings = job[0]
    (found,) = Engine(settings.resolve(settings.runs)).ab_tests()
    assert found.folder.parent == settings.resolve(settings.runs) / "tuned" / "ab_test"
    assert found.results["data"]["split"] == "test" and found.results["data"]["checked_against"] == ["tuned"]
    assert found.verdict("what", "ja") in told.out
    for name in ("ab_test_report.html", "comparison_chart.png", "confusion_matrix_comparison.png"):
        assert (found.folder / name).stat().st_size > 1000


def test_paths_start_where_one_stands_and_one_model_on_both_sides_is_told(job, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "試し rows.jsonl", [row(i, CLASSES[i % 4]) | {"output": ""} for i in range(100, 106)])
    arguments = [
        "--base-model",
        "runs/tuned",
        "--retrained-model",
        "runs/tuned",
        "--test-data",
        "試し rows.jsonl",
        "--output-dir",
        "out (1)",
    ]
    assert abtest(job, *arguments) == 0
    told = capsys.readouterr().out
    assert "Both sides are the same model" in told and "No winner" in told
    assert "one model" in (tmp_path / "out (1)" / "ab_test_report.html").read_text(encoding="utf-8")
    assert abtest(job, *arguments) == 2
    assert "finished results" in capsys.readouterr().err


BAD = {
    "no model": (["--retrained-model", "nowhere"], "neither a run"),
    "no base": (["--base-model", "nowhere", "--retrained-model", "tuned"], "neither a run"),
    "no rows file": (["--retrained-model", "tuned", "--test-data", "nowhere.jsonl"], "There is no dataset file"),
    "no such folder of a model": (["--retrained-model", "empty"], "config.json"),
    "bad setting": (["--retrained-model", "tuned", "--set", "ab_test.metric=luck"], "ab_test.metric"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_2_and_leaves_no_folder(job, tmp_path, capsys, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    arguments, message = BAD[case]
    assert abtest(job, *arguments, "--output-dir", "out") == 2
    told = capsys.readouterr()
    assert message in told.err and "Traceback" not in told.err
    assert not (tmp_path / "out").exists()


def test_the_picture_has_the_verdict_and_the_log_no_progress(job, tmp_path):
    settings = job[0]
    engine = Engine(settings.resolve(settings.runs))
    engine.submit(RunAbTest(settings=settings, retrained="tuned", output=str(tmp_path / "out")))
    told = list(engine.follow())
    engine.wait()
    snapshot = engine.snapshot()
    assert snapshot.state == "finished" and snapshot.ab_finished.winner is None
    assert {one.mode: one.rows for one in snapshot.ab_measured} == {"scored": 8, "generated": 8}
    assert snapshot.ab_testing.done == snapshot.ab_testing.total == 32
    assert any(isinstance(event, e.AbTestProgressed) for event in told)
    assert not any(isinstance(event, QUIET) for event in snapshot.log)
    assert engine.interrupted_ab_tests() == []
