"""What of an answer is judged, and what of it may be kept.

A model that was trained in our format is judged by the field 回答 of its `<final>`, as the thinking filter lets it out;
where that does not come, it has not answered. Any other model writes plain text: a text in which no tag of ours and
nothing like one stands is judged as it is, but it is never kept, shown or sent: nobody can tell whether there is
thinking in it. So of a plain answer only the outcome of its checks leaves the memory.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from so8t_engine.answer.format import ANSWER_FIELD, REASON_FIELD, fields_so_far
from so8t_engine.answer.hidden import ThinkingFilter
from so8t_engine.errors import EngineError
from so8t_engine.export.japanese_prompts import Prompt

Form = Literal["final", "plain", "none"]


@dataclass(frozen=True)
class Heard:
    """One answer.

    form: "final": a `<final>` has come; "plain": judged, not to be kept; "none": nothing that can be judged.
    label, reason, answer: the fields of `<final>`, "" for those that it lacks; they may be kept.
    judged: the text that the checks see: `answer` where the class is ALLOW, the whole of a plain one, else "".
    """

    form: Form
    label: str = ""
    reason: str = ""
    answer: str = ""
    judged: str = ""


class Hearing:
    """Takes an answer as it comes. plain: whether the model is one that was not trained in our format."""

    def __init__(self, plain: bool) -> None:
        self._filter = ThinkingFilter()
        self._may_be_plain = plain
        self._text: list[str] = []
        self._shown: list[str] = []

    @property
    def over(self) -> bool:
        """Whether nothing that counts can follow."""
        return self._filter.sealed or self._filter.complete

    def feed(self, piece: str) -> None:
        """Take the next piece."""
        if self.over:
            return
        if self._may_be_plain:
            self._text.append(piece)
        self._shown.append(self._filter.feed(piece))

    def end(self) -> Heard:
        """The answer is over."""
        untagged, whole = self._filter.untagged, self._filter.complete
        nothing = self._filter.close()
        if not nothing:
            fields = fields_so_far("".join(self._shown), whole=whole)
            label, answer = self._filter.label, fields.get(ANSWER_FIELD, "").strip()
            judged = answer if label == "ALLOW" else ""
            return Heard("final", label, fields.get(REASON_FIELD, "").strip(), answer, judged)
        text = "".join(self._text).strip()
        if untagged and text:
            return Heard("plain", judged=text)
        return Heard("none")


@dataclass(frozen=True)
class Spoken:
    """An answer with what it took.

    tokens: how many were written, None where that is not told. seconds: from the question to the end of the answer,
    without loading the model. pace: (tokens, seconds) of writing alone, without reading the question; None where that
    is not told. ended: "stop", or "length" at the limit.
    """

    heard: Heard
    tokens: int | None
    seconds: float
    pace: tuple[int, float] | None
    ended: str


class NotMeasured(Exception):
    """The model could not answer for a technical reason: this says nothing about its Japanese."""

    def __init__(self, reason: EngineError) -> None:
        super().__init__(reason.code)
        self.reason = reason


class Candidate(Protocol):
    """A model that takes the test. One thread owns it.

    Attributes:
        key, name: as in JapaneseTestOpened. run, model: how the files of its results are called.
        weights: names its weights; known once `load` has come back.
    """

    key: str
    name: str
    run: str
    model: str
    weights: str

    def load(self) -> None:
        """Get ready. Raises EngineError."""

    def ask(self, prompt: Prompt, cancel) -> Spoken | None:
        """The answer, the likeliest token each time; None once `cancel` is set.

        Raises NotMeasured, and EngineError when there is no point in asking anything more.
        """

    def check(self) -> None:
        """Raises EngineError when the weights are no longer those that were asked."""

    def facts(self) -> dict[str, object]:
        """What the results say of it."""

    def close(self) -> None:
        """Free what it holds."""
