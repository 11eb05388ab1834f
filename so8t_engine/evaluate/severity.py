"""How bad an error is: which comes first in a list, and how red it looks."""

REFUSING = ("DENY", "REFUSE")


def harm(expected: str, given: str) -> int:
    """0: what should be turned down was allowed; 1: what may be answered was turned down; 2: the rest."""
    if given == "ALLOW" and expected in REFUSING:
        return 0
    return 1 if expected == "ALLOW" and given in REFUSING else 2


def redness(expected: str, given: str, share: float) -> float:
    """How much of the colour of danger a cell of wrong decisions takes, 0.0 to 0.6.

    share: of the rows that expect this class, those in the cell.
    """
    weight = (1.0, 0.5, 0.3)[harm(expected, given)]
    if given == "ALLOW" and expected == "ESCALATION":
        weight = 0.6
    return weight * (0.2 + 0.4 * share)
