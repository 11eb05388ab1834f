"""Measure how a model decides: a generator of events that leaves a folder of figures, cases and reports."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from so8t_engine import evaluations
from so8t_engine import events as e
from so8t_engine.disk import FolderLock
from so8t_engine.errors import EngineError
from so8t_engine.evaluate import tasks
from so8t_engine.evaluate.benchmarks import benchmarks
from so8t_engine.evaluate.journal import Journal
from so8t_engine.evaluate.modes import Work, generated, scored, shuffled
from so8t_engine.evaluate.plan import Plan, open_plan, store
from so8t_engine.evaluate.prompts import prompts
from so8t_engine.evaluate.provenance import machine_facts, model_facts
from so8t_engine.evaluate.reports import write_reports
from so8t_engine.evaluate.results import VERSION, generated_results, scored_results
from so8t_engine.evaluate.rows import Rows, choose
from so8t_engine.measure.metrics import Estimate, Summary
from so8t_engine.model.folder import check_folder
from so8t_engine.model.memory import give_back
from so8t_engine.model.voices import Voices
from so8t_engine.runs import Evaluation
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

MODES = ("scored", "generated", "benchmarks")

ALONE = 8
"""Answers that are written one at a time, as a person would wait for them: their times are the latency."""


def evaluate(
    settings: Settings, voice: Voice, folder: Path, modes: tuple[str, ...], test_data: str, cancel
) -> Iterator[e.Event]:
    """Measure `voice` and write the results into `folder`.

    Args:
        settings: what `evaluate` and `benchmarks` in them say, and the seed; where `voice` belongs to no run, the rows.
        folder: a new one, or one that holds an interrupted evaluation of the same model and rows, which then goes on.
        modes: those of MODES to measure, in this order.
        test_data: JSONL file with four-class rows; "" for the rows kept for testing.
        cancel: anything with `is_set()`. A stopped evaluation keeps what it has measured and writes no results.

    Yields:
        EvaluationOpened, EvaluationProgressed now and then, ModeEvaluated and BenchmarkFinished, EvaluationFinished.

    Raises:
        BadInput: rows, model or folder can't be used.
        EngineError: "evaluate.out_of_memory" when not even one row fits; "evaluate.unwritten" for a full disk.
    """
    begun = time.time()
    check_folder(voice.base)
    if "benchmarks" in modes:
        tasks.choose(settings.benchmarks.tasks)  # a name that is wrong is told before anything is measured
    rows = choose(settings, voice, test_data)
    asked = {
        "model": voice.key, "held": voice.model.model_dump(mode="json"), "modes": list(modes),
        "settings": {"evaluate": settings.evaluate.model_dump(mode="json"), "seed": settings.seed},
    }  # fmt: skip
    (ids,) = prompts(rows, voice)
    plan = open_plan(Evaluation(folder.resolve()), rows, voice.system, asked)
    with FolderLock(plan.place.folder):
        yield e.EvaluationOpened(
            folder=str(plan.place.folder), model=voice.key, name=voice.name, file=str(rows.file), split=rows.split,
            rows=len(rows.samples), excluded=rows.excluded, modes=modes, resumed=plan.resumed,
        )  # fmt: skip
        session = _Session(settings, voice, rows, list(ids.items()), plan)
        try:
            session.load()
            for mode in modes:
                yield from session.measure(mode, cancel)
                if cancel.is_set():
                    return
            yield session.finish(begun)
        except torch.OutOfMemoryError as error:
            reason = str(error).split("\n")[0]
            raise EngineError("evaluate.out_of_memory", where=str(voice.base), reason=reason) from None
        finally:
            session.close()


@dataclass
class _Session:
    """The model in memory and what was found so far."""

    settings: Settings
    voice: Voice
    rows: Rows
    prompts: list[tuple[int, list[int]]]
    plan: Plan

    def load(self) -> None:
        """Put the model in memory."""
        voice = self.voice
        self.voices: Voices | None = Voices(voice.base, voice.model)
        self.name = self.voices.learn(voice.adapter) if voice.adapter else ""
        self.weights = self.voices.weights(self.name)
        self.plan.settle({"model": self.weights})
        self.modes: dict[str, dict] = {}
        self.benchmarks: list[e.BenchmarkFinished] = []

    def measure(self, mode: str, cancel) -> Iterator[e.Event]:
        """One mode of MODES to its end, or until `cancel` is set."""
        if mode == "benchmarks":
            for event in benchmarks(self.voices, self.name, self.settings, cancel):
                yield event
                if isinstance(event, e.BenchmarkFinished):
                    self.benchmarks.append(event)
            return
        journal = Journal(self.plan.place.answers(mode))
        work = Work(self.voices, self.name, self.prompts, cancel)
        wishes, seed = self.settings.evaluate, self.settings.seed
        if mode == "scored":
            pace = yield from scored(work, journal)
        else:
            alone = shuffled((index for index, _ in self.prompts), seed)[:ALONE]
            pace = yield from generated(work, journal, wishes, alone)
        if cancel.is_set():
            return
        cases = [(self.rows.about(index), journal.entries[index]) for index, _ in self.prompts]
        if mode == "scored":
            part, whole = scored_results(cases, pace, seed)
        else:
            part, whole = generated_results(cases, pace, wishes.batch_size, seed)
        self.modes[mode] = part
        yield _told(mode, whole, pace.seconds)

    def finish(self, begun: float) -> e.EvaluationFinished:
        """Write the results and the reports; nothing is written unless all of it was measured by one set of weights."""
        place = self.plan.place
        if self.voices.weights(self.name) != self.weights:
            raise EngineError("chat.weights_changed", where=str(self.voice.base))
        seconds = time.time() - begun
        results = self._results(begun, seconds)
        write_reports(results, self._cases(), place.folder)
        store(place.results, results)  # last: it marks the evaluation as finished
        return e.EvaluationFinished(folder=str(place.folder), seconds=seconds)

    def close(self) -> None:
        """Free the model."""
        self.voices = None
        give_back()

    def _cases(self) -> Iterator[dict]:
        return iter(evaluations.cases(self.plan.place))

    def _results(self, begun: float, seconds: float) -> dict:
        settings, facts = self.settings, self.rows.facts()
        measured = {"rows": len(self.prompts), "too_long": facts["rows"] - len(self.prompts)}
        return {
            "version": VERSION,
            "id": self.plan.place.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(begun)),
            "seconds": seconds,
            "model": model_facts(self.voice, self.weights, self.voices.device),
            "data": facts | measured | {"checked_against": next(iter(self.rows.checked_against), None)},
            "machine": machine_facts(),
            "settings": {
                "evaluate": settings.evaluate.model_dump(mode="json"),
                "benchmarks": settings.benchmarks.model_dump(mode="json"), "seed": settings.seed,
            },
            "modes": self.modes,
            "benchmarks": [event.model_dump(mode="json", exclude={"time"}) for event in self.benchmarks],
        }  # fmt: skip


def _told(mode: str, whole: Summary, seconds: float) -> e.ModeEvaluated:
    def estimate(value: Estimate | None) -> tuple[float, float, float] | None:
        return (value.value, value.low, value.high) if value else None

    return e.ModeEvaluated(
        mode=mode, rows=whole.rows, accuracy=estimate(whole.accuracy), macro_f1=estimate(whole.macro_f1),
        unsafe_allow=estimate(whole.unsafe_allow), over_refusal=estimate(whole.over_refusal),
        unparseable=sum(row[-1] for row in whole.confusion), seconds=seconds,
    )  # fmt: skip
