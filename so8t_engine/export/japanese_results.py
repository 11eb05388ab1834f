"""The figures of a Japanese test, and what they are against another model's (docs/japanese_test.md has the schema)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from so8t_engine.errors import BadInput
from so8t_engine.export.japanese_answer import Spoken
from so8t_engine.export.japanese_prompts import CATEGORIES, Paper, Prompt
from so8t_engine.export.japanese_text import refuses
from so8t_engine.measure.bootstrap import bca
from so8t_engine.measure.latency import latency
from so8t_engine.measure.statistics import sign_test
from so8t_engine.runs import JapaneseTest

VERSION = 1
FORMS = ("final", "plain", "none")
SURE = 0.05
"""A difference counts as decided when it would be less likely than this between two equally good models."""

KEPT = ("form", "label", "reason", "answer", "refused", "ended", "tokens", "seconds", "pace")
"""What the results say of an answer beside its checks, as the journal has it."""

PARTS = {"model": dict, "prompts": dict, "settings": dict, "score": dict, "answers": list}
"""What results must hold to be compared with, and as what."""


def entry(prompt: Prompt, spoken: Spoken) -> dict[str, Any]:
    """An answer's line in the journal. A plain one leaves the outcome of its checks and nothing of its text."""
    heard = spoken.heard
    return {
        "prompt": prompt.id, "form": heard.form, "label": heard.label, "reason": heard.reason, "answer": heard.answer,
        "refused": heard.label not in ("", "ALLOW") or refuses(heard.judged), "passed": prompt.passed(heard.judged),
        "ended": spoken.ended, "tokens": spoken.tokens, "seconds": spoken.seconds,
        "pace": list(spoken.pace) if spoken.pace else None,
    }  # fmt: skip


def measured(entries: dict[str, dict], prompt: Prompt) -> bool:
    """Whether the journal holds an answer to `prompt`, with as many checks as it has."""
    found = entries.get(prompt.id, {})
    return found.keys() >= {"passed", *KEPT} and len(found["passed"]) == len(prompt.checks)


def figures(paper: Paper, entries: dict[str, dict]) -> dict[str, Any]:
    """Score, categories, forms, speed and answers; at least one prompt was measured. What was not measured is no part
    of any score."""
    answers = [_answer(prompt, entries) for prompt in paper.prompts]
    done = [one for one in answers if "checks" in one]
    return {
        "score": _score(done),
        "categories": {
            key: _score([one for one in done if one["category"] == key])
            | {"unmeasured": sum(one["category"] == key and "checks" not in one for one in answers)}
            for key in CATEGORIES
        },
        "forms": {form: sum(one["form"] == form for one in done) for form in FORMS},
        "refused": sum(one["refused"] for one in done),
        "unmeasured": len(answers) - len(done),
        "speed": _speed(done),
        "answers": answers,
    }  # fmt: skip


def read(folder: Path) -> dict[str, Any]:
    """The results of the finished test in `folder`, with "folder" and "file" beside them.

    Raises BadInput "japanese.no_results" or "japanese.bad_results".
    """
    file = JapaneseTest(folder.resolve()).results
    if file is None:
        raise BadInput("japanese.no_results", where=str(folder))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise ValueError(f"version {found.get('version') if isinstance(found, dict) else None}")
        if lacking := [name for name in PARTS if not isinstance(found.get(name), PARTS[name])]:
            raise ValueError(f"no {', '.join(lacking)}")
    except (OSError, ValueError) as error:
        raise BadInput("japanese.bad_results", where=str(file), reason=error) from None
    return found | {"folder": str(file.parent), "file": file.name}


def check_comparable(prompts: str, settings: dict[str, Any], against: dict[str, Any]) -> None:
    """Raises BadInput "japanese.not_comparable" unless both tests ask the same under the same settings."""
    differing = ["prompts"] if against["prompts"].get("sha256") != prompts else []
    differing += [name for name, value in settings.items() if against["settings"].get(name) != value]
    if differing:
        raise BadInput("japanese.not_comparable", where=against["folder"], names=", ".join(differing))


