"""A person's evening at the Train tab: start, watch, reload, second window, stop, resume."""

import re
import time

import pytest
from patience import wait_for_ticks

from so8t_engine.events import StepFinished, StopRequested
from so8t_engine.runs import Run

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

TRAIN_SECONDS = 180_000
"""Milliseconds until a loaded test machine has imported torch and done its first steps."""


def step_of(page) -> int:
    """The step that the header shows; 0 before there is one."""
    found = re.search(r"step ([\d,]+)/", page.locator("#so-header").inner_text())
    return int(found[1].replace(",", "")) if found else 0


def points_of(page) -> int:
    """Points of the longest curve in the loss chart."""
    return int(page.locator('[data-chart="loss"] .so-plot').get_attribute("data-points") or 0)


def wait_for_step(page, step: int) -> int:
    """Wait until the page shows at least `step`; gives back what it shows then."""
    deadline = time.monotonic() + TRAIN_SECONDS / 1000
    while step_of(page) < step:
        if "so-trouble" in page.content() and page.locator(".so-trouble").count():
            raise AssertionError(page.locator(".so-trouble").first.inner_text())
        assert time.monotonic() < deadline, f"step {step} never came; the header says {page.title()}"
        page.wait_for_timeout(200)
    return step_of(page)


def press_and_see(page, place: str, button: str, state: str) -> None:
    """Press the button in that place; the progress then says so."""
    page.locator(place).get_by_role("button", name=button).click()
    page.wait_for_selector(f"#train-progress .so-is-{state}", timeout=TRAIN_SECONDS)


@pytest.mark.parametrize("own_process", [True], ids=["process"])
def test_start_watch_reload_stop_and_resume(window, studio):
    page = window()
    expect(page.locator("#train-situation")).to_contain_text("まだ実行がありません。")
    assert page.title() == "SO8T Studio"
    assert page.locator("#train-performance .so-card").count() == 0

    assert page.locator("#train-decide").get_by_role("button", name="学習を始める").is_enabled()
    page.keyboard.press("Control+Enter")
    first = wait_for_step(page, 3)
    page.wait_for_function("Number(document.querySelector('[data-chart=loss] .so-plot').dataset.points) >= 3")
    points = points_of(page)
    wait_for_step(page, first + 3)
    page.wait_for_function(f"Number(document.querySelector('[data-chart=loss] .so-plot').dataset.points) > {points}")
    assert "再学習" in page.title()

    page.reload()
    page.wait_for_function("/step \\d/.test(document.querySelector('#so-header')?.innerText)")
    assert step_of(page) >= first + 3
    assert "tab=train" in page.url

    second = window("/en/?tab=train")
    wait_for_step(second, step_of(page))
    page.close()  # closing a window stops nothing
    wait_for_step(second, step_of(second) + 2)

    press_and_see(second, "#train-decide", "Stop", "stopped")
    stopped = step_of(second)
    (run,) = (Run.at(folder) for folder in studio.runs.iterdir())
    told = [type(event) for event in run.events()]
    assert told[told.index(StopRequested) :].count(StepFinished) <= 1, "Stop takes effect within one step"
    checkpoints = second.locator("#train-checkpoints").inner_text()
    assert f"step {stopped:,}" in checkpoints, "Stop leaves a checkpoint"

    for told in ("Real tokens", "tokens/s", "Step (p95)", "forward", f"steps 1–{stopped:,}"):
        expect(second.locator("#train-performance")).to_contain_text(told)
    second.reload()
    expect(second.locator("#train-performance")).to_contain_text("Real tokens")

    press_and_see(second, "#train-decide", "Resume", "running")
    assert wait_for_step(second, stopped + 1) >= stopped + 1
    assert len(list(studio.runs.iterdir())) == 1, "the same run goes on"
    assert f"step {stopped:,}" in second.locator("#train-log").inner_text()
    press_and_see(second, "#so-header", "Stop", "stopped")


def go_to(page, link, address: str) -> None:
    link.click()
    page.wait_for_url(address, timeout=TRAIN_SECONDS)


def test_tabs_language_and_keys(window):
    page = window("/en/?tab=train")
    go_to(page, page.get_by_role("tab", name="Config"), "**/en/?tab=config")
    page.go_back()
    page.wait_for_url("**/en/?tab=train")
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")

    go_to(page, page.get_by_role("tab", name="Config"), "**/en/?tab=config")
    page.reload()
    page.wait_for_selector("html.so-ready")
    expect(page.get_by_role("tab", name="Config")).to_have_attribute("aria-selected", "true")

    go_to(page, page.get_by_role("link", name="日本語"), "**/ja/?tab=config")
    page.wait_for_selector("html.so-ready")
    expect(page.get_by_role("tab", name="設定")).to_have_attribute("aria-selected", "true")
    assert page.locator("html").get_attribute("lang") == "ja"

    page.locator("body").press("?")
    expect(page.get_by_role("dialog", name="キーボード操作")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="キーボード操作")).not_to_be_visible()


def test_a_zoom_stays_while_the_curve_grows(window):
    page = window()
    press_and_see(page, "#train-decide", "学習を始める", "running")
    page.wait_for_function("Number(document.querySelector('[data-chart=loss] .so-plot').dataset.points) >= 4",
                           timeout=TRAIN_SECONDS)  # fmt: skip
    box = page.locator('[data-chart="loss"] .so-plot').bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 350, box["y"] + 101, steps=8)
    page.mouse.up()
    shown = "document.querySelector('[data-chart=loss] .so-plot')._fullLayout.xaxis.range"
    points, zoomed = points_of(page), page.evaluate(shown)
    page.wait_for_function(f"Number(document.querySelector('[data-chart=loss] .so-plot').dataset.points) > {points + 2}")
    assert page.evaluate(shown) == zoomed
    page.get_by_role("button", name="トークン").click()
    assert page.get_by_role("button", name="トークン").get_attribute("aria-pressed") == "true"
    page.wait_for_function(f"{shown}[1] > 500")


def test_an_idle_page_has_no_sideways_scroll_in_light_and_dark_and_is_silent(window):
    page = window("/ja/?tab=train", viewport={"width": 390, "height": 800}, color_scheme="light")
    page.wait_for_selector(".so-welcome")
    for scheme, colour in (("light", "rgb(250, 250, 249)"), ("dark", "rgb(17, 19, 21)")):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".gradio-container")).to_have_css("background-color", colour)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("""() => {
        window.touched = 0;
        new MutationObserver((changes) => { window.touched += changes.length; })
            .observe(document.querySelector("#so-tabs"), { childList: true, subtree: true, characterData: true });
    }""")
    wait_for_ticks(page)
    assert page.evaluate("window.touched") == 0
