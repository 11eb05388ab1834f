"""A finished A/B test made in code: random decisions, judged by the stage's own figures. No model runs.

    python tests/ab_sample.py FOLDER

leaves the results and the reports of one in FOLDER, for a look at them.
"""

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import report_sample

from so8t_engine.ab_tests import CHANGES
from so8t_engine.answer.format import CLASSES
from so8t_engine.config import Settings
from so8t_engine.data.samples import Sample
from so8t_engine.evaluate.ab_results import compared, mode_results, verdict
from so8t_engine.evaluate.modes import Pace
from so8t_engine.evaluate.reports import write_ab_reports
from so8t_engine.evaluate.rows import Rows

SKILLS = {"base": 0.62, "retrained": 0.8}
DOMAINS = ("office", "hr", "")


def made(
    count: int = 200, skills: dict[str, float] = SKILLS, *, alone: int = 24, classes: tuple[str, ...] = CLASSES,
    in_turns: bool = True, seed: int = 7, given: dict[str, dict[int, str]] | None = None, **settings: object,
) -> tuple[dict, dict[str, list[dict]]]:  # fmt: skip
    """(ab_test_results.json, cases by mode). skills: share of right decisions of each side; given: decisions of one's
    own, by side and row; settings: of the group ab_test."""
    draw = random.Random(seed)
    samples = tuple(
        Sample(
            index + 1, report_sample.PROMPTS[index % 4], classes[index % len(classes)], domain=DOMAINS[index % 3],
            id=f"row-{index}",
        )
        for index in range(count)
    )  # fmt: skip
    data = Path("/data/四クラス test.jsonl")
    evaluation = report_sample.results([], modes=())
    rows = Rows(data, "ab" * 32, "file", count + 21, samples, evaluation["data"]["excluded"], ("run-1",))
    chosen = Settings().model_copy(update={"ab_test": Settings().ab_test.model_copy(update=settings)})
    journals = {
        (side, mode): SimpleNamespace(
            entries={
                index: _entry(
                    draw, mode, index, row.label, skills[side], (given or {}).get(side, {}).get(index), index < alone
                )
                for index, row in enumerate(samples)
            }
        )
        for side in skills
        for mode in ("scored", "generated")
    }
    pairings, modes, cases = {}, {}, {}
    for mode in ("scored", "generated"):
        own = {side: journals[side, mode] for side in skills}
        pairings[mode] = compared(rows, own, 42)
        paces = dict.fromkeys(skills, Pace(count, 21.7, 90 * count))
        modes[mode] = mode_results(mode, rows, own, paces, pairings[mode], chosen, in_turns)
        cases[mode] = [_case(index, row, own) for index, row in enumerate(samples)]
    models = {
        "base": evaluation["model"]
        | {"key": "original", "name": "original", "adapter": None, "weights": "0f" * 32, "system": ""},
        "retrained": evaluation["model"] | {"key": "run:run-1", "name": "Borea 再学習 r64", "system": ""},
    }
    results = {
        "version": 1, "id": "20261122-220000-ab12", "created": "2026-11-22T22:00:00+0900", "seconds": 83.4,
        "models": models, "data": rows.facts() | {"too_long": 2}, "machine": evaluation["machine"],
        "settings": {"evaluate": {}, "ab_test": {}, "seed": 42}, "modes": modes,
        "winner": verdict(pairings, chosen.ab_test),
    }  # fmt: skip
    return results, cases


def _entry(
    draw: random.Random, mode: str, index: int, label: str, skill: float, wanted: str | None, alone: bool
) -> dict:
    given = wanted if wanted is not None else label if draw.random() < skill else draw.choice(CLASSES)
    if mode == "scored":
        chance = draw.uniform(0.4, 0.99)
        return {
            "index": index,
            "given": given,
            "probabilities": {name: (1 - chance) / 3 for name in CLASSES} | {given: chance},
        }
    final = f"分類結果: {given}\n信頼度: 0.90\n理由: 規則に照らして判断しました。"
    seconds = draw.uniform(0.4, 0.9)
    return {
        "index": index, "given": given, "confidence": 0.9, "final": final,
        "format": "whole" if draw.random() < skill + 0.2 else "fields", "tokens": 120, "first_seconds": seconds / 9,
        "seconds": seconds, "alone": alone,
    }  # fmt: skip


def _case(index: int, row: Sample, journals: dict) -> dict:
    entries = {side: journals[side].entries[index] for side in journals}
    change = CHANGES[tuple(entry["given"] == row.label for entry in entries.values())]
    return {
        "index": index, "hash": f"{index:032x}", "line": row.line, "id": row.id, "prompt": row.prompt, "system": "",
        "expected": row.label, "domain": row.domain, "language": row.language, **entries, "change": change,
    }  # fmt: skip


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    found, rows_by_mode = made(400, {"base": 0.72, "retrained": 0.78})
    (folder / "ab_test_results.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    write_ab_reports(found, rows_by_mode, folder)
