"""Which linear layers of a model get an adapter, and which of those a rotation: the names of a config, or `auto`."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from so8t_engine.model.folder import weight_files
from so8t_engine.model.shards import read_header
from so8t_engine.settings import AUTO, AUTO_ROTATE

_BLOCK = re.compile(r"(^|\.)\d+\.")
"""Decoder blocks are numbered; the embeddings and the head, which stand beside them, are not."""


def chosen(
    targets: Sequence[str], rotate: Sequence[str], linear: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`targets` and `rotate` of a config as last parts of names.

    Args:
        targets: such names, or AUTO alone for every linear layer of the decoder blocks.
        rotate: such names, or AUTO alone for the layer that brings a block's attention back, see AUTO_ROTATE.
        linear: whole names of the linear layers of the model, "model.layers.0.mlp.down_proj".
    """
    if tuple(targets) == (AUTO,):
        targets = dict.fromkeys(name.rpartition(".")[2] for name in linear if _BLOCK.search(name))
    return tuple(targets), AUTO_ROTATE if tuple(rotate) == (AUTO,) else tuple(rotate)


def matrices(folder: Path) -> dict[str, tuple[int, int]]:
    """Name and shape (out, in) of each weight matrix of the model in `folder`, from the headers of its files alone.

    Linear layers and embeddings look the same there. Raises ModelError for an unusable folder.
    """
    stored = {name: entry.shape for file in weight_files(folder) for name, entry in read_header(file).items()}
    return {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in stored.items()
        if name.endswith(".weight") and len(shape) == 2
    }
