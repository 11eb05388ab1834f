"""The figures of an A/B test from its journals: ab_test_results.json (docs/ab_test.md has the schema)."""

from collections.abc import Mapping
from dataclasses import asdict

from so8t_engine import events as e
from so8t_engine.ab_tests import SIDES, about
from so8t_engine.evaluate.journal import Journal
from so8t_engine.evaluate.modes import Pace
from so8t_engine.evaluate.results import Case, generated_results, scored_results
from so8t_engine.evaluate.rows import Rows
from so8t_engine.measure.metrics import Estimate
from so8t_engine.measure.paired import Pairing, compare, compare_shares
from so8t_engine.measure.paired_f1 import Shift
from so8t_engine.measure.times import compare_times
from so8t_engine.measure.winner import winner
from so8t_engine.settings import AbTestSettings, Settings

METRICS = ("accuracy", "macro_f1", "unsafe_allow", "over_refusal")
SIDE_OF = {"first": "base", "second": "retrained"}


def compared(rows: Rows, journals: Mapping[str, Journal], seed: int) -> Pairing | None:
    """The rows that both sides have decided; None when there is none. journals: by side."""
    base, retrained = (journals[side].entries for side in SIDES)
    shared = sorted(base.keys() & retrained.keys())
    if not shared:
        return None
    expected = [rows.samples[index].label for index in shared]
    return compare(expected, *([one[index]["given"] for index in shared] for one in (base, retrained)), seed)


def so_far(mode: str, pairing: Pairing, total: int) -> e.AbTestMeasured:
    """The figures of `total` rows in a mode, as far as they have come."""

    def figures(values: Mapping[str, Estimate | Shift | None]) -> dict[str, e.Figure | None]:
        found = {name: values[name] for name in METRICS}
        return {name: (one.value, one.low, one.high) if one else None for name, one in found.items()}

    return e.AbTestMeasured(
        mode=mode, rows=pairing.rows, total=total, base=figures(vars(pairing.first)),
        retrained=figures(vars(pairing.second)), difference=figures(pairing.differences),
        fixed=pairing.only_second, broken=pairing.only_first, both=pairing.both, neither=pairing.neither,
    )  # fmt: skip


def mode_results(
    mode: str, rows: Rows, journals: Mapping[str, Journal], paces: Mapping[str, Pace], pairing: Pairing,
    settings: Settings, in_turns: bool,
) -> dict:  # fmt: skip
    """What a mode found, when every row has been decided by both. journals, paces: by side; in_turns: whether the
    answers that were timed were written in turns."""
    cases = {
        side: [(rows.about(index), entry) for index, entry in sorted(journals[side].entries.items())] for side in SIDES
    }
    found: dict = {"pairing": pairing.to_json()}
    for side in SIDES:
        if mode == "scored":
            found[side], _ = scored_results(cases[side], paces[side], settings.seed)
        else:
            size = settings.evaluate.batch_size
            found[side], _ = generated_results(cases[side], paces[side], size, settings.seed)
    if mode == "generated":
        found["format"] = _format(cases, found)
        found["times"] = _times(cases, in_turns)
    return found


def verdict(pairings: Mapping[str, Pairing], rule: AbTestSettings) -> dict:
    """Who wins by the rule of the settings: the facts as a person reads them, and all that the rule looked at."""
    found = winner(pairings[rule.mode], rule.metric)
    inputs = {
        name.replace("first", "base").replace("second", "retrained"): SIDE_OF.get(value, value)
        for name, value in found.rule.items()
    }
    return {
        "winner": SIDE_OF.get(found.winner), "code": found.code,
        "facts": {name: _shown(name, value) for name, value in found.facts.items() if value is not None},
        "rule": {"mode": rule.mode} | inputs,
    }  # fmt: skip


def _shown(name: str, value: object) -> str:
    """An input of the rule as it stands in a sentence. Probabilities bring their sign: "= 0.034", "< 0.001"."""
    if name in ("p_adjusted", "unsafe_p"):
        return "< 0.001" if value < 0.001 else f"= {value:.3f}"
    if name in ("unsafe_first", "unsafe_second"):
        return f"{value:.1%}"
    if name == "rows_needed":
        return about(value)
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(SIDE_OF.get(value, value))
    return f"{value:.3f}" if name in ("first", "second") else f"{value:+.3f}"


def _format(cases: Mapping[str, list[Case]], found: Mapping[str, dict]) -> dict:
    """Of both sides, the share of answers in the format, and the difference."""
    whole = ([entry["format"] == "whole" for _, entry in cases[side]] for side in SIDES)
    return {side: found[side]["format"]["whole"] for side in SIDES} | {"difference": asdict(compare_shares(*whole))}


def _times(cases: Mapping[str, list[Case]], in_turns: bool) -> dict | None:
    """How long the answers took that were written one at a time; None where there are none."""
    alone = [[entry for _, entry in cases[side] if entry["alone"]] for side in SIDES]
    if not alone[0]:
        return None
    parts = {"first_token": "first_seconds", "answer": "seconds"}
    return {"in_turns": in_turns} | {
        part: compare_times(*([entry[key] for entry in one] for one in alone)).to_json() for part, key in parts.items()
    }
