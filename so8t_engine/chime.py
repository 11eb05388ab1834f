"""The system says how an overnight chain goes, when no page is open to say it: a short sound and a notification.

The only module that knows how a system does that. What a system lacks stays silent, nothing here ever fails or holds up
the chain, and no text becomes code: it goes to programs as an argument or in the environment.
"""

import locale
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from html import escape
from pathlib import Path
from shutil import which

from so8t_engine import events as e
from so8t_engine.settings import ROOT

FOLDER = ROOT / "assets" / "sounds"
TITLE = "SO8T Studio"

PATIENCE_SECONDS = 15.0
"""How long a program may take to play or to show something."""

Program = tuple[list[str], dict[str, str]]
"""A command, and what it needs in its environment."""

Find = Callable[[str], str | None]
"""Where a program lies, None for nowhere."""

_PLAYERS = (["pw-play"], ["paplay"], ["aplay", "-q"], ["canberra-gtk-play", "-f"])
"""Of Linux; each is given the file behind its own words."""

_BALLOON = """
Add-Type -AssemblyName System.Windows.Forms, System.Drawing
$icon = New-Object System.Windows.Forms.NotifyIcon
$icon.Icon = [System.Drawing.SystemIcons]::Information
$icon.Visible = $true
$icon.ShowBalloonTip(8000, $env:SO8T_TITLE, $env:SO8T_TEXT, 'Info')
Start-Sleep -Seconds 8
$icon.Dispose()
"""
"""For PowerShell, which reads the words from the environment."""

_APPLE = ["on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run"]


def rung(chain: Iterator[e.Event], heard: Callable[[], bool]) -> Iterator[e.Event]:
    """The events of a chain; after those that a sleeper wants to know of, the system rings unless `heard()`."""
    opened: e.PipelineOpened | None = None
    stage = ""  # that has failed
    try:
        for event in chain:
            yield event
            if isinstance(event, e.PipelineOpened):
                opened = event
            elif isinstance(event, e.StageFinished) and event.outcome == "failed":
                stage = event.stage
            elif isinstance(event, e.StageFinished) and event.outcome == "finished" and not heard():
                stages = opened.stages
                ring("stage_done", stage=event.stage, number=stages.index(event.stage) + 1, count=len(stages))
            elif isinstance(event, e.PipelineFinished) and not heard():
                ring("all_done")
    except Exception:
        if stage and not heard():
            ring("trouble", stage=stage)
        raise


def ring(kind: str, **facts: object) -> threading.Thread:
    """Play the sound and show the words of `kind` ("stage_done", "all_done", "trouble"), on a thread of its own."""
    thread = threading.Thread(target=_ring, args=(FOLDER / f"{kind}.wav", kind, facts), name="chime")
    thread.start()
    return thread


def sentence(kind: str, language: str, facts: dict[str, object]) -> str:
    """The words of a notification; a stage in `facts` is named as a person names it."""
    words = _words()
    named = {"stage": words["stage"][facts["stage"]][language]} if "stage" in facts else {}
    return words["told"][kind][language].format_map(facts | named)


def language() -> str:
    """That of the system, "ja" or "en"."""
    return "ja" if (locale.getlocale()[0] or "").lower().startswith("ja") else "en"


def player(file: Path, system: str = sys.platform, find: Find = which) -> Program | None:
    """What plays `file`; None where the system has nothing, and on Windows, where Python itself does."""
    players = {"win32": (), "darwin": (["afplay"],)}.get(system, _PLAYERS)
    return next((([*words, str(file)], {}) for words in players if find(words[0])), None)


def notifier(text: str, system: str = sys.platform, find: Find = which) -> Program | None:
    """What shows `text`; None where the system has nothing."""
    if system == "win32":
        command = ["powershell", "-NoProfile", "-NonInteractive", "-Command", _BALLOON]
    elif system == "darwin":
        command = ["osascript", *(part for line in _APPLE for part in ("-e", line)), TITLE, text]
    else:
        command = ["notify-send", "--", TITLE, escape(text, quote=False)]  # it reads tags in the text
    return (command, {"SO8T_TITLE": TITLE, "SO8T_TEXT": text}) if find(command[0]) else None


def _ring(file: Path, kind: str, facts: dict[str, object]) -> None:
    told = notifier(sentence(kind, language(), facts))
    begun = [_begun(*found) for found in (told, player(file)) if found]
    if sys.platform == "win32":
        import winsound

        with suppress(RuntimeError):  # no sound card, or another program holds it
            winsound.PlaySound(str(file), winsound.SND_FILENAME | winsound.SND_NODEFAULT)
    for process in filter(None, begun):
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _begun(command: list[str], environment: dict[str, str]) -> subprocess.Popen | None:
    """The running command; None where the system refuses, which is no news to a sleeper."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with suppress(OSError):
        return subprocess.Popen(
            command, env={**os.environ, **environment}, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0), **quiet
        )
    return None


@cache
def _words() -> dict:
    with (FOLDER / "words.toml").open("rb") as file:
        return tomllib.load(file)
