"""How much of a step is in memory at once: the size of a pack, and how many layers are computed twice."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from so8t_engine.data.batches import share_out
from so8t_engine.model.packed import PackedModel
from so8t_engine.settings import TrainSettings

CPU_TOKENS = 2048
"""Tokens of a pack where there is no card: beyond it nothing gets faster."""

OVERHEAD_TOKENS = 700
"""A pack takes as long as so many tokens more: what a card waits for at its beginning and end (bench/train_speed.py)."""

RECOMPUTED = 0.3
"""Time that a layer takes longer when it is computed twice."""

MARGIN = 0.08 if os.name != "nt" else 0.15
"""Part of the memory that is left alone: what the allocator can't use because of its pieces, which Windows' has more of."""

FIXED = 128 * 2**20
"""Bytes beside all that: a layer's weights as floats, a part of the logits."""

OPTIMIZER_BYTES = {"adamw": 8, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1}
"""Bytes a trained number: two moments."""


@dataclass(frozen=True)
class Shape:
    """What the memory of a pack follows from.

    layers: decoder layers. hidden, wide: numbers a token of the stream, and between the products of a layer's MLP.
    heads, key_heads, head_dim: of the attention. rank: of the adapter. width: bytes of a number.
    rotated: numbers a token that the rotated products of a layer give. drops: whether inputs of the adapter are dropped.
    """

    layers: int
    hidden: int
    wide: int
    heads: int
    key_heads: int
    head_dim: int
    rank: int
    width: int
    rotated: int
    drops: bool


@dataclass(frozen=True)
class Budget:
    """What was chosen.

    pack: most tokens of a pack.
    recomputed: layers that are computed twice.
    bytes: that this will take on the card at its peak, None on a CPU.
    room: bytes that it may take, None on a CPU.
    """

    pack: int
    recomputed: int
    bytes: int | None = None
    room: int | None = None


def choose(
    model: PackedModel, settings: TrainSettings, steps: Sequence[Sequence[int]], processes: int, device: torch.device
) -> Budget:  # fmt: skip
    """The fastest pack and number of recomputed layers that fit.

    Args:
        steps: tokens of each row of some steps, the longest row there is among them.
        processes: that share each step.
        device: of the model, which is on it, adapter included.
    """
    longest = max(length for step in steps for length in step)
    shape = shape_of(model)
    twice = shape.layers if settings.gradient_checkpointing else 0
    if device.type == "cpu":
        return Budget(max(longest, settings.max_tokens or CPU_TOKENS), twice)
    room = _room(settings, device)
    sizes = [max(longest, settings.max_tokens)] if settings.max_tokens else _sizes(longest, max(map(sum, steps)))
    found, last = [], None
    for size in sizes:
        packs = [[sum(step[row] for row in rows) for rows in share_out(step, size, processes)] for step in steps]
        fullest = max(tokens for step in packs for tokens in step)
        resident = _resident(model, settings, any(len(step) > processes for step in packs))
        for recomputed in range(twice + 1):
            need = resident + activations(shape, fullest, recomputed)
            last = last or Budget(size, twice, resident + activations(shape, fullest, twice), room)
            if need <= room:
                count = sum(len(step) for step in packs) / processes
                seconds = sum(map(sum, steps)) / processes + OVERHEAD_TOKENS * count
                found.append((seconds * (1 + RECOMPUTED * recomputed / shape.layers), Budget(size, recomputed, need, room)))
                break
    return min(found, key=lambda choice: choice[0])[1] if found else last


def activations(shape: Shape, tokens: int, recomputed: int) -> int:
    """Bytes that a pack takes at its peak, at the beginning of its way back.

    A layer keeps, in the dtype of the activations, for each token: its input, what its first product into the stream leaves,
    what its two norms give (4 hidden), queries, keys, values and what the attention gives, both halves of the gate and their
    product, what lies between A and B, and what its rotated products give; with dropout also a mask of a byte for each input
    of A, and what the attention gives once more. When it is recomputed, it keeps its input alone. On the way back one layer
    has all of its own, and beside it the gradients of its widest part.
    """
    attended = shape.heads * shape.head_dim
    heads = 2 * attended + 2 * shape.key_heads * shape.head_dim
    layer = 4 * shape.hidden + heads + 3 * shape.wide + 4 * shape.rank + shape.rotated
    if shape.drops:
        layer += attended + (2 * shape.hidden + attended + shape.wide) // shape.width
    kept = (shape.layers - recomputed) * layer + recomputed * shape.hidden + (layer if recomputed else 0)
    return tokens * (kept + 3 * shape.hidden + 2 * shape.wide) * shape.width + FIXED


def shape_of(model: PackedModel) -> Shape:
    """The shape of a model that is loaded."""
    config = model.config
    return Shape(
        layers=model.layers, hidden=config.hidden_size, wide=config.intermediate_size,
        heads=config.num_attention_heads, key_heads=config.num_key_value_heads, head_dim=model.head_dim,
        rank=model.rank, width=model.head.weight.element_size(), rotated=model.rotated, drops=model.drops,
    )  # fmt: skip


def _sizes(longest: int, most: int) -> list[int]:
    """Sizes of a pack to choose from: from the longest row to the longest step, each a tenth larger than the one before."""
    sizes = [longest]
    while sizes[-1] < most:
        sizes.append(min(most, math.ceil(sizes[-1] * 1.1)))
    return sizes


def _resident(model: PackedModel, settings: TrainSettings, several: bool) -> int:
    """Bytes that stay: what is loaded and the moments of what is trained. Gradients lie beside a pack only where several
    make a step: the first one's are made while its activations go."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return int(torch.cuda.memory_allocated() + trained * ((4 if several else 0) + OPTIMIZER_BYTES[settings.optimizer]))


def _room(settings: TrainSettings, device: torch.device) -> int:
    """Bytes that may be taken, those that are taken already among them."""
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return int((1 - MARGIN) * min(settings.memory_gib * 2**30 or free, free))
