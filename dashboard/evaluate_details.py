"""The details of an evaluation as HTML: calibration, groups, format, latency and benchmarks."""

from collections.abc import Mapping, Sequence
from html import escape

from dashboard import cards, numbers
from dashboard.bridge import Page
from dashboard.evaluate_figures import share, table, value

Mode = tuple[str, Mapping]
"""The name of a mode and its part of the results."""

FORMATS = ("whole", "sections", "fields", "outside", "cut")


def sure_and_groups(mode: Mode, page: Page) -> str:
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
    words = escape(of)
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


def speed(mode: Mode, page: Page) -> str:
    """Scored: rows a second. Generated: how many answers are in the format, and how long they took."""
    name, part = mode
    if name == "scored":
        if not part["rows_per_second"]:
            words = page.t("evaluate.latency.unmeasured")
            return cards.card(
                page.t("evaluate.latency.title"), f'<p class="so-empty">{escape(words)}</p>', name="latency-scored"
            )
        words = escape(page.t("evaluate.latency.rows", value=pace(part["rows_per_second"])))
        rows = [(page.t("evaluate.latency.scored"), words)]
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
            [escape(t(f"evaluate.latency.{part}")), *(seconds_of(alone[part][name]) for name in ("mean", "p50", "p95"))]
            for part in ("first_token", "answer")
        ]
        body = table(heads, rows, "so-latency")
        body += f'<p class="so-evaluate-about">{escape(t("evaluate.latency.tokens", value=pace(alone["tokens_per_second"])))}</p>'
    if batched:
        told = [
            t("evaluate.latency.answers", value=pace(batched["answers_per_second"])),
            t("evaluate.latency.tokens", value=pace(batched["tokens_per_second"])),
        ]
        words = t("evaluate.latency.batched", count=batched["batch_size"])
        body += f'<p class="so-note">{escape(words)}: {escape(" · ".join(told))}</p>'
    body = body or f'<p class="so-empty">{escape(t("evaluate.latency.unmeasured"))}</p>'
    return cards.card(t("evaluate.latency.title"), body, name="latency")


def seconds_of(seconds: float) -> str:
    """320 ms, or 1.24 s."""
    return numbers.fixed(1000 * seconds, 0, " ms") if seconds < 1 else numbers.fixed(seconds, 2, " s")


def pace(each_second: float | None) -> str:
    """So many a second: 640, or 6.4."""
    return numbers.fixed(each_second, 0 if each_second and each_second >= 100 else 1)


def benchmarks(found: Sequence[Mapping], page: Page) -> str:
    """Each benchmark with its values, or why it was not run; "" where none was asked for."""
    if not found:
        return ""
    heads = [(page.t(f"evaluate.benchmarks.{name}"), "") for name in ("task", "value", "rows", "few_shot")]
    title, rows = page.t("evaluate.benchmarks.title"), [_benchmark(one, page) for one in found]
    hints = dict.fromkeys(page.error(one["code"], "hint", one["facts"]) for one in found if one["code"])
    notes = "".join(f'<p class="so-note">{escape(hint)}</p>' for hint in hints)
    return cards.card(title, table(heads, rows, "so-benchmarks", title) + notes, name="benchmarks")


def _benchmark(one: Mapping, page: Page) -> list[str]:
    group = page.t(f"evaluate.benchmarks.{one['group']}")
    name = f"{escape(one['task'])}<small>{escape(group)}</small>"
    if one["outcome"] != "measured":
        what = page.error(one["code"], "what", one["facts"])
        place = f" {cards.code(one['where'])}" if one["where"] else ""
        told = f"<b>{escape(page.t('evaluate.benchmarks.not_run'))}</b> {escape(what)}{place}"
        return [name, f'<span class="so-not-run">{told}</span>']
    no_error = page.t("evaluate.benchmarks.no_error")
    values = " ".join(
        f'<span class="so-estimate"><small>{escape(metric)}</small> <b>{share(found)}</b>'
        f"<small>± {numbers.fixed(100 * error, 1) if error is not None else cards.missing(no_error)}</small></span>"
        for metric, (found, error) in one["metrics"].items()
    )
    return [name, values, numbers.count(one["rows"]), numbers.count(one["few_shot"])]
