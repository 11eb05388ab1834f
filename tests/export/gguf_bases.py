"""Tiny base models and adapters to export, and the files that come of them."""

import hashlib
import shutil
import threading
from pathlib import Path

import pytest
import torch
from made import DEMO_MODEL
from transformers import Phi3Config, Phi3ForCausalLM

from so8t_engine.events import GgufWritten
from so8t_engine.export.gguf import LOCK, convert
from so8t_engine.export.metadata import Facts
from so8t_engine.model.so8t import attach

NEVER = threading.Event()

TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json",
    "chat_template.jinja",
)  # fmt: skip
SHAPE = {
    "vocab_size": 3072, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    # Twelve rope factors take 48 bytes, which GGUF pads.
    "intermediate_size": 80,  # no multiple of 32: down_proj can't be stored in Q8_0
    "max_position_embeddings": 8192, "original_max_position_embeddings": 4096, "sliding_window": 2048,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0 + n / 8 for n in range(12)],
                     "long_factor": [2.0 + n for n in range(12)]},
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3000,
}  # fmt: skip


def make_base(folder: Path, dtype: str = "bfloat16", **changes) -> Path:
    """A random Phi-3 in several shards, with the demo's tokenizer."""
    torch.manual_seed(0)
    model = Phi3ForCausalLM(Phi3Config(**(SHAPE | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="400KB")
    for name in TOKENIZER:
        shutil.copy(DEMO_MODEL / name, folder)
    return folder


def make_adapter(base: Path, folder: Path, std: float = 0.05) -> Path:
    """A random adapter for `base`, as after training: no parameter is left at zero."""
    model = Phi3ForCausalLM.from_pretrained(base)
    targets = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    adapted = attach(model, r=4, alpha=8.0, dropout=0.0, targets=targets, rotate=["o_proj", "down_proj"], seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "so8t_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * std)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def export(source: Path, adapter: Path | None, folder: Path, *kinds: str, **facts: str) -> dict[str, GgufWritten]:
    """Convert to `folder`/model-<kind>.gguf without a stop; what was told of each file."""
    outputs = {kind: folder / f"model-{kind}.gguf" for kind in kinds}
    events = list(convert(source, adapter, outputs, Facts(**facts), threading.Event()))
    return {event.quantization: event for event in events if isinstance(event, GgufWritten)}


def outputs(folder, *kinds):
    return {kind: folder / f"model-{kind}.gguf" for kind in kinds or ("f16", "q8_0")}


def names(folder):
    return {path.name for path in folder.iterdir()} - {LOCK}


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def refused(kind, code, base, adapter, folder):
    """The error of an export that must leave nothing."""
    with pytest.raises(kind) as caught:
        list(convert(base, adapter, outputs(folder), Facts(), NEVER))
    assert caught.value.code == code, caught.value
    assert not folder.exists() or not names(folder)
    return caught.value
