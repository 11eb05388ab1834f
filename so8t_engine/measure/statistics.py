"""How sure a count of votes makes: pure numbers."""


def sign_test(wins: int, losses: int) -> tuple[float, float, float, float]:
    """(p, share, low, high) of `wins` among the decided comparisons; ties are left out before.

    p: exact two-sided probability of a result at least this uneven when neither side is better.
    share: wins / (wins + losses). low, high: its exact 95 % interval (Clopper-Pearson), 0.0 to 1.0.
    Equals scipy.stats.binomtest(wins, wins + losses). Raises ValueError where nothing was decided.
    """
    from scipy.special import bdtr, betaincinv  # late: loading it takes longer than opening the page

    if wins < 0 or losses < 0 or wins + losses == 0:
        raise ValueError(f"{wins} wins and {losses} losses")
    total = wins + losses
    p = min(1.0, 2.0 * float(bdtr(min(wins, losses), total, 0.5)))
    low = float(betaincinv(wins, losses + 1, 0.025)) if wins else 0.0
    high = float(betaincinv(wins + 1, losses, 0.975)) if losses else 1.0
    return p, wins / total, low, high
