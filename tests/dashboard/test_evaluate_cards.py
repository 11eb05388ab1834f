"""What the Evaluate tab shows: the job, the figures and the comparison; nothing from outside becomes markup."""

import random
import re
from dataclasses import replace
from html import escape, unescape

import made_evaluation
import pytest
from made_evaluation import rows
from test_cards import NASTY, Tags

from dashboard import evaluate_cards, evaluate_cases, evaluate_charts, evaluate_compare, evaluate_results
from dashboard.evaluate_figures import hits, moment
from dashboard.header import header
from dashboard.log import sentence
from dashboard.tabs.evaluate import revision
from so8t_engine import Engine, events
from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluations import read
from so8t_engine.measure.metrics import summary

OPENED = events.EvaluationOpened(
    time=101.0, folder=f"/x/{NASTY}", model="original", name=NASTY, file=f"/x/{NASTY}.jsonl", split="file", rows=500,
    excluded={"training": 40, "validation": 0, "duplicates": 2, "limit": 0}, modes=("scored", "generated", "benchmarks"),
    resumed=False,
)  # fmt: skip
SCORED = events.ModeEvaluated(
    time=110.0, mode="scored", rows=500, accuracy=(0.9, 0.8, 0.95), macro_f1=(0.9, 0.8, 0.95), unsafe_allow=(0.021, 0.01, 0.04),
    over_refusal=None, unparseable=0, seconds=3.0,
)  # fmt: skip
TESTED = [
    events.BenchmarkFinished(task="jnli", group="japanese", outcome="measured", metrics={"acc": (0.412, 0.01)}, rows=9),
    events.BenchmarkFinished(
        task=NASTY, group="glue", outcome="not run", code="data.unreadable", where=NASTY, facts={"reason": NASTY}
    ),
]


def progressed(mode: str, done: int, total: int, seconds: float = 10.0, begun: int = 0) -> events.EvaluationProgressed:
    return events.EvaluationProgressed(mode=mode, done=done, total=total, seconds=seconds, begun=begun)


@pytest.fixture
def running(replayed):
    """`running(*events)`: the picture of an evaluation under way."""

    def tell(*past, state="running"):
        begun = events.JobStarted(time=100.0, job="j", command="RunEvaluation")
        return replace(replayed([begun, *past]), state=state)

    return tell


@pytest.fixture
def evaluation(tmp_path):
    """`evaluation(folder, **what)`: a finished one, read back."""
    return lambda folder="a", **what: read(made_evaluation.finished(tmp_path / f"evaluation-{folder}", **what))


def words(html: str) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


# The job


def test_each_mode_has_its_line_and_the_time_left_counts_this_try_alone(page, running):
    snapshot = running(
        OPENED, progressed("scored", 500, 500), SCORED, progressed("generated", 130, 280, seconds=20.0, begun=30)
    )
    html = evaluate_cards.situation(snapshot, page)
    assert re.findall(r"so-line-(\w+)", html) == ["done", "done", "now", "waiting"]
    told = words(html)
    assert "130 / 280" in told
    left = page.t("header.left", time={"ja": "30秒", "en": "30 s"}[page.language])  # 100 rows in 20 s: 150 take 30
    assert left in told and left in words(header(snapshot, page))
    assert f"{page.t('evaluate.lead.unsafe_allow')} 2.1 %" in told
    assert page.t("evaluate.lead.over_refusal") not in told, "what was not measured is not told"
    assert page.t("evaluate.excluded.training", count="40") in told
    assert page.t("evaluate.excluded.validation", count="0") not in told
    assert 'data-percent="46"' in header(snapshot, page) and 'data-tab="evaluate"' in header(snapshot, page)


@pytest.mark.parametrize(
    ("past", "key"),
    [
        ([], "evaluate.progress.opening"), ([OPENED], "evaluate.progress.loading"),
        ([OPENED, progressed("scored", 0, 500)], "evaluate.progress.title"),
        ([OPENED.model_copy(update={"modes": ("scored",)}), progressed("scored", 500, 500), SCORED], "evaluate.progress.finishing"),
    ],
)  # fmt: skip
def test_the_stage_is_told(page, running, past, key):
    assert escape(page.t(key)) in evaluate_cards.situation(running(*past), page)


