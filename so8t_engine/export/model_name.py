"""A model's name in Ollama: [[host/]namespace/]model[:tag].

Its rules are those of Ollama's types/model/name.go: each part begins with a letter, a digit or "_" and goes on with
these, "-" and "." (no "." in a namespace), 80 characters at most (350 of a host). Case does not count.
https://github.com/ollama/ollama/blob/main/docs/api.md#model-names
"""

import re
from dataclasses import dataclass

from so8t_engine.errors import BadInput

CANDIDATE = "candidate-"
"""How the tag of a model begins that is not checked yet."""

_NAME = re.compile(
    r"(?P<base>((\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79})(:(?P<tag>\w[\w.-]{0,79}))?", re.ASCII
)  # fmt: skip
_ELSEWHERE = re.compile(rf"(?:cloud|local|.*-cloud|{CANDIDATE}.*)", re.IGNORECASE)


@dataclass(frozen=True)
class ModelName:
    """base: all before the tag; tag: "latest" where none was given. `str` gives the whole name."""

    base: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Raises BadInput: "push.bad_name" for a name that Ollama would refuse, "push.reserved_tag" for one that it
        would take for another model: in newer versions ":cloud" and "-cloud" mean a model of its makers' service, and
        ":local" is cut off (internal/modelref/modelref.go). Tags of candidates are our own."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise BadInput("push.bad_name", name=text[:100])
        tag = found["tag"] or "latest"
        if _ELSEWHERE.fullmatch(tag):
            raise BadInput("push.reserved_tag", name=text[:100], tag=tag)
        return cls(found["base"], tag)

    def candidate(self, sha256: str) -> "ModelName":
        """Under which name the file of that hash waits for its check."""
        return ModelName(self.base, CANDIDATE + sha256[:12])

    def __str__(self) -> str:
        return f"{self.base}:{self.tag}"
