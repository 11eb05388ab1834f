"""Numbers of a four-class decision, from expected and given labels."""

from collections.abc import Sequence

from so8t_engine.answer.format import CLASSES


def macro_f1(expected: Sequence[str], given: Sequence[str]) -> float:
    """Mean of the F1 scores of the classes that occur among `expected` or `given`.

    F1 of a class = 2 TP / (2 TP + FP + FN). A given value that is none of CLASSES (an unparseable answer) misses the
    expected class and counts for no other. Equals scikit-learn's f1_score(average="macro") over the same classes.
    Raises ValueError for sequences of unequal length or without rows.
    """
    if len(expected) != len(given) or not expected:
        raise ValueError(f"{len(expected)} expected and {len(given)} given labels")
    scores = []
    for label in CLASSES:
        hits = sum(e == g == label for e, g in zip(expected, given, strict=True))
        total = sum(e == label for e in expected) + sum(g == label for g in given)
        if total:
            scores.append(2 * hits / total)
    return sum(scores) / len(scores)
