"""Which rows a step sees, and those rows as padded tensors.

Everything follows from (seed, step), so a resumed run needs nothing but the number of its step to go on with the same
rows in the same order.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from so8t_engine.data.template import Example

IGNORED = -100
"""Target of a token that is not learned (the convention of torch's cross entropy)."""


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right to the longest.

    ids, mask, targets: (rows, length) int64; mask is 1 on real tokens; targets[:, t] is the token to predict from
    ids[:, :t+1], or IGNORED.
    label: (rows, length) bool, True where the target is part of the class in 分類結果.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor
    label: torch.Tensor

    @property
    def tokens(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.mask.sum())

    def weights(self, label_weight: float) -> torch.Tensor:
        """(rows, length) float32: 0 on tokens that are not learned, `label_weight` on the class, 1 elsewhere."""
        learned = (self.targets != IGNORED).float()
        return torch.where(self.label, learned * label_weight, learned)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(*(getattr(self, name).to(device) for name in ("ids", "mask", "targets", "label")))


@dataclass(frozen=True)
class Schedule:
    """The order of `rows` examples over the epochs.

    An epoch is a random order of all rows (never sorted by length: that hurts small models). Each step takes the next
    batch_size x accumulation rows; the last step of an epoch takes what is left.
    """

    rows: int
    batch_size: int
    accumulation: int
    epochs: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / (self.batch_size * self.accumulation))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run, at least one."""
        return max(1, math.ceil(self.epochs * self.steps_per_epoch - 1e-9))

    def batches(self, step: int) -> Iterator[list[int]]:
        """The row numbers of each batch of `step` (from 0)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        size = self.batch_size * self.accumulation
        rows = self._order(epoch)[place * size : (place + 1) * size]
        for start in range(0, len(rows), self.batch_size):
            yield rows[start : start + self.batch_size]

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(self.rows, generator=generator).tolist()


def collate(examples: Sequence[Example], pad_id: int) -> Batch:
    """Pad `examples` to one Batch."""
    length = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), length), pad_id)
    mask = torch.zeros((len(examples), length), dtype=torch.long)
    targets = torch.full((len(examples), length), IGNORED)
    label = torch.zeros((len(examples), length), dtype=torch.bool)
    for row, example in enumerate(examples):
        size = len(example.ids)
        ids[row, :size] = torch.tensor(example.ids)
        mask[row, :size] = 1
        first = example.answer_start - 1  # the last prompt token predicts the answer's first
        targets[row, first : size - 1] = ids[row, first + 1 : size]
        if example.label:
            label[row, example.label[0] - 1 : example.label[1] - 1] = True
    return Batch(ids, mask, targets, label)
