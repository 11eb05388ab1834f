"""Fused kernels for norms, rotary positions and gates, where Liger (https://arxiv.org/abs/2410.10989) is installed."""

import importlib.util

import torch
from transformers import PreTrainedModel


def fuse(model: PreTrainedModel) -> bool:
    """Let `model`, on an NVIDIA card, compute with Liger's kernels; whether it does now.

    Without the package (extra `gpu`) or without a card the layers of transformers stay as they are: slower, and they keep
    more in memory for the way back.
    """
    if next(model.parameters()).device.type != "cuda" or importlib.util.find_spec("liger_kernel") is None:
        return False
    from liger_kernel.transformers import apply_liger_kernel_to_llama, apply_liger_kernel_to_phi3

    known = {"phi3": apply_liger_kernel_to_phi3, "llama": apply_liger_kernel_to_llama}
    apply = known.get(model.config.model_type)
    if apply is None:
        return False
    try:
        # The loss is ours: see train/loss.py.
        apply(rope=True, rms_norm=True, swiglu=True, cross_entropy=False, fused_linear_cross_entropy=False, model=model)
        layer = model.model.layers[0]
        probe = torch.zeros(1, 1, model.config.hidden_size, dtype=model.dtype, device=model.device)
        layer.mlp(layer.input_layernorm(probe))
    except (ImportError, RuntimeError, AttributeError, TypeError, OSError):  # Triton without its compiler, another version
        return False
    return True
