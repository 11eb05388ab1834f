"""What the Train tab shows of a training's cost, and that it shows nothing that was not measured."""

import re

import pytest

from dashboard.performance_card import PHASES, performance_card
from so8t_engine import events

SHARES = {"data": 0.01, "forward": 0.3, "backward": 0.6, "optimizer": 0.04, "checkpoint": 0.03, "other": 0.02}


def measured(**changes) -> events.PerformanceMeasured:
    facts = {
        "from_step": 1200, "to_step": 2400, "seconds": 3700.0, "tokens_per_second": 12345.6, "samples_per_second": 23.44,
        "step_p50": 0.612, "step_p95": 1.25, "ram_peak": 2**30, "vram_peak": 38 * 2**30, "joules_per_1000_tokens": 48.31,
        "shares": SHARES, "file": '/runs/<img src=x onerror="alert(1)">/performance_report.json',
    }  # fmt: skip
    return events.PerformanceMeasured(**facts | changes)


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_every_figure_has_its_unit(page, story, replayed):
    html = performance_card(replayed(story(30, measured())), page)
    for figure in ("12,346 tokens/s", "23.4 ", "612 ms", "1.25 s", "38.0 GiB", "48.3 J", "60.0 %", "1,201–2,400"):
        assert figure in words(html), figure
    assert "<img" not in html


def test_the_bar_has_a_part_and_a_name_for_each_phase_that_there_was(page, story, replayed):
    html = performance_card(replayed(story(30, measured())), page)
    widths = {name: float(width) for name, width in re.findall(r'so-phase-(\w+)" style="flex-grow:([\d.]+)"', html)}
    assert widths == SHARES
    assert [name for name in PHASES if page.t(f"performance.phase.{name}") in words(html)] == list(widths)


def test_what_was_not_measured_is_not_shown(page, story, replayed):
    assert performance_card(replayed(story(30)), page) == ""
    html = performance_card(replayed(story(30, measured(vram_peak=None, joules_per_1000_tokens=None, file=None))), page)
    assert page.t("performance.ram") in html and "1.0 GiB" in words(html)
    for unknown in ("performance.vram", "performance.energy", "performance.file"):
        assert page.t(unknown) not in html
    assert page.t("performance.phase.validation") not in html


@pytest.mark.parametrize("resumed, shown", [(True, True), (False, False)])
def test_a_run_that_goes_on_keeps_its_report_and_a_new_one_has_none(page, story, replayed, resumed, shown):
    opened = events.RunOpened(run="next", folder="/runs/next", resumed=resumed)
    assert bool(performance_card(replayed(story(30, measured(), opened)), page)) == shown
