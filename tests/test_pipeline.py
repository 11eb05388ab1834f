"""The overnight chain: its order, what is left out, kept, done anew and told, whatever happens in between."""

import json
import shutil
from pathlib import Path

import pytest
from scripted_chain import OPEN, WORSE, Script

from so8t_engine import BadInput, Busy, EngineError, config, pipelines, runs
from so8t_engine import events as e
from so8t_engine import pipeline as chain
from so8t_engine.settings import STAGES


@pytest.fixture
def script(tiny_settings, monkeypatch) -> Script:
    return Script(tiny_settings).install(monkeypatch)


def broken(error: Exception):
    def now():
        raise error

    return now


def changed(settings, **values):
    return config.from_values(config.to_values(settings) | values)


# To the end


def test_every_stage_is_run_in_order_and_told(script):
    assert script.run() == list(STAGES)
    told = [(type(event).__name__, getattr(event, "stage", "")) for event in script.events]
    stages = [(kind, name) for name in STAGES for kind in ("StageStarted", "EvaluationFinished", "StageFinished")]
    assert told == [("PipelineOpened", ""), *((kind, name if kind != "EvaluationFinished" else "") for kind, name in stages),
                    ("PipelineFinished", "")]  # fmt: skip
    done = script.events[-1]
    assert (done.winner, done.pushed, done.folder) == ("retrained", "night:latest", str(script.place.folder))
    held = script.held
    assert (held["state"], held["winner"], held["pushed"], held["tries"]) == ("finished", "retrained", "night:latest", 1)
    assert {entry["state"] for entry in held["stages"].values()} == {"finished"}
    assert held["stages"]["export"]["results"] == {"from": "export"}
    assert config.load(script.place.config_file) == script.settings
    (stored,) = pipelines.stored(script.settings.resolve(script.settings.runs))
    assert (stored.id, stored.finished, stored.settings()) == (script.place.id, True, script.settings)


def test_the_file_says_what_is_under_way_and_where_before_anything_is_done(script):
    seen = {}
    for name in STAGES:
        script.during[name] = lambda name=name: seen.update({name: script.held["stages"][name]})
    script.run()
    assert {name: entry["state"] for name, entry in seen.items()} == dict.fromkeys(STAGES, "running")
    assert {name: entry["folders"][0] for name, entry in seen.items()} == script.folders()


@pytest.mark.parametrize("verdict", [OPEN, WORSE])
def test_without_a_winner_the_chain_ends_honestly(script, verdict):
    script.verdict = verdict
    assert script.run() == ["train", "evaluate", "ab_test"]
    assert list(script.outcomes.values()) == ["finished"] * 3 + ["not_needed"] * 3
    last = next(event for event in script.events if isinstance(event, e.StageFinished) and event.stage == "export")
    assert (last.code, last.facts) == (verdict["code"], verdict["facts"])
    done = script.events[-1]
    assert (done.winner, done.pushed) == (verdict["winner"], "")
    assert (script.held["state"], script.held["winner"]) == ("finished", verdict["winner"])
    assert script.run(str(script.place.folder)) == []
    assert list(script.outcomes.values()) == ["kept"] * 3 + ["not_needed"] * 3
    assert script.run(str(script.place.folder), skip=("ab_test",)) == ["export", "ollama", "japanese_test"]


# Left out


def test_what_settings_and_command_leave_out_is_not_run(script):
    script.settings = changed(script.settings, **{"pipeline.skip": ("evaluate",)})
    script.verdict = OPEN
    assert script.run(skip=("ab_test", "ollama")) == ["train", "export", "japanese_test"]
    assert [name for name, outcome in script.outcomes.items() if outcome == "skipped"] == ["evaluate", "ab_test", "ollama"]
    assert (script.events[-1].winner, script.events[-1].pushed) == (None, "")


def finished_run(settings, name: str):
    run = runs.create(settings.resolve(settings.runs) / name, settings, "data")
    run.final_model.mkdir()
    (run.final_model / runs.MANIFEST).write_text("{}", encoding="utf-8")
    return run


