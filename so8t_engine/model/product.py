"""The product of one adapted layer, forwards and backwards, with as few passes over the tokens as it takes.

    y = x W'^T + b' + s (d A^T) B^T,   W' = R W,   b' = R b,   s B = (alpha / r) R B_0,   d = dropout(x)

The rotation is applied to the weights, which are fewer than a pack's activations, in float32 and before they are rounded.
"""

import torch
from torch import Tensor, nn

from so8t_engine.model.frozen import dense
from so8t_engine.model.so8t_rotation import BLOCK, rotate

STRIP = 64
"""Features of a strip whose products are taken together where only those of blocks of 8 are wanted: a matrix unit
computes 64 x 64 no slower than 8 x 8."""


class AdaptedProduct(torch.autograd.Function):
    """y as above, for one layer. Its gradients agree with autograd's; W' is made again on the way back, and kept only where
    B A is summed into it and it is no larger than y, on a CPU.

    Args of `apply`:
        x: (..., in).
        dropped: d, (..., in); `x` itself where nothing is dropped.
        a: (r, in), float32 or wider.
        b: (out, r), rotated already, in the dtype of `a`; `scale` b is multiplied.
        scale: see `b`.
        rotations: (out / 8, 8, 8) in the dtype of `a`, or None; `scale` is 1 where there are any.
        rounded_a, rounded_b: a and scale b in the dtype of `x`, without gradient.
        layer: the frozen layer, see `dense`.

    Returns y (..., out) in the dtype of `x`. Gradients of `a`, `b` and `rotations` come in their own dtype.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, dropped: Tensor, a: Tensor, b: Tensor, scale: float, rotations: Tensor | None, rounded_a: Tensor,
        rounded_b: Tensor, layer: nn.Linear,
    ) -> Tensor:  # fmt: skip
        flat, inputs = x.reshape(-1, x.shape[-1]), dropped.reshape(-1, x.shape[-1])
        inner = inputs @ rounded_a.T
        # Summed into the weights, B A costs nothing a token; in half precision the sum would round most of it away.
        ctx.folded = dropped is x and x.dtype == a.dtype and len(flat) * sum(b.shape + a.shape) > 4 * len(b) * a.shape[1]
        weight = _weight(layer, x.dtype, rotations, (rounded_a, rounded_b) if ctx.folded else None)
        kept = weight if ctx.folded and not x.is_cuda and len(flat) >= a.shape[1] else None
        y = torch.nn.functional.linear(flat, weight, _bias(layer, x.dtype, rotations))
        if not ctx.folded:
            y.addmm_(inner, rounded_b.T)
        ctx.save_for_backward(inputs, inner, b, rotations, y if rotations is not None else None, kept)
        ctx.layer, ctx.shape, ctx.same, ctx.scale, ctx.rounded = layer, x.shape, dropped is x, scale, (rounded_a, rounded_b)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, inner, b, rotations, y, kept = ctx.saved_tensors
        rounded_a, rounded_b = ctx.rounded
        g = gradient.reshape(-1, gradient.shape[-1])
        down = g @ rounded_b
        to_x = to_dropped = to_rotations = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            to_x = g @ (_weight(ctx.layer, g.dtype, rotations, ctx.rounded if ctx.folded else None) if kept is None else kept)
            if ctx.same and not ctx.folded:
                to_x.addmm_(down, rounded_a)
            elif not ctx.same:
                to_dropped = (down @ rounded_a).view(ctx.shape)
            to_x = to_x.view(ctx.shape)
        to_a = _product(down.T, inputs).to(b.dtype)
        to_b = _product(g.T, inner).to(b.dtype)
        if ctx.scale != 1:
            to_b = to_b.mul_(ctx.scale)
        if rotations is not None:
            to_rotations = _to_rotations(g, y, to_b, b, rotations)
        return to_x, to_dropped, to_a, to_b, None, to_rotations, None, None, None


def _weight(layer: nn.Linear, dtype: torch.dtype, rotations: Tensor | None, rounded: tuple[Tensor, Tensor] | None) -> Tensor:
    """W' (out, in), with B A summed into it where A and scale B are given."""
    weight = dense(layer, dtype, rotations)
    return weight if rounded is None else torch.addmm(weight, rounded[1], rounded[0])


def _bias(layer: nn.Linear, dtype: torch.dtype, rotations: Tensor | None) -> Tensor | None:
    if layer.bias is None or rotations is None:
        return None if layer.bias is None else layer.bias.to(dtype)
    return rotate(rotations, layer.bias.to(rotations.dtype)).to(dtype)


def _to_rotations(g: Tensor, y: Tensor, to_b: Tensor, b: Tensor, rotations: Tensor) -> Tensor:
    """Gradient (out / 8, 8, 8) of R through W' and b': sum over tokens of g u^T, where u = W x + b = R^T (y - inner B^T).

    The part of B is subtracted where it is small: sum g (inner B^T)^T = (sum g inner^T) B^T, and the first factor is the
    gradient of B.
    """
    through = _block_products(g, y).to(b.dtype)
    through -= to_b.unflatten(0, (-1, BLOCK)) @ b.unflatten(0, (-1, BLOCK)).mT
    return through @ rotations


def _block_products(one: Tensor, two: Tensor) -> Tensor:
    """Sum over tokens of one_i two_i^T for each block i of 8 features: (tokens, 8k) twice to (k, 8, 8)."""
    strip = STRIP if one.shape[1] % STRIP == 0 else BLOCK
    left, right = (values.unflatten(1, (-1, strip)) for values in (one, two))
    products = _product(left.permute(1, 2, 0), right.transpose(0, 1))
    blocks = products.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK)).diagonal(dim1=1, dim2=3)
    return blocks.permute(0, 3, 1, 2).flatten(0, 1)


def _product(one: Tensor, two: Tensor) -> Tensor:
    """one @ two, batched or not, not rounded back to half precision where the device can leave that out."""
    if one.is_cuda and one.dtype in (torch.bfloat16, torch.float16):
        multiply = torch.mm if one.ndim == 2 else torch.bmm
        return multiply(one, two, out_dtype=torch.float32)
    return one @ two
