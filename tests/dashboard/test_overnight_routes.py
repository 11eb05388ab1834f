"""What the Overnight tab asks of the engine, what it serves, and who makes the sounds: a page, or this machine."""

import json
import shutil
import time
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from dashboard import overnight_wishes
from dashboard.app import create_app
from dashboard.overnight_presence import OPEN_SECONDS, Presence, news
from so8t_engine import STAGES, BadInput, SettingsError, Snapshot, config, events
from so8t_engine.pipeline_record import Entry, Record
from so8t_engine.runs import Pipeline
from so8t_engine.snapshot import fold


@pytest.fixture
def asked(bridge, monkeypatch) -> list:
    """Every command that reached the engine."""
    commands = []
    monkeypatch.setattr(bridge.engine, "submit", commands.append)
    return commands


@pytest.fixture
def client(bridge):
    with TestClient(create_app(bridge.engine, bridge.draft), base_url="http://127.0.0.1") as client:
        yield client


def make_chain(bridge, name: str, done: int, *, state: str = "running", **values) -> Pipeline:
    """A chain on the disk that has finished its first `done` stages; `values`: settings that it was begun with."""
    place = Pipeline.at(bridge.engine.runs_folder / f"pipeline-{name}")
    record = Record(place, "2026-11-22T22:00:00+0000", state=state)
    record.make()
    record.begin(config.from_values(config.to_values(bridge.settings()) | values))
    record.state = state
    record.stages |= {stage: Entry("finished", folders=[f"/x/{stage}"], seconds=2.0) for stage in STAGES[:done]}
    if done < len(STAGES) and state == "running":
        record.stages[STAGES[done]] = Entry("running", folders=["/x"])
    record.save()
    return place


# Wishes


def test_the_form_changes_the_draft_and_nothing_else(bridge, asked):
    before = config.to_values(bridge.settings())
    for field, value in (
        ("stage-ollama", False), ("stage-train", False), ("stage-ollama", True), ("accept_visible_thinking", True),
        ("sound", False), ("ollama_name", " my-model:q8 "), ("retrained", "20261122"), ("export.quantizations", ["f16"]),
        ("stage-nothing", False), ("seed", 3),
    ):  # fmt: skip
        overnight_wishes.change(bridge, field, value)
    after = config.to_values(bridge.settings())
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "pipeline.skip": ("train",), "pipeline.accept_visible_thinking": True, "pipeline.sound": False,
        "pipeline.ollama_name": "my-model:q8", "pipeline.retrained": "20261122",
    }  # fmt: skip
    overnight_wishes.change(bridge, "accept_visible_thinking", "yes")
    assert not bridge.settings().pipeline.accept_visible_thinking, "consent is a true, nothing else"
    assert asked == []


def test_a_start_takes_the_draft_and_no_chain_over(bridge, asked):
    make_chain(bridge, "a", 2)
    overnight_wishes.change(bridge, "stage-train", False)
    overnight_wishes.start(bridge)
    (command,) = asked
    assert (command.output, command.resume, command.skip, command.force) == ("", "never", (), ())
    assert command.settings.pipeline.skip == ("train",)
    assert command.settings.resolve(command.settings.runs) == bridge.engine.runs_folder.resolve()


def test_a_chain_goes_on_as_it_was_begun_but_for_where_it_is_sent_and_what_is_left_out_now(bridge, asked):
    values = {"train.epochs": 5.0, "pipeline.skip": ["evaluate"], "pipeline.ollama_name": "old",
              "pipeline.accept_visible_thinking": True, "pipeline.retrained": "an-older-run"}  # fmt: skip
    place = make_chain(bridge, "a", 1, **values)
    for field, value in (("ollama_name", "new"), ("stage-japanese_test", False), ("stage-train", False), ("sound", False)):
        overnight_wishes.change(bridge, field, value)
    overnight_wishes.go_on(bridge, "a")
    overnight_wishes.go_on(bridge, "a", "train")
    overnight_wishes.go_on(bridge, "a", "../x")
    first, second, third = asked
    assert first.output == str(place.folder) and (first.force, second.force, third.force) == ((), ("train",), ())
    held, chain = first.settings, first.settings.pipeline
    assert held.train.epochs == 5.0 and chain.retrained == "an-older-run" and chain.ollama_name == "new" and not chain.sound
    assert not chain.accept_visible_thinking, "consent is the form's: it is not carried over"
    assert chain.skip == ("evaluate", "japanese_test"), "what was left out stays so; what is done is not left out"


