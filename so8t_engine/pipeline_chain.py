"""What the stages of an overnight chain share: its settings, its record, whose model it is, and where results go."""

from dataclasses import dataclass
from pathlib import Path

from so8t_engine import runs
from so8t_engine import voice as voices
from so8t_engine.export.model_name import ModelName
from so8t_engine.pipeline_record import Entry, Record
from so8t_engine.runs import MANIFEST, Run
from so8t_engine.settings import Settings
from so8t_engine.voice import ORIGINAL, Voice

MARKS = ("run.json", "plan.json", MANIFEST)
"""By one of these a stage knows a folder that it has begun."""


@dataclass
class Chain:
    """What the stages share. skip: stages that are left out."""

    settings: Settings
    record: Record
    skip: frozenset[str]

    @property
    def root(self) -> Path:
        return self.settings.resolve(self.settings.runs)

    @property
    def run(self) -> Path:
        """The folder of the retrained model's run."""
        return self.record.stages["train"].folder

    @property
    def retrained(self) -> Voice:
        """Raises BadInput when its run is gone or can't be used."""
        return voices.named(str(self.run), self.root, self.settings)

    @property
    def base(self) -> Voice:
        """The model that the retrained one was made of."""
        return voices.resolve(ORIGINAL, self.root, Run(self.run).settings())

    @property
    def ended(self) -> bool:
        """Whether the retrained model has not won: there is nothing to go on with."""
        return self.record.verdict is not None and self.record.winner != "retrained"

    def todo(self) -> list[str]:
        """The stages that are still to be done, as far as is known. A run that is gone is trained again."""
        stages = self.record.stages
        gone = stages["train"].state == "finished" and not runs.is_run(self.run)
        todo = [name for name in stages if stages[name].state not in ("finished", "skipped")]
        return [] if self.ended and not gone else ["train"] * gone + todo

    @property
    def exported(self) -> Path:
        """The folder with the GGUF files."""
        return self.record.stages["export"].folder

    @property
    def ollama_name(self) -> str:
        return str(ModelName.parse(self.settings.pipeline.ollama_name))


def again(entry: Entry, new: list[Path]) -> list[Path]:
    """The folders of an earlier try; a new one for each that can't be gone on with, or that lies in another run."""
    if entry.state == "skipped" or not entry.folders:
        return new
    pairs = zip(map(Path, entry.folders), new, strict=True)
    return [old if old.parent == fresh.parent and _begun(old) else fresh for old, fresh in pairs]


def _begun(folder: Path) -> bool:
    """Whether a stage can go on in `folder`: it knows it as its own, or nothing is there. A try that was killed while it
    made its folder leaves one that nobody knows."""
    if not folder.exists() or any((folder / name).is_file() for name in MARKS):
        return True
    return all(path.name == ".lock" for path in folder.iterdir())
