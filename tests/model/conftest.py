"""A tiny random Phi-3 on disk, and ways to load it: float32, bfloat16, 8-bit and 4-bit."""

import shutil

import pytest
import torch
from canary import TOKENIZER
from made import DEMO_MODEL
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Phi3Config, Phi3ForCausalLM

from so8t_engine.model.frozen import take_over

# Multiples of 64 everywhere: bitsandbytes' 4-bit CPU kernel takes nothing else.
SHAPE = {"vocab_size": 128, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@pytest.fixture(autouse=True)
def _still():
    """One thread and one seed, so that every test computes the same numbers each time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def phi3_folder(tmp_path_factory):
    """Folder of a saved tiny Phi-3 (about 0.1 M parameters, float32)."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny_phi3")
    # The usual 0.02 makes a model of this width almost mute: its logits would hardly tell one adapter from another.
    model = Phi3ForCausalLM(Phi3Config(**SHAPE, **HEADS, **TOKENS, initializer_range=0.1))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loud_model(tmp_path_factory):
    """A random model whose weights are large enough for its tokens to depend on what it reads, with the demo's tokenizer."""
    folder = tmp_path_factory.mktemp("loud")
    torch.manual_seed(5)
    # Multiples of 64 everywhere: bitsandbytes' 4-bit CPU kernel takes nothing else.
    settings = Phi3Config(
        vocab_size=3072, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=4096, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        initializer_range=0.15,
    )  # fmt: skip
    Phi3ForCausalLM(settings).save_pretrained(folder)
    for name in TOKENIZER:
        if (DEMO_MODEL / name).exists():
            shutil.copy(DEMO_MODEL / name, folder)
    return folder


@pytest.fixture
def load_phi3(phi3_folder):
    """Function that loads the tiny Phi-3 as "float32", "bfloat16", "8bit" or "4bit", on the CPU, in eval mode."""

    def load(kind="float32"):
        if kind in ("float32", "bfloat16"):
            return AutoModelForCausalLM.from_pretrained(phi3_folder, dtype=getattr(torch, kind))
        if kind == "8bit":
            quantization = BitsAndBytesConfig(load_in_8bit=True)
        else:
            quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
        model = AutoModelForCausalLM.from_pretrained(
            phi3_folder, dtype=torch.bfloat16, quantization_config=quantization, device_map={"": "cpu"}
        )
        take_over(model)
        return model

    return load


@pytest.fixture
def ids():
    """Token ids (2, 12)."""
    return torch.randint(3, SHAPE["vocab_size"], (2, 12), generator=torch.Generator().manual_seed(1))
