"""The verification in a real browser: one press, the list fills in, and what fails is named with what follows from it."""

import json

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

VERIFY_MILLISECONDS = 180_000
"""Until a loaded test machine has imported torch and made every check."""


def test_verify_from_the_config_tab_fills_the_list_and_names_what_fails(window, studio):
    page = window("/ja/?tab=config")
    card = page.locator("#config-verify")
    check = card.get_by_role("button", name="検証")
    check.click()
    expect(card.locator(".so-check").first).to_be_visible(timeout=VERIFY_MILLISECONDS)
    expect(page.locator("#so-header")).to_contain_text("実行前の検証")
    expect(card.get_by_role("status")).to_contain_text("学習できます", timeout=VERIFY_MILLISECONDS)
    assert card.locator(".so-check").count() == 15 and card.locator(".so-check-fail").count() == 0
    (file,) = studio.runs.glob("verification-*/verification/verification_results.json")
    assert json.loads(file.read_text(encoding="utf-8"))["counts"]["fail"] == 0
    assert [path.name for path in studio.runs.iterdir() if (path / "run.json").exists()] == []

    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    field = page.locator("#base_model :is(input, textarea)").first
    field.fill("nowhere")
    field.blur()
    expect(page.locator("#config-yaml .cm-content")).to_contain_text("base_model: nowhere")
    fault = card.locator(".so-check-fail")
    check.click()
    expect(fault).to_have_count(1, timeout=VERIFY_MILLISECONDS)
    expect(card.locator(".so-check-fail")).to_contain_text("モデルのフォルダーがありません")
    expect(card.get_by_role("status")).to_contain_text("このままでは学習できません", timeout=VERIFY_MILLISECONDS)
    expect(card.locator(".so-check-skipped").first).to_contain_text("元モデル")
