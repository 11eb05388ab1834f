"""By which rule an A/B test named its winner, and with which models, rows, seed and versions it was measured."""

from collections.abc import Mapping
from html import escape

from dashboard import cards, numbers
from dashboard.ab_test_figures import PLAIN, name_of, points, probability, rate
from dashboard.ab_test_wishes import SIDES
from dashboard.bridge import Page
from dashboard.evaluate_cards import model_name
from dashboard.evaluate_figures import interval
from dashboard.evaluate_provenance import data_facts, job_facts, model_facts
from so8t_engine import FinishedAbTest


def rule_card(one: FinishedAbTest, page: Page) -> str:
    """The rule in words, and every number that it looked at."""
    rule, t = one.results["winner"]["rule"], page.t
    metric = rule["metric"]
    plain = metric in PLAIN
    ahead, riskier = (t(f"ab_test.side.{rule[name]}") if rule[name] else t("ab_test.rule.nobody") for name in ("ahead", "more_unsafe"))
    rates = " · ".join(
        f"{escape(t(f'ab_test.side.{side}'))} {rate(rule[f'unsafe_{side}'], 'unsafe_allow', page)}" for side in SIDES
    )
    values = " · ".join(f"{escape(t(f'ab_test.side.{side}'))} {rate(rule[side], metric, page)}" for side in SIDES)
    moved = f"{points(rule['value'], page, plain=plain)} {interval(rule, plain=plain)}"
    told = [
        (t("ab_test.rule.mode"), escape(t(f"evaluate.mode.{rule['mode']}"))),
        (t("ab_test.rule.metric"), f"{escape(name_of(metric, page))}: {values}"),
        (t("ab_test.rule.difference"), f"{moved} <small>{escape(t('ab_test.rule.ahead', side=ahead))}</small>"),
        (t("ab_test.rule.p"), f"{probability(rule['p_adjusted'])} <small>{escape(t('ab_test.rule.level', level=numbers.fixed(rule['level'], 2)))}</small>"),
        (t("ab_test.rule.unsafe"), f"{rates} <small>{escape(t('ab_test.rule.riskier', side=riskier))}</small>"),
        (t("ab_test.rule.unsafe_p"), probability(rule["unsafe_p"], t("evaluate.lead.unsafe_allow_none"))),
        (t("evaluate.groups.rows"), numbers.count(rule["rows"])),
    ]  # fmt: skip
    steps = "".join(f"<li>{escape(t(f'ab_test.rule.{step}'))}</li>" for step in ("step_1", "step_2", "step_3", "step_4"))
    body = f'<div class="so-pair so-provenance"><ol class="so-ab-rule">{steps}</ol>{cards.facts(told)}</div>'
    return cards.card(t("ab_test.rule.title"), body, name="rule")


def provenance(one: FinishedAbTest, page: Page) -> str:
    """The models, the data, the settings and the machine."""
    models = "".join(_model(side, one.results["models"][side], page) for side in SIDES)
    rest = f"{cards.facts(data_facts(one.results['data'], page))}{cards.facts(job_facts(one, page))}"
    body = f'<div class="so-pair so-provenance">{models}</div><div class="so-pair so-provenance so-ab-rest">{rest}</div>'
    return cards.card(page.t("evaluate.facts.title"), body, name="ab-provenance")


def _model(side: str, model: Mapping, page: Page) -> str:
    name = f"{page.t(f'ab_test.side.{side}')}: {model_name(model['name'], page)}"
    head = f'<h3 class="so-ab-matrix-of"><i class="so-ab-key so-ab-key-{side}" aria-hidden="true"></i>{escape(name)}</h3>'
    return f"<div>{head}{cards.facts(model_facts(model, page))}</div>"