@pytest.mark.parametrize("wanted", ["", "nobody", "..", "pipeline-a"])
def test_only_a_chain_of_the_list_goes_on(bridge, asked, wanted):
    make_chain(bridge, "a", 1)
    with pytest.raises(BadInput) as refused:
        overnight_wishes.go_on(bridge, wanted)
    assert refused.value.code == "pipeline.unknown" and asked == []


def test_nothing_begins_or_changes_with_settings_that_can_not_be_read(bridge, asked):
    make_chain(bridge, "a", 1)
    bridge.draft.edit("train: [\n")
    for wish in (
        lambda: overnight_wishes.start(bridge),
        lambda: overnight_wishes.go_on(bridge, "a"),
        lambda: overnight_wishes.change(bridge, "sound", False),
    ):
        with pytest.raises(SettingsError):
            wish()
    assert asked == []


# What is served


def test_the_list_names_every_chain_and_the_one_that_can_go_on(client, bridge):
    make_chain(bridge, "20261122-220000-aaaaaa", 6, state="finished")
    make_chain(bridge, "20261123-220000-bbbbbb", 2)
    found = client.get("/overnight?language=en").json()
    assert found["keys"] == ["20261123-220000-bbbbbb", "20261122-220000-aaaaaa"]
    assert 'data-do="go_on" data-what="20261123-220000-bbbbbb"' in found["unfinished"]
    assert "where it stopped: A/B test" in found["unfinished"] and found["list"].count("<li>") == 2
    one = client.get("/overnight/20261122-220000-aaaaaa?language=en")
    assert one.status_code == 200 and "6 of 6 stages" in one.text and "sandbox" in one.headers["content-security-policy"]
    assert client.get("/overnight/nobody").status_code == 404


def test_the_chain_that_runs_is_drawn_from_the_engine_and_not_from_its_file(client, bridge):
    place = make_chain(bridge, "20261123-220000-bbbbbb", 2)
    opened = events.PipelineOpened(pipeline=place.id, folder=str(place.folder), stages=STAGES, resumed=False)
    snapshot = fold(fold(Snapshot(), events.JobStarted(job="j", command="RunPipeline")), opened)
    bridge.engine._worker.show(snapshot)
    found = client.get("/overnight?language=en").json()
    assert found["keys"] == [] and found["unfinished"] == ""
    bridge.engine._worker._snapshot = replace(snapshot, state="stopped")
    assert client.get("/overnight?language=en").json()["keys"] == [place.id]


def test_a_file_that_somebody_has_edited_hides_no_other(client, bridge):
    make_chain(bridge, "20261122-220000-aaaaaa", 6, state="finished")
    broken = make_chain(bridge, "20261123-220000-bbbbbb", 2)
    held = json.loads(broken.results.read_text(encoding="utf-8"))
    for stages in ({}, held["stages"] | {"train": None}, held["stages"] | {"ab_test": held["stages"]["train"] | {"results": []}}):
        broken.results.write_text(json.dumps(held | {"stages": stages}), encoding="utf-8")
        assert client.get("/overnight").json()["keys"][-1] == "20261122-220000-aaaaaa"
        assert client.get("/overnight/20261123-220000-bbbbbb").status_code in (200, 404)
    shutil.rmtree(broken.folder)
    assert client.get("/overnight").json()["keys"] == ["20261122-220000-aaaaaa"]


