"""A person at the A/B test tab: start, meet a failure, watch the figures fill, read the verdict and the cases behind it."""

import json
import re

import made_ab_test
import pytest
from canary import make_run
from made import DEMO_MODEL, row, write_rows

from so8t_engine import config
from so8t_engine.ab_tests import read
from so8t_engine.data import sources

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

TEST_SECONDS = 180_000
"""Milliseconds until a loaded test machine has imported torch and let two tiny models decide a few rows."""

JA, EN = "/ja/?tab=ab_test", "/en/?tab=ab_test"
CLASSES = ("ALLOW", "ESCALATION", "DENY", "REFUSE")
COUNT = 12


@pytest.fixture
def runs(tmp_path):
    """Where runs and tests lie; filled before the page is opened."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def studio(tmp_path, runs, serve):
    """The dashboard on the demo's model, with answers and timed rows few and short."""
    values = config.to_values(config.load(config.CONFIGS / "demo.yaml"))
    values |= {"runs": str(runs), "base_model": str(DEMO_MODEL), "evaluate.max_tokens": 16, "ab_test.latency_rows": 1, "ab_test.mode": "scored"}
    file = tmp_path / "ab_test.yaml"
    file.write_text(config.to_yaml(config.from_values(values)), encoding="utf-8")
    return serve(runs, "-m", "dashboard", "--no-browser", "--config", str(file))


@pytest.fixture
def run(runs):
    """A finished run of the demo's model. Its split is not there yet: which rows it has seen can't be told."""
    return make_run(runs, DEMO_MODEL, "20261122-213000-7c3f01")


def situation(page):
    return page.locator("#ab-test-situation")


def cases(page):
    return page.locator('[data-part="cases"] .so-case')


def filters(page, change: str):
    return page.locator(f'.so-ab-filters [data-change="{change}"]')


def shown(page, timeout: int = 30_000):
    """The results once they are there, with their cases."""
    expect(page.locator('.so-ab-tested [data-part="cases"] header')).to_be_visible(timeout=timeout)


def test_a_person_compares_two_models(window, studio, run, tmp_path):
    """One dashboard for all of it: to start one costs more than what is asked of it here."""
    asked = made_ab_test.rows(100)
    place = made_ab_test.finished(studio.runs / "ab_test-20261122-230000-aaaaaa", asked=asked, skills=(0.5, 0.9), retrained=run.id)
    few = {"asked": made_ab_test.rows(24), "skills": (0.8, 0.8), "created": "2026-11-22T22:00:00+0900"}
    made_ab_test.finished(studio.runs / "ab_test-20261122-220000-bbbbbb", **few)
    page = window(EN)
    reads_the_verdict_and_its_cases(page, read(place).results["modes"]["generated"]["pairing"], tmp_path)
    comes_back_to_what_was_looked_at(page)
    second = sees_it_on_a_small_screen_in_the_other_language(window)
    goes_on_from_the_verdict(page, run)
    starts_one_meets_a_failure_and_watches_it_fill(page, second, run, tmp_path)
    sees_what_came_out(page, second, studio, run)


def reads_the_verdict_and_its_cases(page, pairing, tmp_path):
    shown(page)
    expect(page.locator(".so-ab-sentence")).to_have_text("The retrained model is better.")
    expect(page.locator(".so-mode-switch").get_by_role("button", name="Generated")).to_have_attribute("aria-pressed", "true")
    filters(page, "broken").focus()
    page.keyboard.press("Enter")
    expect(filters(page, "broken")).to_have_attribute("aria-pressed", "true")
    expect(filters(page, "broken")).to_be_focused()
    expect(cases(page)).to_have_count(pairing["only_first"])
    expect(cases(page).first).to_contain_text("broken")
    with page.expect_download() as begun:
        page.get_by_role("link", name="Save these as JSONL").click()
    begun.value.save_as(tmp_path / "broken.jsonl")
    assert len(sources.read(tmp_path / "broken.jsonl").samples) == pairing["only_first"] > 0

    worst = page.locator('[data-chart="ab-generated-base"] [data-expected="REFUSE"][data-given="ALLOW"]')
    worst.click()
    expect(cases(page)).to_have_count(pairing["first"]["confusion"][3][0])
    expect(page.locator("#ab-test-results .so-cases")).to_be_focused()
    expect(worst).to_have_attribute("aria-pressed", "true")
    expect(page.locator('[data-chart="ab-generated-retrained"] [aria-pressed="true"]')).to_have_count(0)


