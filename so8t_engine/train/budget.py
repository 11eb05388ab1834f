"""How much of a step is in memory at once: the size of a pack, and how many layers are computed twice."""

from dataclasses import dataclass

import torch

from so8t_engine.model.packed import PackedModel
from so8t_engine.settings import TrainSettings

CPU_TOKENS = 2048
"""Tokens of a pack where there is no card: beyond it nothing gets faster."""

OVERHEAD_TOKENS = 700
"""A pack takes as long as so many tokens more: what a card waits for at its beginning and end."""

RECOMPUTED = 0.3
"""Time that a layer takes longer when it is computed twice."""

MARGIN = 0.08
"""Part of the free memory that is left alone: what the allocator can't use because of its pieces, and other programs."""

FIXED = 400 * 2**20
"""Bytes beside all that: a layer's weights as floats, a part of the logits, the libraries' own buffers."""

OPTIMIZER_BYTES = {"adamw": 8, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1}
"""Bytes a trained number: two moments."""


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


def choose(model: PackedModel, settings: TrainSettings, longest: int, step: int, device: torch.device) -> Budget:
    """The fastest pack and number of recomputed layers that fit.

    Args:
        longest: tokens of the longest row, which a pack must hold.
        step: tokens of the longest step of one process; a larger pack would never be full.
        device: of the model, which is on it, adapter included.
    """
    twice = model.layers if settings.gradient_checkpointing else 0
    if device.type == "cpu":
        return Budget(max(longest, settings.max_tokens or CPU_TOKENS), twice)
    before = _resident(model, settings)
    room = _room(settings, before, device)
    sizes = [settings.max_tokens] if settings.max_tokens else [int(2**power) for power in _halves(longest, step)]
    found = []
    for size in sizes:
        pack = max(longest, min(size, step))
        for recomputed in range(twice + 1):
            need = before + activations(model, pack, recomputed)
            if need <= room:
                speed = pack / (pack + OVERHEAD_TOKENS) / (1 + RECOMPUTED * recomputed / model.layers)
                found.append((speed, Budget(pack, recomputed, need, room)))
                break
    if found:
        return max(found, key=lambda choice: choice[0])[1]
    pack = max(longest, settings.max_tokens)
    return Budget(pack, twice, before + activations(model, pack, twice), room)


def activations(model: PackedModel, tokens: int, recomputed: int) -> int:
    """Bytes that a pack takes at its peak, at the beginning of its way back.

    A layer keeps about 9 hidden and 3 intermediate numbers a token (its input, what its norms and products give, queries,
    keys and values, what the attention gives, the two halves of the gate and their product); when it is recomputed, its
    input alone. On the way back one layer has all of its own and the gradients of the widest part beside it.
    """
    shape = model.shape
    hidden, wide, rank = shape["hidden"], shape["intermediate"], shape["rank"]
    layer = shape["kept_hidden"] * hidden + shape["kept_wide"] * wide + 4 * rank
    kept = (model.layers - recomputed) * layer + recomputed * hidden + (layer if recomputed else 0)
    back = 6 * hidden + 5 * wide
    return tokens * (kept + back) * shape["bytes"] + FIXED


def _halves(longest: int, step: int) -> list[float]:
    """Powers of two, by halves, from the longest row to a whole step."""
    low, high = max(longest, 256).bit_length() - 1, max(longest, step).bit_length()
    return [power / 2 for power in range(2 * low, 2 * high + 1)]


def _resident(model: PackedModel, settings: TrainSettings) -> int:
    """Bytes that stay for the whole run: what is loaded, and a gradient and moments for what is trained."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return int(torch.cuda.memory_allocated() + trained * (4 + OPTIMIZER_BYTES[settings.optimizer]))


def _room(settings: TrainSettings, before: int, device: torch.device) -> int:
    """Bytes that may be taken, those that are taken already among them."""
    if settings.memory_gib:
        return int(settings.memory_gib * 2**30)
    free, _ = torch.cuda.mem_get_info(device)
    return int((1 - MARGIN) * (free + torch.cuda.memory_reserved(device)))
