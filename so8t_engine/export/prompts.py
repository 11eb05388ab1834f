"""The prompts that a model and its files are compared on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from so8t_engine.data import sources
from so8t_engine.data.samples import Sample
from so8t_engine.data.split import cut
from so8t_engine.errors import BadInput
from so8t_engine.runs import Run
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice


@dataclass(frozen=True)
class Prompts:
    """Rows to compare on.

    file, sha256: where they come from. split: "test" for rows that were kept for testing, "file" for all of a file.
    found: distinct requests to choose from. samples: those that were drawn.
    """

    file: Path
    sha256: str
    split: Literal["test", "file"]
    found: int
    samples: tuple[Sample, ...]


def choose(settings: Settings, voice: Voice, file: str) -> Prompts:
    """At most `settings.export.gate_prompts` rows of `file`, or, when that is "", of those that the voice's run kept
    for testing (where it has none: those that `settings` would keep).

    The model and the files see the same rows, so what the run has trained on does not tilt the comparison.
    Raises BadInput for a file that can't be used and "export.no_prompts" when no row is left.
    """
    own = Run(voice.run).settings() if voice.run else settings
    place = Path(file).resolve() if file else own.resolve(own.dataset)
    rows: Sequence[Sample] = sources.read(place, on_bad_row=settings.data.on_bad_row).samples
    if not file:
        kept = _kept(Run(voice.run)) if voice.run else None
        rows = cut(rows, own).test if kept is None else [row for row in rows if row.content_hash in kept]
    distinct = {row.content_hash: row for row in reversed(rows)}
    if not distinct:
        raise BadInput("export.no_prompts", where=str(place))
    ranked = sorted(distinct, key=lambda content: hashlib.sha256(f"{settings.seed}:{content}".encode()).digest())
    drawn = [distinct[content] for content in ranked[: settings.export.gate_prompts]]
    drawn.sort(key=lambda row: row.line)
    return Prompts(place, sources.fingerprint(place), "file" if file else "test", len(distinct), tuple(drawn))


def _kept(run: Run) -> set[str] | None:
    """The content hashes of the rows that the run kept for testing; None when it does not say."""
    try:
        return set(json.loads(run.split_file.read_text(encoding="utf-8"))["test"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
