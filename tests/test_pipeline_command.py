"""`pipeline` on the command line: exit codes, and the lines that a person reads in the morning."""

import pytest
from scripted_chain import OPEN, Script

from so8t_engine import Engine, EngineError, config
from so8t_engine.__main__ import main
from so8t_engine.settings import STAGES


@pytest.fixture
def script(tiny_settings, monkeypatch) -> Script:
    settings = config.from_values(config.to_values(tiny_settings) | {"pipeline.sound": False})
    return Script(settings).install(monkeypatch)


@pytest.fixture
def command(script, tmp_path):
    file = tmp_path / "night.yaml"
    file.write_text(config.to_yaml(script.settings), encoding="utf-8")
    return lambda *more: main(["pipeline", "--config", str(file), "--output-dir", str(tmp_path / "夜 (1)"), *more])


def test_a_night_to_its_end(command, script, capsys):
    assert command("--skip", "evaluate, ollama") == 0
    told = capsys.readouterr().out
    positions = [told.index(f"== {number}/6 {name}") for number, name in enumerate(STAGES, 1) if name in script.diary]
    assert positions == sorted(positions) and script.diary == ["train", "ab_test", "export", "japanese_test"]
    summary = told[positions[-1] :]
    assert "evaluate: skipped; Left out, as asked." in summary and "export: finished in 0:00; figure export" in summary
    assert "winner: retrained" in summary and "complete_pipeline_results.json in " in summary and "夜 (1)" in summary


def test_no_winner_is_an_answer_and_no_failure(command, script, capsys):
    facts = dict.fromkeys(("first", "second", "value", "low", "high", "p_adjusted", "rows"), "1")
    script.verdict = OPEN | {"facts": OPEN["facts"] | facts}
    assert command("--language", "ja") == 0
    told = capsys.readouterr().out
    assert "export: not needed; まだ決まりません" in told and "winner: none" in told


def test_a_failed_stage_ends_with_1_and_the_same_command_goes_on(command, script, capsys):
    def fails():
        raise EngineError("export.locked", where="somewhere")

    script.during["export"] = fails
    assert command() == 1
    told = capsys.readouterr()
    assert "export: failed; Another export is writing" in told.out and "somewhere: Another export" in told.err
    script.during.clear()
    script.diary.clear()
    assert command() == 0
    assert script.diary == ["export", "ollama", "japanese_test"] and "ab_test: kept" in capsys.readouterr().out
    assert command("--force", "japanese_test") == 0
    assert script.diary[-1] == "japanese_test" and len(script.diary) == 4


def test_bad_wishes_end_with_2(command, capsys):
    assert command("--skip", "gguf") == 2
    assert "no stage called gguf" in capsys.readouterr().err


def test_the_last_chain_can_be_shown_after_a_restart(command, script):
    assert command("--skip", "evaluate") == 0
    root = script.settings.resolve(script.settings.runs)
    for folder in root.parent.glob("夜*"):
        folder.rename(root / "pipeline-夜")
    engine = Engine(root)
    (stored,) = engine.pipelines()
    engine.show(stored)
    shown = engine.snapshot()
    assert (shown.command, shown.state, shown.pipeline_finished.winner) == ("RunPipeline", "finished", "retrained")
    assert [event.outcome for event in shown.stages] == ["finished", "skipped", *["finished"] * 4]
