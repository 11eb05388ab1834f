"""evaluation_report.html."""

from collections.abc import Iterable

from so8t_engine.answer.format import CLASSES
from so8t_engine.errors import sentence
from so8t_engine.evaluate.page_cases import wrong_cases
from so8t_engine.evaluate.page_curve import calibrated
from so8t_engine.evaluate.page_frame import document
from so8t_engine.evaluate.page_matrix import matrix
from so8t_engine.evaluate.page_opening import language_name, opening
from so8t_engine.evaluate.page_pieces import (
    badge,
    by_mode,
    estimate,
    facts,
    fixed,
    in_both,
    not_measured,
    outside,
    percent,
    section,
    span,
    t,
    table,
    time_of,
)
from so8t_engine.measure.metrics import ALLOW, REFUSING

FEW = 5
"""Rows of a class below which the interval of macro F1 is too narrow (see `measure.metrics.summary`)."""


def page(results: dict, cases: Iterable[dict]) -> str:
    """The whole report. results: evaluation_results.json, version 1; cases: rows with what each mode gave them."""
    body = "".join(
        (
            opening(results),
            _lead(results),
            section("classes.title", by_mode(results, _classes), t("classes.note")),
            section("confusion.title", by_mode(results, matrix), t("confusion.note")),
            section("calibration.title", by_mode(results, calibrated), t("calibration.note")),
            section("groups.language", by_mode(results, _languages), name="languages"),
            section("groups.domain", by_mode(results, _domains), name="domains"),
            section("format.title", by_mode(results, _format), t("format.note")),
            section("latency.title", by_mode(results, _latency)),
            _benchmarks(results["benchmarks"]),
            wrong_cases(cases) if results["modes"] else "",
        )
    )
    title = f"{results['model']['name']} · 評価 / Evaluation"
    return document(title, body, f"{t('page.interval')} {t('page.end')}")


def _lead(results: dict) -> str:
    if not results["modes"]:
        return f'<section id="lead"><p class="card">{t("page.nothing")}</p></section>'
    return section("lead.title", by_mode(results, _headline), t("lead.macro_f1_note"))


def _headline(mode: str, found: dict) -> str:
    whole = found["summary"]
    counts = whole["confusion"]
    dangerous = sum(counts[row][ALLOW] for row in REFUSING), sum(sum(counts[row]) for row in REFUSING)
    refused = sum(counts[ALLOW][column] for column in REFUSING), sum(counts[ALLOW])
    rates = _rate("unsafe_allow", whole, dangerous) + _rate("over_refusal", whole, refused)
    accuracy = sum(counts[i][i] for i in range(len(CLASSES))), whole["rows"]
    rest = (
        f'<div class="figure"><h4>{t("lead.accuracy")}</h4><p>{estimate(whole["accuracy"])}'
        f"</p>{span(whole['accuracy'], 'plain')}<p>{_hits(*accuracy)}</p></div>"
        f'<div class="figure"><h4>{t("lead.macro_f1")}</h4><p>{estimate(whole["macro_f1"], fixed)}</p>'
        f"{span(whole['macro_f1'], 'plain')}</div>"
    )
    return (
        f'<p class="note">{t(f"mode.{mode}_how")}</p><div class="figures large">{rates}</div>'
        f'<div class="figures">{rest}</div>{_caution(whole)}'
    )


def _rate(name: str, whole: dict, hits: tuple[int, int]) -> str:
    """One of the two rates that come first, large."""
    found = whole[name]
    body = not_measured(t(f"lead.{name}_none")) if found is None else estimate(found)
    exactly = "" if found is None else f"{_hits(*hits)} · "
    return (
        f'<div class="figure" data-rate="{name}"><h4>{t(f"lead.{name}")}</h4><p>{body}</p>{span(found, name)}'
        f"<p>{exactly}{t(f'lead.{name}_of')}</p></div>"
    )


def _hits(hits: int, rows: int) -> str:
    return f"{hits:,} / {rows:,}"


def _caution(whole: dict) -> str:
    """Why macro F1, or its interval, is not to be trusted here; "" when there is no reason."""
    support = {name: whole["classes"][name]["support"] for name in CLASSES}
    absent = [name for name, rows in support.items() if rows == 0]
    few = [name for name, rows in support.items() if 0 < rows < FEW]
    told = [
        t(f"lead.{key}", classes=", ".join(names))
        for key, names in (("macro_f1_absent", absent), ("macro_f1_few", few))
        if names
    ]
    return f'<p class="warning">{" ".join(told)}</p>' if told else ""


def _classes(mode: str, found: dict) -> str:
    head = [t(f"classes.{name}") for name in ("class", "precision", "recall", "f1", "support")]
    rows = []
    for name in CLASSES:
        scores = found["summary"]["classes"][name]
        shares = [estimate(scores["precision"]), estimate(scores["recall"]), estimate(scores["f1"], fixed)]
        rows.append([badge(name), *shares, f"{scores['support']:,}"])
    return table(head, rows)


