"""The written reports of an evaluation, for people: one page and two pictures."""

from collections.abc import Iterable
from pathlib import Path

from so8t_engine.disk import write_whole
from so8t_engine.errors import EngineError
from so8t_engine.evaluate.page import page
from so8t_engine.evaluate.pictures import confusion_picture, metrics_picture


def write_reports(results: dict, cases: Iterable[dict], folder: Path) -> None:
    """Write evaluation_report.html, confusion_matrix.png and metrics_comparison.png into `folder`, each in whole.

    results: evaluation_results.json, version 1 (docs/evaluation_results.md). cases: the rows of rows.jsonl, each with
    "scored" and "generated" (its lines of those files) where it was measured; gone through once.
    Raises EngineError "evaluate.unwritten" when the disk refuses; the file it names is then what it was before.
    """
    files = {
        "evaluation_report.html": page(results, cases).encode("utf-8"),
        "confusion_matrix.png": confusion_picture(results),
        "metrics_comparison.png": metrics_picture(results),
    }
    for name, data in files.items():
        try:
            write_whole(folder / name, data)
        except OSError as error:
            raise EngineError("evaluate.unwritten", where=str(folder / name), reason=error.strerror or error) from None