def compare(results: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """`results` against those of the base model, on the prompts that both have measured; differences are the former
    less the latter.

    The checks of one answer hang together, so the test of significance counts prompts: those in which one of the two
    passes more checks than the other (exact sign test; McNemar's exact test for a prompt with one check).
    """
    mine, earlier = ({one["prompt"]: one for one in side["answers"] if "checks" in one} for side in (results, base))
    pairs = [(mine[prompt], earlier[prompt]) for prompt in mine if prompt in earlier]
    compared = _compared(pairs)
    better, worse = compared["better"], compared["worse"]
    p = sign_test(better, worse)[0] if better + worse else None
    decided = None if p is None or p >= SURE else "this" if better > worse else "base"
    both = [
        (here["passed"], there["passed"])
        for a, b in pairs
        for here, there in zip(a["checks"], b["checks"], strict=True)
    ]
    return {
        "base": {"folder": base["folder"], "file": base["file"], "model": base["model"], "forms": base.get("forms")},
        **compared,
        "interval": _interval(pairs) if pairs else None,
        "checks": {
            "both": both.count((True, True)), "only_this": both.count((True, False)),
            "only_base": both.count((False, True)), "neither": both.count((False, False)),
        },
        "p": p, "decided": decided,
        "categories": {key: _compared([one for one in pairs if one[0]["category"] == key]) for key in CATEGORIES},
    }  # fmt: skip


def _answer(prompt: Prompt, entries: dict[str, dict]) -> dict[str, Any]:
    told = {"prompt": prompt.id, "category": prompt.category, "turns": list(prompt.turns)}
    found = entries.get(prompt.id, {})
    if not measured(entries, prompt):
        return told | {"unmeasured": found.get("unmeasured")}
    checks = [
        {"kind": one.kind, "name": one.name, "passed": passed}
        for one, passed in zip(prompt.checks, found["passed"], strict=True)
    ]
    return told | {name: found[name] for name in KEPT} | {"checks": checks}


def _score(answers: Sequence[dict]) -> dict[str, Any]:
    checks, passed = sum(len(one["checks"]) for one in answers), sum(map(_passed, answers))
    whole = sum(_passed(one) == len(one["checks"]) for one in answers)
    value = passed / checks if checks else None
    return {"value": value, "passed": passed, "checks": checks, "prompts": len(answers), "whole": whole}


def _passed(answer: dict) -> int:
    return sum(one["passed"] for one in answer["checks"])


def _speed(answers: Sequence[dict]) -> dict[str, Any]:
    paces = [one["pace"] for one in answers if one["pace"]]
    tokens, seconds = sum(pace[0] for pace in paces), sum(pace[1] for pace in paces)
    return {
        "tokens_per_second": tokens / seconds if tokens and seconds else None,
        "seconds": latency([one["seconds"] for one in answers]).to_json(),
    }


def _compared(pairs: Sequence[tuple[dict, dict]]) -> dict[str, Any]:
    mine, other = _score([a for a, _ in pairs])["value"], _score([b for _, b in pairs])["value"]
    better, worse = sum(_passed(a) > _passed(b) for a, b in pairs), sum(_passed(a) < _passed(b) for a, b in pairs)
    return {
        "prompts": len(pairs), "score": mine, "base_score": other, "difference": mine - other if pairs else None,
        "better": better, "worse": worse, "equal": len(pairs) - better - worse,
    }  # fmt: skip


def _interval(pairs: Sequence[tuple[dict, dict]]) -> dict[str, float] | None:
    """95 % interval of the difference, by drawing prompts; None where every prompt says the same."""
    apart = np.array([_passed(a) - _passed(b) for a, b in pairs], dtype=float)
    checks = np.array([len(a["checks"]) for a, _ in pairs], dtype=float)

    def difference(tables: np.ndarray) -> np.ndarray:
        return tables @ apart / np.maximum(tables @ checks, 1)

    low, high = bca(np.ones(len(pairs), np.int64), difference)
    return {"low": low, "high": high} if low < high else None
