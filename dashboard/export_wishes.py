"""What a person asks for at the Export tab, as the engine's command; and the one folder that may be opened."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboard.bridge import Bridge
from so8t_engine import BadInput, ExportModel, FinishedExport

KINDS = ("f16", "q8_0", "bf16")


def find(bridge: Bridge, wanted: str) -> FinishedExport:
    """The export with this id. Raises BadInput when there is none."""
    for one in bridge.engine.exports():
        if one.id == wanted:
            return one
    raise BadInput("export.unknown", where=wanted[:40])


def start(bridge: Bridge, form: Mapping[str, Any]) -> None:
    """Export as the form says.

    form: model (a key of a voice), a switch for each of KINDS, gate, name (in Ollama, "" for none), consent.
    Raises EngineError for what can't be meant, before anything is begun.
    """
    model = str(form.get("model") or "")
    if model not in [voice.key for voice in bridge.engine.voices(bridge.settings_with())]:
        raise BadInput("voice.unknown", where=model[:200], runs=str(bridge.engine.runs_folder))
    kinds = [kind for kind in KINDS if form.get(kind) is True]
    if not kinds:
        raise BadInput("export.no_kind")
    _submit(bridge, model, kinds, _name(form), form)


def push(bridge: Bridge, wanted: str, form: Mapping[str, Any]) -> None:
    """Bring a finished export into Ollama under the form's name; its files are not written again."""
    one = find(bridge, wanted)
    if not _name(form):
        raise BadInput("export.no_name")
    kinds = [file["quantization"] for file in one.results["files"]]
    _submit(bridge, one.results["model"]["key"], kinds, _name(form), form, one.folder)


def go_on(bridge: Bridge, form: Mapping[str, Any]) -> None:
    """Take up the export that has just failed or was stopped, under the name that it was begun with.

    Consent and comparison are the form's: consent is not carried over to a window in which nobody has given it.
    """
    opened = bridge.engine.snapshot().export
    if opened is None:
        raise BadInput("export.unknown")
    _submit(bridge, opened.model, opened.quantizations, opened.push, form, Path(opened.folder))


def open_folder(bridge: Bridge, wanted: str) -> None:
    """Show the folder of an export in the file manager of the machine that the dashboard runs on."""
    folder = find(bridge, wanted).folder
    try:
        if sys.platform == "win32":
            os.startfile(folder)
        else:
            opener = "open" if sys.platform == "darwin" else "xdg-open"
            subprocess.Popen(
                [opener, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
    except OSError:
        raise BadInput("export.no_file_manager", where=str(folder)) from None


def _submit(
    bridge: Bridge, model: str, kinds: Sequence[str], name: str, form: Mapping[str, Any], folder: Path | None = None
) -> None:
    """folder: of the export to go on with, None for a new one."""
    bridge.engine.submit(
        ExportModel(
            settings=bridge.settings_with(), model=model, output=str(folder or ""), quantizations=tuple(kinds), name=name,
            gate=form.get("gate") is True, consent=form.get("consent") is True,
        )
    )  # fmt: skip


def _name(form: Mapping[str, Any]) -> str:
    return str(form.get("name") or "").strip()
