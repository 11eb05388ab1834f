"""The thread that has the model: real answers, side by side, beside a training, and through every kind of trouble."""

import threading
import time
from contextlib import contextmanager

import pytest
import torch
from canary import LEARNED, SHOWN, make_run

from so8t_engine import Busy, Engine, StartTraining
from so8t_engine import events as e
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.audit import Audit, verify
from so8t_engine.chat.reply import Reply
from so8t_engine.chat.speaker import ROWS, Question, Speaker
from so8t_engine.model.generate import Decoder
from so8t_engine.model.voices import Voices
from so8t_engine.settings import ChatSettings, ModelSettings
from so8t_engine.voice import Voice

LONG = 60.0
SHOWN_TEXT = LEARNED.partition("<final>")[2].removesuffix("</final>")


class NoJobs:
    def command(self):
        return ""

    def settled(self):
        return True

    @contextmanager
    def paused(self, seconds):
        yield


@pytest.fixture
def base(learned):
    return learned


@pytest.fixture(scope="module")
def retrained(tmp_path_factory, learned):
    return make_run(tmp_path_factory.mktemp("runs"), learned).final_model


@pytest.fixture
def audit(tmp_path):
    return Audit(tmp_path / "audit")


@pytest.fixture
def speaker():
    found = Speaker(NoJobs())
    yield found
    found.rest()


def voice(base, adapter=None, name="original"):
    return Voice(name, name, base, adapter, ModelSettings(), "")


def ask(speaker, audit, who, prompt="こんにちは", **more):
    reply = Reply(audit, prompt)
    speaker.ask(who, Question(prompt, **more), reply)
    return reply


def told(reply):
    assert reply.wait(LONG)
    return reply.told


def test_both_sides_answer_at_once_each_with_its_own_weights(speaker, audit, base, retrained):
    replies = [ask(speaker, audit, who) for who in (voice(base), voice(base, retrained, "run"))]
    left, right = map(told, replies)
    assert (left.text, left.label, left.confidence, left.reason) == (SHOWN_TEXT, SHOWN.label, 0.85, SHOWN.reason)
    assert left.formal and left.ended == "complete" and left.tokens > 30
    assert 0 < left.first_token < left.first_shown and left.tokens_per_second > 0
    assert left.weights != right.weights and (left.model, right.model) == ("original", "run")
    assert verify(audit.folder / "log.jsonl").whole and {one.model for one in audit.answers()} == {left.weights, right.weights}


def test_more_questions_than_rows_are_all_answered(speaker, audit, base, retrained):
    voices = voice(base), voice(base, retrained, "run")
    replies = [ask(speaker, audit, voices[i % 2], f"質問 {i}") for i in range(3 * ROWS)]
    assert {told(reply).text for reply in replies[::2]} == {SHOWN_TEXT}
    assert all(told(reply).state == "done" for reply in replies)
    verdict = verify(audit.folder / "log.jsonl")
    assert verdict.whole and verdict.answers == 3 * ROWS and verdict.unfinished == 0


@pytest.mark.parametrize("limit", [1, 5, 20, 40])
def test_an_answer_cut_by_its_longest_length_shows_only_what_final_has_said(speaker, audit, base, limit):
    answer = told(ask(speaker, audit, voice(base), sampling=ChatSettings(max_tokens=limit)))
    assert answer.ended == "length" and not answer.formal and answer.tokens == limit
    assert answer.text == NO_ANSWER or SHOWN_TEXT.startswith(answer.text)


def test_stop_ends_one_answer_and_leaves_the_other(speaker, audit, base, retrained, monkeypatch):
    step, slow = Decoder.step, threading.Event()

    def slowed(self):
        slow.wait(0.02)
        return step(self)

    monkeypatch.setattr(Decoder, "step", slowed)
    stopped, other = (ask(speaker, audit, who) for who in (voice(base), voice(base, retrained, "run")))
    while stopped.told.tokens < 3:
        time.sleep(0.005)
    stopped.stop()
    assert told(stopped).ended == "stopped" and stopped.told.text == NO_ANSWER
    slow.set()
    assert told(other).ended != "stopped"


def test_a_question_about_another_base_waits_for_its_turn(speaker, audit, base, tiny_model):
    replies = [ask(speaker, audit, who) for who in (voice(base), voice(tiny_model, None, "tiny"), voice(base))]
    first, other, last = map(told, replies)
    assert first.text == last.text == SHOWN_TEXT and first.weights == last.weights != other.weights


def test_keys_and_values_kept_across_turns_change_no_answer(speaker, audit, base):
    first = told(ask(speaker, audit, voice(base), keep="c/0"))
    history = ({"role": "user", "content": "こんにちは"}, {"role": "assistant", "content": first.text})
    kept = told(ask(speaker, audit, voice(base), "次です", history=history, keep="c/0"))
    assert kept.text == told(ask(speaker, audit, voice(base), "次です", history=history)).text