def test_without_training_the_newest_finished_run_goes_on_and_stays_the_one(script):
    with pytest.raises(BadInput) as caught:
        script.run(skip=("train",))
    assert caught.value.code == "pipeline.no_run" and not script.place.folder.exists()
    runs.create(script.settings.resolve(script.settings.runs) / "20990103-unfinished", script.settings, "data")
    old, new = (finished_run(script.settings, name) for name in ("20990101-old", "20990102-new"))
    script.during["export"] = broken(EngineError("export.locked"))
    with pytest.raises(EngineError):
        script.run(skip=("train",))
    assert script.folders()["train"] == str(new.folder)
    finished_run(script.settings, "20990104-newer")
    del script.during["export"]
    script.run(skip=("train",))
    assert script.folders()["train"] == str(new.folder)
    script.settings = changed(script.settings, **{"pipeline.retrained": old.id})
    script.run(skip=("train",))
    assert script.folders()["train"] == str(old.folder)


@pytest.mark.parametrize(
    "skip, force, code",
    [(("trian",), (), "pipeline.unknown_stage"), ((), ("gguf",), "pipeline.unknown_stage"),
     (("export",), ("export",), "pipeline.skip_and_force"), (STAGES, (), "pipeline.nothing_left")],
)  # fmt: skip
def test_wishes_that_make_no_sense_are_refused_before_anything_is_written(script, skip, force, code):
    with pytest.raises(BadInput) as caught:
        script.run(skip=skip, force=force)
    assert caught.value.code == code and not script.place.folder.exists()


# Going on


@pytest.mark.parametrize("error", [EngineError("export.locked", where="x"), ZeroDivisionError("y")])
def test_a_failed_stage_ends_the_chain_and_is_tried_again(script, error):
    script.during["export"] = broken(error)
    with pytest.raises(type(error)):
        script.run()
    last = script.events[-1]
    assert (last.stage, last.outcome) == ("export", "failed")
    known = isinstance(error, EngineError)
    assert (last.code, last.where) == (("export.locked", "x") if known else ("engine.unexpected", ""))
    held = script.held
    assert (held["state"], held["stages"]["export"]["code"]) == ("failed", last.code)
    assert held["stages"]["ab_test"]["state"] == "finished" and held["stages"]["ollama"]["state"] == "waiting"
    before, place = script.folders(), script.place
    del script.during["export"]
    assert script.run() == ["export", "ollama", "japanese_test"]
    assert script.place == place and script.events[0].resumed
    assert list(script.outcomes.values()) == ["kept"] * 3 + ["finished"] * 3
    assert script.folders().items() >= before.items()
    assert (script.held["state"], script.held["tries"], script.held["stages"]["export"]["code"]) == ("finished", 2, "")


def test_a_stop_leaves_the_stage_to_be_gone_on_with(script):
    script.during["evaluate"] = script.cancel.set
    assert script.run() == ["train", "evaluate"]
    assert [type(event).__name__ for event in script.events][-2:] == ["StageStarted", "EvaluationFinished"]
    before = script.folders()
    script.during.clear()
    assert script.run() == ["evaluate", "ab_test", "export", "ollama", "japanese_test"]
    assert script.folders()["evaluate"] == before["evaluate"]


def test_a_stage_that_was_killed_behind_its_last_word_is_not_done_twice(script):
    script.during["ab_test"] = script.cancel.set
    script.run()
    (Path(script.folders()["ab_test"]) / "done").touch()
    script.during.clear()
    script.verdict = OPEN
    assert script.run() == []
    assert script.outcomes["ab_test"] == "kept" and script.outcomes["export"] == "not_needed"
    assert script.held["stages"]["ab_test"]["results"] == {"winner": OPEN}


def test_results_that_are_gone_are_made_again_and_nothing_else(script):
    script.during["japanese_test"] = broken(EngineError("export.locked"))
    with pytest.raises(EngineError):
        script.run()
    shutil.rmtree(script.folders()["evaluate"])
    del script.during["japanese_test"]
    assert script.run() == ["evaluate", "japanese_test"]


