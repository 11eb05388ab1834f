"""One worker thread, one job at a time: pulls a stage's generator, stores its events and folds the snapshot."""

import queue
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from so8t_engine import events as e
from so8t_engine import hardware
from so8t_engine.errors import BadInput, Busy, EngineError, SettingsError
from so8t_engine.ledger import Ledger
from so8t_engine.runs import Pipeline, Run
from so8t_engine.snapshot import Snapshot, fold, with_history

Cancel = threading.Event
"""Set when a person asks to stop. A stage looks at it once a micro-batch and ends after a checkpoint."""

Stage = Callable[[Cancel], Iterator[e.Event]]

SAMPLE_SECONDS = 2.0
"""Between two looks at the hardware while a job runs."""


class Worker:
    """Runs one job at a time on a thread of its own. All methods may be called from any thread."""

    def __init__(self, shown: Snapshot) -> None:
        self._snapshot = shown
        self._publishing = threading.Lock()
        self._starting = threading.Lock()
        self._followers: list[queue.SimpleQueue[e.Event]] = []
        self._thread: threading.Thread | None = None
        self._cancel = Cancel()
        self._ledger = Ledger()
        self._pause = threading.Condition()
        self._pauses = 0
        self._standing = False

    def snapshot(self) -> Snapshot:
        """The picture of now. Reading it never waits."""
        return self._snapshot

    def show(self, snapshot: Snapshot) -> None:
        """Put another run's picture on view. Raises Busy while a job runs."""
        with self._starting:
            if self._snapshot.active:
                raise Busy("engine.busy", command=self._snapshot.command)
            self._snapshot = snapshot

    def start(self, command: str, stage: Stage) -> str:
        """Begin a job and give back its id. Raises Busy while another one runs."""
        with self._starting:
            if self._snapshot.active:
                raise Busy("engine.busy", command=self._snapshot.command)
            if self._thread:
                self._thread.join()  # it has told its end and is about to leave
            job = secrets.token_hex(4)
            self._cancel = Cancel()
            self._ledger = Ledger()
            self._snapshot = Snapshot(version=self._snapshot.version + 1)
            self._publish(e.JobStarted(job=job, command=command))
            self._thread = threading.Thread(target=self._work, args=(job, stage, self._cancel), name="engine")
            self._thread.start()
            return job

    def cancel(self) -> None:
        """Ask the running job to stop. Asking twice, or when nothing runs, does nothing."""
        with self._starting:
            if self._snapshot.state == "running":
                self._publish(e.StopRequested(job=self._snapshot.job))
                self._cancel.set()

    def follow(self) -> Iterator[e.Event]:
        """The log of the newest job so far, then every event to its end.

        A job that ended before the first look is told all the same.
        """
        inbox: queue.SimpleQueue[e.Event] = queue.SimpleQueue()
        with self._publishing:
            told, active = self._snapshot.log, self._snapshot.active
            if active:
                self._followers.append(inbox)
        try:
            yield from told
            while active:
                event = inbox.get()
                yield event
                active = not isinstance(event, e.JobFinished | e.JobStopped | e.JobFailed)
        finally:
            with self._publishing:
                if inbox in self._followers:
                    self._followers.remove(inbox)

    def wait(self, seconds: float | None = None) -> None:
        """Return when the present job has ended, or after `seconds`."""
        if self._thread:
            self._thread.join(seconds)

    def command(self) -> str:
        """What runs now, by the name of its command; "" when nothing does."""
        snapshot = self._snapshot
        return snapshot.command if snapshot.active else ""

    def settled(self) -> bool:
        """Whether the job has taken all the memory it will: a training that has done a step, others never."""
        snapshot = self._snapshot
        if snapshot.command not in ("LintDataset", "StartTraining"):
            return False
        last = snapshot.steps.last
        return snapshot.command != "StartTraining" or (last is not None and last.time >= snapshot.started)

    @contextmanager
    def paused(self, seconds: float) -> Iterator[None]:
        """The job stands still between two of its events while this is open; one that starts meanwhile waits.

        Raises Busy when it has not come to a stop after `seconds`.
        """
        with self._pause:
            self._pauses += 1
            stands = self._pause.wait_for(lambda: self._standing or not self._snapshot.active, seconds)
        try:
            if not stands:
                raise Busy("engine.no_pause", command=self._snapshot.command)
            yield
        finally:
            with self._pause:
                self._pauses -= 1
                self._pause.notify_all()

    def _stand(self) -> None:
        """Between two events of the stage: wait while somebody needs the job to stand still."""
        with self._pause:
            if self._pauses:
                self._standing = True
                self._pause.notify_all()
                self._pause.wait_for(lambda: not self._pauses)
                self._standing = False

    def _work(self, job: str, stage: Stage, cancel: Cancel) -> None:
        begun = time.monotonic()
        ended = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(ended,), name="hardware", daemon=True)
        sampler.start()
        try:
            self._stand()
            for event in stage(cancel):
                self._publish(event)
                self._stand()
        except EngineError as error:
            last = _failed(job, error)
        except Exception as error:  # a fault of ours: the page must still say what happened
            last = e.JobFailed(
                job=job, code="engine.unexpected", facts={"reason": f"{type(error).__name__}: {error}"},
                details=traceback.format_exc(),
            )  # fmt: skip
        else:
            kind = e.JobStopped if cancel.is_set() else e.JobFinished
            last = kind(job=job, seconds=time.monotonic() - begun)
        ended.set()
        sampler.join()
        self._publish(last)
        with self._pause:
            self._pause.notify_all()

    def _sample(self, ended: threading.Event) -> None:
        while not ended.is_set():
            self._publish(hardware.sample())
            ended.wait(SAMPLE_SECONDS)

    def _publish(self, event: e.Event) -> None:
        with self._publishing:
            self._snapshot = fold(self._snapshot, event)
            if isinstance(event, e.RunOpened | e.PipelineOpened) and event.resumed:
                place = Run.at(event.folder) if isinstance(event, e.RunOpened) else Pipeline.at(event.folder)
                self._snapshot = with_history(self._snapshot, place.events())
            self._ledger.write(event)
            for inbox in self._followers:
                inbox.put(event)


def _failed(job: str, error: EngineError) -> e.JobFailed:
    details = "\n".join(str(fault) for fault in error.faults) if isinstance(error, SettingsError) else ""
    return e.JobFailed(
        job=job, code=error.code, where=error.where, facts=error.facts, bad_input=isinstance(error, BadInput),
        details=details,
    )  # fmt: skip
