"""A model's folder as it lies on the disk, checked without loading anything of it; one that a package carries is made."""

import json
from collections.abc import Sequence
from pathlib import Path

from so8t_engine.errors import ModelError
from so8t_engine.model.packaged import unpack
from so8t_engine.model.shards import read_header

ARCHITECTURES = ("Phi3ForCausalLM", "LlamaForCausalLM")
"""What the engine trains."""

EXPORTED = ("Phi3ForCausalLM",)
"""What it writes as GGUF."""


def check_folder(folder: Path) -> None:
    """Raise ModelError unless `folder` holds a whole, known model: config, tokenizer, every shard to its last byte.

    A folder that is not there, but whose model an installed package carries, is made first (`packaged`).
    """
    if not folder.is_dir():
        unpack(folder)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError("model.file_missing", where=str(folder), file=name)
    _check_architecture(folder, ARCHITECTURES, "model.wrong_architecture")
    for shard in weight_files(folder):
        _check_shard(shard)


def check_exportable(folder: Path) -> None:
    """Raise ModelError unless `folder` holds a whole model that can be written as GGUF."""
    check_folder(folder)
    _check_architecture(folder, EXPORTED, "export.wrong_architecture")


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


def _check_architecture(folder: Path, known: Sequence[str], code: str) -> None:
    """Raise ModelError `code` when config.json names none of the `known` architectures."""
    try:
        architectures = json.loads((folder / "config.json").read_text(encoding="utf-8-sig")).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise ModelError("model.bad_config", where=str(folder / "config.json"), reason=error) from None
    if not any(name in known for name in architectures):
        raise ModelError(code, where=str(folder), found=", ".join(architectures) or "none", known=", ".join(known))


def _check_shard(shard: Path) -> None:
    """Compare a safetensors file's size with what its header promises."""
    if not shard.is_file():
        raise ModelError("model.file_missing", where=str(shard.parent), file=shard.name)
    ends = [stored.stop for stored in read_header(shard).values()]
    wanted, found = max(ends, default=shard.stat().st_size), shard.stat().st_size
    if found != wanted:
        raise ModelError("model.bad_shard", where=str(shard), reason=f"{found} bytes instead of {wanted}")
