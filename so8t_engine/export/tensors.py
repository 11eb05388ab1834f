"""The tensors of a Phi-3 in a GGUF file: which there must be, what they are called there, and how they are stored."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf import GGMLQuantizationType as Type
from torch import Tensor

from so8t_engine.errors import ModelError
from so8t_engine.export.quantization import fitting, stored_bytes
from so8t_engine.model.shards import Stored
from so8t_engine.model.so8t_rotation import BLOCK

KINDS = {"f16": Type.F16, "q8_0": Type.Q8_0, "bf16": Type.BF16}
"""What a file's weights are stored as, by the name that a person gives."""

PIECE = 2**19
"""Numbers that are read, folded and stored at once: few enough for the processor's cache."""


@dataclass(frozen=True)
class Target:
    """One tensor of a file.

    name: in GGUF. source: in the safetensors files, "" where `values` come from the config. shape: as in torch.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    values: Tensor | None = None

    def type(self, kind: str) -> Type:
        """How the file of this kind stores it: vectors and norms are always float32."""
        if len(self.shape) == 1 or self.name.endswith("_norm.weight"):
            return Type.F32
        return fitting(KINDS[kind], self.shape)

    def bytes(self, kind: str) -> int:
        """Size of its data in the file of this kind, without padding."""
        return stored_bytes(self.type(kind), self.shape)


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a target; `last` when it ends there."""

    target: Target
    start: int
    stop: int

    @property
    def last(self) -> bool:
        return self.stop == self.target.shape[0]


def targets(config: Mapping[str, Any], found: Mapping[str, Stored], folder: Path) -> list[Target]:
    """Every tensor of the file, in the order of llama.cpp's converter: rope factors, then as the shards hold them.

    config: as `metadata.read_config` gives it, so that its position scaling is one that a Phi-3 has.
    Raises ModelError "export.tensor_missing", "export.tensor_unknown" (llama.cpp has no place for it) or
    "export.tensor_shape".
    """
    expected = _shapes(config)
    names = [name for name in found if not name.endswith(".rotary_emb.inv_freq")]  # computed again by whoever runs it
    if missing := sorted(expected.keys() - set(names)):
        raise ModelError("export.tensor_missing", where=str(folder), count=len(missing), tensor=missing[0])
    if unknown := sorted(set(names) - expected.keys()):
        raise ModelError("export.tensor_unknown", where=str(folder), count=len(unknown), tensor=unknown[0])
    places = gguf.get_tensor_name_map(gguf.MODEL_ARCH.PHI3, config["num_hidden_layers"])
    result = [Target(f"{name}.weight", "", tuple(values.shape), values) for name, values in rope_factors(config)]
    for name in names:
        shape = found[name].shape
        if shape != expected[name]:
            facts = {"tensor": name, "found": _size(shape), "expected": _size(expected[name])}
            raise ModelError("export.tensor_shape", where=str(found[name].file), **facts)
        result.append(Target(places.get_name(name, (".weight",)), name, shape))
    return result


def pieces(target: Target) -> Iterator[Piece]:
    """A target from its first row to its last, in pieces that cut no rotated block of rows."""
    rows, columns = target.shape[0], math.prod(target.shape[1:])
    step = max(BLOCK, PIECE // columns // BLOCK * BLOCK)
    for start in range(0, rows, step):
        yield Piece(target, start, min(start + step, rows))


def rope_factors(config: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """By how much the rotary frequencies are divided, in long and in short contexts; none in a model without longrope."""
    rope, names = config["rope_parameters"], gguf.TENSOR_NAMES
    if rope.get("rope_type") != "longrope":
        return []
    parts = {gguf.MODEL_TENSOR.ROPE_FACTORS_LONG: "long_factor", gguf.MODEL_TENSOR.ROPE_FACTORS_SHORT: "short_factor"}
    return [(names[place], torch.tensor(rope[name], dtype=torch.float32)) for place, name in parts.items()]


def rope_dimensions(config: Mapping[str, Any]) -> int:
    """Numbers of a head that are rotated by position."""
    share = config["rope_parameters"].get("partial_rotary_factor", 1.0)
    return int(share * config["hidden_size"]) // config["num_attention_heads"]


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the config asks for."""
    hidden, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, pairs = config["num_attention_heads"], config["num_key_value_heads"]
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.qkv_proj": ((heads + 2 * pairs) * (hidden // heads), hidden),
        "self_attn.o_proj": (hidden, hidden),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_up_proj": (2 * inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    shapes = {"model.embed_tokens.weight": (words, hidden), "model.norm.weight": (hidden,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (words, hidden)
    for number in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()}
    return shapes


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