def _languages(mode: str, found: dict) -> str:
    return _groups(
        "groups.group_language", {language_name(name): group for name, group in found["by_language"].items()}
    )


def _domains(mode: str, found: dict) -> str:
    if not any(found["by_domain"]):
        return ""
    named = {outside(name) if name else t("groups.none"): group for name, group in found["by_domain"].items()}
    return _groups("groups.group_domain", named)


def _groups(title: str, groups: dict[str, dict]) -> str:
    head = [
        t(title),
        *(t(f"lead.{name}") for name in ("unsafe_allow", "over_refusal", "accuracy")),
        t("calibration.of"),
    ]
    rows = [
        [name, *(estimate(group[rate]) for rate in ("unsafe_allow", "over_refusal", "accuracy")), f"{group['rows']:,}"]
        for name, group in sorted(groups.items(), key=lambda one: -one[1]["rows"])
    ]
    return table(head, rows)


def _format(mode: str, found: dict) -> str:
    if mode != "generated":
        return ""
    whole, counts = found["format"]["whole"], found["format"]["counts"]
    total = sum(counts.values())
    rows = [[t(f"format.{name}"), f"{count:,}", percent(count / total)] for name, count in counts.items()]
    figure = (
        f'<div class="figure"><h4>{t("format.whole_share")}</h4><p>{estimate(whole)}</p>{span(whole, "plain")}</div>'
    )
    return f'<div class="figures">{figure}</div>{table(["", t("calibration.of"), ""], rows)}'


def _latency(mode: str, found: dict) -> str:
    if mode == "scored":
        speed = found["rows_per_second"]
        return facts([(t("machine.seconds"), time_of(found["seconds"])), (t("latency.scored"), _speed(speed))])
    alone, batched = found["latency"]["alone"], found["latency"]["batched"]
    told = facts([(t("machine.seconds"), time_of(found["seconds"]))])
    if alone:
        head = ["", *(t(f"latency.{name}") for name in ("mean", "p50", "p95"))]
        rows = [
            [t(f"latency.{part}"), *(time_of(alone[part][name]) for name in ("mean", "p50", "p95"))]
            for part in ("first_token", "answer")
        ]
        told += f"<h4>{t('latency.alone', n=alone['answers'])}</h4>{table(head, rows)}"
        told += facts([(t("latency.tokens"), _speed(alone["tokens_per_second"]))])
    if batched:
        told += f"<h4>{t('latency.batched', n=batched['batch_size'])}</h4>"
        pairs = (("answers", "answers_per_second"), ("tokens", "tokens_per_second"))
        told += facts([(t(f"latency.{name}"), _speed(batched[key])) for name, key in pairs])
    return told


def _speed(value: float | None) -> str:
    if value is None:
        return not_measured()
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _benchmarks(found: list[dict]) -> str:
    if not found:
        return ""
    head = [t(f"benchmarks.{name}") for name in ("task", "metric", "value", "rows", "few_shot")]
    rows = "".join(_benchmark(one, len(head) - 1) for one in found)
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = f'<div class="card wide"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'
    harness = next((one["facts"]["harness"] for one in found if "harness" in one["facts"]), "")
    return section("benchmarks.title", body, t("benchmarks.note", harness=harness) if harness else "")


def _benchmark(one: dict, columns: int) -> str:
    group = t(f"benchmarks.{one['group']}")
    name = f'<th scope="row">{outside(one["task"])}<small>{group}</small></th>'
    if one["outcome"] != "measured":
        why = in_both(lambda language: sentence(one["code"], "what", language, one["facts"]))
        hint = in_both(lambda language: sentence(one["code"], "hint", language, one["facts"]))
        place = f" <code>{outside(one['where'])}</code>" if one["where"] else ""
        return f'<tr>{name}<td class="told" colspan="{columns}">{t("benchmarks.not_run")} {why}{place}<small>{hint}</small></td></tr>'
    lines = []
    for metric, (value, error) in one["metrics"].items():
        around = (
            f"<small>± {100 * error:.1f}</small>" if error is not None else f"<small>{t('benchmarks.no_error')}</small>"
        )
        lines.append(f'<td class="told">{outside(metric)}</td><td><b>{percent(value)}</b>{around}</td>')
    first, *rest = lines
    height = f' rowspan="{len(lines)}"'
    of = f" / {int(one['facts']['of']):,}" if "of" in one["facts"] else ""
    told = f"<td{height}>{one['rows']:,}{of}</td><td{height}>{one['few_shot']}</td>"
    head = name.replace("<th", f"<th{height}", 1)
    return f"<tr>{head}{first}{told}</tr>" + "".join(f"<tr>{line}</tr>" for line in rest)
