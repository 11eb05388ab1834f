"""The rows of an A/B test's report whose decision changed, or that both models got wrong."""

from collections.abc import Iterable

from so8t_engine.ab_tests import SIDES
from so8t_engine.evaluate.page_cases import answer_card, case_card
from so8t_engine.evaluate.page_pieces import in_both, section, t, word
from so8t_engine.evaluations import harm

KINDS = ("broken", "fixed", "both_wrong")
SHOWN = 100


def changed_cases(cases: Iterable[dict], mode: str) -> str:
    """The section of the rows that one model alone, or none, got right: at most SHOWN of each kind.

    cases: the rows of the deciding mode, see `ab_tests.cases`.
    """
    members: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for case in cases:
        if case["change"] in members:
            members[case["change"]].append(case)
    note = in_both(lambda language: word("changed.of_mode", language, mode=word(f"mode.{mode}", language), most=SHOWN))
    return section("changed.title", f'<p class="note">{note}</p>' + "".join(_kind(*one) for one in members.items()))


def _kind(kind: str, cases: list[dict]) -> str:
    head = f'<h3 class="{kind}">{t(f"changed.{kind}")} <small>{len(cases):,}</small></h3>'
    if not cases:
        return f'{head}<p class="card">{t("changed.none")}</p>'
    shown = sorted(cases, key=lambda case: (_worst(case), case["index"]))[:SHOWN]
    more = f'<p class="note">{t("changed.more", n=f"{len(cases) - SHOWN:,}")}</p>' if cases[SHOWN:] else ""
    return head + "".join(map(_case, shown)) + more


def _worst(case: dict) -> int:
    wrong = (case[side]["given"] for side in SIDES if case[side]["given"] != case["expected"])
    return min(harm(case["expected"], given) for given in wrong)


def _case(case: dict) -> str:
    labels = {side: f'<span class="side {side}">{t(f"ab.{side}")}</span>' for side in SIDES}
    return case_card(case, [answer_card(labels[side], case[side], case["expected"]) for side in SIDES])
