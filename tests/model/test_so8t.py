import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from so8t_engine.errors import ModelError
from so8t_engine.model.merge import fold
from so8t_engine.model.so8t import SO8TConfig, SO8TLinear, attach, load_adapter, rotation, rotations_error
from so8t_engine.model.so8t_rotation import rotate

KINDS = ["float32", "bfloat16", "8bit", "4bit"]
TARGETS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
OPTIONS = {"r": 4, "alpha": 8.0, "dropout": 0.0, "targets": TARGETS, "rotate": ["o_proj"], "seed": 0}


def adapters(model):
    """Adapter parameters by name."""
    return {name: parameter for name, parameter in model.named_parameters() if "so8t_" in name}


def thetas(model):
    return torch.cat([parameter.detach() for name, parameter in adapters(model).items() if "so8t_theta" in name])


def stir(model):
    """Give every adapter parameter a value other than its first one, as after training; the same each time."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapters(model).values():
            parameter.normal_(std=0.1, generator=generator)
    return model


def train(model, ids, steps, lr):
    """Fit `ids`; returns the losses."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def logits(model, ids):
    return model(ids).logits


# The rotations


def test_rotation_is_the_cayley_transform():
    theta = torch.randn(28, dtype=torch.float64)
    values = iter(theta)
    skew = torch.zeros(8, 8, dtype=torch.float64)
    for row in range(8):
        for column in range(row + 1, 8):
            skew[row, column] = next(values)
            skew[column, row] = -skew[row, column]
    eye = torch.eye(8, dtype=torch.float64)
    expected = torch.linalg.inv(eye - skew / 2) @ (eye + skew / 2)
    torch.testing.assert_close(rotation(theta[None])[0], expected)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e3])
def test_any_parameters_give_a_rotation(size):
    rotations = rotation(size * torch.randn(200, 28)).double()
    assert (rotations @ rotations.mT - torch.eye(8, dtype=torch.float64)).abs().max() < 1e-6
    assert (torch.linalg.det(rotations) - 1).abs().max() < 1e-6


def test_zero_parameters_give_the_identity():
    assert torch.equal(rotation(torch.zeros(3, 28)), torch.eye(8).expand(3, 8, 8))


def test_half_precision_parameters_give_a_float32_rotation():
    theta = torch.randn(3, 28).bfloat16()
    assert torch.equal(rotation(theta), rotation(theta.float()))


def test_rotate_is_the_block_diagonal_product():
    rotations, values = rotation(torch.randn(3, 28)), torch.randn(2, 5, 24)
    torch.testing.assert_close(rotate(rotations, values), values @ torch.block_diag(*rotations).T)


def test_rotations_stay_in_so8_under_training(load_phi3, ids):
    model = attach(load_phi3(), **OPTIONS)
    train(model, ids, steps=25, lr=0.5)
    assert thetas(model).abs().max() > 2
    assert rotations_error(model) < 1e-6
    assert (torch.linalg.det(rotation(thetas(model)).double()) - 1).abs().max() < 1e-6


def test_rotations_error_sees_every_layer(load_phi3):
    model = stir(attach(load_phi3(), **OPTIONS))
    assert 0 < rotations_error(model) < 1e-6
    last = [parameter for name, parameter in adapters(model).items() if "so8t_theta" in name][-1]
    last.data[-1, 0] = float("nan")
    assert rotations_error(model) == float("inf")


def test_rotations_error_without_rotations_is_zero(load_phi3):
    assert rotations_error(attach(load_phi3(), **{**OPTIONS, "rotate": []})) == 0.0


# Gradients


def test_gradient_of_the_rotation():
    theta = torch.randn(2, 28, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation, theta)


def test_gradients_of_the_layer():
    layer = SO8TLinear(nn.Linear(5, 16), "default", r=3, alpha=6.0, dropout=0.0, rotated=True).double()
    parameters = [layer.so8t_A["default"], layer.so8t_B["default"], layer.so8t_theta["default"]]
    values = [torch.randn(p.shape, dtype=torch.float64, requires_grad=True) for p in parameters]
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    names = ["so8t_A.default", "so8t_B.default", "so8t_theta.default"]

    def output(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(output, (x, *values))


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(load_phi3, ids, reentrant):
    gradients = []
    for checkpointing in (False, True):
        model = stir(attach(load_phi3(), **{**OPTIONS, "dropout": 0.2}))
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        torch.manual_seed(2)  # of the dropout
        model(ids, labels=ids).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in adapters(model).items()})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradients[1][name], gradient)


