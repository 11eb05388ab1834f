"""What can't be exported is refused with a reason, and nothing is written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from gguf_bases import NEVER, export, make_adapter, make_base, refused
from safetensors.torch import load_file, save_file

from so8t_engine.errors import BadInput, EngineError, ModelError
from so8t_engine.export.gguf import convert
from so8t_engine.export.metadata import Facts


@pytest.fixture
def own(base, tmp_path):
    """A copy of the base to spoil."""
    shutil.copytree(base, tmp_path / base.name)
    return tmp_path / base.name


def spoil_weights(base, change):
    """Let `change` work on the tensors of the shard that holds layer 0's o_proj."""
    for file in base.glob("*.safetensors"):
        found = load_file(file)
        if "model.layers.0.self_attn.o_proj.weight" in found:
            change(found)
            save_file(found, file)


O_PROJ = "model.layers.0.self_attn.o_proj.weight"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.pop(O_PROJ), "export.tensor_missing"),
        (lambda t: t.update({"model.layers.0.self_attn.o_proj.bias": torch.zeros(96)}), "export.tensor_unknown"),
        (lambda t: t.update({O_PROJ: torch.zeros(96, 32)}), "export.tensor_shape"),
        (lambda t: t.update({O_PROJ: torch.zeros(96, 96, dtype=torch.int8)}), "model.not_float"),
        (lambda t: t[O_PROJ].view(-1)[5:6].fill_(float("nan")), "export.not_finite"),
        (lambda t: t[O_PROJ].view(-1)[5:6].fill_(-70000.0), "export.not_finite"),
    ],
)
def test_weights_that_cannot_be_stored_are_refused(own, tmp_path, change, code):
    spoil_weights(own, change)
    error = refused(ModelError if code != "export.not_finite" else EngineError, code, own, None, tmp_path / "out")
    assert "o_proj" in error.where + error.facts.get("tensor", "")


def test_a_shard_cut_short_is_named(own, tmp_path):
    file = sorted(own.glob("*.safetensors"))[1]
    file.write_bytes(file.read_bytes()[:-10])
    assert refused(ModelError, "model.bad_shard", own, None, tmp_path / "out").where == str(file)


@pytest.mark.parametrize(
    "scaling",
    [{"type": "linear", "factor": 4.0}, {"type": "longrope", "short_factor": [1.0] * 12, "long_factor": [1.0] * 11}],
)
def test_a_position_scaling_that_no_phi_3_has_is_refused(own, tmp_path, scaling):
    settings = json.loads((own / "config.json").read_text(encoding="utf-8"))
    settings.pop("rope_parameters", None)
    (own / "config.json").write_text(json.dumps(settings | {"rope_scaling": scaling}), encoding="utf-8")
    refused(ModelError, "model.bad_config", own, None, tmp_path / "out")


def test_a_model_card_that_cannot_be_read_is_named(own, tmp_path):
    (own / "README.md").write_text("---\nlicense: [mit\n---\n", encoding="utf-8")
    refused(ModelError, "export.bad_card", own, None, tmp_path / "out")


def test_a_model_card_with_numbers_for_texts_is_no_hindrance(own, tmp_path):
    (own / "README.md").write_text("---\nversion: 1.5\ntags: [2024, safety]\n---\n", encoding="utf-8")
    export(own, None, tmp_path, "f16")
    fields = GGUFReader(tmp_path / "model-f16.gguf").fields
    assert fields["general.version"].contents() == "1.5" and fields["general.tags"].contents() == ["2024", "safety"]


def test_an_adapter_of_another_model_is_refused(base, tmp_path):
    other = make_base(tmp_path / "other", num_hidden_layers=3)
    adapter = make_adapter(other, tmp_path / "adapter")
    error = refused(ModelError, "model.adapter_mismatch", base, adapter, tmp_path / "out")
    assert "layers.2" in error.facts["tensor"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.pop(min(t)), "model.adapter_mismatch"),
        (lambda t: t.update(stranger=torch.zeros(1)), "model.adapter_mismatch"),
        (lambda t: t[max(t)].view(-1)[0:1].fill_(float("inf")), "model.not_finite"),
    ],
)
def test_a_damaged_adapter_is_refused(base, adapter, tmp_path, change, code):
    own = tmp_path / "adapter"
    shutil.copytree(adapter, own)
    parts = load_file(own / "adapter_model.safetensors")
    change(parts)
    save_file(parts, own / "adapter_model.safetensors")
    refused(ModelError, code, base, own, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "code"), [("adapter_config.json", "model.bad_adapter"), ("adapter_model.safetensors", "model.bad_adapter")]
)
def test_an_adapter_without_a_file_is_refused(base, adapter, tmp_path, file, code):
    own = tmp_path / "adapter"
    shutil.copytree(adapter, own)
    (own / file).unlink()
    refused(ModelError, code, base, own, tmp_path / "out")


@pytest.mark.parametrize("kinds", [{}, {"q4_k_m": Path("x.gguf")}])
def test_other_kinds_are_refused(base, kinds):
    with pytest.raises(BadInput) as caught:
        list(convert(base, None, kinds, Facts(), NEVER))
    assert caught.value.code == "export.unknown_kind"
