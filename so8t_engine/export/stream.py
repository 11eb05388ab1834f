"""From the shards to the files: reading, folding and storing, writing, and reading again overlap, and little is held at
once."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from so8t_engine.errors import EngineError
from so8t_engine.export.adapter import Adapter, Change
from so8t_engine.export.memory import Memory
from so8t_engine.export.output import Output
from so8t_engine.export.quantization import LARGEST, pack
from so8t_engine.export.tensors import Piece, Target, pieces
from so8t_engine.model.shards import Shards

MOST_MAKERS = 4
"""More threads than this only wait for the disk."""

AHEAD = 4
"""Pieces that are read, folded or stored for each maker, beyond the one whose turn it is."""

BEHIND = 32
"""Pieces that may wait to be written: about 50 MiB."""

STRETCH = 64
"""Pieces that are written before they are read again: up to 64 MiB."""


class Stream:
    """The work of one conversion. Closed by a with statement, which waits for what is under way.

    One thread reads, in order; a few fold and store; for each output one hashes and writes, in order, and one syncs and
    reads again what is written.
    """

    def __init__(self, base: Shards, adapter: Adapter | None, outputs: list[Output]) -> None:
        self._base, self._adapter, self._outputs = base, adapter, outputs
        self._memory = Memory()
        self._reader = ThreadPoolExecutor(1, "export-read")
        self._count = min(MOST_MAKERS, os.cpu_count() or 1)
        self._makers = single_threaded(self._count)
        self._writers = [ThreadPoolExecutor(1, "export-write") for _ in outputs]
        self._checkers = [ThreadPoolExecutor(1, "export-check") for _ in outputs]
        self._checks: list[Future] = []
        self._change: tuple[str, Change | None] = ("", None)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        pools = [self._reader, self._makers, *self._writers, *self._checkers]
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in pools:
            pool.shutdown()

    def write(self, targets: list[Target]) -> Iterator[int]:
        """Convert every target, in order. Yields the bytes that were written since the last yield.

        Raises ModelError for a base or an adapter that can't be read, EngineError "export.not_finite", or OSError when
        an output can't be written.
        """
        made: deque[tuple[Piece, Future]] = deque()
        writing: deque[list[Future]] = deque()
        for number, piece in enumerate(piece for target in targets for piece in pieces(target)):
            read = self._reader.submit(self._read, piece)
            made.append((piece, self._makers.submit(self._make, piece, read)))
            if len(made) > AHEAD * self._count:
                writing.append(self._write(*made.popleft()))
                if number % STRETCH == 0:
                    self._check(writing[-1])
            if len(writing) > BEHIND:
                yield _written(writing.popleft())
        while made:
            writing.append(self._write(*made.popleft()))
        while writing:
            yield _written(writing.popleft())
        self._check([writer.submit(file.finish) for writer, file in zip(self._writers, self._outputs, strict=True)])

    def check(self) -> Iterator[int]:
        """After `write`: wait until every file is on the disk and read again. Yields the bytes of each stretch."""
        for check in self._checks:
            yield check.result()

    def _read(self, piece: Piece) -> tuple[Tensor, Change | None]:
        """The rows of a piece as the base has them, and what the adapter does to their tensor."""
        target = piece.target
        if target.values is not None:
            return self._memory.take(target.shape, torch.float32).copy_(target.values), None
        if self._change[0] != target.source:  # read once for all pieces of a tensor
            self._change = (target.source, self._adapter.change(target.source) if self._adapter else None)
        return self._base.read(target.source, piece.start, piece.stop, self._memory.take), self._change[1]

    @torch.inference_mode()
    def _make(self, piece: Piece, read: Future) -> list[Tensor]:
        """What each output stores of a piece, as bytes."""
        rows, change = read.result()
        room = self._memory.take(rows.shape, torch.float32)
        values = change.fold(rows, piece.start, room) if change else room.copy_(rows)
        self._memory.give(rows)
        low, high = values.aminmax()
        if not (low >= -LARGEST and high <= LARGEST):  # also when one is NaN
            raise EngineError("export.not_finite", where=piece.target.source, limit=int(LARGEST))
        stored = [pack(values, piece.target.type(output.kind), self._memory) for output in self._outputs]
        self._memory.give(room)
        return stored

    def _write(self, piece: Piece, made: Future) -> list[Future]:
        parts = made.result()
        return [
            writer.submit(self._put, output, part, piece.last)
            for writer, output, part in zip(self._writers, self._outputs, parts, strict=True)
        ]

    def _put(self, output: Output, part: Tensor, last: bool) -> int:
        output.write(memoryview(part.numpy()), last)
        self._memory.give(part)
        return len(part)

    def _check(self, writes: list[Future]) -> None:
        """Have each output read again what is written, once these writes are done."""
        for checker, output, write in zip(self._checkers, self._outputs, writes, strict=True):
            self._checks.append(checker.submit(_check, output, write))


def _check(output: Output, write: Future) -> int:
    write.result()
    return output.check()


def _written(writes: list[Future]) -> int:
    return sum(write.result() for write in writes)


def _compute_alone() -> None:
    torch.get_num_threads()  # at its first use in a thread torch takes the common figure, over any that was set before
    torch.set_num_threads(1)


def single_threaded(count: int) -> ThreadPoolExecutor:
    """Threads in which torch computes alone: one piece a thread is faster than one piece on all of them.

    torch keeps the last figure it was given for threads yet to be born; it is given back before anybody else's are.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "export-make", initializer=_compute_alone)
    born = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(born.wait)
    born.wait()
    torch.set_num_threads(threads)
    return pool
