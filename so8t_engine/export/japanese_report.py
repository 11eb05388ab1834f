"""The results of a Japanese test as Markdown for a person, in Japanese."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from so8t_engine.errors import sentence
from so8t_engine.export.japanese_prompts import CATEGORIES

_FORMS = {
    "final": "<final> の中で回答", "plain": "形式のない文章で回答", "none": "判定できる回答なし",
}  # fmt: skip
_SPEAKERS = ("利用者", "アシスタント")
_MARKED = re.compile(r"[\\`*_{}\[\]#|~!@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What would make more of a word than a word."""

_TURNING = {"\u061c", "\u200e", "\u200f", *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
"""Signs that turn the direction of what follows: a reader would see another text than there is."""


def report(results: dict[str, Any]) -> str:
    """The whole file. results: docs/japanese_test.md, version 1."""
    lines = [*_head(results), *_scores(results), *_speed(results["speed"])]
    if results["comparison"]:
        lines += _compared(results["comparison"])
    lines += [*_method(results), "## 設問ごとの結果", ""]
    for answer in results["answers"]:
        lines += _answer(answer)
    return "\n".join(lines).rstrip() + "\n"


def _head(results: dict[str, Any]) -> Iterator[str]:
    model = results["model"]
    yield from (f"# 日本語性能テスト: {escaped(model['name'])}", "")
    yield from ("| 項目 | 内容 |", "| --- | --- |")
    quantization = "量子化なし" if model.get("quantization") == "none" else model.get("quantization")
    held = [str(part) for part in (quantization, model.get("dtype"), model.get("device")) if part]
    facts = {
        "モデル": model["key"],
        "ダイジェスト" if model.get("kind") == "ollama" else "重み (SHA-256)": model["weights"],
        "持ち方": "、".join(held) or "—",
        "開始": results["created"], "Ollama": model.get("ollama"),
        "回答の最大長": f"{results['settings']['max_tokens']:,} トークン",
        "設問": f"{results['prompts']['count']} 問 (SHA-256 {results['prompts']['sha256'][:12]})",
    }  # fmt: skip
    yield from (f"| {name} | {escaped(str(value))} |" for name, value in facts.items() if value)
    yield ""


def _scores(results: dict[str, Any]) -> Iterator[str]:
    yield from ("## 得点", "", "得点は、合格した判定項目の割合です。", "")
    yield from ("| 分野 | 得点 | 判定項目 | 全項目に合格した設問 | 未測定 |", "| --- | ---: | ---: | ---: | ---: |")
    rows = [(CATEGORIES[key], part) for key, part in results["categories"].items()]
    for name, part in [*rows, ("**全体**", results["score"] | {"unmeasured": results["unmeasured"]})]:
        counts = f"{part['passed']} / {part['checks']} | {part['whole']} / {part['prompts']} | {part['unmeasured']}"
        yield f"| {name} | {_percent(part['value'])} | {counts} |"
    yield ""
    yield from (f"回答の形: {_forms(results['forms'])}。断った回答: {results['refused']} 問。", "")


def _forms(counts: dict[str, int]) -> str:
    told = [f"{escaped(name)} {counts[form]} 問" for form, name in _FORMS.items() if counts.get(form)]
    return "、".join(told) or "—"


def _speed(speed: dict[str, Any]) -> Iterator[str]:
    seconds, rate = speed["seconds"], speed["tokens_per_second"]
    yield from ("## 速さ", "", "| 項目 | 値 |", "| --- | ---: |")
    yield f"| 生成の速さ | {'—' if rate is None else f'{rate:,.1f} トークン/秒'} |"
    yield f"| 1 回答の時間 (平均) | {seconds['mean']:.2f} 秒 |"
    yield f"| 1 回答の時間 (中央値) | {seconds['p50']:.2f} 秒 |"
    yield f"| 1 回答の時間 (95 %) | {seconds['p95']:.2f} 秒 |"
    yield ""


def _compared(found: dict[str, Any]) -> Iterator[str]:
    yield from (f"## 比較: {escaped(found['base']['model'].get('name', ''))}", "")
    yield from (f"両方で測れた {found['prompts']} 問で比べます。差は「このモデル − 比較の相手」です。", "")
    yield "| 分野 | このモデル | 相手 | 差 | 良くなった設問 | 悪くなった設問 | 同じ |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    rows = [*((CATEGORIES[key], part) for key, part in found["categories"].items()), ("**全体**", found)]
    for title, part in rows:
        shares = f"{_percent(part['score'])} | {_percent(part['base_score'])} | {_points(part['difference'])}"
        yield f"| {title} | {shares} | {part['better']} | {part['worse']} | {part['equal']} |"
    yield from ("", *_verdict(found), "")
    yield from (f"相手の回答の形: {_forms(found['base'].get('forms') or {})}。", "")


def _verdict(found: dict[str, Any]) -> Iterator[str]:
    verdicts = {"this": "このモデルのほうが良いと言えます。", "base": "相手のほうが良いと言えます。"}
    interval, p, checks = found["interval"], found["p"], found["checks"]
    spread = f" (95 % 区間 {_points(interval['low'])} 〜 {_points(interval['high'])})" if interval else ""
    yield f"- 差は {_points(found['difference'])}{spread} です。"
    if p is None:
        yield "- どの設問でも、合格した項目の数は同じです。"
    else:
        yield (
            f"- 符号検定 (両側、正確): 良くなった {found['better']} 問、悪くなった {found['worse']} 問、p = {p:.3g}。"
            + verdicts.get(found["decided"], "どちらが良いとも言えません。")
        )
    yield (
        f"- 判定項目では、このモデルだけ合格 {checks['only_this']}、相手だけ合格 {checks['only_base']}、"
        f"両方合格 {checks['both']}、両方不合格 {checks['neither']} でした。"
    )


def _method(results: dict[str, Any]) -> Iterator[str]:
    yield from ("## 測り方", "")
    yield "- 設問は 1 問ずつ、毎回もっとも確からしいトークンを選んで (温度 0) 答えさせます。"
    if results["model"].get("plain"):
        yield (
            "- このモデルはこのソフトで再学習したものではないため、タグのない文章も回答として判定します。"
            "ただし、思考が混じっていないとは言い切れないので、その本文は保存も表示もせず、判定の結果だけを残します。"
        )
    else:
        yield (
            "- このモデルはこのソフトで再学習したものなので、`<final>` の「回答」だけを判定します。"
            "分類結果が ALLOW でない回答と、`<final>` のない回答は、すべての項目が不合格です。"
        )
    yield "- 質問に答えていない回答 (断った、質問を繰り返した、求めた内容がひとつもない) は、すべての項目が不合格です。"
    yield from ("- 技術的な理由で測れなかった設問は「未測定」とし、得点に入れません。", "")


def _answer(answer: dict[str, Any]) -> Iterator[str]:
    checks = answer.get("checks")
    count = f"{sum(one['passed'] for one in checks)} / {len(checks)}" if checks else "未測定"
    yield from (f"### {answer['prompt']} ({CATEGORIES[answer['category']]}): {count}", "")
    for place, text in enumerate(answer["turns"]):
        yield from (f"{_SPEAKERS[place % 2]}:", "", *_fenced(text), "")
    if checks is None:
        why = answer.get("unmeasured")
        reason = sentence(why["code"], "what", "ja", why["facts"]) if why else "—"
        yield from (f"未測定: {escaped(reason)}", "")
        return
    yield from _said(answer)
    yield from ("| 判定項目 | 結果 |", "| --- | --- |")
    yield from (f"| {escaped(one['name'])} | {'合格' if one['passed'] else '不合格'} |" for one in checks)
    tokens = "—" if answer["tokens"] is None else f"{answer['tokens']:,} トークン"
    cut = "、最大長で打ち切り" if answer["ended"] == "length" else ""
    yield from ("", f"{tokens}、{answer['seconds']:.2f} 秒{cut}", "")


def _said(answer: dict[str, Any]) -> Iterator[str]:
    if answer["form"] == "plain":
        yield from ("回答: 形式のない文章 (本文は保存していません)", "")
    elif answer["form"] == "none":
        yield from ("回答: 表示できる回答がありません", "")
    else:
        yield from (f"回答 (分類結果: {escaped(answer['label']) or '—'}):", "")
        yield from (*_fenced(answer["answer"] or f"(回答なし。理由: {answer['reason'] or '—'})"), "")


def escaped(text: str) -> str:
    """`text` as plain words on one line of Markdown, whatever stands in it."""
    line = _MARKED.sub(r"\\\g<0>", " ".join(_visible(text).split()))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{share:.1%}"


def _points(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:+.1f} ポイント"


def _fenced(text: str) -> list[str]:
    """A code block that `text` can't end: its fence is longer than any run of its marks in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{fence}text", *_visible(text).splitlines(), fence]


def _visible(text: str) -> str:
    """Control signs, and signs that turn the direction of writing, become �."""
    return "".join(
        "�" if letter in _TURNING or (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t") else letter
        for letter in text.replace("\r\n", "\n")
    )
