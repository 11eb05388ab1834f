"""The written reports: every figure is that of the results, nothing unmeasured has one, and no character is a box."""

import errno
import os
import warnings
from io import BytesIO
from xml.etree import ElementTree

import pytest
import report_sample
from fontTools.ttLib import TTFont
from made import ROOT
from PIL import Image
from report_sample import part, words

from so8t_engine import EngineError, errors
from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate import page_pieces, pictures, sheet
from so8t_engine.evaluate.reports import write_reports

REPORTS = ("evaluation_report.html", "confusion_matrix.png", "metrics_comparison.png")
NOT_RUN = report_sample.benchmark(
    "jsquad", "japanese", outcome="not run", code="benchmarks.data_missing", where="data/benchmarks/jsquad", rows=0,
    facts={"split": "validation"},
)  # fmt: skip
TESTED = (
    report_sample.benchmark("sst2", "glue", metrics={"acc": [0.9124, 0.0127]}),
    report_sample.benchmark("mrpc", "glue", metrics={"acc": [0.703, 0.0226], "f1": [0.811, None]}),
    NOT_RUN,
)


@pytest.fixture(scope="module")
def cases() -> list[dict]:
    return report_sample.rows(240)


@pytest.fixture(scope="module")
def results(cases) -> dict:
    return report_sample.results(cases, tested=TESTED)


@pytest.fixture(scope="module")
def report(cases, results, tmp_path_factory) -> str:
    return written(results, cases, tmp_path_factory.mktemp("evaluation"))


def written(results: dict, cases: list[dict], folder) -> str:
    """The page, after a run in which any warning (a missing glyph is one) is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_reports(results, iter(cases), folder)
    assert sorted(file.name for file in folder.iterdir()) == sorted(REPORTS)
    return (folder / REPORTS[0]).read_text(encoding="utf-8")


def cells(element: ElementTree.Element) -> list[list[str]]:
    """The rows of the tables in it, headings of rows left out."""
    return [[words(cell) for cell in row.findall("td")] for row in element.iter("tr") if row.find("td") is not None]


def shown(found: dict | None, unit: str = " %") -> str:
    """How a value and its interval stand in the page, by rules of this test's own."""
    if found is None:
        return "—測定していませんnot measured"
    value, low, high = (
        (f"{100 * x:.1f}" if unit else f"{x:.3f}") for x in (found["value"], found["low"], found["high"])
    )
    return f"{value}\u00a0{unit.strip()}[{low}, {high}]" if unit else f"{value}[{low}, {high}]"


@pytest.mark.parametrize("mode", ["scored", "generated"])
def test_the_figures_are_those_of_the_results(report, results, mode):
    found = results["modes"][mode]
    summary = found["summary"]
    lead = part(report, "lead").find(f".//article[@data-mode='{mode}']")
    for rate in ("unsafe_allow", "over_refusal"):
        figure = lead.find(f".//div[@data-rate='{rate}']")
        assert words(figure.find("p")) == shown(summary[rate])
    counts = summary["confusion"]
    assert f"{counts[2][0] + counts[3][0]} / {sum(counts[2]) + sum(counts[3])}" in words(lead)
    assert f"{counts[0][2] + counts[0][3]} / {sum(counts[0])}" in words(lead)
    assert shown(summary["accuracy"]) in words(lead)
    assert shown(summary["macro_f1"], unit="") in words(lead)
    card = f".//article[@data-mode='{mode}']"
    for line, name in zip(cells(part(report, "classes").find(card)), CLASSES, strict=True):
        scores = summary["classes"][name]
        shares = [shown(scores["precision"]), shown(scores["recall"]), shown(scores["f1"], unit="")]
        assert line == [*shares, str(scores["support"])]
    given = 4 if mode == "scored" else 5
    matrix = [[f"{n}{100 * n / sum(row):.1f}\u00a0%" for n in row[:given]] for row in counts]
    assert cells(part(report, "confusion").find(card)) == matrix
    by_domain = sorted(found["by_domain"].values(), key=lambda group: -group["rows"])
    rates = ("unsafe_allow", "over_refusal", "accuracy")
    assert cells(part(report, "domains").find(card)) == [
        [*(shown(group[rate]) for rate in rates), str(group["rows"])] for group in by_domain
    ]
    calibration = part(report, "calibration").find(card)
    for score in ("ece", "brier"):
        assert f"{found['calibration'][score]:.3f}" in words(calibration.find("dl"))
    assert cells(calibration) == [
        [str(one["count"]), f"{100 * one['confidence']:.1f}\u00a0%", f"{100 * one['accuracy']:.1f}\u00a0%"]
        for one in found["calibration"]["bins"]
        if one["count"]
    ]


