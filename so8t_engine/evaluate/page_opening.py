"""What was evaluated, on what data, when and where, and which rows were left out: the top of the report."""

from collections.abc import Iterable, Sequence

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.page_pieces import badge, facts, outside, t, time_of


def opening(results: dict) -> str:
    """The head of the page and its facts. results: evaluation_results.json, version 1."""
    model, against = results["model"], results["data"]["checked_against"]
    told = t("excluded.against_settings") if against == "settings" else t("excluded.against_run", run=against)
    cards = [("model.title", model_facts(model)), *run_facts(results, () if against is None else (told,))]
    return head(t("page.title"), outside(model["name"])) + facts_section(cards)


def head(kind: str, title: str) -> str:
    """The first lines of a report, with the switch of languages. kind, title: HTML."""
    labels = '<label for="ja">日本語</label><label for="en">English</label>'
    return f'<header><p>SO8T Studio · {kind}</p><nav class="languages">{labels}</nav><h1>{title}</h1></header>'


def facts_section(parts: Iterable[tuple[str, str]]) -> str:
    """Cards of facts. parts: title (a key of the words) and HTML of each."""
    cards = "".join(f'<article class="card"><h3>{t(title)}</h3>{body}</article>' for title, body in parts)
    return f'<section id="facts"><div class="cards">{cards}</div></section>'


def run_facts(results: dict, against: Sequence[str]) -> list[tuple[str, str]]:
    """The cards on the rows, those left out, and the machine. against: HTML, by what it is known which rows a model has
    seen; empty when nobody looked."""
    data = results["data"]
    return [
        ("data.title", _data(data)),
        ("excluded.title", _excluded(data, against)),
        ("machine.title", _machine(results, results["machine"])),
    ]


def model_facts(model: dict) -> str:
    """Who answered."""
    adapter = t("model.no_adapter") if model["adapter"] is None else f"<code>{outside(model['adapter'])}</code>"
    return facts(
        (
            (t("model.name"), f"{outside(model['name'])} <small>{outside(model['key'])}</small>"),
            (t("model.base"), f"<code>{outside(model['base'])}</code>"),
            (t("model.adapter"), adapter),
            (t("model.weights"), _start(model["weights"])),
            (t("model.precision"), outside(f"{model['quantization']} / {model['dtype']}")),
            (t("model.device"), outside(model["device"])),
        )
    )


def _data(data: dict) -> str:
    classes = "".join(f"<span>{badge(name)} {data['classes'].get(name, 0):,}</span>" for name in CLASSES)
    languages = " · ".join(f"{language_name(name)} {count:,}" for name, count in data["languages"].items())
    return facts(
        (
            (t("data.file"), f"<code>{outside(data['file'])}</code>"),
            (t("data.sha256"), _start(data["sha256"])),
            (t("data.split"), t(f"data.split_{data['split']}")),
            (t("data.read"), f"{data['read']:,}"),
            (t("data.evaluated"), f"<b>{data['rows']:,}</b>"),
            (t("data.classes"), f'<span class="counts">{classes}</span>'),
            (t("data.languages"), languages),
        )
    )


def _excluded(data: dict, against: Sequence[str]) -> str:
    unknown = () if against else ("training", "validation")  # nobody looked: 0 would be a claim
    counts = [
        (t(f"excluded.{reason}"), f"{count:,}") for reason, count in data["excluded"].items() if reason not in unknown
    ]
    counts.append((t("excluded.too_long"), f"{data['too_long']:,}"))
    told = "".join(f'<p class="note">{one}</p>' for one in against)
    return facts(counts) + (told or f'<p class="warning">{t("excluded.unknown")}</p>')


def _machine(results: dict, machine: dict) -> str:
    day, _, clock = results["created"].partition("T")
    libraries = [
        (t(f"machine.{name}"), outside(machine[name])) for name in ("system", "python", "torch", "transformers")
    ]
    return facts(
        (
            (t("machine.created"), outside(f"{day} {clock[:5]} {clock[8:]}")),
            (t("machine.seconds"), time_of(results["seconds"])),
            *libraries,
            (t("machine.seed"), f"{results['settings']['seed']}"),
            (t("machine.id"), f"<code>{outside(results['id'])}</code>"),
        )
    )


def language_name(name: str) -> str:
    """The language of rows by its code."""
    return t(f"groups.{name}") if name in ("ja", "en") else outside(name)


def _start(digest: str) -> str:
    """Enough of a digest to tell two files apart; the results hold the whole."""
    return f"<code>{outside(digest[:16])}…</code>"
