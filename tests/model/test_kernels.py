"""The Triton kernels against the same in plain torch, on a card."""

import pytest
import torch

from so8t_engine.model import pieces
from so8t_engine.model.frozen import LARGEST

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card: Triton's kernels can't run here")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("tokens", "heads", "keys", "half"), [(1, 1, 1, 16), (37, 32, 32, 48), (300, 9, 3, 32)])
def test_pieces_there_and_back(dtype, tokens, heads, keys, half):
    draw = torch.Generator("cuda").manual_seed(0)
    whole = torch.randn(tokens, (heads + 2 * keys) * 2 * half, generator=draw, device="cuda", dtype=dtype)
    weight = torch.rand(whole.shape[1], generator=draw, device="cuda", dtype=dtype)
    angles = torch.randn(tokens, half, generator=draw, device="cuda", dtype=dtype)
    found = []
    for way in (pieces.Fused(), pieces.Plain()):
        x = whole.clone().requires_grad_()
        parts = way.turn(way.norm(x, weight, 1e-5), angles.cos(), angles.sin(), heads, keys)
        gated = way.gate(torch.cat([part.flatten(1) for part in parts], dim=1))
        gated.square().sum().backward()
        found.append((gated.detach().float(), x.grad.float()))
    close = 1e-5 if dtype == torch.float32 else 0.02
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < close * other.norm()


@pytest.mark.parametrize("columns", [8, 700, 3072])
@pytest.mark.parametrize("rotated", [False, True])
def test_reading_8_bits(columns, rotated):
    from so8t_engine.model.kernels import read

    draw = torch.Generator("cuda").manual_seed(1)
    weight = torch.randint(-LARGEST, LARGEST + 1, (64, columns), generator=draw, device="cuda", dtype=torch.int8)
    scale = torch.rand(64, generator=draw, device="cuda")
    turn = torch.randn(8, 8, 8, generator=draw, device="cuda") if rotated else None
    wanted = weight * scale[:, None]
    if rotated:
        wanted = (turn @ wanted.unflatten(0, (8, 8))).flatten(0, 1)
    torch.testing.assert_close(read(weight, scale, torch.float32, turn), wanted, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(read(weight, scale, torch.bfloat16, turn), wanted.bfloat16(), rtol=0.01, atol=0.5)
