"""Finished and interrupted evaluations made in code: rows, what was given, and the true figures of it. No model runs.

    python tests/made_evaluation.py FOLDER

leaves a runs folder with several of them, for a look at the page.
"""

import json
import random
import sys
from pathlib import Path

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.modes import Pace
from so8t_engine.evaluate.results import generated_results, scored_results

DOMAINS = ("business", "personal", "security", "")


def rows(count: int, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> list[dict]:
    """The lines of rows.jsonl."""
    words = random.Random(seed)
    found = []
    for index in range(count):
        expected, japanese = classes[index % len(classes)], index % 3 > 0
        topic = words.choice(
            ["契約書", "給与の記録", "社内サーバー"] if japanese else ["a contract", "the payroll", "the server"]
        )
        prompt = (
            f"{topic}について、{index} 番の手順を説明してください。"
            if japanese
            else f"Explain step {index} for {topic}."
        )
        found.append({
            "index": index, "hash": f"{index:032x}", "line": index + 1, "id": f"row-{index:04}", "prompt": prompt,
            "system": "", "expected": expected, "domain": DOMAINS[index % len(DOMAINS)],
            "language": "ja" if japanese else "en",
        })  # fmt: skip
    return found


def scored(asked: list[dict], skill: float, seed: int = 1) -> list[dict]:
    """The lines of scored.jsonl of a model that is right with probability `skill`."""
    words = random.Random(seed)
    found = []
    for row in asked:
        given = row["expected"] if words.random() < skill else words.choice(CLASSES)
        weights = {name: words.random() * 0.3 + (1.2 if name == given else 0.0) for name in CLASSES}
        total = sum(weights.values())
        shares = {name: weight / total for name, weight in weights.items()}
        found.append({"index": row["index"], "given": given, "probabilities": shares})
    return found


def generated(asked: list[dict], skill: float, seed: int = 2) -> list[dict]:
    """The lines of generated.jsonl; one answer in twenty names no class."""
    words = random.Random(seed)
    found = []
    for row in asked:
        given = row["expected"] if words.random() < skill else words.choice(CLASSES)
        lost = words.random() < 0.05
        final = (
            "" if lost else f"分類結果: {given}\n信頼度: 0.{words.randint(60, 99)}\n理由: 依頼の内容から判断しました。"
        )
        final += "\n回答: 手順を三つに分けて説明します。" if given == "ALLOW" and not lost else ""
        found.append({
            "index": row["index"], "given": "" if lost else given, "confidence": None if lost else float(final[final.index("0.") :][:4]),
            "final": final or "表示できる回答がありません。", "format": "cut" if lost else words.choice(["whole"] * 9 + ["fields"]),
            "tokens": words.randint(60, 120), "first_seconds": 0.02 + 0.01 * words.random(),
            "seconds": 0.4 + 0.3 * words.random(), "alone": row["index"] < 8,
        })  # fmt: skip
    return found


def finished(
    folder: Path, *, asked: list[dict] | None = None, skills: dict[str, float] | None = None, name: str = "original",
    created: str = "2026-11-22T22:00:00+0900", benchmarks: tuple[dict, ...] = (), data: str = "d" * 64, file: str = "data/held_out.jsonl",
    entries: dict[str, list[dict]] | None = None,
) -> Path:  # fmt: skip
    """A folder with results. skills: share of right decisions by mode; entries: journals of one's own instead."""
    asked = rows(200) if asked is None else asked
    skills = {"scored": 0.86, "generated": 0.78} if skills is None else skills
    makers = {"scored": scored, "generated": generated}
    journals = entries if entries is not None else {mode: makers[mode](asked, skill) for mode, skill in skills.items()}
    begun(folder, asked=asked, journals=journals, model=name, file=file)
    modes, pace = {}, Pace(len(asked), 3.4, 9 * len(asked))
    for mode, lines in journals.items():
        cases = list(zip(asked, lines, strict=True))
        found = scored_results(cases, pace, 42) if mode == "scored" else generated_results(cases, pace, 16, 42)
        modes[mode] = found[0]
    results = {
        "version": 1, "id": folder.name.removeprefix("evaluation-"), "created": created, "seconds": 83.2,
        "model": {"key": name, "name": name, "base": "/models/base", "adapter": None if name == "original" else "/runs/x/final_model",
                  "weights": "0123456789abcdef" * 4, "quantization": "none", "dtype": "float32", "device": "CPU"},
        "data": {"file": file, "sha256": data, "split": "test", "read": 500, "rows": len(asked), "too_long": 0,
                 "excluded": {"training": 240, "validation": 30, "duplicates": 2, "limit": 0}, "checked_against": "settings",
                 "classes": {label: sum(row["expected"] == label for row in asked) for label in CLASSES},
                 "languages": {"ja": 1}, "domains": {"": 1}},
        "machine": {"system": "Windows-11", "python": "3.12.1", "torch": "2.9.0", "transformers": "4.57.0"},
        "settings": {"evaluate": {"batch_size": 16, "max_tokens": 512, "limit": 0, "every_minutes": 10.0}, "benchmarks": {}, "seed": 42},
        "modes": modes, "benchmarks": list(benchmarks),
    }  # fmt: skip
    (folder / "evaluation_results.json").write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")
    (folder / "evaluation_report.html").write_text("<!DOCTYPE html><title>report</title>報告", encoding="utf-8")
    return folder


def begun(
    folder: Path,
    *,
    asked: list[dict],
    journals: dict[str, list[dict]],
    model: str = "original",
    file: str = "data/held_out.jsonl",
) -> Path:
    """A folder whose evaluation has no results yet."""
    folder.mkdir(parents=True)
    plan = {"version": 1, "model": model, "modes": list(journals), "file": file, "split": "test", "rows": "",
            "settings": {"evaluate": {"batch_size": 16, "max_tokens": 512, "limit": 0, "every_minutes": 10.0}, "seed": 42}}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    for name, lines in {"rows": asked, **journals}.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")
    return folder


BENCHMARKS = (
    {"task": "jcommonsenseqa", "group": "japanese", "outcome": "measured", "metrics": {"acc": [0.412, 0.015]}, "rows": 1119,
     "few_shot": 3, "seed": 42, "seconds": 61.0, "code": "", "where": "", "facts": {}},
    {"task": "sst2", "group": "glue", "outcome": "not run", "metrics": {}, "rows": 0, "few_shot": 0, "seed": 42, "seconds": 0.0,
     "code": "data.missing", "where": "data/benchmarks/sst2", "facts": {}},
)  # fmt: skip


def several(root: Path) -> None:
    """An original and a retrained model on the same rows, one on other rows, and an interrupted one."""
    asked = rows(400)
    run = "20261122-213000-7c3f01"
    finished(root / "evaluation-20261122-220000-aaaaaa", asked=asked, skills={"scored": 0.55, "generated": 0.41})
    finished(root / "evaluation-20261122-223000-bbbbbb", asked=asked, name=run, created="2026-11-22T22:30:00+0900",
             skills={"scored": 0.91, "generated": 0.87}, benchmarks=BENCHMARKS)  # fmt: skip
    finished(root / "evaluation-20261121-100000-cccccc", asked=rows(60, classes=("ALLOW", "REFUSE")), data="e" * 64,
             skills={"scored": 0.8}, created="2026-11-21T10:00:00+0900", file="data/xstest_four_class.jsonl")  # fmt: skip
    begun(root / "evaluation-20261121-090000-dddddd", asked=asked, journals={"scored": scored(asked[:120], 0.9)})


if __name__ == "__main__":
    several(Path(sys.argv[1]))
