"""How much memory and disk a training will take: estimates from the model's own files, made before it is loaded.

They are estimates. Shapes of weights are read exactly, so the adapter, its gradient and its optimizer are close to
the truth; what a pass keeps for the way back is reckoned as the training's own plan does.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from so8t_engine.model.layers import chosen, matrices
from so8t_engine.model.load import compute_dtype, memory_needed, pick_device
from so8t_engine.model.so8t_rotation import ANGLES, BLOCK
from so8t_engine.settings import Settings
from so8t_engine.train.budget import OPTIMIZER_BYTES, Shape, activations

WIDTH = 4
"""Bytes of a float32: adapter and gradient."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of each part of a training.

    base: the frozen model and room to work in. adapter: weights and gradient. optimizer: its moments.
    activations: what the smallest pack there can be, one row of the longest allowed length, keeps for the way back.
    """

    base: int
    adapter: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.base + self.adapter + self.optimizer + self.activations


def memory(folder: Path, settings: Settings) -> Estimate:
    """Bytes that training with `settings` takes. Raises ModelError for an unusable folder."""
    trained = adapter_parameters(folder, settings)
    return Estimate(
        base=memory_needed(folder, settings.model),
        adapter=2 * WIDTH * trained,
        optimizer=int(OPTIMIZER_BYTES[settings.train.optimizer] * trained),
        activations=_activations(folder, settings),
    )


def checkpoint_bytes(folder: Path, settings: Settings) -> tuple[int, int]:
    """Bytes of one checkpoint (adapter and optimizer) and of one adapter alone."""
    trained = adapter_parameters(folder, settings)
    adapter = WIDTH * trained
    return adapter + int(OPTIMIZER_BYTES[settings.train.optimizer] * trained), adapter


def adapter_parameters(folder: Path, settings: Settings) -> int:
    """Parameters that are trained: r (in + out) for each target, and 28 angles for each block of a rotated one."""
    found, count = matrices(folder), 0
    targets, rotate = chosen(settings.so8t.targets, settings.so8t.rotate, found)
    for name, (outputs, inputs) in found.items():
        last = name.rpartition(".")[2]
        if last in targets:
            count += settings.so8t.r * (inputs + outputs)
        if last in rotate:
            count += outputs // BLOCK * ANGLES
    return count


def _activations(folder: Path, settings: Settings) -> int:
    """Of the longest row that is allowed, with all layers computed twice where that may be: no plan takes less."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
    heads = config["num_attention_heads"]
    shape = Shape(
        layers=config["num_hidden_layers"], hidden=config["hidden_size"], wide=config["intermediate_size"], heads=heads,
        key_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads, rank=settings.so8t.r,
        width=compute_dtype(settings.model.dtype, pick_device()).itemsize,
        rotated=config["hidden_size"] if settings.so8t.rotate else 0, drops=settings.so8t.dropout > 0,
    )  # fmt: skip
    twice = shape.layers if settings.train.gradient_checkpointing else 0
    return activations(shape, settings.data.max_length, twice)
