"""The small operations between the products of a decoder layer, each keeping only what its way back needs.

Where Liger (https://arxiv.org/abs/2410.10989, extra `gpu`) runs, its kernels do them; elsewhere these do: in plain torch,
with fewer passes over memory and less kept than autograd would on the same formulas.
"""

import importlib.util

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
    """SwiGLU (https://arxiv.org/abs/2002.05202): y = silu(gate) up. Keeps its inputs, and none of what lies between.

    Args of `apply`: gate and up, each (tokens, features).
    """

    @staticmethod
    def forward(ctx, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        to_up = torch.nn.functional.silu(gate).mul_(gradient)
        return torch.ops.aten.silu_backward(gradient * up, gate), to_up


class Turn(torch.autograd.Function):
    """Rotary positions (https://arxiv.org/abs/2104.09864) of all heads; the way back turns the other way round.

    Args of `apply`: values (tokens, heads, dim), cos and sin (tokens, dim / 2): pairs are (i, i + dim / 2). Where cos and
    sin are narrower than half of a head, the rest of it stays as it is.
    """

    @staticmethod
    def forward(ctx, values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(values, cos, sin)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(gradient, cos, -sin), None, None


def _turned(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.empty_like(values, memory_format=torch.contiguous_format)
    one, two = values[..., :half], values[..., half : 2 * half]
    torch.mul(one, cos, out=turned[..., :half]).addcmul_(two, sin, value=-1)
    torch.mul(two, cos, out=turned[..., half : 2 * half]).addcmul_(one, sin)
    turned[..., 2 * half :] = values[..., 2 * half :]
    return turned


class Plain:
    """The operations as they are above."""

    fused = False
    norm, gate = staticmethod(Norm.apply), staticmethod(Gate.apply)

    @staticmethod
    def turn(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key (tokens, heads, dim) at their positions."""
        return Turn.apply(query, cos, sin), Turn.apply(key, cos, sin)


class Fused:
    """The same by Liger's Triton kernels. Raises ImportError, or whatever Triton does without its compiler."""

    fused = True

    def __init__(self) -> None:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
        from liger_kernel.ops.rope import LigerRopeFunction
        from liger_kernel.ops.swiglu import LigerSiLUMulFunction

        self._norm, self._rope, self.gate = LigerRMSNormFunction.apply, LigerRopeFunction.apply, LigerSiLUMulFunction.apply

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """See `Norm`."""
        return self._norm(x, weight, eps, 0.0, "llama", False)

    def turn(self, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """See `Plain.turn`."""
        if 2 * cos.shape[-1] != query.shape[-1]:
            return Plain.turn(query, key, cos, sin)
        whole = (torch.cat((part, part), dim=-1)[None] for part in (cos, sin))
        turned = self._rope(query.transpose(0, 1)[None], key.transpose(0, 1)[None], *whole)
        return turned[0][0].transpose(0, 1), turned[1][0].transpose(0, 1)


def pick(device: torch.device, dtype: torch.dtype) -> Plain | Fused:
    """Liger's kernels where they run and give what the plain operations give; tried once."""
    if device.type != "cuda" or importlib.util.find_spec("liger_kernel") is None:
        return Plain()
    try:
        fused = Fused()
        apart = [_tried(way, device, dtype) for way in (fused, Plain())]
    except Exception:  # Triton without a compiler, another version of Liger: each raises its own
        return Plain()
    return fused if (apart[0] - apart[1]).norm() < 0.02 * apart[1].norm() else Plain()


def _tried(way: Plain | Fused, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What the operations give on a few drawn numbers, there and back."""
    draw = torch.Generator(device).manual_seed(0)
    x, gate, query, key = torch.randn(4, 8, 2 * 64, generator=draw, device=device, dtype=dtype).unbind()
    angles = torch.randn(8, 32, generator=draw, device=device, dtype=dtype)
    leaf = x.clone().requires_grad_()
    normed = way.norm(leaf, gate[0], 1e-5)
    turned = way.turn(*(part.unflatten(1, (2, 64)) for part in (normed + query, key)), angles.cos(), angles.sin())
    way.gate(normed + turned[0].flatten(1), gate + turned[1].flatten(1)).sum().backward()
    return leaf.grad.float()
