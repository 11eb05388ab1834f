"""One chain as its folder holds it: how it ended, what came of it, and its stages with their details."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dashboard import cards, job_cards, numbers, overnight_timeline
from dashboard.bridge import Page
from dashboard.evaluate_figures import share, table
from dashboard.export_cards import kind_name
from dashboard.overnight_cards import go_on, when
from dashboard.overnight_chain import Chain, Stage
from dashboard.overnight_figures import difference, points
from dashboard.overnight_now import category
from so8t_engine import ab_test_verdict

ABOUT_SETTINGS = (*job_cards.SETTINGS, "data.")
"""Codes of failures that the settings mend."""


def shown(chain: Chain, page: Page) -> str:
    """The whole right side for one chain."""
    details = {"japanese_test": _japanese(chain.stage("japanese_test"), page)}
    about = f'<p class="so-overnight-about">{when(chain)} · {cards.copyable(chain.folder, page)}</p>'
    stages = cards.card(
        page.t("overnight.live.stages"), about + overnight_timeline.timeline(chain, page, details=details),
        aside=overnight_timeline.count(chain, page), name="chain",
    )  # fmt: skip
    parts = [_how(chain, page), _summary(chain, page), stages]
    return f'<div class="so-chain" data-shown="{escape(chain.id)}">{"".join(parts)}</div>'


def empty(page: Page) -> str:
    """Before the first chain: what it does."""
    body = f'<p class="so-empty">{escape(page.t("overnight.empty.text"))}</p>{overnight_timeline.waiting(page)}'
    return cards.card(page.t("overnight.empty.title"), body, name="no-chain")


def _how(chain: Chain, page: Page) -> str:
    """What kept it from its end, or why it ended without a model to go on with; "" when all went well."""
    if chain.failed:
        return _failure(chain, chain.failed, page)
    if not chain.finished and chain.next:
        what = page.t("overnight.ended.interrupted", stage=page.t(f"overnight.stage.{chain.next.name}"))
        hint = page.t("overnight.ended.kept")
        return cards.trouble(page, what, hint=hint, actions=go_on(chain, page), calm=True)
    verdict = _verdict(chain)
    if verdict and verdict["winner"] != "retrained":
        facts = verdict["winner"], verdict["code"], verdict["facts"]
        why, hint = (ab_test_verdict(*facts, part, page.language) for part in ("what", "hint"))
        link = cards.tab_link("ab_test", page.t("overnight.details", tab=page.t("tab.ab_test")), kind="so-button")
        return cards.trouble(page, page.t("overnight.ended.no_winner"), hint=f"{why} {hint}", actions=link, calm=True)
    return ""


def _failure(chain: Chain, stage: Stage, page: Page) -> str:
    facts = {name: str(value) for name, value in stage.facts.items()}
    what, hint = (page.error(stage.code, part, facts) for part in ("what", "hint"))
    told = page.t("overnight.ended.failed", stage=page.t(f"overnight.stage.{stage.name}"), what=what)
    mend = cards.tab_link("config", page.t("train.edit_config"), kind="so-button")
    actions = go_on(chain, page) + (mend if stage.code.startswith(ABOUT_SETTINGS) else "")
    kept = page.t("overnight.ended.kept") if chain.done else ""
    return cards.trouble(page, told, where=stage.where, hint=" ".join(filter(None, (hint, kept))), actions=actions)


def _verdict(chain: Chain) -> Mapping[str, Any] | None:
    """Of the A/B test: {"winner", "code", "facts", "rule"}; None as long as there is none."""
    return chain.stage("ab_test").results.get("winner")


# What came of it


def _summary(chain: Chain, page: Page) -> str:
    """Winner, files, Japanese score and time, as far as there are any; and how one talks to it."""
    if not chain.finished:
        return ""
    found = [
        _winner(chain, page), _score(chain, page),
        *((kind_name(file["quantization"], page), numbers.file_size(file["bytes"]), "") for file in _files(chain)),
        (page.t("tile.took"), escape(numbers.duration(chain.seconds, page.language)), ""),
    ]  # fmt: skip
    run = _command(chain.pushed, page) if chain.pushed else ""
    return cards.card(
        page.t("overnight.summary.title"), cards.tiles(tile for tile in found if tile) + run, kind="so-overnight-summary",
        name="summary",
    )  # fmt: skip


def _winner(chain: Chain, page: Page) -> tuple[str, str, str] | None:
    verdict = _verdict(chain)
    if not verdict:
        return None
    winner = page.t(f"overnight.winner.{verdict['winner'] or 'none'}")
    ahead = difference(verdict["rule"]["metric"], verdict["rule"]["value"]) if verdict["winner"] else ""
    return page.t("overnight.summary.winner"), escape(winner), ahead


def _files(chain: Chain) -> Sequence[Mapping[str, Any]]:
    return chain.stage("export").results.get("files", ())


def _score(chain: Chain, page: Page) -> tuple[str, str, str] | None:
    """The Japanese score of the winner, and that of the base beside it."""
    found = chain.stage("japanese_test").results
    if not found:
        return None
    base = page.t("overnight.summary.base", score=share(found["base"]["score"]))
    return page.t("overnight.summary.japanese"), escape(share(found["winner"]["score"])), escape(base)


def _command(name: str, page: Page) -> str:
    command = f"ollama run {name}"
    return (
        f'<div class="so-command"><span>{escape(page.t("export.push.run"))}</span>'
        f"{cards.copyable(command, page, short=command)}</div>"
    )


def _japanese(stage: Stage, page: Page) -> str:
    """The share of checks passed by category, base and winner."""
    if not stage.results:
        return ""
    base, winner = stage.results["base"], stage.results["winner"]
    heads = [(page.t(f"overnight.japanese.{name}"), "") for name in ("category", "base", "winner", "difference")]
    rows = [
        _compared(category(name, page), base["categories"].get(name), value, page)
        for name, value in winner["categories"].items()
    ]
    rows.append(_compared(page.t("overnight.japanese.all"), base["score"], winner["score"], page))
    caption = page.t("overnight.japanese.title")
    body = table(heads, rows, kind="so-japanese", caption=caption)
    return (
        f'<p class="so-stage-line">{escape(_sure(stage.results["comparison"], page))}</p>'
        f'<details data-keep="japanese"><summary>{escape(caption)}</summary>{body}</details>'
    )


def _sure(compared: Mapping[str, Any], page: Page) -> str:
    """How large the difference of the scores is, on how many questions, and whether it may be chance."""
    if compared["difference"] is None:
        return page.t("overnight.japanese.apart")
    shift, interval = points(compared["difference"]), compared["interval"]
    if interval:
        shift += f" [{100 * interval['low']:+.1f}, {100 * interval['high']:+.1f}]"
    counts = {name: numbers.count(compared[name]) for name in ("better", "worse", "equal")}
    told = page.t("overnight.japanese.compared", difference=shift, **counts)
    verdict = compared["decided"] or "none"
    return f"{told} {page.t(f'overnight.japanese.decided_{verdict}')}"


def _compared(label: str, base: float | None, winner: float | None, page: Page) -> list[str]:
    cells = [share(value) if value is not None else "" for value in (base, winner)]
    cells.append("" if base is None or winner is None else points(winner - base))
    return [escape(label), *(cell or cards.missing(page.t("overnight.japanese.unmeasured")) for cell in cells)]
