"""An export's folder: which model it is of, which files in it are whole, and what is written beside them."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from so8t_engine import events as e
from so8t_engine.disk import write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.export.fidelity import File
from so8t_engine.export.metadata import Facts
from so8t_engine.model.folder import weight_files
from so8t_engine.runs import Export, Run
from so8t_engine.voice import Voice

VERSION = 1
BLOCK = 2**24
"""Bytes that are read again at once."""

MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Place:
    """The folder of one export. paths: its files. stem: how the names of its GGUF files begin. resumed: whether an
    earlier try has begun it."""

    paths: Export
    stem: str
    source: str
    resumed: bool

    @classmethod
    def open(cls, folder: Path, voice: Voice, facts: Facts) -> "Place":
        """Make the folder, or take up an export of the same model.

        Raises BadInput "export.folder_taken" when it holds something else, "export.other_model" when its files are of
        another model or of a later state of it; EngineError "export.unwritten".
        """
        paths, source = Export(folder.resolve()), _source(voice, facts)
        place = cls(paths, Run(voice.run).id if voice.run else voice.base.name, source, paths.manifest.exists())
        if place.resumed:
            if place._manifest().get("source") != source:
                raise BadInput("export.other_model", where=str(paths.folder), name=voice.name)
        elif paths.folder.exists() and any(path.name != ".lock" for path in paths.folder.iterdir()):
            raise BadInput("export.folder_taken", where=str(paths.folder))
        else:
            with writing(paths.folder):
                paths.folder.mkdir(parents=True, exist_ok=True)
            store(paths.manifest, {"version": VERSION, "source": source, "files": {}})
        return place

    def path(self, quantization: str) -> Path:
        """The GGUF file of this kind."""
        return self.paths.folder / f"{self.stem}-{quantization}.gguf"

    def whole(self, quantization: str, cancel) -> Iterator[e.Event]:
        """Read the file that an earlier try has written; ends with GgufKept when it is whole as it was then."""
        known, path = self._manifest().get("files", {}).get(quantization), self.path(quantization)
        try:
            if not known or path.stat().st_size != known["bytes"]:
                return
            digest, begun, done = hashlib.sha256(), time.monotonic(), 0
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    if cancel.is_set():
                        return
                    digest.update(block)
                    done += len(block)
                    seconds = time.monotonic() - begun
                    yield e.ConversionProgressed(stage="check", done=done, total=known["bytes"], seconds=seconds)
        except OSError:
            return  # not there, or not to be read: it is written again
        if digest.hexdigest() == known["sha256"]:
            yield e.GgufKept(file=str(path), quantization=quantization, bytes=done, sha256=known["sha256"])

    def record(self, files: list[File]) -> None:
        """Note which files are whole."""
        manifest = self._manifest()
        told = {file.quantization: {"bytes": file.bytes, "sha256": file.sha256} for file in files}
        store(self.paths.manifest, manifest | {"files": manifest.get("files", {}) | told})

    def _manifest(self) -> dict:
        try:
            found = json.loads(self.paths.manifest.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError):
            return {}


def store(file: Path, values: dict) -> None:
    """Write a JSON file. Raises EngineError "export.unwritten"."""
    with writing(file):
        write_whole(file, json.dumps(values, ensure_ascii=False, indent=1).encode("utf-8"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system refuses into EngineError "export.unwritten" that names the file."""
    try:
        yield
    except OSError as error:
        raise EngineError("export.unwritten", where=str(path), reason=error.strerror or type(error).__name__) from error


def _source(voice: Voice, facts: Facts) -> str:
    """Names the model as it lies on the disk now, by size and time of its files: hashing it would take as long as the
    export."""
    files = [*weight_files(voice.base), *(voice.base / name for name in MODEL_FILES)]
    if voice.adapter:
        files += [voice.adapter / name for name in ADAPTER_FILES]
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return hashlib.sha256(json.dumps([stamps, asdict(facts)]).encode()).hexdigest()
