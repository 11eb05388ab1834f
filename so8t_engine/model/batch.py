"""Prompts of unequal length as one batch: right-aligned, with unused places before the shorter ones."""

from collections.abc import Sequence

import torch
from torch import Tensor


def aligned(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, positions and used places (bool), each (rows, longest)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    positions = torch.arange(longest) - (longest - lengths)[:, None]
    return ids.to(device), positions.clamp(min=0).to(device), (positions >= 0).to(device)


def sight(used: Tensor, order: Tensor) -> Tensor:
    """Which place sees which: bool (rows, 1, places, places).

    Args:
        used: bool (rows, places), the places that a row uses.
        order: bool (places, places), what a place may see where all places are used.
    """
    return (order & used[:, None, :])[:, None]
