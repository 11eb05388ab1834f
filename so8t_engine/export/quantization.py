"""Numbers as GGUF files store them: F32, F16, BF16 and Q8_0, bit for bit as llama.cpp's reference writes them."""

import math

import gguf
import torch
from gguf import GGMLQuantizationType as Type
from torch import Tensor

Q8_BLOCK = 32
"""Numbers that share one scale in Q8_0."""

LARGEST = 65504.0
"""The largest number that F16 holds."""

# Added to |x| before cutting to an integer: rounds halves away from zero, as C's roundf does. A plain 0.5 would carry
# the number just below 0.5 up to 1.
_JUST_UNDER_HALF = torch.tensor(0.5).nextafter(torch.tensor(0.0))


def fitting(wanted: Type, shape: tuple[int, ...]) -> Type:
    """`wanted`, or F16 where the rows of a tensor can't be cut into the blocks of `wanted`: llama.cpp's own rule."""
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return Type.F16 if shape[-1] % block else wanted


def stored_bytes(type: Type, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor's data, without padding."""
    block, size = gguf.GGML_QUANT_SIZES[type]
    return math.prod(shape) // block * size


def pack(values: Tensor, type: Type) -> Tensor:
    """The bytes of some rows.

    Args:
        values: float32, finite; below `LARGEST` for F16 and Q8_0. For Q8_0 a multiple of 32 a row.

    Returns:
        uint8, one-dimensional; for F32 it may share memory with `values`.
    """
    if type == Type.Q8_0:
        return _q8_0(values).view(-1)
    dtype = {Type.F32: torch.float32, Type.F16: torch.float16, Type.BF16: torch.bfloat16}[type]
    return values.to(dtype).contiguous().view(-1).view(torch.uint8)


def _q8_0(values: Tensor) -> Tensor:
    """Blocks of 34 bytes: the scale max|x| / 127 in float16, then 32 times x / scale, rounded, as int8.

    `quantize_row_q8_0_ref` of ggml and `gguf.quants.Q8_0`, which takes 5 times as long: this one makes few passes, and
    each is one vectorized operation on memory that is still in the cache.
    """
    blocks = values.reshape(-1, Q8_BLOCK)
    scale = blocks.abs().amax(1, keepdim=True).div_(127)
    inverse = scale.reciprocal()
    inverse.masked_fill_(inverse.isinf(), 0)  # all zero, or so small that the scale is zero in float16 anyway
    scaled = blocks * inverse
    scaled += torch.copysign(_JUST_UNDER_HALF, scaled)
    packed = torch.empty(len(blocks), 2 + Q8_BLOCK, dtype=torch.uint8)
    packed[:, :2] = scale.half().view(torch.uint8)
    packed[:, 2:].view(torch.int8).copy_(scaled)  # cuts towards zero
    return packed
