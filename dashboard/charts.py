"""Charts as plain plotly figures (JSON), in one template, at most 500 points a curve.

A colour is the name of a token ("@accent"): page.js puts in the page's present light or dark value. A trace carries
its x by step, by tokens and by time in `meta.x`, so that the page switches the axis without asking again.
"""

import csv as csv_format
import io
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from dashboard import numbers
from dashboard.bridge import Page
from so8t_engine import Snapshot

MAX_POINTS = 500

SMOOTHING = 0.9
"""Weight of the past in the running mean drawn over noisy curves."""

IDLE_GAP = 10.0
"""Seconds. A longer hole between two hardware samples is time in which nothing ran: it is drawn this short."""

AXES = ("step", "tokens", "time")

DECISIONS = {"unsafe_allow": "@danger", "over_refusal": "@escalation", "accuracy": "@accent", "macro_f1": "@muted"}
"""The figures of a four-class score, what costs most first, each with its colour."""

LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "Inter, 'Noto Sans JP', sans-serif", "size": 12, "color": "@muted"},
    "margin": {"t": 10, "b": 40},
    "showlegend": False,
    "hovermode": "x unified",
    "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@text", "size": 12}},
    "uirevision": "keep",
    "xaxis": {
        "gridcolor": "@line", "gridwidth": 1, "zeroline": False, "showline": True, "linecolor": "@line",
        "ticks": "outside", "ticklen": 4, "tickcolor": "@line", "nticks": 6, "tickangle": 0, "separatethousands": True,
        "title": {"standoff": 6, "font": {"size": 11}},
        "spikecolor": "@muted", "spikethickness": 1, "spikedash": "dot",
    },
    "yaxis": {"gridcolor": "@line", "gridwidth": 1, "zeroline": False, "nticks": 5, "automargin": False},
    "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
}  # fmt: skip
"""The template of every chart: thin grid, no frame, direct labels, unified hover, zoom kept across updates."""

Xs = dict[str, list[float]]


def downsample(values: Sequence[float | None], limit: int = MAX_POINTS) -> list[int]:
    """Indexes of at most `limit` values that keep the first, the last, and each stretch's lowest and highest."""
    if len(values) <= limit:
        return list(range(len(values)))
    buckets = (limit - 2) // 2
    inner = len(values) - 2
    kept = {0, len(values) - 1}
    for bucket in range(buckets):
        start, end = 1 + bucket * inner // buckets, 1 + (bucket + 1) * inner // buckets
        measured = [i for i in range(start, end) if values[i] is not None and math.isfinite(values[i])]
        if measured:
            kept |= {min(measured, key=values.__getitem__), max(measured, key=values.__getitem__)}
    return sorted(kept)


def smooth(values: Sequence[float | None]) -> list[float | None]:
    """The running mean, corrected for its short past at the start."""
    mean, weight, result = 0.0, 0.0, []
    for value in values:
        if value is not None and math.isfinite(value):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * value
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        result.append(mean / weight if weight else None)
    return result


def curves(snapshot: Snapshot, page: Page) -> dict[str, dict | None]:
    """The training's charts by name; None where there is nothing to draw yet."""
    steps = list(snapshot.steps)
    if not steps:
        return dict.fromkeys(("loss", "decisions", "label_nll", "learning_rate", "speed"))
    road = _Road(steps, page)
    marks = _marks(snapshot, road, page)
    speeds = [step.tokens / step.seconds if step.seconds else None for step in steps]

    def measured(key: str, field: str) -> list[dict]:
        raw = [getattr(step, field) for step in steps]
        seen = [v for v in snapshot.validations if getattr(v, field) is not None and v.step <= steps[-1].step]
        return [
            _line(page.t(f"chart.{key}"), road.xs, raw, "@accent", ".3f", faint=True),
            _line(page.t("chart.mean"), road.xs, smooth(raw), "@accent", ".3f",
                  label=lambda value: page.t("chart.end_mean", value=numbers.loss(value))),
            _points(page.t(f"chart.val_{key}"), road.at([v.step for v in seen]), [getattr(v, field) for v in seen],
                    label=lambda value: page.t("chart.end_validation", value=numbers.loss(value))),
        ]  # fmt: skip

    rates = [step.learning_rate for step in steps]
    return {
        "loss": _figure(measured("loss", "loss"), road, marks),
        "decisions": _decisions(snapshot, road, marks, page),
        "label_nll": _figure(measured("label_nll", "label_nll"), road, marks)
        if any(step.label_nll is not None for step in steps) else None,
        "learning_rate": _figure(
            [_line(page.t("chart.learning_rate"), road.xs, rates, "@accent", ".2e", label=numbers.small)],
            road, marks, y={"exponentformat": "e", "tickformat": ".1e", "rangemode": "tozero"}, left=52,
        ),
        "speed": _figure(
            [_line(page.t("chart.speed"), road.xs, speeds, "@accent", ",.0f", faint=True),
             _line(page.t("chart.mean"), road.xs, smooth(speeds), "@accent", ",.0f", label=numbers.rate)],
            road, marks, y={"rangemode": "tozero", "separatethousands": True},
        ),
    }  # fmt: skip


