"""Triton kernels for what a decoder layer does between its products, and for reading 8-bit weights.

Each passes over memory once, there and once back, and takes a projection as it comes: gate and up, or query, key and value,
side by side. Computed in float32, given in the dtype of the activations. Imported on an NVIDIA card with Triton alone;
`pieces` and `frozen` have the same in plain torch.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 512
"""Columns of a tile of weights; its rows are the 8 of a block."""

FEATURES = 1024
"""Features of a gate that one program computes."""

HEADS = 8
"""Heads that one program turns."""


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
    turn = scale if rotations is None else rotations
    _read[(rows // 8, triton.cdiv(columns, COLUMNS))](weight, scale, turn, out, columns, rotations is not None, COLUMNS)
    return out


@triton.jit
def _norm(x, weight, scale, out, features, eps, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, WIDTH)
    inside = place < features
    values = tl.load(x + row * features + place, mask=inside, other=0.0).to(tl.float32)
    found = 1 / tl.sqrt(tl.sum(values * values) / features + eps)
    tl.store(scale + row, found)
    normed = (values * found).to(out.dtype.element_ty)
    factor = tl.load(weight + place, mask=inside, other=0.0)
    tl.store(out + row * features + place, normed * factor, mask=inside)


@triton.jit
def _norm_back(gradient, x, weight, scale, out, features, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, WIDTH)
    inside = place < features
    values = tl.load(x + row * features + place, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(gradient + row * features + place, mask=inside, other=0.0).to(tl.float32)
    slope = slope * tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    found = tl.load(scale + row)
    along = tl.sum(slope * values) * found * found / features
    tl.store(out + row * features + place, (found * (slope - values * along)).to(out.dtype.element_ty), mask=inside)


class Norm(torch.autograd.Function):
    """See `pieces.Norm`."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        tokens, features = x.shape
        scale, out = x.new_empty(tokens, dtype=torch.float32), torch.empty_like(x)
        ctx.width = triton.next_power_of_2(features)
        _norm[(tokens,)](x, weight, scale, out, features, eps, ctx.width, num_warps=8)
        ctx.save_for_backward(x, weight, scale)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        tokens, features = x.shape
        out = torch.empty_like(x)
        _norm_back[(tokens,)](gradient.contiguous(), x, weight, scale, out, features, ctx.width, num_warps=8)
        return out, None, None


@triton.jit
def _gate(both, out, features, FEATURES: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    inside = place < features
    gate = tl.load(both + row * 2 * features + place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * features + features + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * features + place, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gate_back(gradient, both, out, features, FEATURES: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    inside = place < features
    gate = tl.load(both + row * 2 * features + place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * features + features + place, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(gradient + row * features + place, mask=inside, other=0.0).to(tl.float32)
    share = tl.sigmoid(gate)
    to_gate = slope * up * share * (1 + gate * (1 - share))
    tl.store(out + row * 2 * features + place, to_gate.to(out.dtype.element_ty), mask=inside)
    to_up = (slope * gate * share).to(out.dtype.element_ty)
    tl.store(out + row * 2 * features + features + place, to_up, mask=inside)


class Gate(torch.autograd.Function):
    """See `pieces.Gate`."""

    @staticmethod
    def forward(ctx, both: Tensor) -> Tensor:
        tokens, features = len(both), both.shape[1] // 2
        out = both.new_empty(tokens, features)
        _gate[(tokens, triton.cdiv(features, FEATURES))](both, out, features, FEATURES)
        ctx.save_for_backward(both)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        tokens, features = gradient.shape
        out = torch.empty_like(both)
        _gate_back[(tokens, triton.cdiv(features, FEATURES))](gradient.contiguous(), both, out, features, FEATURES)
        return out


@triton.jit
def _turn(
    whole, query, key, value, cos, sin, heads, keys, dim, half,
    BACK: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """query, key and value from `whole`, turned; or BACK: `whole` from their gradients, turned the other way."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
    place = tl.arange(0, WIDTH)[None, :]
    low = (place < half) & (head < heads + 2 * keys)
    is_query, is_key = low & (head < heads), low & (head >= heads) & (head < heads + keys)
    is_value = low & (head >= heads + keys)
    in_whole = whole + (token * (heads + 2 * keys) + head) * dim + place
    in_query = query + (token * heads + head) * dim + place
    in_key = key + (token * keys + head - heads) * dim + place
    in_value = value + (token * keys + head - heads - keys) * dim + place
    if BACK:
        one = tl.load(in_query, mask=is_query, other=0.0).to(tl.float32)
        one += tl.load(in_key, mask=is_key, other=0.0).to(tl.float32)
        one += tl.load(in_value, mask=is_value, other=0.0).to(tl.float32)
        two = tl.load(in_query + half, mask=is_query, other=0.0).to(tl.float32)
        two += tl.load(in_key + half, mask=is_key, other=0.0).to(tl.float32)
        two += tl.load(in_value + half, mask=is_value, other=0.0).to(tl.float32)
    else:
        one = tl.load(in_whole, mask=low, other=0.0).to(tl.float32)
        two = tl.load(in_whole + half, mask=low, other=0.0).to(tl.float32)
    angle = token * half + place
    c = tl.load(cos + angle, mask=place < half, other=0.0).to(tl.float32)
    s = tl.load(sin + angle, mask=place < half, other=0.0).to(tl.float32)
    if BACK:
        s = -s
    still = head >= heads + keys
    first = tl.where(still, one, one * c - two * s).to(whole.dtype.element_ty)
    second = tl.where(still, two, two * c + one * s).to(whole.dtype.element_ty)
    if BACK:
        tl.store(in_whole, first, mask=low)
        tl.store(in_whole + half, second, mask=low)
    else:
        tl.store(in_query, first, mask=is_query)
        tl.store(in_key, first, mask=is_key)
        tl.store(in_value, first, mask=is_value)
        tl.store(in_query + half, second, mask=is_query)
        tl.store(in_key + half, second, mask=is_key)
        tl.store(in_value + half, second, mask=is_value)


class Turn(torch.autograd.Function):
    """See `pieces.Turn`; cos and sin as wide as half of a head."""

    @staticmethod
    def forward(ctx, whole: Tensor, cos: Tensor, sin: Tensor, heads: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
        half = cos.shape[1]
        parts = tuple(whole.new_empty(len(whole), count, 2 * half) for count in (heads, keys, keys))
        _launch_turn(whole, parts, cos, sin, False)
        ctx.save_for_backward(cos, sin)
        return parts

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        parts = tuple(gradient.contiguous() for gradient in gradients)
        whole = parts[0].new_empty(len(parts[0]), sum(part.shape[1] for part in parts) * parts[0].shape[2])
        _launch_turn(whole, parts, *ctx.saved_tensors, True)
        return whole, None, None, None, None


def _launch_turn(whole: Tensor, parts: tuple[Tensor, ...], cos: Tensor, sin: Tensor, back: bool) -> None:
    heads, keys, half = parts[0].shape[1], parts[1].shape[1], cos.shape[1]
    grid = (len(whole), triton.cdiv(heads + 2 * keys, HEADS))
    _turn[grid](
        whole, *parts, cos, sin, heads, keys, 2 * half, half, back, HEADS, triton.next_power_of_2(half), num_warps=2
    )  # fmt: skip
