"""The desk: two answers at once, one question at a time, and nothing that hangs."""

import json
import threading

import pytest
from desk_setting import ORIGINAL, RUN, SAMPLING, ask, at_rest, code_of, said, thinking, until, weights_of
from made import answer

from so8t_engine import BadInput, Busy, EngineError, SettingsError
from so8t_engine.answer.hidden import NO_ANSWER


def test_both_sides_answer_at_once(setting, desk):
    left, right = threading.Event(), threading.Event()
    setting.speaker.scripts = {ORIGINAL: [left, answer("DENY")], RUN: [right, answer("ALLOW")]}
    desk.ask("質問")
    picture = until(desk, lambda p: [a["state"] for a in p["turns"][0]["answers"]] == ["thinking"] * 2)
    assert picture["speaking"] and picture["turns"][0]["prompt"] == "質問"
    right.set()
    picture = until(desk, lambda p: p["turns"][0]["answers"][1]["state"] == "done")
    assert picture["speaking"] and picture["turns"][0]["answers"][0]["state"] == "thinking"
    left.set()
    picture = at_rest(desk)
    assert [a["label"] for a in picture["turns"][0]["answers"]] == ["DENY", "ALLOW"]
    assert [a["weights"] for a in picture["turns"][0]["answers"]] == [weights_of(ORIGINAL), weights_of(RUN)]
    assert [side["name"] for side in picture["sides"]] == ["original", "20260101-000000-aaaaaa"]
    assert {entry.number for entry in setting.audit.answers()} == {a["audit"] for a in picture["turns"][0]["answers"]}


def test_the_picture_is_plain_json_with_everything_the_page_needs(desk):
    picture = ask(desk)
    assert json.loads(json.dumps(picture)) == picture
    assert set(picture) == {
        "version", "conversation", "blind", "revealed", "speaking", "refusal", "sides", "system", "sampling", "vote",
        "turns",
    }  # fmt: skip
    assert (picture["blind"], picture["revealed"], picture["vote"], picture["refusal"]) == (False, False, None, None)
    assert (picture["system"], picture["sampling"]) == (None, SAMPLING)


def test_a_picture_never_changes_and_versions_only_grow(desk, setting):
    begin, end, text = threading.Event(), threading.Event(), answer("DENY")
    setting.speaker.scripts = {ORIGINAL: [begin, text[:40], end, text[40:]]}
    desk.ask("一")
    pictures = [until(desk, lambda p: p["turns"][0]["answers"][1]["state"] == "done")]
    before = json.dumps(pictures[0])
    begin.set()
    pictures.append(desk.wait(pictures[-1]["version"], 30))
    end.set()
    while pictures[-1]["speaking"]:
        pictures.append(desk.wait(pictures[-1]["version"], 30))
    assert json.dumps(pictures[0]) == before
    versions = [picture["version"] for picture in pictures]
    assert versions == sorted(set(versions)) and len(versions) > 2


def test_each_side_is_told_its_own_answers_its_own_system_and_where_its_cache_is(setting, desk):
    setting.speaker.scripts = {RUN: [thinking(said("DENY", "断り"))]}
    ask(desk, "一")
    setting.speaker.scripts = {ORIGINAL: ["no tag at all"]}
    ask(desk, "二")
    setting.speaker.scripts = {}
    ask(desk, "三")
    left, right = setting.speaker.question(ORIGINAL), setting.speaker.question(RUN)
    assert [turn["content"] for turn in left.history] == ["一", said("ALLOW", ORIGINAL)]
    assert [turn["content"] for turn in right.history] == ["一", said("DENY", "断り"), "二", said("ALLOW", RUN)]
    assert (left.system, right.system) == ("元の指示", "実行の指示")
    kept = {(voice.key, question.keep) for voice, question in setting.speaker.asked}
    assert len(kept) == 2 and len({keep for _, keep in kept}) == 2
    assert left.sampling.model_dump() == SAMPLING


