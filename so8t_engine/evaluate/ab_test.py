"""Have two models decide the same rows: a generator of events that leaves a folder with a verdict."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from so8t_engine import ab_tests
from so8t_engine import events as e
from so8t_engine.ab_tests import SIDES
from so8t_engine.disk import FolderLock
from so8t_engine.errors import EngineError
from so8t_engine.evaluate.ab_results import compared, mode_results, so_far, verdict
from so8t_engine.evaluate.journal import Journal
from so8t_engine.evaluate.modes import Pace, Work, generated, scored, shuffled, warm
from so8t_engine.evaluate.plan import Plan, open_plan, store
from so8t_engine.evaluate.prompts import Prompts, prompts
from so8t_engine.evaluate.provenance import machine_facts, model_facts
from so8t_engine.evaluate.reports import write_ab_reports
from so8t_engine.evaluate.rows import Rows, choose
from so8t_engine.measure.paired import Pairing
from so8t_engine.model.folder import check_folder
from so8t_engine.model.memory import give_back
from so8t_engine.model.voices import Voices
from so8t_engine.runs import AbTest
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

T = TypeVar("T")

MODES = ("scored", "generated")

SCORED_CHUNK = 256
"""Rows that one side scores before the other one's turn: many batches, and seconds on a slow machine."""

BATCHES = 2
"""The same for whole answers, in batches: at the end of a turn fewer and fewer answers stand side by side."""

TOLD_SECONDS = 0.5
"""Between two progress events."""

LOOK_SECONDS = 1.0
"""Between two looks at the figures so far: one takes tens of milliseconds, as a turn of a small model does."""


def ab_test(
    settings: Settings, base: Voice, retrained: Voice, folder: Path, test_data: str, cancel
) -> Iterator[e.Event]:
    """Have `base` and `retrained` decide the same rows in both modes, and write into `folder` which is better.

    Both stand on one base in memory and take turns: a chunk of rows each, the side that begins changing from chunk to
    chunk, so that a machine that grows warm or busy hits both alike. Where they stand on different bases, or hold
    theirs differently, a load before every turn would take longer than the turn: then the base decides everything, is
    freed, and the retrained model follows. The rows come in an order drawn by the seed, so that the figures of the
    first ones say something of all.

    Args:
        settings: what `evaluate` and `ab_test` in them say, the seed; where `retrained` belongs to no run, the rows.
        folder: a new one, or one that holds an interrupted test of the same models and rows, which then goes on.
        test_data: JSONL file with four-class rows; "" for the rows that the run of `retrained` kept for testing. Rows
            that one of the two has been trained on are left out.
        cancel: anything with `is_set()`. A stopped test keeps what was decided and writes no results.

    Yields:
        AbTestOpened, AbTestProgressed now and then, AbTestMeasured when both have had a turn, AbTestFinished.

    Raises:
        BadInput: rows, models or folder can't be used.
        EngineError: "evaluate.out_of_memory" when not even one row fits; "evaluate.unwritten" for a full disk.
    """
    begun = time.time()
    voices = {"base": base, "retrained": retrained}
    for voice in voices.values():
        check_folder(voice.base)
    rows = choose(settings, retrained, test_data, base)
    asked = dict(zip(SIDES, prompts(rows, base, retrained), strict=True))
    system = base.system if base.system == retrained.system else ""
    plan = open_plan(AbTest(folder.resolve()), rows, system, _asked(settings, voices))
    with FolderLock(plan.place.folder):
        test = _Test(settings, voices, rows, asked, plan, cancel)
        yield e.AbTestOpened(
            folder=str(plan.place.folder), base=base.key, base_name=base.name, retrained=retrained.key,
            retrained_name=retrained.name, file=str(rows.file), split=rows.split, rows=len(test.order),
            excluded=rows.excluded, modes=MODES, resumed=plan.resumed,
        )  # fmt: skip
        yield from test.decide()
        if not cancel.is_set():
            yield test.finish(begun)


