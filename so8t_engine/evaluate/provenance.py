"""What results say of the model that answered and of the machine that it ran on."""

import platform
from importlib.metadata import version

import torch

from so8t_engine.model.load import compute_dtype
from so8t_engine.voice import Voice


def model_facts(voice: Voice, weights: str, device: torch.device) -> dict:
    """Who answered. weights: SHA-256 that names them."""
    return {
        "key": voice.key, "name": voice.name, "base": str(voice.base),
        "adapter": str(voice.adapter) if voice.adapter else None, "weights": weights,
        "quantization": voice.model.quantization,
        "dtype": str(compute_dtype(voice.model.dtype, device)).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    }  # fmt: skip


def machine_facts() -> dict:
    """Where that was."""
    return {
        "system": platform.platform(), "python": platform.python_version(), "torch": torch.__version__,
        "transformers": version("transformers"),
    }  # fmt: skip
