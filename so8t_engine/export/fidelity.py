"""The gate: a file that does not decide like the model it was made of is not sent on.

The same prompts go through the model and through each file, which llama.cpp reads in a process of its own.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from so8t_engine import events as e
from so8t_engine.errors import BadInput
from so8t_engine.export.comparison import METHOD, Comparison, Thresholds, compare
from so8t_engine.export.llama import Llama
from so8t_engine.export.prompts import Prompts
from so8t_engine.export.reference import ANSWER_TOKENS, Reference, Trial
from so8t_engine.ollama import ended_by
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

VERSION = 1


@dataclass(frozen=True)
class File:
    """A whole GGUF file. sha256: in hex."""

    path: Path
    quantization: str
    bytes: int
    sha256: str


@dataclass
class Gate:
    """One comparison of several files with one model; it gathers what fidelity.json holds.

    Attributes:
        report: that content; complete once `measure` has come to its end. passed: whether every file has.
    """

    settings: Settings
    voice: Voice
    prompts: Prompts
    files: Sequence[File]
    report: dict = field(default_factory=dict)
    passed: bool = True

    def measure(self, cancel) -> Iterator[e.FidelityProgressed | e.FidelityMeasured]:
        """Compare. The model leaves the memory before the first file is loaded; `cancel` ends it early.

        Raises:
            ModelError: the model can't be used.
            BadInput: "export.all_too_long".
            EngineError: "export.runner_died".
        """
        reference = Reference(self.voice)
        try:
            begun, trials = time.monotonic(), []
            for trial in reference.trials(self.prompts.samples, cancel):
                trials.append(trial)
                yield self._progress("", len(trials), begun)
        finally:
            reference.close()
        if cancel.is_set():
            return
        if not trials:
            raise BadInput("export.all_too_long", where=str(self.prompts.file))
        self._head(reference, len(trials))
        for file in self.files:
            yield from self._try(file, reference, trials, cancel)
            if cancel.is_set():
                return

    def _try(self, file: File, reference: Reference, trials: list[Trial], cancel) -> Iterator[e.Event]:
        begun, found = time.monotonic(), []
        branches = reference.branches
        longest = max(len(trial.prompt) for trial in trials)
        context = longest + len(branches.prefix) + max(map(len, branches.suffixes)) + ANSWER_TOKENS
        with Llama(file.path, -(-context // 256) * 256, branches, reference.ends) as llama:
            try:
                with ended_by(cancel, llama.kill):
                    llama.load()
                    for trial in trials:
                        found.append(llama.tried(trial))
                        yield self._progress(file.quantization, len(found), begun, len(trials))
            except Exception:
                if cancel.is_set():  # then it was killed
                    return
                raise
            if cancel.is_set():
                return
        needed = Thresholds.of(self.settings.export, file.quantization)
        outcome, seconds = compare(trials, found, needed), time.monotonic() - begun
        self.passed = self.passed and outcome.passed
        self.report["runner"] = {"name": "xllamacpp", "version": llama.version}
        self.report["files"].append(_told(file, outcome, seconds))
        yield e.FidelityMeasured(
            file=str(file.path), quantization=file.quantization, prompts=len(trials), agreement=outcome.agreement,
            kl=outcome.kl, greedy=outcome.greedy, greedy_tokens=ANSWER_TOKENS,
            perplexity=outcome.perplexity[2] if outcome.perplexity else None, drifted=outcome.drifted,
            lines=outcome.lines, passed=outcome.passed, needed_agreement=needed.agreement, largest_kl=needed.kl,
            seconds=seconds,
        )  # fmt: skip

    def _progress(self, quantization: str, done: int, begun: float, total: int = 0) -> e.FidelityProgressed:
        return e.FidelityProgressed(
            quantization=quantization, done=done, total=total or len(self.prompts.samples),
            seconds=time.monotonic() - begun,
        )  # fmt: skip

    def _head(self, reference: Reference, compared: int) -> None:
        prompts, limits = self.prompts, {}
        for file in self.files:
            needed = Thresholds.of(self.settings.export, file.quantization)
            limits[file.quantization] = {"agreement": needed.agreement, "kl": needed.kl}
        self.report.update({
            "version": VERSION, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "runner": {},
            "reference": reference.held,
            "prompts": {
                "file": str(prompts.file), "sha256": prompts.sha256, "split": prompts.split, "rows": compared,
                "found": prompts.found, "too_long": reference.too_long, "seed": self.settings.seed,
            },
            "thresholds": limits, "method": METHOD, "files": [],
        })  # fmt: skip


def _told(file: File, outcome: Comparison, seconds: float) -> dict:
    def estimate(found: tuple[float, float, float]) -> dict:
        return dict(zip(("value", "low", "high"), found, strict=True))

    perplexity = outcome.perplexity and {
        "model": outcome.perplexity[0], "file": outcome.perplexity[1], "difference": estimate(outcome.perplexity[2]),
        "rows": outcome.answer_rows, "tokens": outcome.answer_tokens,
    }  # fmt: skip
    return {
        "file": file.path.name, "quantization": file.quantization, "sha256": file.sha256, "seconds": seconds,
        "passed": outcome.passed, "drifted": outcome.drifted, "agreement": estimate(outcome.agreement),
        "kl": estimate(outcome.kl), "greedy": estimate(outcome.greedy) | {"tokens": ANSWER_TOKENS},
        "perplexity": perplexity, "rows": list(outcome.rows),
    }  # fmt: skip