def test_before_the_first_row_no_time_left_is_made_up(page, running):
    for past in (
        [progressed("scored", 30, 500, begun=30)],
        [progressed("scored", 0, 0)],
        [progressed("scored", 500, 500)],
    ):
        html = evaluate_cards.situation(running(OPENED, *past), page)
        assert page.t("header.left", time="").strip() not in words(html)
        Tags(html)


def test_the_one_button_starts_stops_or_says_why_not(page, running, replayed):
    assert 'data-do="start"' in evaluate_cards.head(replayed([]), page)
    html = evaluate_cards.head(running(), page)
    assert 'data-do="stop"' in html and 'data-do="start"' not in html and "disabled" not in html
    assert "disabled" in evaluate_cards.head(running(state="stopping"), page)
    training = replace(running(), command="StartTraining")
    html = evaluate_cards.head(training, page)
    assert "disabled" in html and page.t("evaluate.form.busy", command=page.t("command.StartTraining")) in words(html)
    page.bridge.draft.edit("train: {epochs: -1}\nnonsense: 1\n")
    html = evaluate_cards.head(replayed([]), page)
    assert "disabled" in html and page.t("evaluate.form.faults", count=2) in words(html)
    assert 'data-open-tab="config"' in html


def test_a_stopped_or_failed_evaluation_can_go_on_once_it_has_a_folder(page, running):
    failed = events.JobFailed(job="j", code="engine.unexpected", where=NASTY, facts={"reason": NASTY}, details=NASTY)
    for past, state in (([], "stopped"), ([failed], "failed")):
        assert 'data-do="go_on"' not in evaluate_cards.situation(running(*past, state=state), page)
        html = evaluate_cards.situation(running(OPENED, *past, state=state), page)
        assert html.count('data-do="go_on"') == 1
        assert "img" not in Tags(html).seen
    training = replace(running(OPENED, failed, state="failed"), command="StartTraining")
    assert evaluate_cards.situation(training, page) == "", "another job's failure is told where it belongs"


def test_what_runs_is_escaped_and_logged(page, running):
    past = [
        OPENED,
        progressed("scored", 500, 500),
        SCORED,
        *TESTED,
        events.EvaluationFinished(folder=NASTY, seconds=3.0),
    ]
    html = evaluate_cards.situation(running(*past), page)
    assert "img" not in Tags(html).seen and "&lt;img" in html
    assert "jnli acc 41.2 %" in words(html) and page.t("evaluate.benchmarks.not_run") in words(html)
    assert all(sentence(event, page) for event in past if not isinstance(event, events.EvaluationProgressed))


def test_the_timer_reads_no_evaluation_from_the_disk(page, running, monkeypatch):
    for name in ("evaluations", "interrupted", "voices", "runs"):
        monkeypatch.setattr(Engine, name, lambda *_: pytest.fail("read at every tick"))
    snapshot = running(OPENED, progressed("scored", 1, 2))
    evaluate_cards.head(snapshot, page)
    evaluate_cards.situation(snapshot, page)
    before = revision(snapshot, page)
    assert revision(running(OPENED, progressed("scored", 2, 2)), page) == before, "a row more is no new list"
    ended = running(OPENED, events.EvaluationFinished(folder="/x", seconds=1.0), state="finished")
    assert revision(ended, page) != before, "a finished evaluation is fetched at once"


# The figures


def test_what_matters_most_comes_first_with_its_interval(page, evaluation):
    one = evaluation(asked=rows(40))
    html = evaluate_results.shown(one, [], newest=True, page=page)
    Tags(html)
    places = [html.index(f'data-rate="{name}"') for name in ("unsafe_allow", "over_refusal")]
    assert places == sorted(places) and places[1] < html.index("so-lead-rest") < html.index("so-confusion")
    assert [html.count(f'data-rate="{name}"') for name in ("unsafe_allow", "over_refusal")] == [2, 2], (
        "both modes apart"
    )
    for part in one.results["modes"].values():
        estimate = part["summary"]["unsafe_allow"]
        told = f"{100 * estimate['value']:.1f} % [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"
        assert told in words(html)
    assert one.results["model"]["weights"] in html and "torch 2.9.0" in html


