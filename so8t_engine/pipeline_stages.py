"""The stages of the overnight chain: where each puts its results, how it is run, and what it has found."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from so8t_engine import ab_tests, evaluations, exports, runs
from so8t_engine import events as e
from so8t_engine.disk import FolderLock
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluate.ab_test import ab_test
from so8t_engine.evaluate.suite import MODES, evaluate
from so8t_engine.export import japanese_results
from so8t_engine.export.delivery import deliver, smallest
from so8t_engine.export.japanese_test import OLLAMA, japanese_test
from so8t_engine.export.ollama import stands
from so8t_engine.export.suite import Wish, export
from so8t_engine.pipeline_chain import Chain, again
from so8t_engine.pipeline_record import Entry
from so8t_engine.runs import MANIFEST, Run
from so8t_engine.train.job import retrain
from so8t_engine.voice import Voice

COMPARED = ("difference", "interval", "p", "decided", "better", "worse", "equal")
"""Of the Japanese test's comparison."""

FIGURES = ("accuracy", "macro_f1", "unsafe_allow", "over_refusal")


class Stage(Protocol):
    """One stage. name: as in STAGES."""

    name: str

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        """Where its results go, the main folder last: where an earlier try has begun it, or new folders."""

    def whole(self, chain: Chain, entry: Entry) -> bool:
        """Whether what an earlier try has left in its folders are the results, whole and of the same model.

        Raises EngineError when that can't be found out.
        """

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        """Begin, or go on where an earlier try has stopped."""

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        """(its main results, the first of them as text for a person)."""


class Train:
    """Retrain the model, in a run that bears the chain's name where that is free."""

    name = "train"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        place = chain.record.place
        named = place.folder.name != place.id and not (chain.root / place.id).exists()
        return again(entry, [chain.root / (place.id if named else runs.new_id())])

    def whole(self, chain: Chain, entry: Entry) -> bool:
        # A try that was killed behind its last step goes through `work` once more: its run is told that it has ended.
        return entry.state == "finished" and runs.is_run(entry.folder) and Run(entry.folder).finished

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        return retrain(chain.settings, str(entry.folder), "auto", cancel)

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        run = Run(entry.folder)
        manifest = json.loads((run.final_model / MANIFEST).read_text(encoding="utf-8"))
        losses = [event.loss for event in run.events() if isinstance(event, e.ValidationFinished)]
        results = {
            "run": run.id, "steps": manifest["step"], "validation_loss": losses[-1] if losses else None,
            "weights": {name: file["sha256"] for name, file in manifest["files"].items()},
        }  # fmt: skip
        figures = {"steps": f"{manifest['step']:,}"} | ({"validation_loss": f"{losses[-1]:.3f}"} if losses else {})
        return results, figures


class Evaluate:
    """Measure the retrained model on the rows that its run has kept for testing."""

    name = "evaluate"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        return again(entry, [runs.Evaluation.new(chain.root, chain.run).folder])

    def whole(self, chain: Chain, entry: Entry) -> bool:
        try:
            return evaluations.read(entry.folder).results["model"]["key"] == chain.retrained.key
        except BadInput:
            return False

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        return evaluate(chain.settings, chain.retrained, entry.folder, MODES, "", cancel)

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        found = evaluations.read(entry.folder).results
        modes = {name: {key: mode["summary"][key] for key in ("rows", *FIGURES)} for name, mode in found["modes"].items()}
        benchmarks = [{key: one[key] for key in ("task", "outcome", "metrics")} for one in found["benchmarks"]]
        told = {name: modes["generated"][name] for name in FIGURES}
        figures = {name: _share(value["value"]) for name, value in told.items() if value}
        return {"modes": modes, "benchmarks": benchmarks}, figures


class AbTest:
    """Have the original and the retrained model decide the same rows."""

    name = "ab_test"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        return again(entry, [runs.AbTest.new(chain.root, chain.run).folder])

    def whole(self, chain: Chain, entry: Entry) -> bool:
        try:
            models = ab_tests.read(entry.folder).results["models"]
        except BadInput:
            return False
        return (models["base"]["key"], models["retrained"]["key"]) == (chain.base.key, chain.retrained.key)

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        return ab_test(chain.settings, chain.base, chain.retrained, entry.folder, "", cancel)

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        found = ab_tests.read(entry.folder).results
        verdict, modes = found["winner"], found["modes"]
        differences = {name: mode["pairing"]["differences"] for name, mode in modes.items()}
        told = differences[verdict["rule"]["mode"]]
        figures = {"winner": verdict["winner"] or "-"}
        figures |= {name: f"{value['value']:+.1%}" for name, value in told.items() if value}
        return {"winner": verdict, "differences": differences}, figures


