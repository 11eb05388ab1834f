"""The wrong decisions of a report, the most harmful first."""

from collections.abc import Iterable

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.page_pieces import MODES, badge, outside, percent, plain, section, t
from so8t_engine.evaluations import harm

SHOWN = 200


def wrong_cases(cases: Iterable[dict]) -> str:
    """The section of the wrong decisions: at most SHOWN of them, with a note of how many more there are.

    cases: the rows of rows.jsonl, each with "scored" and "generated" where it was measured.
    """
    found = sorted(
        ((worst, case["index"], case) for case in cases if (worst := _worst(case)) is not None), key=lambda one: one[:2]
    )
    if not found:
        return section("cases.title", f'<p class="card">{t("cases.none")}</p>')
    shown = found[:SHOWN]
    note = (
        t("cases.more", shown=len(shown), more=f"{len(found) - SHOWN:,}")
        if found[SHOWN:]
        else t("cases.all", shown=len(shown))
    )
    body = f'<p class="note">{note}</p>'
    for rank in range(3):
        members = [case for worst, _, case in shown if worst == rank]
        total = sum(worst == rank for worst, _, _ in found)
        if members:
            body += f'<h3 class="harm-{rank}">{t(f"cases.harm_{rank}")} <small>{total:,}</small></h3>'
            body += "".join(map(_case, members))
    return section("cases.title", body)


def _worst(case: dict) -> int | None:
    """How harmful the worse of its wrong decisions is; None when none is wrong."""
    given = [case[mode]["given"] for mode in MODES if mode in case]
    return min((harm(case["expected"], one) for one in given if one != case["expected"]), default=None)


def _case(case: dict) -> str:
    given = ((t(f"mode.{mode}"), case[mode]) for mode in MODES if mode in case)
    return case_card(case, [answer_card(label, entry, case["expected"]) for label, entry in given])


def case_card(case: dict, answers: Iterable[str]) -> str:
    """A row with what it was given. answers: HTML."""
    about = [t("cases.line", n=case["line"]), *(outside(case[name]) for name in ("id", "domain") if case.get(name))]
    return (
        f'<article class="card case"><header><span class="label">{t("cases.expected")}</span>{badge(case["expected"])}'
        f'<small>{" · ".join(about)}</small></header><div class="asked"><h4>{t("cases.prompt")}</h4>'
        f'{_verbatim(case["prompt"])}</div><div class="answers">{"".join(answers)}</div></article>'
    )


def answer_card(label: str, entry: dict, expected: str) -> str:
    """What was given, by an entry of a journal of either mode. label: HTML, who or what gave it."""
    kind = "" if entry["given"] == expected else " wrong"
    head = f'<div class="answer"><p class="verdict{kind}"><span class="label">{label}</span>{badge(entry["given"])}'
    if "probabilities" in entry:
        return f"{head}</p>{_chances(entry['probabilities'])}</div>"
    sure = (
        t("cases.no_confidence")
        if entry["confidence"] is None
        else f"{t('cases.confidence')} {entry['confidence']:.2f}"
    )
    form = "" if entry["format"] == "whole" else " · " + t(f"format.{entry['format']}")
    return f"{head}<small>{sure}{form}</small></p><h4>{t('cases.final')}</h4>{_verbatim(entry['final'])}</div>"


def _chances(probabilities: dict[str, float]) -> str:
    bars = "".join(
        f'<li class="{name.lower()}"><span>{name}</span><i style="--share:{100 * probabilities[name]:.1f}%"></i>'
        f"<b>{percent(probabilities[name])}</b></li>"
        for name in CLASSES
    )
    return f'<ul class="chances">{bars}</ul>'


def _verbatim(text: str) -> str:
    """What a person or the model wrote, as it stands."""
    if not text:
        return f'<p class="absent">{t("cases.no_text")}</p>'
    return f'<pre dir="auto" tabindex="0">{plain(text)}</pre>'
