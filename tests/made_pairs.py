"""Pairs of models that answer the same rows, with known confusions and known dependence: what simulations draw from."""

import numpy as np

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.metrics import GIVEN

BALANCED = [0.25, 0.25, 0.25, 0.25]
UNBALANCED = [0.55, 0.2, 0.15, 0.1]

GOOD = [[0.95, 0.03, 0.01, 0.005, 0.005], [0.04, 0.9, 0.04, 0.01, 0.01], [0.01, 0.04, 0.91, 0.03, 0.01], [0.005, 0.005, 0.03, 0.95, 0.01]]  # fmt: skip
FAIR = [[0.93, 0.04, 0.015, 0.005, 0.01], [0.1, 0.8, 0.06, 0.02, 0.02], [0.04, 0.08, 0.8, 0.06, 0.02], [0.03, 0.02, 0.1, 0.82, 0.03]]  # fmt: skip
LOOSE = [[0.97, 0.015, 0.005, 0.005, 0.005], [0.2, 0.72, 0.05, 0.02, 0.01], [0.12, 0.07, 0.75, 0.05, 0.01], [0.06, 0.03, 0.1, 0.8, 0.01]]  # fmt: skip
TIGHT = [[0.72, 0.12, 0.1, 0.05, 0.01], [0.02, 0.85, 0.09, 0.03, 0.01], [0.01, 0.03, 0.9, 0.05, 0.01], [0.005, 0.005, 0.08, 0.9, 0.01]]  # fmt: skip
"""What a model gives (GIVEN) to a row of each class. LOOSE allows too much, TIGHT too little."""


def right_in(accuracy):
    """A model that is right so often in every class, and errs alike in all directions; 2 in 100 errors name no class."""
    wrong = 1 - accuracy
    cells = np.full((4, 5), wrong * 0.98 / 3)
    cells[:, 4] = wrong * 0.02
    cells[np.arange(4), np.arange(4)] = accuracy
    return cells


def cells(shares, first, second, alike):
    """Probabilities of a paired table (4, 5, 5): to this share of the rows both give the same as far as they can, to
    the rest they answer independently."""
    found = np.zeros((4, 5, 5))
    for share, here, one, other in zip(shares, found, np.array(first), np.array(second), strict=True):
        common = np.minimum(one, other)
        left = 1 - common.sum()
        same = np.diag(common) + (np.outer(one - common, other - common) / left if left > 1e-12 else 0)
        here += share * (alike * same + (1 - alike) * np.outer(one, other))
    return found


def tables(probabilities, rows, count, seed=0):
    """So many paired tables of so many rows: (count, 4, 5, 5)."""
    draw = np.random.default_rng(seed)
    return draw.multinomial(rows, probabilities.ravel(), count).reshape(count, *probabilities.shape)


def labels_of(table):
    """(expected, first, second) labels that make this paired table."""
    expected, first, second = np.repeat(np.indices(table.shape).reshape(3, -1), table.ravel(), axis=1)
    return [CLASSES[i] for i in expected], [GIVEN[i] for i in first], [GIVEN[i] for i in second]
