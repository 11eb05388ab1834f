"""ab_test_report.html: who won and how sure that is, first; then where the two models differ."""

from collections.abc import Callable, Iterable, Mapping
from html import unescape

from so8t_engine.ab_tests import SIDES, verdict
from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.ab_page_cases import changed_cases
from so8t_engine.evaluate.ab_page_differences import differences, moved
from so8t_engine.evaluate.ab_page_times import times
from so8t_engine.evaluate.page_frame import document
from so8t_engine.evaluate.page_matrix import matrix
from so8t_engine.evaluate.page_opening import facts_section, head, language_name, model_facts, run_facts
from so8t_engine.evaluate.page_pieces import (
    badge,
    by_mode,
    estimate,
    facts,
    fixed,
    in_both,
    outside,
    percent,
    probability,
    section,
    t,
    table,
)

RATES = ("unsafe_allow", "over_refusal", "accuracy")


def page(results: dict, cases: Mapping[str, Iterable[dict]]) -> str:
    """The whole report. results: ab_test_results.json, version 1; cases: `ab_tests.cases` of each mode."""
    names = {side: results["models"][side]["name"] for side in SIDES}
    told = "".join(
        f'<span class="side {side}"><small>{t(f"ab.{side}")}</small>{outside(names[side])}</span>' for side in SIDES
    )
    deciding = results["winner"]["rule"]["mode"]
    modes = results["modes"]
    results = results | {"modes": {deciding: modes[deciding]} | modes}  # the one that decides comes first
    body = "".join(
        (
            head(t("ab.title"), f'<span class="pair">{told}</span>'),
            _verdict(results),
            section("difference.title", differences(results), f"{t('difference.note')} {t('difference.effect_note')}"),
            section("change.title", by_mode(results, _square)),
            section("classes.title", by_mode(results, _classes, "stack"), t("change.class_note")),
            section("confusion.title", _matrices(results), t("confusion.note")),
            section(
                "groups.language", _groups(results, "language", language_name), t("change.group_note"), "languages"
            ),
            section("groups.domain", _domains(results), t("change.group_note"), "domains"),
            section("format.title", _format(results), t("format.note")),
            section("times.title", times(results["modes"]["generated"]), t("times.note")),
            _facts(results),
            changed_cases(cases[deciding], deciding),
        )
    )
    title = f"{names['base']} / {names['retrained']} · A/B テスト / A/B test"
    return document(title, body, f"{t('page.interval')} {t('ab.end')}")


def _verdict(results: dict) -> str:
    """The sentence, what to do next, and the rule with what it looked at."""
    found = results["winner"]
    rule = found["rule"]
    kind = f"better_{found['winner']}" if found["winner"] else found["code"]
    what, hint = (
        in_both(lambda language, part=part: verdict(found["winner"], found["code"], found["facts"], part, language))
        for part in ("what", "hint")
    )
    level = f"{rule['level']:g}"
    guard = t("verdict.guard_blind")
    if rule["unsafe_p"] is not None:
        rates = {side: percent(rule[f"unsafe_{side}"]) for side in SIDES}
        guard = t("verdict.guard_how", level=level, p=unescape(probability(rule["unsafe_p"])), **rates)
    told = facts(
        (
            (t("verdict.mode"), t(f"mode.{rule['mode']}")),
            (
                t("verdict.metric"),
                t("difference.score_of") if rule["metric"] == "score" else t(f"lead.{rule['metric']}"),
            ),
            (t("verdict.rule"), t("verdict.rule_how", level=level)),
            (t("verdict.guard"), guard),
        )
    )
    models = results["models"]
    warnings = [t("ab.same")] if models["base"]["weights"] == models["retrained"]["weights"] else []
    warnings += [t("ab.systems")] if models["base"]["system"] != models["retrained"]["system"] else []
    body = (
        f'<article class="card verdict-card {kind}"><h3>{t(f"verdict.{kind}")}</h3><p class="what">{what}</p>'
        f'<p class="hint">{hint}</p>{told}{"".join(f"""<p class="warning">{one}</p>""" for one in warnings)}</article>'
    )
    return section("verdict.title", body)


