"""What the Train tab shows of a run, and that nothing from outside becomes markup."""

from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import pytest

from dashboard import cards, train_cards
from dashboard.bridge import Unfinished
from dashboard.header import header, progress, sparkline
from dashboard.log import log, sentence
from so8t_engine import EngineError, Run, SettingsError, Snapshot, events
from so8t_engine.snapshot import with_history

NASTY = '<img src=x onerror="alert(1)">&\'日本'


VOID = {"br", "hr", "img", "input", "path", "circle", "polyline"}


class Tags(HTMLParser):
    """Collects the tags of a piece of HTML, and checks that it is well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def everything(snapshot, page) -> str:
    """All cards of the tab in one."""
    return "".join([
        header(snapshot, page), train_cards.situation(snapshot, page), train_cards.decide(snapshot, page),
        train_cards.run_card(snapshot, page), train_cards.checkpoints_card(snapshot, page), log(snapshot, page),
        train_cards.progress_card(snapshot, page),
        train_cards.unfinished_card(snapshot, page, [Unfinished(Run.at(f"/x/{NASTY.replace('/', '')}"), 3, 9, "")]),
    ])  # fmt: skip


ENDS = {
    "running": [],
    "stopping": [events.StopRequested(job="j")],
    "finished": [events.ModelSaved(folder=NASTY, step=30, bytes=5), events.JobFinished(job="j", seconds=30.0)],
    "stopped": [events.JobStopped(job="j", seconds=3.0)],
    "failed": [events.JobFailed(job="j", code="engine.unexpected", where=NASTY, facts={"reason": NASTY},
                                details=NASTY)],
    "warned": [
        events.CheckpointFailed(step=3, code="disk.held", where=NASTY, facts={"reason": NASTY}),
        events.CheckpointPutAside(folder=NASTY, reason=NASTY),
        events.PackHalved(step=3, before=7083, after=3541, recomputed=31),
        events.CheckpointSaved(step=3, folder=NASTY, bytes=10, seconds=1.0, reason="interval"),
        events.Resumed(step=2, checkpoint=NASTY),
        events.ValidationFinished(step=3, loss=float("nan"), label_nll=None, rows=1, seconds=1.0, best=False),
        events.ValidationScored(step=3, rows=1, accuracy=1.0, macro_f1=1.0, unsafe_allow=None, over_refusal=0.0, seconds=1.0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_every_state_is_escaped_html(page, story, replayed, end):
    snapshot = replayed(story(30, *ENDS[end]))
    html = everything(snapshot, page)
    assert "img" not in Tags(html).seen
    assert "<img" not in html and "&lt;img" in html


def test_the_first_page_teaches(page, replayed):
    html = everything(replayed([]), page)
    Tags(html)
    assert 'data-do="demo"' in html and 'data-do="start"' in html
    assert page.t("train.empty") in html


def test_an_interrupted_run_can_go_on(page, story, replayed):
    snapshot = replayed(story(30))
    assert snapshot.state == "interrupted" and train_cards.can_resume(snapshot)
    assert train_cards.situation(snapshot, page).count('data-do="resume"') == 1


def test_stop_takes_the_place_of_start(page, story, replayed):
    snapshot = replace(replayed(story(30)), state="running")
    html = train_cards.decide(snapshot, page)
    assert 'data-do="stop"' in html and 'data-do="start"' not in html
    assert 'data-do="stop"' in header(snapshot, page)


def test_a_button_that_is_off_says_why(page, replayed):
    page.bridge.draft.edit("train: {epochs: -1}\nnonsense: 1\n")
    html = train_cards.decide(replayed([]), page)
    assert "disabled" in html
    assert escape(page.t("train.faults_note", count=2)) in html
    assert 'data-open-tab="config"' in html


def test_all_faults_of_the_settings_are_named(page):
    faults = [EngineError("config.double", where="a.yaml:3", field="train.epochs"),
              EngineError("config.unknown", where="a.yaml:4", field=NASTY)]  # fmt: skip
    html = cards.refused(page, SettingsError(faults, where="a.yaml"))
    assert Tags(html).seen.count("li") == 2
    assert "a.yaml:3" in html and "train.epochs" in html


def test_what_was_not_measured_is_a_dash_with_a_reason(page, replayed):
    html = train_cards.progress_card(replayed([]), page)
    assert html.count("so-missing") == 6
    assert page.t("train.not_yet") in html


def test_repeated_warnings_are_one_card(page, story, replayed):
    failed = events.CheckpointFailed(step=3, code="disk.held", where="x", facts={"reason": "y"})
    html = train_cards.situation(replayed(story(3, *[failed] * 50)), page)
    assert html.count(page.t("warning.checkpoint", step=3, what="")[:12]) == 1


def test_the_run_says_what_is_in_memory_at_once(page, story, replayed):
    html = train_cards.run_card(replayed(story(3)), page)
    assert escape(page.t("run.pack_size", pack="7,083")) in html
    assert escape(page.t("run.twice", recomputed=31, layers=32)) in html
    assert "7.2 GiB" in html and "7.4 GiB" in html and "flash attention" in html


def test_memory_that_was_full_is_a_calm_card_and_the_run_shows_the_smaller_packs(page, story, replayed):
    """All of it from the stored events: as after a reload."""
    full = events.PackHalved(step=3, before=7083, after=3541, recomputed=31)
    snapshot = replayed(story(3, full, events.PackHalved(step=9, before=3541, after=3541, recomputed=32)))
    html = train_cards.run_card(snapshot, page)
    assert escape(page.t("run.pack_size", pack="3,541")) in html
    assert escape(page.t("run.twice", recomputed=32, layers=32)) in html
    assert "7.2 GiB" not in html, "what was planned no longer holds"
    told = train_cards.situation(snapshot, page)
    assert escape(page.t("warning.recomputed", step=9, layers=32)) in told
    assert escape(page.t("warning.halved_hint")) in told and "so-trouble" not in told
    told = train_cards.situation(replayed(story(3, full)), page)
    assert escape(page.t("warning.halved", step=3, before="7,083", after="3,541")) in told
    assert page.t("warning.halved", step=3, before="7,083", after="3,541") in log(replayed(story(3, full)), page)


def test_a_run_that_goes_on_shows_its_memory_at_once(story):
    """Its own plan comes after the model is loaded; until then that of the try before stands."""
    shown = with_history(Snapshot(), story(3))
    assert shown.memory.pack == 7083


def test_progress_is_unknown_before_the_plan(story, replayed):
    assert progress(replayed(story()[:3])) is None
    assert progress(replayed(story(30))) == 0.3


def test_every_kind_of_event_that_is_logged_has_a_sentence(page, story):
    for event in story(0, *(event for end in ENDS.values() for event in end)):
        assert sentence(event, page), type(event).__name__


def test_a_sparkline_needs_two_values():
    assert "points" not in sparkline([1.0], 100.0)
    assert "points" not in sparkline([None, 1.0], 100.0)
    assert sparkline([0.0, 100.0], 100.0).count(",") == 2
