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


def test_start_meet_a_failure_watch_it_fill_and_read_the_verdict(window, studio, run, tmp_path):
    file = write_rows(tmp_path / "試し & rows.jsonl", [row(i, CLASSES[i % 4]) for i in range(COUNT)])
    page, second = window(JA), window(EN)
    expect(page.locator("#ab-test-results")).to_contain_text("まだ A/Bテストがありません")
    expect(page.locator("#ab-test-base")).to_have_value("original")
    expect(page.locator("#ab-test-retrained")).to_have_value(f"run:{run.id}")
    start = page.get_by_role("button", name="A/Bテストを始める")
    page.get_by_role("radio", name="JSONL ファイル").check()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#ab-test-notice .so-trouble")).to_be_visible()
    page.get_by_role("textbox", name="ファイルのパス").fill(f'"{file}"')
    expect(start).not_to_have_class(re.compile("so-busy"))
    start.click()
    trouble = situation(page).get_by_role("alert")
    expect(trouble).to_contain_text("split.json", timeout=TEST_SECONDS)
    expect(page.locator("#ab-test-notice .so-trouble")).to_have_count(0)

    run.split_file.write_text(json.dumps({"train": [], "validation": [], "test": []}), encoding="utf-8")
    expect(start).not_to_have_class(re.compile("so-busy"))
    start.click()
    expect(second.locator("#ab-test-head").get_by_role("button", name="Stop")).to_be_visible(timeout=TEST_SECONDS)
    expect(page.locator("#tab-ab_test-button")).to_have_class(re.compile("so-tab-runs"))
    filling = situation(page).locator('[data-card="so-far-generated"]')
    expect(filling.locator("tbody tr")).to_have_count(4, timeout=TEST_SECONDS)
    expect(filling.locator('[data-metric="accuracy"] .so-ab-retrained')).to_contain_text("%", timeout=TEST_SECONDS)
    expect(situation(second)).to_contain_text("The verdict is given once")

    for one in (page, second):  # both windows show what came out, without a reload
        shown(one, TEST_SECONDS)
        expect(situation(one)).to_have_text("")
    (folder,) = (run.folder / "ab_test").iterdir()
    found = read(folder).results["winner"]
    verdict = f"better_{found['winner']}" if found["code"] == "better" else found["code"]
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", verdict)
    expect(page.locator("#ab-test-list button")).to_have_count(1)
    report = page.request.get(studio.url + page.get_by_role("link", name="レポートを開く").get_attribute("href"))
    assert report.ok and "sandbox" in report.headers["content-security-policy"]

    page.reload()
    shown(page)
    expect(page.get_by_role("radio", name="JSONL ファイル")).to_be_checked()
    expect(page.get_by_role("textbox", name="ファイルのパス")).to_have_value(f'"{file}"')
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", verdict)


def test_the_cases_behind_the_verdict_and_what_one_does_next(window, runs, tmp_path, run):
    asked = made_ab_test.rows(100)
    place = made_ab_test.finished(runs / "ab_test-20261122-230000-aaaaaa", asked=asked, skills=(0.5, 0.9), retrained=run.id)
    made_ab_test.finished(runs / "ab_test-20261122-220000-bbbbbb", asked=made_ab_test.rows(24), skills=(0.8, 0.8), created="2026-11-22T22:00:00+0900")
    pairing = read(place).results["modes"]["generated"]["pairing"]
    page = window(EN)
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
    expect(page.locator(".so-cases")).to_be_focused()
    expect(worst).to_have_attribute("aria-pressed", "true")
    expect(page.locator('[data-chart="ab-generated-retrained"] [aria-pressed="true"]')).to_have_count(0)
    filters(page, "both_wrong").click()
    page.get_by_role("button", name="Scored", exact=True).click()
    expect(cases(page).first).to_contain_text("Scored probabilities")

    page.reload()  # what this window looks at survives; another one starts afresh, in its own language
    shown(page)
    expect(page.locator(".so-mode-switch").get_by_role("button", name="Scored")).to_have_attribute("aria-pressed", "true")
    expect(filters(page, "both_wrong")).to_have_attribute("aria-pressed", "true")
    other = window(JA, viewport={"width": 420, "height": 900}, color_scheme="dark")
    shown(other)
    expect(other.locator(".so-ab-sentence")).to_have_text("再学習したモデルの方が良い結果です。")
    expect(filters(other, "differ")).to_have_attribute("aria-pressed", "true")
    assert other.evaluate("document.documentElement.scrollWidth") <= 420

    page.locator("#ab-test-list button").last.click()
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "undecided")
    page.get_by_role("button", name="Measure on other rows").click()
    expect(page.get_by_role("textbox", name="Path of the file")).to_be_focused()
    page.locator("#ab-test-list button").first.click()
    page.get_by_role("link", name="Export the retrained model").click()
    expect(page.locator("#export-model")).to_have_value(f"run:{run.id}")
