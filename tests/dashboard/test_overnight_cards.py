"""What the Overnight tab says before, while and after a chain runs: folded from the true chain with scripted stages."""

import json
import threading
from dataclasses import replace
from html import escape

import pytest
from scripted_overnight import stages
from test_cards import NASTY, Tags

from dashboard import overnight_cards, overnight_progress, overnight_results, overnight_timeline
from dashboard.bridge import Page
from dashboard.header import header
from dashboard.overnight_chain import of_snapshot, of_stored
from so8t_engine import STAGES, EngineError, Snapshot, events, pipeline
from so8t_engine.snapshot import fold


@pytest.fixture
def page(bridge) -> Page:
    """In one language: that every text stands in both is another test's."""
    return Page("ja", bridge)


@pytest.fixture
def night(bridge, monkeypatch):
    """`night(name, skip, break_at)`: every picture of a chain. The name in Ollama says what happens in it (see
    scripted_overnight); `break_at` stops it after the first event of that stage's work."""
    monkeypatch.setattr(pipeline, "CHAIN", stages())
    monkeypatch.setattr(pipeline, "check", lambda chain: None)

    def run(name="night", skip=(), break_at="", output="", force=()) -> list[Snapshot]:
        bridge.draft.change("pipeline.ollama_name", name)
        settings, cancel = bridge.settings_with({"pipeline.skip": list(skip)}), threading.Event()
        place, resumed = pipeline.open_pipeline(settings, output, "never")
        told = [fold(Snapshot(), events.JobStarted(job="j", command="RunPipeline"))]
        try:
            for event in pipeline.pipeline(settings, place, resumed, (), force, cancel):
                told.append(fold(told[-1], event))
                if break_at and told[-1].stage == break_at and not isinstance(event, events.StageStarted):
                    cancel.set()
        except EngineError as error:
            failed = events.JobFailed(job="j", code=error.code, where=error.where, facts=error.facts)
            return [*told, fold(told[-1], failed)]
        ended = events.JobStopped if cancel.is_set() else events.JobFinished
        return [*told, fold(told[-1], ended(job="j", seconds=1.0))]

    return run


def states(html: str) -> list[str]:
    """The state of each stage, in order."""
    return [part.split('"')[0] for part in html.split('<li class="so-stage so-stage-')[1:]]


def figures(html: str, stage: str) -> str:
    """What stands under a stage."""
    return html.split(f'data-stage="{stage}"')[1].split("<li")[0]


def stored(bridge, page) -> str:
    """The newest chain as it lies on the disk."""
    return overnight_results.shown(of_stored(bridge.engine.pipelines()[0]), page)


# While it runs


def test_each_stage_waits_runs_and_is_done_and_what_it_found_stays(night, page):
    pictures = [snapshot for snapshot in night() if snapshot.active]
    seen = [states(overnight_timeline.situation(snapshot, page)) for snapshot in pictures]
    for number, name in enumerate(STAGES):
        while_it_runs = [one for one, snapshot in zip(seen, pictures, strict=True) if snapshot.stage == name]
        expected = ["finished"] * number + ["running"] + ["waiting"] * (len(STAGES) - number - 1)
        assert while_it_runs and all(one == expected for one in while_it_runs)
    last = overnight_timeline.situation(pictures[-1], page)
    assert "588.0 MiB" in figures(last, "export") and "87.4 %" in figures(last, "evaluate") and "+16.2 pt" in figures(last, "ab_test") and "+0.167" in figures(last, "ab_test")
    assert "0.861" in figures(last, "evaluate") and "86.1" not in last
    assert page.t("overnight.live.count", done=6, total=6) in last


def test_the_stage_under_way_tells_how_far_it_is(night, page):
    told: dict[str, list[str]] = {name: [] for name in STAGES}
    for snapshot in night():
        if snapshot.stage:
            told[snapshot.stage].append(figures(overnight_timeline.situation(snapshot, page), snapshot.stage))

    def ever(stage: str, *words: str) -> bool:
        return any(all(word in html for word in words) for html in told[stage])

    assert ever("train", "step 30 / 60", 'aria-valuenow="50"', page.t("tile.val_loss"))
    assert ever("evaluate", page.t("overnight.now.rows", done="200", total="400"), page.t("evaluate.mode.scored"))
    assert ever("ab_test", page.t("overnight.now.decisions", done="640", total="800"), "71.2 % → 87.4 %", "0.694 → 0.861")
    assert ever("export", page.t("export.stage.gate")) and ever("export", "900.0 MiB")
    assert ever("ollama", "156.0 MiB / 312.0 MiB", 'aria-valuenow="50"') and ever("ollama", page.t("export.stage_help.create"))
    assert ever("japanese_test", page.t("overnight.now.questions", done="20", total="40"), page.t("overnight.category.reasoning"))
    assert all(html.count('role="progressbar"') == 1 for one in told.values() for html in one)


