"""Does a confidence of 0.8 mean right 8 times in 10? Pure numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The decisions whose confidence lies in (low, high]; the first bin holds 0.0 as well.

    confidence: their mean confidence. accuracy: share of right ones. Both None where count is 0.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """What `calibration` measured.

    rows: decisions with a confidence. ece: expected calibration error, 0.0 (best) to 1.0. brier: 0.0 (best) to 1.0;
    always saying 0.5 gives 0.25. bins: the reliability curve, BINS of them in order, empty ones too.
    """

    rows: int
    ece: float
    brier: float
    bins: tuple[Bin, ...]

    def to_json(self) -> dict:
        """Plain dicts, lists, numbers and None: every field by its name."""
        return asdict(self) | {"bins": [asdict(one) for one in self.bins]}


def calibration(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """How well each decision's confidence, 0.0 to 1.0, tells whether it was `right`.

    ECE: sum over 10 equal-width bins of count / rows * |accuracy - mean confidence| (Naeini et al., AAAI 2015; Guo et
    al., "On Calibration of Modern Neural Networks", ICML 2017, whose bins are closed on the right too). It errs
    upwards on few rows: a perfectly calibrated model shows 0.05 to 0.07 on 200 rows and 0.03 to 0.05 on 500.
    Brier score: mean of (confidence - right)^2 (Brier, Monthly Weather Review 78, 1950, its two-class half), of the
    decision taken: the other classes' probabilities are no part of it.

    A row without a confidence (an unparseable answer) has no place here: leave it out of both and say how many.
    Raises ValueError for sequences of unequal length or without rows, or a confidence that is no number from 0 to 1.
    """
    if len(confidences) != len(right) or not len(confidences):
        raise ValueError(f"{len(confidences)} confidences for {len(right)} decisions")
    said, was = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    within = (said >= 0) & (said <= 1)  # False for NaN too
    if not within.all():
        raise ValueError(f"the confidence {said[~within][0]} lies outside 0 to 1")
    edges = np.arange(BINS + 1) / BINS  # i / 10 is the same float as a written 0.7; 7 * 0.1 would not be
    where = np.searchsorted(edges[1:], said)
    counts = np.bincount(where, minlength=BINS)
    confidence = np.bincount(where, said, BINS) / np.maximum(counts, 1)
    accuracy = np.bincount(where, was, BINS) / np.maximum(counts, 1)
    bins = tuple(
        Bin(low, high, count, mean if count else None, share if count else None)
        for low, high, count, mean, share in zip(
            edges[:-1].tolist(),
            edges[1:].tolist(),
            counts.tolist(),
            confidence.tolist(),
            accuracy.tolist(),
            strict=True,
        )
    )
    ece = float((counts * np.abs(accuracy - confidence)).sum() / len(said))
    return Calibration(len(said), ece, float(np.mean((said - was) ** 2)), bins)
