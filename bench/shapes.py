"""What benchmarks of a model's answers are made on: the demo model, or random weights in the shape of Phi-3.5-mini."""

import platform
import shutil
import time
from pathlib import Path

import psutil
import torch
import transformers

from so8t_engine.model import so8t
from so8t_engine.settings import ROOT, SO8TSettings

DEMO = ROOT / "assets" / "demo_model"
HELDOUT = ROOT / "assets" / "data" / "demo_heldout.jsonl"
PHI35 = {
    "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096, "sliding_window": 262144, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "tie_word_embeddings": False,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48},
}  # fmt: skip


def make_phi35(folder: Path) -> tuple[Path, Path]:
    """Random weights in Phi-3.5-mini's shape with the demo's tokenizer, and an adapter of the default settings.

    Made on the GPU. Returns the folders of the model and of the adapter, in `folder`.
    """
    base, adapter, settings = folder / "base", folder / "adapter", SO8TSettings()
    with torch.device("cuda"):
        model = transformers.Phi3ForCausalLM(transformers.Phi3Config(**PHI35, dtype=torch.bfloat16)).bfloat16()
    model.save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (DEMO / name).exists():
            shutil.copy(DEMO / name, base)
    adapted = so8t.attach(model, r=settings.r, alpha=settings.alpha, dropout=0.0, targets=settings.targets,
                          rotate=settings.rotate, seed=0)  # fmt: skip
    for name, weight in adapted.named_parameters():
        if "so8t_B" in name or "so8t_theta" in name:
            torch.nn.init.normal_(weight.data, std=0.002)
    adapted.save_pretrained(adapter, save_embedding_layers=False)
    del model, adapted
    torch.cuda.empty_cache()
    return base, adapter


def machine() -> str:
    """The machine, the versions and the date, in one line."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        load = psutil.getloadavg()[0]
        device = f"{_processor()}, {psutil.cpu_count()} CPUs (load {load:.1f})"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{device}, {versions}, {time.strftime('%Y-%m-%d')}"


def _processor() -> str:
    """Its name, where Linux or platform tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
