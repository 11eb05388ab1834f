"""The run folder: the only maker of paths.

    runs/<run_id>/
        run.json            id, creation time, fingerprints of settings and dataset
        config.yaml         the settings, frozen at the start
        split.json          which rows are for training, validation and test
        events.jsonl        all that happened, one event a line
        performance_report.json  what the newest try at training has cost, and where its time went
        checkpoints/        full training states, newest last
        best_model/         the adapter with the lowest validation loss
        final_model/        the adapter at the end: its manifest marks the run as finished
        export/<id>/        GGUF files of its model; those of other models lie in runs/export-<id>/
        verification/       what was checked before it, when that was asked for; else in runs/verification-<id>/
        evaluation/<id>/    one evaluation of its model; those of other models lie in runs/evaluation-<id>/
        ab_test/<id>/       one A/B test of its model; those of other models lie in runs/ab_test-<id>/
        japanese_test/<id>/ one Japanese test of its model; those of other models lie in runs/japanese_test-<id>/
    runs/pipeline-<id>/     one overnight chain: what it has done and where that lies; its run is called <id>
"""

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from so8t_engine import config, event_file
from so8t_engine.disk import FolderLock, write_whole
from so8t_engine.errors import BadInput
from so8t_engine.events import Event

MANIFEST = "MANIFEST.json"

JAPANESE_RESULTS = "_japanese_llm_performance_test_"
"""Stands in the names of a Japanese test's results, between run and model."""

_NO_NAME = re.compile(r'[<>:"/\\|?*\s\x00-\x1f\x7f-\x9f]+')
"""What Windows takes in no name of a file, and blanks."""

_LONGEST_PART = 60
"""Characters."""


@dataclass(frozen=True)
class Recorded:
    """A folder whose job keeps its settings and its events there."""

    folder: Path

    @classmethod
    def at(cls, folder: str | Path) -> Self:
        """The one in `folder`."""
        return cls(Path(folder).resolve())

    @property
    def config_file(self) -> Path:
        """The settings, frozen at the start."""
        return self.folder / "config.yaml"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    def lock(self) -> FolderLock:
        """Held while a job writes into the folder."""
        return FolderLock(self.folder)

    def events(self) -> Iterator[Event]:
        """Every event in order, those of all tries. A last line cut by a power failure is left out."""
        return event_file.read(self.events_file)

    def append(self, events: list[Event]) -> None:
        """Add events at the end."""
        event_file.append(self.events_file, events)


@dataclass(frozen=True)
class Run(Recorded):
    """One training's folder. Methods give paths; only `create`, `append` and `take_memory_of` write."""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def split_file(self) -> Path:
        return self.folder / "split.json"

    @property
    def performance_report(self) -> Path:
        return self.folder / "performance_report.json"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def best_model(self) -> Path:
        return self.folder / "best_model"

    @property
    def final_model(self) -> Path:
        return self.folder / "final_model"

    @property
    def record(self) -> dict[str, str]:
        """What `run.json` holds."""
        return json.loads((self.folder / "run.json").read_text(encoding="utf-8"))

    @property
    def finished(self) -> bool:
        """Whether the final model was written to its end."""
        return (self.final_model / MANIFEST).exists()

    def settings(self) -> config.Settings:
        """The settings that the run was started with, or last gone on with: see `take_memory_of`."""
        return config.load(self.config_file)

    def take_memory_of(self, settings: config.Settings) -> None:
        """Go on with what `settings` say of memory; the caller has the run locked."""
        own = self.settings()
        wanted = own.with_memory_of(settings)
        if wanted != own:
            write_whole(self.config_file, config.to_yaml(wanted).encode("utf-8"))


@dataclass(frozen=True)
class Work:
    """The folder of a job that is no training: in the run whose model it is about, or beside the runs.

    kind: its folders are called <run>/<kind>/<id>, or <kind>-<id> beside the runs.
    mark: the file that makes a folder one of this kind.
    """

    folder: Path
    kind: ClassVar[str]
    mark: ClassVar[str]

    @classmethod
    def new(cls, root: Path, run: Path | None = None) -> Self:
        """One for a new job on this run's model, or on what belongs to no run: a name that is never used again."""
        return cls(run / cls.kind / new_id() if run else root / f"{cls.kind}-{new_id()}")

    @classmethod
    def all(cls, root: Path) -> list[Self]:
        """Every one under `root` and in its runs, newest first."""
        marks = [*root.glob(f"{cls.kind}-*/{cls.mark}"), *root.glob(f"*/{cls.kind}/*/{cls.mark}")]
        return sorted((cls(mark.parent) for mark in marks), key=lambda one: one.id, reverse=True)

    @property
    def id(self) -> str:
        return self.folder.name.removeprefix(f"{self.kind}-")


@dataclass(frozen=True)
class Planned(Work):
    """Work that begins with a plan, so that a later try goes on with the same rows."""

    mark = "plan.json"

    @property
    def plan(self) -> Path:
        return self.folder / self.mark

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"


@dataclass(frozen=True)
class Evaluation(Planned):
    """One evaluation's folder."""

    kind = "evaluation"

    @property
    def results(self) -> Path:
        return self.folder / "evaluation_results.json"

    def answers(self, mode: str) -> Path:
        """What was measured so far in this mode ("scored", "generated"), a line a row."""
        return self.folder / f"{mode}.jsonl"


@dataclass(frozen=True)
class AbTest(Planned):
    """One A/B test's folder."""

    kind = "ab_test"

    @property
    def results(self) -> Path:
        return self.folder / "ab_test_results.json"

    def answers(self, side: str, mode: str) -> Path:
        """What one side ("base", "retrained") has decided so far in this mode, a line a row."""
        return self.folder / f"{side}-{mode}.jsonl"


