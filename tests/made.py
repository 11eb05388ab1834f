"""What tests are made of: places, rows in the format, the environment of a subprocess, a wish to stop."""

import json
import os
import random
import threading
from pathlib import Path

from so8t_engine import config
from so8t_engine.answer.format import CLASSES, Answer, Final, build

ROOT = config.ROOT
DEMO_MODEL = ROOT / "assets" / "demo_model"
SHARED = ROOT.parent / "shared"


def answer(label: str, reason: str = "理由です。") -> str:
    """A whole answer of that class."""
    final = Final(label, 0.9, reason, "お答えします。" if label == "ALLOW" else "")
    return build(Answer("依頼を読む。", "害を考える。", "規則を見る。", final))


def row(number: int, label: str, **more: str) -> dict[str, str]:
    """One row in the format of a dataset."""
    words = random.Random(number)
    topic = words.choice(["the garden", "料理", "a contract", "契約書", "the database", "給与の記録"])
    return {"instruction": f"{topic} {number}: {label.lower()}", "input": "", "output": answer(label),
            "four_class_label": label, **more}  # fmt: skip


def write_rows(file: Path, rows: list[dict]) -> Path:
    """A JSONL file of `rows`."""
    file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8", newline="\n")
    return file


def forty_rows(folder: Path) -> Path:
    """A dataset, ten rows a class."""
    return write_rows(folder / "rows.jsonl", [row(i, CLASSES[i % 4]) for i in range(40)])


def eight_steps(model: Path, rows: Path, runs: Path) -> config.Settings:
    """Settings for a run of eight steps on forty rows, in packs of two rows or three, with dropout, so that the random state matters."""
    return config.from_values(
        {
            "base_model": str(model), "dataset": str(rows), "runs": str(runs), "seed": 3, "so8t.r": 4, "so8t.alpha": 8,
            "so8t.dropout": 0.2, "train.epochs": 2, "train.batch_size": 2, "train.gradient_accumulation": 4,
            "train.max_tokens": 128, "train.learning_rate": 0.01, "train.validate_every": 3, "checkpoint.interval_seconds": 3600,
        }
    )  # fmt: skip


def environment() -> dict[str, str]:
    """The environment for a subprocess that runs our command line."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


class StopsAfter(threading.Event):
    """Set once it has been asked so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def is_set(self) -> bool:
        self.times -= 1
        return self.times < 0
