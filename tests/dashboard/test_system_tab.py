"""The System tab: what it says of the audit log, whole, broken and empty, and what its filters let through."""

import time
from html import escape

import gradio as gr
import pytest

from dashboard import app
from dashboard.tabs import system, system_cards
from dashboard.tabs.system_cards import ALL

MODELS = ("a" * 64, "b" * 64)


def fill(bridge, answers):
    for number in range(answers):
        opened = bridge.engine.audit.open(
            model=MODELS[number % 2], label=("DENY", "ALLOW", "")[number % 3], prompt="秘密の質問", thinking="考え"
        )
        if number % 5:
            bridge.engine.audit.close(opened, shown="答え", confidence=0.625 if number % 3 else None, ended="length")


@pytest.fixture
def tab(page):
    with gr.Blocks():
        return system._SystemTab(page)


def drawn(tab, **chosen):
    """The HTML of log card, filters and table."""
    updates = tab._drawn({**ALL, **chosen})
    return updates[tab.log], updates.get(tab.filters), updates[tab.table]


def filtered(tab, **chosen):
    return tab._filtered(gr.EventData(None, {**ALL, "do": "filter", **chosen}))


def test_before_the_first_answer_the_page_says_how_to_get_one(tab):
    log, filters, table = drawn(tab)
    assert escape(tab.page.t("system.audit.empty")) in log and 'data-open-tab="chat"' in log
    assert 'data-do="verify"' not in log and filters == ""
    assert tab.page.t("system.table.empty") in table


def test_the_log_is_told_with_its_counts_and_every_answer_has_a_row(tab, bridge):
    fill(bridge, 12)
    log, filters, table = drawn(tab)
    mac = bridge.engine.audit.verify().mac
    assert f'data-copy="{mac}"' in log and 'data-do="verify"' in log
    assert "21 <small>" in log and tab.page.t("system.audit.unfinished", count=3) in log
    assert str(bridge.engine.audit.log) in log
    assert table.count("<tr>") == 13 and f'data-copy="{MODELS[0]}"' in table
    assert table.count("so-deny") == 4 and table.count(tab.page.t("system.table.no_label")) == 2 * 4
    assert "0.62" in table and tab.page.t("system.ended.length") in table
    assert table.count(tab.page.t("system.ended.unfinished")) >= 3
    assert "秘密" not in log + table + filters


def test_filters_let_through_what_they_say_and_stay_chosen(tab, bridge):
    fill(bridge, 12)
    updates = filtered(tab, label="DENY", model=MODELS[0])
    assert updates[tab.table].count("<tr>") == 1 + 2
    assert tab.page.t("system.count.some", total=12, found=2) in updates[tab.table]
    _, filters, table = drawn(tab, **updates[tab.chosen])
    assert table == updates[tab.table]
    assert 'value="DENY" aria-pressed="true"' in filters and f'value="{MODELS[0]}" selected' in filters
    assert tab.page.t("system.table.none") in filtered(tab, label="REFUSE")[tab.table]
    assert filtered(tab, label=None, nonsense="x")[tab.chosen] == dict(ALL)


def test_at_most_200_rows_and_the_full_count(tab, bridge):
    fill(bridge, system_cards.SHOWN + 10)
    table = drawn(tab)[2]
    assert table.count("<tr>") == system_cards.SHOWN + 1
    assert tab.page.t("system.count.all_cut", total=210, shown=200) in table


def test_the_model_filter_is_there_when_there_is_a_choice(tab, bridge):
    fill(bridge, 1)
    assert " hidden>" in drawn(tab)[1]
    fill(bridge, 2)
    assert " hidden>" not in drawn(tab)[1]


def test_periods_begin_at_midnight_here_and_seven_days_ago():
    now = time.time()
    midnight = time.localtime(system_cards.since("today"))
    assert midnight[3:6] == (0, 0, 0) and midnight[:3] == time.localtime(now)[:3]
    assert 7 * 86400 - 5 < now - system_cards.since("week") < 7 * 86400 + 5
    assert system_cards.since("") == 0.0


def test_verify_tells_whole_then_the_line_that_is_broken(tab, bridge):
    fill(bridge, 6)
    audit = bridge.engine.audit
    before, after = tab._verified()
    assert 'role="progressbar"' in before
    assert "so-verdict" in after and f'data-copy="{audit.verify().mac}"' in after
    lines = audit.log.read_bytes().splitlines(keepends=True)
    audit.log.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    broken = list(tab._verified())[-1]
    assert "so-trouble" in broken and escape(f"{audit.log}:4") in broken
    assert tab.page.error("audit.out_of_place", "what", {"line": "4", "number": "5"}) in broken
    assert "so-verdict" not in broken


@pytest.mark.parametrize("lost", ["key", "head.json", "log.jsonl"])
def test_what_is_plainly_wrong_is_said_without_being_asked(tab, bridge, lost):
    fill(bridge, 3)
    (bridge.engine.audit.folder / lost).unlink()
    log, _, _ = drawn(tab)
    assert "so-trouble" in log and 'data-do="verify"' in log and 'data-open-tab="chat"' not in log
    assert "so-trouble" in list(tab._verified())[-1]


def test_a_log_that_cannot_be_read_is_a_card_and_no_crash(tab, bridge):
    bridge.engine.audit.log.mkdir(parents=True)
    assert "so-trouble" in tab._drawn(ALL)[tab.log]
    assert "so-trouble" in filtered(tab)[tab.table]
    assert "so-trouble" in list(tab._verified())[-1]


def test_a_new_record_makes_a_new_page(bridge):
    before = bridge.state(bridge.engine.snapshot())
    fill(bridge, 1)
    assert bridge.state(bridge.engine.snapshot()) != before
    assert list(app.TABS)[-1] == "system"


def test_versions_and_places_are_told(page, bridge, monkeypatch):
    monkeypatch.setattr(system_cards, "LIBRARIES", ("gradio", "no-such-library"))
    html = system_cards.machine_card(bridge.engine, page)
    assert gr.__version__ in html and str(bridge.engine.runs_folder) in html
    assert page.t("system.machine.not_installed") in html


def test_until_the_vote_the_log_does_not_tell_who_answered_blind(tab, bridge, monkeypatch):
    fill(bridge, 4)
    before = tab.seen()
    assert all(model in "".join(drawn(tab)) for model in MODELS)
    monkeypatch.setattr(bridge.engine.chat, "veiled_since", lambda: 0.0)
    assert tab.seen() != before
    log, filters, table = drawn(tab)
    assert table.count("<tr>") == 5 and not any(model[:8] in log + filters + table for model in MODELS)
    assert not any(model[:8] in drawn(tab, model=MODELS[0])[2] for model in MODELS)
    monkeypatch.setattr(bridge.engine.chat, "veiled_since", lambda: time.time() + 60)
    assert all(model in drawn(tab)[2] for model in MODELS)  # what was answered before the blind conversation