# Who tells of it


def test_the_sounds_are_served_and_only_this_page_may_play_them(client):
    for kind in ("stage_done", "all_done", "trouble"):
        answer = client.get(f"/static/sounds/{kind}.wav")
        assert answer.status_code == 200 and answer.content[:4] == b"RIFF"
    assert "media-src 'self'" in client.get("/en/").headers["content-security-policy"]


def test_a_page_is_heard_until_it_has_not_asked_for_five_seconds():
    now = [100.0]
    presence = Presence(lambda: now[0])
    assert not presence()
    presence.told()
    now[0] += OPEN_SECONDS - 0.1
    assert presence()
    now[0] += 0.2
    assert not presence()


@pytest.mark.parametrize(("able", "sound", "heard"), [(1, True, True), (0, True, False), (0, False, True), (1, False, True)])
def test_a_page_that_can_play_or_was_muted_keeps_the_machine_silent(client, bridge, able, sound, heard):
    overnight_wishes.change(bridge, "sound", sound)
    assert bridge.engine.heard() is False
    told = client.post(f"/overnight/news?language=en&able={able}").json()
    assert told == {"active": False, "sound": sound, "news": None}
    assert bridge.engine.heard() is heard


def test_another_sites_page_can_not_pretend_to_be_open(client, bridge):
    assert client.post("/overnight/news?able=1", headers={"origin": "https://evil.example"}).status_code == 403
    assert client.get("/overnight/news").status_code == 404
    assert bridge.engine.heard() is False


@pytest.fixture
def night() -> list[events.Event]:
    done = {name: events.StageFinished(stage=name, outcome="finished", seconds=61.0, time=100.0 + i) for i, name in enumerate(STAGES)}
    return [
        events.JobStarted(job="j", command="RunPipeline", time=99.0),
        events.PipelineOpened(pipeline="p", folder="/p", stages=STAGES, resumed=True),
        done["train"].model_copy(update={"outcome": "kept"}), events.StageStarted(stage="evaluate"), done["evaluate"],
        done["ab_test"].model_copy(update={"outcome": "skipped"}), events.StageStarted(stage="export"), done["export"],
    ]  # fmt: skip


def folded(told) -> Snapshot:
    snapshot = Snapshot()
    for event in told:
        snapshot = fold(snapshot, event)
    return snapshot


def test_each_stage_that_was_done_is_news_once_and_the_end_is_news_of_its_own(night, page):
    found = [news(folded(night[:count]), page) for count in range(len(night) + 1)]
    assert found[:5] == [None] * 5, "what was kept is no news"
    assert [one.kind for one in found[5:]] == ["stage_done"] * 4 and found[5].key == found[7].key != found[8].key
    assert page.t("overnight.stage.export") in found[8].title and found[8].at == 103.0
    over = events.PipelineFinished(folder="/p", winner="retrained", pushed="m", seconds=600.0, time=200.0)
    assert (news(folded([*night, over]), page).kind, news(folded([*night, over]), page).at) == ("all_done", 200.0)


def test_a_failure_is_news_and_a_stop_is_none_beyond_the_last_stage(night, page):
    failed = events.JobFailed(job="j", code="export.locked", time=300.0)
    found = news(folded([*night, failed]), page)
    assert found.kind == "trouble" and found.body == page.error("export.locked", "what", {})
    stopped = folded([*night, events.JobStopped(job="j", seconds=1.0)])
    assert news(stopped, page).key == news(folded(night), page).key
    assert news(replace(folded(night), command="StartTraining"), page) is None


def test_old_news_is_told_no_more(client, bridge, night):
    for age, told in ((1.0, True), (60.0, False)):
        last = night[-1].model_copy(update={"time": time.time() - age})
        bridge.engine._worker._snapshot = folded([*night[:-1], last])
        found = client.post("/overnight/news?language=ja&able=1").json()
        assert found["active"] and (found["news"] is not None) == told