def hardware(snapshot: Snapshot, page: Page) -> dict[str, dict | None]:
    """CPU and RAM always, the card's figures only where a card has told them."""
    samples = list(snapshot.hardware)
    if not samples:
        return {"cpu": None, "ram": None}
    seconds = _working_seconds([sample.time for sample in samples])
    scale, unit = _time_scale(seconds[-1])
    xs = {"time": [round(second / scale, 3) for second in seconds]}
    title = {"time": page.t(f"chart.time_{unit}")}

    def chart(field: str, ceiling: float | None, fmt: str, label: Callable, divide: float = 1.0) -> dict | None:
        values = [getattr(sample, field) for sample in samples]
        if all(value is None for value in values):
            return None
        scaled = [None if value is None else value / divide for value in values]
        y = {"range": [0, ceiling]} if ceiling else {}
        line = _line(page.t(f"chart.{field}"), xs, scaled, "@accent", fmt, label=label)
        return {"data": [line], "layout": _layout(title, y, 40), "meta": {"marks": []}}

    last, giga = samples[-1], 2**30
    found = {
        "cpu": chart("cpu", 100, ".0f", lambda v: f"{v:.0f} %"),
        "ram": chart("ram_used", last.ram_total / giga, ".1f", lambda v: f"{v:.1f} GiB", giga),
    }
    card = {
        "gpu": chart("gpu", 100, ".0f", lambda v: f"{v:.0f} %"),
        "vram": chart("vram_used", (last.vram_total or 0) / giga or None, ".1f", lambda v: f"{v:.1f} GiB", giga),
        "temperature": chart("temperature", None, ".0f", lambda v: f"{v:.0f} °C"),
        "power": chart("power", None, ".0f", lambda v: f"{v:.0f} W"),
    }
    return found | {name: figure for name, figure in card.items() if figure is not None}


def csv(snapshot: Snapshot) -> str:
    """Every step as a row, nothing left out; figures of the validation rows stand in the row of their step."""
    columns = ("step", "epoch", "loss", "label_nll", "learning_rate", "gradient_norm", "tokens", "seconds",
               "rotation_error")  # fmt: skip
    validations = {validation.step: validation for validation in snapshot.validations}
    scores = {score.step: score for score in snapshot.scores}
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\r\n")
    writer.writerow([*columns, "val_loss", "val_label_nll", *(f"val_{name}" for name in DECISIONS)])
    for step in snapshot.steps:
        seen = validations.get(step.step)
        validation = (seen.loss, seen.label_nll) if seen else (None, None)
        decisions = (getattr(scores.get(step.step), name, None) for name in DECISIONS)
        writer.writerow([*(getattr(step, name) for name in columns), *validation, *decisions])
    return text.getvalue()


class _Road:
    """Where each step lies on the three axes."""

    def __init__(self, steps: Sequence, page: Page) -> None:
        seconds = list(accumulate(step.seconds for step in steps))
        scale, unit = _time_scale(seconds[-1])
        self.xs: Xs = {
            "step": [step.step for step in steps],
            "tokens": list(accumulate(step.tokens for step in steps)),
            "time": [round(second / scale, 3) for second in seconds],
        }
        self.titles = {"step": page.t("chart.step"), "tokens": page.t("chart.tokens"),
                       "time": page.t(f"chart.time_{unit}")}  # fmt: skip

    def at(self, steps: Sequence[int]) -> Xs:
        """The places of some steps; a step before the first one lies at the start."""
        indexes = [max(0, bisect_right(self.xs["step"], step) - 1) for step in steps]
        return {axis: [self.xs[axis][i] for i in indexes] for axis in AXES}

    def whole(self) -> dict:
        """A trace that shows nothing: a chart of few points has the same axis as the others with it."""
        ends = self.at([self.xs["step"][0], self.xs["step"][-1]])
        return {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "x": ends["step"], "y": [None, None],
                "meta": {"x": ends}}  # fmt: skip


