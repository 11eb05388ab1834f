"""The card of the verification: empty, filling in, and each outcome with what to do; nothing from outside is markup."""

from dataclasses import replace
from html import escape

import pytest
from test_cards import NASTY, Tags

from dashboard import train_cards
from dashboard.header import header
from dashboard.log import sentence
from dashboard.verify_card import verify_card
from so8t_engine import events

BEGUN = events.JobStarted(time=100.0, job="j", command="StartVerification")


def end(name: str, outcome: str, code: str, **more) -> events.CheckFinished:
    return events.CheckFinished(time=101.0, name=name, outcome=outcome, seconds=0.4, code=code, **more)


FOUND = [
    end("card", "pass", "verify.card_none"),
    end("model", "warn", "verify.model_code", where=NASTY, facts={"files": NASTY}),
    end("dataset", "fail", "verify.dataset_bad_rows", facts={"count": "2", "rows": "8"}, where="x",
        faults=(events.RowFaulted(code="data.bad_label", where=NASTY, facts={"label": NASTY, "classes": "ALLOW"}),)),
    end("step", "fail", "verify.unexpected", facts={"reason": NASTY}, details=NASTY),
    end("settings", "skipped", "verify.skipped", facts={"check": "dataset"}),
]  # fmt: skip


@pytest.fixture
def told(replayed):
    """`told(*events, state)`: the snapshot of a verification with these events."""

    def fold(*more, state="running"):
        return replace(replayed([BEGUN, *more]), state=state)

    return fold


def started(number: int, name: str) -> events.CheckStarted:
    return events.CheckStarted(time=101.0, name=name, number=number, total=10)


def every(found):
    return [event for number, x in enumerate(found, 1) for event in (started(number, x.name), x)]


def test_before_the_first_verification_the_card_says_what_it_is_for(page, replayed):
    html = verify_card(replayed([]), page)
    Tags(html)
    assert escape(page.t("verify.empty")) in html and 'data-do="verify"' in html and "disabled" not in html


def test_the_list_fills_in(page, told):
    html = verify_card(told(*every(FOUND[:2]), started(3, "dataset")), page)
    assert Tags(html).seen.count("li") == 3 and 'aria-valuenow="20"' in html
    assert html.count("so-check-now") == 1 and 'data-do="stop"' in html and 'data-do="verify"' not in html


def test_each_outcome_says_what_was_found_and_what_to_do(page, told):
    summed = events.VerificationFinished(time=110.0, folder=NASTY, passed=1, warned=1, failed=2, skipped=1, seconds=9.0)
    html = verify_card(told(*every(FOUND), summed, state="finished"), page)
    assert "img" not in Tags(html).seen and "&lt;img" in html
    for outcome in ("pass", "warn", "fail", "skipped"):
        assert page.t(f"verify.outcome.{outcome}") in html
    assert escape(page.error("verify.model_code", "hint", {"files": NASTY})) in html
    assert escape(page.error("data.bad_label", "what", {"label": NASTY, "classes": "ALLOW"})) in html
    advice = escape(page.error("verify.card_none", "hint", {}))
    assert advice not in verify_card(told(*every(FOUND[:1])), page), "what passed needs no advice"
    assert escape(page.error("verify.skipped", "what", {"check": page.t("verify.check.dataset")})) in html
    assert escape(page.t("verify.bad")) in html and 'data-do="verify"' in html


@pytest.mark.parametrize(("warned", "key"), [(0, "verify.good"), (1, "verify.warned")])
def test_the_verdict_is_the_worst_that_was_found(page, told, warned, key):
    summed = events.VerificationFinished(folder="x", passed=9, warned=warned, failed=0, seconds=9.0)
    assert escape(page.t(key)) in verify_card(told(summed, state="finished"), page)


def test_a_stopped_verification_shows_what_it_had_found_and_no_verdict(page, told):
    html = verify_card(told(*every(FOUND[:1]), started(2, "model"), state="stopped"), page)
    assert escape(page.t("verify.stopped")) in html and Tags(html).seen.count("li") == 1
    assert "so-verify-verdict" not in html


def test_the_button_is_off_while_settings_are_faulty_or_another_job_runs(page, replayed, story):
    html = verify_card(replace(replayed(story(3)), state="running"), page)
    assert "disabled" in html and escape(page.t("verify.busy", command=page.t("command.StartTraining"))) in html
    page.bridge.draft.edit("train: {epochs: -1}\nnonsense: 1\n")
    html = verify_card(replayed([]), page)
    assert "disabled" in html and escape(page.t("verify.faults", count=2)) in html


def test_header_train_tab_and_log_speak_of_a_verification(page, told):
    snapshot = told(*every(FOUND[:1]))
    name = page.t("command.StartVerification")
    assert name in header(snapshot, page) and escape(page.t("header.stop_title")) not in header(snapshot, page)
    assert name in train_cards.progress_card(snapshot, page)
    assert page.t("stage.data") not in train_cards.progress_card(snapshot, page)
    assert escape(page.t("train.busy_note", command=name)) in train_cards.decide(snapshot, page)
    summed = events.VerificationFinished(folder="x", passed=9, warned=1, failed=0, seconds=9.0)
    for event in (*FOUND, summed):
        assert sentence(event, page)
