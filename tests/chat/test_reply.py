"""A reply: its audit record stands before anything is shown, and hidden text never is, whatever goes wrong."""

import random
import threading
from itertools import pairwise

import pytest
from made import answer

from so8t_engine.answer.format import CLASSES, parse
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.audit import Audit
from so8t_engine.chat.reply import Reply, Told
from so8t_engine.errors import EngineError

SECRET = "აბგდევზთ"
FINAL = "分類結果: ALLOW\n信頼度: 0.95\n理由: 害はありません。\n回答: はい。\n二行目 <b>"
HIDDEN = "".join(f"<{name}>{SECRET}</{name}>" for name in ("think-task", "think-safety", "think-policy"))
WHOLE = f"{HIDDEN}<final>{FINAL}</final>"


class Log:
    """Stands for the audit log: keeps what it is given, and fails where it is told to.

    fails: what each call raises in its turn, by the name of the method; None lets it pass.
    """

    def __init__(self, **fails: list[Exception | None]) -> None:
        self.calls: list[tuple[str, dict]] = []
        self.fails = fails
        self.reply: Reply | None = None
        self.seen: list[Told] = []
        """What was told already when each call was made."""

    def open(self, **facts) -> int:
        return self._take("open", facts)

    def close(self, number, **facts) -> None:
        self._take("close", {"number": number, **facts})

    def _take(self, name, facts) -> int:
        failures = self.fails.get(name, [])
        failure = failures.pop(0) if failures else None
        self.seen.append(self.reply.told)
        if failure:
            raise failure
        self.calls.append((name, facts))
        return 7

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def begun(log: Log) -> tuple[Reply, list[Told]]:
    """A reply of a model that is ready, and everything that is ever told of it."""
    told: list[Told] = []
    reply = Reply(log, "どうですか", lambda: told.append(reply.told))
    log.reply = reply
    reply.begin("original", "abc123")
    return reply, told


def broken(code: str = "audit.unwritable") -> EngineError:
    return EngineError(code, where="runs/audit", reason="full")


def cuts(text: str, chance: random.Random) -> list[str]:
    places = sorted(chance.choices(range(len(text) + 1), k=20))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def spoken(reply: Reply, pieces, ended: str = "complete") -> None:
    """What a producer does with a model's text."""
    try:
        for piece in pieces:
            reply.feed(piece)
            if reply.over:
                break
        reply.end("stopped" if reply.stopping else ended)
    except EngineError as error:
        reply.fail(error)


