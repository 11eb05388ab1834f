"""`auto` stands for the layers that the model itself has, in memory and on the disk."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from so8t_engine import config
from so8t_engine.errors import ModelError
from so8t_engine.model.layers import chosen, matrices
from so8t_engine.model.so8t import SO8TLinear, attach
from so8t_engine.verify_estimate import adapter_parameters

NAMED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
LLAMA = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
OPTIONS = {"r": 4, "alpha": 8.0, "dropout": 0.0, "seed": 0}


def test_auto_on_a_phi_3_is_the_adapter_of_the_four_names(load_phi3, tmp_path):
    named = attach(load_phi3(), targets=NAMED, rotate=["o_proj"], **OPTIONS)
    auto = attach(load_phi3(), targets=["auto"], rotate=["auto"], **OPTIONS)
    one, other = named.state_dict(), auto.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    auto.save_pretrained(tmp_path)
    told = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (sorted(told["target_modules"]), told["rotate_modules"]) == (sorted(NAMED), ["o_proj"])  # and no "auto"


def test_auto_on_a_llama_is_every_linear_layer_of_its_blocks(tiny_llama):
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    names = [name for name, _ in model.named_modules()]
    adapted = attach(model, targets=["auto"], rotate=["auto"], **OPTIONS)
    layers = {name: layer for name, layer in adapted.named_modules() if isinstance(layer, SO8TLinear)}
    assert {name.rpartition(".")[2] for name in layers} == LLAMA and len(layers) == 2 * len(LLAMA)
    assert {name.rpartition(".")[2] for name, layer in layers.items() if layer.so8t_theta} == {"o_proj"}
    assert "lm_head" in names and not isinstance(adapted.get_base_model().lm_head, SO8TLinear)


def test_names_and_auto_can_be_mixed_over_the_two_settings(tiny_llama):
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    assert chosen(["q_proj", "o_proj"], ["auto"], [])[1] == ("o_proj",)
    with pytest.raises(ModelError) as caught:
        attach(model, targets=["auto"], rotate=["lm_head"], **OPTIONS)
    assert (caught.value.code, caught.value.facts["rotate"]) == ("model.rotate_not_target", "lm_head")
    with pytest.raises(ModelError) as caught:
        attach(model, targets=["qkv_proj"], rotate=[], **OPTIONS)
    assert caught.value.code == "model.no_target" and "q_proj" in caught.value.facts["available"]


@pytest.mark.parametrize("folder", ["tiny_model", "tiny_llama"])
def test_the_files_alone_tell_how_much_auto_trains(folder, request):
    folder = request.getfixturevalue(folder)
    settings = config.from_values({"so8t.r": 4, "so8t.targets": "auto", "so8t.rotate": "auto"})
    model = attach(AutoModelForCausalLM.from_pretrained(folder), targets=["auto"], rotate=["auto"], **OPTIONS)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert adapter_parameters(folder, settings) == trained
    assert "model.embed_tokens" in matrices(folder)  # looks like a layer there, and is none
