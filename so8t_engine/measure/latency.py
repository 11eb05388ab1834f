"""How long answers took: pure numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """`count` durations in seconds: their mean, the one that half of them stay under, and 95 in 100."""

    count: int
    mean: float
    p50: float
    p95: float

    def to_json(self) -> dict:
        """Plain numbers by their names."""
        return asdict(self)


def latency(seconds: Sequence[float]) -> Latency:
    """Mean, p50 and p95 of durations in seconds; the quantiles are interpolated linearly, as numpy.quantile does.

    Raises ValueError without durations, or for one that is negative or no finite number.
    """
    times = np.asarray(seconds, dtype=np.float64)
    if not times.size or not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError(f"{times.size} durations, of which all must be finite and none negative")
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return Latency(times.size, float(times.mean()), float(p50), float(p95))
