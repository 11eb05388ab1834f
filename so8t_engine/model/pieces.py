"""The small operations between the products of a decoder layer, each keeping only what its way back needs.

Each takes a projection as it comes, gate and up or query, key and value side by side, and gives its gradient whole. On a
card with Triton `kernels` do them; elsewhere these do, in plain torch, with fewer passes over memory and less kept than
autograd would on the same formulas. Liger's kernels (https://arxiv.org/abs/2410.10989) for the same want each part apart
and in one piece, which costs a copy there and one back, and took three times as long to start.
"""

from functools import cache

import torch
from torch import Tensor


class Norm(torch.autograd.Function):
    """Root mean square norm (https://arxiv.org/abs/1910.07467): y = w x / sqrt(mean(x^2) + eps), w frozen.

    Args of `apply`: x (tokens, features), weight (features,), eps. Computed in float32, given in the dtype of `x`.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        scale = (torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square() / x.shape[-1] + eps).rsqrt()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        wide = x.float()
        to_x = (gradient * weight).float()
        along = torch.linalg.vecdot(to_x, wide)[:, None] * (-scale.pow(3) / x.shape[-1])
        return to_x.mul_(scale).addcmul_(wide, along).to(x.dtype), None, None


class Gate(torch.autograd.Function):
    """SwiGLU (https://arxiv.org/abs/2002.05202): y = silu(gate) up. Keeps its input, and silu(gate) where there is no card:
    a processor would take longer to make it again.

    Args of `apply`: gate and up side by side (tokens, 2 features). Returns (tokens, features).
    """

    @staticmethod
    def forward(ctx, both: Tensor) -> Tensor:
        gate, up = both.chunk(2, dim=1)
        opened = torch.nn.functional.silu(gate)
        ctx.save_for_backward(both, None if both.is_cuda else opened)
        return opened.mul_(up) if both.is_cuda else opened * up

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        both, opened = ctx.saved_tensors
        gate, up = both.chunk(2, dim=1)
        out = torch.empty_like(both)
        to_gate, to_up = out.chunk(2, dim=1)
        torch.mul(torch.nn.functional.silu(gate) if opened is None else opened, gradient, out=to_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=to_gate)
        return out


class Turn(torch.autograd.Function):
    """Rotary positions (https://arxiv.org/abs/2104.09864) of query and key; the way back turns the other way round.

    Args of `apply`:
        whole: query, key and value side by side (tokens, (heads + 2 keys) dim).
        cos, sin: (tokens, dim / 2), of the pairs (i, i + dim / 2). Where they are narrower, the rest of a head stays.
        heads, keys: how many of each.

    Returns query (tokens, heads, dim), key and value (tokens, keys, dim).
    """

    @staticmethod
    def forward(ctx, whole: Tensor, cos: Tensor, sin: Tensor, heads: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
        cos = torch.cat((cos, cos), dim=1)
        ctx.save_for_backward(cos, sin)
        seen, value = whole.unflatten(1, (heads + 2 * keys, -1)).split((heads + keys, keys), dim=1)
        turned = torch.empty_like(seen, memory_format=torch.contiguous_format)
        _turn(seen, cos, sin, turned)
        return *turned.split((heads, keys), dim=1), value.contiguous()

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        cos, sin = ctx.saved_tensors
        heads, keys, dim = gradients[0].shape[1], gradients[1].shape[1], gradients[0].shape[2]
        whole = gradients[0].new_empty(len(cos), heads + 2 * keys, dim)
        query, key, value = whole.split((heads, keys, keys), dim=1)
        _turn(gradients[0], cos, -sin, query)
        _turn(gradients[1], cos, -sin, key)
        value.copy_(gradients[2])
        return whole.flatten(1), None, None, None, None


def _turn(values: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """`values` (tokens, heads, dim) turned into `out`; `cos` is given for both numbers of a pair."""
    cos, sin, half = cos[:, None], sin[:, None], sin.shape[-1]
    torch.mul(values[..., : 2 * half], cos, out=out[..., : 2 * half])
    out[..., :half].addcmul_(values[..., half : 2 * half], sin, value=-1)
    out[..., half : 2 * half].addcmul_(values[..., :half], sin)
    out[..., 2 * half :] = values[..., 2 * half :]


class Plain:
    """The operations as they are above."""

    fused = False
    norm, gate, turn = staticmethod(Norm.apply), staticmethod(Gate.apply), staticmethod(Turn.apply)


class Fused:
    """The same by Triton. Raises ImportError without it."""

    fused = True

    def __init__(self) -> None:
        from so8t_engine.model import kernels

        self.norm, self.gate, self._turn = kernels.Norm.apply, kernels.Gate.apply, kernels.Turn.apply

    def turn(self, whole: Tensor, cos: Tensor, sin: Tensor, heads: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Turn`."""
        narrow = 2 * cos.shape[1] * (heads + 2 * keys) < whole.shape[1]
        return (Turn.apply if narrow else self._turn)(whole, cos, sin, heads, keys)


@cache
def pick(device: torch.device, dtype: torch.dtype) -> Plain | Fused:
    """Triton's kernels where they run and give what the plain operations give; tried once."""
    if device.type != "cuda":
        return Plain()
    try:
        found = [_tried(way, device, dtype) for way in (Fused(), Plain())]
    except Exception:  # no Triton, or Triton without a compiler: each raises its own
        return Plain()
    return Fused() if (found[0] - found[1]).norm() < 0.02 * found[1].norm() else Plain()


def _tried(way: Plain | Fused, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What the operations give on a few drawn numbers, there and back."""
    draw = torch.Generator(device).manual_seed(0)
    x = torch.randn(7, 6 * 48, generator=draw, device=device, dtype=dtype).requires_grad_()
    weight = torch.rand(6 * 48, generator=draw, device=device, dtype=dtype)
    angles = torch.randn(7, 24, generator=draw, device=device, dtype=dtype)
    normed = way.norm(x, weight, 1e-5)
    query, key, value = way.turn(normed, angles.cos(), angles.sin(), 2, 2)
    gated = way.gate(torch.cat((query, key - value), dim=1).flatten(1))
    gated.square().sum().backward()
    return torch.cat((gated.detach().flatten(), x.grad.flatten())).float()
