"""Load the tokenizer and the (quantized) weights of a model folder. No code from the folder is ever run."""

from pathlib import Path

import psutil
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from so8t_engine.model import quiet  # noqa: F401
from so8t_engine.model.folder import check_folder, weight_files
from so8t_engine.model.frozen import take_over
from so8t_engine.model.memory import keep_heap
from so8t_engine.settings import ModelSettings

_WORKING_ROOM = 2**30
"""Bytes for activations, keys and values beside the weights."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of `folder`, from its own files alone."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def context(folder: Path) -> int:
    """Tokens that prompt and answer may have together: beyond the length of the original training longrope would change
    the frequencies of every row of a batch. A Llama says one length only."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    longest = config.max_position_embeddings
    return min(getattr(config, "original_max_position_embeddings", longest), longest)


def row_limit(folder: Path) -> int:
    """Tokens that a row of a pack may have: within them every token sees all before it, at the model's own frequencies."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return min(context(folder), getattr(config, "sliding_window", None) or context(folder))


def load_model(folder: Path, settings: ModelSettings, device: torch.device) -> PreTrainedModel:
    """The frozen base model on `device`, quantized as `settings` say. Raises ModelError for an unusable folder."""
    check_folder(folder)
    if device.type == "cpu":
        keep_heap()
    options: dict = {"dtype": compute_dtype(settings.dtype, device)}
    if settings.quantization == "8bit":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["lm_head"])
    elif settings.quantization == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=options["dtype"],
            llm_int8_skip_modules=["lm_head"],
        )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        folder, device_map={"": device}, use_safetensors=True, local_files_only=True, trust_remote_code=False,
        attn_implementation="sdpa", **options,
    )  # fmt: skip
    take_over(model)
    model.config.use_cache = False  # training never reads the cache; generation asks for it by itself
    return model.requires_grad_(False)


def pick_device() -> torch.device:
    """The NVIDIA card where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type that activations are computed in; "auto" takes the best that `device` is fast in."""
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def memory_needed(folder: Path, settings: ModelSettings) -> int:
    """Bytes that the model takes to answer: its weights as they will be stored, and room to work in.

    An estimate from the size of its files (16 bits a weight, as models are published).
    """
    check_folder(folder)
    weights = sum(file.stat().st_size for file in weight_files(folder))
    wide = 2 if compute_dtype(settings.dtype, pick_device()) == torch.float32 else 1
    share = {"none": wide, "8bit": 0.55, "4bit": 0.35}[settings.quantization]
    return int(weights * share) + _WORKING_ROOM


def memory_free() -> int:
    """Bytes free on the card, or in RAM where there is none."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