def test_a_model_that_can_not_be_loaded_is_told_and_the_next_question_answered(speaker, audit, base, tmp_path):
    broken = told(ask(speaker, audit, voice(tmp_path / "none")))
    assert (broken.ended, broken.error, broken.text) == ("failed", "model.missing", "")
    no_adapter = told(ask(speaker, audit, voice(base, tmp_path)))
    assert no_adapter.error == "model.unreadable"
    too_long = told(ask(speaker, audit, voice(base), "長" * 5000))
    assert too_long.error == "chat.no_room"
    assert told(ask(speaker, audit, voice(base))).text == SHOWN_TEXT


def test_a_fault_in_the_middle_of_a_step_fails_the_answers_under_way_only(speaker, audit, base, monkeypatch):
    forward, calls = Voices.forward, []

    def faulty(self, ids, *rest):
        calls.append(1)
        if len(calls) == 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, *rest)

    monkeypatch.setattr(Voices, "forward", faulty)
    assert told(ask(speaker, audit, voice(base))).error == "chat.memory"
    assert told(ask(speaker, audit, voice(base))).text == SHOWN_TEXT


def test_an_audit_log_that_can_not_be_written_lets_nothing_be_shown(speaker, audit, base, monkeypatch):
    told(ask(speaker, audit, voice(base)))
    with monkeypatch.context() as broken:
        broken.setattr(Audit, "open", lambda *_, **__: (_ for _ in ()).throw(OSError("disk")))
        seen = []
        reply = Reply(audit, "x", lambda: seen.append(reply.told.text))
        speaker.ask(voice(base), Question("x"), reply)
        assert told(reply).ended == "failed" and set(seen) == {""}
    assert told(ask(speaker, audit, voice(base))).text == SHOWN_TEXT


def test_rest_ends_the_answers_and_frees_the_model(speaker, audit, base):
    replies = [ask(speaker, audit, voice(base), f"{i}") for i in range(20)]
    speaker.rest()
    assert all(reply.told.state == "done" for reply in replies) and speaker._voices is None
    assert {reply.told.ended for reply in replies} <= {"complete", "stopped"}
    assert told(ask(speaker, audit, voice(base))).text == SHOWN_TEXT


def losses(engine):
    return [(step.step, step.loss, step.gradient_norm) for step in engine.snapshot().steps]


def test_chatting_beside_a_training_changes_not_a_bit_of_it(tiny_settings, tmp_path, base):
    """The chat loads its model while the training stands still between two steps, and draws from generators of its own."""
    plain = Engine(tmp_path / "a")
    plain.submit(StartTraining(settings=tiny_settings, output=str(tmp_path / "plain"), resume="never"))
    plain.wait()
    engine = Engine(tmp_path / "b", lambda: tiny_settings)
    engine.submit(StartTraining(settings=tiny_settings, output=str(tmp_path / "beside"), resume="never"))
    sampling = ChatSettings(temperature=1.0, max_tokens=30)
    replies = []
    for event in engine.follow():
        if isinstance(event, e.StepFinished) and len(replies) < 3:
            replies.append(ask(engine._speaker, engine.audit, voice(base), sampling=sampling))
    engine.wait()
    assert [told(reply).error for reply in replies] == [""] * 3
    assert engine.snapshot().state == "finished" and losses(engine) == losses(plain)
    weights = [folder / "final_model" / "adapter_model.safetensors" for folder in (tmp_path / "plain", tmp_path / "beside")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    engine.rest()


def test_a_job_that_has_just_begun_and_one_that_leaves_no_room_refuse_with_the_reason(audit, base, monkeypatch):
    class Starting(NoJobs):
        ready = False

        def command(self):
            return "StartTraining"

        def settled(self):
            return self.ready

    jobs = Starting()
    found = Speaker(jobs)
    assert found.refusal().code == "chat.job_starting"
    with pytest.raises(Busy):
        ask(found, audit, voice(base))
    jobs.ready = True
    monkeypatch.setattr("so8t_engine.model.load.memory_free", lambda: 2**20)
    full = told(ask(found, audit, voice(base)))
    assert full.error == "chat.job_needs_room" and full.facts["free"] == "0.0"
    monkeypatch.undo()
    assert told(ask(found, audit, voice(base))).text == SHOWN_TEXT
    found.rest()


def test_a_job_ends_the_answers_and_takes_the_memory(tiny_settings, tmp_path, base):
    engine = Engine(tmp_path / "runs", lambda: tiny_settings)
    reply = ask(engine._speaker, engine.audit, voice(base))
    while reply.told.state == "waiting":
        time.sleep(0.01)
    engine.submit(StartTraining(settings=tiny_settings, output=str(tmp_path / "run"), resume="never"))
    assert reply.told.state == "done" and engine._speaker._voices is None
    engine.cancel()
    engine.wait()


def test_loading_the_model_is_no_part_of_the_time_to_the_first_token(speaker, audit, base, monkeypatch):
    load, asked = Speaker._load, time.monotonic()

    def slow(self, who):
        time.sleep(1.0)
        load(self, who)

    monkeypatch.setattr(Speaker, "_load", slow)
    answer = told(ask(speaker, audit, voice(base)))
    assert 0 < answer.first_token <= answer.first_shown < time.monotonic() - asked - 1.0
