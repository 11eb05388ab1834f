"""Keys and values of the rows that are being generated: rows join and leave, and neither they nor a step copy the others.

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
            self._storage = (key_states[:, :, :0], value_states[:, :, :0])
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if self._storage[0].shape[-2] < stop:
            self._storage = tuple(_roomy(side, start, stop) for side in self._storage)
        for side, new in zip(self._storage, (key_states, value_states), strict=True):
            side[: len(new), :, start:stop] = new
        self._show(len(key_states), stop)
        return self.keys, self.values

    def drop(self, moves: Sequence[tuple[int, int]], rows: int, cut: int) -> None:
        """See the function `drop`."""
        stop = self.get_seq_length()
        for side in self._storage:
            for source, target in moves:
                side[target, :, cut:stop] = side[source, :, cut:stop]
        self._storage = tuple(side[:, :, cut:] for side in self._storage)
        self._show(rows, stop - cut)

    def admit(self, keys: Tensor, values: Tensor) -> bool:
        """See the function `admitted`; all layers have the same room."""
        start, length = self.keys.shape[0], self.get_seq_length()
        stop, unused = start + keys.shape[0], length - keys.shape[-2]
        if stop > len(self._storage[0]) or unused < 0:
            return False
        for side, new in zip(self._storage, (keys, values), strict=True):
            side[start:stop, :, :unused] = 0  # what is hidden counts 0 times, and 0 times what is no number is none
            side[start:stop, :, unused:length] = new
        self._show(stop, length)
        return True

    def _show(self, rows: int, length: int) -> None:
        self.keys, self.values = (side[:rows, :, :length] for side in self._storage)


class PassingLayer(DynamicLayer):
    """Keeps nothing: for a single pass, which needs the keys and values of one layer at a time."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Give back what came in."""
        return key_states, value_states


def empty() -> Cache:
    """A cache that holds nothing yet."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def passing() -> Cache:
    """A cache that holds nothing, ever."""
    return Cache(layer_class_to_replicate=PassingLayer)


def drop(cache: Cache, moves: Sequence[tuple[int, int]], rows: int, cut: int) -> None:
    """Copy rows as `moves` (from, to) say, then keep the first `rows` rows without their first `cut` places."""
    for layer in cache.layers:
        layer.drop(moves, rows, cut)


def admitted(cache: Cache, new: Cache) -> bool:
    """Add the rows of `new`, right-aligned, in memory that rows which left made free; False where that is too little."""
    return all(layer.admit(added.keys, added.values) for layer, added in zip(cache.layers, new.layers, strict=True))


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


def _roomy(held: Tensor, start: int, stop: int) -> Tensor:
    """Storage for as many rows, `stop` places and some more, with the first `start` places of `held` in it."""
    storage = held.new_empty(*held.shape[:2], (stop // GROWTH + 1) * GROWTH, held.shape[3])
    storage[:, :, :start] = held[:, :, :start]
    return storage
