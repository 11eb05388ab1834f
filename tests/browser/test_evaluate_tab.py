"""A person at the Evaluate tab: start, watch, read what went wrong, take it away, compare."""

import re

import made_evaluation
import pytest
from made import DEMO_MODEL, row, write_rows
from patience import wait_for_ticks

from so8t_engine import config
from so8t_engine.data import sources

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

EVALUATE_SECONDS = 180_000
"""Milliseconds until a loaded test machine has imported torch and scored a few rows."""

JA, EN = "/ja/?tab=evaluate", "/en/?tab=evaluate"
CLASSES = ("ALLOW", "ESCALATION", "DENY", "REFUSE")

ROWS = 48
"""Fewer than a page of cases holds: all of them may be wrong."""

LONG = "この契約書を確認してください。" * 60
"""So long an input that no evaluation ends between two looks of a page at the server."""

WATCH = """() => {
    window.seen = [];
    new MutationObserver(() => window.seen.push({
        stop: Boolean(document.querySelector('#evaluate-head [data-do="stop"]')),
        runs: document.querySelector("#tab-evaluate-button").classList.contains("so-tab-runs"),
    })).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
"""Keeps what the page showed while the evaluation ran: on a fast machine it is over before one can look."""


@pytest.fixture
def runs(tmp_path):
    """Where evaluations lie; filled before the page is opened, or empty."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def studio(tmp_path, runs, open_studio):
    """The dashboard on the demo's settings."""
    settings = config.load(config.CONFIGS / "demo.yaml").model_copy(
        update={"runs": str(runs), "base_model": str(DEMO_MODEL)}
    )
    file = tmp_path / "evaluate.yaml"
    file.write_text(config.to_yaml(settings), encoding="utf-8")
    return open_studio(runs, config=file)


def cell(page, expected, given, mode="scored"):
    return page.locator(f'[data-chart="confusion-{mode}"] button[data-expected="{expected}"][data-given="{given}"]')


def cases(page):
    return page.locator(".so-cases .so-case")


def count_of(button) -> int:
    return int(re.search(r"(\d+)(?: 件)? \(", button.get_attribute("aria-label"))[1])


def shown(page):
    """The results once they are there."""
    expect(page.locator(".so-evaluated .so-cases header")).to_be_visible(timeout=EVALUATE_SECONDS)
    return page.locator(".so-evaluated")


def test_evaluate_the_demo_see_the_cases_of_a_cell_and_take_the_wrong_ones(window, studio, tmp_path):
    file = write_rows(tmp_path / "試し & rows.jsonl", [row(i, CLASSES[i % 4], domain_label="demo", input=LONG) for i in range(ROWS)])
    page, second = window(JA), window(EN)
    expect(page.locator("#evaluate-results")).to_contain_text("まだ評価がありません")
    expect(page.locator("#evaluate-model option")).to_have_text(["元モデル"])
    page.get_by_role("radio", name="JSONL ファイル").check()
    page.get_by_role("textbox", name="ファイルのパス").fill("/no/such.jsonl")
    page.get_by_role("checkbox", name="生成").uncheck()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#evaluate-notice")).to_contain_text("このファイルがありません。")
    page.get_by_role("textbox", name="ファイルのパス").fill(f'"{file}"')
    expect(page.get_by_role("button", name="評価を始める")).not_to_have_class(re.compile("so-busy"))
    for one in (page, second):
        one.evaluate(WATCH)
    page.get_by_role("button", name="評価を始める").click()
    for one in (page, second):  # both windows show what came out, without a reload
        shown(one)
        assert one.locator("#so-tabs").is_visible()
        seen = one.evaluate("window.seen")
        assert any(state["runs"] for state in seen), "its tab tells that it runs"
        assert any(state["stop"] for state in seen), "it can be stopped from every window"
    expect(page.locator("#evaluate-notice")).not_to_contain_text("このファイルがありません。")
    expect(page.locator("#evaluate-situation")).not_to_contain_text("評価しています")
    assert (
        page.locator('[data-rate="unsafe_allow"]').bounding_box()["y"]
        < page.locator(".so-confusion").bounding_box()["y"]
    )
    expect(page.locator('[data-chart="confusion-scored"] .so-plot')).to_have_class(re.compile("js-plotly-plot"))

    buttons = page.locator(".so-cells button").all()
    counts = [count_of(button) for button in buttons]
    assert sum(counts) == ROWS
    fullest = buttons[counts.index(max(counts))]
    fullest.click()
    expect(cases(page)).to_have_count(max(counts))
    expect(fullest).to_have_attribute("aria-pressed", "true")
    expected, given = (fullest.get_attribute(f"data-{name}") for name in ("expected", "given"))
    expect(cases(page).first).to_contain_text(f": {expected.lower()}")  # the prompt tells its class
    expect(cases(page).first.locator(".so-decided .so-badge").last).to_have_attribute("title", given)
    expect(cases(page).first.locator(".so-chances dt")).to_have_count(4)

    with page.expect_download() as begun:
        page.get_by_role("link", name="間違いを JSONL で保存").click()
    kept = tmp_path / "wrong.jsonl"
    begun.value.save_as(kept)
    right = sum(count_of(cell(page, name, name)) for name in CLASSES)
    assert len(sources.read(kept).samples) == ROWS - right > 0
    page.get_by_role("button", name="間違いをすべて表示").click()
    expect(cases(page)).to_have_count(ROWS - right)

    page.reload()
    shown(page)
    expect(page.get_by_role("radio", name="JSONL ファイル")).to_be_checked()
    expect(page.get_by_role("checkbox", name="生成")).not_to_be_checked()
    folder = next(studio.runs.glob("evaluation-*"))
    expect(page.get_by_role("button", name="フォルダーのパスをコピー")).to_have_attribute("data-copy", str(folder))
    report = page.request.get(studio.url + page.get_by_role("link", name="レポートを開く").get_attribute("href"))
    assert report.ok and "評価レポート" in report.text()


