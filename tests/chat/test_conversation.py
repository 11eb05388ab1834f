"""Conversations on the disk: whole or not at all, never lost, and exported with nothing but what was shown."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from so8t_engine import BadInput, EngineError
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.chat import conversation, transcript
from so8t_engine.chat.conversation import Side, Turn
from so8t_engine.chat.reply import Told
from so8t_engine.settings import ChatSettings

ORIGINAL, RUN = Side(key="original", name="original"), Side(key="run:1", name="1 · step 8")


def told(text, **more) -> Told:
    values = {"state": "done", "ended": "complete", "weights": "hash", "model": "m", "tokens": 3, "first_token": 0.25}
    return Told(text=text, **values | more)


def talk(*turns, **more):
    return conversation.begin((ORIGINAL, RUN), turns=tuple(turns), **more)


def exchange(prompt, left="左", right="右") -> Turn:
    return Turn(prompt=prompt, answers=(told(left), told(right)))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
answers = st.builds(
    Told, text=texts, label=st.sampled_from(["", "ALLOW"]), confidence=st.none() | st.floats(0, 1), reason=texts,
    state=st.just("done"), ended=st.sampled_from(["complete", "failed"]), tokens=st.integers(0, 9), error=texts,
    facts=st.dictionaries(texts, texts, max_size=2), audit=st.none() | st.integers(1, 9),
)  # fmt: skip


@given(prompt=texts, left=answers, right=answers, system=st.none() | texts, blind=st.booleans())
def test_what_is_stored_comes_back_equal(tmp_path_factory, prompt, left, right, system, blind):
    folder = tmp_path_factory.mktemp("chat")
    kept = talk(Turn(prompt=prompt, answers=(left, right), tries=2), system=system, blind=blind, swapped=blind)
    conversation.save(folder, kept)
    assert conversation.load(folder, kept.id) == kept


def test_a_failed_write_leaves_what_was_stored_before(tmp_path, monkeypatch):
    first = talk(exchange("1"))
    conversation.save(tmp_path, first)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError) as caught:
        conversation.save(tmp_path, first.model_copy(update={"turns": (exchange("1"), exchange("2"))}))
    assert caught.value.code == "chat.unwritten" and caught.value.facts["reason"] == "No space left on device"
    assert conversation.load(tmp_path, first.id) == first
    assert [file.name for file in tmp_path.iterdir()] == [f"{first.id}.json"]


def test_the_list_is_newest_first_and_passes_over_what_it_cannot_read(tmp_path):
    old, new = talk(exchange("古い質問")), talk(exchange("x" * 80), blind=True)
    for one in (old, new):
        conversation.save(tmp_path, one.model_copy(update={"created": {old.id: 1.0, new.id: 2.0}[one.id]}))
    foreign = {
        "20260101-000000-000000.json": b'{"id": "20260101-000000-000000", "turns": ', "20260101-000000-000001.json": b"[1]",
        "20260101-000000-000002.json": conversation.load(tmp_path, old.id).model_dump_json().encode(),
        "notes.json": b"{}", "deep.json": b"[" * 100_000, "votes.jsonl": b"", "20260101-000000-000003.json": b"\xff",
    }  # fmt: skip
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
    found = conversation.stored(tmp_path)
    assert [(one.id, one.title, one.turns, one.blind) for one in found] == [
        (new.id, "x" * 59 + "…", 1, True), (old.id, "古い質問", 1, False),
    ]  # fmt: skip
    assert {name: (tmp_path / name).read_bytes() for name in foreign} == foreign


def test_the_list_sees_a_file_that_was_written_again(tmp_path):
    kept = talk(exchange("1"))
    conversation.save(tmp_path, kept)
    assert conversation.stored(tmp_path)[0].turns == 1
    conversation.save(tmp_path, kept.model_copy(update={"turns": (exchange("1"), exchange("2"))}))
    assert conversation.stored(tmp_path)[0].turns == 2


@pytest.mark.parametrize("id", ["", "..", "../secret", "20260101-000000-00000G", "20260101-000000-0000000", "votes"])
def test_no_other_file_can_be_named(tmp_path, id):
    folder = tmp_path / "chat"
    folder.mkdir()
    (tmp_path / "secret.json").write_bytes(b"{}")
    for action in (conversation.load, conversation.trash, conversation.restore):
        with pytest.raises(BadInput) as caught:
            action(folder, id)
        assert caught.value.code == "chat.unknown_conversation"


def test_deleting_puts_aside_and_restoring_brings_back(tmp_path):
    kept = talk(exchange("1"))
    conversation.save(tmp_path, kept)
    conversation.trash(tmp_path, kept.id)
    assert conversation.stored(tmp_path) == [] and (tmp_path / "trash" / f"{kept.id}.json").is_file()
    with pytest.raises(BadInput):
        conversation.trash(tmp_path, kept.id)
    conversation.restore(tmp_path, kept.id)
    assert conversation.load(tmp_path, kept.id) == kept


def test_history_holds_what_that_column_has_shown_and_nothing_else():
    kept = talk(
        exchange("一", "左の一", "右の一"),
        Turn(prompt="二", answers=(told("途中", ended="failed"), told("右の二"))),
        Turn(prompt="三", answers=(told(NO_ANSWER), told(" \n" + NO_ANSWER, ended="sealed"))),
        Turn(prompt="四", answers=(told("止めた", ended="stopped"), told(""))),
    )

    def pairs(column):
        said = kept.history(column)
        return [(said[i]["content"], said[i + 1]["content"]) for i in range(0, len(said), 2)]

    assert pairs(0) == [("一", "左の一"), ("四", "止めた")]
    assert pairs(1) == [("一", "右の一"), ("二", "右の二")]
    assert [turn["role"] for turn in kept.history(0)] == ["user", "assistant"] * 2


def test_chosen_is_told_apart_from_shown():
    assert talk().chosen == ("original", "run:1")
    assert talk(swapped=True, blind=True).chosen == ("run:1", "original")


FULL = Turn(
    prompt="ここに ``` と <b> があります",
    answers=(
        told("分類結果: ALLOW\n````", label="ALLOW", confidence=0.9, reason="r", answer="a", model="original", audit=7),
        told("NO", label="DENY", ended="stopped", model="1 · step 8", weights="secret-hash", tokens_per_second=12.5),
    ),
)


def test_json_export_holds_what_was_shown_with_names_and_timings():
    kept = talk(FULL, system="指示", sampling=ChatSettings(temperature=0.5))
    name, text = transcript.export(kept, "json")
    assert name == f"chat-{kept.id}.json"
    content = json.loads(text)
    assert content["models"] == ["original", "1 · step 8"] and content["system"] == "指示"
    assert content["turns"][0]["answers"][0] == {
        "model": "original", "text": "分類結果: ALLOW\n````", "label": "ALLOW", "confidence": 0.9, "reason": "r",
        "answer": "a", "ended": "complete", "first_token": 0.25, "first_shown": None, "tokens": 3,
        "tokens_per_second": None,
    }  # fmt: skip


def test_markdown_export_fences_every_text():
    kept = talk(FULL)
    name, text = transcript.export(kept, "md")
    assert name == f"chat-{kept.id}.md"
    assert "\n````text\nここに ``` と <b> があります\n````\n" in text
    assert "\n`````text\n分類結果: ALLOW\n````\n`````\n" in text
    assert "### 1 · step 8\n\nDENY · stopped · first_token 0.25 s · tokens 3 · tokens_per_second 12.50" in text


@pytest.mark.parametrize("form", ["md", "json"])
def test_a_blind_export_names_nobody_before_the_vote(form):
    kept = talk(FULL, blind=True, swapped=True)
    _, text = transcript.export(kept, form)
    told_names = ("original", "step 8", "run:1", "secret-hash", "first_token", "tokens_per_second", "swapped")
    assert not [word for word in told_names if word in text]
    assert "A" in text and "B" in text
    _, after = transcript.export(kept.model_copy(update={"vote": "tie"}), form)
    assert "original" in after and "step 8" in after and "first_token" in after


def test_another_form_is_refused():
    with pytest.raises(BadInput) as caught:
        transcript.export(talk(FULL), "html")
    assert caught.value.code == "chat.bad_form"
