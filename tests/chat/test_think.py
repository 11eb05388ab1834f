"""/think through the whole dashboard's application: who is let in, what is refused, and that answers are not mixed up.

A scripted model speaks: it thinks in SECRET, and says again in <final> the mark that stands in its prompt.
"""

import contextlib
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import httpx
import pytest
from think_place import ASK, HERE, SECRET, Place, code, running, written

from so8t_engine import BadInput, Busy, EngineError, config
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.audit import Audit, verify
from so8t_engine.chat.think import checked
from so8t_engine.runs import audit_folder


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.speaker.leave()


# --- the answer ----------------------------------------------------------------------------------------------------


def test_an_answer_holds_what_may_be_shown_and_its_number_in_the_log(place):
    answer = place.post()
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    final = "分類結果: ALLOW\n信頼度: 0.90\n理由: 害はありません。\n回答: mark-1 です。"
    assert answer.json() == {"final": final, "label": "ALLOW", "confidence": 0.9, "reason": "害はありません。", "audit_id": place.audit.answers()[0].number}
    assert place.post().json()["audit_id"] != answer.json()["audit_id"]
    assert verify(place.audit.log).whole


@pytest.mark.parametrize("text", ["", "no tags", f"<think-task>{SECRET}", written("mark-1").replace("<final>", "<Final>")])
def test_an_answer_of_which_nothing_may_be_shown_says_so(place, text):
    place.speaker.write = lambda prompt: text
    answer = place.post()
    assert answer.status_code == 200
    number = answer.json().pop("audit_id")
    assert answer.json() == {"final": NO_ANSWER, "label": None, "confidence": None, "reason": "", "audit_id": number}


def test_the_model_gets_the_question_and_its_own_system_prompt_unless_another_is_given(place):
    place.values["data.system_prompt"] = "規則です。"
    place.set()
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for body in (ASK, ASK | {"system": "S", "history": history}, ASK | {"system": ""}):
        assert place.post(body).status_code == 200
    questions = [question for _, question, _ in place.speaker.asked]
    assert [question.system for question in questions] == ["規則です。", "S", ""]
    assert [question.history for question in questions] == [(), tuple(history), ()]
    assert {question.sampling for question in questions} == {config.load(place.file).chat}
    assert {voice.key for voice, _, _ in place.speaker.asked} == {"original"}, "no run has finished"


# --- what is refused -----------------------------------------------------------------------------------------------

