"""Blind rounds at the desk: nothing tells the sides apart before the vote, and one vote counts once."""

import json
import threading

import pytest
from desk_setting import ORIGINAL, RUN, ask, code_of, said, thinking, weights_of

from so8t_engine import BadInput
from so8t_engine.chat import arena, conversation


@pytest.mark.parametrize("toss", [False, True])
def test_a_blind_conversation_shows_nothing_that_tells_the_sides_apart_before_the_vote(desk, setting, monkeypatch, toss):
    monkeypatch.setattr(arena, "swapped", lambda: toss)
    gate = threading.Event()
    setting.speaker.scripts = {key: [thinking(said("DENY", "同じ")), gate] for key in (ORIGINAL, RUN)}
    desk.set_blind(True)
    desk.ask("一")
    seen = [desk.picture()]
    while seen[-1]["speaking"]:
        seen.append(desk.wait(seen[-1]["version"], 30))
        if all(a["state"] in ("answering", "done") for a in seen[-1]["turns"][0]["answers"]):
            gate.set()
    seen.append(ask(desk, "二"))
    exported = [desk.export(seen[-1]["conversation"], form)[1] for form in ("md", "json")]
    shown = json.dumps(seen, ensure_ascii=False) + "".join(exported)
    names = (ORIGINAL, RUN, RUN.removeprefix("run:"), weights_of(ORIGINAL), weights_of(RUN))
    assert not [name for name in names if name in shown]
    for picture in seen:
        assert picture["sides"] == [{"key": "", "name": ""}] * 2
        for told in (told for turn in picture["turns"] for told in turn["answers"]):
            timings = ("first_token", "first_shown", "tokens_per_second", "audit")
            assert not told["tokens"] and [told[name] for name in timings] == [None] * 4
    shown_keys = [RUN, ORIGINAL] if toss else [ORIGINAL, RUN]
    for key in shown_keys:
        content = [turn["content"] for turn in setting.speaker.question(key).history]
        assert content == ["一", said("DENY", "同じ")]
    desk.vote("left")
    picture = desk.picture()
    assert [side["key"] for side in picture["sides"]] == shown_keys
    assert (picture["vote"], picture["revealed"]) == ("left", True)
    assert [told["weights"] for told in picture["turns"][0]["answers"]] == [weights_of(key) for key in shown_keys]


def test_each_side_keeps_its_own_history_when_the_shuffle_has_swapped_the_columns(desk, setting, monkeypatch):
    monkeypatch.setattr(arena, "swapped", lambda: True)
    desk.set_blind(True)
    setting.speaker.scripts = {ORIGINAL: [thinking(said("DENY", "元"))], RUN: [thinking(said("DENY", "再"))]}
    ask(desk, "一")
    left, right = desk.picture()["turns"][0]["answers"]
    assert (left["reason"], right["reason"]) == ("再", "元")
    ask(desk, "二")
    assert setting.speaker.question(ORIGINAL).history[1]["content"] == said("DENY", "元")
    assert setting.speaker.question(RUN).history[1]["content"] == said("DENY", "再")


def test_a_failure_in_a_blind_round_does_not_tell_whose_it_is(desk, setting):
    setting.speaker.scripts = {RUN: [BadInput("chat.no_adapter", where=str(setting.root), name=RUN)]}
    desk.set_blind(True)
    answers = ask(desk)["turns"][0]["answers"]
    assert sorted(told["error"] for told in answers) == ["", "chat.side_failed"]
    assert [told["facts"] for told in answers] == [{}, {}]
    assert code_of(lambda: desk.vote("left")) == "chat.unfair_vote"
    assert not desk.picture()["revealed"]


def test_after_the_vote_nothing_is_redone_and_the_next_question_begins_a_new_toss(desk, setting, monkeypatch):
    tosses = iter([True, False, True])
    monkeypatch.setattr(arena, "swapped", lambda: next(tosses))
    desk.set_blind(True)
    first = ask(desk, "一")["conversation"]
    assert code_of(lambda: desk.vote("both")) == "chat.bad_vote"
    desk.vote("right")
    for action in (desk.regenerate, lambda: desk.edit("x"), lambda: desk.vote("left")):
        assert code_of(action) == "chat.voted"
    picture = ask(desk, "二")
    assert picture["conversation"] != first and [turn["prompt"] for turn in picture["turns"]] == ["二"]
    assert picture["blind"] and not picture["revealed"] and picture["sides"][0]["key"] == ""
    desk.vote("left")
    assert [side["key"] for side in desk.picture()["sides"]] == [ORIGINAL, RUN]
    result = desk.choices()["results"][0]  # right of a swapped pair and left of a straight one: the original twice
    assert (result["left"], result["wins"], result["losses"]) == (RUN.removeprefix("run:"), 0, 2)
    assert [one["blind"] for one in desk.choices()["conversations"]] == [True, True]
    desk.open(first)
    assert desk.picture()["revealed"] and desk.picture()["vote"] == "right"


def test_only_blind_conversations_are_voted_on(desk):
    ask(desk)
    assert code_of(lambda: desk.vote("left")) == "chat.not_blind"
    desk.set_blind(True)
    assert desk.picture()["turns"] == [] and code_of(lambda: desk.vote("left")) == "chat.nothing_asked"


def test_leaving_blind_mode_does_not_tell_how_the_columns_stood(desk, setting, monkeypatch):
    monkeypatch.setattr(arena, "swapped", lambda: True)
    desk.set_blind(True)
    ask(desk)
    again = setting.desk()
    again.set_blind(False)
    assert [side["key"] for side in again.picture()["sides"]] == [ORIGINAL, RUN]


def test_a_crash_between_the_vote_and_the_conversation_counts_the_vote_once(desk, setting, monkeypatch):
    desk.set_blind(True)
    ask(desk)
    with monkeypatch.context() as patch:
        patch.setattr(conversation, "save", lambda *_: 1 / 0)
        desk.vote("tie")
    again = setting.desk()
    assert (again.picture()["vote"], again.picture()["revealed"]) == ("tie", True)
    assert code_of(lambda: again.vote("left")) == "chat.voted"
    assert again.choices()["results"][0]["ties"] == 1


def test_the_desk_says_since_when_nobody_may_know_who_answers(desk):
    assert desk.veiled_since() is None
    desk.set_blind(True)
    begun = desk.veiled_since()
    assert begun is not None
    ask(desk, "どちらがよいですか")
    assert desk.veiled_since() == begun
    desk.vote("left")
    assert desk.veiled_since() is None
