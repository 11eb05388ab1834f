"""A Triton kernel that reads 8-bit weights into floats, rotated where they are: one pass over memory.

Imported on an NVIDIA card with Triton alone; `frozen.dense` has the same in plain torch.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 512
"""Columns of a tile; its rows are the 8 of a block."""


@triton.jit
def _read(weight, scale, rotations, out, columns, ROTATED: tl.constexpr, COLUMNS: tl.constexpr):
    block = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row = block * 8 + tl.arange(0, 8)
    offsets = row[:, None] * columns + place[None, :]
    inside = (place < columns)[None, :]
    tile = tl.load(weight + offsets, mask=inside, other=0).to(tl.float32) * tl.load(scale + row)[:, None]
    if ROTATED:
        first, second = tl.arange(0, 8)[:, None], tl.arange(0, 8)[None, :]
        turn = tl.load(rotations + block * 64 + first * 8 + second)
        tile = tl.sum(turn[:, :, None] * tile[None, :, :], axis=1)
    tl.store(out + offsets, tile.to(out.dtype.element_ty), mask=inside)


def read(weight: Tensor, scale: Tensor, dtype: torch.dtype, rotations: Tensor | None) -> Tensor:
    """blockdiag(rotations) (weight * scale[:, None]), computed in float32 and rounded once.

    Args:
        weight: (out, in) int8, contiguous; out is a multiple of 8.
        scale: (out,) float32.
        dtype: of the result.
        rotations: (out / 8, 8, 8) float32, contiguous, or None.
    """
    rows, columns = weight.shape
    out = torch.empty_like(weight, dtype=dtype)
    grid = (rows // 8, triton.cdiv(columns, COLUMNS))
    _read[grid](
        weight, scale, scale if rotations is None else rotations, out, columns, rotations is not None, COLUMNS, num_warps=4
    )  # fmt: skip
    return out
