"""Check a model folder, and load its tokenizer and its (quantized) weights. No code from the folder is ever run."""

import json
import logging
import warnings
from pathlib import Path

import psutil
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from so8t_engine.errors import ModelError
from so8t_engine.model.shards import read_header
from so8t_engine.settings import ModelSettings

ARCHITECTURES = ("Phi3ForCausalLM",)
"""What the engine trains and exports."""

# What these libraries say while they load concerns their own developers; a person at the console sees our lines.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU", category=UserWarning)

warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted", category=UserWarning)

_WORKING_ROOM = 2**30
"""Bytes for activations, keys and values beside the weights."""


def check_folder(folder: Path) -> None:
    """Raise ModelError unless `folder` holds a whole, known model: config, tokenizer, every shard to its last byte."""
    if not folder.is_dir():
        raise ModelError("model.missing", where=str(folder))
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError("model.file_missing", where=str(folder), file=name)
    try:
        architectures = json.loads((folder / "config.json").read_text(encoding="utf-8-sig")).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise ModelError("model.bad_config", where=str(folder / "config.json"), reason=error) from None
    if not any(name in ARCHITECTURES for name in architectures):
        found, known = ", ".join(architectures) or "none", ", ".join(ARCHITECTURES)
        raise ModelError("model.wrong_architecture", where=str(folder), found=found, known=known)
    for shard in weight_files(folder):
        _check_shard(shard)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of `folder`, from its own files alone."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def context(folder: Path) -> int:
    """Tokens that prompt and answer may have together: beyond the length of the original training longrope would change
    the frequencies of every row of a batch."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return min(config.original_max_position_embeddings, config.max_position_embeddings)


def load_model(folder: Path, settings: ModelSettings, device: torch.device) -> PreTrainedModel:
    """The frozen base model on `device`, quantized as `settings` say. Raises ModelError for an unusable folder."""
    check_folder(folder)
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


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, whether they are there or not. Raises ModelError when it has none."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError("model.bad_config", where=str(index), reason=error) from None
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if any(folder.glob("*.bin")) or any(folder.glob("*.pth")):
        raise ModelError("model.pickle_only", where=str(folder))
    raise ModelError("model.file_missing", where=str(folder), file="model.safetensors")


def _check_shard(shard: Path) -> None:
    """Compare a safetensors file's size with what its header promises."""
    if not shard.is_file():
        raise ModelError("model.file_missing", where=str(shard.parent), file=shard.name)
    ends = [stored.stop for stored in read_header(shard).values()]
    wanted, found = max(ends, default=shard.stat().st_size), shard.stat().st_size
    if found != wanted:
        raise ModelError("model.bad_shard", where=str(shard), reason=f"{found} bytes instead of {wanted}")