def _marks(snapshot: Snapshot, road: _Road, page: Page) -> dict:
    """Vertical lines for resumes and a failure, small ticks for checkpoints."""
    lines = [("@muted", page.t("chart.resumed", step=resume.step), resume.step) for resume in snapshot.resumes]
    if snapshot.failure:
        lines.append(("@danger", page.t("chart.failed", step=snapshot.step), snapshot.step))
    places = road.at([step for _, _, step in lines])
    last = road.xs["step"][-1]
    saved = [checkpoint.step for checkpoint in snapshot.checkpoints if checkpoint.step <= last][-MAX_POINTS:]
    return {
        "lines": [
            {"color": color, "label": label, "x": {axis: places[axis][i] for axis in AXES}}
            for i, (color, label, _) in enumerate(lines)
        ],
        "ticks": {
            "type": "scatter", "mode": "markers", "yaxis": "y2", "hoverinfo": "skip", "x": saved,
            "y": [0.0] * len(saved), "meta": {"x": road.at(saved)}, "cliponaxis": False,
            "marker": {"symbol": "line-ns-open", "size": 9, "color": "@muted", "line": {"width": 1.5}},
        },
    }  # fmt: skip


def _decisions(snapshot: Snapshot, road: _Road, marks: dict, page: Page) -> dict | None:
    """The four-class scores of the validation rows, in per cent."""

    def curve(name: str, color: str) -> dict | None:
        scores = [score for score in snapshot.scores if score.step <= road.xs["step"][-1]]
        seen = [(score.step, 100 * value) for score in scores if (value := getattr(score, name)) is not None]
        if not seen:
            return None
        words = page.t(f"chart.{name}")
        return _points(words, road.at([step for step, _ in seen]), [value for _, value in seen], color, ".1f",
                       label=lambda value: f"{words} {numbers.percent(value)}")  # fmt: skip

    drawn = [trace for name, color in DECISIONS.items() if (trace := curve(name, color))]
    return _figure([*drawn, road.whole()], road, marks, y={"range": [0, 100]}, right=140) if drawn else None


def _figure(
    traces: list[dict], road: _Road, marks: dict, y: dict | None = None, left: int = 40, right: int = 80
) -> dict:
    layout = _layout(road.titles, y or {}, left, right)
    return {"data": [*traces, marks["ticks"]], "layout": layout, "meta": {"marks": marks["lines"]}}


def _layout(titles: dict[str, str], y: dict, left: int, right: int = 80) -> dict:
    layout = LAYOUT | {"margin": LAYOUT["margin"] | {"l": left, "r": right}, "yaxis": LAYOUT["yaxis"] | y}
    return layout | {"meta": {"titles": titles}}


def _line(
    name: str, xs: Xs, values: Sequence[float | None], color: str, fmt: str, *,
    faint: bool = False, label: Callable[[float], str] | None = None,
) -> dict:  # fmt: skip
    """A curve. `faint` is drawn behind its running mean; `label` writes the last value at the curve's end."""
    kept = downsample(values)
    x = {axis: [places[i] for i in kept] for axis, places in xs.items()}
    y = [_finite(values[i]) for i in kept]
    meta: dict = {"x": x}
    if label and y and y[-1] is not None:
        meta["label"] = label(y[-1])
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": next(iter(x.values())), "y": y, "meta": meta,
        "line": {"color": color, "width": 1 if faint else 2}, "opacity": 0.35 if faint else 1.0,
        "hovertemplate": f"%{{y:{fmt}}}",
    }  # fmt: skip


def _points(
    name: str, x: Xs, values: Sequence[float], color: str = "@text", fmt: str = ".3f", *,
    label: Callable[[float], str],
) -> dict:  # fmt: skip
    """Single measurements, joined by a dotted line: nothing is known between them."""
    kept = downsample(values)
    x = {axis: [places[i] for i in kept] for axis, places in x.items()}
    y = [_finite(values[i]) for i in kept]
    meta: dict = {"x": x}
    if y and y[-1] is not None:
        meta["label"] = label(y[-1])
    return {
        "type": "scatter", "mode": "markers+lines", "name": name, "x": x["step"], "y": y, "meta": meta,
        "marker": {"color": color, "size": 6}, "line": {"color": color, "width": 1, "dash": "dot"},
        "hovertemplate": f"%{{y:{fmt}}}", "cliponaxis": False,
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    """JSON has no NaN; a gap shows that there was no number. Five digits are more than a pixel can tell."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def _time_scale(seconds: float) -> tuple[float, str]:
    if seconds < 120:
        return 1.0, "s"
    return (60.0, "min") if seconds < 7200 else (3600.0, "h")


def _working_seconds(times: Sequence[float]) -> list[float]:
    """Seconds since the first sample without the time in which nothing ran."""
    gaps = (min(max(0.0, b - a), IDLE_GAP) for a, b in pairwise(times))
    return [0.0, *accumulate(gaps)]
