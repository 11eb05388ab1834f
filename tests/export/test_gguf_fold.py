"""An adapter folded on the way is the formula, rounded once: checked against float64."""

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf_bases import export
from safetensors.torch import load_file

from so8t_engine.export import tensors

PARTS = {"qkv_proj": "attn_qkv", "o_proj": "attn_output", "gate_up_proj": "ffn_up", "down_proj": "ffn_down"}
FAMILY = {"qkv_proj": "self_attn", "o_proj": "self_attn", "gate_up_proj": "mlp", "down_proj": "mlp"}


def exact(base, adapter):
    """Name in GGUF -> R (W + (alpha / r) B A) in float64, by the formulas themselves, for every adapted weight."""
    weights = {name: tensor for file in base.glob("*.safetensors") for name, tensor in load_file(file).items()}
    parts = {name: tensor.double() for name, tensor in load_file(adapter / "adapter_model.safetensors").items()}
    found = {}
    for layer in range(2):
        for module, stored in PARTS.items():
            name = f"model.layers.{layer}.{FAMILY[module]}.{module}"
            a, b = (parts[f"base_model.model.{name}.so8t_{part}"] for part in "AB")
            folded = weights[f"{name}.weight"].double() + 8.0 / 4 * b @ a
            theta = parts.get(f"base_model.model.{name}.so8t_theta")
            if theta is not None:
                skew = torch.zeros(len(theta), 8, 8, dtype=torch.float64)
                skew[:, *torch.triu_indices(8, 8, offset=1)] = theta
                skew -= skew.mT.clone()
                eye = torch.eye(8, dtype=torch.float64)
                folded = torch.block_diag(*(torch.linalg.inv(eye - skew / 2) @ (eye + skew / 2))) @ folded
            found[f"blk.{layer}.{stored}.weight"] = folded
    return found


@pytest.mark.parametrize("piece", [tensors.PIECE, 1024], ids=["whole", "in_pieces"])
def test_the_adapter_is_folded_exactly_and_rounded_once(base, adapter, piece, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE", piece)
    export(base, adapter, tmp_path, "f16")
    stored = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "model-f16.gguf").tensors}
    for name, expected in exact(base, adapter).items():
        off = torch.from_numpy(stored[name].copy()).double() - expected
        assert off.square().mean().sqrt() < 1e-5, name
        # Half a unit in the last place of float16, and what float32 loses on the way.
        assert (off.abs() <= expected.abs() * 2**-11 * 1.001 + 2**-25).all(), name


def test_what_the_adapter_does_not_touch_stays_as_it_is(base, adapter, tmp_path):
    for folder, given in (("with", adapter), ("without", None)):
        (tmp_path / folder).mkdir()
        export(base, given, tmp_path / folder, "f16", "q8_0")
    for kind in ("f16", "q8_0"):
        readers = [GGUFReader(tmp_path / folder / f"model-{kind}.gguf") for folder in ("with", "without")]
        changed = {
            one.name for one, other in zip(*(reader.tensors for reader in readers), strict=True)
            if not np.array_equal(one.data, other.data)
        }  # fmt: skip
        assert changed == {f"blk.{layer}.{name}.weight" for layer in (0, 1) for name in PARTS.values()}


def test_each_kind_is_rounded_from_the_exact_weights(base, adapter, tmp_path):
    """Q8_0 from F16, say, would be off by a second rounding."""
    import gguf

    export(base, adapter, tmp_path, "f16", "q8_0", "bf16")
    expected = exact(base, adapter)
    for kind, type in (("q8_0", gguf.GGMLQuantizationType.Q8_0), ("bf16", gguf.GGMLQuantizationType.BF16)):
        stored = {tensor.name: tensor for tensor in GGUFReader(tmp_path / f"model-{kind}.gguf").tensors}
        tensor, wanted = stored["blk.1.attn_output.weight"], expected["blk.1.attn_output.weight"]
        assert tensor.tensor_type == type
        found = gguf.quants.dequantize(tensor.data, type)
        direct = gguf.quants.dequantize(gguf.quants.quantize(wanted.float().numpy(), type), type)
        # A float32 that falls just beside a boundary between two steps may go the other way, no more.
        assert (found != direct).mean() < 0.002
