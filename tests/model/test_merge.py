import pytest
import torch
from torch import nn
from transformers import Phi3ForCausalLM

from so8t_engine.errors import ModelError
from so8t_engine.model.merge import fold
from so8t_engine.model.so8t import SO8TLinear, attach, rotation

OPTIONS = {
    "r": 4,
    "alpha": 8.0,
    "dropout": 0.0,
    "targets": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "rotate": ["o_proj", "down_proj"],
}


def stir(module):
    """Give every adapter parameter a random value, as after training."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "so8t_" in name:
                parameter.normal_(std=0.1)
    return module


def parts(dtype=torch.float32):
    """weight (24, 10), lora_a (3, 10), lora_b (24, 3), theta (3, 28), bias (24,)."""
    shapes = [(24, 10), (3, 10), (24, 3), (3, 28), (24,)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


@torch.no_grad()
def logits(model, ids):
    return model(ids).logits


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_fold_is_the_formula(dtype, tolerance):
    weight, a, b, theta, bias = parts(dtype)
    turn = torch.block_diag(*rotation(theta.double()))
    plain = weight.double() + 0.5 * b.double() @ a.double()
    for given, expected, expected_bias in ((theta, turn @ plain, turn @ bias.double()), (None, plain, bias.double())):
        folded, folded_bias = fold(weight, a, b, 0.5, given, bias)
        assert folded.dtype == folded_bias.dtype == dtype
        torch.testing.assert_close(folded.double(), expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(folded_bias.double(), expected_bias, rtol=0, atol=tolerance)


def test_fold_computes_in_float32_and_leaves_its_inputs():
    weight, a, b, theta, bias = parts()
    half, half_bias = weight.bfloat16(), bias.bfloat16()
    copies = [tensor.clone() for tensor in (half, a, b, theta, half_bias)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        folded, folded_bias = fold(half, a, b, 0.5, theta, half_bias)
    expected, expected_bias = fold(half.float(), a, b, 0.5, theta, half_bias.float())
    assert torch.equal(folded, expected) and torch.equal(folded_bias, expected_bias)
    for tensor, copy in zip((half, a, b, theta, half_bias), copies, strict=True):
        assert torch.equal(tensor, copy)
    assert fold(half, a, b, 0.5, theta)[1] is None


@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_folded_layer_computes_what_the_adapted_one_does(rotated, bias):
    layer = stir(SO8TLinear(nn.Linear(32, 64, bias=bias), "default", r=4, alpha=8.0, dropout=0.0, rotated=rotated))
    x = torch.randn(50, 32)
    with torch.no_grad():
        adapted = layer(x)
        layer.merge()
        torch.testing.assert_close(layer.base_layer(x), adapted, rtol=0, atol=1e-5)
        assert torch.equal(layer(x), layer.base_layer(x))


def test_a_merged_model_is_a_plain_phi3(load_phi3, ids):
    base = load_phi3()
    keys, before = base.state_dict().keys(), logits(base, ids)
    model = stir(attach(base, **OPTIONS)).eval()
    expected = logits(model, ids)
    assert (expected - before).abs().max() > 0.01
    merged = model.merge_and_unload()
    assert type(merged) is Phi3ForCausalLM
    assert merged.state_dict().keys() == keys
    torch.testing.assert_close(logits(merged, ids), expected, rtol=0, atol=1e-5)


def test_a_bfloat16_model_is_rounded_once(load_phi3):
    model = stir(attach(load_phi3("bfloat16"), **OPTIONS))
    layer = model.base_model.model.model.layers[1].self_attn.o_proj
    name = "default"
    expected, _ = fold(layer.weight, layer.so8t_A[name], layer.so8t_B[name], 2.0, layer.so8t_theta[name])
    merged = model.merge_and_unload()
    weight = merged.model.layers[1].self_attn.o_proj.weight
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, expected.bfloat16())


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_unmerging_gives_the_base_back_bit_for_bit(load_phi3, ids, kind):
    base = load_phi3(kind)
    before = logits(base, ids)
    model = stir(attach(base, **OPTIONS)).eval()
    adapted = logits(model, ids)
    model.merge_adapter()
    assert not torch.equal(logits(model, ids), before)
    with model.disable_adapter():
        assert torch.equal(logits(model, ids), before)
    model.merge_adapter()
    model.unmerge_adapter()
    assert torch.equal(logits(model, ids), adapted)


def test_adapters_that_act_together_merge_in_the_same_order(load_phi3, ids, tmp_path):
    model = stir(attach(load_phi3(), **OPTIONS)).eval()
    model.save_pretrained(tmp_path)
    model.load_adapter(tmp_path, "second")
    model.base_model.set_adapter(["default", "second"])
    stir(model)
    expected = logits(model, ids)
    torch.testing.assert_close(logits(model.merge_and_unload(), ids), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_a_quantized_model_is_not_merged(load_phi3, ids, kind):
    model = stir(attach(load_phi3(kind), **OPTIONS)).eval()
    expected = logits(model, ids)
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ModelError) as caught:
            merge()
        assert caught.value.code == "model.merge_quantized"
        assert caught.value.where.endswith("o_proj")
        assert caught.value.facts["layer"] == {"8bit": "Int8Linear", "4bit": "Int4Linear"}[kind]
    with pytest.raises(ModelError):
        model.base_model.model.model.layers[0].mlp.down_proj.merge()
    assert torch.equal(logits(model, ids), expected)


def test_a_broken_adapter_is_not_merged(load_phi3):
    model = attach(load_phi3(), **OPTIONS)
    layer = model.base_model.model.model.layers[0].self_attn.o_proj
    weight = layer.weight.clone()
    layer.so8t_theta["default"].data[0, 0] = float("nan")
    with pytest.raises(ModelError) as caught:
        model.merge_and_unload()
    assert (caught.value.code, caught.value.facts["adapter"]) == ("model.not_finite", "default")
    assert torch.equal(layer.weight, weight)
