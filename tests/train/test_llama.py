"""A Llama is trained, stopped, resumed, scored and spoken with like a Phi-3; as GGUF it is refused."""

import pytest
from made import eight_steps, forty_rows
from safetensors.torch import load_file
from test_resume import CancelAfter, assert_same_weights, losses, new_run

from so8t_engine import config
from so8t_engine import events as e
from so8t_engine.errors import ModelError
from so8t_engine.export.gguf import convert
from so8t_engine.export.metadata import Facts
from so8t_engine.model.load import context, load_model, load_tokenizer, pick_device
from so8t_engine.model.so8t import load_adapter
from so8t_engine.train.loop import train


@pytest.fixture
def settings(tiny_llama, tmp_path) -> config.Settings:
    """Eight steps on a Llama whose layers nobody has named."""
    plain = config.to_values(eight_steps(tiny_llama, forty_rows(tmp_path), tmp_path / "runs"))
    return config.from_values(plain | {"so8t.targets": "auto", "so8t.rotate": "auto", "evaluate.every_minutes": 1.0})


def test_a_llama_learns_and_a_stopped_run_ends_bit_for_bit_as_a_whole_one(settings):
    whole, stopped = new_run(settings, "whole"), new_run(settings, "stopped")
    events = list(train(settings, whole, CancelAfter()))
    first = list(train(settings, stopped, CancelAfter(13)))
    second = list(train(settings, stopped, CancelAfter()))
    assert losses(first) | losses(second) == losses(events) and len(losses(second)) < 8
    assert_same_weights(stopped.final_model, whole.final_model)
    assert losses(events)[8] < losses(events)[1] - 0.1
    assert next(x for x in events if isinstance(x, e.ModelLoaded)).architecture == "LlamaForCausalLM"
    assert any(isinstance(x, e.ValidationScored) for x in events)


def test_the_trained_adapter_is_loaded_with_its_own_names(settings, tiny_llama):
    run = new_run(settings)
    list(train(settings, run, CancelAfter()))
    model = load_adapter(load_model(tiny_llama, settings.model, pick_device()), run.final_model)
    stored = load_file(run.final_model / "adapter_model.safetensors")
    assert sum(name.endswith("so8t_theta") for name in stored) == 2  # o_proj of two blocks
    ids = load_tokenizer(tiny_llama)("the garden", return_tensors="pt")["input_ids"]
    with model.disable_adapter():
        plain = model(ids).logits
    assert not model(ids).logits.equal(plain)
    assert context(tiny_llama) == 1024


def test_a_llama_is_not_written_as_gguf(tiny_llama, tmp_path):
    with pytest.raises(ModelError) as caught:
        list(convert(tiny_llama, None, {"f16": tmp_path / "out" / "m.gguf"}, Facts(), CancelAfter()))
    assert (caught.value.code, caught.value.facts["found"]) == ("export.wrong_architecture", "LlamaForCausalLM")
    assert not (tmp_path / "out").exists()