@dataclass(frozen=True)
class JapaneseTest(Planned):
    """One Japanese test's folder."""

    kind = "japanese_test"

    @property
    def answers(self) -> Path:
        """What was answered so far, a line an answer."""
        return self.folder / "answers.jsonl"

    @property
    def results(self) -> Path | None:
        """The results, whose name has date and model in it; None before the test has come to its end."""
        return next(iter(sorted(self.folder.glob(f"*{JAPANESE_RESULTS}*.json"))), None)

    def named(self, day: str, run: str, model: str) -> tuple[Path, Path]:
        """The files for results and report, JSON and Markdown. day: YYYY-MM-DD; run, model: any text."""
        stem = f"{day}_{_file_part(run)}{JAPANESE_RESULTS}{_file_part(model)}"
        return self.folder / f"{stem}.json", self.folder / f"{stem}.md"


@dataclass(frozen=True)
class Export(Work):
    """One export's folder."""

    kind, mark = "export", "export_results.json"

    @property
    def manifest(self) -> Path:
        """Of which model it is and which files are whole."""
        return self.folder / MANIFEST

    @property
    def results(self) -> Path:
        return self.folder / self.mark

    @property
    def fidelity(self) -> Path:
        """How the files compare with the model."""
        return self.folder / "fidelity.json"

    @property
    def modelfile(self) -> Path:
        return self.folder / "Modelfile"


@dataclass(frozen=True)
class Pipeline(Work, Recorded):
    """One overnight chain's folder. Only `append` writes."""

    kind, mark = "pipeline", "complete_pipeline_results.json"

    @property
    def results(self) -> Path:
        """What each stage has come to; written anew before and after each."""
        return self.folder / self.mark


def create(folder: Path, settings: config.Settings, dataset_fingerprint: str) -> Run:
    """Make the folder of a new run. Raises BadInput when something else stands there."""
    if folder.exists() and any(folder.iterdir()):
        raise BadInput("run.folder_taken", where=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder.resolve())
    run.checkpoints.mkdir()
    run.best_model.mkdir()
    write_whole(run.config_file, config.to_yaml(settings).encode("utf-8"))
    record = {
        "id": run.id,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": settings.fingerprint(),
        "dataset": dataset_fingerprint,
    }
    write_whole(folder / "run.json", json.dumps(record, indent=2).encode("utf-8"))  # last: it makes the folder a run
    return run


def new_id() -> str:
    """A name that is never used again: time, then chance."""
    return time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run."""
    return (folder / "run.json").is_file()


def chat_folder(root: Path) -> Path:
    """Where the conversations and the votes of this runs folder lie."""
    return root / "chat"


def audit_folder(root: Path) -> Path:
    """Where the audit log of this runs folder lies."""
    return root / "audit"


def new_verification(root: Path) -> Path:
    """A folder for a verification that belongs to no run: a name that is never used again."""
    return root / f"verification-{new_id()}"


def verification_file(folder: Path) -> Path:
    """The results of the verification of a run, or of one that has this folder of its own."""
    return folder / "verification" / "verification_results.json"


def find(root: Path, name: str) -> Run:
    """The run with this id under `root`, or in this folder. Raises BadInput when there is none."""
    for folder in (root / name, Path(name)):
        if is_run(folder):
            return Run(folder.resolve())
    raise BadInput("run.missing", where=str(root), name=name)


def all_runs(root: Path) -> list[Run]:
    """Every run under `root`, newest first."""
    folders = [folder for folder in root.iterdir() if is_run(folder)] if root.is_dir() else []
    return [Run(folder.resolve()) for folder in sorted(folders, key=lambda f: f.name, reverse=True)]


def open_run(settings: config.Settings, dataset: str, output: str, resume: str) -> tuple[Run, bool]:
    """The run that a training command means, and whether it held work before.

    output: the run's own folder, or "" for one under `settings.runs`.
    resume: "auto", "never", or the id or folder of a run.
    dataset: fingerprint of the dataset file.
    Raises BadInput when the run was made with other settings or other data, or when `resume` forbids it.
    """
    root = settings.resolve(settings.runs)
    if resume not in ("auto", "never"):
        run = find(root, resume)
    elif output:
        run = Run.at(output) if is_run(Path(output)) else None
        if run and resume == "never":
            raise BadInput("run.folder_taken", where=output)
    else:
        run = unfinished(root, settings, dataset) if resume == "auto" else None
    if run is None:
        folder = Path(output) if output else root / new_id()
        return create(folder, settings, dataset), False
    if run.record["settings"] != settings.fingerprint():
        names = _differences(run.settings().with_memory_of(settings), settings)
        raise BadInput("run.other_settings" if names else "run.edited_settings", where=str(run.folder), names=names)
    if run.record["dataset"] != dataset:
        raise BadInput("run.other_data", where=str(run.folder), dataset=settings.dataset)
    return run, True


def _differences(old: config.Settings, new: config.Settings) -> str:
    """The settings in which the two differ, as "name: old -> new"."""
    before, after = config.to_values(old), config.to_values(new)
    return ", ".join(f"{name}: {before[name]} -> {after[name]}" for name in after if before[name] != after[name])


def unfinished(root: Path, settings: config.Settings, dataset_fingerprint: str) -> Run | None:
    """The newest run of the same settings and data that has not come to its end."""
    wanted = (settings.fingerprint(), dataset_fingerprint)
    for run in all_runs(root):
        record = run.record
        if not run.finished and (record["settings"], record["dataset"]) == wanted:
            return run
    return None


def _file_part(text: str) -> str:
    """`text` as a part of a file's name that every system takes."""
    return _NO_NAME.sub("_", text)[:_LONGEST_PART].strip("_. ") or "model"