def _asked(settings: Settings, voices: dict[str, Voice]) -> dict:
    """What the folder's plan holds: another one of these is another test."""
    return {
        **{side: voice.key for side, voice in voices.items()},
        "held": {side: voice.model.model_dump(mode="json") for side, voice in voices.items()},
        "systems": {side: voice.system for side, voice in voices.items()},
        "modes": list(MODES),
        "settings": {name: getattr(settings, name).model_dump(mode="json") for name in ("evaluate", "ab_test")}
        | {"seed": settings.seed},
    }


class _Test:
    """What both sides are asked, what they have decided so far, and whose turn it is.

    order: indexes of the rows, in the order of the test. alone: those of them that are answered one at a time.
    journals, paces: by side and mode. models: by side, what the results say of it.
    """

    def __init__(
        self, settings: Settings, voices: dict[str, Voice], rows: Rows, asked: dict[str, Prompts], plan: Plan, cancel
    ) -> None:
        self.settings, self.voices, self.rows, self.asked = settings, voices, rows, asked
        self.plan, self.cancel = plan, cancel
        self.order = shuffled(asked["base"], settings.seed)
        self.alone = self.order[: settings.ab_test.latency_rows]
        parts = [(side, mode) for side in SIDES for mode in MODES]
        self.journals = {part: Journal(plan.place.answers(*part)) for part in parts}
        self.paces = dict.fromkeys(parts, Pace())
        self.pairings: dict[str, Pairing] = {}
        self.models: dict[str, dict] = {}
        base, retrained = voices["base"], voices["retrained"]
        self.together = base.base == retrained.base and base.model == retrained.model
        self.told = self.looked = 0.0
        self.steady: tuple[float, int] | None = None

    def decide(self) -> Iterator[e.Event]:
        """Both modes to their end, or until `cancel` is set."""
        for sides in (SIDES,) if self.together else [(side,) for side in SIDES]:
            with self._loaded(sides):
                for mode in MODES:
                    yield from self._mode(mode, sides)
                    if self.cancel.is_set():
                        return

    def finish(self, begun: float) -> e.AbTestFinished:
        """Write the reports and the results."""
        place, seconds = self.plan.place, time.time() - begun
        results = self._results(begun, seconds)
        write_ab_reports(results, {mode: ab_tests.cases(place, mode) for mode in MODES}, place.folder)
        store(place.results, results)  # last: it marks the test as finished
        found = results["winner"]
        return e.AbTestFinished(
            folder=str(place.folder), winner=found["winner"], code=found["code"], facts=found["facts"], seconds=seconds
        )

    @contextmanager
    def _loaded(self, sides: Sequence[str]) -> Iterator[None]:
        """The models of `sides` in memory, on one base. At the end their weights are still those that were loaded."""
        first = self.voices[sides[0]]
        try:
            self.speaking: Voices | None = Voices(first.base, first.model)
            self.names = {side: self._name(self.voices[side].adapter) for side in sides}
            weights = {side: self.speaking.weights(name) for side, name in self.names.items()}
            self.plan.settle(weights)
            for side in sides:
                facts = model_facts(self.voices[side], weights[side], self.speaking.device)
                self.models[side] = facts | {"system": self.voices[side].system}
            yield
            self.speaking.weights(self.names[sides[0]])
        except torch.OutOfMemoryError as error:
            reason = str(error).split("\n")[0]
            raise EngineError("evaluate.out_of_memory", where=str(first.base), reason=reason) from None
        finally:
            self.speaking = None
            give_back()

    def _name(self, adapter: Path | None) -> str:
        """The voice of an adapter; two sides with the same one share it."""
        name = self.speaking.known(adapter)
        return self.speaking.learn(adapter) if name is None else name

    def _mode(self, mode: str, sides: Sequence[str]) -> Iterator[e.Event]:
        """A turn of each side for every chunk of rows. Who begins changes from chunk to chunk: A B B A A B B A."""
        chunks = self._chunks(mode)
        if mode == "generated" and self.alone:
            for side in sides:
                warm(self._work(side, self.alone))
        for number, chunk in enumerate(chunks, start=1):
            for side in sides if number % 2 else sides[::-1]:
                yield from self._turn(mode, side, chunk)
                if self.cancel.is_set():
                    return
            if number == len(chunks) or time.monotonic() - self.looked >= LOOK_SECONDS:
                yield from self._look(mode)

    def _chunks(self, mode: str) -> list[list[int]]:
        """The rows of one turn each: those that are answered one at a time are a turn by themselves."""
        if mode == "scored":
            return _cut(self.order, SCORED_CHUNK)
        beside = self.order[len(self.alone) :]
        return _cut(self.alone, 1) + _cut(beside, BATCHES * self.settings.evaluate.batch_size)

    def _work(self, side: str, chunk: Sequence[int]) -> Work:
        asked = self.asked[side]
        return Work(self.speaking, self.names[side], [(index, asked[index]) for index in chunk], self.cancel)

    def _turn(self, mode: str, side: str, chunk: Sequence[int]) -> Iterator[e.Event]:
        """One side decides what it has not yet decided of a chunk."""
        work, journal, wishes = self._work(side, chunk), self.journals[side, mode], self.settings.evaluate
        if not work.left(journal):
            return

        def paced() -> Iterator[e.EvaluationProgressed]:
            how = scored(work, journal) if mode == "scored" else generated(work, journal, wishes, self.alone)
            self.paces[side, mode] += yield from how

        before = sum(len(one.entries) for one in self.journals.values())
        if self.steady is None and self._last(mode, chunk):
            self.steady = time.monotonic(), before
        for event in paced():
            done = before + event.done - event.begun
            if time.monotonic() - self.told >= TOLD_SECONDS or done == self._total:
                yield self._progress(side, mode, done)

    def _last(self, mode: str, chunk: Sequence[int]) -> bool:
        """Whether nothing slower comes behind this chunk: its pace says when the test will end."""
        return mode == "generated" and chunk[0] not in self.alone and "retrained" in self.names

    def _progress(self, side: str, mode: str, done: int) -> e.AbTestProgressed:
        self.told = time.monotonic()
        since, begun = self.steady or (self.told, done)
        return e.AbTestProgressed(
            side=side, mode=mode, done=done, total=self._total, seconds=self.told - since, begun=begun
        )

    @property
    def _total(self) -> int:
        return len(self.order) * len(self.journals)

    def _look(self, mode: str) -> Iterator[e.AbTestMeasured]:
        """What the rows show that both sides have decided so far."""
        found = compared(self.rows, self._of(self.journals, mode), self.settings.seed)
        if found:
            self.pairings[mode] = found
            yield so_far(mode, found, len(self.order))
        self.looked = time.monotonic()

    def _of(self, parts: dict[tuple[str, str], T], mode: str) -> dict[str, T]:
        return {side: parts[side, mode] for side in SIDES}

    def _results(self, begun: float, seconds: float) -> dict:
        settings, facts = self.settings, self.rows.facts()
        groups = ("evaluate", "ab_test")
        return {
            "version": ab_tests.VERSION,
            "id": self.plan.place.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(begun)),
            "seconds": seconds,
            "models": {side: self.models[side] for side in SIDES},
            "data": facts | {"rows": len(self.order), "too_long": facts["rows"] - len(self.order)},
            "machine": machine_facts(),
            "settings": {name: getattr(settings, name).model_dump(mode="json") for name in groups} | {"seed": settings.seed},
            "modes": {
                mode: mode_results(
                    mode, self.rows, self._of(self.journals, mode), self._of(self.paces, mode), self.pairings[mode],
                    settings, self.together,
                )
                for mode in MODES
            },
            "winner": verdict(self.pairings, settings.ab_test),
        }  # fmt: skip


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