class Export:
    """Write the winner as GGUF files and compare them with it; nothing is pushed."""

    name = "export"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        return again(entry, [runs.Export.new(chain.root, chain.run).folder])

    def whole(self, chain: Chain, entry: Entry) -> bool:
        try:
            found = exports.read(entry.folder).results
        except BadInput:
            return False
        return found["model"]["key"] == chain.retrained.key and all(
            (entry.folder / file["file"]).is_file() and (entry.folder / file["file"]).stat().st_size == file["bytes"]
            for file in found["files"]
        )

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        wish = Wish(chain.settings.export.quantizations)
        return export(chain.settings, chain.retrained, entry.folder, wish, cancel)

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        found = exports.read(entry.folder)
        figures = {file["quantization"]: f"{file['bytes'] / 1e6:,.1f} MB" for file in found.results["files"]}
        compared = (found.fidelity or {"files": []})["files"]
        agreement = {file["quantization"]: file["agreement"] for file in compared}
        figures |= {f"agreement_{kind}": _share(share["value"]) for kind, share in agreement.items()}
        return {"files": found.results["files"], "gate": found.results["gate"], "agreement": agreement}, figures


class Push:
    """Bring the smallest of the files into Ollama."""

    name = "ollama"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        return [chain.exported]

    def whole(self, chain: Chain, entry: Entry) -> bool:
        """Whether the name in Ollama still means what was pushed. Where nobody answers, the next stage will say so."""
        file = smallest(chain.exported, exports.read(chain.exported).results)
        pushed = entry.results.get("name"), entry.results.get("sha256")
        if pushed != (chain.ollama_name, file["sha256"]):
            return False
        try:
            return stands(chain.settings.ollama.address, *pushed)
        except EngineError as error:
            if error.code == "ollama.silent":
                return True
            raise

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        wishes = chain.settings.pipeline
        with FolderLock(entry.folder):
            yield from deliver(
                chain.settings, chain.retrained, entry.folder, wishes.ollama_name, wishes.accept_visible_thinking, cancel
            )

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        found = exports.read(entry.folder).results
        pushed = found["push"]
        (file,) = (file for file in found["files"] if file["file"] == pushed["file"])
        told = {name: pushed[name] for name in ("name", "version", "label", "thinking", "file")}
        return told | {"sha256": file["sha256"]}, {"name": pushed["name"], "file": pushed["file"]}


class JapaneseTest:
    """Ask the original and the winner questions in Japanese: the winner as Ollama has it, or the run itself."""

    name = "japanese_test"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        new = [runs.JapaneseTest.new(chain.root, run).folder for run in (None, chain.run)]
        base, winner = again(entry, new)
        return [base, winner if _plan(winner).get("model", self._key(chain)) == self._key(chain) else new[1]]

    def whole(self, chain: Chain, entry: Entry) -> bool:
        told = entry.results.get("asked") == self._asked(chain)
        return told and all(_asked_all(Path(folder)) for folder in entry.folders)

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        base, winner = map(Path, entry.folders)
        if not _asked_all(base):
            yield from japanese_test(chain.settings, chain.base, base, cancel)
        if not cancel.is_set() and not _asked_all(winner):
            yield from japanese_test(chain.settings, self._winner(chain), winner, cancel, against=base)

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        scores = {}
        for side, folder in zip(("base", "winner"), entry.folders, strict=True):
            found = japanese_results.read(Path(folder))
            categories = {name: part["value"] for name, part in found["categories"].items()}
            scores[side] = {"score": found["score"]["value"], "categories": categories}
        figures = {side: _share(part["score"]) for side, part in scores.items()}
        compared = {name: found["comparison"][name] for name in COMPARED}  # the winner's, which was read last
        return {"asked": self._asked(chain), **scores, "comparison": compared}, figures

    def _winner(self, chain: Chain) -> Voice | str:
        return chain.retrained if "ollama" in chain.skip else chain.ollama_name

    def _key(self, chain: Chain) -> str:
        """How the test calls the winner in its plan."""
        winner = self._winner(chain)
        return OLLAMA + winner if isinstance(winner, str) else winner.key

    def _asked(self, chain: Chain) -> str:
        """Names the winner that is asked, to the last byte."""
        return chain.retrained.key if "ollama" in chain.skip else chain.record.stages["ollama"].results["sha256"]


CHAIN: tuple[Stage, ...] = (Train(), Evaluate(), AbTest(), Export(), Push(), JapaneseTest())
"""In the order of STAGES."""


def _plan(folder: Path) -> dict:
    """What the Japanese test in `folder` was begun with; {} where it has not begun."""
    try:
        return json.loads(runs.JapaneseTest(folder).plan.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _asked_all(folder: Path) -> bool:
    """Whether the Japanese test in `folder` has come to its end."""
    return runs.JapaneseTest(folder).results is not None


def _share(value: float) -> str:
    return f"{value:.1%}"
