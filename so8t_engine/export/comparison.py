"""How like a model its file decides: numbers from what both did with the same prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from so8t_engine.answer.format import CLASSES
from so8t_engine.export.llama_process import FLOOR
from so8t_engine.export.reference import Trial
from so8t_engine.measure.bootstrap import bca
from so8t_engine.measure.statistics import wilson
from so8t_engine.settings import ExportSettings

METHOD = {
    "agreement": "Share of the prompts for which the model and the file find the same class likeliest, each class scored "
    "as the log-likelihood of its tokens behind the prompt and <final>; Wilson's 95 % interval.",
    "kl": "Mean over the prompts of KL(model || file) of the next token where the class begins, in nats, over the whole "
    f"vocabulary; probabilities under e^{FLOOR:.0f} count as that. BCa bootstrap, 95 %.",
    "greedy": "Share of the prompts whose likeliest answers begin with the same tokens; Wilson's 95 % interval. One other "
    "token early on changes all that follow.",
    "perplexity": "Perplexity of the first tokens of the rows' own answers: the file's less the model's, as a share of "
    "the model's. BCa bootstrap over the rows, 95 %.",
    "reference": "The model is held as named under `reference`; the file holds the original weights with the adapter "
    "folded in. A base that was quantized for training differs from it for that reason too.",
}
"""What each number is, for the reader of fidelity.json."""

NAMED = 10
"""Prompts that an event names."""


@dataclass(frozen=True)
class Thresholds:
    """agreement: least share of equal decisions. kl: largest mean divergence, in nats."""

    agreement: float
    kl: float

    @classmethod
    def of(cls, settings: ExportSettings, quantization: str) -> "Thresholds":
        """Those for a file of this quantization."""
        agreement = settings.gate_agreement if quantization == "f16" else settings.gate_agreement_coarse
        return cls(agreement, settings.gate_kl)


@dataclass(frozen=True)
class Comparison:
    """Estimates are (value, low, high) with their 95 % interval, as METHOD says.

    perplexity: (model's, file's, difference), None where no row has an answer.
    rows: one a prompt, as fidelity.json shows them. lines: of prompts that a person should look at, see `compare`.
    """

    agreement: tuple[float, float, float]
    kl: tuple[float, float, float]
    greedy: tuple[float, float, float]
    perplexity: tuple[float, float, tuple[float, float, float]] | None
    answer_rows: int
    answer_tokens: int
    rows: tuple[dict, ...]
    drifted: int
    lines: tuple[int, ...]
    passed: bool


def compare(model: Sequence[Trial], file: Sequence[Trial], needed: Thresholds) -> Comparison:
    """What the model and the file did with the same prompts, in the same order; at least one.

    `lines` are those of the prompts with another class, the furthest first; where there is none and the file has failed
    all the same, those of the prompts with the largest divergence. At most NAMED.
    """
    pairs = list(zip(model, file, strict=True))
    rows = tuple(_row(*pair) for pair in pairs)
    equal = sum(row["model"] == row["file"] for row in rows)
    divergences = np.array([row["kl"] for row in rows])
    kl = _mean(divergences)
    same = sum(a.written == b.written for a, b in pairs)
    passed = equal >= needed.agreement * len(rows) - 1e-9 and kl[0] <= needed.kl
    drifted = [row for row in rows if row["model"] != row["file"]]
    named = sorted(drifted or (() if passed else rows), key=lambda row: -row["kl"])[:NAMED]
    answered = [pair for pair in pairs if pair[0].answer]
    return Comparison(
        agreement=_share(equal, len(rows)), kl=kl, greedy=_share(same, len(rows)),
        perplexity=_perplexity(answered) if answered else None, answer_rows=len(answered),
        answer_tokens=sum(len(one.answer) for one, _ in answered), rows=rows, drifted=len(drifted),
        lines=tuple(row["line"] for row in named), passed=passed,
    )  # fmt: skip


def _row(model: Trial, file: Trial) -> dict:
    row = model.sample
    same = next((i for i, (a, b) in enumerate(zip(model.written, file.written, strict=False)) if a != b), None)
    return {
        "line": row.line, "id": row.id, "prompt": row.prompt, "language": row.language,
        "model": _decision(model), "file": _decision(file),
        "probabilities": {"model": _probabilities(model), "file": _probabilities(file)},
        "kl": _divergence(model.chances, file.chances),
        "same_tokens": min(len(model.written), len(file.written)) if same is None else same,
    }  # fmt: skip


def _decision(trial: Trial) -> str:
    return CLASSES[int(np.argmax(trial.scores))]


def _probabilities(trial: Trial) -> list[float]:
    """Of the four classes among themselves."""
    shares = np.exp(np.array(trial.scores) - max(trial.scores))
    return (shares / shares.sum()).tolist()


def _divergence(model: np.ndarray, file: np.ndarray) -> float:
    """KL(model || file) of two distributions given as log-probabilities, in nats, at least 0."""
    wanted, found = (_normal(one) for one in (model, file))
    return max(0.0, float((np.exp(wanted) * (wanted - found)).sum()))


def _normal(chances: np.ndarray) -> np.ndarray:
    """float64, and adding up to 1: what is told as float32 does not exactly."""
    wide = np.maximum(chances.astype(np.float64), FLOOR)
    return wide - np.log(np.exp(wide).sum())


def _share(hits: int, total: int) -> tuple[float, float, float]:
    return (hits / total, *wilson(hits, total))


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    def mean(tables: np.ndarray) -> np.ndarray:
        return tables @ values / np.maximum(tables.sum(1), 1)

    return (float(values.mean()), *bca(np.ones(len(values), np.int64), mean))


def _perplexity(pairs: Sequence[tuple[Trial, Trial]]) -> tuple[float, float, tuple[float, float, float]]:
    losses = np.array([[a.loss, b.loss, len(a.answer)] for a, b in pairs])
    apart, tokens = losses[:, 1] - losses[:, 0], losses[:, 2]

    def difference(tables: np.ndarray) -> np.ndarray:
        return np.expm1(tables @ apart / np.maximum(tables @ tokens, 1))

    model, file = (exp(min(700.0, losses[:, side].sum() / tokens.sum())) for side in (0, 1))
    value = float(np.expm1(apart.sum() / tokens.sum()))
    return model, file, (value, *bca(np.ones(len(pairs), np.int64), difference))
