"""The numbers in the files are llama.cpp's reference quantizer's, bit for bit."""

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from so8t_engine.export.memory import Memory
from so8t_engine.export.quantization import pack

STORED = (Type.Q8_0, Type.F16, Type.BF16, Type.F32)


def reference(values: torch.Tensor, type: Type) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(gguf.quants.quantize(values.numpy(), type)).view(np.uint8).ravel()


def drawn(case: str) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    normal = torch.randn(2048, 64, generator=draw)
    just_under_half = torch.tensor(0.5).nextafter(torch.tensor(0.0))
    match case:
        case "weights":
            return normal * 0.02
        case "bfloat16 weights":
            return (normal * 0.02).bfloat16().float()
        case "halves":  # a scale of 1: the numbers lie halfway between two integers
            halves = torch.randint(-254, 255, normal.shape, generator=draw) / 2
            halves[:, ::32] = 127.0
            return halves
        case "just under a half":
            row = torch.tensor(
                [127.0, just_under_half, -just_under_half, 0.5, -0.5, 1.5 - 2**-23, 126.49999] + 25 * [0.0]
            )
            return row[None].repeat(4, 1)
        case "zeros":
            return torch.zeros(4, 64)
        case "vanishing":
            return torch.cat([normal * 1e-38, normal * 1e-41])
        case "all sizes":
            return (normal * 8).exp().clamp(max=65504) * torch.randn(normal.shape, generator=draw).sign()
        case "any bits":
            bits = torch.randint(-(2**31), 2**31, (20000, 32), generator=draw).to(torch.int32).view(torch.float32)
            return torch.where(bits.isfinite(), bits, 0).clamp(-65504, 65504)


CASES = ("weights", "bfloat16 weights", "halves", "just under a half", "zeros", "vanishing", "all sizes", "any bits")


@pytest.mark.parametrize("type", STORED, ids=lambda type: type.name)
@pytest.mark.parametrize("case", CASES)
def test_stored_numbers_are_the_references(case, type):
    values = drawn(case)
    assert np.array_equal(pack(values, type, Memory()).numpy(), reference(values, type))


@given(hnp.arrays(np.float32, (3, 32), elements=st.floats(-65504, 65504, width=32)))
def test_any_numbers_are_the_references(values):
    values = torch.from_numpy(values)
    for type in STORED:
        assert np.array_equal(pack(values, type, Memory()).numpy(), reference(values, type)), type
