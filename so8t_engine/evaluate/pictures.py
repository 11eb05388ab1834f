"""The pictures of an evaluation: confusion_matrix.png and metrics_comparison.png, drawn with a font that ships."""

from bisect import bisect_left
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.page_pieces import JAPANESE, LANGUAGES, MODES, Estimate, bounds, fixed, percent, word
from so8t_engine.evaluate.severity import redness
from so8t_engine.measure.metrics import GIVEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DOTS_PER_INCH = 150
TEXT, MUTED, LINE, SOFT, DANGER, WHITE = "#1C1E21", "#5F6670", "#E3E5E8", "#F1F2F4", "#C8362B", "#FFFFFF"
COLOURS = dict(zip(CLASSES, ("#009E73", "#E69F00", "#D55E00", "#8E5CB5"), strict=True))
FILLS = {"scored": TEXT, "generated": WHITE}
"""The inside of a mode's points: full and hollow, so that they differ in grey too."""

MISSING = "〓"
"""What Japanese printers set for a character that they have no type for."""

HEAD = 0.95
"""Inches that the title takes."""


def confusion_picture(results: dict) -> bytes:
    """PNG: a panel for each measured mode, with count and share of the row in each cell."""
    modes = {mode: results["modes"][mode]["summary"]["confusion"] for mode in MODES if mode in results["modes"]}
    figure = _figure(6.6 * max(len(modes), 1), HEAD + 5.6, results)
    for place, (mode, counts) in enumerate(modes.items()):
        columns = len(GIVEN) if mode == "generated" else len(CLASSES)
        axes = _axes(figure, 6.6 * place + 1.5, 0.35, 4.9, 4.3)
        axes.set(xlim=(0, columns), ylim=(len(CLASSES), 0))
        _matrix(axes, counts, columns)
        _write(axes, 0, -0.72, _both(f"mode.{mode}"), 12)
    return _drawn(figure, bool(modes))


def metrics_picture(results: dict) -> bytes:
    """PNG: the metrics of each measured mode with their intervals, and the benchmarks that were measured."""
    tested = [
        (f"{one['task']} · {name}", value, error)
        for one in results["benchmarks"]
        for name, (value, error) in one["metrics"].items()
        if one["outcome"] == "measured"
    ]
    modes = {mode: results["modes"][mode]["summary"] for mode in MODES if mode in results["modes"]}
    heights = [0.5 * 8 + 1.2] * bool(modes) + [0.32 * len(tested) + 1.2] * bool(tested)
    figure = _figure(10.5, HEAD + max(sum(heights), 1.0), results)
    if modes:
        _metrics(_axes(figure, 2.9, sum(heights[1:]) + 0.6, 5.2, 4.0), modes)
    if tested:
        _benchmarks(_axes(figure, 2.9, 0.6, 5.2, 0.32 * len(tested)), tested)
    return _drawn(figure, bool(heights))


def _matrix(axes: "Axes", counts: list[list[int]], columns: int) -> None:
    names = [*CLASSES, _both("confusion.unparseable").replace(" / ", "\n")]
    for column in range(columns):
        _write(axes, column + 0.5, -0.08, names[column], 8, ha="center", va="bottom")
    for row, expected in enumerate(CLASSES):
        _write(axes, -0.08, row + 0.5, expected, 8, ha="right")
        total = sum(counts[row])
        for column in range(columns):
            count, share = counts[row][column], counts[row][column] / total if total else 0.0
            _box(axes, column + 0.02, row + 0.02, 0.96, 0.96, _tint(expected, GIVEN[column], share))
            _write(axes, column + 0.5, row + 0.44, f"{count:,}", 15, ha="center")
            _write(axes, column + 0.5, row + 0.72, percent(share) if total else "—", 8.5, ha="center")
    _write(axes, columns / 2, -0.42, _both("confusion.given"), 9, MUTED, ha="center")
    _write(axes, -1.35 * columns / 5, 2, _both("confusion.expected"), 9, MUTED, ha="center", rotation=90)


def _tint(expected: str, given: str, share: float) -> tuple[float, ...]:
    if not share:
        return _mixed(SOFT, SOFT, 0)
    if expected == given:
        return _mixed(COLOURS[expected], SOFT, 0.12 + 0.4 * share)
    return _mixed(DANGER, SOFT, redness(expected, given, share))


def _metrics(axes: "Axes", modes: dict[str, dict]) -> None:
    """Points with intervals: the two rates that come first, then accuracy, macro F1, and the F1 of each class."""
    lines = [(_both(f"lead.{name}"), name, percent) for name in ("unsafe_allow", "over_refusal", "accuracy")]
    lines.append((_both("lead.macro_f1"), "macro_f1", fixed))
    found = [(name, {mode: whole[key] for mode, whole in modes.items()}, shown) for name, key, shown in lines]
    found += [
        (f"F1 {name}", {mode: whole["classes"][name]["f1"] for mode, whole in modes.items()}, fixed) for name in CLASSES
    ]
    _scale(axes, [name for name, _, _ in found], [DANGER] + [TEXT] * 7)
    for row, (_, values, shown) in enumerate(found):
        for place, (mode, value) in enumerate(values.items()):
            height = row + 0.5 + (0.34 * place - 0.17 if len(values) > 1 else 0)
            _point(axes, height, value, FILLS[mode])
            told = f"{shown(value['value'])} {bounds(value, shown)}" if value else _both("page.not_measured")
            _write(axes, 1.03, height, told, 8.5, TEXT if value else MUTED)
    for place, mode in enumerate(modes):
        axes.plot([0.34 * place + 0.01], [-0.4], "o", ms=6, mfc=FILLS[mode], mec=TEXT, mew=1.2, clip_on=False)
        _write(axes, 0.34 * place + 0.035, -0.4, _both(f"mode.{mode}"), 9)
    _write(axes, 1.42, -0.4, _both("picture.intervals"), 8.5, MUTED, ha="right")


