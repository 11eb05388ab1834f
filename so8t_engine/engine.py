"""The engine: takes commands, runs them on its worker thread, shows a snapshot.

A stage is imported by its first command, so that a page can open before torch is loaded.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from so8t_engine import ab_tests, evaluations, exports, hardware, pipelines
from so8t_engine import runs as run_folders
from so8t_engine import voice as voices
from so8t_engine.ab_tests import Finished as AbTested
from so8t_engine.audit import Audit
from so8t_engine.chat.desk import Desk
from so8t_engine.chat.speaker import Speaker
from so8t_engine.chat.think import Think
from so8t_engine.chime import rung
from so8t_engine.commands import (
    Command,
    ExportModel,
    LintDataset,
    RunAbTest,
    RunEvaluation,
    RunJapaneseTest,
    RunPipeline,
    StartTraining,
    StartVerification,
)
from so8t_engine.config import ROOT, Settings
from so8t_engine.errors import BadInput
from so8t_engine.evaluations import Finished
from so8t_engine.events import Event
from so8t_engine.exports import Finished as Exported
from so8t_engine.jobs import Cancel, Worker
from so8t_engine.pipelines import Stored as StoredPipeline
from so8t_engine.runs import AbTest, Evaluation, Export, JapaneseTest, Run, Work
from so8t_engine.snapshot import Snapshot, replay
from so8t_engine.voice import Voice

if TYPE_CHECKING:
    from so8t_engine.export.standing import Standing


class Engine:
    """One engine a process. Methods may be called from any thread.

    Args:
        runs_folder: where `runs()` looks and whose newest run is shown at the start.
        settings: gives the settings of now for the chat and /think; may raise SettingsError.

    Attributes:
        audit: the log of every answer under that folder.
        chat: two models side by side. think: the endpoint's logic.
        heard: whether a page is open that tells how an overnight chain goes; while none is, the system does.
    """

    def __init__(self, runs_folder: Path = ROOT / "runs", settings: Callable[[], Settings] = Settings) -> None:
        self.runs_folder = runs_folder
        self.audit = Audit(run_folders.audit_folder(runs_folder))
        self._worker = Worker(Snapshot())
        self._speaker = Speaker(self._worker)
        self.chat = Desk(runs_folder, settings, self._speaker, self.audit)
        self.think = Think(settings, self._speaker, self.audit, runs_folder)
        self.heard: Callable[[], bool] = lambda: False

    def submit(self, command: Command) -> str:
        """Begin a job and give back its id. Raises Busy while another one runs.

        A job that needs the machine's memory ends the answers under way and frees the chat's model.
        """
        if not isinstance(command, LintDataset) and not self._worker.command():
            self.rest()
        return self._worker.start(type(command).__name__, lambda cancel: _stage(command, cancel, lambda: self.heard()))

    def cancel(self) -> None:
        """Ask the running job to stop within one step; it leaves a checkpoint."""
        self._worker.cancel()

    def rest(self) -> None:
        """End every answer under way and free the model that gives them."""
        self._speaker.rest()

    def snapshot(self) -> Snapshot:
        """The picture of now. Reading it never waits."""
        return self._worker.snapshot()

    def card(self) -> str | None:
        """The name of the NVIDIA card, or None where there is none. Asked of the driver: no torch is loaded."""
        return hardware.sample().gpu_name

    def follow(self) -> Iterator[Event]:
        """Every event of the present job to its end."""
        return self._worker.follow()

    def wait(self, seconds: float | None = None) -> None:
        """Return when the present job has ended, or after `seconds`."""
        self._worker.wait(seconds)

    def runs(self) -> list[Run]:
        """Every run, newest first."""
        return run_folders.all_runs(self.runs_folder)

    def evaluations(self) -> list[Finished]:
        """Every finished evaluation, newest first."""
        return evaluations.finished(self.runs_folder)

    def interrupted(self) -> list[Evaluation]:
        """Evaluations that were begun and can go on, newest first."""
        return evaluations.interrupted(self.runs_folder)

    def ab_tests(self) -> list[AbTested]:
        """Every finished A/B test, newest first."""
        return ab_tests.finished(self.runs_folder)

    def interrupted_ab_tests(self) -> list[AbTest]:
        """A/B tests that were begun and can go on, newest first."""
        return ab_tests.interrupted(self.runs_folder)

    def voices(self, settings: Settings) -> list[Voice]:
        """Every model of ours that can be evaluated: the original, then the runs that have an adapter, newest first.

        Reads no weights: whether a run's files are whole is found out when it is evaluated.
        """
        return voices.listed(self.runs_folder, settings)

    def exports(self) -> list[Exported]:
        """Every export with results, newest first."""
        return exports.finished(self.runs_folder)

    def export_sizes(self, voice: Voice) -> dict[str, int]:
        """About how many bytes each kind of GGUF file of this model will have; {} where that can't be told."""
        return exports.expected_sizes(voice.base)

    def ollama(self, settings: Settings) -> "Standing":
        """Whether Ollama answers, and what a push to it would mean. Waits for it; raises EngineError when it does not."""
        from so8t_engine.export.standing import standing

        return standing(settings.ollama.address)

    def pipelines(self) -> list[StoredPipeline]:
        """Every overnight chain, newest first."""
        return pipelines.stored(self.runs_folder)

    def show(self, stored: Run | StoredPipeline) -> None:
        """Put a stored run, or a chain, on view. Raises Busy while a job runs."""
        self._worker.show(replay(stored.events()))


