"""The times of an A/B test's report."""

from so8t_engine.ab_tests import SIDES
from so8t_engine.evaluate.page_pieces import duration, estimate, in_both, probability, t, table, time_of

PARTS = ("first_token", "answer")


def times(found: dict) -> str:
    """How long both models took for the answers that were written one at a time, and for the others. found: what the
    generated mode measured."""
    paired = found["times"]
    if paired is None:
        return f'<p class="card">{t("times.none")}</p>'
    kind = "alone" if paired["in_turns"] else "apart"
    body = f"<h3>{t(f'times.{kind}', n=paired['answer']['rows'])}</h3>"
    if not paired["in_turns"]:
        body += f'<p class="warning">{t("times.not_in_turns")}</p>'
    quantiles = ("p50", "p95")
    head = ["", *(f"{t(f'latency.{name}')}<small>{t(f'ab.{side}')}</small>" for name in quantiles for side in SIDES)]
    head += [t(f"times.{name}") for name in ("mean_moved", "wilcoxon", "t_test", "effect")]
    rows = []
    for part in PARTS:
        one = paired[part]
        cells = [time_of(one[side][name]) for name in quantiles for side in ("first", "second")]
        rows.append([t(f"latency.{part}"), *cells, _moved(one), _p(one["p"]), _p(one["t_p"]), _effect(one)])
    return f'<article class="card">{body}{table(head, rows)}</article>'


def _moved(one: dict) -> str:
    """+0.12 s with its interval, and the share of the base's."""
    value = in_both(lambda language: _signed(one["mean"]["value"], language))
    share = "" if one["mean"]["relative"] is None else f" ({100 * one['mean']['relative']:+.0f}\u00a0%)"
    if one["low"] is None:
        return f"<b>{value}{share}</b>"
    ends = in_both(lambda language: f"[{_signed(one['low'], language)}, {_signed(one['high'], language)}]")
    return f"<b>{value}{share}</b><small>{ends}</small>"


def _signed(seconds: float, language: str) -> str:
    return ("-" if seconds < 0 else "+") + duration(abs(seconds), language)


def _p(p: float | None) -> str:
    return estimate(None) if p is None else f"<b>{probability(p)}</b>"


def _effect(one: dict) -> str:
    told = [
        f"{name} {one[key]:+.2f}" for key, name in (("rank_biserial", "r"), ("cohens_dz", "dz")) if one[key] is not None
    ]
    return " · ".join(told) or estimate(None)
