"""A person's own rows, chosen on the Config tab and trained on from the Train tab."""

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

PATIENCE = 180_000
"""Milliseconds: a loaded machine imports torch slowly."""


def choose_rows(page, file, **values) -> None:
    """Fill the dataset and other settings in, then open the Train tab."""
    page.locator("#tab-config-button").click()
    expect(page.locator("#config-yaml .cm-content")).to_contain_text("base_model")  # the form is filled from now on
    for name, value in {"dataset": str(file), **values}.items():
        page.locator(f"#{name} :is(input, textarea)").first.fill(value)
        page.keyboard.press("Tab")
        expect(page.locator("#config-yaml .cm-content")).to_contain_text(value)
    page.locator("#tab-train-button").click()


def test_real_rows_are_refused_without_answers_and_trained_on_with_them(window, shared):
    page = window("/ja/?tab=config")
    choose_rows(page, shared / "data" / "xstest_four_class.jsonl", **{"train-epochs": "0.1", "data-max_length": "512"})
    start = page.locator("#train-decide").get_by_role("button", name="学習を始める")
    card = page.locator(".so-trouble")
    words = "234 行のうち 234 行に output がない"
    start.click()
    expect(card).to_contain_text(words, timeout=PATIENCE)
    expect(card).to_contain_text("xstest_four_class.jsonl:1")
    choose_rows(page, shared / "data" / "xstest_four_class_with_outputs.jsonl")
    start.click()
    page.wait_for_selector("#train-progress .so-is-finished", timeout=PATIENCE)
    expect(page.locator("#train-run")).to_contain_text("234")
    expect(page.locator("#train-log")).to_contain_text("final_model")
