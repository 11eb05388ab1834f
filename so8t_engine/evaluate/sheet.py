"""The sheet of a picture: all on it is drawn by hand, so that nobody's matplotlib settings or fonts change it."""

from bisect import bisect_left
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING

from so8t_engine.evaluate.page_pieces import JAPANESE, LANGUAGES, word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DOTS_PER_INCH = 150
TEXT, MUTED, LINE, SOFT, DANGER, WHITE = "#1C1E21", "#5F6670", "#E3E5E8", "#F1F2F4", "#C8362B", "#FFFFFF"

MISSING = "〓"
"""What Japanese printers set for a character that they have no type for."""

HEAD = 0.95
"""Inches that the title takes."""


def sheet(width: float, height: float, title: str, results: dict) -> "Figure":
    """A white sheet, so many inches wide and high, with its title and on what data and when it was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=WHITE)
    FigureCanvasAgg(figure)
    data = results["data"]
    about = (PurePath(data["file"]).name, both("picture.rows", n=f"{data['rows']:,}"), results["created"][:10])
    for inches, text, size, colour in (
        (0.32, title, 14, TEXT),
        (0.62, " · ".join(about), 9, MUTED),
    ):
        line = write(figure, 0.3 / width, 1 - inches / height, drawable(text), size, colour)
        shorten(line, (width - 0.6) * DOTS_PER_INCH)
    return figure


def shorten(line: "Text", dots: float) -> None:
    """Cut a text that is wider than so many dots."""
    whole = line.get_text()

    def too_wide(length: int) -> bool:
        line.set_text(whole if length == len(whole) else whole[:length] + "…")
        return line.get_window_extent().width > dots

    if too_wide(len(whole)):
        too_wide(bisect_left(range(len(whole)), True, key=too_wide) - 1)


def area(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """An empty part of the sheet, in inches."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_axis_off()
    return axes


def drawn(figure: "Figure", measured: bool = True) -> bytes:
    """The sheet as PNG. measured: whether there is anything on it."""
    if not measured:
        write(figure, 0.5, 0.4, both("page.not_measured"), 12, MUTED, ha="center")
    buffer = BytesIO()
    figure.canvas.print_png(buffer)
    return buffer.getvalue()


def write(where: "Axes | Figure", x: float, y: float, text: str, size: float, colour: str = TEXT, **more) -> "Text":
    """A line of text in the font that ships."""
    from matplotlib.font_manager import FontProperties

    type_ = FontProperties(fname=JAPANESE, size=size)
    plain = {"parse_math": False, "usetex": False, "va": "center"}
    return where.text(x, y, text, fontproperties=type_, color=colour, **(plain | more))


def box(axes: "Axes", x: float, y: float, width: float, height: float, colour: tuple[float, ...]) -> None:
    """A filled rectangle."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="none"))


def mixed(colour: str, ground: str, share: float) -> tuple[float, ...]:
    """So much of a colour on a ground."""
    from matplotlib.colors import to_rgb

    return tuple(share * a + (1 - share) * b for a, b in zip(to_rgb(colour), to_rgb(ground), strict=True))


def both(key: str, **facts: object) -> str:
    """The words of `key` in both languages, once where they are the same."""
    return " / ".join(dict.fromkeys(word(key, language, **facts) for language in LANGUAGES))


def drawable(text: str) -> str:
    """Text from outside with MISSING for each character that the font lacks."""
    from matplotlib.font_manager import get_font

    known = get_font(str(JAPANESE)).get_charmap()
    return "".join(sign if ord(sign) in known else " " if sign.isspace() else MISSING for sign in text)
