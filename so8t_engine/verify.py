"""The checks before a run: each tries a little of what a training will do, and says what to do when it can't.

`verification/verification_results.json`, in the run or in the verification's own folder, holds what was found:

    version     1; a reader refuses a number that it does not know
    started     ISO 8601 with the zone's offset;  seconds: of the whole verification
    outcome     the worst of the checks: "pass", "warn" or "fail"
    counts      {"pass": n, "warn": n, "fail": n, "skipped": n}
    settings    {"fingerprint": SHA-256 of all that shapes the weights, "values": {"train.epochs": 2.0, …}}
    machine     {"system": …, "python": …}
    checks      in order, each {"name", "outcome", "seconds", "code", "where", "facts", "faults", "details",
                "en": {"what", "hint"}, "ja": {"what", "hint"}}; faults: [{"code", "where", "facts"}, …]

A check whose prerequisite failed is "skipped". Nothing else is left behind: files of the trial are deleted, and
torch's random state, default dtype and number of threads are as they were.
"""

import json
import platform
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from so8t_engine import config, verify_inputs, verify_machine, verify_trial
from so8t_engine import events as e
from so8t_engine.disk import write_whole
from so8t_engine.errors import LANGUAGES, EngineError, sentence
from so8t_engine.model.memory import give_back
from so8t_engine.runs import verification_file
from so8t_engine.settings import Settings
from so8t_engine.verify_finding import OUTCOMES, Finding, Trial

VERSION = 1


@dataclass(frozen=True)
class Check:
    """One check: its name on the page and the command line, what it does, and the checks that it builds on."""

    name: str
    look: Callable[[Trial], Finding]
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("packages", verify_machine.packages),
    Check("torch", verify_machine.torch_build, ("packages",)),
    Check("card", verify_machine.card, ("torch",)),
    Check("bitsandbytes", verify_machine.bitsandbytes, ("torch",)),
    Check("model", verify_inputs.model_folder, ("torch",)),
    Check("memory", verify_machine.memory, ("model",)),
    Check("disk", verify_machine.disk, ("model",)),
    Check("tokenizer", verify_inputs.tokenizer, ("model",)),
    Check("dataset", verify_inputs.dataset),
    Check("settings", verify_inputs.plan, ("tokenizer", "dataset")),
    Check("targets", verify_trial.targets, ("bitsandbytes", "memory")),
    Check("step", verify_trial.step, ("targets", "settings")),
    Check("answer", verify_trial.answer, ("targets", "tokenizer")),
    Check("checkpoint", verify_trial.checkpoint_round, ("step", "disk")),
    Check("kill", verify_trial.kill),
)
"""In order. Memory and disk follow the model: their estimates are made from its files."""


def verify(settings: Settings, folder: Path, cancel) -> Iterator[e.Event]:
    """Try everything that a training with `settings` needs.

    Args:
        folder: a run's, or a new one for this verification; results go into `verification/` in it.
        cancel: anything with `is_set()`; looked at between checks. A stopped verification leaves no results.

    Yields:
        CheckStarted and CheckFinished for each of CHECKS, then VerificationFinished.

    Raises:
        EngineError: "verify.unwritten" when the results can't be stored; every check has been told by then.
    """
    trial = Trial(settings, folder)
    begun, done = time.time(), []
    roots: dict[str, str] = {}
    try:
        for number, check in enumerate(CHECKS, start=1):
            if cancel.is_set():
                return
            yield e.CheckStarted(name=check.name, number=number, total=len(CHECKS))
            event = _looked(check, trial, roots)
            if event.outcome in ("fail", "skipped"):
                roots[check.name] = event.facts["check"] if event.outcome == "skipped" else check.name
            done.append(event)
            yield event
        yield _told(settings, folder, begun, done)
    finally:
        _free(trial)


def _looked(check: Check, trial: Trial, roots: dict[str, str]) -> e.CheckFinished:
    """Make the check. roots: for each check that failed or was skipped, the one whose failing is the cause."""
    begun = time.monotonic()
    lost = [name for name in check.needs if name in roots]
    skipped = Finding("skipped", "verify.skipped", facts={"check": roots[lost[0]]}) if lost else None
    found = skipped or _guarded(check, trial)
    return e.CheckFinished(
        name=check.name, outcome=found.outcome, seconds=time.monotonic() - begun, code=found.code, facts=found.facts,
        where=found.where, faults=found.faults, details=found.details,
    )  # fmt: skip


def _guarded(check: Check, trial: Trial) -> Finding:
    """What the check found; whatever it raises is its own fail."""
    try:
        with _as_it_was():
            return check.look(trial)
    except EngineError as error:
        return Finding("fail", error.code, error.where, error.facts)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        code = "verify.out_of_memory" if full else "verify.unexpected"
        return Finding("fail", code, facts={"reason": reason}, details="" if full else traceback.format_exc())


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Python's and torch's random states, torch's default dtype and threads are afterwards what they were before.

    torch is not loaded for this: before its own check has imported it there is nothing to keep.
    """
    state, torch = random.getstate(), sys.modules.get("torch")
    try:
        if torch is None:
            yield
            return
        dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)
    finally:
        random.setstate(state)


def _told(settings: Settings, folder: Path, begun: float, done: list[e.CheckFinished]) -> e.VerificationFinished:
    """Store the results and sum them up."""
    counts, seconds = Counter(event.outcome for event in done), time.time() - begun
    results = {
        "version": VERSION,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(begun)),
        "seconds": seconds,
        "outcome": next(name for name in ("fail", "warn", "pass") if counts[name]),
        "counts": {name: counts[name] for name in OUTCOMES},
        "settings": {"fingerprint": settings.fingerprint(), "values": config.to_values(settings)},
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "checks": [_entry(event) for event in done],
    }
    file = verification_file(folder)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(results, indent=1, ensure_ascii=False).encode("utf-8"))
    except OSError as error:
        raise EngineError("verify.unwritten", where=str(file), reason=error.strerror or error) from None
    return e.VerificationFinished(
        folder=str(file.parent), passed=counts["pass"], warned=counts["warn"], failed=counts["fail"],
        skipped=counts["skipped"], seconds=seconds,
    )  # fmt: skip


def _entry(event: e.CheckFinished) -> dict:
    fields = event.model_dump(mode="json", exclude={"time", "faults"})
    fields["faults"] = [fault.model_dump(mode="json", exclude={"time"}) for fault in event.faults]
    words = {
        language: {part: sentence(event.code, part, language, event.facts) for part in ("what", "hint")}
        for language in LANGUAGES
    }
    return fields | words


def _free(trial: Trial) -> None:
    """Let go of the model, then delete the files of the trial: Windows deletes none that is still mapped."""
    trial.model = None
    give_back()
    trial.clear()
