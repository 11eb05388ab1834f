"""Overnight chains as a page reads them: what each stage has come to, and where that lies.

complete_pipeline_results.json:

    version   1; a reader refuses a number that it does not know
    id, created; updated: when it was written; tries: how often the chain was started
    state     "running" until its end, also when its process has died; "failed" since a stage failed; "finished"
    seconds   that the stages took, without the time of tries that were killed
    machine   {"system": …, "python": …}, of the newest try
    winner    of the A/B test: "base", "retrained", or null when there was none (or no test)
    pushed    the name in Ollama, "" for none
    stages    by name, in order, each
        state     "waiting", "running" (or broken off in it), "finished", "failed", "skipped", "not_needed"
        folders   where its results lie: one, for japanese_test that of the base and that of the winner
        seconds   that it took, without the time of tries that were killed
        code, where, facts   why, where it did not finish; the sentences stand in errors.toml
        figures   its main results, as text for a person
        results   its main results, as its own files in `folders` give them in full
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from so8t_engine import config
from so8t_engine.errors import BadInput
from so8t_engine.evaluations import readable
from so8t_engine.events import Event
from so8t_engine.runs import Pipeline
from so8t_engine.settings import STAGES

VERSION = 1

ENTRY = {"state", "folders", "seconds", "code", "where", "facts", "figures", "results"}
"""What is told of a stage."""

_NEEDED = {
    "id": str, "created": str, "tries": int, "state": str, "seconds": float, "winner": str | None, "pushed": str,
    "stages": dict,
}  # fmt: skip
"""What results must hold, and as what."""


@dataclass(frozen=True)
class Stored:
    """One chain. results: complete_pipeline_results.json as it stands."""

    place: Pipeline
    results: dict

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def folder(self) -> Path:
        return self.place.folder

    @property
    def finished(self) -> bool:
        """Whether it has come to its end; one that has not can go on, if no process is at work on it."""
        return self.results["state"] == "finished"

    def settings(self) -> config.Settings:
        """Those of its newest try. Raises BadInput when they can't be read."""
        return config.load(self.place.config_file)

    def events(self) -> Iterator[Event]:
        """All that has happened in it."""
        return self.place.events()


def read(folder: Path) -> Stored:
    """The chain in this folder. Raises BadInput when there is none, or one that can't be read."""
    place = Pipeline.at(folder)
    try:
        results = json.loads(place.results.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput("pipeline.no_results", where=str(folder)) from None
    except (OSError, ValueError) as error:
        raise BadInput("pipeline.bad_results", where=str(place.results), reason=error) from None
    if not isinstance(results, dict) or results.get("version") != VERSION:
        raise BadInput("pipeline.bad_results", where=str(place.results), reason=f"no version {VERSION}")
    lacking = [name for name, kind in _NEEDED.items() if name not in results or not isinstance(results[name], kind)]
    if lacking:
        raise BadInput("pipeline.bad_results", where=str(place.results), reason=f"no {', '.join(lacking)}")
    for name in STAGES:
        entry = results["stages"].get(name)
        if not isinstance(entry, dict) or entry.keys() != ENTRY:
            raise BadInput("pipeline.bad_results", where=str(place.results), reason=f"stages.{name}")
    return Stored(place, results)


def stored(root: Path) -> list[Stored]:
    """Every chain under `root` that can be read, newest first."""
    return readable(Pipeline.all(root), read)
