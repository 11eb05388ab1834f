"""The pictures of an evaluation: confusion_matrix.png and metrics_comparison.png, drawn with a font that ships."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.page_pieces import MODES, Estimate, bounds, fixed, percent
from so8t_engine.evaluate.severity import redness
from so8t_engine.evaluate.sheet import (
    DANGER,
    HEAD,
    LINE,
    MUTED,
    SOFT,
    TEXT,
    WHITE,
    area,
    both,
    box,
    drawable,
    drawn,
    mixed,
    sheet,
    write,
)
from so8t_engine.measure.metrics import GIVEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = dict(zip(CLASSES, ("#009E73", "#E69F00", "#D55E00", "#8E5CB5"), strict=True))
FILLS = {"scored": TEXT, "generated": WHITE}
"""The inside of a mode's points: full and hollow, so that they differ in grey too."""


def confusion_picture(results: dict) -> bytes:
    """PNG: a panel for each measured mode, with count and share of the row in each cell."""
    modes = {mode: results["modes"][mode]["summary"]["confusion"] for mode in MODES if mode in results["modes"]}
    figure = sheet(6.6 * max(len(modes), 1), HEAD + 5.6, results["model"]["name"], results)
    for place, (mode, counts) in enumerate(modes.items()):
        columns = len(GIVEN) if mode == "generated" else len(CLASSES)
        axes = area(figure, 6.6 * place + 1.5, 0.35, 4.9, 4.3)
        axes.set(xlim=(0, columns), ylim=(len(CLASSES), 0))
        matrix(axes, counts, columns)
        write(axes, 0, -0.72, both(f"mode.{mode}"), 12)
    return drawn(figure, bool(modes))


def metrics_picture(results: dict) -> bytes:
    """PNG: the metrics of each measured mode with their intervals, and the benchmarks that were measured."""
    tested = [
        (f"{one['task']} · {name}", value, error)
        for one in results["benchmarks"]
        for name, (value, error) in one["metrics"].items()
        if one["outcome"] == "measured"
    ]
    modes = [
        (both(f"mode.{mode}"), FILLS[mode], results["modes"][mode]["summary"])
        for mode in MODES
        if mode in results["modes"]
    ]
    heights = [0.5 * 8 + 1.2] * bool(modes) + [0.32 * len(tested) + 1.2] * bool(tested)
    figure = sheet(10.5, HEAD + max(sum(heights), 1.0), results["model"]["name"], results)
    if modes:
        metrics(area(figure, 2.9, sum(heights[1:]) + 0.6, 5.2, 4.0), modes)
    if tested:
        _benchmarks(area(figure, 2.9, 0.6, 5.2, 0.32 * len(tested)), tested)
    return drawn(figure, bool(heights))


def matrix(axes: "Axes", counts: list[list[int]], columns: int) -> None:
    """A table of counts by expected and given class, of which the first so many columns are shown."""
    names = [*CLASSES, both("confusion.unparseable").replace(" / ", "\n")]
    for column in range(columns):
        write(axes, column + 0.5, -0.08, names[column], 8, ha="center", va="bottom")
    for row, expected in enumerate(CLASSES):
        write(axes, -0.08, row + 0.5, expected, 8, ha="right")
        total = sum(counts[row])
        for column in range(columns):
            count, share = counts[row][column], counts[row][column] / total if total else 0.0
            box(axes, column + 0.02, row + 0.02, 0.96, 0.96, _tint(expected, GIVEN[column], share))
            write(axes, column + 0.5, row + 0.44, f"{count:,}", 15, ha="center")
            write(axes, column + 0.5, row + 0.72, percent(share) if total else "—", 8.5, ha="center")
    write(axes, columns / 2, -0.42, both("confusion.given"), 9, MUTED, ha="center")
    write(axes, -1.35 * columns / 5, 2, both("confusion.expected"), 9, MUTED, ha="center", rotation=90)