STARTS = [WHOLE.removesuffix("</final>"), HIDDEN, HIDDEN + "<final>", HIDDEN[:50], SECRET, ""]
ENDINGS = ["", "</final>", f"<think-task>{SECRET}</think-task>", f"</final>{SECRET}", f"</ final>{SECRET}", f"<final>{SECRET}"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_record_stands_before_the_first_character_and_nothing_hidden_is_ever_told(start, ending):
    for number in range(10):
        check_every_moment(cuts(start + ending, random.Random(number)))


def check_every_moment(pieces):
    log = Log()
    reply, told = begun(log)
    spoken(reply, pieces)
    assert log.names == ["open", "close"]
    assert log.seen[0].text == "" and log.seen[0].audit is None
    assert all(moment.audit == 7 for moment in told if moment.text)
    assert not set(SECRET) & set(repr(told))
    assert not set(SECRET) & set(repr((vars(reply), vars(reply._filter)))), "nothing hidden is kept in memory either"
    opened, closed = log.calls[0][1], log.calls[1][1]
    assert (opened["prompt"], opened["model"], opened["label"]) == ("どうですか", "abc123", reply.told.label)
    assert (closed["number"], closed["shown"], closed["ended"]) == (7, reply.told.text, reply.told.ended)
    assert reply.told.state == "done" and reply.wait(0)
    assert reply.told.text.startswith("分類結果") or reply.told.text == NO_ANSWER
    assert all(after.text.startswith(before.text) for before, after in pairwise(told))


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_whole_answer_is_told_with_its_fields(label, size):
    log = Log()
    reply, told = begun(log)
    text = answer(label)
    spoken(reply, [*(text[i : i + size] for i in range(0, len(text), size)), "and on", "and on"])
    final, end = parse(text).final, reply.told
    assert (end.label, end.confidence, end.reason, end.answer) == (final.label, final.confidence, final.reason, final.answer)
    assert (end.formal, end.ended, end.error, end.model, end.weights) == (True, "complete", "", "original", "abc123")
    assert log.calls[0][1]["thinking"] == text.partition("<final>")[0]
    assert log.calls[1][1]["confidence"] == final.confidence
    assert {moment.confidence for moment in told} <= {None, final.confidence}, "no half of a number"
    assert list(dict.fromkeys(moment.state for moment in told)) == ["thinking", "answering", "done"]
    assert 0 <= end.first_token <= end.first_shown and end.tokens == len(range(0, len(text), size))
    assert (end.tokens_per_second is None) == (end.tokens == 1)


def test_white_space_alone_is_no_answer():
    reply, _ = begun(log := Log())
    spoken(reply, [HIDDEN, "<final> \n", "</final>"])
    assert reply.told.text.strip() == NO_ANSWER
    assert (reply.told.label, reply.told.formal, log.names) == ("", False, ["open", "close"])


def test_a_sealed_answer_is_over_at_once_and_says_so():
    reply, _ = begun(log := Log())
    reply.feed(HIDDEN + "<final>分類結果: DENY\n")
    assert not reply.over
    reply.feed("<think>")
    assert reply.over
    reply.end("complete")
    assert (reply.told.ended, log.calls[1][1]["ended"], reply.told.formal) == ("sealed", "sealed", False)
    assert reply.told.text == "分類結果: DENY\n"


@pytest.mark.parametrize("cut", [0, 20, len(HIDDEN), len(HIDDEN) + 30, len(WHOLE) - 1])
def test_stop_ends_the_answer_after_the_present_token(cut):
    reply, _ = begun(log := Log())

    def pieces():
        for i, letter in enumerate(WHOLE):
            if i == cut:
                reply.stop()
            yield letter

    spoken(reply, pieces())
    assert reply.told.ended == log.calls[1][1]["ended"] == "stopped"
    assert reply.told.tokens == cut + 1
    assert FINAL.startswith(reply.told.text) or reply.told.text == NO_ANSWER


# --- the log fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[WHOLE], list(WHOLE), [HIDDEN], []], ids=["at once", "letters", "no final", "nothing"])
def test_nothing_is_shown_when_the_record_cannot_be_made(pieces):
    reply, told = begun(log := Log(open=[broken("audit.broken")] * 9))
    spoken(reply, pieces)
    assert not any(moment.text or moment.label or moment.reason or moment.answer for moment in told)
    assert log.calls == []
    assert (reply.told.state, reply.told.ended, reply.told.error) == ("done", "failed", "audit.broken")
    assert reply.told.facts == {"reason": "full", "where": "runs/audit"} and reply.wait(0)


def test_a_producer_that_goes_on_after_a_failure_shows_nothing():
    reply, told = begun(Log(open=[broken()]))
    with pytest.raises(EngineError):
        reply.feed(WHOLE[:-10])
    reply.fail(broken())
    reply.feed("more</final>")
    reply.end("complete")
    reply.fail(broken("audit.broken"))
    assert not any(moment.text for moment in told)
    assert (reply.told.state, reply.told.ended, reply.told.error) == ("done", "failed", "audit.unwritable")


def test_what_was_shown_stays_when_the_closing_record_cannot_be_made():
    for failures, names in (([broken()], ["open", "close"]), ([broken(), broken()], ["open"])):
        reply, _ = begun(log := Log(close=failures))
        spoken(reply, list(WHOLE))
        assert (reply.told.text, reply.told.state, reply.told.ended) == (FINAL, "done", "failed")
        assert reply.told.error == "audit.unwritable" and reply.wait(0)
        assert log.names == names


def test_a_fault_of_ours_in_the_log_still_ends_the_wait():
    reply, _ = begun(Log(close=[ValueError("a fault")]))
    reply.feed(WHOLE[:-10])
    with pytest.raises(ValueError):
        reply.fail(broken())
    assert reply.wait(0) and reply.told.state == "done"


@pytest.mark.parametrize("cut", [0, 30, len(HIDDEN), len(HIDDEN) + 30])
def test_a_model_that_fails_leaves_what_was_shown(cut):
    reply, _ = begun(log := Log())
    reply.feed(WHOLE[:cut])
    shown = reply.told.text
    reply.fail(EngineError("model.missing", where="models/x"))
    assert (reply.told.text, reply.told.error, reply.told.ended) == (shown, "model.missing", "failed")
    assert log.names == (["open", "close"] if shown else []), "no record of an answer of which nobody saw anything"


def test_an_answer_is_over_once():
    reply, told = begun(log := Log())
    spoken(reply, list(WHOLE))
    end, moments = reply.told, len(told)
    reply.feed("more")
    reply.end("length")
    reply.fail(broken())
    assert reply.told == end and len(told) == moments and log.names == ["open", "close"]


# --- threads -------------------------------------------------------------------------------------------------------


def test_others_may_look_wait_and_stop_while_it_is_written(tmp_path):
    """Eight answers into one real log, each watched from other threads and some of them stopped."""
    audit = Audit(tmp_path / "audit")
    replies = [Reply(audit, f"question {i}") for i in range(8)]
    seen: list[list[Told]] = [[] for _ in replies]

    def produce(reply):
        reply.begin("original", "0" * 64)
        spoken(reply, WHOLE)

    def watch(reply, found):
        while not reply.wait(0.0005):
            found.append(reply.told)
            if len(found) > 3 and reply in replies[::3]:
                reply.stop()

    threads = [threading.Thread(target=produce, args=[reply]) for reply in replies]
    threads += [threading.Thread(target=watch, args=pair) for pair in zip(replies, seen, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not set(SECRET) & set(repr(seen))
    assert all(FINAL.startswith(told.text) or told.text == NO_ANSWER for found in seen for told in found)
    assert len({reply.told.audit for reply in replies}) == len(replies)
    verdict = audit.verify()
    assert (verdict.whole, verdict.answers, verdict.unfinished) == (True, 8, 0)
    stored = b"".join(file.read_bytes() for file in (tmp_path / "audit").iterdir()).decode("utf-8")
    assert not set(SECRET) & set(stored) and "question" not in stored and "害" not in stored
