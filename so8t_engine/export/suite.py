"""Bring a model out: convert, compare, describe, push. A generator of events that leaves a folder of files."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from so8t_engine import events as e
from so8t_engine.disk import FolderLock
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.export import llama
from so8t_engine.export.delivery import deliver
from so8t_engine.export.fidelity import File, Gate
from so8t_engine.export.gguf import convert
from so8t_engine.export.metadata import Facts
from so8t_engine.export.model_card import card_of
from so8t_engine.export.model_name import ModelName
from so8t_engine.export.modelfile import write_modelfile
from so8t_engine.export.place import Place, store, writing
from so8t_engine.export.prompts import Prompts, choose
from so8t_engine.export.tensors import KINDS
from so8t_engine.model.folder import check_exportable
from so8t_engine.runs import Run
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

VERSION = 1

_LICENSES = {"mit license": "mit", "apache license": "apache-2.0"}


@dataclass(frozen=True)
class Wish:
    """What is asked of an export; see the command ExportModel."""

    quantizations: tuple[str, ...]
    name: str = ""
    gate: bool = True
    consent: bool = False
    prompts: str = ""


def export(settings: Settings, voice: Voice, folder: Path, wish: Wish, cancel) -> Iterator[e.Event]:
    """Write `voice` into `folder` as GGUF files, compare them with it, and push the smallest one if a name is given.

    Args:
        settings: how alike the files must decide, where Ollama answers, and the seed; where `voice` belongs to no run,
            the prompts too.
        folder: a new one, or one that holds an export of the same model, which then goes on: whole files are kept.
        cancel: anything with `is_set()`. What is whole by then stays.

    Yields:
        ExportOpened, GgufKept, those of `convert`, FidelityProgressed and FidelityMeasured or FidelitySkipped, those of
        `push`, ExportFinished.

    Raises:
        BadInput: the wish can't be fulfilled, or prompts, model or folder can't be used; nothing was written.
        EngineError: "export.unproven" when a name is given and the files can't be compared, before anything is
            written; "export.drifted" when a file that was to be pushed decides otherwise; those of the parts.
    """
    begun = time.time()
    kinds = tuple(dict.fromkeys(wish.quantizations))
    if not kinds or set(kinds) - KINDS.keys():
        raise BadInput("export.unknown_kind", kinds=", ".join(kinds) or "-", known=", ".join(KINDS))
    _check_push(wish)
    check_exportable(voice.base)
    prompts = choose(settings, voice, wish.prompts) if wish.gate and llama.installed() else None
    facts = _facts(voice)
    place = Place.open(folder, voice, facts)
    with FolderLock(place.paths.folder):
        yield e.ExportOpened(
            folder=str(place.paths.folder), model=voice.key, name=voice.name, quantizations=kinds, push=wish.name,
            gate=wish.gate, resumed=place.resumed,
        )  # fmt: skip
        work = _Work(settings, voice, wish, place, facts, begun)
        for part in (work.write(kinds, cancel), work.prove(prompts, cancel), work.describe(), work.push(cancel)):
            yield from part
            if cancel.is_set():
                return
        yield work.finished()


def _check_push(wish: Wish) -> None:
    """What would stop the push is told before anything is written."""
    if not wish.name:
        return
    ModelName.parse(wish.name)
    if not wish.consent:
        raise BadInput("push.no_consent", name=wish.name[:100])
    if wish.gate and not llama.installed():
        raise EngineError("export.unproven", name=wish.name[:100])


def _facts(voice: Voice) -> Facts:
    run = Run(voice.run) if voice.run else None
    return Facts(
        name=f"{voice.base.name} SO8T" if run else voice.base.name, base=voice.base.name if run else "",
        dataset=Path(run.settings().dataset).name if run else "", dataset_sha256=run.record["dataset"] if run else "",
        run=run.id if run else "", license=_license(voice.base),
    )  # fmt: skip


def _license(base: Path) -> str:
    """The short name of the licence that lies beside the model; "" when it is none of the common ones."""
    try:
        with (base / "LICENSE").open(encoding="utf-8-sig", errors="replace") as file:
            return _LICENSES.get(file.readline().strip().lower(), "")
    except OSError:
        return ""


@dataclass
class _Work:
    """One export under way and what has come of it."""

    settings: Settings
    voice: Voice
    wish: Wish
    place: Place
    facts: Facts
    begun: float
    files: list[File] = field(default_factory=list)
    outcome: dict = field(default_factory=dict)
    failures: list[e.FidelityMeasured] = field(default_factory=list)
    pushed: str = ""

    def write(self, kinds: tuple[str, ...], cancel) -> Iterator[e.Event]:
        """The files: those that are whole stay, the others are written in one pass."""
        found: dict[str, File] = {}
        for kind in kinds:
            for event in self.place.whole(kind, cancel):
                yield event
                if isinstance(event, e.GgufKept):
                    found[kind] = _file(event)
        outputs = {kind: self.place.path(kind) for kind in kinds if kind not in found}
        if outputs and not cancel.is_set():
            for event in convert(self.voice.base, self.voice.adapter, outputs, self.facts, cancel):
                if isinstance(event, e.GgufWritten):
                    found[event.quantization] = _file(event)
                    self.place.record([found[event.quantization]])
                yield event
        self.files = [found[kind] for kind in kinds if kind in found]

    def prove(self, prompts: Prompts | None, cancel) -> Iterator[e.Event]:
        """Compare the files with the model, or say why not."""
        self.place.paths.fidelity.unlink(missing_ok=True)
        if prompts is None:
            code = "export.no_llama" if self.wish.gate else "export.gate_off"
            self.outcome = {"outcome": "not measured", "code": code}
            yield e.FidelitySkipped(code=code)
            return
        gate = Gate(self.settings, self.voice, prompts, self.files)
        for event in gate.measure(cancel):
            if isinstance(event, e.FidelityMeasured) and not event.passed:
                self.failures.append(event)
            yield event
        if cancel.is_set():
            return
        store(self.place.paths.fidelity, gate.report)
        self.outcome = {"outcome": "passed" if gate.passed else "failed", "code": ""}
        if self.failures:
            self.outcome["failures"] = [
                {"quantization": event.quantization, "agreement": event.agreement[0], "lines": list(event.lines)}
                for event in self.failures
            ]

    def describe(self) -> Iterator[e.Event]:
        """The Modelfile and the results so far."""
        with writing(self.place.paths.modelfile):
            card = card_of(self.voice.system, self.voice.base)
            write_modelfile(self.place.paths.folder, min(self.files, key=lambda file: file.bytes).path.name, card)
        self._store()
        yield from ()

    def push(self, cancel) -> Iterator[e.Event]:
        """Bring the smallest file into Ollama, if a name is given and no file has failed."""
        if not self.wish.name:
            return
        folder, wish = self.place.paths.folder, self.wish
        for event in deliver(self.settings, self.voice, folder, wish.name, wish.consent, cancel):
            if isinstance(event, e.ModelPushed):
                self.pushed = event.name
            yield event

    def finished(self) -> e.ExportFinished:
        """The last event."""
        passed = {"passed": True, "failed": False}.get(self.outcome["outcome"])
        return e.ExportFinished(
            folder=str(self.place.paths.folder), files=tuple(str(file.path) for file in self.files),
            modelfile=str(self.place.paths.modelfile), passed=passed, pushed=self.pushed,
            seconds=time.time() - self.begun,
        )  # fmt: skip

    def _store(self) -> None:
        voice, paths = self.voice, self.place.paths
        store(paths.results, {
            "version": VERSION, "id": paths.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.begun)),
            "seconds": time.time() - self.begun,
            "model": {
                "key": voice.key, "name": voice.name, "base": str(voice.base),
                "adapter": str(voice.adapter) if voice.adapter else None, "run": self.facts.run or None,
            },
            "facts": asdict(self.facts),
            "files": [
                {"file": file.path.name, "quantization": file.quantization, "bytes": file.bytes, "sha256": file.sha256}
                for file in self.files
            ],
            "modelfile": paths.modelfile.name, "gate": self.outcome, "push": None,
        })  # fmt: skip


def _file(event: e.GgufWritten | e.GgufKept) -> File:
    return File(Path(event.file), event.quantization, event.bytes, event.sha256)