TURN = {"role": "user", "content": "x"}
WRONG = {
    "empty": (b"", "think.not_json"),
    "no JSON": (b'{"prompt": ', "think.not_json"),
    "no UTF-8": (b'{"prompt": "\xff"}', "think.not_json"),
    "UTF-16": ('{"prompt": "x"}'.encode("utf-16"), "think.not_json"),
    "a list": ([ASK], "think.not_json"),
    "nested too deeply": (b"[" * 20_000, "think.not_json"),
    "a huge number": (b'{"prompt": ' + b"9" * 10_000 + b"}", "think.not_json"),
    "nothing asked": ({}, "think.no_prompt"),
    "blank": ({"prompt": " \n\u3000"}, "think.no_prompt"),
    "prompt is no text": ({"prompt": 7}, "think.not_text"),
    "prompt is null": ({"prompt": None}, "think.not_text"),
    "system is no text": (ASK | {"system": None}, "think.not_text"),
    "unknown field": (ASK | {"thinking": True}, "think.unknown_field"),
    "history is no list": (ASK | {"history": {}}, "think.bad_history"),
    "a turn is no object": (ASK | {"history": ["x"]}, "think.bad_history"),
    "a turn without content": (ASK | {"history": [{"role": "user"}]}, "think.bad_history"),
    "a turn with more": (ASK | {"history": [TURN | {"name": "x"}]}, "think.bad_history"),
    "content is no text": (ASK | {"history": [TURN | {"content": ["x"]}]}, "think.not_text"),
    "system in the history": (ASK | {"history": [TURN | {"role": "system"}]}, "chat.unknown_role"),
    "a role of a list": (ASK | {"history": [TURN | {"role": ["user"]}]}, "chat.unknown_role"),
    "half a letter": (b'{"prompt": "\\ud83c"}', "data.broken_letter"),
    "half a letter in the history": (b'{"prompt": "x", "history": [{"role": "user", "content": "\\udf8c"}]}', "data.broken_letter"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_request_gets_400_and_never_reaches_the_model(place, case):
    body, name = WRONG[case]
    assert code(place.post(body)) == (400, name)
    assert place.speaker.asked == [] and not place.audit.log.exists()


def test_errors_are_told_in_the_language_that_is_asked_for(place):
    told = {
        language: place.post({}, accept_language=language).json()["error"]
        for language in ("", "ja", "en-US,en;q=0.9,ja;q=0.8", "fr, ja-JP;q=0.5", "de")
    }
    assert all(set(error) == {"code", "what", "hint"} and all(error.values()) for error in told.values())
    japanese = [language for language, error in told.items() if "ありません" in error["what"]]
    assert japanese == ["ja", "fr, ja-JP;q=0.5"]


def test_what_is_too_long_gets_413(place):
    place.set(max_characters=20)
    turns = [{"role": "user", "content": "鷗" * 5}]
    assert place.post({"prompt": "mark-1" + "x" * 6, "system": "sys", "history": turns}).status_code == 200
    assert code(place.post({"prompt": "mark-1" + "x" * 7, "system": "sys", "history": turns})) == (413, "think.too_long")
    assert code(place.post({"prompt": "x" * 20_000})) == (413, "think.body_too_long")
    place.set(max_characters=5000)
    longest = json.dumps({"prompt": "mark-1" + "🎌" * 4994}).encode()
    assert len(longest) > 59_000 and place.post(longest).status_code == 200, "a character is one however it is escaped"


def test_a_body_without_end_is_refused_while_it_is_read(place):
    sent = 0

    def endless():
        nonlocal sent
        while sent < 100_000:
            sent += 1
            yield b" " * 1000

    with running(place) as address, contextlib.suppress(httpx.TransportError):  # closed while it was still being sent
        answer = httpx.post(f"{address}/think", content=endless(), timeout=60)
        assert code(answer) == (413, "think.body_too_long")
    assert 0 < sent < 100_000 and place.speaker.asked == []


def test_other_methods_get_405(place):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = place.client.request(method, "/think")
        assert code(answer) == (405, "think.method") and answer.headers["allow"] == "POST"
    assert place.client.head("/think").status_code == 405


def test_foreign_pages_and_foreign_names_are_refused(place):
    assert place.post(origin="https://evil.example").status_code == 403
    assert place.post(origin="null").status_code == 403
    assert place.post(host="evil.example").status_code == 400
    assert place.post(host="127.0.0.1.evil.example").status_code == 400
    assert place.speaker.asked == []
    assert place.post(origin=HERE).status_code == place.post().status_code == 200


# --- token ---------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_when_one_is_set_and_may_be_changed(place, tmp_path):
    file = tmp_path / "token.txt"
    file.write_text("\ufeffgeheim-鍵\r\nsecond line", encoding="utf-8")
    place.set(token_file=str(file))
    right = "Bearer geheim-鍵".encode()
    for wrong in ({}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"authorization": b"Bearer geheim-"},
                  {"authorization": right + b"x"}, {"authorization": "Basic geheim-鍵".encode()}, {"authorization": right[7:]},
                  {"authorization": b"Bearer second line"}):  # fmt: skip
        answer = place.post(**wrong)
        assert code(answer) == (401, "think.unauthorized") and answer.headers["www-authenticate"] == "Bearer"
    assert code(place.post(b"x" * 200_000)) == (401, "think.unauthorized"), "before the body is looked at"
    assert place.speaker.asked == []
    assert place.post(authorization=right).status_code == 200
    assert place.post(authorization=b"bearer  " + right[7:]).status_code == 200
    file.write_text("other", encoding="utf-8")
    assert place.post(authorization=right).status_code == 401
    assert place.post(authorization="Bearer other").status_code == 200


@pytest.mark.parametrize("content", [None, b"", b"\n", b" \r\ntoken", b"\xef\xbb\xbf\n"])
def test_without_a_token_in_the_file_nobody_is_let_in(place, tmp_path, content):
    file = tmp_path / "token.txt"
    if content is not None:
        file.write_bytes(content)
    place.set(token_file=str(file))
    for header in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer token"}):
        answer = place.post(**header)
        assert code(answer) == (503, "think.no_token") and str(tmp_path) not in answer.text
    assert place.speaker.asked == []


def test_refused_tokens_use_up_nobodys_rate(place, tmp_path):
    (tmp_path / "token.txt").write_text("t", encoding="utf-8")
    place.set(token_file=str(tmp_path / "token.txt"), requests_per_minute=1)
    for _ in range(3):
        assert place.post().status_code == 401
    assert place.post(authorization="Bearer t").status_code == 200


# --- rate and line -------------------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_last_minute(place):
    place.set(requests_per_minute=3)
    for place.now in (0.0, 10.0, 20.0):
        assert place.post().status_code == 200
    place.now = 30.5
    answer = place.post()
    assert code(answer) == (429, "think.too_many") and answer.headers["retry-after"] == "30"
    place.now = 59.9
    assert place.post().headers["retry-after"] == "1"
    place.now = 60.0
    assert place.post().status_code == 200, "what was refused does not count"
    assert place.post().headers["retry-after"] == "10"
    place.set(requests_per_minute=2)
    assert place.post().headers["retry-after"] == "20", "a lower limit holds at once"


def test_so_many_wait_and_no_more(place):
    place.set(waiting=2)
    with ThreadPoolExecutor(5) as threads, silent(place):
        answers = [threads.submit(place.post) for _ in range(3)]
        place.wait_for(3)
        refused = threads.submit(place.post).result(60)
        assert code(refused) == (429, "think.line_full") and int(refused.headers["retry-after"]) > 0
        place.speaker.asked[0][2].begin("original", "f")  # two wait now, and one speaks
        assert threads.submit(place.post).result(60).status_code == 429
        place.speaker.asked[1][2].begin("original", "f")  # both speak at once: there is a place in the line
        answers.append(threads.submit(place.post))
        place.wait_for(4)
        assert threads.submit(place.post).result(60).status_code == 429
    assert [answer.result().status_code for answer in answers] == [200] * 4
    assert place.post().status_code == 200


@contextlib.contextmanager
def silent(place):
    """No answer begins inside, unless the test begins it; all end with it."""
    asked, place.speaker.ask = place.speaker.asked, lambda *question: asked.append(question)
    try:
        yield
    finally:
        del place.speaker.ask
        for _, _, reply in asked:
            reply.end("complete")


def test_with_no_line_one_is_answered_at_a_time(place):
    place.set(waiting=0)
    with place.held(2) as threads:
        first = threads.submit(place.post)
        place.wait_for(1)
        assert threads.submit(place.post).result(60).status_code == 429
    assert first.result().status_code == 200
    assert place.post().status_code == 200


# --- no answer -----------------------------------------------------------------------------------------------------


def test_a_speaker_that_can_not_be_asked_gives_503_and_keeps_no_place_in_the_line(place):
    place.set(waiting=0)
    place.speaker.why_not = Busy("engine.busy", command="StartTraining")
    for _ in range(3):
        assert code(place.post()) == (503, "engine.busy")
    place.speaker.why_not = None
    assert place.post().status_code == 200


def test_no_such_model_gives_503(place):
    place.set(model="20990101-000000-abcdef")
    assert code(place.post())[0] == 503
    for name in ("../..", "original/..", "ollama:x"):
        place.set(model=name)
        assert code(place.post())[0] == 503
    place.set(model="original")
    assert place.post().status_code == 200
    place.file.write_text("think: {waiting: -1}", encoding="utf-8")
    assert code(place.post()) == (503, "config.faults")


def test_an_answer_that_fails_is_an_error_and_not_half_an_answer(place):
    for fault, status in ((BadInput("chat.no_room", tokens=9, limit=4), 413), (EngineError("audit.broken", where="x", reason="y"), 503), (EngineError("chat.unexpected", reason="y"), 500)):
        place.speaker.fault = fault
        assert code(place.post()) == (status, fault.code)


def test_an_answer_that_is_cut_off_by_a_job_is_an_error(place):
    with place.held(1) as threads:
        answer = threads.submit(place.post)
        place.wait_for(1)
        place.speaker.asked[0][2].stop()
        assert code(answer.result()) == (503, "think.stopped")


def test_no_record_no_answer(place, monkeypatch):
    def broken(*_, **__):
        raise EngineError("audit.unwritable", where="x", reason="disk full")

    monkeypatch.setattr(Audit, "open", broken)
    answer = place.post()
    assert code(answer) == (503, "audit.unwritable") and "mark-1" not in answer.text


# --- through a real server -----------------------------------------------------------------------------------------


def test_a_client_that_leaves_stops_its_answer_and_no_other(place, caplog):
    with running(place) as address, place.held(1) as threads:
        stays = threads.submit(httpx.post, f"{address}/think", json={"prompt": "mark-stays"}, timeout=60)
        place.wait_for(1)
        half = HTTPConnection(address.removeprefix("http://"))
        half.putrequest("POST", "/think")
        half.putheader("content-length", "1000")
        half.endheaders(b'{"prompt": ')
        whole = HTTPConnection(address.removeprefix("http://"))
        whole.request("POST", "/think", body=json.dumps({"prompt": "mark-leaves"}))
        place.wait_for(2)
        for connection in (half, whole):
            connection.close()
        left = place.speaker.asked[1][2]
        assert left.wait(60) and left.told.ended == "stopped"
    assert "mark-stays" in stays.result().json()["final"]
    verdict = verify(place.audit.log)
    assert (verdict.whole, verdict.answers, verdict.unfinished) == (True, 2, 0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_fifty_at_once_are_answered_with_their_own_words_or_refused_and_nothing_hidden_gets_anywhere(place, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    place.set(waiting=20)
    marks = [f"mark-{number:02d}x" for number in range(50)]
    with running(place) as address, place.held(50) as threads:
        answers = [threads.submit(httpx.post, f"{address}/think", json={"prompt": mark}, timeout=60) for mark in marks]
        place.wait_for(21)
        while sum(answer.done() for answer in answers) + len(place.speaker.asked) < 50:
            time.sleep(0.002)
        alive = httpx.get(f"{address}/alive", timeout=60).text
    assert alive == "ok", "the server answers others meanwhile"
    told = [answer.result() for answer in answers]
    assert {answer.status_code for answer in told} == {200, 429}
    good = [(mark, answer.json()) for mark, answer in zip(marks, told, strict=True) if answer.status_code == 200]
    assert len(good) == len(place.speaker.asked) >= 21
    for mark, answer in good:
        assert re.findall(r"mark-\w+", answer["final"]) == [mark] and answer["label"] == "ALLOW"
    assert len({answer["audit_id"] for _, answer in good}) == len(good)
    verdict = verify(audit_folder(tmp_path / "runs") / "log.jsonl")
    assert (verdict.whole, verdict.answers, verdict.unfinished) == (True, len(good), 0)
    out, err = capfd.readouterr()
    sinks = [out, err, caplog.text, repr(caplog.records), *(answer.text + repr(answer.headers) for answer in told)]
    sinks += [file.read_text(encoding="utf-8", errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    assert caplog.records, "the server's own log was caught"
    assert not set(SECRET) & set("".join(sinks))
    assert not any(mark in sink for mark in marks for sink in sinks[:4]), "nor is what was asked in any log"


# --- without HTTP --------------------------------------------------------------------------------------------------


def test_what_is_checked_is_a_copy(place):
    history = [{"role": "user", "content": "x"}]
    request = checked({"prompt": "p", "history": history}, 10)
    history[0]["content"] = "much longer than it was"
    assert request.history == ({"role": "user", "content": "x"},)
