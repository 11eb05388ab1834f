"""The written reports, for people: one page and two pictures, of an evaluation and of an A/B test."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from so8t_engine.disk import write_whole
from so8t_engine.errors import EngineError
from so8t_engine.evaluate import ab_page, page
from so8t_engine.evaluate.ab_pictures import comparison_picture, confusion_comparison_picture
from so8t_engine.evaluate.pictures import confusion_picture, metrics_picture


def write_reports(results: dict, cases: Iterable[dict], folder: Path) -> None:
    """Write evaluation_report.html, confusion_matrix.png and metrics_comparison.png into `folder`, each in whole.

    results: evaluation_results.json, version 1 (docs/evaluation_results.md). cases: the rows of rows.jsonl, each with
    "scored" and "generated" (its lines of those files) where it was measured; gone through once.
    Raises EngineError "evaluate.unwritten" when the disk refuses; the file it names is then what it was before.
    """
    files = {
        "evaluation_report.html": page.page(results, cases).encode("utf-8"),
        "confusion_matrix.png": confusion_picture(results),
        "metrics_comparison.png": metrics_picture(results),
    }
    _write(files, folder)


def write_ab_reports(results: dict, cases: Mapping[str, Iterable[dict]], folder: Path) -> None:
    """Write ab_test_report.html, comparison_chart.png and confusion_matrix_comparison.png, as `write_reports` does.

    results: ab_test_results.json, version 1 (docs/ab_test.md). cases: `ab_tests.cases` of each mode.
    """
    files = {
        "ab_test_report.html": ab_page.page(results, cases).encode("utf-8"),
        "comparison_chart.png": comparison_picture(results),
        "confusion_matrix_comparison.png": confusion_comparison_picture(results),
    }
    _write(files, folder)


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        try:
            write_whole(folder / name, data)
        except OSError as error:
            raise EngineError("evaluate.unwritten", where=str(folder / name), reason=error.strerror or error) from None
