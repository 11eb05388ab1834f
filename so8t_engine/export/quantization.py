"""Numbers as GGUF files store them: F32, F16, BF16 and Q8_0, bit for bit as llama.cpp's reference writes them."""

import math

import gguf
import torch
from gguf import GGMLQuantizationType as Type
from torch import Tensor

from so8t_engine.export.memory import Memory

Q8_BLOCK = 32
"""Numbers that share one scale in Q8_0."""

LARGEST = 65504.0
"""The largest number that F16 holds."""

_JUST_UNDER_HALF = 0.5 - 2.0**-25
"""Added to |x| before cutting to an integer: rounds halves away from zero, as C's roundf does. A plain 0.5 would carry
the number just below 0.5 up to 1."""


def fitting(wanted: Type, shape: tuple[int, ...]) -> Type:
    """`wanted`, or F16 where the rows of a tensor can't be cut into the blocks of `wanted`: llama.cpp's own rule."""
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return Type.F16 if shape[-1] % block else wanted


def stored_bytes(type: Type, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor's data, without padding."""
    block, size = gguf.GGML_QUANT_SIZES[type]
    return math.prod(shape) // block * size


def pack(values: Tensor, type: Type, memory: Memory) -> Tensor:
    """The bytes of some rows.

    Args:
        values: float32, finite; below `LARGEST` for F16 and Q8_0. For Q8_0 a multiple of 32 a row.

    Returns:
        uint8, one-dimensional, taken from `memory`.
    """
    packed = memory.take((stored_bytes(type, values.shape),), torch.uint8)
    if type == Type.Q8_0:
        _q8_0(values, packed.view(-1, 2 + Q8_BLOCK), memory)
    else:
        dtype = {Type.F32: torch.float32, Type.F16: torch.float16, Type.BF16: torch.bfloat16}[type]
        packed.view(dtype).view(values.shape).copy_(values)
    return packed


def _q8_0(values: Tensor, packed: Tensor, memory: Memory) -> None:
    """Blocks of 34 bytes: the scale max|x| / 127 in float16, then 32 times x / scale, rounded, as int8.

    `quantize_row_q8_0_ref` of ggml and `gguf.quants.Q8_0`, which takes 5 times as long: this one makes few passes, and
    each is one vectorized operation on memory that is still in the cache.
    """
    blocks = values.reshape(-1, Q8_BLOCK)
    scaled, signs = (memory.take(blocks.shape, torch.float32) for _ in range(2))
    scale = torch.abs(blocks, out=scaled).amax(1, keepdim=True).div_(127)
    # Infinite where all are zero, or so small that the scale is zero in float16 anyway.
    inverse = scale.reciprocal().nan_to_num_(posinf=0.0)
    torch.mul(blocks, inverse, out=scaled)
    scaled.add_(torch.sign(scaled, out=signs), alpha=_JUST_UNDER_HALF)
    packed.view(torch.float16)[:, :1].copy_(scale)
    packed[:, 2:].view(torch.int8).copy_(scaled)  # cuts towards zero
    memory.give(scaled)
    memory.give(signs)