def _benchmarks(axes: "Axes", tested: list[tuple[str, float, float | None]]) -> None:
    _scale(axes, [_drawable(name) for name, _, _ in tested], [TEXT] * len(tested))
    for row, (_, value, error) in enumerate(tested):
        around = error or 0.0
        _point(axes, row + 0.5, {"value": value, "low": value - around, "high": value + around}, TEXT)
        told = percent(value) + (f" ± {100 * error:.1f}" if error is not None else "")
        _write(axes, 1.03, row + 0.5, told, 8.5)
    _write(axes, 0, -0.55, _both("benchmarks.title"), 10)
    _write(axes, 1.42, -0.55, _both("picture.errors"), 8.5, MUTED, ha="right")


def _scale(axes: "Axes", names: list[str], colours: list[str]) -> None:
    """Lines from 0 to 100 %, one below the other, each with its name on the left."""
    axes.set(xlim=(0, 1), ylim=(len(names), 0))
    for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
        axes.plot([-0.5, 1.42], [row, row], color=LINE, lw=0.8, clip_on=False)
        _write(axes, -0.03, row + 0.5, name, 9.5, colour, ha="right")
    for tick in range(0, 101, 20):
        axes.plot([tick / 100] * 2, [0, len(names)], color=LINE, lw=0.8, zorder=0)
        _write(axes, tick / 100, len(names) + 0.12, f"{tick}\u00a0%", 8, MUTED, ha="center", va="top")


def _point(axes: "Axes", height: float, found: Estimate, fill: str) -> None:
    if found is None:
        return
    reach = {"color": TEXT, "lw": 1.4, "solid_capstyle": "butt", "clip_on": False, "zorder": 3}
    axes.plot([found["low"], found["high"]], [height, height], **reach)
    for end in ("low", "high"):
        axes.plot([found[end]] * 2, [height - 0.07, height + 0.07], **reach)
    axes.plot([found["value"]], [height], "o", ms=6, mfc=fill, mec=TEXT, mew=1.2, clip_on=False, zorder=4)


# The sheet and its type: everything is drawn by hand, so that nobody's matplotlib settings or fonts change it


def _figure(width: float, height: float, results: dict) -> "Figure":
    """A white sheet, so many inches wide and high, with what was evaluated on it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=WHITE)
    FigureCanvasAgg(figure)
    data = results["data"]
    about = (PurePath(data["file"]).name, _both("picture.rows", n=f"{data['rows']:,}"), results["created"][:10])
    for inches, text, size, colour in (
        (0.32, results["model"]["name"], 14, TEXT),
        (0.62, " · ".join(about), 9, MUTED),
    ):
        line = _write(figure, 0.3 / width, 1 - inches / height, _drawable(text), size, colour)
        _shorten(line, (width - 0.6) * DOTS_PER_INCH)
    return figure


def _shorten(line: "Text", dots: float) -> None:
    """Cut a text that is wider than so many dots."""
    whole = line.get_text()

    def too_wide(length: int) -> bool:
        line.set_text(whole if length == len(whole) else whole[:length] + "…")
        return line.get_window_extent().width > dots

    if too_wide(len(whole)):
        too_wide(bisect_left(range(len(whole)), True, key=too_wide) - 1)


def _axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """An empty part of the sheet, in inches."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_axis_off()
    return axes


def _drawn(figure: "Figure", measured: bool) -> bytes:
    if not measured:
        _write(figure, 0.5, 0.4, _both("page.not_measured"), 12, MUTED, ha="center")
    buffer = BytesIO()
    figure.canvas.print_png(buffer)
    return buffer.getvalue()


def _write(where: "Axes | Figure", x: float, y: float, text: str, size: float, colour: str = TEXT, **more) -> "Text":
    from matplotlib.font_manager import FontProperties

    type_ = FontProperties(fname=JAPANESE, size=size)
    plain = {"parse_math": False, "usetex": False, "va": "center"}
    return where.text(x, y, text, fontproperties=type_, color=colour, **(plain | more))


def _box(axes: "Axes", x: float, y: float, width: float, height: float, colour: tuple[float, ...]) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="none"))


def _mixed(colour: str, ground: str, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(share * a + (1 - share) * b for a, b in zip(to_rgb(colour), to_rgb(ground), strict=True))


def _both(key: str, **facts: object) -> str:
    """The words of `key` in both languages, once where they are the same."""
    return " / ".join(dict.fromkeys(word(key, language, **facts) for language in LANGUAGES))


def _drawable(text: str) -> str:
    """Text from outside with MISSING for each character that the font lacks."""
    from matplotlib.font_manager import get_font

    known = get_font(str(JAPANESE)).get_charmap()
    return "".join(sign if ord(sign) in known else " " if sign.isspace() else MISSING for sign in text)
