"""A model of ours as GGUF files, in one pass over its weights: neither the model nor a merged copy is ever held.

Each tensor of the base is read, folded with the adapter in float32 (R (W + (alpha / r) B A), R exact from its angles),
rounded once for each file, hashed and written. Without an adapter the files are, to the last byte, those of llama.cpp's
own converter.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Protocol

from so8t_engine import events as e
from so8t_engine.disk import FolderLock
from so8t_engine.errors import BadInput, Busy, EngineError
from so8t_engine.export.adapter import Adapter
from so8t_engine.export.metadata import Facts, header, read_config
from so8t_engine.export.output import Output, padded
from so8t_engine.export.stream import Stream
from so8t_engine.export.tensors import KINDS, Target, targets
from so8t_engine.export.vocabulary import read_vocabulary
from so8t_engine.model.folder import check_exportable, weight_files
from so8t_engine.model.shards import Shards

LOCK = ".export.lock"

PROGRESS_SECONDS = 0.25
"""Between two events of progress."""

HEAD_ROOM = 2**24
"""Bytes on the disk for everything but the weights; a vocabulary of 32,000 takes about a million."""


class Cancel(Protocol):
    """Such as a threading.Event."""

    def is_set(self) -> bool:
        """Whether a person asked to stop."""


def convert(
    base: Path, adapter: Path | None, outputs: Mapping[str, Path], facts: Facts, cancel: Cancel
) -> Iterator[e.Event]:
    """Write `base`, with `adapter` folded in, as GGUF files. The inputs are left as they are.

    Each file is written as "<name>.part", synced, read again (format, tensors, size, SHA-256) and only then renamed, in
    place of an older one: what has its final name is whole, whenever the process dies. A repeat writes over what was
    left. After an error, on `cancel` and when the generator is closed nothing of this call stays.

    Args:
        base: folder of a Phi3ForCausalLM in safetensors, with a SentencePiece tokenizer in either form.
        adapter: folder of an SO8T adapter, None for the base alone.
        outputs: the file to write for each of "f16", "q8_0" and "bf16" that is wanted. Folders are made.
        facts: what the files say of their origin.
        cancel: looked at every megabyte or so that is written, and every stretch that is read again.

    Yields:
        ConversionProgressed about four times a second, then GgufWritten for each file unless it was cancelled.

    Raises:
        ModelError: base or adapter can't be used ("model.*", "export.*").
        BadInput: "export.unknown_kind".
        Busy: "export.locked", another process writes into the same folder.
        EngineError: "export.disk_short" before anything is written; "export.unwritten" for what the system refuses;
            "export.damaged" when a file reads otherwise than it was written; "disk.held" when another program holds
            an older file; "export.not_finite" for numbers that no file could hold.
    """
    if not outputs or outputs.keys() - KINDS.keys():
        raise BadInput("export.unknown_kind", kinds=", ".join(outputs) or "-", known=", ".join(KINDS))
    check_exportable(base)
    config = read_config(base)
    words = read_vocabulary(base, config["vocab_size"])
    files = [Output(path, kind) for kind, path in outputs.items()]
    with ExitStack() as held:
        shards = held.enter_context(Shards(weight_files(base)))
        wanted = targets(config, shards.tensors, base)
        change = held.enter_context(Adapter(adapter, shards.tensors)) if adapter else None
        heads = [header(base, config, wanted, words, facts, file.kind) for file in files]
        try:
            _lock(held, files)
            _check_room(files, wanted)
            for file, head in zip(files, heads, strict=True):
                held.callback(file.discard)
                file.begin(head, [target.bytes(file.kind) for target in wanted])
            with Stream(shards, change, files) as stream:
                yield from _run(stream, files, wanted, cancel)
            if cancel.is_set():
                return
            for file in files:
                file.verify()
            for file in files:
                file.publish()
                yield e.GgufWritten(
                    file=str(file.path), quantization=file.kind, bytes=file.size, tensors=len(wanted), sha256=file.sha256
                )  # fmt: skip
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise EngineError("export.unwritten", where=str(error.filename or files[0].part), reason=reason) from error


def _lock(held: ExitStack, files: list[Output]) -> None:
    for folder in sorted({file.path.parent for file in files}):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(FolderLock(folder, LOCK))
        except Busy:
            raise Busy("export.locked", where=str(folder)) from None


def _check_room(files: list[Output], wanted: list[Target]) -> None:
    """Raise EngineError "export.disk_short" unless every disk has room for its files; what an earlier try left counts
    as room, an older whole file does not, as it stays until the new one is whole."""
    needed: dict[int, int] = defaultdict(int)
    folders: dict[int, Path] = {}
    for file in files:
        disk = file.path.parent.stat().st_dev
        folders[disk] = file.path.parent
        left = file.part.stat().st_size if file.part.exists() else 0
        needed[disk] += HEAD_ROOM + sum(padded(target.bytes(file.kind)) for target in wanted) - left
    for disk, folder in folders.items():
        free = shutil.disk_usage(folder).free
        if free < needed[disk]:
            sizes = {"needed": _size(needed[disk]), "free": _size(free)}
            raise EngineError("export.disk_short", where=str(folder), **sizes)


def _run(stream: Stream, files: list[Output], wanted: list[Target], cancel: Cancel) -> Iterator[e.Event]:
    """Read, fold, store, write; sync and read again, which begins with the first stretch that is written."""
    writing = _Pace("write", sum(target.bytes(file.kind) for file in files for target in wanted))
    checking = _Pace("check", sum(file.size for file in files))
    for pace, counts in ((writing, stream.write(wanted)), (checking, stream.check())):
        done = 0
        for count in counts:
            done += count
            yield from pace.at(done)
            if cancel.is_set():
                return


class _Pace:
    """Turns a count of bytes into events of progress, not more than a few a second; the last one is always told."""

    def __init__(self, stage: Literal["write", "check"], total: int) -> None:
        self.stage, self.total = stage, total
        self.begun = self.told = time.monotonic()

    def at(self, done: int) -> Iterator[e.Event]:
        now = time.monotonic()
        if done == self.total or now - self.told >= PROGRESS_SECONDS:
            self.told = now
            yield e.ConversionProgressed(stage=self.stage, done=done, total=self.total, seconds=now - self.begun)


def _size(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:.2f} GiB"
