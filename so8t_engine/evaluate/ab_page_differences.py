"""The differences in an A/B test's report: both values, their difference with its interval, and how sure that is."""

from collections.abc import Iterator

from so8t_engine.ab_tests import SIDES, about
from so8t_engine.evaluate.page_pieces import Estimate, by_mode, estimate, fixed, percent, probability, t

METRICS = ("score", "accuracy", "macro_f1", "unsafe_allow", "over_refusal")
LESS = ("unsafe_allow", "over_refusal")
"""Less of it is better."""

PLAIN = ("score", "macro_f1")
"""Scores from 0.0 to 1.0 that are no share of rows."""

REACHES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""How far the plots may reach to each side of zero."""

Line = tuple[str, Estimate, Estimate, dict | None]
"""A measure, both models' values, and the difference."""


def differences(results: dict) -> str:
    """A table for each mode; the score of each model is told without an interval, as it has none."""
    return by_mode(results, lambda mode, found: _table(list(lines(found))), "stack")


def lines(found: dict) -> Iterator[Line]:
    """What a mode measured of both models."""
    pairing = found["pairing"]
    for name in METRICS:
        values = [_value(pairing[side], name) for side in ("first", "second")]
        yield name, *values, pairing["differences"][name]
    if "format" in found:
        yield "format", *(found["format"][side] for side in SIDES), found["format"]["difference"]


def _value(summary: dict, name: str) -> Estimate:
    if name == "score":
        return {"value": (summary["accuracy"]["value"] + summary["macro_f1"]["value"]) / 2}
    return summary[name]


def reach_of(found: list[Line]) -> float:
    """The least of REACHES that holds every interval."""
    ends = [abs(line[3][end]) for line in found if line[3] for end in ("low", "high")]
    return next((size for size in REACHES if all(end <= size for end in ends)), REACHES[-1])


def name_of(metric: str) -> str:
    """The key of a measure's words."""
    return f"difference.{metric}" if metric in ("score", "format") else f"lead.{metric}"


def favours(metric: str, found: dict) -> str:
    """The side that a difference speaks for; "" where there is none."""
    if not found["value"]:
        return ""
    return "retrained" if (found["value"] < 0) == (metric in LESS) else "base"


def moved(found: Estimate, plain: bool = False) -> str:
    """A difference with its interval: +4.2 points, or +0.042 for a score; a dash where nothing was measured."""
    if found is None:
        return estimate(None)
    if plain:
        low, high = (f"{found[end]:+.3f}" for end in ("low", "high"))
        return f"<b>{found['value']:+.3f}</b><small>[{low}, {high}]</small>"
    value, low, high = (f"{100 * found[end]:+.1f}" for end in ("value", "low", "high"))
    return f"<b>{t('difference.points', value=value)}</b><small>[{low}, {high}]</small>"


def _table(found: list[Line]) -> str:
    reach = reach_of(found)
    axis = f'<span class="axis"><span>&lt; {t("difference.favours_base")}</span><span>{t("difference.favours_retrained")} &gt;</span></span>'
    names = ["measure", *SIDES, "difference", "axis", "p", "decided"]
    words = [t("difference.measure"), *(t(f"ab.{side}_title") for side in SIDES), t("difference.difference"), axis]
    words += [t("difference.p"), t("difference.decided")]
    top = "".join(f'<th scope="col" class="{name}">{told}</th>' for name, told in zip(names, words, strict=True))
    body = "".join(_line(*line, reach, dict(zip(names, words, strict=True))) for line in found)
    return f'<table class="differences"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _line(
    metric: str, base: Estimate, retrained: Estimate, found: dict | None, reach: float, words: dict[str, str]
) -> str:
    plain = metric in PLAIN
    notes = {"score": t("difference.score_of")} | dict.fromkeys(LESS, t("difference.less"))
    note = f"<small>{notes[metric]}</small>" if metric in notes else ""
    cells = {
        "base": _side(base, plain), "retrained": _side(retrained, plain), "difference": moved(found, plain),
        "axis": _plot(metric, found, reach), "p": _sureness(found), "decided": _conclusion(metric, found),
    }  # fmt: skip
    told = "".join(f'<td class="{name}"><i>{words[name]}</i>{cell}</td>' for name, cell in cells.items())
    return f'<tr data-metric="{metric}"><th scope="row">{t(name_of(metric))}{note}</th>{told}</tr>'


def _side(found: Estimate, plain: bool) -> str:
    if found is not None and "low" not in found:
        return f"<b>{fixed(found['value'])}</b>"
    return estimate(found, fixed if plain else percent)


def _plot(metric: str, found: dict | None, reach: float) -> str:
    """The interval as a line around zero; to the right the retrained model is better."""
    if found is None:
        return ""
    turn = -1 if metric in LESS else 1
    low, value, high = sorted(50 + 50 * turn * found[end] / reach for end in ("low", "value", "high"))
    kind = favours(metric, found) if found["decided"] else ""
    return (
        f'<span class="around {kind}" aria-hidden="true"><i style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
        f'<b style="left:{value:.2f}%"></b></span>'
    )


def _sureness(found: dict | None) -> str:
    if found is None:
        return estimate(None)
    effect, told = found["effect"], [t(f"difference.{found['test']}")]
    for key, name in (("cohens_g", "g"), ("cohens_dz", "dz")):
        if effect.get(key) is not None:
            told.append(f"{name} {effect[key]:+.2f}")
    if effect.get("odds_ratio"):
        told.append(t("difference.odds", n=f"{effect['odds_ratio']:.2f}"))
    whole = " · ".join(f'<span class="whole">{one}</span>' for one in told)
    return f"<b>{probability(found['p_adjusted'])}</b><small>{whole}</small>"


def _conclusion(metric: str, found: dict | None) -> str:
    if found is None:
        return estimate(None)
    side = favours(metric, found)
    if found["decided"] and side:
        return f'<b class="side {side}">{t(f"difference.favours_{side}")}</b>'
    if not side:
        return f"<b>{t('difference.same')}</b>"
    more = t("difference.more_rows", n=about(found["rows_needed"])) if found["rows_needed"] else ""
    return f"<b>{t('difference.undecided')}</b><small>{more}</small>"
