"""What a chain has come to so far, kept whole on the disk: complete_pipeline_results.json (`pipelines` has its form)."""

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from so8t_engine import config, pipelines
from so8t_engine.disk import write_whole
from so8t_engine.errors import EngineError
from so8t_engine.runs import Pipeline
from so8t_engine.settings import STAGES, Settings


@dataclass
class Entry:
    """One stage; its fields are those of the file."""

    state: str = "waiting"
    folders: list[str] = field(default_factory=list)
    seconds: float = 0.0
    code: str = ""
    where: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)
    results: dict = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of its main results."""
        return Path(self.folders[-1])


@dataclass
class Record:
    """One chain's results so far. `save` puts them on the disk; nothing else does."""

    place: Pipeline
    created: str
    tries: int = 0
    state: str = "running"
    stages: dict[str, Entry] = field(default_factory=lambda: {name: Entry() for name in STAGES})

    @classmethod
    def open(cls, place: Pipeline) -> "Record":
        """That of an earlier try, or a new one. Raises BadInput "pipeline.bad_results"."""
        if not place.results.exists():
            return cls(place, _now())
        held = pipelines.read(place.folder).results
        stages = {name: Entry(**held["stages"][name]) for name in STAGES}
        return cls(place, held["created"], held["tries"], held["state"], stages)

    @property
    def seconds(self) -> float:
        """That all stages took."""
        return sum(entry.seconds for entry in self.stages.values())

    @property
    def verdict(self) -> dict | None:
        """Of the A/B test; None as long as there is none, and where it is left out."""
        return self.stages["ab_test"].results.get("winner")

    @property
    def winner(self) -> str | None:
        """"base" or "retrained"; None where nobody has won, or no test was made."""
        return self.verdict["winner"] if self.verdict else None

    @property
    def pushed(self) -> str:
        """The name in Ollama, "" for none."""
        return self.stages["ollama"].results.get("name", "")

    def make(self) -> None:
        """Make the chain's folder. Raises EngineError "pipeline.unwritten"."""
        try:
            self.place.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritten(self.place.folder, error) from None

    def begin(self, settings: Settings) -> None:
        """One more try, with these settings. Raises EngineError "pipeline.unwritten"."""
        self.tries, self.state = self.tries + 1, "running"
        try:
            write_whole(self.place.config_file, config.to_yaml(settings).encode("utf-8"))
        except OSError as error:
            raise _unwritten(self.place.config_file, error) from None
        self.save()

    def forget(self, names: Sequence[str]) -> None:
        """These stages are to be done anew, in other folders. What lies in the old ones stays there."""
        self.stages |= {name: Entry() for name in names}

    def save(self) -> None:
        """Raises EngineError "pipeline.unwritten"; then the file holds what it held before."""
        results = {
            "version": pipelines.VERSION, "id": self.place.id, "created": self.created, "updated": _now(),
            "tries": self.tries, "state": self.state, "seconds": self.seconds,
            "machine": {"system": platform.platform(), "python": platform.python_version()},
            "winner": self.winner, "pushed": self.pushed,
            "stages": {name: asdict(entry) for name, entry in self.stages.items()},
        }  # fmt: skip
        try:
            write_whole(self.place.results, json.dumps(results, ensure_ascii=False, indent=1).encode("utf-8"))
        except OSError as error:
            raise _unwritten(self.place.results, error) from None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _unwritten(file: Path, error: OSError) -> EngineError:
    return EngineError("pipeline.unwritten", where=str(file), reason=error.strerror or type(error).__name__)
