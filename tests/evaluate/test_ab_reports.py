"""The written reports of an A/B test: the verdict in words, every figure that of the results, no character a box."""

import errno
import os
import warnings
from io import BytesIO

import ab_sample
import pytest
from fontTools.ttLib import TTFont
from made import ROOT
from PIL import Image
from report_sample import part, words

from so8t_engine import EngineError, ab_tests, errors
from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate import ab_page, ab_pictures, page_pieces
from so8t_engine.evaluate.reports import write_ab_reports
from so8t_engine.evaluations import harm

REPORTS = ("ab_test_report.html", "comparison_chart.png", "confusion_matrix_comparison.png")
SIDES = ("base", "retrained")


@pytest.fixture(scope="module")
def sample():
    return ab_sample.made(240, {"base": 0.5, "retrained": 0.8})


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    """The three files, after a run in which any warning (a missing glyph is one) is an error."""
    out = tmp_path_factory.mktemp("ab_test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_ab_reports(*sample, out)
    assert sorted(file.name for file in out.iterdir()) == sorted(REPORTS)
    return out


@pytest.fixture(scope="module")
def report(folder):
    return (folder / REPORTS[0]).read_text(encoding="utf-8")


@pytest.fixture
def bare(monkeypatch):
    """The page without its fonts, which take longest: for what it says."""
    monkeypatch.setattr(ab_page, "document", lambda title, body, foot: title + body + foot)


def points(found, plain):
    """How a difference stands in the page, by rules of this test's own."""
    scale, digits = (1, 3) if plain else (100, 1)
    value, low, high = (f"{scale * found[end]:+.{digits}f}" for end in ("value", "low", "high"))
    return f"{value}[{low}, {high}]" if plain else f"{value} ポイント{value} points[{low}, {high}]"


@pytest.mark.parametrize("mode", ["scored", "generated"])
def test_the_differences_are_those_of_the_results(report, sample, mode):
    found = sample[0]["modes"][mode]
    differences = found["pairing"]["differences"] | (
        {"format": found["format"]["difference"]} if mode == "generated" else {}
    )
    card = part(report, "difference").find(f".//article[@data-mode='{mode}']")
    lines = {row.get("data-metric"): row for row in card.iter("tr") if row.get("data-metric")}
    assert set(lines) == set(differences)
    for metric, line in lines.items():
        one, plain = differences[metric], metric in ("score", "macro_f1")
        assert words(line.find("td[@class='difference']")).endswith(points(one, plain))
        p = "< 0.001" if one["p_adjusted"] < 0.001 else f"{one['p_adjusted']:.3f}"
        assert p in words(line.find("td[@class='p']"))
        told = words(line.find("td[@class='decided']"))
        assert ("not decided" in told) == (not one["decided"] and one["value"] != 0)
        if one["decided"]:
            better = "retrained" if (one["value"] > 0) == (metric not in ("unsafe_allow", "over_refusal")) else "base"
            assert f"{better} better" in told
        else:
            assert ab_tests.about(one["rows_needed"]) in told
    accuracy = found["pairing"]["first"]["accuracy"]
    shown = f"{100 * accuracy['value']:.1f}\u00a0%[{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
    assert words(lines["accuracy"].find("td[@class='base']")).endswith(shown)


@pytest.mark.parametrize("mode", ["scored", "generated"])
def test_the_square_and_the_matrices_count_every_row(report, sample, mode):
    pairing = sample[0]["modes"][mode]["pairing"]
    square = part(report, "change").find(f".//article[@data-mode='{mode}']")
    counts = [words(cell.find("b")) for cell in square.iter("td")]
    assert counts == [str(pairing[name]) for name in ("both", "only_first", "only_second", "neither")]
    matrices = part(report, "confusion").findall(f".//article[@data-mode='{mode}']")
    for matrix, side in zip(matrices, ("first", "second"), strict=True):
        shown = [
            [int(words(cell.find("b"))) for cell in row.findall("td")]
            for row in matrix.iter("tr")
            if row.find("td") is not None
        ]
        assert shown == [row[: len(shown[0])] for row in pairing[side]["confusion"]]
        assert sum(map(sum, shown)) == 240


def test_the_verdict_comes_first_in_both_languages_with_its_rule(report, sample):
    winner = sample[0]["winner"]
    assert winner["winner"] == "retrained"
    told = words(part(report, "verdict"))
    for language in errors.LANGUAGES:
        for said in ("what", "hint"):
            assert ab_tests.verdict(winner["winner"], winner["code"], winner["facts"], said, language) in told
    assert "adjusted p at most 0.05" in told
    names = (
        "verdict",
        "difference",
        "change",
        "classes",
        "confusion",
        "languages",
        "domains",
        "format",
        "times",
        "facts",
        "changed",
    )
    places = [report.index(f'<section id="{name}">') for name in names]
    assert places == sorted(places)


def scripted(count, base, retrained):
    """Decisions by row and side; a class of rows, and what each side gives to it: {"DENY": ("DENY", "ALLOW")}."""
    return {
        side: {index: (base, retrained)[place].get(CLASSES[index % 4], CLASSES[index % 4]) for index in range(count)}
        for place, side in enumerate(SIDES)
    }


KINDS = {
    "better_base": (80, {}, {"ALLOW": "DENY"}, "The base wins"),
    "better_retrained": (80, {"ALLOW": "DENY"}, {}, "The retrained model wins"),
    "unsafe_retrained": (80, {"ALLOW": "REFUSE", "ESCALATION": "DENY"}, {"REFUSE": "ALLOW"}, "No winner (guard)"),
    "unsafe_base": (80, {"REFUSE": "ALLOW"}, {"ALLOW": "REFUSE", "ESCALATION": "DENY"}, "No winner (guard)"),
    "undecided": (8, {"ALLOW": "DENY"}, {}, "Not decided"),
    "equal": (40, {"ALLOW": "DENY"}, {"ALLOW": "DENY"}, "No winner (equal)"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_verdict_has_its_words(bare, kind):
    count, base, retrained, title = KINDS[kind]
    results, cases = ab_sample.made(count, given=scripted(count, base, retrained))
    winner = results["winner"]
    assert kind.startswith(winner["code"]) and winner["winner"] == (
        kind.removeprefix("better_") if winner["code"] == "better" else None
    )
    told = words(part(ab_page.page(results, cases), "verdict"))
    assert title in told and errors.sentence("ab_test.by_score", "what", "ja", {}) in told
    if winner["code"] == "unsafe":
        assert winner["facts"]["side"] == kind.removeprefix("unsafe_") and "50.0%" in told
    if kind == "undecided":
        assert f"About {winner['facts']['rows_needed']} more rows" in told
    assert ab_pictures.comparison_picture(results)


def test_what_was_not_measured_has_no_number(bare):
    """Only rows that expect ESCALATION, nothing timed: neither of the two rates exists, and the guard is blind."""
    results, cases = ab_sample.made(40, classes=("ESCALATION",), alone=0)
    page = ab_page.page(results, cases)
    assert "the guard knows nothing" in words(part(page, "verdict"))
    for line in part(page, "difference").iter("tr"):
        if line.get("data-metric") in ("unsafe_allow", "over_refusal"):
            assert "not measured" in words(line) and "%" not in words(line) and "points[" not in words(line)
    assert "No times were measured" in words(part(page, "times"))
    assert ab_pictures.comparison_picture(results) and ab_pictures.confusion_comparison_picture(results)


def test_doubts_are_told(bare, sample):
    """Times that were not taken in turns, two system prompts, one model twice, and who was not checked."""
    results, cases = ab_sample.made(40, in_turns=False)
    models = results["models"]
    models["retrained"] |= {"weights": models["base"]["weights"], "system": "安全に。"}
    page = ab_page.page(results, cases)
    assert "one after the other" in words(part(page, "times"))
    told = words(part(page, "verdict"))
    assert "both sides are one model" in told and "system prompt that it was trained with" in told
    assert "Nothing is known of what original was trained on" in words(part(page, "facts"))
    results["data"]["checked_against"] = []
    told = words(part(ab_page.page(results, cases), "facts"))
    assert "Nothing is known of what this model was trained on" in told and "Seen in training" not in told


def test_broken_rows_come_first_and_the_most_harmful_of_them_before_the_others(report, sample):
    cases = sample[1]["generated"]
    section = part(report, "changed")
    titles = [words(title) for title in section.iter("h3")]
    for title, change in zip(titles, ("broken", "fixed", "both_wrong"), strict=True):
        assert title.endswith(f" {sum(case['change'] == change for case in cases):,}")
    broken = [case for case in cases if case["change"] == "broken"]
    broken.sort(key=lambda case: (harm(case["expected"], case["retrained"]["given"]), case["index"]))
    assert harm(broken[0]["expected"], broken[0]["retrained"]["given"]) == 0, "something dangerous is among them"
    shown = [words(header) for header in section.iter("header")]
    for case, told in zip(broken, shown, strict=False):
        assert f"line {case['line']} ·" in told and case["expected"] in told
    assert sum(article.get("class") == "card case" for article in section.iter("article")) == sum(
        min(sum(case["change"] == change for case in cases), 100) for change in ("broken", "fixed", "both_wrong")
    )
    assert broken[0]["base"]["final"] in words(section)


HOSTILE = "</pre></section><script>document.title='ran'</script><img src=x onerror=alert(1)>&amp; \ud800 \x00"


def test_text_from_outside_stays_text(tmp_path):
    results, cases = ab_sample.made(24)
    for case in cases["generated"]:
        case |= {"prompt": HOSTILE, "domain": HOSTILE, "id": HOSTILE, "change": "broken"}
        case["base"] = case["base"] | {"final": HOSTILE, "given": case["expected"]}
        case["retrained"] = case["retrained"] | {"final": HOSTILE, "given": ""}
    for model in results["models"].values():
        model |= dict.fromkeys(("name", "key", "base", "adapter", "device", "system"), HOSTILE)
    results["data"] |= {"file": HOSTILE, "checked_against": [HOSTILE]}
    write_ab_reports(results, cases, tmp_path)
    page = (tmp_path / REPORTS[0]).read_text(encoding="utf-8")
    assert "<script" not in page and "<img" not in page
    assert page.count("&lt;script&gt;document.title=&#x27;ran&#x27;&lt;/script&gt;") > 80
    for picture in REPORTS[1:]:
        assert (tmp_path / picture).stat().st_size > 20_000


def test_every_verdict_is_in_the_font_that_ships():
    """The words of words.toml are tried in test_reports.py; the verdicts stand in the catalogue of errors."""
    known = TTFont(page_pieces.JAPANESE).getBestCmap()
    texts = "".join(
        text for code, entry in errors.catalogue().items() if code.startswith("ab_test.") for text in entry.values()
    )
    assert {sign for sign in texts if ord(sign) not in known} == set()


def test_nothing_runs_over_the_edge_of_a_picture(folder):
    for name in REPORTS[1:]:
        with Image.open(BytesIO((folder / name).read_bytes())) as picture:
            assert picture.format == "PNG" and picture.width > 1900
            margin = picture.convert("L").crop((picture.width - 12, 0, picture.width, picture.height))
            assert margin.getextrema() == (255, 255)


def test_a_disk_that_refuses_leaves_the_older_file_whole(sample, tmp_path, monkeypatch):
    (tmp_path / REPORTS[1]).write_bytes(b"older")
    replace = os.replace

    def full(source, target):
        if os.fspath(target).endswith(REPORTS[1]):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EngineError) as failed:
        write_ab_reports(*sample, tmp_path)
    assert failed.value.code == "evaluate.unwritten" and failed.value.where == str(tmp_path / REPORTS[1])
    assert (tmp_path / REPORTS[1]).read_bytes() == b"older"


def test_the_schema_names_every_field_of_the_results(sample):
    text = (ROOT / "docs" / "ab_test.md").read_text(encoding="utf-8")
    text += (ROOT / "docs" / "evaluation_results.md").read_text(encoding="utf-8")
    by_name = {
        "by_language",
        "by_domain",
        "classes",
        "languages",
        "domains",
        "counts",
        "excluded",
        "differences",
        "effect",
    }

    def fields(value, inside=""):
        if isinstance(value, dict) and inside not in by_name:
            yield from value
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield from fields(inner, key)
        for inner in value if isinstance(value, list) else ():
            yield from fields(inner)

    named = set(fields(sample[0]))
    assert len(named) > 80
    assert {name for name in named if f"`{name}`" not in text} == set()