def test_the_rates_stand_before_everything_else_that_was_measured(report):
    order = ["facts", "lead", "classes", "confusion", "calibration", "languages", "domains", "format", "latency"]
    places = [report.index(f'<section id="{name}">') for name in [*order, "benchmarks", "cases"]]
    assert places == sorted(places)
    first = part(report, "lead").find(".//article")
    assert [figure.get("data-rate") for figure in first.iter("div") if figure.get("class") == "figure"] == [
        "unsafe_allow", "over_refusal", None, None,
    ]  # fmt: skip


def test_what_was_not_measured_has_no_number(cases, tmp_path):
    """One mode, no benchmarks, and rows that expect ESCALATION alone: neither of the two rates exists."""
    some = [case for case in cases if case["expected"] == "ESCALATION"]
    page = written(report_sample.results(some, modes=("scored",)), some, tmp_path)
    assert 'data-mode="generated"' not in page and 'id="benchmarks"' not in page and 'id="format"' not in page
    assert "unparseable" not in words(part(page, "confusion"))
    for figure in part(page, "lead").iter("div"):
        if figure.get("data-rate"):
            assert "not measured" in words(figure) and "no row expects" in words(figure) and "%" not in words(figure)
    warned = words(part(page, "lead").find(".//p[@class='warning']"))
    assert "No row expects ALLOW, DENY, REFUSE: macro F1 is misleading here." in warned


def test_without_modes_only_the_benchmarks_are_told(tmp_path):
    page = written(report_sample.results([], modes=(), tested=TESTED), [], tmp_path)
    assert "has not measured the four-class decision" in words(part(page, "lead"))
    assert 'id="cases"' not in page and 'id="confusion"' not in page
    assert "91.2\u00a0%" in words(part(page, "benchmarks"))


def test_absent_measurements_of_a_mode_are_said_to_be_absent(cases, tmp_path):
    """An evaluation that was gone on with may have had no answer left to time, and answers may state no confidence."""
    results = report_sample.results(cases, modes=("scored", "generated"))
    results["modes"]["scored"]["rows_per_second"] = None
    results["modes"]["generated"] |= {"calibration": None, "stated": 0, "latency": {"alone": None, "batched": None}}
    page = written(results, cases, tmp_path)
    assert "not measured" in words(part(page, "latency").find(".//article[@data-mode='scored']"))
    written_ones = part(page, "calibration").find(".//article[@data-mode='generated']")
    assert "not measured" in words(written_ones) and "0 of 240 answers" in words(written_ones)
    assert written_ones.find("svg") is None


def test_benchmarks_show_their_standard_error_or_why_there_is_none(report):
    section = part(report, "benchmarks")
    assert cells(section)[0] == ["acc", "91.2\u00a0%± 1.3", "500 / 1,119", "0"]
    assert cells(section)[2][:2] == ["f1", "81.1\u00a0%標準誤差なしno standard error"]
    assert "lm-evaluation-harness 0.4.9" in words(section)
    (told,) = cells(section)[3]
    for language in errors.LANGUAGES:
        assert errors.sentence(NOT_RUN["code"], "what", language, NOT_RUN["facts"]) in told
    assert NOT_RUN["where"] in told and "%" not in told


