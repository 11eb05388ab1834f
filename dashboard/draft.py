"""The working copy of a config: one in the process, so that two windows and a reload see the same.

The YAML text is the truth. The form is a view of it: changing a field rewrites one value in the text.
"""

import re
import threading
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so8t_engine import BadInput, EngineError, Settings, SettingsError, config

PRESETS = ("demo", "borea_phi35_so8t", "smollm2_cpu", "pipeline")
"""Configs that ship with the program; they are opened and copied, never written over."""

LONGEST_NAME = 80

_FORBIDDEN = '<>:"/\\|?*'
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
_A_RUNS_CONFIG = re.compile(r"^base_model[ \t]*:", re.MULTILINE)
"""Other YAML files may lie in the same folder."""


@dataclass(frozen=True)
class View:
    """The draft at one moment.

    values: what the text says for every setting, right or wrong; of the last text that could be read as YAML.
    readable: whether that is the present text.
    faults: all of them, in the order of the form.
    mendable: whether there is a readable text that `mend` can go back to.
    undoable: name of the file whose unsaved changes `undo` brings back, or "".
    """

    revision: int
    file: Path
    text: str
    dirty: bool
    readable: bool
    values: Mapping[str, Any]
    faults: tuple[EngineError, ...]
    mendable: bool
    undoable: str


