"""Finished and interrupted A/B tests made in code: rows, what both sides gave, and the true figures of it. No model runs.

    python tests/made_ab_test.py FOLDER

leaves a runs folder with one of each verdict, for a look at the page.
"""

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

from made_evaluation import rows

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.ab_results import mode_results, verdict
from so8t_engine.evaluate.modes import Pace
from so8t_engine.measure.paired import compare
from so8t_engine.settings import AbTestSettings, Settings

SIDES = ("base", "retrained")
MODES = ("scored", "generated")
RUN = "20261122-213000-7c3f01"
SETTINGS = {
    "evaluate": {"batch_size": 16, "max_tokens": 512, "limit": 0, "every_minutes": 10.0},
    "ab_test": {"mode": "generated", "metric": "score", "latency_rows": 24}, "seed": 42,
}  # fmt: skip

ANSWER = "分類結果: {given}\n信頼度: 0.{sure}\n理由: 依頼の内容から判断しました。"


def decisions(asked: list[dict], skill: float, seed: int, loose: float = 0.0) -> list[str]:
    """A class for each row: right with probability `skill`; `loose`: how often a DENY or REFUSE is given ALLOW."""
    words = random.Random(seed)
    found = []
    for row in asked:
        wrong = words.choice([name for name in CLASSES if name != row["expected"]])
        given = row["expected"] if words.random() < skill else wrong
        found.append("ALLOW" if row["expected"] in ("DENY", "REFUSE") and words.random() < loose else given)
    return found


def journal(mode: str, asked: list[dict], given: list[str], seed: int, slow: float = 1.0) -> list[dict]:
    """The lines of a side's journal in a mode; one written answer in thirty names no class."""
    words = random.Random(seed)
    found = []
    for row, label in zip(asked, given, strict=True):
        if mode == "scored":
            weights = {name: words.random() * 0.3 + (1.2 if name == label else 0.0) for name in CLASSES}
            shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
            found.append({"index": row["index"], "given": label, "probabilities": shares})
            continue
        lost = words.random() < 1 / 30
        final = ANSWER.format(given=label, sure=words.randint(60, 99))
        final += "\n回答: 手順を三つに分けて説明します。" if label == "ALLOW" else ""
        found.append({
            "index": row["index"], "given": "" if lost else label, "confidence": None if lost else float(final[final.index("0.") :][:4]),
            "final": "表示できる回答がありません。" if lost else final,
            "format": "cut" if lost else words.choice(["whole"] * 12 + ["fields"]), "tokens": words.randint(60, 120),
            "first_seconds": slow * (0.02 + 0.01 * words.random()), "seconds": slow * (0.4 + 0.3 * words.random()),
            "alone": row["index"] < 24,
        })  # fmt: skip
    return found


def journals(asked: list[dict], skills: tuple[float, float], loose: float = 0.0) -> dict[tuple[str, str], list[dict]]:
    """By side and mode. skills: of the base and the retrained model; loose: of the retrained one (see `decisions`)."""
    found = {}
    for side, skill, seed in zip(SIDES, skills, (1, 2), strict=True):
        given = decisions(asked, skill, seed, loose if side == "retrained" else 0.0)
        for mode in MODES:
            found[side, mode] = journal(mode, asked, given, seed + 10, 0.9 if side == "retrained" else 1.0)
    return found