def _tint(expected: str, given: str, share: float) -> tuple[float, ...]:
    if not share:
        return mixed(SOFT, SOFT, 0)
    if expected == given:
        return mixed(COLOURS[expected], SOFT, 0.12 + 0.4 * share)
    return mixed(DANGER, SOFT, redness(expected, given, share))


def metrics(axes: "Axes", sides: Sequence[tuple[str, str, dict]]) -> None:
    """Points with intervals: the two rates that come first, then accuracy, macro F1, and the F1 of each class.

    sides: at most two, each with its name, the inside of its points, and its summary.
    """
    lines = [(both(f"lead.{name}"), name, percent) for name in ("unsafe_allow", "over_refusal", "accuracy")]
    lines.append((both("lead.macro_f1"), "macro_f1", fixed))
    found = [(name, [whole[key] for _, _, whole in sides], shown) for name, key, shown in lines]
    found += [(f"F1 {name}", [whole["classes"][name]["f1"] for _, _, whole in sides], fixed) for name in CLASSES]
    scale(axes, [name for name, _, _ in found], [DANGER] + [TEXT] * 7)
    for row, (_, values, shown) in enumerate(found):
        for place, (value, (_, fill, _)) in enumerate(zip(values, sides, strict=True)):
            height = row + 0.5 + (0.34 * place - 0.17 if len(values) > 1 else 0)
            point(axes, height, value, fill)
            told = f"{shown(value['value'])} {bounds(value, shown)}" if value else both("page.not_measured")
            write(axes, 1.03, height, told, 8.5, TEXT if value else MUTED)
    for place, (name, fill, _) in enumerate(sides):
        axes.plot([0.34 * place + 0.01], [-0.4], "o", ms=6, mfc=fill, mec=TEXT, mew=1.2, clip_on=False)
        write(axes, 0.34 * place + 0.035, -0.4, name, 9)
    write(axes, 1.42, -0.4, both("picture.intervals"), 8.5, MUTED, ha="right")


def _benchmarks(axes: "Axes", tested: list[tuple[str, float, float | None]]) -> None:
    scale(axes, [drawable(name) for name, _, _ in tested], [TEXT] * len(tested))
    for row, (_, value, error) in enumerate(tested):
        around = error or 0.0
        point(axes, row + 0.5, {"value": value, "low": value - around, "high": value + around}, TEXT)
        told = percent(value) + (f" ± {100 * error:.1f}" if error is not None else "")
        write(axes, 1.03, row + 0.5, told, 8.5)
    write(axes, 0, -0.55, both("benchmarks.title"), 10)
    write(axes, 1.42, -0.55, both("picture.errors"), 8.5, MUTED, ha="right")


def scale(axes: "Axes", names: list[str], colours: list[str]) -> None:
    """Lines from 0 to 100 %, one below the other, each with its name on the left."""
    axes.set(xlim=(0, 1), ylim=(len(names), 0))
    for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
        axes.plot([-0.5, 1.42], [row, row], color=LINE, lw=0.8, clip_on=False)
        write(axes, -0.03, row + 0.5, name, 9.5, colour, ha="right")
    for tick in range(0, 101, 20):
        axes.plot([tick / 100] * 2, [0, len(names)], color=LINE, lw=0.8, zorder=0)
        write(axes, tick / 100, len(names) + 0.12, f"{tick}\u00a0%", 8, MUTED, ha="center", va="top")


def point(axes: "Axes", height: float, found: Estimate, fill: str) -> None:
    """A value with its interval as a line across; nothing for what was not measured."""
    if found is None:
        return
    reach = {"color": TEXT, "lw": 1.4, "solid_capstyle": "butt", "clip_on": False, "zorder": 3}
    axes.plot([found["low"], found["high"]], [height, height], **reach)
    for end in ("low", "high"):
        axes.plot([found[end]] * 2, [height - 0.07, height + 0.07], **reach)
    axes.plot([found["value"]], [height], "o", ms=6, mfc=fill, mec=TEXT, mew=1.2, clip_on=False, zorder=4)
