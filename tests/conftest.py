"""What many tests need: a tiny Phi-3 model made in code, rows in the format, and settings that put them together."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from so8t_engine import Settings, config
from so8t_engine.answer.format import CLASSES, Answer, Final, build

ROOT = config.ROOT
DEMO_MODEL = ROOT / "assets" / "demo_model"
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real rows and the real tokenizer, which only some machines have."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the project: real rows and the real Phi-3.5 tokenizer are not here")
    return SHARED


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A folder with a random two-layer Phi-3 and the demo's tokenizer."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny_model")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (DEMO_MODEL / name).exists():
            shutil.copy(DEMO_MODEL / name, folder)
    vocabulary = json.loads((DEMO_MODEL / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    settings = Phi3Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=8192, original_max_position_embeddings=4096,
        rope_scaling={"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    Phi3ForCausalLM(settings).save_pretrained(folder)
    return folder


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


@pytest.fixture
def rows_file(tmp_path) -> Path:
    """A dataset of forty rows, ten a class."""
    return write_rows(tmp_path / "rows.jsonl", [row(i, CLASSES[i % 4]) for i in range(40)])


@pytest.fixture
def tiny_settings(tmp_path, tiny_model, rows_file) -> Settings:
    """Settings for a run of eight steps with dropout, so that the random state matters."""
    return config.from_values(
        {
            "base_model": str(tiny_model), "dataset": str(rows_file), "runs": str(tmp_path / "runs"), "seed": 3,
            "so8t.r": 4, "so8t.alpha": 8, "so8t.dropout": 0.2, "train.epochs": 2, "train.batch_size": 2,
            "train.gradient_accumulation": 4, "train.learning_rate": 0.01, "train.validate_every": 3,
            "checkpoint.interval_seconds": 3600,
        }
    )  # fmt: skip


def environment() -> dict[str, str]:
    """The environment for a subprocess that runs our command line."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
