"""A confusion matrix as HTML: the place of its chart, with a button over each of its cells."""

from collections.abc import Sequence
from html import escape

from dashboard import cards, evaluate_charts, numbers
from dashboard.bridge import Page
from dashboard.evaluate_figures import share


def matrix(chart: str, mode: str, confusion: Sequence[Sequence[int]], page: Page, side: str = "") -> str:
    """The figure. chart: the name under which its drawing is sent; side: whose matrix it is where there are several."""
    told = evaluate_charts.columns(mode, confusion)
    heads = "".join(f'<th scope="col">{escape(_class(name, page))}</th>' for name in told)
    rows = "".join(
        f'<tr><th scope="row">{expected}</th>{"".join(_cell(expected, name, row[i], sum(row), page) for i, name in enumerate(told))}</tr>'
        for expected, row in zip(cards.CLASSES, confusion, strict=True)
    )
    caption = escape(page.t("evaluate.confusion.caption"))
    title, unit = escape(page.t("evaluate.confusion.title")), escape(page.t("evaluate.confusion.unit"))
    of = f' data-side="{escape(side)}"' if side else ""
    return (
        f'<figure class="so-chart so-confusion" data-chart="{chart}"{of}><figcaption><span class="so-unseen">{title}</span>'
        f'<small>{unit}</small></figcaption><div class="so-plot" aria-hidden="true"></div>'
        f'<table class="so-cells" style="--columns:{len(told)}"><caption>{caption}</caption><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></figure>"
    )


def _class(name: str, page: Page) -> str:
    return name or page.t("evaluate.confusion.unparseable")


def _cell(expected: str, told: str, count: int, total: int, page: Page) -> str:
    part = share(count / total) if total else numbers.DASH
    words = page.t(
        "evaluate.confusion.cell", expected=expected, given=_class(told, page), count=numbers.count(count), share=part
    )
    off = "" if count else " disabled"
    return (
        f'<td><button type="button" data-expected="{expected}" data-given="{told or "none"}" aria-label="{escape(words)}" '
        f'title="{escape(words)}"{off}></button></td>'
    )
