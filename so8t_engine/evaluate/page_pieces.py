"""Pieces of the report: its words in both languages, numbers with their intervals, tables.

Whatever comes from outside is escaped here, and only here. Both languages stand in the page; its style shows one.
"""

import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from html import escape

from so8t_engine.answer.format import CLASSES
from so8t_engine.errors import CATALOGUE

ASSETS = CATALOGUE.parent.parent
FOLDER = ASSETS / "report"
JAPANESE = ASSETS / "fonts" / "noto-sans-jp-report.ttf"
LATIN = ASSETS / "fonts" / "inter-latin.woff2"
LANGUAGES = ("ja", "en")
MODES = ("scored", "generated")

Estimate = dict | None
"""{"value", "low", "high"}, 0.0 to 1.0; None for what could not be measured."""


@cache
def catalogue() -> dict[str, dict[str, dict[str, str]]]:
    """The words of assets/report/words.toml by section, key and language."""
    with (FOLDER / "words.toml").open("rb") as file:
        return tomllib.load(file)


def word(key: str, language: str, **facts: object) -> str:
    """The words of `key` ("section.name") as plain text."""
    section, name = key.split(".")
    return catalogue()[section][name][language].format_map(facts)


def in_both(make: Callable[[str], str]) -> str:
    """What `make` says in each language, as plain text; the page shows one of them."""
    return "".join(f'<span lang="{language}">{plain(make(language))}</span>' for language in LANGUAGES)


def t(key: str, **facts: object) -> str:
    """The words of `key` in both languages."""
    return in_both(lambda language: word(key, language, **facts))


def plain(text: object) -> str:
    """Text from outside. Half a character, which JSON can hold and UTF-8 can't, becomes a question mark."""
    return escape(str(text).encode("utf-8", "replace").decode("utf-8"))


def outside(text: object) -> str:
    """A name or a path from outside, kept apart from the writing direction around it."""
    return f"<bdi>{plain(text)}</bdi>"


def percent(share: float) -> str:
    """0.8741 as 87.4 %."""
    return f"{100 * share:.1f}\u00a0%"


def fixed(value: float) -> str:
    """A score from 0 to 1, three decimals."""
    return f"{value:.3f}"


def bounds(found: dict, shown: Callable[[float], str] = percent) -> str:
    """[84.1, 90.2]: the interval in the unit of the value beside it."""
    low, high = (shown(found[end]).removesuffix("\u00a0%") for end in ("low", "high"))
    return f"[{low}, {high}]"


def not_measured(reason: str = "") -> str:
    """Where there is no number. reason: HTML."""
    return f'<span class="absent">{t("page.not_measured")}{f"<small>{reason}</small>" if reason else ""}</span>'


def estimate(found: Estimate, shown: Callable[[float], str] = percent) -> str:
    """A value with its interval under it; a dash where nothing could be measured."""
    if found is None:
        return f'<span class="absent" aria-hidden="true">—</span><span class="unseen">{t("page.not_measured")}</span>'
    return f"<b>{shown(found['value'])}</b><small>{bounds(found, shown)}</small>"


def span(found: Estimate, kind: str) -> str:
    """An interval as a line on the way from 0 to 100 %. kind: its CSS class."""
    if found is None:
        return ""
    low, width, value = (f"{100 * x:.2f}%" for x in (found["low"], found["high"] - found["low"], found["value"]))
    return (
        f'<span class="span {kind}" aria-hidden="true"><i style="left:{low};width:{width}"></i>'
        f'<b style="left:{value}"></b></span>'
    )


def probability(p: float) -> str:
    """0.034, or < 0.001."""
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float, language: str) -> str:
    """3.2 ミリ秒, 0.42 秒, 12.3 秒, 2分5秒, 1時間23分 (3.2 ms, 0.42 s, 12.3 s, 2 min 5 s, 1 h 23 min)."""
    if seconds < 0.1:
        digits = f"{1000 * seconds:.1f}" if seconds < 0.01 else f"{1000 * seconds:.0f}"
        return digits + {"ja": " ミリ秒", "en": " ms"}[language]
    if seconds < 60:
        digits = f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}"
        return digits + {"ja": " 秒", "en": " s"}[language]
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if language == "ja":
        return f"{hours}時間{minutes}分" if hours else f"{minutes}分{whole % 60}秒"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def time_of(seconds: float) -> str:
    """A duration in both languages."""
    return in_both(lambda language: duration(seconds, language))


def badge(label: str) -> str:
    """A class with its letter in its colour; "" is an answer that named none."""
    if label not in CLASSES:
        return f'<span class="badge none"><i>–</i>{t("confusion.unparseable")}</span>'
    return f'<span class="badge {label.lower()}"><i>{label[0]}</i>{label}</span>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of label and value, both HTML; rows without a value are left out."""
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in rows if value)}</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of HTML cells whose first column names the row; it scrolls by itself where the page is narrow."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def section(key: str, body: str, note: str = "", name: str = "") -> str:
    """A part of the report with the title `key`; nothing where `body` is empty. note: HTML below it."""
    if not body:
        return ""
    below = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{name or key.split(".")[0]}"><h2>{t(key)}</h2>{body}{below}</section>'


def by_mode(results: dict, make: Callable[[str, dict], str], kind: str = "cards") -> str:
    """A card for each measured mode, in the order of the results; a mode for which `make` says "" has none.

    kind: "cards" side by side where there is room, "stack" one below the other.
    """
    made = {mode: make(mode, found) for mode, found in results["modes"].items()}
    cards = "".join(
        f'<article class="card" data-mode="{mode}"><h3>{t(f"mode.{mode}")}</h3>{body}</article>'
        for mode, body in made.items()
        if body
    )
    return f'<div class="{kind}">{cards}</div>' if cards else ""


def file_text(name: str) -> str:
    """A file of assets/report."""
    return (FOLDER / name).read_text(encoding="utf-8")
