"""PET: a penalty on how sharply the last hidden states bend along the sequence (optional, off by default)."""

from torch import Tensor

PHASES = ((1 / 3, 0.1), (2 / 3, 0.5), (1.0, 1.0))
"""Part of `pet_weight` in force until that part of the run: exploring, settling, smoothing."""


def pet_penalty(hidden: Tensor, positions: Tensor) -> Tensor:
    """Sum over places of the mean squared second difference (h[t+1] - 2 h[t] + h[t-1])^2 within a row.

    Args:
        hidden: (tokens, features), rows one after the other.
        positions: (tokens,), from 0 in each row; differences that would reach into another row don't count.

    Returns:
        Scalar in float32; 0 when no row has three tokens. Divide by the number of such places (`Pack.bends`).
    """
    hidden = hidden.float()
    bend = hidden[2:] - 2 * hidden[1:-1] + hidden[:-2]
    return (bend.square().mean(dim=1) * (positions[2:] >= 2)).sum()


def pet_factor(progress: float) -> float:
    """Part of `pet_weight` in force when `progress` (0 to 1) of the steps are done."""
    return next(factor for end, factor in PHASES if progress <= end or end == 1.0)