def comes_back_to_what_was_looked_at(page):
    filters(page, "both_wrong").click()
    page.get_by_role("button", name="Scored", exact=True).click()
    expect(cases(page).first).to_contain_text("Scored probabilities")
    page.reload()
    shown(page)
    expect(page.locator(".so-mode-switch").get_by_role("button", name="Scored")).to_have_attribute("aria-pressed", "true")
    expect(filters(page, "both_wrong")).to_have_attribute("aria-pressed", "true")


def sees_it_on_a_small_screen_in_the_other_language(window):
    page = window(JA, viewport={"width": 420, "height": 900}, color_scheme="dark")
    shown(page)
    expect(page.locator(".so-ab-sentence")).to_have_text("再学習したモデルの方が良い結果です。")
    expect(filters(page, "differ")).to_have_attribute("aria-pressed", "true")  # what the other window looks at is its own
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    return page


def goes_on_from_the_verdict(page, run):
    page.locator("#ab-test-list button").last.click()
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "undecided")
    page.get_by_role("button", name="Measure on other rows").click()
    expect(page.get_by_role("textbox", name="Path of the file")).to_be_focused()
    page.locator("#ab-test-list button").first.click()
    page.get_by_role("link", name="Export the retrained model").click()
    expect(page.locator("#export-model")).to_have_value(f"run:{run.id}")
    page.go_back()


def starts_one_meets_a_failure_and_watches_it_fill(page, second, run, tmp_path):
    file = write_rows(tmp_path / "試し & rows.jsonl", [row(i, CLASSES[i % 4]) for i in range(COUNT)])
    expect(page.locator("#ab-test-base")).to_have_value("original")
    expect(page.locator("#ab-test-retrained")).to_have_value(f"run:{run.id}")
    expect(page.get_by_role("radio", name="A JSONL file")).to_be_checked()
    start = page.get_by_role("button", name="Start A/B test")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#ab-test-notice .so-trouble")).to_be_visible()
    page.get_by_role("textbox", name="Path of the file").fill(f'"{file}"')
    expect(start).not_to_have_class(re.compile("so-busy"))
    start.click()
    trouble = situation(page).get_by_role("alert")
    expect(trouble).to_contain_text("split.json", timeout=TEST_SECONDS)
    expect(page.locator("#ab-test-notice .so-trouble")).to_have_count(0)

    run.split_file.write_text(json.dumps({"train": [], "validation": [], "test": []}), encoding="utf-8")
    expect(start).not_to_have_class(re.compile("so-busy"))
    start.click()
    expect(second.locator("#ab-test-head").get_by_role("button", name="停止")).to_be_visible(timeout=TEST_SECONDS)
    expect(page.locator("#tab-ab_test-button")).to_have_class(re.compile("so-tab-runs"))
    filling = situation(page).locator('[data-card="so-far-generated"]')
    expect(filling.locator("tbody tr")).to_have_count(4, timeout=TEST_SECONDS)
    expect(filling.locator('[data-metric="accuracy"] .so-ab-retrained')).to_contain_text("%", timeout=TEST_SECONDS)
    expect(situation(second)).to_contain_text("途中の値です。")


def sees_what_came_out(page, second, studio, run):
    for one in (page, second):  # both windows show it, without a reload
        expect(one.locator("#ab-test-list button")).to_have_count(3, timeout=TEST_SECONDS)
        expect(situation(one)).to_have_text("")
        shown(one)
    (folder,) = (run.folder / "ab_test").iterdir()
    found = read(folder).results["winner"]
    verdict = f"better_{found['winner']}" if found["code"] == "better" else found["code"]
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", verdict)
    expect(page.locator(".so-ab-verdict")).to_contain_text("試し & rows.jsonl")
    report = page.request.get(studio.url + page.get_by_role("link", name="Open the report").get_attribute("href"))
    assert report.ok and "sandbox" in report.headers["content-security-policy"]
