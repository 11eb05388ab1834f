"""A chain that takes seconds: a tiny random model that learns one class, and settings for a night with it."""

from pathlib import Path

from made import row, write_rows
from ollama_server import OllamaServer

from so8t_engine import Settings, config

LEARNED = "DENY"


def settings_for(folder: Path, model: Path, server: OllamaServer, **changes: object) -> Settings:
    """Settings of a chain whose runs lie in `folder`; the model knows nothing at first, and one class at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = write_rows(folder.parent / "rows.jsonl", [row(i, LEARNED) for i in range(60)])
    return config.from_values({
        "base_model": str(model), "dataset": str(rows), "runs": str(folder), "seed": 3, "data.test_share": 0.3,
        "so8t.r": 8, "so8t.alpha": 16, "so8t.dropout": 0.1, "train.epochs": 4, "train.batch_size": 6,
        "train.gradient_accumulation": 1, "train.learning_rate": 0.02, "train.validate_every": 8, "train.label_weight": 5,
        "checkpoint.interval_seconds": 1, "evaluate.max_tokens": 6, "evaluate.every_minutes": 0, "benchmarks.tasks": [],
        "ab_test.mode": "scored", "ab_test.latency_rows": 2, "export.gate_prompts": 6, "export.gate_agreement_coarse": 0.5,
        "ollama.address": server.address, "pipeline.accept_visible_thinking": True, "pipeline.ollama_name": "night",
        "pipeline.sound": False, **changes,
    })  # fmt: skip
