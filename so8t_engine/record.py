"""A frozen value that knows its own name and goes to JSON and back: the base of commands and events."""

import json
from typing import Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Immutable, compared by value, strict about unknown fields.

    NaN and infinity are written as strings, because JSON has no word for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """One line of JSON, with the class name as `kind`."""
        fields = json.loads(self.model_dump_json())
        return json.dumps({"kind": type(self).__name__, **fields}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """The record that `to_json` wrote. Raises ValueError for anything else."""
        fields = json.loads(line)
        kind = fields.pop("kind", None) if isinstance(fields, dict) else None
        known = {sub.__name__: sub for sub in cls.__subclasses__()}
        if kind not in known:
            raise ValueError(f"no {cls.__name__.lower()} is called {kind!r}")
        return known[kind].model_validate(fields)