def test_the_per_cent_of_the_whole_chain_never_goes_back_and_the_title_gets_them(night, page):
    pictures = night()
    shares = [overnight_progress.whole(snapshot) for snapshot in pictures if snapshot.pipeline]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    half = next(snapshot for snapshot in pictures if snapshot.stage == "ab_test" and overnight_progress.share(snapshot) == 0.5)
    assert 'data-percent="42"' in header(half, page) and 'aria-valuenow="50"' in header(half, page)


def test_what_an_earlier_stage_has_left_is_not_taken_for_the_present_one(night, page):
    for snapshot in night():
        if snapshot.stage and isinstance(snapshot.stages[-1], events.StageStarted) and snapshot.log[-1] == snapshot.stages[-1]:
            html = figures(overnight_timeline.situation(snapshot, page), snapshot.stage)
            if snapshot.stage not in ("train", "ollama"):
                assert "so-stage-figures" not in html and 'aria-valuenow="100"' not in html


def test_nothing_from_outside_is_markup(page, replayed):
    opened = events.PipelineOpened(pipeline=NASTY, folder=f"/x/{NASTY}", stages=STAGES, resumed=True)
    done = events.StageFinished(
        stage="train", outcome="finished", seconds=1.0, folder=f"/x/{NASTY}", figures={NASTY: NASTY, "steps": "9"}
    )
    asked = events.JapaneseTestOpened(folder="/x", model=NASTY, name=NASTY, prompts=9, resumed=False)
    answer = events.JapaneseAnswerChecked(
        prompt=NASTY, category=NASTY, passed=1, checks=2, seconds=1.0, tokens=None, done=1, total=9
    )
    begun = events.JobStarted(job="j", command="RunPipeline")
    picture = replayed([begun, opened, done, events.StageStarted(stage="japanese_test"), asked, answer])
    html = overnight_timeline.situation(replace(picture, state="running"), page)
    assert "img" not in Tags(html).seen and "&lt;img" in html and "50.0 %" in html


# How it ends


def test_a_night_to_its_end_is_a_summary_and_six_stages(night, page, bridge):
    night("my-model")
    html = stored(bridge, page)
    Tags(html)
    assert states(html) == ["finished"] * 6 and 'role="alert"' not in html
    summary = html[html.index('data-card="summary"') : html.index('data-card="chain"')]
    assert page.t("overnight.winner.retrained") in summary and "+0.165" in summary
    assert 'data-copy="ollama run my-model:latest"' in summary and "588.0 MiB" in summary and "312.0 MiB" in summary
    assert "82.6 %" in summary and escape(page.t("overnight.summary.base", score="70.2 %")) in summary
    assert "+12.4 pt [+4.1, +21.2]" in html and page.t("overnight.japanese.decided_this") in html
    table = html[html.index("so-japanese") :]
    assert page.t("overnight.category.terms") in table and "71.4 %" in table and "+12.6 pt" in table


def test_no_winner_is_calm_says_why_and_leaves_the_rest_undone(night, page, bridge):
    night("tie")
    html = stored(bridge, page)
    assert states(html) == ["finished"] * 3 + ["not_needed"] * 3
    assert 'role="alert"' not in html and "so-trouble" not in html and 'data-do="go_on"' not in html
    assert escape(page.t("overnight.ended.no_winner")) in html and "6,200" in html and "+0.008" in html
    assert "ollama run" not in html and 'data-open-tab="ab_test"' in html


@pytest.mark.parametrize("stage", ["train", "export", "japanese-test"])
def test_a_failed_stage_is_a_card_that_goes_on_and_earlier_results_stay(night, page, bridge, stage):
    last = night(f"fail-{stage}")[-1]
    name = stage.replace("-", "_")
    before = STAGES.index(name)
    html = stored(bridge, page)
    assert states(html) == ["finished"] * before + ["failed"] + ["waiting"] * (5 - before)
    card = html[: html.index('data-card="chain"')]
    facts = last.failure.facts
    assert 'role="alert"' in card and escape(page.error(last.failure.code, "what", facts)) in card
    assert escape(page.error(last.failure.code, "hint", facts)) in card and page.t(f"overnight.stage.{name}") in card
    assert f'data-do="go_on" data-what="{last.pipeline.pipeline}"' in card and 'data-card="summary"' not in html
    assert ("87.4 %" in html) == (before > 1)
    assert overnight_timeline.situation(last, page) == "", "the stored chain says it once"


def test_what_kept_a_chain_from_opening_is_told(page, replayed):
    begun = events.JobStarted(job="j", command="RunPipeline")
    failed = events.JobFailed(job="j", code="pipeline.no_ollama", where="http://x", facts={"reason": NASTY}, details=NASTY)
    html = overnight_timeline.situation(replayed([begun, failed]), page)
    assert 'role="alert"' in html and "img" not in Tags(html).seen