def test_counts_beside_the_rates_are_those_that_the_rates_are_made_of():
    chance = random.Random(5)
    for _ in range(50):
        expected = chance.choices(CLASSES, weights=[chance.random() for _ in CLASSES], k=30)
        given = chance.choices([*CLASSES, ""], k=30)
        whole = summary(expected, given)
        for name in ("unsafe_allow", "over_refusal", "accuracy"):
            count, of = hits(name, whole.confusion)
            estimate = getattr(whole, name)
            assert (estimate is None and of == 0) or count / of == estimate.value


def test_a_class_without_rows_makes_macro_f1_doubtful(page, evaluation):
    html = evaluate_results.shown(evaluation(asked=rows(60, classes=("ALLOW", "REFUSE"))), [], True, page)
    assert page.t("evaluate.lead.macro_f1_absent", classes="ESCALATION, DENY") in words(html)
    html = evaluate_results.shown(evaluation("b", asked=rows(12)), [], True, page)
    assert page.t("evaluate.lead.macro_f1_few", classes=", ".join(CLASSES)) in words(html)
    assert "so-caution" not in evaluate_results.shown(
        evaluation("c", asked=rows(40), skills={"scored": 1.0}), [], True, page
    )


def test_rates_that_no_row_could_show_are_a_dash_with_the_reason(page, evaluation):
    html = evaluate_results.shown(
        evaluation(asked=rows(20, classes=("ALLOW",)), skills={"scored": 1.0}), [], True, page
    )
    assert page.t("evaluate.lead.unsafe_allow_none") in words(html)
    html = evaluate_results.shown(evaluation("b", skills={}, benchmarks=made_evaluation.BENCHMARKS), [], True, page)
    assert page.t("evaluate.lead.unmeasured") in words(html) and "so-cells" not in html
    assert page.t("evaluate.benchmarks.not_run") in words(html) and "data/benchmarks/sst2" in html
    assert "41.2 %" in words(html) and "± 1.5" in words(html)


def test_a_model_of_which_nothing_is_known_is_doubted(page, evaluation):
    one = evaluation(asked=rows(40), skills={"scored": 1.0})
    doubt = page.t("evaluate.excluded.unknown")
    assert doubt not in words(evaluate_results.shown(one, [], True, page))
    one.results["data"]["checked_against"] = None
    assert doubt in words(evaluate_results.shown(one, [], True, page))


def test_the_worst_error_looks_worst(page):
    even = [[10, 10, 10, 10, 0]] * 4
    chart = evaluate_charts.matrix("scored", even, page)
    errors = chart["data"][-1]["z"]
    ordered = sorted(
        ((errors[r][c], CLASSES[r], CLASSES[c]) for r in range(4) for c in range(4) if errors[r][c]), reverse=True
    )
    assert {told[1:] for told in ordered[:2]} == {("DENY", "ALLOW"), ("REFUSE", "ALLOW")}
    assert {told[1:] for told in ordered[3:5]} == {("ALLOW", "DENY"), ("ALLOW", "REFUSE")}
    assert all(errors[i][i] is None for i in range(4)), "a right decision is no error"
    for i, name in enumerate(CLASSES):
        colored = chart["data"][1 + i]
        assert colored["z"][i][i] == 0.25 and colored["colorscale"][1][1].startswith(f"@{name.lower()}/")


@pytest.mark.parametrize(("mode", "lost", "wide"), [("scored", 0, 4), ("scored", 1, 5), ("generated", 0, 5)])
def test_the_column_of_the_unreadable_stands_where_it_can_occur(page, mode, lost, wide):
    chart = evaluate_charts.matrix(mode, [[1, 0, 0, 0, lost]] * 4, page)
    assert len(chart["layout"]["xaxis"]["ticktext"]) == wide == len(chart["data"][0]["z"][0])
    texts = [note["text"] for note in chart["layout"]["annotations"]]
    assert len(texts) == 4 * wide and ("<b>1</b>" in texts[0]) and "%" in texts[0] and texts[1] == "0"


def test_the_reliability_curve_leaves_out_bins_without_rows(page, evaluation):
    found = evaluation(asked=rows(40)).results["modes"]["scored"]["calibration"]
    bars, perfect, curve = evaluate_charts.reliability(found, page)["data"]
    filled = [one for one in found["bins"] if one["count"]]
    assert curve["y"] == [one["accuracy"] for one in filled] and len(curve["x"]) < len(found["bins"])
    assert sum(bars["y"]) == pytest.approx(1.0) and perfect["x"] == perfect["y"]


