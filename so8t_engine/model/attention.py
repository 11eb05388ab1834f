"""Attention within each row of a pack.

A pack is one long sequence of rows that must not see each other. On a card with flash attention torch's
variable-length kernel takes the borders as they are. On a CPU short rows of like length are taken together, since a row
alone is too little for its cores. Elsewhere each row is a causal product of its own, so that nothing is padded and no mask
is made.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from so8t_engine.model.groups import Groups, Together


@dataclass(frozen=True)
class Rows:
    """Where the rows of a pack lie.

    starts: (rows + 1,) int32 on the device of the pack: row i is [starts[i], starts[i + 1]).
    lengths: of each row, in tokens.
    flash: whether the variable-length kernel is used.
    groups: rows that are taken together, see groups.py; None where they are not.
    """

    starts: Tensor
    lengths: tuple[int, ...]
    flash: bool
    groups: Groups | None = None


def flash_works(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the variable-length kernel runs here, there and back, and gives what the plain path gives.

    Tried, not asked for: builds and cards without it differ in how they say so.
    """
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    draw = torch.Generator(device).manual_seed(0)
    values = torch.randn(3, 24, 2, head_dim, generator=draw, device=device, dtype=dtype)
    starts = torch.tensor([0, 16, 24], dtype=torch.int32, device=device)
    found = []
    try:
        for flash in (True, False):
            query, key, value = (part.detach().requires_grad_() for part in values)
            answer = attend(query, key, value, Rows(starts, (16, 8), flash))
            answer.sum().backward()
            found.append(torch.stack([answer, query.grad, key.grad, value.grad]).float())
    except Exception:  # each build and card without the kernel says so in its own way
        return False
    return bool((found[0] - found[1]).norm() < 0.02 * found[1].norm())


def attend(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """Causal attention of each row with itself, scaled by 1 / sqrt(dim).

    Args:
        query: (tokens, heads, dim).
        key, value: (tokens, heads of keys, dim); each serves heads / heads of keys neighbouring heads.

    Returns (tokens, heads, dim).
    """
    if rows.groups is not None:
        return Together.apply(query, key, value, rows.groups)
    if value.is_cuda:
        # A part of something larger would keep all of it in memory for the way back.
        query, key, value = (part.contiguous() for part in (query, key, value))
    shared = query.shape[1] != key.shape[1]
    if rows.flash:
        from torch.nn.attention.varlen import varlen_attn

        if shared:
            key, value = (part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in (key, value))
        longest = max(rows.lengths)
        return varlen_attn(query, key, value, rows.starts, rows.starts, longest, longest, window_size=(-1, 0))
    parts = (part.transpose(0, 1)[None].split(rows.lengths, dim=2) for part in (query, key, value))
    answers = [
        scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=shared).transpose(1, 2)
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(answers, dim=1)[0]