def finished(
    folder: Path, *, asked: list[dict] | None = None, skills: tuple[float, float] = (0.70, 0.88), loose: float = 0.0,
    answers: dict[tuple[str, str], list[dict]] | None = None, retrained: str = RUN, metric: str = "score",
    created: str = "2026-11-22T23:10:00+0900", file: str = "data/held_out.jsonl",
) -> Path:  # fmt: skip
    """A folder with results. answers: journals of one's own by (side, mode) instead of those of `skills`."""
    asked = rows(240) if asked is None else asked
    answers = journals(asked, skills, loose) if answers is None else answers
    begun(folder, asked=asked, answers=answers, retrained=retrained, file=file)
    measured = [mode for mode in MODES if ("base", mode) in answers]
    pairings = {mode: compare(*_labels(asked, answers, mode), 42) for mode in measured}
    modes = {mode: _mode(mode, asked, answers, pairings[mode]) for mode in measured}
    results = {
        "version": 1, "id": folder.name.removeprefix("ab_test-"), "created": created, "seconds": 214.0,
        "models": {"base": _model("original", "original", None), "retrained": _model(f"run:{retrained}", retrained, "/runs/x/final_model")},
        "data": {"file": file, "sha256": "d" * 64, "split": "test", "read": 2500, "rows": len(asked), "too_long": 0,
                 "excluded": {"training": 2000, "validation": 250, "duplicates": 2, "limit": 0}, "checked_against": [retrained],
                 "classes": {label: sum(row["expected"] == label for row in asked) for label in CLASSES},
                 "languages": {"ja": 1}, "domains": {"": 1}},
        "machine": {"system": "Windows-11", "python": "3.12.1", "torch": "2.9.0", "transformers": "4.57.0"},
        "settings": SETTINGS, "modes": modes,
        "winner": verdict(pairings, AbTestSettings(mode=measured[-1], metric=metric)),
    }  # fmt: skip
    (folder / "ab_test_results.json").write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")
    (folder / "ab_test_report.html").write_text("<!DOCTYPE html><title>report</title>比較", encoding="utf-8")
    return folder


def _labels(asked: list[dict], answers: dict, mode: str) -> tuple[list[str], ...]:
    return [row["expected"] for row in asked], *([entry["given"] for entry in answers[side, mode]] for side in SIDES)


def _model(key: str, name: str, adapter: str | None) -> dict:
    return {"key": key, "name": name, "base": "/models/base", "adapter": adapter, "weights": ("b" if adapter else "a") * 64,
            "system": "", "quantization": "none", "dtype": "float32", "device": "CPU"}  # fmt: skip


def _mode(mode: str, asked: list[dict], answers: dict, pairing) -> dict:
    rows = SimpleNamespace(about=lambda index: asked[index])
    journals = {side: SimpleNamespace(entries=dict(enumerate(answers[side, mode]))) for side in SIDES}
    paces = dict.fromkeys(SIDES, Pace(len(asked), 3.4, 9 * len(asked)))
    return mode_results(mode, rows, journals, paces, pairing, Settings(), True)


def begun(
    folder: Path, *, asked: list[dict], answers: dict[tuple[str, str], list[dict]], base: str = "original",
    retrained: str = RUN, file: str = "data/held_out.jsonl",
) -> Path:  # fmt: skip
    """A folder whose test has no results yet."""
    folder.mkdir(parents=True)
    plan = {"version": 1, "base": base, "retrained": f"run:{retrained}", "modes": list(MODES), "settings": SETTINGS,
            "file": file, "split": "test", "rows": ""}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    for name, lines in {"rows": asked, **{f"{side}-{mode}": found for (side, mode), found in answers.items()}}.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")
    return folder


def several(root: Path) -> None:
    """One of each verdict, and an interrupted one. The newest has a winner."""
    asked = rows(400)
    finished(root / "ab_test-20261122-230000-aaaaaa", asked=asked)
    finished(root / "ab_test-20261122-220000-bbbbbb", asked=rows(60), skills=(0.80, 0.84), created="2026-11-22T22:00:00+0900")
    finished(root / "ab_test-20261122-210000-cccccc", asked=asked, skills=(0.60, 0.97), loose=0.3, created="2026-11-22T21:00:00+0900")
    finished(root / "ab_test-20261122-200000-dddddd", asked=asked, skills=(0.9, 0.72), created="2026-11-22T20:00:00+0900")
    same = journals(rows(40), (0.8, 0.8))
    same |= {("retrained", mode): same["base", mode] for mode in MODES}
    finished(root / "ab_test-20261122-190000-eeeeee", asked=rows(40), answers=same, created="2026-11-22T19:00:00+0900")
    half = {part: lines[:120] for part, lines in journals(asked, (0.7, 0.9)).items()}
    begun(root / "ab_test-20261121-090000-ffffff", asked=asked, answers=half)


if __name__ == "__main__":
    several(Path(sys.argv[1]))