def test_two_are_compared_and_what_changed_is_seen(runs, window):
    made_evaluation.several(runs)
    page = window(EN)
    shown(page)
    expect(page.locator("#evaluate-list button")).to_have_count(3)
    options = page.locator("[data-compare] option")
    expect(options).to_have_count(3)
    page.locator("[data-compare]").select_option(index=1)
    card = page.locator(".so-comparison")
    expect(card).to_contain_text("400 rows that both have measured")
    expect(card).to_contain_text("This one decides better.")
    expect(card.locator(".so-changed")).to_have_count(50)
    card.get_by_role("button", name="Next").click()
    expect(card.locator(".so-case-pages")).to_contain_text("51–100 of")
    expect(card.locator(".so-case-list")).to_be_focused()

    page.get_by_role("button", name="Generated", exact=True).click()
    expect(card).to_contain_text("Generated · 400 rows")
    expect(cell(page, "ALLOW", "none", "generated")).to_be_visible()
    expect(page.locator('[data-chart="confusion-scored"]')).to_be_hidden()

    page.reload()  # what this window looks at survives
    expect(card).to_contain_text("Generated · 400 rows")
    other = window(EN)
    shown(other)
    expect(other.locator(".so-comparison")).to_have_count(0)

    card.get_by_role("button", name="Stop comparing").click()
    expect(card).to_have_count(0)
    page.locator("#evaluate-list button").last.click()
    expect(page.locator(".so-evaluated-head")).to_contain_text("xstest_four_class.jsonl")
    expect(page.locator(".so-lead")).to_contain_text("No row expects ESCALATION, DENY")
    expect(page.locator("#evaluate-list button").last).to_have_attribute("aria-current", "true")


def test_a_prompt_from_outside_stays_text(runs, window):
    nasty = '<img src=x onerror="window.hurt = true">'
    asked = [line | {"prompt": nasty + "長" * 600, "domain": nasty} for line in made_evaluation.rows(8)]
    made_evaluation.finished(
        runs / "evaluation-20261122-220000-aaaaaa", asked=asked, name=nasty, skills={"scored": 0.3, "generated": 0.3}
    )
    page = window(JA)
    shown(page)
    expect(cases(page).first).to_contain_text(nasty)
    cases(page).first.get_by_role("button", name="全文").click()
    expect(cases(page).first).to_contain_text("長" * 500)
    assert page.evaluate("window.hurt") is None
    assert page.locator("#tab-evaluate img").count() == 0


def test_light_dark_and_narrow_have_no_sideways_scroll_here(runs, window):
    made_evaluation.several(runs)
    page = window(JA, viewport={"width": 390, "height": 900})
    shown(page)
    page.locator("[data-compare]").select_option(index=1)
    expect(page.locator(".so-comparison .so-changed").first).to_be_visible()
    for width in (390, 800, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")  # charts are drawn anew


def test_the_tab_is_silent_while_nothing_runs_and_its_cells_need_no_mouse(runs, window):
    made_evaluation.several(runs)
    page = window(JA)
    shown(page)
    expect(page.locator('[data-chart="confusion-scored"] .so-plot')).to_have_class(re.compile("js-plotly-plot"))
    wait_for_ticks(page, 1)
    asked = []
    page.on("request", lambda request: "/evaluations" in request.url and asked.append(request.url))
    page.evaluate("""() => {
        window.touched = [];
        new MutationObserver((changes) => window.touched.push(...changes.map((one) => one.target.outerHTML.slice(0, 80))))
            .observe(document.querySelector("#tab-evaluate"), { childList: true, subtree: true, characterData: true });
    }""")
    wait_for_ticks(page)
    assert page.evaluate("window.touched") == []
    assert asked == []

    cell(page, "ALLOW", "ALLOW").focus()
    count = count_of(cell(page, "ALLOW", "DENY"))
    following = 1 + (cell(page, "ALLOW", "ESCALATION").is_enabled())
    for _ in range(following):
        page.keyboard.press("Tab")
    expect(cell(page, "ALLOW", "DENY")).to_be_focused()
    page.keyboard.press("Enter")
    expect(cases(page)).to_have_count(count)
    expect(page.locator(".so-cases")).to_be_focused()
