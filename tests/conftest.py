"""What many tests need: a tiny Phi-3 model made in code, rows in the format, and settings that put them together."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from made import DEMO_MODEL, SHARED, row, write_rows

from so8t_engine import Settings, config
from so8t_engine.answer.format import CLASSES

# No test is timed: a busy machine may be ten times slower than an idle one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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
