"""What one check of a verification found, and what the checks hand on to each other."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from so8t_engine.disk import delete_folder
from so8t_engine.errors import EngineError
from so8t_engine.events import RowFaulted
from so8t_engine.settings import Settings

if TYPE_CHECKING:
    from peft import PeftModel

    from so8t_engine.data.batches import Schedule
    from so8t_engine.data.template import Example, Template

OUTCOMES = ("pass", "warn", "fail", "skipped")


@dataclass(frozen=True)
class Finding:
    """How a check ended.

    outcome: one of OUTCOMES. code, where, facts: as of an EngineError; they give the sentences in any language.
    faults: the single rows that are wrong, the first few of them.
    details: a traceback where the check met a fault of ours.
    """

    outcome: str
    code: str
    where: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    faults: tuple[RowFaulted, ...] = ()
    details: str = ""


def passed(code: str, **facts: object) -> Finding:
    """All is well; the sentence is a short fact."""
    return Finding("pass", code, facts=_texts(facts))


def warned(code: str, *, where: str = "", faults: tuple[RowFaulted, ...] = (), **facts: object) -> Finding:
    """A run would start, but a person should look at this first."""
    return Finding("warn", code, where, _texts(facts), faults)


def failed(code: str, *, where: str = "", faults: tuple[RowFaulted, ...] = (), **facts: object) -> Finding:
    """A run would end here."""
    return Finding("fail", code, where, _texts(facts), faults)


@dataclass
class Trial:
    """One verification: the settings on trial, and what the checks before have made of them.

    folder: the run, or the verification's own folder; files of the trial lie in it until `clear`.
    """

    settings: Settings
    folder: Path
    template: "Template | None" = None
    pad_id: int = 0
    schedule: "Schedule | None" = None
    longest: "Example | None" = None
    model: "PeftModel | None" = None
    _scratch: Path | None = None

    @property
    def base(self) -> Path:
        """Folder of the model to retrain."""
        return self.settings.resolve(self.settings.base_model)

    def scratch(self) -> Path:
        """A folder for files of the trial, on the disk where runs lie. Raises EngineError when it can't be made."""
        if self._scratch is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._scratch = Path(tempfile.mkdtemp(prefix=".trial-", dir=self.folder))
            except OSError as error:
                raise EngineError("verify.unwritten", where=str(self.folder), reason=error.strerror or error) from None
        return self._scratch

    def clear(self) -> None:
        """Delete the files of the trial, and the folder when nothing else is in it."""
        try:
            if self._scratch is not None:
                delete_folder(self._scratch)
            self.folder.rmdir()
        except (OSError, EngineError):
            return  # it holds results, or another program holds a file


def size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.1f} MiB"


def _texts(facts: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in facts.items()}
