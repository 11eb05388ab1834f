"""How like the model each file decides, as a table; and the prompts that drifted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from dashboard import cards, numbers
from dashboard.bridge import Page

Estimate = tuple[float, float, float]
"""Value and 95 % interval."""

LONGEST_PROMPT = 400
"""Letters of a prompt that drifted; the whole of it stands in its file."""

SHOWN = 10
"""Prompts a file."""


@dataclass(frozen=True)
class Row:
    """One file's comparison. perplexity: difference as a share, None where no row had an answer of its own.
    least, most: the thresholds of agreement and KL. drifted: prompts with another class."""

    kind: str
    prompts: int
    agreement: Estimate
    kl: Estimate
    greedy: Estimate
    tokens: int
    perplexity: Estimate | None
    passed: bool
    least: float
    most: float
    drifted: int


def of_file(fidelity: Mapping[str, Any]) -> list[Row]:
    """The rows of fidelity.json."""
    return [
        Row(
            file["quantization"], fidelity["prompts"]["rows"], _three(file["agreement"]), _three(file["kl"]), _three(file["greedy"]),
            file["greedy"]["tokens"], _three(file["perplexity"]["difference"]) if file["perplexity"] else None, file["passed"],
            fidelity["thresholds"][file["quantization"]]["agreement"], fidelity["thresholds"][file["quantization"]]["kl"], file["drifted"],
        )
        for file in fidelity["files"]
    ]  # fmt: skip


def _three(estimate: Mapping[str, float]) -> Estimate:
    return estimate["value"], estimate["low"], estimate["high"]


def gate_card(rows: Sequence[Row], more: str, page: Page) -> str:
    """Verdict and table. more: HTML under it."""
    passed = all(row.passed for row in rows)
    kind, words = ("passed", "export.gate.all_passed") if passed else ("failed", "export.gate.some_failed")
    about = page.t("export.gate.prompts", count=numbers.count(rows[0].prompts))
    verdict = f'<p class="so-gate-verdict so-gate-{kind}">{escape(page.t(words))} <small>{escape(about)}</small></p>'
    return cards.card(page.t("export.gate.title"), verdict + table(rows, page) + more, name="gate")


def table(rows: Sequence[Row], page: Page) -> str:
    """A line a file: agreement and KL with their thresholds, beginning of the answers, perplexity, verdict."""
    tokens = rows[0].tokens
    heads = "".join(
        f'<th scope="col" title="{escape(help_)}">{escape(page.t(f"export.gate.{name}"))}</th>'
        for name, help_ in (
            ("agreement", page.t("export.gate.agreement_help")), ("kl", page.t("export.gate.kl_help")),
            ("greedy", page.t("export.gate.greedy_help", tokens=tokens)), ("perplexity", page.t("export.gate.perplexity_help")),
        )
    )  # fmt: skip
    lines = "".join(_row(row, page) for row in rows)
    return (
        f'<div class="so-export-scroll" tabindex="0" role="region" aria-label="{escape(page.t("export.gate.title"))}">'
        f'<table class="so-table so-gate"><thead><tr><th scope="col">{escape(page.t("export.gate.file"))}</th>{heads}'
        f'<th scope="col">{escape(page.t("export.gate.verdict"))}</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _row(row: Row, page: Page) -> str:
    least = page.t("export.gate.least", share=share(row.least))
    most = page.t("export.gate.most", value=f"{row.most:g}")
    perplexity = (
        _cell(row.perplexity, _signed) if row.perplexity else cards.missing(page.t("export.gate.perplexity_none"))
    )
    verdict = "passed" if row.passed else "failed"
    return (
        f'<tr><th scope="row">{escape(page.t(f"export.kind.{row.kind}.name"))}</th>'
        f"<td>{_cell(row.agreement, share, least)}</td><td>{_cell(row.kl, _nats, most)}</td>"
        f"<td>{_cell(row.greedy, share)}</td><td>{perplexity}</td>"
        f'<td><b class="so-gate-{verdict}">{escape(page.t(f"export.gate.{verdict}"))}</b></td></tr>'
    )


def _cell(estimate: Estimate, word, threshold: str = "") -> str:
    value, low, high = map(word, estimate)
    more = f"<small>{escape(threshold)}</small>" if threshold else ""
    return f'<b>{value}</b> <small class="so-interval">[{low}, {high}]</small>{more}'


def share(value: float) -> str:
    """99.0 % of 0.99."""
    return numbers.percent(100 * value)


def _nats(value: float) -> str:
    return numbers.small(value) if 0 < abs(value) < 5e-4 else numbers.fixed(value, 3)


def _signed(value: float) -> str:
    words = f"{100 * value:+.2f} %"
    return words if words.strip("+-0. %") else "0.00 %"


def _drift(row: Row, page: Page) -> str:
    kind = page.t(f"export.kind.{row.kind}.name")
    if row.drifted:
        return page.t("export.gate.drifted", kind=kind, count=row.drifted)
    return page.t("export.gate.furthest", kind=kind)


def drifted(fidelity: Mapping[str, Any], rows: Sequence[Row], page: Page) -> str:
    """The prompts that a file decides otherwise; of one that fails by its KL alone, the furthest ones. "" for none."""
    parts = []
    for file, row in zip(fidelity["files"], rows, strict=True):
        found = [one for one in file["rows"] if one["model"] != one["file"]]
        if not found and not row.passed:
            found = file["rows"]
        found = sorted(found, key=lambda one: -one["kl"])[:SHOWN]
        if found:
            lines = "".join(_prompt(one, page) for one in found)
            head = escape(_drift(row, page))
            parts.append(
                f'<details class="so-drifted" data-keep="drifted-{escape(row.kind)}"{"" if row.passed else " open"}>'
                f"<summary>{head}</summary><ol>{lines}</ol></details>"
            )
    return "".join(parts)


def _prompt(one: Mapping[str, Any], page: Page) -> str:
    text = str(one["prompt"])
    text = text if len(text) <= LONGEST_PROMPT else text[:LONGEST_PROMPT] + "…"
    line = page.t("export.gate.lines", lines=one["line"])
    return (
        f'<li><p>{escape(text)}</p><small class="so-drift">{cards.badge(str(one["model"]))}<span aria-hidden="true">→</span>'
        f"{cards.badge(str(one['file']))}<span>KL {_nats(one['kl'])}</span><span>{escape(line)}</span></small></li>"
    )
