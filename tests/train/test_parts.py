"""The parts of the loop against references: loss, accumulation, schedule, optimizer state, PET."""

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from so8t_engine import BadInput, EngineError, config, runs
from so8t_engine import events as e
from so8t_engine.data.batches import pack
from so8t_engine.data.sources import fingerprint, read
from so8t_engine.data.template import Template
from so8t_engine.model.folder import check_folder
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.packed import PackedModel
from so8t_engine.model.so8t import attach
from so8t_engine.settings import TrainSettings
from so8t_engine.train.loop import train
from so8t_engine.train.loss import answer_loss
from so8t_engine.train.optimizer import build_optimizer, learning_rate, pack_state, unpack_state
from so8t_engine.train.pet import pet_factor, pet_penalty


class Never:
    def is_set(self):
        return False


@pytest.fixture
def examples(tiny_model, rows_file):
    template = Template(load_tokenizer(tiny_model))
    return [template.example(sample) for sample in read(rows_file).samples[:6]]


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def test_loss_equals_one_by_one_cross_entropy_over_the_answers(model, examples):
    nll = label = total = 0.0
    for example in examples:
        ids = torch.tensor([example.ids])
        logits = model(input_ids=ids).logits[0, :-1].double()
        each = F.cross_entropy(logits, ids[0, 1:], reduction="none")[example.answer_start - 1 :]
        inside = slice(example.label[0] - example.answer_start, example.label[1] - example.answer_start)
        nll, label = nll + each.sum().item(), label + each[inside].sum().item()
        total += (each.sum() + 4.0 * each[inside].sum()).item()
    adapted = attach(model, r=2, alpha=2.0, dropout=0.0, targets=["qkv_proj"], rotate=[])
    weighted, sums, _ = answer_loss(PackedModel(adapted), pack(examples), 5.0)
    assert weighted.item() == pytest.approx(total, rel=1e-5)
    assert sums.tolist() == pytest.approx([nll, label], rel=1e-5)


def run_with(settings, name, **changes):
    settings = config.from_values(config.to_values(settings) | changes)
    run = runs.create(settings.resolve(settings.runs) / name, settings, fingerprint(settings.resolve(settings.dataset)))
    return [x for x in train(settings, run, Never()) if isinstance(x, e.StepFinished)]


def test_accumulated_batches_equal_one_large_batch(tiny_settings):
    one = {"so8t.dropout": 0.0, "train.batch_size": 8, "train.gradient_accumulation": 1}
    many = {"so8t.dropout": 0.0, "train.batch_size": 1, "train.gradient_accumulation": 8}
    large, small = run_with(tiny_settings, "large", **one), run_with(tiny_settings, "small", **many)
    assert [s.loss for s in small] == pytest.approx([s.loss for s in large], rel=1e-4)
    assert [s.gradient_norm for s in small] == pytest.approx([s.gradient_norm for s in large], rel=1e-3)
    assert [s.tokens for s in small] == [s.tokens for s in large]


def test_label_weight_pulls_the_class_down_faster(tiny_settings):
    plain = run_with(tiny_settings, "plain", **{"train.epochs": 3, "so8t.dropout": 0.0})
    weighted = run_with(tiny_settings, "weighted", **{"train.epochs": 3, "so8t.dropout": 0.0, "train.label_weight": 20.0})
    assert weighted[-1].label_nll < plain[-1].label_nll < plain[0].label_nll


def test_pet_smooths_and_is_off_by_default(tiny_settings):
    off = run_with(tiny_settings, "off", **{"so8t.dropout": 0.0})
    on = run_with(tiny_settings, "on", **{"so8t.dropout": 0.0, "train.pet_weight": 1.0})
    assert off[0].loss == on[0].loss  # the recorded loss is the plain one
    assert off[-1].loss != on[-1].loss


def test_pet_penalty_is_the_second_difference_within_a_row():
    line = torch.arange(6.0).view(6, 1).expand(6, 4)
    assert pet_penalty(line, torch.arange(6)).item() == 0
    bent = torch.tensor([0.0, 0.0, 1.0, 100.0]).view(4, 1)
    assert pet_penalty(bent, torch.tensor([0, 1, 2, 0])).item() == 1.0
    assert pet_penalty(bent, torch.tensor([0, 1, 0, 1])).item() == 0
    assert [pet_factor(x) for x in (0.0, 0.5, 0.9, 1.0)] == [0.1, 0.5, 1.0, 1.0]


