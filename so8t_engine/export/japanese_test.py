"""The Japanese performance test: questions in five categories, and checks of the answers. A generator of events that
leaves results as JSON and as Markdown."""

import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so8t_engine import events as e
from so8t_engine.disk import FolderLock, write_whole
from so8t_engine.errors import EngineError
from so8t_engine.export.japanese_answer import Candidate, NotMeasured
from so8t_engine.export.japanese_guest import OLLAMA, OllamaCandidate
from so8t_engine.export.japanese_place import Place, writing
from so8t_engine.export.japanese_prompts import Paper, Prompt, paper
from so8t_engine.export.japanese_report import report
from so8t_engine.export.japanese_results import VERSION, check_comparable, compare, entry, figures, measured, read
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

__all__ = ["OLLAMA", "japanese_test"]


def japanese_test(
    settings: Settings, model: Voice | str, folder: Path, cancel, against: Path | None = None
) -> Iterator[e.Event]:
    """Ask `model` all questions, one at a time, and check its answers.

    Args:
        settings: the longest answer (evaluate.max_tokens), the seed, and where Ollama answers.
        model: a voice of ours, or the name of a model in Ollama.
        folder: a new one, or one that holds an interrupted test of the same model, which then goes on.
        cancel: anything with `is_set()`. A stopped test keeps its answers and writes no results.
        against: the folder of another model's finished test, which the results are compared with.

    Yields:
        JapaneseTestOpened; JapaneseAnswerChecked for each answer, those of an earlier try included, with no checks for
        one that could not be measured; JapaneseTestFinished.

    Raises:
        BadInput: model, folder or `against` can't be used; no answer was changed.
        EngineError: Ollama is gone, the disk is full, or no answer at all could be measured; the answers so far are
            kept, and the same call goes on.
    """
    begun = time.time()
    asked = {"max_tokens": settings.evaluate.max_tokens, "seed": settings.seed, "temperature": 0}
    questions = paper()
    base = read(against) if against else None
    if base:
        check_comparable(questions.sha256, asked, base)
    candidate = _candidate(settings, model)
    place = Place.open(folder, {"model": candidate.key, "prompts": questions.sha256, "settings": asked})
    with FolderLock(place.paths.folder):
        yield e.JapaneseTestOpened(
            folder=str(place.paths.folder), model=candidate.key, name=candidate.name, prompts=len(questions.prompts),
            resumed=place.resumed,
        )  # fmt: skip
        test = _Test(candidate, place, questions, base, begun)
        try:
            candidate.load()
            place.settle(candidate.weights)
            yield from test.ask(cancel)
            if not cancel.is_set():
                yield test.finish()
        finally:
            candidate.close()


def _candidate(settings: Settings, model: Voice | str) -> Candidate:
    limit = settings.evaluate.max_tokens
    if isinstance(model, str):
        return OllamaCandidate(settings.ollama.address, model, limit, settings.seed)
    from so8t_engine.export.japanese_ours import OurCandidate  # late: it loads torch, which Ollama's models don't need

    return OurCandidate(model, limit)


@dataclass
class _Test:
    """One test under way."""

    candidate: Candidate
    place: Place
    paper: Paper
    base: dict[str, Any] | None
    begun: float

    def ask(self, cancel) -> Iterator[e.JapaneseAnswerChecked]:
        """Every question; those that an earlier try has answered are only told."""
        for number, prompt in enumerate(self.paper.prompts, 1):
            if not measured(self.place.entries, prompt):
                found = self._answered(prompt, cancel)
                if found is None:
                    return
                self.place.add(found)
            yield self._told(prompt, number)

    def finish(self) -> e.JapaneseTestFinished:
        """Write the report and then the results, which mark the test as finished."""
        self.candidate.check()
        if not any(measured(self.place.entries, prompt) for prompt in self.paper.prompts):
            first = self.place.entries[self.paper.prompts[0].id]["unmeasured"]
            raise EngineError(first["code"], where=self.candidate.name, **first["facts"])
        results = self._results()
        if self.base:
            results["comparison"] = compare(results, self.base)
        day = time.strftime("%Y-%m-%d", time.localtime(self.place.created))
        data, text = self.place.paths.named(day, self.candidate.run, self.candidate.model)
        with writing(text):
            write_whole(text, report(results).encode("utf-8"))
        self.place.store(data, results)
        parts = {key: part["value"] for key, part in results["categories"].items() if part["value"] is not None}
        compared = results["comparison"] or {"difference": None, "decided": None}
        return e.JapaneseTestFinished(
            folder=str(self.place.paths.folder), results=str(data), report=str(text), score=results["score"]["value"],
            categories=parts, unmeasured=results["unmeasured"],
            difference=compared["difference"], decided=compared["decided"],
            tokens_per_second=results["speed"]["tokens_per_second"], seconds=results["seconds"],
        )  # fmt: skip

    def _answered(self, prompt: Prompt, cancel) -> dict[str, Any] | None:
        """The line for the journal; None once `cancel` is set."""
        try:
            spoken = self.candidate.ask(prompt, cancel)
        except NotMeasured as error:
            return {"prompt": prompt.id, "unmeasured": {"code": error.reason.code, "facts": error.reason.facts}}
        return entry(prompt, spoken) if spoken else None

    def _told(self, prompt: Prompt, number: int) -> e.JapaneseAnswerChecked:
        found = self.place.entries[prompt.id]
        passed = found.get("passed", [])
        return e.JapaneseAnswerChecked(
            prompt=prompt.id, category=prompt.category, passed=sum(passed), checks=len(passed),
            seconds=found.get("seconds", 0.0), tokens=found.get("tokens"), done=number, total=len(self.paper.prompts),
        )  # fmt: skip

    def _results(self) -> dict[str, Any]:
        candidate, place = self.candidate, self.place
        return {
            "version": VERSION, "id": place.paths.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(place.created)),
            "seconds": time.time() - self.begun,
            "model": {"key": candidate.key, "name": candidate.name, "weights": candidate.weights, **candidate.facts()},
            "prompts": {"sha256": self.paper.sha256, "count": len(self.paper.prompts)},
            "settings": place.plan["settings"],
            "machine": {"system": platform.platform(), "python": platform.python_version()},
            **figures(self.paper, place.entries), "comparison": None,
        }  # fmt: skip