def test_a_chain_that_was_stopped_names_the_stage_where_it_goes_on(night, page, bridge):
    last = night(break_at="ab_test")[-1]
    assert [stage.state for stage in of_snapshot(last).stages] == ["finished"] * 2 + ["interrupted"] + ["waiting"] * 3
    chain = of_stored(bridge.engine.pipelines()[0])
    html = overnight_results.shown(chain, page)
    assert states(html) == ["finished"] * 2 + ["interrupted"] + ["waiting"] * 3 and 'role="alert"' not in html
    card = overnight_cards.unfinished(chain, page)
    assert escape(page.t("overnight.unfinished.next", stage=page.t("overnight.stage.ab_test"))) in card
    offered = card.split("<option")[1:]
    assert [one.split('"')[1] for one in offered] == ["", "train", "evaluate"], "only what is done can be done again"
    assert overnight_cards.outcome(chain) == "interrupted" and overnight_cards.unfinished(None, page) == ""


def test_what_is_left_out_and_what_is_kept_says_so(night, page, bridge):
    skip = ("evaluate", "ab_test", "ollama", "japanese_test")
    night("fail-export", skip)
    folder = str(bridge.engine.pipelines()[0].folder)
    assert states(stored(bridge, page)) == ["finished", "skipped", "skipped", "failed", "skipped", "skipped"]
    last = night("night", skip, output=folder)[-2]
    html = overnight_timeline.situation(last, page)
    assert states(html) == ["kept", "skipped", "skipped", "finished", "skipped", "skipped"]
    assert page.error("pipeline.kept", "what", {}) in html and "0.357" in figures(html, "train")
    assert page.t("overnight.live.resumed") in html


# Before


def test_the_form_shows_the_draft_and_consent_is_not_given_by_itself(page):
    html = overnight_cards.form(page)
    Tags(html)
    assert html.count(" checked") == 7, "six stages and the sound; neither consent nor notices"
    assert "demo_four_class.jsonl" in html and 'value="so8t-demo"' in html and "F16 + Q8_0" in html
    page.bridge.draft.edit(page.bridge.draft.text.replace("skip: []", "skip: [train, ollama]"))
    html = overnight_cards.form(page)
    assert 'data-part="run">' in html and 'data-part="pushing" hidden>' in html and html.count(" checked") == 5


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "no_consent"),
        ({"pipeline.skip": ["train", "ollama"]}, "no_run"),
        ({"pipeline.skip": list(STAGES)}, "nothing"),
        ({"pipeline.skip": ["ollama"]}, ""),
        ({"pipeline.accept_visible_thinking": True}, ""),
    ],
)
def test_the_button_is_off_with_a_sentence(page, values, why):
    for path, value in values.items():
        page.bridge.draft.change(path, value)
    html = overnight_cards.head(Snapshot(), page)
    assert ("disabled" in html) == bool(why)
    assert escape(page.t(f"overnight.form.{why or 'note'}")) in html


def test_faults_of_the_settings_and_another_job_are_told_first(page, replayed, story):
    head = overnight_cards.head(replace(replayed(story(3)), state="running"), page)
    assert "disabled" in head and escape(page.t("overnight.form.busy", command=page.t("command.StartTraining"))) in head
    page.bridge.draft.edit("pipeline: {ollama_name: ''}\n")
    head = overnight_cards.head(Snapshot(), page)
    assert "disabled" in head and escape(page.t("overnight.form.faults", count=1)) in head and 'data-open-tab="config"' in head
    assert overnight_cards.plan(page) == {} and overnight_cards.values(page)["ollama_name"] == ""


def test_before_the_first_chain_its_stages_are_explained(page):
    html = overnight_results.empty(page)
    assert states(html) == ["waiting"] * 6
    for name in STAGES:
        assert escape(page.t(f"overnight.about.{name}")) in html


def test_the_list_tells_how_each_chain_ended(night, page, bridge):
    night("my-model")
    night("tie")
    night("fail-export")
    html = overnight_cards.listed([of_stored(one) for one in bridge.engine.pipelines()], page)
    Tags(html)
    entries = html.split("<li>")[1:]
    failed, tied, best = sorted(entries, key=lambda one: ("my-model" in one, page.t("overnight.winner.none") in one))
    assert page.t("overnight.outcome.failed") in failed and page.t("overnight.unfinished.about", done=3, total=6) in failed
    assert page.t("overnight.outcome.finished") in tied and page.t("overnight.winner.none") in tied
    assert page.t("overnight.winner.retrained") in best and "my-model" in best


def test_what_the_page_follows_is_the_draft_and_whether_a_chain_runs(night, page):
    from dashboard.tabs.overnight import told

    pictures = night()
    found = json.loads(told(pictures[3], page))
    assert found["active"] and found["values"]["stage-train"] is True and set(found["plan"]) == set(STAGES)
    assert json.loads(told(pictures[-1], page))["revision"] != found["revision"]