@pytest.mark.parametrize("prompt, code", [("", "chat.empty"), (" \n　", "chat.empty"), ("あ" * 32_001, "chat.too_long"),
                                          ("\ud83d", "data.broken_letter")])  # fmt: skip
def test_a_prompt_that_cannot_be_asked_is_refused(desk, setting, prompt, code):
    assert code_of(lambda: desk.ask(prompt)) == code
    assert not setting.speaker.asked and desk.picture()["turns"] == []
    ask(desk, "あ" * 32_000)


def test_one_question_at_a_time(desk, setting):
    gate = threading.Event()
    setting.speaker.scripts = {ORIGINAL: [gate], RUN: [gate]}
    results = []

    def one():
        try:
            desk.ask("質問")
            results.append("asked")
        except Busy as error:
            results.append(error.code)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["asked"] + ["chat.speaking"] * 11
    for action in (desk.regenerate, desk.new, lambda: desk.choose(RUN, RUN), lambda: desk.set_blind(True),
                   lambda: desk.vote("tie"), lambda: desk.open("x"), lambda: desk.edit("y")):  # fmt: skip
        assert code_of(action) == "chat.speaking"
    gate.set()
    assert len(at_rest(desk)["turns"]) == 1


def test_what_refuses_to_answer_is_told_before_and_when_asking(desk, setting):
    version = desk.picture()["version"]
    setting.speaker.refused = Busy("engine.busy", command="StartTraining")
    picture = desk.wait(version, 30)
    assert picture["refusal"] == {"code": "engine.busy", "where": "", "facts": {"command": "StartTraining"}}
    assert code_of(lambda: desk.ask("質問")) == "engine.busy"
    assert desk.picture()["turns"] == []
    setting.speaker.refused = None
    assert desk.wait(picture["version"], 30)["refusal"] is None
    ask(desk)


def test_stopping_keeps_what_was_shown(desk, setting):
    gate = threading.Event()
    shown = thinking(said("ALLOW", "途中")).removesuffix("</final>")
    setting.speaker.scripts = {ORIGINAL: [shown, gate], RUN: [gate]}
    desk.stop()
    desk.ask("質問")
    until(desk, lambda p: "途中" in p["turns"][0]["answers"][0]["text"])
    desk.stop()
    left, right = at_rest(desk)["turns"][0]["answers"]
    assert left["ended"] == right["ended"] == "stopped"
    assert "途中" in left["text"] and right["text"] == NO_ANSWER


@pytest.mark.parametrize("fault", [EngineError("chat.wrong_weights"), RuntimeError("boom"), BadInput("chat.unknown_side")])
def test_a_side_that_cannot_be_asked_fails_and_nothing_hangs(desk, setting, fault):
    setting.speaker.fault = fault
    answers = ask(desk)["turns"][0]["answers"]
    code = getattr(fault, "code", "chat.unexpected")
    assert [(a["state"], a["ended"], a["error"]) for a in answers] == [("done", "failed", code)] * 2
    setting.speaker.fault = None
    assert ask(desk)["turns"][1]["answers"][0]["label"] == "ALLOW"
    assert setting.speaker.question(ORIGINAL).history == ()  # nothing was shown there


def test_one_side_may_fail_in_the_middle_while_the_other_goes_on(desk, setting):
    fault = BadInput("chat.no_adapter", where="here", name="x")
    setting.speaker.scripts = {RUN: [thinking(said("ALLOW", "ab")).removesuffix("</final>"), fault]}
    left, right = ask(desk)["turns"][0]["answers"]
    assert left["ended"] == "complete"
    assert (right["error"], right["facts"]) == ("chat.no_adapter", {"name": "x", "where": "here"})
    assert right["text"].startswith("分類結果: ALLOW")


