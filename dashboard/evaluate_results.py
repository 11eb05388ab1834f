"""One finished evaluation as HTML: the two rates that matter first, then where it fails, how sure it is, how fast."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from dashboard import cards, evaluate_charts, numbers
from dashboard.bridge import Page
from dashboard.evaluate_cards import model_name, when
from dashboard.evaluate_cases import cases_card
from dashboard.evaluate_figures import caution, excluded, given, hits, share, table, value, whisker
from dashboard.evaluate_provenance import provenance
from dashboard.evaluate_wishes import key
from so8t_engine import FinishedEvaluation

Mode = tuple[str, Mapping]
"""The name of a mode and its part of the results."""


def shown(one: FinishedEvaluation, others: Sequence[FinishedEvaluation], newest: bool, page: Page) -> str:
    """Everything that was measured. `data-figures` holds the charts; evaluate.js draws them into their places."""
    modes = list(one.results["modes"].items())
    cards_ = [_head(one, others, newest, page), _lead(modes, page)]
    if modes:
        cards_ += [
            _switch([name for name, _ in modes], page), '<div data-part="comparison" hidden></div>',
            *(_part(mode, lambda found: _breakdown(found, page)) for mode in modes),
            cases_card(page),
            *(_part(mode, lambda found: _sure_and_groups(found, page)) for mode in modes),
            *(_part(mode, lambda found: _speed(found, page)) for mode in modes),
        ]  # fmt: skip
    cards_ += [benchmarks(one.results["benchmarks"], page), provenance(one, page)]
    figures = escape(json.dumps(_figures(modes, page), ensure_ascii=False))
    names = " ".join(name for name, _ in modes)
    return (
        f'<div class="so-evaluated" data-shown="{key(one.folder)}" data-modes="{names}" data-figures="{figures}">'
        f"{''.join(cards_)}</div>"
    )


def _figures(modes: Sequence[Mode], page: Page) -> dict:
    found = {}
    for name, part in modes:
        found[f"confusion-{name}"] = evaluate_charts.matrix(name, part["summary"]["confusion"], page)
        if part["calibration"]:
            found[f"reliability-{name}"] = evaluate_charts.reliability(part["calibration"], page)
    return found


def _part(mode: Mode, draw: Callable[[Mode], str]) -> str:
    """What belongs to one mode; the page shows one mode at a time."""
    return f'<div class="so-of-mode" data-of="{mode[0]}">{draw(mode)}</div>'


def empty(page: Page) -> str:
    """Before the first evaluation: what it is for."""
    text, lead = (escape(page.t(f"evaluate.empty.{name}")) for name in ("text", "lead"))
    return cards.card(page.t("evaluate.empty.title"), f'<p class="so-empty">{text}</p><p class="so-empty">{lead}</p>')


def _head(one: FinishedEvaluation, others: Sequence[FinishedEvaluation], newest: bool, page: Page) -> str:
    """Whose results these are, the report, and whom to compare them with."""
    data = one.results["data"]
    about = " · ".join(
        [
            escape(Path(data["file"]).name), escape(page.t("evaluate.progress.rows", rows=numbers.count(data["rows"]))),
            when(one, page), *([escape(page.t("evaluate.head.newest"))] if newest else []),
        ]
    )  # fmt: skip
    left_out = excluded({**data["excluded"], "too_long": data["too_long"]}, page)
    left_out = f"{page.t('evaluate.excluded.title')}: {left_out}" if left_out else ""
    doubt = "" if data["checked_against"] else f'<p class="so-caution">{escape(page.t("evaluate.excluded.unknown"))}</p>'
    path, report = escape(str(one.folder)), f"/evaluations/{key(one.folder)}/report"
    tools = (
        f'<a class="so-button so-small" href="{report}" target="_blank" rel="noopener">{escape(page.t("evaluate.head.report"))}</a>'
        f'<button type="button" class="so-button so-small" data-copy="{path}" data-done="{escape(page.t("copy.done"))}">'
        f"{escape(page.t('evaluate.head.folder'))}</button>"
    )
    return (
        f'<section class="so-card so-evaluated-head" data-card="evaluated"><div><h2>'
        f"{escape(model_name(one.results['model']['name'], page))}</h2><p>{about}</p>"
        f'{f"<p>{escape(left_out)}</p>" if left_out else ""}{doubt}</div>'
        f'<div class="so-evaluated-tools"><div class="so-actions">{tools}</div>{_choose_other(one, others, page)}</div></section>'
    )


def _choose_other(one: FinishedEvaluation, others: Sequence[FinishedEvaluation], page: Page) -> str:
    """The other evaluations, those of the same data first."""
    same = [other for other in others if other.results["data"]["sha256"] == one.results["data"]["sha256"]]
    rest = [other for other in others if other not in same]

    def group(words: str, members: Sequence[FinishedEvaluation]) -> str:
        if not members:
            return ""
        lines = "".join(
            f'<option value="{key(other.folder)}">{escape(model_name(other.results["model"]["name"], page))} · {when(other, page)}'
            f" · {escape(page.t('evaluate.progress.rows', rows=numbers.count(other.results['data']['rows'])))}</option>"
            for other in members
        )
        return f'<optgroup label="{escape(words)}">{lines}</optgroup>'

    if not others or not one.results["modes"]:
        return ""
    groups = group(page.t("evaluate.head.compare_same"), same) + group(page.t("evaluate.head.compare_other"), rest)
    none = f'<option value="">{escape(page.t("evaluate.head.compare_none"))}</option>'
    label = escape(page.t("evaluate.head.compare"))
    return f'<label class="so-compare-with"><span>{label}</span><select data-compare>{none}{groups}</select></label>'


def _lead(modes: Sequence[Mode], page: Page) -> str:
    """The two rates large, accuracy and macro F1 below, a column for each mode."""
    if not modes:
        return f'<section class="so-card"><p class="so-empty">{escape(page.t("evaluate.lead.unmeasured"))}</p></section>'
    columns = "".join(_lead_of(name, part["summary"], page) for name, part in modes)
    return f'<section class="so-card so-lead" data-card="lead">{columns}</section>'


def _lead_of(mode: str, summary: Mapping, page: Page) -> str:
    large = "".join(_rate(name, summary, page) for name in ("unsafe_allow", "over_refusal"))
    correct, rows = hits("accuracy", summary["confusion"])
    accuracy_hits = page.t("evaluate.lead.hits", hits=numbers.count(correct), rows=numbers.count(rows))
    f1_note = escape(page.t("evaluate.lead.macro_f1_note"))
    small = (
        f'<div><dt title="{escape(accuracy_hits)}">{escape(page.t("evaluate.lead.accuracy"))}</dt>'
        f"<dd>{value(summary['accuracy'])}</dd></div>"
        f'<div><dt title="{f1_note}">{escape(page.t("evaluate.lead.macro_f1"))}</dt>'
        f"<dd>{value(summary['macro_f1'], plain=True)}</dd></div>"
    )
    lost = sum(row[-1] for row in summary["confusion"])
    unread = page.t("evaluate.lead.unparseable", rows=numbers.count(rows), count=numbers.count(lost)) if lost else ""
    return (
        f'<div class="so-lead-mode"><h3>{escape(page.t(f"evaluate.mode.{mode}"))}'
        f"<small>{escape(page.t(f'evaluate.mode.{mode}_how'))}</small></h3>"
        f'<div class="so-rates">{large}</div><dl class="so-lead-rest">{small}</dl>'
        f'{f"<p class={chr(34)}so-caution{chr(34)}>{escape(unread)}</p>" if unread else ""}{caution(summary, page)}</div>'
    )


def _rate(name: str, summary: Mapping, page: Page) -> str:
    """One of the two rates that come first: large, with its interval and what it counts."""
    found = summary[name]
    count, rows = hits(name, summary["confusion"])
    told = page.t("evaluate.lead.hits", hits=numbers.count(count), rows=numbers.count(rows)) if found else ""
    return (
        f'<div class="so-rate" data-rate="{name}"><h4>{escape(page.t(f"evaluate.lead.{name}"))}</h4>'
        f"<p>{value(found, page.t(f'evaluate.lead.{name}_none'))}</p>{whisker(found, f'so-whisker-{name}')}"
        f"<small>{escape(page.t(f'evaluate.lead.{name}_of'))}{f'<span>{escape(told)}</span>' if told else ''}</small></div>"
    )


def _switch(modes: Sequence[str], page: Page) -> str:
    """Which mode the details below belong to."""
    if len(modes) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-mode="{mode}" aria-pressed="false">{escape(page.t(f"evaluate.mode.{mode}"))}</button>'
        for mode in modes
    )
    label = escape(page.t("evaluate.mode.label"))
    return (
        f'<div class="so-mode-switch"><span>{label}</span>'
        f'<div class="so-segments" role="group" aria-label="{label}">{buttons}</div></div>'
    )


def _breakdown(mode: Mode, page: Page) -> str:
    """The matrix with a button over each of its cells, and the classes one by one."""
    name, part = mode
    note = f'<p class="so-evaluate-about">{escape(page.t("evaluate.confusion.note"))}</p>'
    body = f'<div class="so-breakdown"><div>{_matrix(name, part["summary"]["confusion"], page)}{note}</div>{_classes(part["summary"], page)}</div>'
    return cards.card(page.t("evaluate.confusion.title"), body, name=f"confusion-{name}")


def _matrix(mode: str, confusion: Sequence[Sequence[int]], page: Page) -> str:
    told = evaluate_charts.columns(mode, confusion)
    heads = "".join(f'<th scope="col">{escape(_class(name, page))}</th>' for name in told)
    rows = "".join(
        f'<tr><th scope="row">{expected}</th>{"".join(_cell(expected, name, row[i], sum(row), page) for i, name in enumerate(told))}</tr>'
        for expected, row in zip(cards.CLASSES, confusion, strict=True)
    )
    caption = escape(page.t("evaluate.confusion.caption"))
    title, unit = escape(page.t("evaluate.confusion.title")), escape(page.t("evaluate.confusion.unit"))
    return (
        f'<figure class="so-chart so-confusion" data-chart="confusion-{mode}"><figcaption><span class="so-unseen">{title}</span>'
        f'<small>{unit}</small></figcaption><div class="so-plot" aria-hidden="true"></div>'
        f'<table class="so-cells" style="--columns:{len(told)}"><caption>{caption}</caption><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></figure>"
    )


def _class(name: str, page: Page) -> str:
    return name or page.t("evaluate.confusion.unparseable")


def _cell(expected: str, told: str, count: int, total: int, page: Page) -> str:
    part = share(count / total) if total else numbers.DASH
    words = page.t("evaluate.confusion.cell", expected=expected, given=_class(told, page), count=numbers.count(count), share=part)
    off = "" if count else " disabled"
    return (
        f'<td><button type="button" data-expected="{expected}" data-given="{told or "none"}" aria-label="{escape(words)}" '
        f'title="{escape(words)}"{off}></button></td>'
    )


def _classes(summary: Mapping, page: Page) -> str:
    t = page.t
    heads = [(t("evaluate.confusion.class"), ""), (t("evaluate.confusion.support"), t("evaluate.confusion.support_help"))]
    heads += [(t(f"evaluate.confusion.{name}"), t(f"evaluate.confusion.{name}_help")) for name in ("precision", "recall", "f1")]
    why = {"precision": t("evaluate.confusion.never_given"), "recall": t("evaluate.confusion.never_expected")}
    rows = []
    for name in cards.CLASSES:
        found = summary["classes"][name]
        shares = [value(found[part], why.get(part, why["recall"]), plain=part == "f1") for part in ("precision", "recall", "f1")]
        rows.append([given(name, page), numbers.count(found["support"]), *shares])
    return table(heads, rows, "so-classes", t("evaluate.confusion.classes"))


def _sure_and_groups(mode: Mode, page: Page) -> str:
    """How far its confidence can be trusted; the same figures by language and by domain."""
    name, part = mode
    groups = "".join(_groups(kind, part[f"by_{kind}"], page) for kind in ("language", "domain"))
    return f'<div class="so-pair">{_calibration(name, part, page)}<div class="so-stack">{groups}</div></div>'


def _calibration(mode: str, part: Mapping, page: Page) -> str:
    found, of = part["calibration"], page.t(f"evaluate.calibration.{mode}")
    if not found:
        body = f'<p class="so-empty">{escape(page.t("evaluate.calibration.none"))}</p>'
        return cards.card(page.t("evaluate.calibration.title"), body, name=f"calibration-{mode}")
    rows = numbers.count(found["rows"])
    if mode == "generated":
        rows = page.t("evaluate.calibration.stated", rows=numbers.count(part["summary"]["rows"]), stated=rows)
    tiles = cards.tiles([
        (page.t("evaluate.calibration.ece"), numbers.fixed(found["ece"], 3), ""),
        (page.t("evaluate.calibration.brier"), numbers.fixed(found["brier"], 3), ""),
        (page.t("evaluate.calibration.rows"), numbers.count(found["rows"]), ""),
    ])  # fmt: skip
    words = escape(f"{of} · {page.t('evaluate.calibration.unit')}")
    chart = (
        f'<figure class="so-chart so-reliability" data-chart="reliability-{mode}"><figcaption>'
        f'<small>{words}</small></figcaption><div class="so-plot" role="img" aria-label="{words}"></div></figure>'
    )
    note = escape(page.t("evaluate.calibration.note"))
    stated = f"{escape(rows)} · " if mode == "generated" else ""
    return cards.card(
        page.t("evaluate.calibration.title"), f'{chart}{tiles}<p class="so-note">{stated}{note}</p>', name=f"calibration-{mode}"
    )  # fmt: skip


def _groups(kind: str, found: Mapping[str, Mapping], page: Page) -> str:
    """The figures of each group, the largest first; nothing where no row names its domain."""
    if not any(found):
        return ""
    heads = [(page.t(f"evaluate.groups.{kind}"), ""), (page.t("evaluate.groups.rows"), "")]
    rates = ("unsafe_allow", "over_refusal", "accuracy")
    heads += [(page.t(f"evaluate.lead.{rate}"), "") for rate in rates]
    rows = []
    for name, group in sorted(found.items(), key=lambda item: -item[1]["rows"]):
        label = page.t(f"evaluate.groups.{name}") if kind == "language" and name in ("ja", "en") else name
        shares = [value(group[rate], page.t(f"evaluate.lead.{rate}_none")) for rate in rates]
        rows.append([escape(label or page.t("evaluate.groups.none")), numbers.count(group["rows"]), *shares])
    title = page.t(f"evaluate.groups.by_{kind}")
    return cards.card(title, table(heads, rows, "so-groups", title), name=f"by-{kind}")


FORMATS = ("whole", "sections", "fields", "outside", "cut")


def _speed(mode: Mode, page: Page) -> str:
    """Scored: rows a second. Generated: how many answers are in the format, and how long they took."""
    name, part = mode
    if name == "scored":
        speed = part["rows_per_second"]
        words = page.t("evaluate.latency.rows", value=_pace(speed)) if speed else ""
        shown = escape(words) if words else cards.missing(page.t("evaluate.latency.unmeasured"))
        took = numbers.duration(part["seconds"], page.language)
        rows = [(page.t("evaluate.latency.scored"), shown), (page.t("evaluate.facts.took"), took)]
        return cards.card(page.t("evaluate.latency.title"), cards.facts(rows), name="latency-scored")
    return f'<div class="so-pair">{_format(part["format"], page)}{_latency(part["latency"], page)}</div>'


def _format(found: Mapping, page: Page) -> str:
    total = sum(found["counts"].values())
    bar = "".join(
        f'<i class="so-format-{name}" style="flex-grow:{found["counts"].get(name, 0)}"></i>' for name in FORMATS
    )
    rows = [
        [f'<i class="so-format-mark so-format-{name}"></i>{escape(page.t(f"evaluate.format.{name}"))}',
         numbers.count(found["counts"].get(name, 0)), share(found["counts"].get(name, 0) / total if total else None)]
        for name in FORMATS
    ]  # fmt: skip
    body = (
        f'<p class="so-format-lead">{value(found["whole"])}<small>{escape(page.t("evaluate.format.share_help"))}</small></p>'
        f'<div class="so-format-bar" aria-hidden="true">{bar}</div>'
        f"{table([(page.t('evaluate.format.share'), ''), (page.t('evaluate.groups.rows'), ''), ('%', '')], rows, 'so-formats')}"
    )
    return cards.card(page.t("evaluate.format.title"), body, name="format")


def _latency(found: Mapping, page: Page) -> str:
    t, alone, batched = page.t, found["alone"], found["batched"]
    body = ""
    if alone:
        heads = [(t("evaluate.latency.alone", count=alone["answers"]), ""), (t("evaluate.latency.mean"), "")]
        heads += [(t(f"evaluate.latency.{name}"), t(f"evaluate.latency.{name}_help")) for name in ("p50", "p95")]
        rows = [
            [escape(t(f"evaluate.latency.{part}")), *(_seconds(alone[part][name]) for name in ("mean", "p50", "p95"))]
            for part in ("first_token", "answer")
        ]
        body = table(heads, rows, "so-latency")
        body += f'<p class="so-evaluate-about">{escape(t("evaluate.latency.tokens", value=_pace(alone["tokens_per_second"])))}</p>'
    if batched:
        told = [
            t("evaluate.latency.answers", value=_pace(batched["answers_per_second"])),
            t("evaluate.latency.tokens", value=_pace(batched["tokens_per_second"])),
        ]
        words = t("evaluate.latency.batched", count=batched["batch_size"])
        body += f'<p class="so-note">{escape(words)}: {escape(" · ".join(told))}</p>'
    body = body or f'<p class="so-empty">{escape(t("evaluate.latency.unmeasured"))}</p>'
    return cards.card(t("evaluate.latency.title"), body, name="latency")


def _seconds(seconds: float) -> str:
    return numbers.fixed(1000 * seconds, 0, " ms") if seconds < 1 else numbers.fixed(seconds, 2, " s")


def _pace(each_second: float | None) -> str:
    return numbers.fixed(each_second, 0 if each_second and each_second >= 100 else 1)


def benchmarks(found: Sequence[Mapping], page: Page) -> str:
    """Each benchmark with its values, or why it was not run; "" where none was asked for."""
    if not found:
        return ""
    heads = [(page.t(f"evaluate.benchmarks.{name}"), "") for name in ("task", "value", "rows", "few_shot")]
    rows = [_benchmark(one, page) for one in found]
    return cards.card(
        page.t("evaluate.benchmarks.title"), table(heads, rows, "so-benchmarks", page.t("evaluate.benchmarks.title")),
        name="benchmarks",
    )  # fmt: skip


def _benchmark(one: Mapping, page: Page) -> list[str]:
    group = page.t(f"evaluate.benchmarks.{one['group']}")
    name = f"{escape(one['task'])}<small>{escape(group)}</small>"
    if one["outcome"] != "measured":
        what, hint = (page.error(one["code"], part, one["facts"]) for part in ("what", "hint"))
        place = f" {cards.code(one['where'])}" if one["where"] else ""
        told = f"<b>{escape(page.t('evaluate.benchmarks.not_run'))}</b> {escape(what)}{place}<small>{escape(hint)}</small>"
        return [name, f'<span class="so-not-run">{told}</span>', "", ""]
    no_error = page.t("evaluate.benchmarks.no_error")
    values = " ".join(
        f'<span class="so-estimate"><small>{escape(metric)}</small> <b>{share(found)}</b>'
        f"<small>± {numbers.fixed(100 * error, 1) if error is not None else cards.missing(no_error)}</small></span>"
        for metric, (found, error) in one["metrics"].items()
    )
    return [name, values, numbers.count(one["rows"]), numbers.count(one["few_shot"])]
