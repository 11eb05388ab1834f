"""Frozen weights as matrices: whatever stores them, they are multiplied in the dtype of the activations.

bitsandbytes' own 8-bit product (LLM.int8(), https://arxiv.org/abs/2208.07339) rounds the activations to 8 bits too and
takes outlying features out, which is what makes it slow. Here its 8-bit weights are only a way to store them: the
integers and the scale of each row are read, the product is made of floats.
"""

from functools import cache

import torch
from bitsandbytes import matmul_4bit
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from torch import Tensor, nn

from so8t_engine.model.so8t_rotation import BLOCK

LARGEST = 127
"""What the largest weight of a row is stored as."""


class Int8Linear(nn.Linear):
    """y = x W^T + b with W stored as int8 and one float32 scale a row: W = weight * scale[:, None].

    Args:
        layer: bitsandbytes' layer, quantized already; its tensors are taken over.
    """

    def __init__(self, layer: Linear8bitLt) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Parameter(layer.weight.data, requires_grad=False)
        largest = layer.state.SCB if layer.weight.SCB is None else layer.weight.SCB  # its first product moves them
        self.register_buffer("scale", largest.float() / LARGEST, persistent=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out) in the dtype of `x`."""
        return FrozenProduct.apply(x, self)


class Int4Linear(nn.Linear):
    """y = x W^T + b with W stored by bitsandbytes in 4 bits.

    bitsandbytes' own layer stores the weights anew when it answers on a CPU; this one leaves them as they are.

    Args:
        layer: bitsandbytes' layer, quantized already; its tensors are taken over.
    """

    def __init__(self, layer: Linear4bit) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out) in the dtype of `x`."""
        if x.is_cuda and not torch.is_grad_enabled():  # has a kernel for a single row, which reads 4 bits a weight
            return matmul_4bit(x, self.weight.t(), self.weight.quant_state, bias=self.bias)
        return FrozenProduct.apply(x, self)


class FrozenProduct(torch.autograd.Function):
    """x W^T + b, whose way back makes the float weights once more instead of keeping them."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: nn.Linear) -> Tensor:
        ctx.layer = layer
        return torch.nn.functional.linear(x, dense(layer, x.dtype), layer.bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ dense(ctx.layer, gradient.dtype), None


def take_over(model: nn.Module) -> None:
    """Put an `Int8Linear` or `Int4Linear` in the place of each layer of bitsandbytes."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, Linear8bitLt):
                setattr(parent, name, Int8Linear(layer))
            elif isinstance(layer, Linear4bit):
                setattr(parent, name, Int4Linear(layer))


def dense(layer: nn.Linear, dtype: torch.dtype, rotations: Tensor | None = None) -> Tensor:
    """The weight (out, in) of a layer in `dtype`, rotated from the left.

    Args:
        layer: an `nn.Linear`, `Int8Linear` or `Int4Linear`.
        dtype: of the result.
        rotations: (out / 8, 8, 8) float32 or float64, applied before the one rounding to `dtype`: what is multiplied is
            then what an export folds, to that rounding.
    """
    if isinstance(layer, Int8Linear) and layer.weight.is_cuda and _kernel():
        return _kernel()(layer.weight, layer.scale, dtype, None if rotations is None else rotations.contiguous())
    if rotations is None:
        return _read(layer, dtype)
    wide = _read(layer, rotations.dtype)
    return (rotations @ wide.unflatten(0, (-1, BLOCK))).flatten(0, 1).to(dtype)


def _read(layer: nn.Linear, dtype: torch.dtype) -> Tensor:
    weight = layer.weight
    if isinstance(layer, Int8Linear):
        # One kernel reads the integers and writes `dtype`; the product itself is made in float32 and rounded once.
        return torch.mul(weight, layer.scale[:, None], out=torch.empty_like(weight, dtype=dtype))
    if isinstance(layer, Int4Linear):
        return dequantize_4bit(weight.data, weight.quant_state).to(dtype)
    return weight.to(dtype)


@cache
def _kernel():
    """`kernels.read` where it runs and reads what plain torch reads; tried once, else None."""
    draw = torch.Generator("cuda").manual_seed(0)
    weight = torch.randint(-LARGEST, LARGEST + 1, (16, 700), generator=draw, device="cuda", dtype=torch.int8)
    scale = torch.rand(16, generator=draw, device="cuda")
    turn = torch.randn(2, BLOCK, BLOCK, generator=draw, device="cuda")
    try:
        from so8t_engine.model.kernels import read

        plain, turned = read(weight, scale, torch.float32, None), read(weight, scale, torch.float32, turn)
    except Exception:  # no Triton, or Triton without a compiler: each raises its own
        return None
    wanted = weight * scale[:, None]
    right = (turn @ wanted.unflatten(0, (-1, BLOCK))).flatten(0, 1)
    return read if torch.equal(plain, wanted) and torch.allclose(turned, right, atol=1e-4) else None
