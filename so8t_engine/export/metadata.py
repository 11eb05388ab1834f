"""What a GGUF file says of itself before its tensors: provenance, shape of the model, vocabulary."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import yaml
from gguf import GGUFValueType, GGUFWriter
from transformers import AutoConfig

from so8t_engine.errors import ModelError
from so8t_engine.export.tensors import Target, rope_dimensions, rope_factors
from so8t_engine.export.vocabulary import Vocabulary
from so8t_engine.model import quiet  # noqa: F401

FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
}


@dataclass(frozen=True)
class Facts:
    """Where a model comes from, as its file will say; what is "" is not said, or taken from the base model's folder.

    name: `general.name`, which is made to say Phi-3, see `named`.
    base: the model that was retrained, as "organization/name" or a name.
    dataset, dataset_sha256: name and fingerprint of the training rows.
    run: id of the run. license: short name such as "mit".
    """

    name: str = ""
    base: str = ""
    dataset: str = ""
    dataset_sha256: str = ""
    run: str = ""
    license: str = ""


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` with every default filled in and old names brought up to date by transformers.

    Raises ModelError "model.bad_config" when it can't be read, or asks for what no Phi-3 has.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
        return config | {"rope_parameters": config.get("rope_parameters") or {}}
    except Exception as error:  # transformers raises of its own, huggingface_hub's and plain Python's kinds
        raise ModelError("model.bad_config", where=str(folder / "config.json"), reason=_line(error)) from None


def named(name: str) -> str:
    """`name`, saying Phi-3: "Borea Phi 3.5 mini" becomes "Borea Phi-3.5 mini", and any other name gets " Phi-3".

    llama.cpp looks for "phi-3" in `general.name`: without it, it keeps the spaces and line ends behind special tokens,
    which Phi-3's tokenizer takes away, and the model reads other tokens than it was trained on.
    """
    name = re.sub("(phi)[ _]?(3)", r"\1-\2", name, flags=re.IGNORECASE)
    return name if "phi-3" in name.lower() else f"{name} Phi-3".strip()


def header(
    folder: Path, config: Mapping[str, Any], targets: list[Target], words: Vocabulary, facts: Facts, kind: str
) -> GGUFWriter:
    """The head of the file of this kind, ready to be written; in the order of llama.cpp's converter.

    Raises ModelError "export.bad_card" or "export.bad_tokenizer" when a file of the model's folder can't be used.
    """
    writer = GGUFWriter(None, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.PHI3])
    for target in targets:
        float32 = np.dtype(np.float32)  # what the writer is told of an array counts only where no type is given
        writer.add_tensor_info(target.name, target.shape, float32, target.bytes(kind), raw_dtype=target.type(kind))
    _rope(writer, config)
    writer.add_type(gguf.GGUFType.MODEL)
    _provenance(writer, folder, facts)
    _shape(writer, config)
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_sliding_window(config.get("sliding_window") or 0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _vocabulary(writer, folder, words)
    return writer


def _rope(writer: GGUFWriter, config: Mapping[str, Any]) -> None:
    """By how much attention is scaled where contexts are stretched (https://arxiv.org/abs/2402.13753)."""
    if rope_factors(config):
        longest, original = config["max_position_embeddings"], _original_context(config)
        stretched = 1 + math.log(longest / original) / math.log(original) if longest > original else 1.0
        writer.add_rope_scaling_attn_factors(math.sqrt(stretched))


def _provenance(writer: GGUFWriter, folder: Path, facts: Facts) -> None:
    """What the folder's name and its README.md tell, as llama.cpp's converter reads them, then our own facts."""
    parameters = writer.get_total_parameter_count()
    try:
        metadata = gguf.Metadata.load(model_path=folder, total_params=parameters[0])
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ModelError("export.bad_card", where=str(folder / "README.md"), reason=_line(error)) from None
    metadata.size_label = metadata.size_label or gguf.size_label(*parameters)
    metadata.name = named(facts.name or metadata.name or folder.name)
    if facts.base:
        organization, _, name = facts.base.rpartition("/")
        origin = (
            {"organization": organization, "repo_url": f"https://huggingface.co/{facts.base}"} if organization else {}
        )
        metadata.base_models = [{"name": name} | origin]
    if facts.dataset or facts.dataset_sha256:
        version = f"sha256:{facts.dataset_sha256}" if facts.dataset_sha256 else ""
        metadata.datasets = [{"name": facts.dataset, "version": version}]
    metadata.license = facts.license or metadata.license
    metadata.set_gguf_meta_model(writer)
    writer.add_string("so8t.run", facts.run)
    for entry in writer.kv_data[0].values():  # a README.md may hold a number where a text belongs
        if entry.type == GGUFValueType.STRING:
            entry.value = str(entry.value)
        elif entry.type == GGUFValueType.ARRAY:
            entry.value = [str(item) for item in entry.value]


def _shape(writer: GGUFWriter, config: Mapping[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_rope_scaling_orig_ctx_len(_original_context(config))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(rope_dimensions(config))
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def _vocabulary(writer: GGUFWriter, folder: Path, words: Vocabulary) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words.tokens)
    writer.add_token_scores(words.scores)
    writer.add_token_types(words.types)
    try:
        gguf.SpecialVocab(folder, n_vocab=len(words.tokens)).add_to_gguf(writer, quiet=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("export.bad_tokenizer", where=str(folder), reason=repr(error)) from None


def _original_context(config: Mapping[str, Any]) -> int:
    """Tokens of a context before it was stretched."""
    rope = config["rope_parameters"]
    return rope.get("original_max_position_embeddings") or config["original_max_position_embeddings"]


def _line(error: Exception) -> str:
    """An error's text as one line of a length that a page can show."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