class Draft:
    """One config being edited. Methods may be called from any thread.

    Args:
        config_file: opened first. Raises BadInput when it can't be read.
        folder: where configs are listed and saved.
    """

    def __init__(self, config_file: Path, folder: Path = config.CONFIGS) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._revision = 0
        self._previous: tuple[Path, str, str] | None = None
        self._view: View | None = None
        self._hold(Path(config_file), config.read(config_file))

    @property
    def file(self) -> Path:
        """Where `save` writes."""
        return self._file

    @property
    def text(self) -> str:
        """The YAML as it was typed, right or wrong."""
        return self._text

    @property
    def dirty(self) -> bool:
        """Whether the text differs from what was last opened or saved."""
        return self._text != self._saved

    @property
    def preset(self) -> bool:
        """Whether the open file ships with the program."""
        return self._ships(self._file.stem) and self._file.parent.resolve() == self.folder.resolve()

    def settings(self) -> Settings:
        """The settings that the text means. Raises SettingsError with every fault."""
        with self._lock:
            return config.parse(self._text, where=self._file.name)

    def view(self) -> View:
        """The draft as the page shows it."""
        with self._lock:
            if self._view is None or self._view.revision != self._revision:
                self._view = self._look()
            return self._view

    def edit(self, text: str) -> None:
        """Replace the whole text, as typed."""
        with self._lock:
            self._set(text.replace("\r\n", "\n"))

    def change(self, path: str, value: Any) -> None:
        """Replace one value, keeping comments. Raises SettingsError while the text is no YAML."""
        with self._lock:
            if self._readable == self._text and self._values[path] == value:
                return  # 16 for 16.0 is no change: a form knows no difference
            self._set(config.changed(self._text, path, value))

    def mend(self) -> None:
        """Go back to the last text that could be read as YAML."""
        with self._lock:
            if self._readable is not None:
                self._remember()
                self._set(self._readable)

    def files(self) -> list[Path]:
        """Every config that can be opened: presets first, then the person's own; the open one is always among them."""
        with self._lock:
            found = {file.stem.casefold(): file for file in self.folder.glob("*.y*ml") if _is_a_runs_config(file)}
            own = sorted(file for name, file in found.items() if name not in PRESETS)
            shown = [found[name] for name in PRESETS if name in found] + own
            return shown if self._file in shown else [*shown, self._file]

    def open(self, file: Path) -> None:
        """Put another file in the draft; unsaved changes can be had back with `undo`. Raises BadInput."""
        with self._lock:
            text = config.read(file)
            self._remember()
            self._hold(Path(file), text)

    def take(self, name: str, text: str) -> None:
        """Put a text from elsewhere in the draft, under a free name near `name`; it is not saved yet."""
        with self._lock:
            self._remember()
            stem = re.sub(rf"[{re.escape(_FORBIDDEN)}\x00-\x1f]", "_", Path(name).stem)[:LONGEST_NAME].strip(" .")
            self._hold(self.folder / f"{self._free(stem or 'config')}.yaml", text.replace("\r\n", "\n"))
            self._saved = ""

    def undo(self) -> None:
        """Bring back the unsaved changes that the last `open`, `take`, `mend` or `undo` put away."""
        with self._lock:
            if self._previous is not None:
                file, text, saved = self._previous
                self._remember()
                self._hold(file, text)
                self._saved = saved

    def save(self, *, overwrite: bool = False) -> None:
        """Write the text to `file`. Raises BadInput for a preset, and when another program changed the file."""
        with self._lock:
            if self.preset:
                raise BadInput("config.name_preset", where=str(self._file), name=self._file.stem)
            if not overwrite and self._saved and self._on_disk() not in (None, self._saved, self._text):
                raise BadInput("config.changed_outside", where=str(self._file))
            config.write(self._file, self._text)
            self._saved = self._text
            self._revision += 1

    def save_as(self, name: str, *, overwrite: bool = False) -> Path:
        """Write the text to a file of this name in the folder and go on with it. Raises BadInput."""
        with self._lock:
            stem = _checked(name)
            taken = next((file for file in self._all() if file.stem.casefold() == stem.casefold()), None)
            if self._ships(stem) or (taken and not _is_a_runs_config(taken)):
                raise BadInput("config.name_preset", where=str(self.folder), name=stem)
            if taken and not overwrite:
                raise BadInput("config.name_taken", where=str(taken), name=stem)
            file = taken or self.folder / f"{stem}.yaml"
            config.write(file, self._text)
            self._file, self._saved = file, self._text
            self._revision += 1
            return file

    def suggestion(self) -> str:
        """A free name for a copy of the open config."""
        with self._lock:
            return self._free(re.sub(r"_\d+$", "", self._file.stem))

    def _hold(self, file: Path, text: str) -> None:
        self._file, self._saved, self._readable = file, text, None
        self._values = config.said("")
        self._set(text)

    def _set(self, text: str) -> None:
        self._text = text
        self._revision += 1
        with suppress(SettingsError):  # the form goes on showing what could last be read
            self._values, self._readable = config.said(text), text

    def _look(self) -> View:
        faults: list[EngineError] = []
        try:
            self.settings()
        except SettingsError as error:
            faults = error.faults
        return View(
            self._revision, self._file, self._text, self.dirty, self._readable == self._text, self._values,
            tuple(faults), self._readable is not None, self._previous[0].name if self._previous else "",
        )  # fmt: skip

    def _remember(self) -> None:
        self._previous = (self._file, self._text, self._saved) if self.dirty else None

    def _on_disk(self) -> str | None:
        try:
            return config.read(self._file)
        except BadInput:
            return None

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("*.y*ml"))

    def _free(self, stem: str) -> str:
        taken = {file.stem.casefold() for file in self._all()}
        names = (stem, *(f"{stem}_{number}" for number in range(2, 10_000)))
        return next(name for name in names if name.casefold() not in taken)

    @staticmethod
    def _ships(stem: str) -> bool:
        return stem.casefold() in PRESETS


def _is_a_runs_config(file: Path) -> bool:
    try:
        return bool(_A_RUNS_CONFIG.search(config.read(file)))
    except BadInput:
        return False


def _checked(name: str) -> str:
    """The name without ".yaml", fit for a file on Windows too. Raises BadInput."""
    stem = re.sub(r"\.ya?ml$", "", unicodedata.normalize("NFC", name).strip(), flags=re.IGNORECASE)
    if not stem:
        raise BadInput("config.name_empty")
    unfit = any(sign in _FORBIDDEN or not sign.isprintable() for sign in stem)
    if unfit or stem[0] == "." or stem[-1] in " ." or len(stem) > LONGEST_NAME:
        raise BadInput(
            "config.name_bad", name=repr(stem[:LONGEST_NAME])[1:-1], limit=LONGEST_NAME, forbidden=_FORBIDDEN
        )
    if _DEVICES.fullmatch(stem):
        raise BadInput("config.name_reserved", name=stem)
    return stem
