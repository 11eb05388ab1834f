"""Cut a dataset into training, validation and test rows, the same way every time."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from so8t_engine.answer.format import CLASSES
from so8t_engine.data.samples import Sample
from so8t_engine.data.sources import Dataset
from so8t_engine.errors import BadInput
from so8t_engine.events import DatasetRead
from so8t_engine.settings import Settings


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of rows. Rows that ask the same thing stand in the same set."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]

    def record(self) -> dict[str, list[str]]:
        """The content hashes of each set, as the run keeps them."""
        return {name: sorted({s.content_hash for s in getattr(self, name)}) for name in ("train", "validation", "test")}


def split(samples: Sequence[Sample], *, seed: int, validation_share: float, test_share: float) -> Split:
    """Cut by content hash and seed, class by class.

    Within a class, distinct requests are ranked by SHA-256 of seed and content hash; the first ranks are for test,
    the next for validation. The order of the rows in the file does not matter. A class with at least three distinct
    requests has one in each set whose share is above 0.
    """
    groups: dict[str, list[Sample]] = {}
    for item in samples:
        groups.setdefault(item.content_hash, []).append(item)
    place = {}
    for label in CLASSES:
        # A request that stands under two labels is ranked once, under the first in class order.
        members = [h for h, rows in groups.items() if min(CLASSES.index(r.label) for r in rows) == CLASSES.index(label)]
        members.sort(key=lambda h: hashlib.sha256(f"{seed}:{h}".encode()).digest())
        n_test = _count(len(members), test_share)
        n_validation = _count(len(members), validation_share)
        for rank, content in enumerate(members):
            place[content] = 2 if rank < n_test else 1 if rank < n_test + n_validation else 0
    sets: tuple[list[Sample], ...] = ([], [], [])
    for item in samples:
        sets[place[item.content_hash]].append(item)
    return Split(*(tuple(rows) for rows in sets))


def cut(samples: Sequence[Sample], settings: Settings) -> Split:
    """The split that `settings` ask for."""
    shares = settings.data
    return split(
        samples, seed=settings.seed, validation_share=shares.validation_share, test_share=shares.test_share
    )  # fmt: skip


def counts(dataset: Dataset, parts: Split) -> DatasetRead:
    """The event that tells what was read."""
    samples = dataset.samples
    labels = Counter(s.label for s in samples)
    return DatasetRead(
        file=str(dataset.file),
        rows=len(samples),
        classes={label: labels[label] for label in CLASSES},
        languages=dict(Counter(s.language for s in samples)),
        without_output=sum(not s.output for s in samples),
        duplicates=len(samples) - len({s.content_hash for s in samples}),
        skipped=len(dataset.skipped),
        first_skipped=str(dataset.skipped[0]) if dataset.skipped else "",
        splits={"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
    )


def check_trainable(dataset: Dataset, parts: Split) -> None:
    """Raise BadInput when a row has no answer to learn, or when no row is left to train on."""
    silent = [sample for sample in dataset.samples if not sample.output]
    if silent:
        where = f"{dataset.file}:{silent[0].line}"
        raise BadInput("data.no_output", where=where, count=len(silent), rows=len(dataset.samples))
    if not parts.train:
        raise BadInput("data.nothing_to_train", where=str(dataset.file), rows=len(dataset.samples))


def _count(total: int, share: float) -> int:
    if share == 0 or total < 3:
        return 0
    return max(1, round(total * share))
