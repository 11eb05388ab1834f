"""Tensors of safetensors files, some rows at a time, by plain reads.

A mapped file counts as memory of this process, and Windows lets nobody replace it while it is mapped; here nothing
stays but the rows that were asked for. The format: 8 bytes of length, a JSON header, the data
(https://huggingface.co/docs/safetensors).
"""

import json
import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from so8t_engine.disk import let_pass
from so8t_engine.errors import ModelError

HEADER_LIMIT = 100 * 2**20
"""Bytes; a longer header is no header."""

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

Take = Callable[..., Tensor]
"""Gives a tensor of a shape and a dtype, which may hold anything."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies: its bytes are `start` to `stop` of `file`. dtype: safetensors' own name for it."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(file: Path) -> dict[str, Stored]:
    """Every tensor of one file, by name. Raises ModelError "model.bad_shard" when the header can't be read."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > HEADER_LIMIT:
                raise ValueError("header too long")
            header = json.loads(stream.read(length))
        found = {}
        for name in sorted(header.keys() - {"__metadata__"}):
            entry = header[name]
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = Stored(file, entry["dtype"], tuple(entry["shape"]), start, stop)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError("model.bad_shard", where=str(file), reason=error) from None


class Shards:
    """The tensors of several files as one. For one thread at a time; closed by `close` or by a with statement.

    Attributes:
        tensors: every tensor by name, file by file and by name within a file.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.tensors: dict[str, Stored] = {}
        for file in files:
            self.tensors |= read_header(file)
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, name: str, start: int = 0, stop: int | None = None, take: Take = torch.empty) -> Tensor:
        """Rows `start` to `stop` of a tensor, in the dtype of the file and in memory from `take`.

        Raises ModelError "model.not_float" when it holds no floating numbers (quantized weights), "model.bad_shard"
        when the file ends early or its header contradicts itself.
        """
        stored = self.tensors[name]
        if stored.dtype not in FLOATS:
            raise ModelError("model.not_float", where=str(stored.file), tensor=name, dtype=stored.dtype)
        dtype = FLOATS[stored.dtype]
        row = math.prod(stored.shape[1:]) * dtype.itemsize
        rows = stored.shape[0] if stored.shape else 1
        stop = rows if stop is None else min(stop, rows)
        if stored.stop - stored.start != rows * row:
            raise ModelError("model.bad_shard", where=str(stored.file), reason=f"{name}: size")
        data = take((stop - start, *stored.shape[1:]), dtype=dtype)
        self._fill(stored.file, stored.start + start * row, memoryview(data.view(-1).view(torch.uint8).numpy()))
        return data

    def close(self) -> None:
        """Close the files."""
        for stream in self._open.values():
            stream.close()
        self._open.clear()

    def _fill(self, file: Path, offset: int, rest: memoryview) -> None:
        try:
            if file not in self._open:
                self._open[file] = file.open("rb", buffering=0)
            stream = self._open[file]
            stream.seek(offset)
            while rest:
                count = stream.readinto(rest)
                if not count:
                    raise EOFError("cut short")
                rest = rest[count:]
            let_pass(stream, offset, stream.tell())
        except (OSError, EOFError) as error:
            raise ModelError("model.bad_shard", where=str(file), reason=error) from None