def test_force_does_a_finished_stage_and_all_behind_it_anew_in_new_folders(script):
    script.run()
    before, place = script.folders(), str(script.place.folder)
    assert script.run(place) == [] and set(script.outcomes.values()) == {"kept"}
    assert script.run(place, force=("ollama", "export")) == ["export", "ollama", "japanese_test"]
    after = script.folders()
    assert [name for name in STAGES if after[name] != before[name]] == ["export", "ollama", "japanese_test"]
    assert all((Path(folder) / "done").exists() for folder in before.values())


def test_force_of_a_stage_that_is_not_finished_goes_on_with_it(script):
    script.during["export"] = script.cancel.set
    script.run()
    before = script.folders()
    script.during.clear()
    assert script.run(force=("export",)) == ["export", "ollama", "japanese_test"]
    assert script.folders()["export"] == before["export"]


def test_a_full_disk_while_the_results_are_written_is_told_and_loses_nothing(script, monkeypatch):
    from so8t_engine import pipeline_record

    written, write = [], pipeline_record.write_whole

    def full(path, data):
        written.append(path)
        if len(written) > 6:  # config, the begin, and two stages with their begin and end
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(pipeline_record, "write_whole", full)
    with pytest.raises(EngineError) as caught:
        script.run()
    assert (caught.value.code, caught.value.where) == ("pipeline.unwritten", str(script.place.results))
    monkeypatch.setattr(pipeline_record, "write_whole", write)
    assert script.run() == ["ab_test", "export", "ollama", "japanese_test"]


# Which chain is meant


def interrupted(script, **values):
    script.settings = changed(script.settings, **values)
    script.during["evaluate"] = script.cancel.set
    script.run()
    script.during.clear()
    return script.place


def test_the_newest_unfinished_chain_of_the_same_settings_goes_on(script):
    first, second = (interrupted(script, seed=seed) for seed in (1, 2))
    assert first != second
    for seed, place in ((1, first), (2, second)):
        assert chain.open_pipeline(changed(script.settings, seed=seed), "") == (place, True)
    assert chain.open_pipeline(changed(script.settings, seed=3), "")[1] is False
    later = {"pipeline.skip": ("ollama",), "pipeline.sound": False, "pipeline.ollama_name": "other", "ollama.address": "http://x"}
    assert chain.open_pipeline(changed(script.settings, **later), "") == (second, True)
    script.run()
    assert chain.open_pipeline(script.settings, "")[0] not in (first, second)


def test_a_chain_of_other_settings_in_the_named_folder_is_left_alone(script):
    place = interrupted(script)
    before = place.results.read_bytes()
    script.settings = changed(script.settings, **{"ab_test.metric": "accuracy"})
    with pytest.raises(BadInput, match=r"ab_test.metric: score -> accuracy"):
        script.run(str(place.folder))
    assert place.results.read_bytes() == before


def test_a_training_of_other_rows_is_not_gone_on_with(script, rows_file):
    run = runs.create(script.settings.resolve(script.settings.runs) / "one", script.settings, "other rows")
    script.during["train"] = script.cancel.set
    script.run()
    held = script.held
    held["stages"]["train"]["folders"] = [str(run.folder)]
    script.place.results.write_text(json.dumps(held), encoding="utf-8")
    assert chain.open_pipeline(script.settings, "")[1] is False


def test_a_folder_of_something_else_and_one_that_cannot_be_read_are_left_alone(script, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        script.run(str(tmp_path))
    assert caught.value.code == "pipeline.folder_taken"
    place = interrupted(script)
    for text in ("{", "[]", '{"version": 2}', json.dumps(script.held | {"stages": {}}), json.dumps(script.held | {"tries": "1"})):
        place.results.write_text(text, encoding="utf-8")
        with pytest.raises(BadInput) as caught:
            script.run(str(place.folder))
        assert caught.value.code == "pipeline.bad_results" and place.results.read_text(encoding="utf-8") == text
        assert pipelines.stored(place.folder.parent) == []


def test_two_processes_do_not_meet_in_one_chain(script):
    place = interrupted(script)
    with place.lock(), pytest.raises(Busy, match="this chain"):
        script.run()
    assert script.run()[0] == "evaluate"