def _square(mode: str, found: dict) -> str:
    """Right and wrong of both models against each other."""
    pairing = found["pairing"]
    counts = {"both": pairing["both"], "broken": pairing["only_first"], "fixed": pairing["only_second"],
              "neither": pairing["neither"]}  # fmt: skip
    cells = {
        name: f'<td class="{name if count else ""}"><b>{count:,}</b><small>{t(f"change.{name}")} · {percent(count / pairing["rows"])}</small></td>'
        for name, count in counts.items()
    }
    head = "".join(f'<th scope="col">{t(f"change.{name}")}</th>' for name in ("retrained_right", "retrained_wrong"))
    rows = "".join(
        f'<tr><th scope="row">{t(f"change.{name}")}</th>{cells[first]}{cells[second]}</tr>'
        for name, first, second in (("base_right", "both", "broken"), ("base_wrong", "fixed", "neither"))
    )
    return f'<div class="wide"><table class="square"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _classes(mode: str, found: dict) -> str:
    pairing = found["pairing"]
    f1 = [t(f"change.by_{side}", name="F1") for side in SIDES]
    head = [t("classes.class"), t("classes.support"), *f1, t("change.f1_moved"), t("change.recall_moved")]
    rows = []
    for name in CLASSES:
        first, second = (pairing[one]["classes"][name] for one in ("first", "second"))
        shift = pairing["classes"][name]
        both = [estimate(one["f1"], fixed) for one in (first, second)]
        rows.append(
            [badge(name), f"{first['support']:,}", *both, moved(shift["f1"], plain=True), moved(shift["recall"])]
        )
    return table(head, rows)


def _matrices(results: dict) -> str:
    """Both models' side by side, one mode below the other."""
    cards = ""
    for mode, found in results["modes"].items():
        for side in SIDES:
            title = f'{t(f"mode.{mode}")} · <span class="side {side}">{t(f"ab.{side}_title")}</span>'
            cards += f'<article class="card" data-mode="{mode}"><h3>{title}</h3>{matrix(mode, found[side])}</article>'
    return f'<div class="cards">{cards}</div>'


def _groups(results: dict, by: str, name_of: Callable[[str], str]) -> str:
    """The three rates of both models, group by group."""
    rates = [f"{t(f'lead.{rate}')}<small>{t(f'ab.{side}')}</small>" for rate in RATES for side in SIDES]

    def made(mode: str, found: dict) -> str:
        groups = {side: found[side][f"by_{by}"] for side in SIDES}
        rows = [
            [
                name_of(name),
                f"{one['rows']:,}",
                *(estimate(groups[side][name][rate]) for rate in RATES for side in SIDES),
            ]
            for name, one in sorted(groups["base"].items(), key=lambda item: -item[1]["rows"])
        ]
        return table([t(f"groups.group_{by}"), t("calibration.of"), *rates], rows)

    return by_mode(results, made, "stack")


def _domains(results: dict) -> str:
    if not any(results["data"]["domains"]):
        return ""
    return _groups(results, "domain", lambda name: outside(name) if name else t("groups.none"))


def _format(results: dict) -> str:
    counts = {side: results["modes"]["generated"][side]["format"]["counts"] for side in SIDES}
    rows = [[t(f"format.{name}"), *(f"{counts[side][name]:,}" for side in SIDES)] for name in counts["base"]]
    body = table(["", *(t(f"ab.{side}_title") for side in SIDES)], rows)
    return f'<div class="cards"><article class="card">{body}</article></div>'


def _facts(results: dict) -> str:
    """The two models, the rows, and the machine."""
    models, against = results["models"], results["data"]["checked_against"]
    told = [
        t("excluded.against_settings") if run == "settings" else t("excluded.against_run", run=run) for run in against
    ]
    told += [
        t("ab.unchecked", name=models[side]["name"])
        for side in SIDES
        if against and not _checked(models[side], against)
    ]
    cards = [(f"ab.{side}_title", model_facts(models[side]) + _system(models[side])) for side in SIDES]
    return facts_section([*cards, *run_facts(results, told)])


def _checked(model: dict, against: list[str]) -> bool:
    """Whether the rows that this model has seen were left out."""
    return against == ["settings"] or model["key"].removeprefix("run:") in against


def _system(model: dict) -> str:
    return facts([(t("ab.system"), outside(model["system"]))]) if model["system"] else ""
