"""Which rows are measured, and which are left out because a model has seen them."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from so8t_engine.data import sources
from so8t_engine.data.samples import Sample
from so8t_engine.data.split import cut
from so8t_engine.errors import BadInput
from so8t_engine.runs import Run
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

SETTINGS = "settings"
"""The rows are those that a training with these settings keeps for testing."""

SEEN = ("train", "validation")
"""The sets of a run that shaped its model."""


@dataclass(frozen=True)
class Rows:
    """The rows of an evaluation or an A/B test.

    file, sha256: where they come from. split: "test" for the rows that were kept for testing, "file" for all of a file.
    read: rows in the file. excluded: how many were left out, by reason: "training" and "validation" (a run has seen
    them), "duplicates" (the same request with the same class stands there twice), "limit".
    checked_against: ids of the runs whose rows were left out, or SETTINGS alone; empty when nothing is known of what
    the models were trained on.
    """

    file: Path
    sha256: str
    split: Literal["test", "file"]
    read: int
    samples: tuple[Sample, ...]
    excluded: dict[str, int]
    checked_against: tuple[str, ...]

    def about(self, index: int) -> dict[str, str]:
        """What figures need of a row."""
        row = self.samples[index]
        return {"expected": row.label, "language": row.language, "domain": row.domain}

    def facts(self) -> dict:
        """What the results say of the rows."""
        labels = Counter(sample.label for sample in self.samples)
        return {
            "file": str(self.file), "sha256": self.sha256, "split": self.split, "read": self.read,
            "rows": len(self.samples), "excluded": self.excluded, "checked_against": list(self.checked_against),
            "classes": dict(labels), "languages": dict(Counter(sample.language for sample in self.samples)),
            "domains": dict(Counter(sample.domain for sample in self.samples)),
        }  # fmt: skip


def choose(settings: Settings, voice: Voice, test_data: str, *others: Voice) -> Rows:
    """The rows of `test_data`, or, when that is "", those that the voice's run kept for testing.

    A voice that belongs to no run is tried on the test rows of `settings`. Rows that stand in the training or
    validation set of its run, or of the run of one of `others`, are left out by content hash, whichever file they come
    from.

    Raises BadInput for a file that can't be used, for a dataset that has lost test rows since the training, and when
    no row is left.
    """
    run = Run(voice.run) if voice.run else None
    own = run.settings() if run else settings
    seen = {Run(one.run).id: _seen(Run(one.run)) for one in (voice, *others) if one.run}
    file = Path(test_data).resolve() if test_data else own.resolve(own.dataset)
    dataset = sources.read(file, on_bad_row=settings.data.on_bad_row)
    samples: Sequence[Sample] = dataset.samples
    if not test_data:
        samples = _tested(samples, seen[run.id]["test"], file) if run else cut(samples, own).test
        if not samples:
            raise BadInput("evaluate.no_test_rows", where=str(file))
    kept, excluded = _unseen(samples, {name: set().union(*(one[name] for one in seen.values())) for name in SEEN})
    if not kept:
        raise BadInput("evaluate.all_seen", where=str(file), rows=len(samples), run=", ".join(seen))
    if settings.evaluate.limit and len(kept) > settings.evaluate.limit:
        excluded["limit"] = len(kept) - settings.evaluate.limit
        kept = drawn(kept, settings.evaluate.limit, settings.seed)
    against = tuple(seen) or (() if test_data else (SETTINGS,))
    return Rows(
        file, sources.fingerprint(file), "file" if test_data else "test", len(dataset.samples), tuple(kept), excluded,
        against,
    )  # fmt: skip


def drawn(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """`count` of the rows, ranked by SHA-256 of seed and content hash, in their own order."""
    ranked = sorted(samples, key=lambda row: hashlib.sha256(f"{seed}:{row.content_hash}".encode()).digest())
    taken = {id(row) for row in ranked[:count]}
    return [row for row in samples if id(row) in taken]


def _seen(run: Run) -> dict[str, set[str]]:
    """The content hashes of each of the run's three sets."""
    try:
        record = json.loads(run.split_file.read_text(encoding="utf-8"))
        return {name: set(record[name]) for name in (*SEEN, "test")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput("evaluate.no_split", where=str(run.split_file), reason=error) from None


def _tested(samples: Sequence[Sample], tested: set[str], file: Path) -> list[Sample]:
    found = [row for row in samples if row.content_hash in tested]
    gone = len(tested - {row.content_hash for row in found})
    if gone:
        raise BadInput("evaluate.rows_gone", where=str(file), gone=gone, rows=len(tested))
    return found


def _unseen(samples: Sequence[Sample], seen: dict[str, set[str]]) -> tuple[list[Sample], dict[str, int]]:
    excluded = {"training": 0, "validation": 0, "duplicates": 0, "limit": 0}
    kept: dict[tuple[str, str], Sample] = {}
    for row in samples:
        content = row.content_hash
        if content in seen["train"]:
            excluded["training"] += 1
        elif content in seen["validation"]:
            excluded["validation"] += 1
        elif (content, row.label) in kept:
            excluded["duplicates"] += 1
        else:
            kept[content, row.label] = row
    return list(kept.values()), excluded
