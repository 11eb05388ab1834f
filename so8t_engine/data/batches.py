"""Which rows a step sees, and those rows one after the other in packs.

Everything follows from (seed, step), so a resumed run needs nothing but the number of its step to go on with the same
rows in the same order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch

from so8t_engine.data.template import Example


@dataclass(frozen=True)
class Pack:
    """Rows one after the other, the longest first, without padding.

    ids, positions: (tokens,) int64; positions begin at 0 in each row.
    starts: (rows + 1,) int32; row i is [starts[i], starts[i + 1]).
    lengths: tokens of each row.
    places: (learned,) int64, where in the pack the next token is learned.
    targets: (learned,) int64, those next tokens.
    label: (learned,) bool, True where the target is part of the class in 分類結果.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    lengths: tuple[int, ...]
    places: torch.Tensor
    targets: torch.Tensor
    label: torch.Tensor

    @property
    def tokens(self) -> int:
        """All of them are real."""
        return sum(self.lengths)

    def weight(self, label_weight: float) -> float:
        """Sum of the weights of the learned tokens: `label_weight` for those of a class, 1 for the others."""
        return len(self.targets) + (label_weight - 1) * int(self.label.sum())

    def to(self, device: torch.device) -> "Pack":
        """The same pack on `device`; a card copies it while it computes."""
        if device.type == "cpu":
            return self
        moved = {
            name: getattr(self, name).pin_memory().to(device, non_blocking=True)
            for name in ("ids", "positions", "starts", "places", "targets", "label")
        }
        return Pack(**moved, lengths=self.lengths)


@dataclass(frozen=True)
class Schedule:
    """The order of `rows` examples over the epochs.

    An epoch is a random order of all rows (never sorted by length: that hurts small models). Each step takes the next
    `batch` rows; the last step of an epoch takes what is left.
    """

    rows: int
    batch: int
    epochs: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / self.batch)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run, at least one."""
        return max(1, math.ceil(self.epochs * self.steps_per_epoch - 1e-9))

    def step_rows(self, step: int) -> list[int]:
        """The row numbers of `step` (from 0)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return _order(self.rows, self.seed, epoch)[place * self.batch : (place + 1) * self.batch]


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator).tolist()


def share_out(lengths: Sequence[int], most: int, multiple: int = 1) -> list[list[int]]:
    """Share rows out among as few packs as it takes, of about the same size each.

    The longest rows first, each to the pack that has least (the rule "longest processing time",
    https://doi.org/10.1137/0117039).

    Args:
        lengths: tokens of each row.
        most: tokens a pack; a row that is longer gets a pack alone.
        multiple: the number of packs is a multiple of this, with empty ones where there are fewer rows.

    Returns:
        The indices in `lengths` of each pack, by falling length.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    room = max([most, *lengths])
    count = max(1, math.ceil(sum(lengths) / room))
    while True:
        packs = _shared_among(math.ceil(count / multiple) * multiple, order, lengths)
        if all(sum(lengths[row] for row in pack) <= room for pack in packs):
            return packs
        count = len(packs) + 1


def _shared_among(count: int, order: list[int], lengths: Sequence[int]) -> list[list[int]]:
    packs: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for row in order:
        least = filled.index(min(filled))
        packs[least].append(row)
        filled[least] += lengths[row]
    return packs


def pack(examples: Sequence[Example]) -> Pack:
    """Put `examples`, at least one, one after the other, the longest first."""
    examples = sorted(examples, key=lambda example: -len(example.ids))
    lengths = tuple(len(example.ids) for example in examples)
    starts = [0, *accumulate(lengths)]
    ids = torch.tensor([token for example in examples for token in example.ids])
    places, label = [], torch.zeros(len(ids), dtype=torch.bool)
    for start, example in zip(starts, examples, strict=False):
        # The last prompt token predicts the answer's first; the last token of the row predicts nothing.
        places.append(torch.arange(start + example.answer_start - 1, start + len(example.ids) - 1))
        if example.label:
            label[start + example.label[0] - 1 : start + example.label[1] - 1] = True
    learned = torch.cat(places)
    return Pack(
        ids=ids, positions=torch.cat([torch.arange(length) for length in lengths]),
        starts=torch.tensor(starts, dtype=torch.int32), lengths=lengths, places=learned, targets=ids[learned + 1],
        label=label[learned],
    )  # fmt: skip
