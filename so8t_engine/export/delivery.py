"""A finished export goes into Ollama: the smallest of its files, and none of them when one decides otherwise.

Nothing is converted or compared again: what export_results.json says of the files decides. That a file is still what it
was then is for Ollama to find, which hashes what arrives.
"""

from collections.abc import Iterator
from pathlib import Path

from so8t_engine import events as e
from so8t_engine import exports
from so8t_engine.errors import EngineError
from so8t_engine.export.model_card import card_of
from so8t_engine.export.ollama import push
from so8t_engine.export.place import store
from so8t_engine.runs import Export
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice


def deliver(settings: Settings, voice: Voice, folder: Path, name: str, consent: bool, cancel) -> Iterator[e.Event]:
    """Bring the smallest file of the export in `folder` into Ollama as `name`, and note it in export_results.json.

    Args:
        settings: where Ollama answers.
        voice: whose export that is.
        folder: locked by the caller.
        consent, cancel: as for `push`.

    Yields:
        Those of `push`.

    Raises:
        BadInput: "export.no_results", those of `push`.
        EngineError: "export.drifted" when a file decides otherwise than the model, "export.unproven" when that could not
            be measured; those of `push`.
    """
    results = exports.read(folder).results
    _check_gate(results["gate"], folder, name)
    file = smallest(folder, results)
    path, card = folder / file["file"], card_of(voice.system, voice.base)
    for event in push(settings.ollama.address, name, path, file["sha256"], card, consent, cancel):
        if isinstance(event, e.ModelPushed):
            told = {"file": file["file"]} | event.model_dump(mode="json", exclude={"time"})
            store(Export(folder).results, results | {"push": told, "seconds": results["seconds"] + event.seconds})
        yield event


def smallest(folder: Path, results: dict) -> dict:
    """The entry of the smallest file that is there; where none is, of the smallest that was written."""
    there = [file for file in results["files"] if (folder / file["file"]).is_file()]
    return min(there or results["files"], key=lambda file: file["bytes"])


def _check_gate(gate: dict, folder: Path, name: str) -> None:
    if gate["outcome"] == "failed":
        failures = gate.get("failures", [])
        files = ", ".join(f"{one['quantization']} {one['agreement']:.1%}" for one in failures)
        lines = sorted({line for one in failures for line in one["lines"]})
        raise EngineError(
            "export.drifted", where=str(Export(folder).fidelity), files=files, lines=", ".join(map(str, lines))
        )
    if gate["code"] == "export.no_llama":
        raise EngineError("export.unproven", name=name[:100])

