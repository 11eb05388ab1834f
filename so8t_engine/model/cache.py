"""Keys and values of the rows that are being generated: rows join and leave, and a step copies nothing.

Rows of unequal length stand right-aligned: a shorter one has unused places before it, which the attention mask hides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 256
"""Places (tokens) that a layer's storage grows by."""

Strip = list[tuple[Tensor, Tensor]]
"""One row's keys and values, each (1, heads, length, size), layer by layer."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, each (rows, heads, length, size), as views of a storage with room behind them."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values (rows, heads, new, size) of the newest places; give back all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._storage = (self.keys, self.values)
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if start == 0 or self._storage[0].shape[-2] < stop:
            self._storage = (_roomy(self.keys, key_states, start, stop), _roomy(self.values, value_states, start, stop))
        keys, values = self._storage
        keys[:, :, start:stop], values[:, :, start:stop] = key_states, value_states
        self.keys, self.values = keys[:, :, :stop], values[:, :, :stop]
        return self.keys, self.values


def empty() -> Cache:
    """A cache that holds nothing yet."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def strip(cache: Cache, row: int, start: int = 0) -> Strip:
    """One row's places from `start` on: views, so nothing is copied."""
    return [(layer.keys[row : row + 1, :, start:], layer.values[row : row + 1, :, start:]) for layer in cache.layers]


def head(row: Strip, length: int) -> Strip:
    """The first `length` places of a strip, in memory of their own."""
    return [(keys[:, :, :length].clone(), values[:, :, :length].clone()) for keys, values in row]


def joined(rows: Sequence[Strip]) -> Cache:
    """Strips as one cache of many rows, right-aligned."""
    cache = empty()
    length = max(row[0][0].shape[-2] for row in rows)
    for index, parts in enumerate(zip(*rows, strict=True)):
        keys, values = (_aligned(list(side), length) for side in zip(*parts, strict=True))
        cache.update(keys, values, index)
    return cache


def _aligned(rows: list[Tensor], length: int) -> Tensor:
    if all(row.shape[-2] == length for row in rows):
        return torch.cat(rows)
    out = rows[0].new_zeros(len(rows), rows[0].shape[1], length, rows[0].shape[3])
    for index, row in enumerate(rows):
        out[index, :, length - row.shape[-2] :] = row[0]
    return out


def _roomy(held: Tensor, new: Tensor, start: int, stop: int) -> Tensor:
    """Storage for `stop` places and some more, with the first `start` of `held` in it."""
    storage = new.new_empty(*new.shape[:2], (stop // GROWTH + 1) * GROWTH, new.shape[3])
    if start:
        storage[:, :, :start] = held
    return storage
