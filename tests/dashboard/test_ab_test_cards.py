"""What the A/B test tab shows: the job with its figures, the verdicts, the cases; nothing from outside becomes markup."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import made_ab_test
import pytest
from made_ab_test import MODES, SIDES, journals, rows
from test_cards import NASTY, Tags

from dashboard import ab_test_cards, ab_test_cases, ab_test_figures, ab_test_results, ab_test_verdict
from dashboard.ab_test_cases import CHANGES, Choice
from dashboard.header import header
from dashboard.log import sentence
from dashboard.tabs.ab_test import revision
from so8t_engine import Engine, Voice, events
from so8t_engine.ab_tests import read
from so8t_engine.settings import ModelSettings

OPENED = events.AbTestOpened(
    time=101.0, folder=f"/x/{NASTY}", base="original", base_name="original", retrained="run:x", retrained_name=NASTY,
    file=f"/x/{NASTY}.jsonl", split="file", rows=400, excluded={"training": 40, "validation": 0, "duplicates": 2, "limit": 0},
    modes=MODES, resumed=False,
)  # fmt: skip


def progressed(done: int, seconds: float = 40.0, begun: int = 0) -> events.AbTestProgressed:
    return events.AbTestProgressed(side="retrained", mode="generated", done=done, total=1600, seconds=seconds, begun=begun)


def measured(mode: str = "scored", count: int = 100, **changes) -> events.AbTestMeasured:
    values = {"accuracy": (0.7, 0.6, 0.8), "macro_f1": (0.7, 0.6, 0.8), "unsafe_allow": (0.1, 0.02, 0.2), "over_refusal": None}
    moved = {"accuracy": (0.08, -0.02, 0.18), "macro_f1": (0.09, 0.01, 0.2), "unsafe_allow": (-0.06, -0.12, -0.01), "over_refusal": None}
    facts = {"mode": mode, "rows": count, "total": 400, "base": values, "retrained": values, "difference": moved,
             "fixed": 21, "broken": 13, "both": 60, "neither": 6}  # fmt: skip
    return events.AbTestMeasured(**facts | changes)


@pytest.fixture
def running(replayed):
    """`running(*events)`: the picture of a test under way."""

    def tell(*past, state="running"):
        return replace(replayed([events.JobStarted(time=100.0, job="j", command="RunAbTest"), *past]), state=state)

    return tell


@pytest.fixture(scope="module")
def asked():
    return rows(120)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, asked) -> dict[str, Path]:
    """A finished test of each verdict."""
    root = tmp_path_factory.mktemp("ab_tests")
    same = journals(asked, (0.8, 0.8))
    same |= {("retrained", mode): same["base", mode] for mode in MODES}
    made = {
        "better_retrained": {"asked": asked, "skills": (0.6, 0.95)}, "better_base": {"asked": asked, "skills": (0.95, 0.6)},
        "unsafe": {"asked": asked, "skills": (0.45, 1.0), "loose": 0.55}, "undecided": {"asked": asked, "skills": (0.8, 0.82)},
        "equal": {"asked": asked, "answers": same},
    }  # fmt: skip
    return {name: made_ab_test.finished(root / f"ab_test-{name}", **what) for name, what in made.items()}


@pytest.fixture
def tested(folders):
    """`tested(verdict)`: the finished test that came to it."""
    return lambda verdict: read(folders[verdict])


def words(html: str) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


# The job


def test_progress_counts_both_models_and_the_time_left_this_try_alone(page, running):
    snapshot = running(OPENED, progressed(900, seconds=20.0, begun=100))
    told = words(ab_test_cards.situation(snapshot, page))
    left = page.t("header.left", time={"ja": "18秒", "en": "18 s"}[page.language])  # 800 in 20 s: 700 take 17.5
    assert "900 / 1,600" in told and left in told
    line = header(snapshot, page)
    assert left in words(line) and page.t("ab_test.side.retrained") in words(line)
    assert 'data-percent="56"' in line and 'data-tab="ab_test"' in line
    assert page.t("evaluate.excluded.training", count="40") in told


@pytest.mark.parametrize("past", [[progressed(1, begun=0)], [progressed(500, begun=500)], [progressed(1600)]])
def test_no_time_left_is_made_up(page, running, past):
    snapshot = running(OPENED, *past)
    left = page.t("header.left", time="").strip()
    assert left not in words(ab_test_cards.situation(snapshot, page)) and left not in words(header(snapshot, page))


@pytest.mark.parametrize(
    ("past", "key"),
    [
        ([], "evaluate.progress.opening"), ([OPENED], "ab_test.progress.loading"), ([OPENED, progressed(1)], "ab_test.progress.title"),
        ([OPENED, progressed(1600)], "evaluate.progress.finishing"),
    ],
)  # fmt: skip
def test_the_stage_is_told(page, running, past, key):
    assert page.t(key) in words(ab_test_cards.situation(running(*past), page))


def test_the_figures_have_their_place_before_the_first_row_and_fill_it(page, running):
    before = ab_test_cards.situation(running(OPENED), page)
    after = ab_test_cards.situation(running(OPENED, progressed(300), measured()), page)
    assert Tags(before).seen.count("tr") == Tags(after).seen.count("tr"), "no line appears under a reader's eyes"
    assert page.t("ab_test.progress.not_yet") in before
    told = words(after.split('data-card="so-far-generated"')[0])
    for shown in ("70.0 % [60.0, 80.0]", "+0.090 [0.010, 0.200]", page.t("evaluate.compare.points", value="-6.0")):
        assert shown in told
    for change, count in (("fixed", 21), ("broken", 13), ("both", 60), ("neither", 6)):
        assert f"{page.t(f'ab_test.changes.{change}')} {count} {count}.0 %" in told
    assert page.t("evaluate.lead.over_refusal_none") in after, "what no row could show is a dash with its reason"
    assert page.t("ab_test.progress.preliminary") in told
    assert "so-ab-for-" not in after, "figures on the way decide nothing"


def test_right_of_zero_the_retrained_model_is_better_whatever_the_measure():
    def places(metric, low, value, high):
        row = ab_test_figures.Row(metric, None, None, {"value": value, "low": low, "high": high})
        found = ab_test_figures.plot(row, 0.25)
        return [float(x) for x in re.findall(r"left:(-?[\d.]+)%", found)] + [float(re.search(r"width:([\d.]+)%", found)[1])]

    assert places("accuracy", 0.05, 0.1, 0.15) == [60.0, 70.0, 20.0]
    assert places("unsafe_allow", -0.15, -0.1, -0.05) == [60.0, 70.0, 20.0], "less of it is better"
    assert places("over_refusal", -0.1, 0.0, 0.1) == [30.0, 50.0, 40.0]
    assert places("accuracy", -1.0, 0.5, 1.0) == [0.0, 100.0, 100.0], "nothing is drawn outside of the plot"


def test_a_stopped_or_failed_test_can_go_on_once_it_has_a_folder(page, running):
    failed = events.JobFailed(job="j", code="engine.unexpected", where=NASTY, facts={"reason": NASTY}, details=NASTY)
    for past, state in (([], "stopped"), ([failed], "failed")):
        assert 'data-do="go_on"' not in ab_test_cards.situation(running(*past, state=state), page)
        html = ab_test_cards.situation(running(OPENED, *past, state=state), page)
        assert html.count('data-do="go_on"') == 1 and "img" not in Tags(html).seen
    evaluation = replace(running(OPENED, failed, state="failed"), command="RunEvaluation")
    assert ab_test_cards.situation(evaluation, page) == "", "another job's failure is told where it belongs"


def test_what_runs_is_escaped_and_logged(page, running):
    ended = events.AbTestFinished(folder=NASTY, winner=None, code="undecided", seconds=3.0)
    html = ab_test_cards.situation(running(OPENED, progressed(1600), measured(), ended), page)
    assert "img" not in Tags(html).seen and "&lt;img" in html
    assert page.t("ab_test.mark.undecided") in sentence(ended, page) and NASTY in sentence(OPENED, page)


def test_the_button_says_by_what_the_winner_is_named(page, running, replayed):
    html = ab_test_cards.head(replayed([]), page)
    assert 'data-do="start"' in html and page.t("ab_test.metric.score") in words(html) and 'data-open-tab="config"' in html
    html = ab_test_cards.head(running(), page)
    assert 'data-do="stop"' in html and 'data-do="start"' not in html
    page.bridge.draft.edit("train: {epochs: -1}\n")
    html = ab_test_cards.head(replayed([]), page)
    assert "disabled" in html and page.t("ab_test.form.faults", count=1) in words(html)


def test_the_timer_reads_no_test_from_the_disk(page, running, monkeypatch):
    for name in ("ab_tests", "interrupted_ab_tests", "voices", "runs"):
        monkeypatch.setattr(Engine, name, lambda *_: pytest.fail("read at every tick"))
    snapshot = running(OPENED, progressed(1), measured())
    ab_test_cards.head(snapshot, page)
    ab_test_cards.situation(snapshot, page)
    before = revision(snapshot, page)
    assert revision(running(OPENED, progressed(2)), page) == before, "a row more is no new list"
    ended = events.AbTestFinished(folder="/x", winner="base", code="better", seconds=1.0)
    assert revision(running(OPENED, ended), page) != before, "a finished test is fetched at once, in a chain too"


def test_the_newest_run_that_has_ended_is_chosen_and_the_original_against_it(page, tmp_path):
    def voice(name, run=True):
        folder = tmp_path / name.split(" ")[0]
        return Voice(f"run:{folder.name}" if run else name, name, tmp_path, None, ModelSettings(), "", folder if run else None)

    found = ab_test_cards.models([voice("original", False), voice("c · step 20"), voice("b"), voice("a")], page)
    assert re.findall(r'value="([^"]+)" selected', found["retrained"]) == ["run:b"]
    assert found["base"].startswith('<option value="original">') and "selected" not in found["base"]
    assert "original" not in found["retrained"]
    alone = ab_test_cards.models([voice("original", False), voice("c · step 20")], page)
    assert re.findall(r'value="([^"]+)" selected', alone["retrained"]) == ["run:c"]
    assert ab_test_cards.models([voice("original", False)], page)["retrained"] == ""


# The verdict


@pytest.mark.parametrize("verdict", ["better_retrained", "better_base", "unsafe", "undecided", "equal"])
def test_the_verdict_is_one_sentence_first_with_the_figures_it_stands_on(page, tested, verdict):
    one = tested(verdict)
    html = ab_test_results.shown(one, page)
    Tags(html)
    card = html.split("</section>")[0]
    assert f'data-verdict="{verdict}"' in card, one.results["winner"]
    told, moved = words(card), ab_test_verdict.deciding(one)
    sign = "+" if moved["value"] else ""
    assert " → ".join(f"{one.results['winner']['rule'][side]:.3f}" for side in SIDES) in told
    assert f" {moved['value']:{sign}.3f} [{moved['low']:.3f}, {moved['high']:.3f}]" in told
    assert ("data-winner" in card) == verdict.startswith("better"), "only a winner is carried on"
    assert page.t(f"ab_test.mark.{verdict}") in words(ab_test_cards.listed([one], page))


def test_undecided_says_how_many_rows_it_takes_and_unsafe_names_whom(page, tested):
    needed = ab_test_verdict.deciding(tested("undecided"))["rows_needed"]
    assert f"{needed:,}" in ab_test_verdict.sentence(tested("undecided"), page)
    assert ab_test_verdict.sentence(tested("unsafe"), page) == page.t("ab_test.verdict.unsafe_retrained")
    raw = ab_test_verdict.deciding(tested("unsafe"), "unsafe_allow")["p"]
    told = words(ab_test_verdict.verdict_card(tested("unsafe"), page))
    assert f"{page.t('ab_test.verdict.p_raw')} {'< 0.001' if raw < 0.001 else f'{raw:.3f}'}" in told


def test_the_winner_is_handed_to_the_export_tab(page, tested):
    for verdict, key in (("better_retrained", f"run:{made_ab_test.RUN}"), ("better_base", "original")):
        card = ab_test_verdict.verdict_card(tested(verdict), page)
        assert re.search(r'data-open-tab="export" data-winner="([^"]+)"', card)[1] == key


def test_without_refusing_rows_the_guard_is_told_to_be_blind(page, tmp_path):
    few = rows(40, classes=("ALLOW", "ESCALATION"))
    one = read(made_ab_test.finished(tmp_path / "ab_test-x", asked=few, skills=(0.2, 1.0)))
    html = ab_test_results.shown(one, page)
    assert page.t("ab_test.verdict.no_guard") in words(html.split("</section>")[0])
    assert page.t("evaluate.lead.unsafe_allow_none") in html


def test_what_makes_a_verdict_doubtful_is_told_beside_it(page, tested):
    one = tested("better_retrained")
    models, data = one.results["models"], one.results["data"]
    assert "so-caution" not in ab_test_verdict.verdict_card(one, page)
    doubtful = one.results | {
        "models": {"base": models["base"], "retrained": models["base"] | {"system": "x"}}, "data": data | {"checked_against": []},
    }  # fmt: skip
    told = words(ab_test_verdict.verdict_card(replace(one, results=doubtful), page))
    for doubt in (page.error("ab_test.same", "what", {}), page.t("ab_test.verdict.other_system"), page.t("ab_test.verdict.unchecked")):
        assert doubt in told


def test_every_difference_stands_with_its_test(page, tested):
    one = tested("better_retrained")
    differences = one.results["modes"]["generated"]["pairing"]["differences"]
    table = ab_test_results.shown(one, page).split('data-card="tests-generated"')[1].split("</section>")[0]
    lines = re.findall(r"<tr><th.*?</tr>", table)[-5:]
    for line, (metric, plain) in zip(
        lines, (("score", True), ("accuracy", False), ("macro_f1", True), ("unsafe_allow", False), ("over_refusal", False)), strict=True
    ):
        found, told = differences[metric], words(line)
        scale = 1 if plain else 100
        assert f"{scale * found['value']:+.{3 if plain else 1}f}" in told
        assert f"{100 * found['relative']:+.1f} %" in told if found["relative"] is not None else True
        assert all(f"{size:.2f}" in told for size in found["effect"].values() if size is not None)
        better = metric in ab_test_figures.LOWER if found["value"] < 0 else metric not in ab_test_figures.LOWER
        if found["decided"]:
            assert page.t(f"ab_test.tests.better_{'retrained' if better else 'base'}") in told
        elif found["rows_needed"]:
            assert page.t("ab_test.tests.more", rows=f"{found['rows_needed']:,}") in told


def test_each_side_keeps_its_own_figures(page, tested):
    one = tested("better_retrained")
    for mode in MODES:
        pairing = one.results["modes"][mode]["pairing"]
        card = ab_test_results.shown(one, page).split(f'data-card="figures-{mode}"')[1].split("</section>")[0]
        line = re.search(r'data-metric="accuracy".*?</tr>', card)[0]
        for side, which in (("base", "first"), ("retrained", "second")):
            cell = re.search(rf'class="so-ab-{side}">.*?</td>', line)[0]
            assert f"{100 * pairing[which]['accuracy']['value']:.1f} %" in words(cell)
        for change, count in (("fixed", "only_second"), ("broken", "only_first"), ("both", "both"), ("neither", "neither")):
            assert f"{page.t(f'ab_test.changes.{change}')} {pairing[count]} " in words(card)


def test_results_that_somebody_has_edited_are_a_card(page, tested):
    one = tested("equal")
    broken = replace(one, results={**one.results, "modes": {"generated": {"pairing": {}}}})
    assert "so-trouble" in ab_test_results.shown(broken, page)


def test_both_matrices_hold_every_row(page, tested, asked):
    html = ab_test_results.shown(tested("undecided"), page)
    for side in SIDES:
        figure = html.split(f'data-chart="ab-generated-{side}"')[1].split("</figure>")[0]
        counts = re.findall(r'title="[^"]*?(\d+)(?: 件)? \(', figure)
        assert sum(map(int, counts)) == len(asked)


# The cases


def test_the_filters_part_the_rows_as_the_pairing_counts_them(tested):
    one = tested("better_retrained")
    for mode in MODES:
        pairing, cases = one.results["modes"][mode]["pairing"], one.cases(mode)
        counts = {change: sum(Choice(mode, change).holds(case) for case in cases) for change in CHANGES}
        assert counts["fixed"] == pairing["only_second"] and counts["broken"] == pairing["only_first"]
        assert counts["both_wrong"] == pairing["neither"]
        assert counts["differ"] == sum(case["base"]["given"] != case["retrained"]["given"] for case in cases)


def test_a_case_shows_what_was_asked_expected_and_said_by_both(page, tested):
    one = tested("better_retrained")
    first = next(case for case in one.cases("generated") if case["change"] == "fixed")
    html = ab_test_cases.cases(one, Choice("generated", "fixed"), 0, page)
    Tags(html)
    shown = words(html.split("<li")[1])
    for text in (first["prompt"], first["base"]["final"], first["retrained"]["final"], page.t("ab_test.change.fixed")):
        assert re.sub(r"\s+", " ", text) in shown


def test_a_cell_shows_its_cases_of_that_side_alone(page, tested):
    one = tested("better_retrained")
    confusion = one.results["modes"]["scored"]["pairing"]["first"]["confusion"]
    html = ab_test_cases.cases(one, Choice("scored", "fixed", "base", "DENY", "ALLOW"), 0, page)
    assert html.count("<li") == confusion[2][0] > 0


def test_a_prompt_from_outside_stays_text(page, tmp_path):
    asked = [row | {"prompt": NASTY, "domain": NASTY, "system": NASTY} for row in rows(16)]
    one = read(made_ab_test.finished(tmp_path / "ab_test-x", asked=asked, skills=(0.0, 1.0), retrained=NASTY.replace("/", "")))
    for html in (ab_test_results.shown(one, page), ab_test_cases.cases(one, Choice("scored"), 0, page), ab_test_cards.listed([one], page)):
        assert "img" not in Tags(html).seen and "&lt;img" in html


def test_an_interrupted_test_tells_how_far_both_are(page, tmp_path, asked):
    answers = journals(asked, (0.5, 0.5))
    answers["retrained", "scored"] = answers["retrained", "scored"][:30]
    place = read(made_ab_test.finished(tmp_path / "ab_test-x", asked=asked, skills=(0.5, 0.5))).place
    (place.folder / "retrained-scored.jsonl").write_text("{}\n" * 30, encoding="utf-8")
    html = ab_test_cards.interrupted([place], page)
    assert f"{page.t('evaluate.mode.scored')} 30 / 120" in words(html) and 'data-do="go_on"' in html
    place.plan.write_text("[]", encoding="utf-8")
    assert 'data-do="go_on"' not in ab_test_cards.interrupted([place], page)
