"""With which weights, rows, seed and versions an evaluation was measured."""

from html import escape
from pathlib import Path

from dashboard import cards, numbers
from dashboard.bridge import Page
from dashboard.evaluate_figures import excluded
from so8t_engine import FinishedAbTest, FinishedEvaluation


def provenance(one: FinishedEvaluation, page: Page) -> str:
    """The card of it, on two columns: the model and the data, the settings and the machine."""
    left = model_facts(one.results["model"], page) + data_facts(one.results["data"], page)
    right = job_facts(one, page)
    body = f'<div class="so-pair so-provenance">{cards.facts(left)}{cards.facts(right)}</div>'
    return cards.card(page.t("evaluate.facts.title"), body, name="provenance")


def _hash(text: str, page: Page) -> str:
    return cards.copyable(text, page, short=f"{text[:8]}…{text[-8:]}")


def model_facts(model: dict, page: Page) -> list[tuple[str, str]]:
    """A model by its weights, and how it was computed."""
    adapter = (
        cards.copyable(model["adapter"], page) if model["adapter"] else escape(page.t("evaluate.facts.no_adapter"))
    )
    weights = f'<span title="{escape(page.t("evaluate.facts.weights_help"))}">{_hash(model["weights"], page)}</span>'
    return [
        (page.t("evaluate.facts.weights"), weights),
        (page.t("evaluate.facts.base"), cards.copyable(model["base"], page)),
        (page.t("evaluate.facts.adapter"), adapter),
        (page.t("evaluate.facts.precision"), escape(f"{model['device']} · {model['dtype']} · {model['quantization']}")),
    ]


def data_facts(data: dict, page: Page) -> list[tuple[str, str]]:
    """Which rows these are, and which were left out."""
    rows = page.t("evaluate.facts.rows", read=numbers.count(data["read"]), rows=numbers.count(data["rows"]))
    badges = "".join(cards.badge(label, data["classes"].get(label, 0)) for label in cards.CLASSES)
    left_out = excluded({**data["excluded"], "too_long": data["too_long"]}, page) or page.t("evaluate.excluded.none")
    return [
        (page.t("evaluate.facts.data"), f"{cards.copyable(data['file'], page)} <small>{escape(rows)}</small>"),
        (page.t("evaluate.facts.hash"), _hash(data["sha256"], page)),
        (page.t("evaluate.facts.classes"), f'<span class="so-badges">{badges}</span>'),
        (page.t("evaluate.excluded.title"), f"{escape(left_out)} <small>{escape(_against(data, page))}</small>"),
    ]


def _against(data: dict, page: Page) -> str:
    found = data["checked_against"]
    against = ", ".join(found) if isinstance(found, list) else found
    if against == "settings":
        return page.t("evaluate.excluded.against_settings")
    return page.t("evaluate.facts.checked", run=against) if against else page.t("evaluate.excluded.unknown")


def job_facts(one: FinishedEvaluation | FinishedAbTest, page: Page) -> list[tuple[str, str]]:
    """When, how long, with which seed, and on what machine it was measured; where it lies."""
    results, machine = one.results, one.results["machine"]
    longest = page.t("evaluate.facts.tokens", count=numbers.count(results["settings"]["evaluate"]["max_tokens"]))
    versions = f"Python {machine['python']} · torch {machine['torch']} · transformers {machine['transformers']}"
    return [
        (page.t("evaluate.facts.created"), escape(results["created"])),
        (page.t("evaluate.facts.took"), numbers.duration(results["seconds"], page.language)),
        (page.t("evaluate.facts.seed"), f"{results['settings']['seed']}"),
        (page.t("evaluate.facts.longest"), escape(longest)),
        (page.t("evaluate.facts.machine"), f"{escape(machine['system'])}<br>{escape(versions)}"),
        (page.t("evaluate.facts.folder"), cards.copyable(str(Path(one.folder)), page)),
    ]