def test_cosine_schedule_equals_that_of_transformers():
    settings = TrainSettings(learning_rate=3e-4, warmup_ratio=0.1)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=3e-4)
    reference = get_cosine_schedule_with_warmup(optimizer, 10, 100)
    rates = []
    for _ in range(100):
        optimizer.step()
        reference.step()
        rates.append(optimizer.param_groups[0]["lr"])
    # Ours counts from the first step on, so that no step is taken at rate zero.
    assert [learning_rate(s, 100, settings) for s in range(9)] == pytest.approx(rates[:9])
    assert [learning_rate(s, 100, settings) for s in range(10, 100)] == pytest.approx(rates[9:99])
    assert all(learning_rate(s, 100, settings) > 0 for s in range(100))


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit", "paged_adamw_8bit"])
def test_optimizer_goes_on_exactly_from_its_packed_state(kind):
    def made():
        torch.manual_seed(0)
        module = torch.nn.Module()
        module.so8t_A = torch.nn.Parameter(torch.randn(64, 128))
        module.so8t_theta = torch.nn.Parameter(torch.randn(4, 28))
        return module, build_optimizer(module, TrainSettings(optimizer=kind, weight_decay=0.5, learning_rate=0.01))

    def steps(module, optimizer, seeds):
        for seed in seeds:
            torch.manual_seed(seed)
            for p in module.parameters():
                p.grad = torch.randn_like(p)
            optimizer.step()

    straight, optimizer = made()
    steps(straight, optimizer, range(6))
    first, one = made()
    steps(first, one, range(3))
    tensors, rest = pack_state(one)
    second, two = made()
    second.load_state_dict(first.state_dict())
    unpack_state(two, tensors, rest)
    steps(second, two, range(3, 6))
    assert all(a.equal(b) for a, b in zip(straight.parameters(), second.parameters(), strict=True))


def test_rotations_are_never_decayed():
    module = torch.nn.Module()
    module.so8t_A = torch.nn.Parameter(torch.ones(2, 2))
    module.so8t_theta = torch.nn.Parameter(torch.ones(2, 28))
    optimizer = build_optimizer(module, TrainSettings(weight_decay=0.5, learning_rate=0.1))
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert module.so8t_A.max() < 1 and module.so8t_theta.equal(torch.ones(2, 28))


def test_divergence_is_named_and_leaves_no_broken_checkpoint(tmp_path, tiny_settings, model, tiny_model):
    """A weight that is infinite stands for a run that has diverged: the loss is no number."""
    folder = tmp_path / "spoiled"
    shutil.copytree(tiny_model, folder)
    model.model.norm.weight.data[0] = math.inf
    model.save_pretrained(folder)
    with pytest.raises(EngineError, match="not a number"):
        run_with(tiny_settings, "wild", base_model=str(folder))
    assert not list((tiny_settings.resolve(tiny_settings.runs) / "wild" / "checkpoints").iterdir())


SPOILED = {
    "model.missing": lambda folder: None,
    "model.file_missing": lambda folder: (folder / "tokenizer.json").unlink(),
    "model.bad_config": lambda folder: (folder / "config.json").write_text("{"),
    "model.wrong_architecture": lambda folder: (folder / "config.json").write_text('{"architectures": ["BertModel"]}'),
    "model.bad_shard": lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1]),
    "model.pickle_only": lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
}


@pytest.mark.parametrize("code", SPOILED)
def test_unusable_model_folder_is_refused_before_anything_is_loaded(tmp_path, tiny_model, code):
    folder = tmp_path / "model"
    if code != "model.missing":
        shutil.copytree(tiny_model, folder)
    SPOILED[code](folder)
    with pytest.raises(BadInput) as caught:
        check_folder(folder)
    assert caught.value.code == code


def test_missing_shard_of_several_is_named(tmp_path, tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    (tmp_path / "tokenizer.json").write_text("{}")
    check_folder(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[-1].unlink()
    with pytest.raises(BadInput, match=shards[-1].name):
        check_folder(tmp_path)
