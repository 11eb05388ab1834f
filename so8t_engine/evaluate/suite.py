"""Measure how a model decides: a generator of events that leaves a folder of figures, cases and reports."""

import gc
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from so8t_engine import evaluations
from so8t_engine import events as e
from so8t_engine.disk import FolderLock, write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluate import tasks
from so8t_engine.evaluate.benchmarks import benchmarks
from so8t_engine.evaluate.journal import Journal
from so8t_engine.evaluate.modes import Work, generated, scored
from so8t_engine.evaluate.plan import Plan, open_plan
from so8t_engine.evaluate.reports import write_reports
from so8t_engine.evaluate.results import VERSION, generated_results, scored_results
from so8t_engine.evaluate.rows import Rows, choose
from so8t_engine.measure.metrics import Estimate, Summary
from so8t_engine.model.folder import check_folder
from so8t_engine.model.load import compute_dtype
from so8t_engine.model.score import Branches
from so8t_engine.model.voices import Voices
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

MODES = ("scored", "generated", "benchmarks")


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
    asked = {"evaluate": settings.evaluate.model_dump(mode="json"), "seed": settings.seed}
    plan = open_plan(folder, voice, rows, modes, asked)
    with FolderLock(plan.place.folder):
        yield e.EvaluationOpened(
            folder=str(plan.place.folder), model=voice.key, name=voice.name, file=str(rows.file), split=rows.split,
            rows=len(rows.samples), excluded=rows.excluded, modes=modes, resumed=plan.resumed,
        )  # fmt: skip
        session = _Session(settings, voice, rows, plan)
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
    plan: Plan

    def load(self) -> None:
        """Put the model in memory and read the prompts; those that leave it no room to answer are left out."""
        voice = self.voice
        self.voices: Voices | None = Voices(voice.base, voice.model)
        self.name = self.voices.learn(voice.adapter) if voice.adapter else ""
        self.weights = self.voices.weights(self.name)
        self.plan.settle(self.weights)
        template = self.voices.template
        branches = Branches.of(template)
        needed = len(branches.prefix) + max(map(len, branches.suffixes))
        prompts = (
            (index, template.prompt_ids(row.prompt, system=row.system or voice.system))
            for index, row in enumerate(self.rows.samples)
        )
        self.prompts = [(index, ids) for index, ids in prompts if len(ids) + needed <= self.voices.context]
        if not self.prompts:
            raise BadInput("evaluate.all_too_long", where=str(self.rows.file), limit=self.voices.context)
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
            pace = yield from generated(work, journal, wishes, seed)
        if cancel.is_set():
            return
        cases = [(self._row(index), journal.entries[index]) for index, _ in self.prompts]
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
        try:  # last: it marks the evaluation as finished
            write_whole(place.results, json.dumps(results, ensure_ascii=False, indent=1).encode("utf-8"))
        except OSError as error:
            raise EngineError("evaluate.unwritten", where=str(place.results), reason=error.strerror or error) from None
        return e.EvaluationFinished(folder=str(place.folder), seconds=seconds)

    def close(self) -> None:
        """Free the model."""
        self.voices = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _row(self, index: int) -> dict:
        row = self.rows.samples[index]
        return {"expected": row.label, "language": row.language, "domain": row.domain}

    def _cases(self) -> Iterator[dict]:
        return iter(evaluations.cases(self.plan.place))

    def _results(self, begun: float, seconds: float) -> dict:
        voice, settings, device = self.voice, self.settings, self.voices.device
        facts = self.rows.facts()
        too_long = facts["rows"] - len(self.prompts)
        return {
            "version": VERSION,
            "id": self.plan.place.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(begun)),
            "seconds": seconds,
            "model": {
                "key": voice.key, "name": voice.name, "base": str(voice.base),
                "adapter": str(voice.adapter) if voice.adapter else None, "weights": self.weights,
                "quantization": voice.model.quantization,
                "dtype": str(compute_dtype(voice.model.dtype, device)).removeprefix("torch."),
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            },
            "data": facts | {"rows": len(self.prompts), "too_long": too_long},
            "machine": {
                "system": platform.platform(), "python": platform.python_version(), "torch": torch.__version__,
                "transformers": version("transformers"),
            },
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
