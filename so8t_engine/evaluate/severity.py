"""How red an error looks."""

from so8t_engine.evaluations import harm


def redness(expected: str, given: str, share: float) -> float:
    """How much of the colour of danger a cell of wrong decisions takes, 0.0 to 0.6.

    share: of the rows that expect this class, those in the cell.
    """
    weight = (1.0, 0.5, 0.3)[harm(expected, given)]
    if given == "ALLOW" and expected == "ESCALATION":
        weight = 0.6
    return weight * (0.2 + 0.4 * share)
