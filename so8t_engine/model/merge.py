"""Fold an SO8T adapter into plain weights, so that nothing special is needed to run the result."""

import torch
from torch import Tensor

from so8t_engine.model.so8t_rotation import BLOCK, rotate, rotation


@torch.no_grad()
def fold(
    weight: Tensor,
    lora_a: Tensor,
    lora_b: Tensor,
    scale: float,
    theta: Tensor | None = None,
    bias: Tensor | None = None,
    room: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Fold one layer: W' = R (W + scale B A), b' = R b.

    Everything is computed in float32, whatever the dtype of the weight (in float64 when the weight is float64): a
    bfloat16 sum would lose most of a small B A, and a bfloat16 R is no rotation. The caller rounds once, at the end.
    The inputs are left as they are. On a GPU TF32 matmuls must be off (PyTorch's default).

    Args:
        weight: (out, in), floating; dequantize it first.
        lora_a: (r, in).
        lora_b: (out, r).
        scale: alpha / r.
        theta: (out / 8, 28), or None for a layer that carries LoRA alone.
        bias: (out,), or None.
        room: (out, in) in float32 (float64), written over; None takes fresh memory.

    Returns:
        The folded weight (out, in), which may lie in `room`, and the folded bias (out,) or None, in float32 (float64).
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    with torch.autocast(weight.device.type, enabled=False):
        folded = weight.to(wide, copy=True) if room is None else room.copy_(weight)
        folded.addmm_(lora_b.to(wide), lora_a.to(wide), alpha=scale)
        bias = None if bias is None else bias.to(wide)
        if theta is None:
            return folded, bias
        rotations = rotation(theta.to(wide))
        folded = (rotations @ folded.unflatten(0, (-1, BLOCK))).flatten(0, 1)
        return folded, None if bias is None else rotate(rotations, bias)
