"""A person looks at the audit log: filters, verifies, and sees at once when somebody has tampered with it."""

import pytest

from so8t_engine.audit import Audit

MODELS = ("a" * 64, "b" * 64)


@pytest.fixture
def log(studio):
    return Audit(studio.runs / "audit")


def fill(log, answers):
    for number in range(answers):
        opened = log.open(model=MODELS[number % 2], label=("DENY", "ALLOW")[number % 2], prompt="p", thinking="t")
        log.close(opened, shown="s", confidence=0.9, ended="complete")


def test_look_filter_verify_and_find_the_tampering(window, log):
    page = window("/ja/?tab=system")
    page.get_by_text("まだ記録がありません。").wait_for()
    page.locator("#system-audit").get_by_role("link", name="チャットを開く").wait_for()

    fill(log, 30)  # another process: the page follows by itself
    rows = page.locator(".so-audit-table tbody tr")
    page.wait_for_function("document.querySelectorAll('.so-audit-table tbody tr').length === 30")

    page.locator("#system-filters").get_by_role("button", name="DENY").click()
    page.wait_for_function("document.querySelectorAll('.so-audit-table tbody tr').length === 15")
    assert page.locator('#system-filters button[value="DENY"]').get_attribute("aria-pressed") == "true"
    fill(log, 2)
    page.wait_for_function("document.querySelectorAll('.so-audit-table tbody tr').length === 16")
    assert page.evaluate("document.activeElement.value") == "DENY"  # the focus stays where it was
    page.locator("#system-filters select").select_option(MODELS[1])
    page.get_by_text("この条件に合う回答はありません。").wait_for()
    page.locator("#system-filters select").select_option("")
    assert rows.count() == 16 or page.wait_for_function("document.querySelectorAll('.so-audit-table tbody tr').length === 16")

    page.locator("#system-audit").get_by_role("button", name="検証する").click()
    page.locator("#system-verdict .so-verdict").wait_for()

    lines = log.log.read_bytes().splitlines(keepends=True)
    log.log.write_bytes(b"".join([*lines[:9], *lines[10:]]))
    page.locator("#system-audit .so-trouble").wait_for()
    page.locator("#system-audit .so-busy").wait_for(state="detached")
    page.locator("#system-audit").get_by_role("button", name="検証する").click()
    page.locator("#system-verdict .so-trouble").wait_for()
    assert "10 行目" in page.locator("#system-verdict").inner_text()


def test_nothing_is_wider_than_a_small_window(window, log):
    fill(log, 30)
    page = window("/en/?tab=system")
    page.locator(".so-audit-table").wait_for()
    for width in (1440, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.scrollHeight") < 2600