def test_a_desk_that_never_stops_being_watched_stays_whole(desk):
    """Many readers while answers grow: each sees versions that only grow and turns that are never halved."""
    stop, faults = threading.Event(), []

    def watch():
        version, turns = -1, 0
        while not stop.is_set():
            picture = desk.wait(version, 0.05)
            if picture["version"] < version or len(picture["turns"]) < turns:
                faults.append(picture)
            version, turns = picture["version"], len(picture["turns"])

    watchers = [threading.Thread(target=watch) for _ in range(6)]
    for watcher in watchers:
        watcher.start()
    for number in range(10):
        assert len(ask(desk, f"質問 {number}")["turns"]) == number + 1
    stop.set()
    for watcher in watchers:
        watcher.join(30)
    assert not faults


def test_regenerating_draws_with_the_next_seed_and_replaces_the_answers(desk, setting):
    ask(desk, "一")
    ask(desk, "二")
    for number in (1, 2):
        setting.speaker.scripts = {ORIGINAL: [thinking(said("DENY", f"再 {number}"))]}
        desk.regenerate()
        picture = at_rest(desk)
        assert [turn["prompt"] for turn in picture["turns"]] == ["一", "二"]
        assert picture["turns"][1]["answers"][0]["reason"] == f"再 {number}"
        question = setting.speaker.question(ORIGINAL)
        assert question.sampling.seed == SAMPLING["seed"] + number
        assert [turn["content"] for turn in question.history][::2] == ["一"]
    desk.edit("二の改め")
    picture = at_rest(desk)
    assert [turn["prompt"] for turn in picture["turns"]] == ["一", "二の改め"]
    assert setting.speaker.question(RUN).sampling.seed == SAMPLING["seed"]
    assert len(setting.audit.answers()) == 10  # every answer that was ever shown


def test_a_regeneration_that_is_refused_leaves_the_answers(desk, setting):
    picture = ask(desk)
    setting.speaker.refused = Busy("engine.busy", command="x")
    assert code_of(desk.regenerate) == code_of(lambda: desk.edit("x")) == "engine.busy"
    setting.speaker.refused = None
    assert desk.picture()["turns"] == picture["turns"]


def test_the_highest_seed_has_a_next_one(desk, setting):
    desk.tune(system=None, sampling=SAMPLING | {"seed": 2**31 - 1})
    ask(desk)
    desk.regenerate()
    at_rest(desk)
    assert setting.speaker.question(RUN).sampling.seed == 0


def test_there_must_be_something_to_ask_again(desk):
    assert code_of(desk.regenerate) == code_of(lambda: desk.edit("x")) == "chat.nothing_asked"
    ask(desk)
    assert code_of(lambda: desk.edit(" ")) == "chat.empty"
    assert len(desk.picture()["turns"]) == 1


def test_tuning_holds_from_the_next_prompt_on_and_in_the_next_conversation(desk, setting):
    ask(desk)
    desk.tune(system="共通の指示", sampling=SAMPLING | {"temperature": 1.5})
    assert desk.picture()["sampling"]["temperature"] == 1.5
    ask(desk)
    desk.new()
    assert desk.picture()["turns"] == [] and desk.picture()["system"] == "共通の指示"
    ask(desk)
    for key in (ORIGINAL, RUN):
        question = setting.speaker.question(key)
        assert (question.system, question.sampling.temperature) == ("共通の指示", 1.5)
    assert setting.desk().picture()["system"] == "共通の指示"


def test_an_empty_system_text_is_one_for_both(desk, setting):
    desk.tune(system="", sampling={})
    ask(desk)
    assert setting.speaker.question(ORIGINAL).system == setting.speaker.question(RUN).system == ""


def test_every_fault_of_the_sampling_is_told_and_nothing_changes(desk):
    before = desk.picture()
    with pytest.raises(SettingsError) as caught:
        desk.tune(system=None, sampling={"temperature": 9, "top_p": "x", "seed": -1, "beam": 3})
    told = {(fault.code, fault.facts["field"]) for fault in caught.value.faults}
    assert told == {
        ("config.too_large", "chat.temperature"), ("config.not_number", "chat.top_p"), ("config.too_small", "chat.seed"),
        ("config.unknown", "chat.beam"),
    }  # fmt: skip
    assert code_of(lambda: desk.tune(system="x" * 32_001, sampling={})) == "chat.too_long"
    assert desk.picture() == before
