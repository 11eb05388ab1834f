"""The calibration of a mode: its two figures and the reliability curve, drawn as SVG in the page."""

from so8t_engine.evaluate.page_pieces import facts, fixed, not_measured, percent, t, table, word
from so8t_engine.measure.statistics import wilson

SIDE = 300
LEFT, TOP, BOTTOM = 46, 8, 40
BARS = 34
"""Heights and widths in units of the drawing: the square of the curve, its margins, the bars of the counts under it."""


def calibrated(mode: str, found: dict) -> str:
    """ECE, Brier score and the curve of what the mode says of its own sureness; says so where it says nothing."""
    measured, rows = found["calibration"], found["summary"]["rows"]
    told = f'<p class="note">{t(f"calibration.{mode}")}</p>'
    if mode == "generated":
        stated = t("calibration.stated", n=f"{rows:,}", stated=f"{found['stated']:,}")
        told += f'<p class="note">{stated}</p>'
    if measured is None:
        return f"{told}<p>{not_measured()}</p>"
    figures = facts(
        (
            (t("calibration.ece"), f"<b>{fixed(measured['ece'])}</b>"),
            (t("calibration.brier"), f"<b>{fixed(measured['brier'])}</b>"),
            (t("calibration.of"), f"{measured['rows']:,}"),
        )
    )
    head = [t(f"calibration.{name}") for name in ("bin", "count", "mean", "accuracy")]
    lines = [
        [
            f"{one['low']:.1f}–{one['high']:.1f}",
            f"{one['count']:,}",
            percent(one["confidence"]),
            percent(one["accuracy"]),
        ]
        for one in measured["bins"]
        if one["count"]
    ]
    values = f"<details><summary>{t('calibration.values')}</summary>{table(head, lines)}</details>"
    return f"{told}{figures}{_curve(measured['bins'])}{values}"


def _curve(bins: list[dict]) -> str:
    """Share of right decisions over mean confidence, with 95 % intervals; how many decisions a bin has stands below."""
    width, height = LEFT + SIDE + 12, TOP + SIDE + BARS + BOTTOM
    drawn = "".join((_grid(), _bars(bins), _points([one for one in bins if one["count"]]), _names(width, height)))
    return f'<svg class="curve" viewBox="0 0 {width} {height}" aria-hidden="true">{drawn}</svg>'


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)


def _grid() -> str:
    parts = []
    for tenth in range(0, 11, 2):
        share = tenth / 10
        parts.append(f'<path class="grid" d="M{_x(0)} {_y(share)}H{_x(1)}M{_x(share)} {_y(0)}V{_y(1)}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{_y(share) + 4}" text-anchor="end">{share:.1f}</text>')
        parts.append(f'<text x="{_x(share)}" y="{_y(0) + BARS + 14}" text-anchor="middle">{share:.1f}</text>')
    return "".join(parts) + f'<path class="ideal" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>'


def _bars(bins: list[dict]) -> str:
    most = max(one["count"] for one in bins)
    return "".join(
        f'<rect class="count" x="{_x(one["low"]) + 1:.1f}" width="{SIDE / len(bins) - 2:.1f}" '
        f'y="{_y(0) + 2:.1f}" height="{(BARS - 4) * one["count"] / most:.1f}"/>'
        for one in bins
    )


def _points(bins: list[dict]) -> str:
    line = " ".join(f"{_x(one['confidence']):.1f},{_y(one['accuracy']):.1f}" for one in bins)
    parts = [f'<polyline class="line" points="{line}"/>']
    for one in bins:
        x, y = _x(one["confidence"]), _y(one["accuracy"])
        low, high = wilson(round(one["accuracy"] * one["count"]), one["count"])
        parts.append(
            f'<path class="reach" d="M{x:.1f} {_y(low):.1f}V{_y(high):.1f}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        )
    return "".join(parts)


def _names(width: float, height: float) -> str:
    """The names of the axes, in both languages."""
    parts = []
    for language in ("ja", "en"):
        across, up = word("calibration.confidence", language), word("calibration.accuracy", language)
        parts.append(f'<text lang="{language}" x="{_x(0.5)}" y="{height - 8}" text-anchor="middle">{across}</text>')
        parts.append(
            f'<text lang="{language}" transform="translate(12 {_y(0.5)}) rotate(-90)" text-anchor="middle">{up}</text>'
        )
    return "".join(parts)