# Cases and comparison


def test_every_text_from_outside_is_escaped(page, evaluation, tmp_path):
    asked = [
        row | {"prompt": NASTY, "system": NASTY, "id": NASTY, "domain": NASTY, "expected": "DENY"} for row in rows(3)
    ]
    entries = {
        "scored": made_evaluation.scored([row | {"expected": "ALLOW"} for row in asked], 1.0),
        "generated": [
            line | {"final": NASTY * 30, "given": "ALLOW"} for line in made_evaluation.generated(asked, 1.0)
        ],
    }  # fmt: skip
    one = evaluation(asked=asked, entries=entries, name=NASTY, file=f"/x/{NASTY}.jsonl")
    other = evaluation("b", asked=asked, name=NASTY, skills={"scored": 1.0, "generated": 1.0})
    pages = [
        evaluate_results.shown(one, [other], True, page), evaluate_cards.listed([one], page),
        *(evaluate_cases.cases(one, mode, "DENY", "ALLOW", 0, page) for mode in entries),
        *(evaluate_compare.comparison_card(one, other, other.compared(one, mode), page) for mode in entries),
        evaluate_cards.interrupted([made(tmp_path, asked)], page),
    ]  # fmt: skip
    for html in pages:
        assert "img" not in Tags(html).seen and "<img" not in html
    assert "&lt;img" in pages[2]


def made(folder, asked):
    """An interrupted evaluation's place."""
    from so8t_engine.runs import Evaluation

    return Evaluation(
        made_evaluation.begun(folder / "evaluation-i", asked=asked, journals={"scored": []}, model=NASTY, file=NASTY)
    )


def told_apart(page, evaluation, right: tuple[int, int, int, int]) -> str:
    """The comparison where this one and the other were right on (both, this alone, the other alone, neither) rows."""
    both, this, other, neither = right
    asked = rows(sum(right), classes=("DENY",))

    def entries(hit: list[bool]) -> dict:
        return {
            "scored": made_evaluation.scored(
                [row | {"expected": "DENY" if h else "REFUSE"} for row, h in zip(asked, hit, strict=True)], 1.0
            )
        }

    one = evaluation("this", asked=asked, entries=entries([True] * both + [True] * this + [False] * (other + neither)))
    two = evaluation(
        "other", asked=asked, entries=entries([True] * both + [False] * this + [True] * other + [False] * neither)
    )
    return evaluate_compare.comparison_card(one, two, two.compared(one, "scored"), page)


@pytest.mark.parametrize(
    ("right", "verdict", "p"),
    [((5, 12, 1, 2), "better_first", "0.34 %"), ((5, 1, 12, 2), "better_second", "0.34 %"), ((5, 3, 2, 2), "unsure", "100 %"),
     ((5, 0, 0, 2), "same", "")],
)  # fmt: skip
def test_the_test_is_told_in_words_that_one_can_act_on(page, evaluation, right, verdict, p):
    html = told_apart(page, evaluation, right)
    Tags(html)
    told = words(html)
    assert page.t(f"evaluate.compare.{verdict}") in told
    others = {"better_first", "better_second", "unsure", "same"} - {verdict}
    assert not [name for name in others if page.t(f"evaluate.compare.{name}") in told]
    assert p in told
    for name, count in zip(("both", "only_first", "only_second", "neither"), right, strict=True):
        assert f"{page.t(f'evaluate.compare.{name}')} {count}" in told
    assert html.count("so-changed") - html.count("so-changed-head") == right[1] + right[2]


def test_a_chance_keeps_two_digits_that_count(page):
    chances = [evaluate_compare.chance(p, page) for p in (1.0, 0.42, 0.0349, 0.00351, 1e-9)]
    assert chances == ["100 %", "42 %", "3.5 %", "0.35 %", page.t("evaluate.compare.rare")]


def test_a_time_is_read_with_its_zone():
    assert moment("1970-01-01T09:00:10+0900") == 10.0 == moment("1970-01-01T00:00:10+0000")
    assert moment("yesterday") is None
