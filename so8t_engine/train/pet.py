"""PET: a penalty on how sharply the last hidden states bend along the sequence (optional, off by default)."""

import torch
from torch import Tensor

PHASES = ((1 / 3, 0.1), (2 / 3, 0.5), (1.0, 1.0))
"""Part of `pet_weight` in force until that part of the run: exploring, settling, smoothing."""


def pet_penalty(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean squared second difference, mean over (h[t+1] - 2 h[t] + h[t-1])^2, of real tokens.

    Args:
        hidden: (rows, length, features).
        mask: (rows, length), 1 on real tokens; padding and differences that touch it do not count.

    Returns:
        Scalar in float32; 0 when no row has three tokens.
    """
    hidden = hidden.float()
    bend = hidden[:, 2:] - 2 * hidden[:, 1:-1] + hidden[:, :-2]
    whole = (mask[:, 2:] * mask[:, 1:-1] * mask[:, :-2]).unsqueeze(-1).to(bend.dtype)
    count = whole.sum() * hidden.shape[-1]
    return (bend.square() * whole).sum() / torch.clamp(count, min=1)


def pet_factor(progress: float) -> float:
    """Part of `pet_weight` in force when `progress` (0 to 1) of the steps are done."""
    return next(factor for end, factor in PHASES if progress <= end or end == 1.0)
