"""Finished exports as a page reads them, and how large the files of a new one will be."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from so8t_engine.errors import BadInput
from so8t_engine.runs import Export

VERSION = 1

NEEDED = {"created", "seconds", "model", "files", "modelfile", "gate", "push"}
"""Of export_results.json; what lacks one of them was edited."""

_STORED = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes a number, by the type that a config.json names."""

_WRITTEN = {"f16": 2.0, "q8_0": 34 / 32, "bf16": 2.0}
"""Bytes a number in the files; Q8_0 adds a scale of two bytes to each 32."""


@dataclass(frozen=True)
class Finished:
    """One export. results: export_results.json as it stands; fidelity: fidelity.json, None where nothing was compared."""

    folder: Path
    results: dict
    fidelity: dict | None

    @property
    def id(self) -> str:
        return Export(self.folder).id


def finished(root: Path) -> list[Finished]:
    """Every export with readable results under `root` and in its runs, newest first."""
    return [one for place in Export.all(root) for one in _at(place)]


def read(folder: Path) -> Finished:
    """The export in this folder. Raises BadInput "export.no_results" when it has none that can be read."""
    for found in _at(Export(folder)):
        return found
    raise BadInput("export.no_results", where=str(folder))


def expected_sizes(base: Path) -> dict[str, int]:
    """About how many bytes each kind of file will have; {} where the model's files don't tell."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        stored = _STORED[config.get("dtype") or config.get("torch_dtype")]
        numbers = sum(file.stat().st_size for file in base.glob("*.safetensors")) / stored
        return {kind: round(numbers * size) for kind, size in _WRITTEN.items()} if numbers else {}
    return {}


def _at(place: Export) -> Iterator[Finished]:
    """The export in this folder, or none: it may be half written, or another version's."""
    with suppress(OSError, ValueError):
        results = _read(place.results, place.results.stat().st_mtime_ns)
        if not results.keys() >= NEEDED or not results["files"]:
            return
        fidelity = None
        with suppress(OSError, ValueError):
            fidelity = _read(place.fidelity, place.fidelity.stat().st_mtime_ns)
        yield Finished(place.folder, results, fidelity)


@lru_cache(64)
def _read(file: Path, _written: int) -> dict:
    """Raises ValueError for what is no object of this version."""
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise ValueError(file.name)
    return found