def _stage(command: Command, cancel: Cancel, heard: Callable[[], bool]) -> Iterator[Event]:
    match command:
        case LintDataset():
            from so8t_engine.data.lint import lint

            return lint(command.settings)
        case StartVerification():
            return _verification(command, cancel)
        case StartTraining():
            from so8t_engine.train.job import retrain

            return retrain(command.settings, command.output, command.resume, cancel)
        case RunEvaluation():
            return _evaluation(command, cancel)
        case ExportModel():
            return _export(command, cancel)
        case RunAbTest():
            return _ab_test(command, cancel)
        case RunJapaneseTest():
            return _japanese_test(command, cancel)
        case RunPipeline():
            return _pipeline(command, cancel, heard)
    raise TypeError(f"no stage for {type(command).__name__}")


def _verification(command: StartVerification, cancel: Cancel) -> Iterator[Event]:
    from so8t_engine.verify import verify

    settings: Settings = command.settings
    root = settings.resolve(settings.runs)
    if not command.run:
        yield from verify(settings, run_folders.new_verification(root), cancel)
        return
    run = run_folders.find(root, command.run)
    with run.lock():
        yield from verify(settings, run.folder, cancel)


def _folder(output: str, kind: type[Work], root: Path, run: Path | None) -> Path:
    """Where a job writes: the folder that its command names, or a new one."""
    return Path(output) if output else kind.new(root, run).folder


def _evaluation(command: RunEvaluation, cancel: Cancel) -> Iterator[Event]:
    from so8t_engine.evaluate.suite import MODES, evaluate

    settings: Settings = command.settings
    root = settings.resolve(settings.runs)
    voice = voices.named(command.model, root, settings)
    folder = _folder(command.output, Evaluation, root, voice.run)
    modes = tuple(mode for mode in MODES if getattr(command, mode))
    if not modes:
        raise BadInput("evaluate.no_mode")
    yield from evaluate(settings, voice, folder, modes, command.test_data, cancel)


def _export(command: ExportModel, cancel: Cancel) -> Iterator[Event]:
    from so8t_engine.export.suite import Wish, export

    settings: Settings = command.settings
    root = settings.resolve(settings.runs)
    voice = voices.named(command.model, root, settings)
    folder = _folder(command.output, Export, root, voice.run)
    kinds = command.quantizations or settings.export.quantizations
    wish = Wish(kinds, command.name, command.gate, command.consent, command.prompts)
    yield from export(settings, voice, folder, wish, cancel)


def _ab_test(command: RunAbTest, cancel: Cancel) -> Iterator[Event]:
    from so8t_engine.evaluate.ab_test import ab_test

    settings: Settings = command.settings
    root = settings.resolve(settings.runs)
    base, retrained = (voices.named(name, root, settings) for name in (command.base, command.retrained))
    folder = _folder(command.output, AbTest, root, retrained.run)
    yield from ab_test(settings, base, retrained, folder, command.test_data, cancel)


def _japanese_test(command: RunJapaneseTest, cancel: Cancel) -> Iterator[Event]:
    from so8t_engine.export.japanese_test import OLLAMA, japanese_test

    settings: Settings = command.settings
    root = settings.resolve(settings.runs)
    ours = not command.model.startswith(OLLAMA)
    model = voices.named(command.model, root, settings) if ours else command.model.removeprefix(OLLAMA)
    folder = _folder(command.output, JapaneseTest, root, model.run if ours else None)
    against = Path(command.against) if command.against else None
    yield from japanese_test(settings, model, folder, cancel, against)


def _pipeline(command: RunPipeline, cancel: Cancel, heard: Callable[[], bool]) -> Iterator[Event]:
    from so8t_engine.pipeline import open_pipeline, pipeline

    place, resumed = open_pipeline(command.settings, command.output, command.resume)
    chain = pipeline(command.settings, place, resumed, command.skip, command.force, cancel)
    yield from rung(chain, heard) if command.settings.pipeline.sound else chain