# On every kind of base layer


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_adapter_leaves_the_output_as_it_is(load_phi3, ids, kind):
    base = load_phi3(kind)
    expected = logits(base, ids)
    assert torch.equal(logits(attach(base, **OPTIONS).eval(), ids), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_the_adapter_alone(load_phi3, ids, kind):
    model = attach(load_phi3(kind), **OPTIONS)
    assert {parameter.dtype for parameter in adapters(model).values()} == {torch.float32}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(adapters(model))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    losses = train(model, ids, steps=20, lr=0.02)
    assert losses[-1] < 0.8 * losses[0]
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != ("so8t_" in name), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_adapter_comes_back_bit_for_bit(load_phi3, ids, kind, tmp_path):
    model = stir(attach(load_phi3(kind), **OPTIONS)).eval()
    expected = logits(model, ids)
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    for loaded in (load_adapter(load_phi3(kind), tmp_path), PeftModel.from_pretrained(load_phi3(kind), tmp_path)):
        assert adapters(loaded).keys() == adapters(model).keys()
        assert all(torch.equal(adapters(loaded)[name], value) for name, value in adapters(model).items())
        assert torch.equal(logits(loaded, ids), expected)
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_disabling_the_adapter_gives_the_base(load_phi3, ids, kind):
    base = load_phi3(kind)
    expected = logits(base, ids)
    model = stir(attach(base, **OPTIONS)).eval()
    adapted = logits(model, ids)
    with model.disable_adapter():
        assert torch.equal(logits(model, ids), expected)
    assert not torch.equal(adapted, expected)
    assert torch.equal(logits(model, ids), adapted)


# Life as a method of PEFT


def test_it_is_a_peft_method_like_any_other(load_phi3, capsys):
    model = get_peft_model(load_phi3(), SO8TConfig(r=4, task_type="CAUSAL_LM"))
    layer = model.base_model.model.model.layers[0].self_attn.o_proj
    assert isinstance(layer, SO8TLinear)
    names = {name.partition("o_proj.")[2] for name in adapters(model) if "layers.0" in name and "o_proj" in name}
    assert names == {"so8t_A.default", "so8t_B.default", "so8t_theta.default"}
    assert [name for name in adapters(model) if "theta" in name and "o_proj" not in name] == []
    model.print_trainable_parameters()
    trainable = sum(parameter.numel() for parameter in adapters(model).values())
    assert f"trainable params: {trainable:,}" in capsys.readouterr().out


def test_training_goes_on_from_a_loaded_adapter(load_phi3, ids, tmp_path):
    model = attach(load_phi3(), **OPTIONS)
    train(model, ids, steps=5, lr=0.03)
    model.save_pretrained(tmp_path)
    loaded = load_adapter(load_phi3(), tmp_path, trainable=True)
    assert train(loaded, ids, steps=5, lr=0.03) == train(model, ids, steps=5, lr=0.03)


def test_two_adapters_can_be_switched(load_phi3, ids, tmp_path):
    other = stir(attach(load_phi3(), **OPTIONS)).eval()
    other.save_pretrained(tmp_path)
    model = stir(attach(load_phi3(), **{**OPTIONS, "rotate": []})).eval()
    first, second = logits(model, ids), logits(other, ids)
    model.load_adapter(tmp_path, "other")
    assert torch.equal(logits(model, ids), first)
    model.set_adapter("other")
    assert torch.equal(logits(model, ids), second)
    model.delete_adapter("default")
    assert torch.equal(logits(model, ids), second)


def test_a_seed_gives_the_same_adapter_and_leaves_the_generator_alone(load_phi3):
    torch.manual_seed(3)
    one = attach(load_phi3(), **OPTIONS)
    state = torch.get_rng_state()
    two = attach(load_phi3(), **OPTIONS)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, adapters(two)[name]) for name, value in adapters(one).items())
    other = attach(load_phi3(), **{**OPTIONS, "seed": 1})
    assert any(not torch.equal(value, adapters(other)[name]) for name, value in adapters(one).items())


