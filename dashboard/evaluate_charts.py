"""The confusion matrix and the reliability curve as plain plotly figures (JSON).

They are not curves over steps: `plain` tells charts.js to draw them as they are. A colour is the name of a token
("@accent"), with its opacity in per cent behind a slash ("@danger/40").
"""

from collections.abc import Mapping, Sequence
from itertools import product

from dashboard import numbers
from dashboard.bridge import Page
from dashboard.cards import CLASSES
from dashboard.charts import LAYOUT
from dashboard.evaluate_figures import share

MARGIN = {"l": 92, "r": 2, "t": 40, "b": 2}
"""Pixels around the cells of the matrix; evaluate_tab.css lays the buttons of the cells over them."""

DANGER = {("DENY", "ALLOW"): 1.0, ("REFUSE", "ALLOW"): 1.0, ("ESCALATION", "ALLOW"): 0.6,
          ("ALLOW", "DENY"): 0.5, ("ALLOW", "REFUSE"): 0.5}  # fmt: skip
"""How red an error (expected, given) looks beside the worst one; OTHER for the rest."""

OTHER = 0.3


def columns(mode: str, confusion: Sequence[Sequence[int]]) -> list[str]:
    """The classes that can be given; "" (none) where answers are written, or where it occurs."""
    return [*CLASSES, ""] if mode == "generated" or any(row[-1] for row in confusion) else [*CLASSES]


def matrix(mode: str, confusion: Sequence[Sequence[int]], page: Page) -> dict:
    """Counts and shares of the row. The right decisions stand in their class's colour, errors the redder the worse."""
    given = columns(mode, confusion)
    width, height = range(len(given)), range(len(CLASSES))
    shares = [[count / sum(row) if sum(row) else 0.0 for count in row[: len(given)]] for row in confusion]

    def only(wanted) -> list[list[float | None]]:
        return [
            [shares[r][c] if wanted(CLASSES[r], given[c]) and confusion[r][c] else None for c in width] for r in height
        ]

    def danger(r: int, c: int) -> float | None:
        wrong = given[c] != CLASSES[r] and confusion[r][c]
        return DANGER.get((CLASSES[r], given[c]), OTHER) * (0.35 + 0.65 * shares[r][c]) if wrong else None

    traces = [_cells([[0.0 for _ in width] for _ in height], "@soft", "@soft")]
    for name in CLASSES:
        right = only(lambda expected, told, name=name: expected == told == name)
        traces.append(_cells(right, f"@{name.lower()}/14", f"@{name.lower()}/50"))
    traces.append(_cells([[danger(r, c) for c in width] for r in height], "@danger/0", "@danger/62"))
    unparseable = page.t("evaluate.confusion.unparseable")
    names = [name or unparseable for name in given]
    layout = LAYOUT | {
        "margin": MARGIN, "hovermode": False, "dragmode": False, "annotations": _counts(confusion, shares, len(given)),
        "xaxis": _axis(names) | {"side": "top", "title": {"text": page.t("evaluate.confusion.given"), **_TITLE}},
        "yaxis": _axis(CLASSES) | {"autorange": "reversed", "title": {"text": page.t("evaluate.confusion.expected"), **_TITLE}},
    }  # fmt: skip
    layout.pop("yaxis2")
    return {"plain": True, "data": traces, "layout": layout, "narrow": {"xaxis": [name[0] for name in names]}}


_TITLE = {"font": {"size": 11}, "standoff": 2}


def _cells(z: list[list[float | None]], low: str, high: str) -> dict:
    return {
        "type": "heatmap", "x": list(range(len(z[0]))), "y": list(range(len(z))), "z": z, "zmin": 0, "zmax": 1,
        "colorscale": [[0, low], [1, high]], "showscale": False, "xgap": 3, "ygap": 3, "hoverinfo": "skip",
    }  # fmt: skip


def _axis(names: Sequence[str]) -> dict:
    return {
        "tickvals": list(range(len(names))), "ticktext": list(names), "showgrid": False, "zeroline": False, "ticks": "",
        "fixedrange": True, "showline": False, "tickfont": {"size": 11, "color": "@text"}, "tickangle": 0, "ticklabelstandoff": 4,
        "range": [-0.5, len(names) - 0.5],
    }  # fmt: skip


def _counts(confusion: Sequence[Sequence[int]], shares: list[list[float]], width: int) -> list[dict]:
    found = []
    for r, c in product(range(len(CLASSES)), range(width)):
        count = confusion[r][c]
        text = f"<b>{count:,}</b><br><span style='font-size:11px'>{share(shares[r][c])}</span>" if count else "0"
        font = {"size": 16 if count else 13, "color": "@text" if count else "@muted"}
        found.append({"x": c, "y": r, "text": text, "showarrow": False, "font": font})
    return found


def reliability(calibration: Mapping, page: Page) -> dict:
    """Accuracy over mean confidence of each bin that holds rows, and how many rows it holds."""
    bins = [one for one in calibration["bins"] if one["count"]]
    told = [
        page.t("evaluate.calibration.hover", confidence=numbers.fixed(one["confidence"], 2),
               accuracy=share(one["accuracy"]), count=numbers.count(one["count"]))
        for one in bins
    ]  # fmt: skip
    bars = {
        "type": "bar", "x": [(one["low"] + one["high"]) / 2 for one in bins],
        "y": [one["count"] / calibration["rows"] for one in bins], "width": 0.092,
        "marker": {"color": "@muted/22"}, "hoverinfo": "skip", "name": page.t("evaluate.calibration.share"),
    }  # fmt: skip
    perfect = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
               "line": {"color": "@muted", "width": 1, "dash": "dot"}}  # fmt: skip
    curve = {
        "type": "scatter", "mode": "lines+markers", "x": [one["confidence"] for one in bins],
        "y": [one["accuracy"] for one in bins], "text": told, "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": "@accent", "width": 2}, "marker": {"color": "@accent", "size": 7}, "cliponaxis": False,
    }  # fmt: skip
    unit = {"range": [0, 1], "tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".2~f", "fixedrange": True}
    x = LAYOUT["xaxis"] | unit | {"title": {"text": page.t("evaluate.calibration.confidence"), **_TITLE}}
    y = LAYOUT["yaxis"] | unit | {"title": {"text": page.t("evaluate.calibration.accuracy"), **_TITLE}}
    layout = LAYOUT | {
        "margin": {"l": 48, "r": 12, "t": 8, "b": 40},
        "xaxis": x,
        "yaxis": y,
        "hovermode": "closest",
        "dragmode": False,
    }
    layout.pop("yaxis2")
    return {"plain": True, "data": [bars, perfect, curve], "layout": layout}
