"""The pictures of an A/B test: comparison_chart.png and confusion_matrix_comparison.png."""

from typing import TYPE_CHECKING

from so8t_engine.ab_tests import SIDES
from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.ab_page_differences import LESS, PLAIN, favours, lines, name_of, reach_of
from so8t_engine.evaluate.page_pieces import Estimate, bounds, fixed, percent
from so8t_engine.evaluate.pictures import matrix, point
from so8t_engine.evaluate.sheet import HEAD, LINE, MUTED, TEXT, area, both, drawn, sheet, write
from so8t_engine.measure.metrics import GIVEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"base": "#7A828C", "retrained": "#2F6FEB"}
WIDTH = 15.8
"""Inches of the chart."""

ROW = 0.56
"""Inches that a measure takes."""


def comparison_picture(results: dict) -> bytes:
    """PNG: for each mode the measures of both models, and beside them the differences around zero."""
    modes = {mode: list(lines(found)) for mode, found in results["modes"].items()}
    heights = {mode: ROW * len(found) for mode, found in modes.items()}
    bottom = sum(heights.values()) + 1.4 * len(modes)
    figure = sheet(WIDTH, HEAD + 0.2 + bottom, _title(results), results)
    winner = results["winner"]
    verdict = both(f"verdict.better_{winner['winner']}" if winner["winner"] else f"verdict.{winner['code']}")
    height = (bottom + 0.2) / (bottom + 0.2 + HEAD)
    write(figure, 0.3 / WIDTH, height, verdict, 12)
    write(figure, 1 - 0.3 / WIDTH, height, both("picture.intervals"), 9, MUTED, ha="right")
    for mode, found in modes.items():
        bottom -= heights[mode] + 0.9
        _values(area(figure, 3.0, bottom, 4.2, heights[mode]), mode, found)
        _differences(area(figure, 9.6, bottom, 3.4, heights[mode]), found)
        bottom -= 0.5
    return drawn(figure)


def confusion_comparison_picture(results: dict) -> bytes:
    """PNG: the confusion matrices of both models side by side, one mode below the other."""
    modes = results["modes"]
    figure = sheet(13.2, HEAD + 5.6 * len(modes), _title(results), results)
    for row, (mode, found) in enumerate(modes.items()):
        bottom = 5.6 * (len(modes) - 1 - row) + 0.35
        columns = len(GIVEN) if mode == "generated" else len(CLASSES)
        for column, side in enumerate(SIDES):
            axes = area(figure, 6.6 * column + 1.5, bottom, 4.9, 4.3)
            axes.set(xlim=(0, columns), ylim=(len(CLASSES), 0))
            matrix(axes, found[side]["summary"]["confusion"], columns)
            _key(axes, 0.06 * columns / 5, -0.74, side)
            write(axes, 0.18 * columns / 5, -0.74, f"{both(f'ab.{side}_title')} · {both(f'mode.{mode}')}", 12)
    return drawn(figure)


def _title(results: dict) -> str:
    return " / ".join(results["models"][side]["name"] for side in SIDES)


def _key(axes: "Axes", x: float, y: float, side: str) -> None:
    axes.plot([x], [y], "s", ms=8, mfc=COLOURS[side], mec="none", clip_on=False)


def _values(axes: "Axes", mode: str, found: list) -> None:
    """Both models' values on one scale from 0 to 100 %."""
    axes.set(xlim=(0, 1), ylim=(len(found), 0))
    _lattice(axes, len(found), [(tick / 100, f"{tick}\u00a0%") for tick in range(0, 101, 20)], (-0.68, 1.42))
    write(axes, -0.64, -0.6, both(f"mode.{mode}"), 12)
    for place, side in enumerate(SIDES):
        _key(axes, 0.012 + 0.4 * place, -0.6, side)
        write(axes, 0.045 + 0.4 * place, -0.6, both(f"ab.{side}_title"), 9)
    for row, (metric, base, retrained, _) in enumerate(found):
        write(axes, -0.04, row + 0.5, both(name_of(metric)), 9.5, ha="right")
        for place, (side, value) in enumerate(zip(SIDES, (base, retrained), strict=True)):
            height = row + 0.33 + 0.34 * place
            told = both("page.not_measured")
            if value:
                shown = fixed if metric in PLAIN else percent
                whole = value if "low" in value else value | {"low": value["value"], "high": value["value"]}
                point(axes, height, whole, COLOURS[side])
                told = f"{shown(value['value'])} {bounds(value, shown)}" if "low" in value else shown(value["value"])
            write(axes, 1.04, height, told, 8.5, TEXT if value else MUTED)


def _differences(axes: "Axes", found: list) -> None:
    """Each difference with its interval; to the right of zero the retrained model is better."""
    reach = reach_of(found)
    axes.set(xlim=(-reach, reach), ylim=(len(found), 0))
    ticks = [(share * reach, f"{100 * abs(share) * reach:g}") for share in (-1, -0.5, 0, 0.5, 1)]
    _lattice(axes, len(found), ticks, (-reach, 2.45 * reach))
    axes.plot([0, 0], [0, len(found)], color=MUTED, lw=1.2, zorder=1)
    write(axes, -reach, -0.6, f"< {both('difference.favours_base')}", 8.5, MUTED)
    write(axes, reach, -0.6, f"{both('difference.favours_retrained')} >", 8.5, MUTED, ha="right")
    for row, (metric, _, _, moved) in enumerate(found):
        if moved is None:
            write(axes, 1.06 * reach, row + 0.5, both("page.not_measured"), 8.5, MUTED)
            continue
        side = favours(metric, moved) if moved["decided"] else ""
        point(axes, row + 0.5, _turned(moved) if metric in LESS else moved, COLOURS.get(side, "#FFFFFF"))
        write(axes, 1.06 * reach, row + 0.36, _told(metric, moved), 8.5)
        write(axes, 1.06 * reach, row + 0.68, _concluded(moved, side), 8, MUTED)


def _lattice(axes: "Axes", rows: int, ticks: list[tuple[float, str]], ends: tuple[float, float]) -> None:
    """Lines between the measures, as long as `ends` say, and up from each tick."""
    for row in range(rows):
        axes.plot(ends, [row, row], color=LINE, lw=0.8, clip_on=False)
    for x, name in ticks:
        axes.plot([x, x], [0, rows], color=LINE, lw=0.8, zorder=0, clip_on=False)
        write(axes, x, rows + 0.12, name, 8, MUTED, ha="center", va="top")


def _turned(found: dict) -> Estimate:
    return {"value": -found["value"], "low": -found["high"], "high": -found["low"]}


def _told(metric: str, moved: dict) -> str:
    if metric in PLAIN:
        return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*(moved[name] for name in ("value", "low", "high")))
    value, low, high = (100 * moved[name] for name in ("value", "low", "high"))
    return f"{both('picture.points', value=f'{value:+.1f}')} [{low:+.1f}, {high:+.1f}]"


def _concluded(moved: dict, side: str) -> str:
    p = "p < 0.001" if moved["p_adjusted"] < 0.001 else f"p = {moved['p_adjusted']:.3f}"
    if side:
        return f"{p} · {both(f'difference.favours_{side}')}"
    return f"{p} · {both('difference.undecided' if moved['value'] else 'difference.same')}"
