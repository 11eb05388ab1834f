"""The desk keeps its conversations over restarts, crashes and full disks."""

import threading

from desk_setting import ORIGINAL, RUN, SAMPLING, ask, at_rest, code_of

from so8t_engine import EngineError, SettingsError
from so8t_engine.chat import conversation
from so8t_engine.chat.desk import Desk


def test_the_newest_conversation_is_on_view_again_after_a_restart(desk, setting):
    ask(desk, "古い")
    desk.new()
    picture = ask(desk, "新しい")
    again = setting.desk().picture()
    assert {**again, "version": 0} == {**picture, "version": 0}
    listed = setting.desk().choices()["conversations"]
    assert [one["title"] for one in listed] == ["新しい", "古い"] and listed[0]["id"] == picture["conversation"]


def test_a_crash_loses_the_turn_under_way_alone(desk, setting):
    kept = ask(desk, "一")
    gate = threading.Event()
    setting.speaker.scripts = {ORIGINAL: [gate], RUN: [gate]}
    desk.ask("二")
    again = setting.desk().picture()  # what another process would find now
    assert again["turns"] == kept["turns"] and not again["speaking"]
    gate.set()
    at_rest(desk)


def test_opening_deleting_and_restoring(desk, setting):
    first = ask(desk, "一")["conversation"]
    desk.new()
    second = ask(desk, "二")["conversation"]
    desk.open(first)
    assert [turn["prompt"] for turn in desk.picture()["turns"]] == ["一"]
    ask(desk, "一の続き")
    desk.delete(second)
    assert desk.picture()["conversation"] == first
    assert code_of(lambda: desk.open(second)) == "chat.unknown_conversation"
    desk.delete(first)
    assert desk.picture()["turns"] == [] and desk.choices()["conversations"] == []
    desk.restore(first)
    assert [turn["prompt"] for turn in desk.picture()["turns"]] == ["一", "一の続き"]
    desk.restore(second)
    assert desk.picture()["conversation"] == first
    assert {one["id"] for one in desk.choices()["conversations"]} == {first, second}


def test_nothing_asked_leaves_no_file(desk, setting):
    desk.picture()
    desk.set_blind(True)
    desk.new()
    assert not setting.folder.exists()


def test_a_disk_that_refuses_costs_no_answer_and_is_told_until_it_works(desk, setting, monkeypatch):
    def full(folder, kept):
        raise EngineError("chat.unwritten", where=str(folder), reason="full")

    with monkeypatch.context() as patch:
        patch.setattr(conversation, "save", full)
        picture = ask(desk, "一")
        assert picture["turns"][0]["answers"][0]["text"] and desk.picture()["refusal"]["code"] == "chat.unwritten"
        assert code_of(lambda: desk.ask("二")) == code_of(desk.new) == "chat.unwritten"
        patch.setattr(conversation, "save", lambda *_: 1 / 0)
        assert code_of(lambda: desk.ask("二")) == "chat.unwritten"
    assert len(ask(desk, "二")["turns"]) == 2
    assert desk.picture()["refusal"] is None and len(setting.desk().picture()["turns"]) == 2


def test_new_sides_begin_a_new_conversation_when_there_are_turns(desk, setting):
    setting.make_run("20260102-000000-bbbbbb")
    first = desk.picture()["conversation"]
    desk.choose("run:20260102-000000-bbbbbb", ORIGINAL)
    picture = ask(desk)
    assert [side["key"] for side in picture["sides"]] == ["run:20260102-000000-bbbbbb", ORIGINAL]
    desk.choose("run:20260102-000000-bbbbbb", ORIGINAL)
    assert desk.picture()["conversation"] == picture["conversation"] != first
    desk.choose(ORIGINAL, ORIGINAL)
    assert desk.picture()["turns"] == [] and len(desk.choices()["conversations"]) == 1
    desk.open(picture["conversation"])
    assert [side["key"] for side in desk.picture()["sides"]] == ["run:20260102-000000-bbbbbb", ORIGINAL]


def test_runs_on_another_base_can_be_chosen_and_sides_that_nobody_has_are_refused(desk, setting):
    setting.make_run("20260102-000000-bbbbbb", **{"model.quantization": "8bit"})
    desk.choose(ORIGINAL, "run:20260102-000000-bbbbbb")
    before = desk.picture()
    assert [side["key"] for side in before["sides"]] == [ORIGINAL, "run:20260102-000000-bbbbbb"]
    assert code_of(lambda: desk.choose(ORIGINAL, "run:none")) == "chat.unknown_side"
    assert code_of(lambda: desk.choose("", "")) == "chat.unknown_side"
    assert code_of(lambda: desk.choose(ORIGINAL, "ollama:none")) == "chat.unknown_side"
    assert desk.picture() == before




def test_faulty_settings_hinder_asking_alone(desk, setting, monkeypatch):
    first = ask(desk)["conversation"]
    faults = SettingsError([EngineError("config.empty", field="base_model")])

    def refuse():
        raise faults

    monkeypatch.setattr(desk, "_settings", refuse)
    assert code_of(lambda: desk.ask("x")) == code_of(lambda: desk.choose(RUN, RUN)) == "config.faults"
    desk.new()
    desk.delete(first)
    assert desk.picture()["sampling"] == SAMPLING and len(desk.choices()["sides"]) == 3
    assert Desk(setting.root, refuse, setting.speaker, setting.audit).picture()["turns"] == []
