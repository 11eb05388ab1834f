"""Look a dataset over before training: counts, faults and what training would do with it."""

from collections.abc import Iterator

from so8t_engine.answer import format as answer_format
from so8t_engine.data.samples import Sample
from so8t_engine.data.sources import Dataset, rows
from so8t_engine.data.split import counts, cut
from so8t_engine.errors import BadInput
from so8t_engine.events import Event, RowFaulted
from so8t_engine.settings import Settings

FAULTS_SHOWN = 100
"""Faults told one by one; the rest is counted."""


def lint(settings: Settings) -> Iterator[Event]:
    """Read every row; yield a RowFaulted for each bad one, then the counts.

    An answer that is not in the quadruple-thinking format, or that decides otherwise than its label, is a fault too.
    Raises BadInput when the file can't be read or holds no good row.
    """
    file = settings.resolve(settings.dataset)
    good: list[Sample] = []
    faults: list[BadInput] = []
    for item in rows(file):
        fault = item if isinstance(item, BadInput) else answer_fault(item, f"{file}:{item.line}")
        if isinstance(item, Sample):
            good.append(item)
        if fault is None:
            continue
        faults.append(fault)
        if len(faults) <= FAULTS_SHOWN:
            yield RowFaulted(code=fault.code, where=fault.where, facts=fault.facts)
    if not good:
        raise BadInput("data.no_rows", where=str(file), skipped=len(faults))
    yield counts(Dataset(file, tuple(good), tuple(f for f in faults if f.code != "data.bad_answer")), cut(good, settings))


def answer_fault(sample: Sample, where: str) -> BadInput | None:
    """What is wrong with the row's answer, or None. A row without an answer has no fault."""
    if not sample.output:
        return None
    try:
        label = answer_format.parse(sample.output).final.label
    except answer_format.FormatError as error:
        return BadInput("data.bad_answer", where=where, reason=error)
    if label != sample.label:
        return BadInput("data.bad_answer", where=where, reason=f"the answer says {label}, the label {sample.label}")
    return None