def test_dropout_drops_inputs_of_the_adapter_in_training_only():
    layer = SO8TLinear(nn.Linear(1, 8), "default", r=1, alpha=1.0, dropout=0.5, rotated=False)
    nn.init.ones_(layer.so8t_B["default"])
    x = torch.ones(100, 1)
    with torch.no_grad():
        base, full = layer.base_layer(x), layer.eval()(x)
        trained = layer.train()(x)
    dropped = (trained == base).all(dim=1)
    assert 20 < dropped.sum() < 80
    torch.testing.assert_close(trained[~dropped] - base[~dropped], 2 * (full - base)[~dropped])


def test_the_rotation_is_not_rounded_before_it_is_folded():
    layer = SO8TLinear(nn.Linear(16, 64).bfloat16(), "default", r=2, alpha=2.0, dropout=0.0, rotated=True)
    nn.init.normal_(layer.so8t_theta["default"])
    x = torch.randn(7, 16).bfloat16()
    with torch.no_grad():
        weight, bias = fold(
            layer.base_layer.weight, layer.so8t_A["default"], layer.so8t_B["default"], 1.0, layer.so8t_theta["default"],
            layer.base_layer.bias,
        )  # fmt: skip
        assert torch.equal(layer(x), nn.functional.linear(x, weight.bfloat16(), bias.bfloat16()))


# Errors


def test_every_target_that_is_not_there_is_named(load_phi3):
    model = load_phi3()
    with pytest.raises(ModelError) as caught:
        attach(model, **{**OPTIONS, "targets": ["q_proj", "o_proj", "gate_proj"]})
    assert caught.value.code == "model.no_target"
    assert caught.value.where == "so8t.targets"
    assert caught.value.facts["targets"] == "q_proj, gate_proj"
    assert set(caught.value.facts["available"].split(", ")) == {*TARGETS, "lm_head"}
    assert not any(isinstance(module, SO8TLinear) for module in model.modules())


def test_a_second_adapter_is_checked_as_the_first(load_phi3):
    model = attach(load_phi3(), **OPTIONS)
    with pytest.raises(ModelError) as caught:
        model.add_adapter("other", SO8TConfig(task_type="CAUSAL_LM", target_modules=["v_proj"], rotate_modules=[]))
    assert set(caught.value.facts["available"].split(", ")) == {*TARGETS, "lm_head"}
    assert list(model.peft_config) == ["default"]


def test_a_target_that_is_no_linear_layer_is_an_error(load_phi3):
    with pytest.raises(ModelError) as caught:
        attach(load_phi3(), **{**OPTIONS, "targets": ["o_proj", "mlp"]})
    assert (caught.value.code, caught.value.facts["targets"]) == ("model.no_target", "mlp")


def test_only_targets_can_be_rotated(load_phi3):
    with pytest.raises(ModelError) as caught:
        attach(load_phi3(), **{**OPTIONS, "targets": ["qkv_proj"], "rotate": ["qkv_proj", "o_proj"]})
    assert (caught.value.code, caught.value.facts["rotate"]) == ("model.rotate_not_target", "o_proj")


def test_a_rotated_output_must_be_whole_blocks(load_phi3):
    model = load_phi3()
    model.resize_token_embeddings(130)
    with pytest.raises(ModelError) as caught:
        attach(model, **{**OPTIONS, "targets": ["lm_head"], "rotate": ["lm_head"]})
    assert (caught.value.code, caught.value.facts["out_features"]) == ("model.not_blocks", "130")


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        ("model.bad_adapter", lambda folder: (folder / "adapter_model.safetensors").unlink()),
        ("model.bad_adapter", lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"\x08" + bytes(9))),
        ("model.bad_adapter", lambda folder: (folder / "adapter_config.json").write_text("{")),
        ("model.wrong_adapter", lambda folder: edit(folder, peft_type="LORA")),
        ("model.adapter_mismatch", lambda folder: edit(folder, rotate_modules=[])),
        ("model.adapter_mismatch", lambda folder: edit(folder, rotate_modules=["o_proj", "down_proj"])),
        ("model.adapter_mismatch", lambda folder: edit(folder, r=8)),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(load_phi3, ids, tmp_path, code, damage):
    attach(load_phi3(), **OPTIONS).save_pretrained(tmp_path)
    damage(tmp_path)
    base = load_phi3()
    expected = logits(base, ids)
    with pytest.raises(ModelError) as caught:
        load_adapter(base, tmp_path)
    assert (caught.value.code, caught.value.where) == (code, str(tmp_path))
    assert not any(isinstance(module, SO8TLinear) for module in base.modules())
    assert torch.equal(logits(base, ids), expected)


def edit(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
