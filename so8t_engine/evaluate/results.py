"""The figures of an evaluation from its journals: evaluation_results.json (docs/evaluation_results.md has the schema)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from so8t_engine.evaluate.modes import Pace
from so8t_engine.measure.calibration import calibration
from so8t_engine.measure.latency import latency
from so8t_engine.measure.metrics import UNPARSEABLE, Estimate, Summary, summary
from so8t_engine.measure.statistics import wilson

VERSION = 1
FORMATS = ("whole", "sections", "fields", "outside", "cut")

Case = tuple[dict, dict]
"""A row and its entry in the journal of a mode."""


def scored_results(cases: Sequence[Case], pace: Pace, seed: int) -> tuple[dict, Summary]:
    """What the scored mode found: its part of the results, and the summary alone."""
    whole = _summary(cases, seed)
    chosen = [entry["probabilities"][entry["given"]] for _, entry in cases]
    right = [entry["given"] == row["expected"] for row, entry in cases]
    part = {
        "seconds": pace.seconds,
        "rows_per_second": _rate(pace.rows, pace.seconds),
        "summary": whole.to_json(),
        "calibration": calibration(chosen, right).to_json(),
        **_groups(cases, seed),
    }
    return part, whole


def generated_results(cases: Sequence[Case], pace: Pace, batch_size: int, seed: int) -> tuple[dict, Summary]:
    """What the generated mode found. Only answers that name a class and a confidence are in its calibration."""
    whole = _summary(cases, seed)
    sure = [(row, entry) for row, entry in cases if entry["confidence"] is not None and entry["given"] != UNPARSEABLE]
    counts = {name: sum(entry["format"] == name for _, entry in cases) for name in FORMATS}
    part = {
        "seconds": pace.seconds,
        "summary": whole.to_json(),
        "stated": len(sure),
        "calibration": calibration(
            [entry["confidence"] for _, entry in sure], [entry["given"] == row["expected"] for row, entry in sure]
        ).to_json() if sure else None,
        "format": {"whole": _share(counts["whole"], len(cases)), "counts": counts},
        **_groups(cases, seed),
        "latency": {"alone": _alone(cases), "batched": _batched(pace, batch_size)},
    }  # fmt: skip
    return part, whole


def _summary(cases: Sequence[Case], seed: int) -> Summary:
    return summary([row["expected"] for row, _ in cases], [entry["given"] for _, entry in cases], seed)


def _groups(cases: Sequence[Case], seed: int) -> dict[str, dict]:
    return {f"by_{name}": _by(cases, lambda row, name=name: row[name], seed) for name in ("language", "domain")}


def _by(cases: Sequence[Case], key: Callable[[dict], str], seed: int) -> dict[str, dict]:
    members: dict[str, list[Case]] = {}
    for case in cases:
        members.setdefault(key(case[0]), []).append(case)
    found = {}
    for name in sorted(members):
        told = _summary(members[name], seed).to_json()
        found[name] = {part: told[part] for part in ("rows", "accuracy", "unsafe_allow", "over_refusal")}
    return found


def _alone(cases: Sequence[Case]) -> dict | None:
    entries = [entry for _, entry in cases if entry["alone"]]
    if not entries:
        return None
    seconds = [entry["seconds"] for entry in entries]
    return {
        "answers": len(entries),
        "first_token": latency([entry["first_seconds"] for entry in entries]).to_json(),
        "answer": latency(seconds).to_json(),
        "tokens_per_second": _rate(sum(entry["tokens"] for entry in entries), sum(seconds)),
    }


def _batched(pace: Pace, batch_size: int) -> dict | None:
    """None when this try had no answer left to write."""
    if not pace.rows:
        return None
    return {
        "batch_size": batch_size,
        "answers_per_second": _rate(pace.rows, pace.seconds),
        "tokens_per_second": _rate(pace.tokens, pace.seconds),
    }


def _share(hits: int, total: int) -> dict:
    return asdict(Estimate(hits / total, *wilson(hits, total)))


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if count and seconds > 0 else None