def test_what_the_model_was_trained_on_is_told_or_said_to_be_unknown(cases, results, tmp_path):
    known = words(part(written(results, cases, tmp_path), "facts"))
    assert "3,800" in known and "Nothing is known" not in known
    unknown = results | {"data": results["data"] | {"checked_against": None}}
    told = words(part(written(unknown, cases, tmp_path), "facts"))
    assert "Nothing is known of what this model was trained on" in told
    assert "Seen in training" not in told, "no count of rows that nobody looked for"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0032, "3.2 ms"),
        (0.0321, "32 ms"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (125, "2 min 5 s"),
        (5000, "1 h 23 min"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds, told):
    assert page_pieces.duration(seconds, "en") == told


def test_the_most_harmful_cases_come_first_and_the_rest_is_counted(tmp_path):
    cases = [case for case in report_sample.rows(1600) if case["scored"]["given"] != case["expected"]]
    for case in cases:
        del case["generated"]
    page = written(report_sample.results(cases, modes=("scored",)), [*reversed(cases)], tmp_path)
    told = [words(header) for header in part(page, "cases").iter("header")]
    dangerous = [c for c in cases if c["scored"]["given"] == "ALLOW" and c["expected"] in ("DENY", "REFUSE")]
    refused = [c for c in cases if c["expected"] == "ALLOW" and c["scored"]["given"] in ("DENY", "REFUSE")]
    assert len(told) == 200 < len(cases) and len(dangerous) + len(refused) < 200
    for header, case in zip(told, dangerous + refused, strict=False):
        assert f"line {case['line']}" in header and case["expected"] in header
    assert f"{len(cases) - 200} more stand in" in words(part(page, "cases"))


def test_right_and_unmeasured_rows_are_no_wrong_cases(cases, tmp_path):
    right = [case for case in cases if case["scored"]["given"] == case["expected"] == case["generated"]["given"]]
    unmeasured = {name: value for name, value in right[0].items() if name not in ("scored", "generated")}
    page = written(report_sample.results(right), [*right, unmeasured], tmp_path)
    assert "Every decision that was measured is the expected one." in words(part(page, "cases"))


HOSTILE = "</pre></section><script>document.title='ran'</script><img src=x onerror=alert(1)>&amp; \ud800 \x00"


def test_text_from_outside_stays_text(cases, results, tmp_path):
    """Markup in a prompt, an answer and every name; half a character, which UTF-8 can't hold."""
    case = cases[0] | {"prompt": HOSTILE, "domain": HOSTILE, "id": HOSTILE}
    case |= {"scored": case["scored"] | {"given": "DENY"}, "generated": case["generated"] | {"final": HOSTILE}}
    results = report_sample.results([case])
    results["model"] |= dict.fromkeys(("name", "key", "base", "adapter", "device"), HOSTILE)
    results["data"] |= {"file": HOSTILE, "checked_against": HOSTILE, "languages": {HOSTILE: 1}}
    results["benchmarks"] = [NOT_RUN | {"where": HOSTILE, "task": HOSTILE}, TESTED[0] | {"task": HOSTILE}]
    page = written(results, [case], tmp_path)
    assert "<script" not in page and "<img" not in page
    assert page.count("&lt;script&gt;document.title=&#x27;ran&#x27;&lt;/script&gt;") > 12
    for picture in REPORTS[1:]:
        assert (tmp_path / picture).stat().st_size > 20_000


def test_every_word_of_the_reports_is_in_the_font_that_ships():
    known = TTFont(page_pieces.JAPANESE).getBestCmap()
    texts = [
        words for section in page_pieces.catalogue().values() for each in section.values() for words in each.values()
    ]
    fixed = "".join((*CLASSES, sheet.MISSING, "0123456789.,[]%±/·—…\u00a0"))
    assert len(texts) > 200
    assert {sign for sign in "".join(texts) + fixed if ord(sign) not in known} == set()


def test_pictures_are_whole_and_wide_enough_for_any_name(cases, results, tmp_path):
    """Names with a formula in them, characters that the font lacks, and more than fits: no warning, no error."""
    results = results | {"model": results["model"] | {"name": "モデル $\\frac{1}{2$ 😀 鬱 ไทย " * 40}}
    written(results, cases, tmp_path)
    for name, size in (("confusion_matrix.png", (1980, 982)), ("metrics_comparison.png", (1575, 1246))):
        with Image.open(BytesIO((tmp_path / name).read_bytes())) as picture:
            assert picture.format == "PNG" and picture.size == size
            margin = picture.convert("L").crop((picture.width - 20, 0, picture.width, picture.height))
            assert margin.getextrema() == (255, 255), "nothing runs over the edge"


def test_a_picture_asks_for_no_font_but_its_own(results, monkeypatch):
    """Whatever the machine has installed, and whatever its owner has set for matplotlib."""
    from matplotlib import rc_context, text

    draw, fonts = text.Text.draw, []

    def watched(self, *arguments, **more):
        if self.get_text():
            fonts.append(self.get_fontproperties().get_file())
        draw(self, *arguments, **more)

    monkeypatch.setattr(text.Text, "draw", watched)
    with rc_context({"text.usetex": True, "font.family": "no such font"}):
        assert pictures.confusion_picture(results) and pictures.metrics_picture(results)
    assert len(fonts) > 100 and set(fonts) == {str(page_pieces.JAPANESE)}


@pytest.mark.parametrize("refused", REPORTS)
def test_a_disk_that_refuses_leaves_the_older_file_whole(cases, results, tmp_path, monkeypatch, refused):
    for name in REPORTS:
        (tmp_path / name).write_bytes(b"older")
    replace = os.replace

    def full(source, target):
        if os.fspath(target).endswith(refused):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EngineError) as failed:
        write_reports(results, cases, tmp_path)
    assert failed.value.code == "evaluate.unwritten" and failed.value.where == str(tmp_path / refused)
    assert failed.value.facts == {"reason": "No space left on device"}
    assert (tmp_path / refused).read_bytes() == b"older"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(REPORTS)


def test_the_schema_names_every_field_of_the_results(results):
    text = (ROOT / "docs" / "evaluation_results.md").read_text(encoding="utf-8")
    chosen = {
        "by_language",
        "by_domain",
        "classes",
        "languages",
        "domains",
        "metrics",
        "counts",
        "excluded",
        "facts",
    }  # by name

    def fields(value, inside=""):
        if isinstance(value, dict) and inside not in chosen:
            yield from value
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield from fields(inner, key)
        for inner in value if isinstance(value, list) else ():
            yield from fields(inner)

    named = set(fields(results))
    assert len(named) > 60
    assert {name for name in named if f"`{name}`" not in text} == set()
