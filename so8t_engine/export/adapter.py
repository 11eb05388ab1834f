"""An SO8T adapter on disk, read one layer at a time and folded into the rows of the weight that it changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from so8t_engine.errors import ModelError
from so8t_engine.model.adapter_config import read_attributes
from so8t_engine.model.merge import fold
from so8t_engine.model.shards import Shards, Stored
from so8t_engine.model.so8t_rotation import ANGLES, BLOCK

PREFIX = "base_model.model."
"""PEFT's own, before every name of the base model."""


@dataclass(frozen=True)
class Change:
    """What an adapter does to one weight (out, in): W' = R (W + scale B A).

    a: (r, in). b: (out, r). theta: (out / 8, 28), None for a layer that is not rotated.
    """

    a: Tensor
    b: Tensor
    scale: float
    theta: Tensor | None

    def fold(self, rows: Tensor, start: int, room: Tensor) -> Tensor:
        """`rows` of the weight from row `start` on, folded, in float32; it may lie in `room`, of the same shape.

        A rotated weight is cut at multiples of 8.
        """
        stop = start + len(rows)
        theta = None if self.theta is None else self.theta[start // BLOCK : stop // BLOCK]
        return fold(rows, self.a, self.b[start:stop], self.scale, theta, room=room)[0]


class Adapter:
    """The adapter in `folder` for a base model with these tensors. For one thread at a time; closed by `close` or by a
    with statement.

    Raises ModelError "model.bad_adapter", "model.wrong_adapter" (another method's) or "model.adapter_mismatch" when it
    does not have exactly the tensors that its config and the base model ask for.
    """

    def __init__(self, folder: Path, base: Mapping[str, Stored]) -> None:
        self.folder = folder
        self._base = base
        config = read_attributes(folder)
        try:
            self._rank, self._scale = config["r"], config["alpha"] / config["r"]
            self._targets, self._rotated = list(config["target_modules"]), list(config["rotate_modules"])
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise ModelError("model.bad_adapter", where=str(folder), reason=repr(error)) from None
        file = folder / "adapter_model.safetensors"
        if not file.is_file():
            raise ModelError("model.bad_adapter", where=str(folder), reason=file.name)
        self._shards = Shards([file])
        expected = {item for weight in base for item in self._parts(weight).items()}
        strangers = expected ^ {(name, stored.shape) for name, stored in self._shards.tensors.items()}
        if strangers or not expected:
            first = min((name for name, _ in strangers), default="-")
            raise ModelError("model.adapter_mismatch", where=str(folder), count=len(strangers), tensor=first)

    def __enter__(self) -> "Adapter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def change(self, weight: str) -> Change | None:
        """What is to be done to the weight of this name, read from the disk; None when it stays as it is.

        Raises ModelError "model.not_finite" when it holds NaN or infinity.
        """
        parts = {name.rpartition("_")[2]: self._shards.read(name).float() for name in self._parts(weight)}
        if not parts:
            return None
        if not all(part.isfinite().all() for part in parts.values()):
            raise ModelError("model.not_finite", where=weight, adapter=self.folder)
        return Change(parts["A"], parts["B"], self._scale, parts.get("theta"))

    def close(self) -> None:
        """Close the file."""
        self._shards.close()

    def _parts(self, weight: str) -> dict[str, tuple[int, int]]:
        """Names and shapes of the tensors that change the weight of this name; none when it is no target."""
        module, _, kind = weight.rpartition(".")
        shape = self._base[weight].shape
        if kind != "weight" or len(shape) != 2 or not _ends(module, self._targets):
            return {}
        rank, (rows, columns) = self._rank, shape
        parts = {"A": (rank, columns), "B": (rows, rank)}
        if _ends(module, self._rotated):
            parts["theta"] = (rows // BLOCK, ANGLES)
        return {f"{PREFIX}{module}.so8t_{part}": size for part, size in parts.items()}


def _ends(module: str, suffixes: list[str]) -> bool:
    return any(f".{module}".endswith(f".{suffix}") for suffix in suffixes)
