"""How much memory and disk a training will take: estimates from the model's own files, made before it is loaded.

They are estimates. Shapes of weights are read exactly, so the adapter, its gradient and its optimizer are close to
the truth; what a pass keeps for the way back depends on kernels and is taken rather too high than too low.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from so8t_engine.model.layers import chosen, matrices
from so8t_engine.model.load import memory_needed
from so8t_engine.model.so8t_rotation import ANGLES, BLOCK
from so8t_engine.settings import Settings

WIDTH = 4
"""Bytes of a float32: adapter, gradient, logits and, to be safe, whatever a pass keeps."""

OPTIMIZER_BYTES = {"adamw": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2}
"""Bytes a trained parameter: two moments, in float32 or in 8 bits."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of each part of a training.

    base: the frozen model and room to work in. adapter: weights and gradient. optimizer: its moments.
    activations: what one batch of the longest allowed rows keeps for the way back, logits included.
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
        optimizer=OPTIMIZER_BYTES[settings.train.optimizer] * trained,
        activations=_activations(folder, settings),
    )


def checkpoint_bytes(folder: Path, settings: Settings) -> tuple[int, int]:
    """Bytes of one checkpoint (adapter and optimizer) and of one adapter alone."""
    trained = adapter_parameters(folder, settings)
    adapter = WIDTH * trained
    return adapter + OPTIMIZER_BYTES[settings.train.optimizer] * trained, adapter


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
    """A layer keeps about 10 hidden + 5 intermediate numbers a token; with checkpointing its input, and one layer whole."""
    shape = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    tokens = settings.train.batch_size * settings.data.max_length
    layer = 10 * hidden + 5 * shape["intermediate_size"]
    kept = layers * hidden + layer if settings.train.gradient_checkpointing else layers * layer
    logits = 3 * shape["vocab_size"]  # as the model gives them, in float32, and their gradient
    return tokens * (kept + logits) * WIDTH
