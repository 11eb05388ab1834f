"""Packs through the model: the losses and gradients of one row at a time, whatever the pack, the storage and the recomputing."""

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from so8t_engine.data.batches import pack
from so8t_engine.data.template import Example
from so8t_engine.model import pieces
from so8t_engine.model.attention import Rows, attend
from so8t_engine.model.frozen import dense
from so8t_engine.model.groups import SHORT, Groups, together
from so8t_engine.model.packed import PackedModel
from so8t_engine.model.product import AdaptedProduct
from so8t_engine.model.so8t import SO8TLinear, attach, prepared
from so8t_engine.train.loss import CHUNK, HeadLoss, answer_loss

ADAPTER = {"r": 4, "alpha": 8.0, "dropout": 0.0, "rotate": ["o_proj"], "seed": 0}
TARGETS = {
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
LENGTHS = (17, 3, 40, 9, 9, 26)


def llama():
    torch.manual_seed(0)
    shape = {"vocab_size": 128, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config = LlamaConfig(**shape, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.1)
    return LlamaForCausalLM(config).requires_grad_(False)


def adapted(base, kind="phi3", **more):
    model = attach(base, targets=TARGETS[kind], **(ADAPTER | more))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "so8t_B" in name or "so8t_theta" in name:
            torch.nn.init.normal_(parameter.data, std=0.1)
    return model.train()


def examples():
    draw = torch.Generator().manual_seed(2)
    rows = [torch.randint(3, 128, (length,), generator=draw).tolist() for length in LENGTHS]
    return [Example(tuple(ids), len(ids) // 3 + 1, (len(ids) // 3 + 1, len(ids) // 3 + 2)) for ids in rows]


def gradients(model):
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.zero_grad()
    return found


def one_by_one(model, weight):
    """transformers' own forward, one row at a time, and autograd's gradients of the plain formula."""
    total = torch.tensor(0.0)
    for example in examples():
        ids = torch.tensor([example.ids])
        nll = F.cross_entropy(model(input_ids=ids, use_cache=False).logits[0, :-1].float(), ids[0, 1:], reduction="none")
        weights = torch.ones_like(nll)
        weights[example.label[0] - 1 : example.label[1] - 1] = weight
        total = total + (nll * weights)[example.answer_start - 1 :].sum()
    total.backward()
    return total.item(), gradients(model)


@pytest.mark.parametrize("recomputed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["phi3", "llama"])
def test_a_pack_is_its_rows_one_by_one(load_phi3, kind, recomputed):
    model = adapted(load_phi3() if kind == "phi3" else llama(), kind)
    wanted, slopes = one_by_one(model, 3.0)
    packed = PackedModel(model, recomputed)
    with packed.solved():
        loss, _, _ = answer_loss(packed, pack(examples()), 3.0)
        loss.backward()
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    for name, slope in gradients(model).items():
        assert (slope - slopes[name]).norm() <= 1e-5 * slopes[name].norm(), name


@pytest.mark.parametrize("storage", ["8bit", "4bit", "bfloat16"])
def test_gradients_on_stored_weights_are_those_of_float32_on_the_same_numbers(load_phi3, storage):
    model = adapted(load_phi3(storage))
    exact = adapted(load_phi3("float32"))
    for layer, other in zip(*([m for m in found.modules() if isinstance(m, SO8TLinear)] for found in (model, exact)), strict=True):
        other.base_layer.weight.data = dense(layer.base_layer, torch.float32).clone()
    plain = dict(exact.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.dtype == torch.bfloat16 and plain[name].shape == parameter.shape and "base_layer" not in name:
            plain[name].data = parameter.float()
    found = []
    for each in (model, exact):
        packed = PackedModel(each)
        loss, _, _ = answer_loss(packed, pack(examples()), 1.0)
        loss.backward()
        found.append((loss.item(), gradients(each)))
    assert found[0][0] == pytest.approx(found[1][0], rel=5e-3)
    whole = [torch.cat([slope.flatten() for slope in slopes.values()]) for _, slopes in found]
    assert (whole[0] - whole[1]).norm() < 0.03 * whole[1].norm()


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("features", [64, 24])
def test_gradients_of_the_product_are_those_of_autograd(rotated, bias, features):
    torch.manual_seed(3)
    layer = SO8TLinear(
        torch.nn.Linear(10, features, bias=bias).double().requires_grad_(False), "default", r=3, alpha=6.0, dropout=0.0,
        rotated=rotated,
    ).double()  # fmt: skip
    for parameter in (*layer.so8t_B.values(), *layer.so8t_theta.values()):
        torch.nn.init.normal_(parameter.data)
    x = torch.randn(4, 5, 10, dtype=torch.float64, requires_grad=True)
    trained = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    assert torch.autograd.gradcheck(lambda *_: layer(x), (x, *trained))


def test_what_is_dropped_gets_its_gradient_through_the_adapter_alone():
    torch.manual_seed(4)
    layer = torch.nn.Linear(6, 8, bias=False).double().requires_grad_(False)
    x, dropped = (torch.randn(3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    a, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 6), (8, 2)))

    def product(x, dropped, a, b):
        return AdaptedProduct.apply(x, dropped, a, b, 3.0, None, a.detach(), 3.0 * b.detach(), layer)

    assert torch.autograd.gradcheck(product, (x, dropped, a, b))


def test_adapters_prepared_together_are_those_prepared_alone(load_phi3, ids):
    model = adapted(load_phi3()).eval()
    with torch.no_grad():
        alone = model(ids).logits
        with prepared([layer for layer in model.modules() if isinstance(layer, SO8TLinear)], torch.float32):
            together = model(ids).logits
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
        for layer in model.modules():
            if isinstance(layer, SO8TLinear) and layer.so8t_theta:
                layer.so8t_theta["default"].add_(0.1)
        assert not torch.allclose(model(ids).logits, together)  # nothing of them is left


@pytest.mark.parametrize("keys", [4, 2, 1])
@pytest.mark.parametrize("lengths", [(9,), (40, 31, 30, 30, 29, 29, 4, 3, 1), (SHORT, 5, 5)])
def test_rows_taken_together_are_those_taken_alone(lengths, keys):
    torch.manual_seed(9)
    parts = [torch.randn(sum(lengths), heads, 8, requires_grad=True) for heads in (4, keys, keys)]
    slope, found = torch.randn(sum(lengths), 4, 8), []
    for groups in (None, Groups(lengths)):
        answer = attend(*parts, Rows(None, lengths, False, groups))
        found.append([answer, *torch.autograd.grad(answer, parts, slope)])
    assert any(rows > 1 for rows, _ in groups.sizes) == (len(lengths) > 1)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_only_short_rows_in_float32_on_a_cpu_are_taken_together():
    cpu, card = torch.device("cpu"), torch.device("cuda")
    asked = [(SHORT, cpu, torch.float32), (SHORT + 1, cpu, torch.float32), (9, card, torch.float32), (9, cpu, torch.bfloat16)]
    assert [together(*one) for one in asked] == [True, False, False, False]


@pytest.mark.parametrize("grouped", [False, True])
def test_rows_do_not_see_each_other(grouped):
    torch.manual_seed(5)
    query, key, value = torch.randn(3, 20, 4, 8).unbind()
    groups = Groups((12, 8)) if grouped else None
    rows = Rows(torch.tensor([0, 12, 20], dtype=torch.int32), (12, 8), False, groups)
    before = attend(query, key, value, rows)
    key[15:] += 1
    value[15:] += 1
    after = attend(query, key, value, rows)
    assert torch.equal(before[:15], after[:15])
    assert not torch.allclose(before[15:], after[15:])


def test_the_loss_of_many_parts_is_the_loss_of_one(monkeypatch):
    torch.manual_seed(6)
    head = torch.nn.Linear(16, 50, bias=False).double().requires_grad_(False)
    hidden = torch.randn(23, 16, dtype=torch.float64, requires_grad=True)
    targets, weights = torch.randint(50, (23,)), torch.rand(23)
    wanted = F.cross_entropy(head(hidden), targets, reduction="none")
    (wanted * weights).sum().backward()
    slope, hidden.grad = hidden.grad, None
    assert CHUNK > 50 * 23
    monkeypatch.setattr("so8t_engine.train.loss.CHUNK", 50 * 7)
    weighted, nll = HeadLoss.apply(hidden, head, targets, weights)
    (2 * weighted).backward()
    torch.testing.assert_close(nll.double(), wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(hidden.grad, 2 * slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("piece", ["gate", "turn"])
def test_gradients_of_the_pieces(piece):
    torch.manual_seed(7)
    x = torch.randn(5, 32, dtype=torch.float64, requires_grad=True)
    for half in (4, 2):
        angles = torch.randn(5, half, dtype=torch.float64)
        calls = {"gate": pieces.Gate.apply, "turn": lambda x, a=angles: pieces.Turn.apply(x, a.cos(), a.sin(), 2, 1)}
        assert torch.autograd.gradcheck(calls[piece], (x,))


def test_the_norm_is_torchs_own():
    torch.manual_seed(8)
    x, weight = torch.randn(5, 16, requires_grad=True), torch.rand(16)
    wanted, found = F.rms_norm(x, (16,), weight, 1e-5), pieces.Norm.apply(x, weight, 1e-5)
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(y.pow(3).sum(), x)[0] for y in (wanted, found)]
    torch.testing.assert_close(slopes[1], slopes[0])
