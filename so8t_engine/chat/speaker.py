"""The thread that owns the model of the chat and of /think: questions come in from anywhere, answers grow side by side.

All questions under way are rows of one batch, each with weights of its own, so the chat's two sides and the requests
of /think are answered at once. A question about another base model waits until the present rows are done.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from so8t_engine.chat.reply import Reply
from so8t_engine.errors import Busy, EngineError
from so8t_engine.model.memory import give_back
from so8t_engine.settings import ChatSettings
from so8t_engine.voice import Voice

if TYPE_CHECKING:  # loads torch: only the thread does, with its first question
    from so8t_engine.data.pieces import TextStream
    from so8t_engine.model.generate import Decoder, Row
    from so8t_engine.model.voices import Voices

T = TypeVar("T")

ROWS = 8
"""Answers that grow at once; more wait for their turn."""

PAUSE_SECONDS = 120.0
"""How long loading waits for the job to come to the end of its step."""


class Jobs(Protocol):
    """What the speaker must know of the engine's job."""

    def command(self) -> str:
        """What runs now; "" when nothing does."""

    def settled(self) -> bool:
        """Whether the job has all its memory: a training that has done its first step."""

    def paused(self, seconds: float) -> AbstractContextManager[None]:
        """The job stands still inside; raises Busy when it does not come to a stop in time."""


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    history: earlier turns, {"role": "user" or "assistant", "content": what was shown}.
    keep: under which name keys and values are kept for the next turn; "" when they are not.
    """

    prompt: str
    history: tuple[dict[str, str], ...] = ()
    system: str = ""
    sampling: ChatSettings = field(default_factory=ChatSettings)
    keep: str = ""


@dataclass(eq=False)
class _Answer:
    """A row of the batch and where its text goes."""

    row: "Row"
    reply: Reply
    text: "TextStream"
    limit: int


class Speaker:
    """Answers questions on a thread of its own. Public methods may be called from any thread."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._asked: deque[tuple[Voice, Question, Reply]] = deque()
        self._wake = threading.Condition()
        self._resting = False
        self._thread: threading.Thread | None = None
        self._voices: Voices | None = None
        self._decoder: Decoder | None = None
        self._answers: list[_Answer] = []
        self._threads = 1
        self._ready = 0.0  # when something was loaded last

    def ask(self, voice: Voice, question: Question, reply: Reply) -> None:
        """Have `voice` answer into `reply`; returns at once. Raises Busy when nothing can be asked now."""
        if refusal := self.refusal():
            raise refusal
        with self._wake:
            self._asked.append((voice, question, reply))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="speaker", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def refusal(self) -> EngineError | None:
        """Why nothing can be asked now; None when all is well."""
        command = self._jobs.command()
        if command and self._voices is None and not self._jobs.settled():
            return Busy("chat.job_starting", command=command)
        return None

    def rest(self) -> None:
        """End every answer under way and free the model; returns when that is done."""
        with self._wake:
            if self._thread is None:
                return
            self._resting = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._resting)

    def _work(self) -> None:
        import torch

        self._threads = torch.get_num_threads()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._asked or self._answers or self._resting)
                if self._resting:
                    self._stop_all()
                    self._resting = False
                    self._wake.notify_all()
                    continue
            self._admit()
            self._step()

    def _admit(self) -> None:
        """Take waiting questions into the batch, in their order, as long as there is room for them."""
        while self._asked and len(self._answers) < ROWS:
            voice, question, reply = self._asked[0]
            if self._answers and not self._holds(voice):
                return
            self._asked.popleft()
            if reply.stopping:
                _guarded(reply, lambda reply=reply: reply.end("stopped"))
                continue
            answer = _guarded(reply, lambda v=voice, q=question, r=reply: self._begin(v, q, r))
            if answer:
                self._answers.append(answer)
                self._take(answer, answer.row.produced[-1])

    def _holds(self, voice: Voice) -> bool:
        held = self._voices
        return held is not None and (held.folder, held.settings) == (voice.base, voice.model)

    def _begin(self, voice: Voice, question: Question, reply: Reply) -> _Answer:
        from so8t_engine.data.pieces import TextStream
        from so8t_engine.model.generate import Row

        if not self._holds(voice):
            self._load(voice)
        voices, decoder = self._voices, self._decoder
        assert voices and decoder
        name = self._named(voice)
        prompt = voices.template.prompt_ids(question.prompt, system=question.system, history=list(question.history))
        limit = min(question.sampling.max_tokens, decoder.room(prompt))
        row = Row(prompt, name, question.sampling, question.keep)
        reply.begin(voice.name, voices.weights(name), self._ready)
        self._join(row)
        return _Answer(row, reply, TextStream(voices.template.tokenizer), limit)

    def _step(self) -> None:
        """One more token for every answer."""
        if not self._answers:
            return
        decoder = self._decoder
        assert decoder is not None
        try:
            tokens = dict(zip(decoder.rows, decoder.step(), strict=True))
        except Exception as error:  # the batch is in no known state: none of its answers can go on
            for answer in self._answers:
                answer.reply.fail(_known(error))
            self._answers.clear()
            self._free()
            return
        for answer in list(self._answers):
            self._take(answer, tokens[answer.row])

    def _take(self, answer: _Answer, token: int) -> None:
        """One token of an answer, which may be its last."""
        assert self._voices and self._decoder
        ended = "complete" if token in self._voices.ends else ""

        def take() -> str:
            if not ended:
                answer.reply.feed(answer.text.feed(token))
                if answer.reply.over:
                    return "stopped" if answer.reply.stopping else "complete"
                return "length" if len(answer.row.produced) >= answer.limit else ""
            return ended

        last = _guarded(answer.reply, take)
        if last == "":
            return
        self._answers.remove(answer)
        self._decoder.leave(answer.row)
        if last:
            _guarded(answer.reply, lambda: self._end(answer, last))

    def _end(self, answer: _Answer, ended: str) -> None:
        assert self._voices
        self._voices.weights(answer.row.voice)  # still the ones that were hashed
        answer.reply.end(ended)

    def _load(self, voice: Voice) -> None:
        """Put another base model in memory. A job stands still meanwhile: loading turns global switches of torch."""
        self._free()
        import torch

        from so8t_engine.model.generate import Decoder
        from so8t_engine.model.load import memory_free, memory_needed
        from so8t_engine.model.voices import Voices

        if self._jobs.command():
            needed, free = memory_needed(voice.base, voice.model), memory_free()
            if needed > free:
                facts = {"needed": f"{needed / 2**30:.1f}", "free": f"{free / 2**30:.1f}"}
                raise Busy("chat.job_needs_room", command=self._jobs.command(), **facts)
        with self._jobs.paused(PAUSE_SECONDS), torch.random.fork_rng():
            self._voices = Voices(voice.base, voice.model)
        # Of this thread alone: with a small model, waking the other threads takes longer than their share of the work.
        torch.set_num_threads(1 if self._voices.small else self._threads)
        self._decoder = Decoder(self._voices)
        self._ready = time.monotonic()

    def _named(self, voice: Voice) -> str:
        """The name of the voice among those in memory, loaded if it is not there yet."""
        import torch

        assert self._voices
        name = self._voices.known(voice.adapter)
        if name is None:
            with self._jobs.paused(PAUSE_SECONDS), torch.random.fork_rng():
                name = self._voices.learn(voice.adapter)
            self._ready = time.monotonic()
        return name

    def _join(self, row: "Row") -> None:
        """Read the row's prompt; what is kept for next turns gives way when memory is full."""
        import torch

        assert self._decoder
        try:
            self._decoder.join(row)
        except torch.cuda.OutOfMemoryError:
            self._decoder.forget()
            torch.cuda.empty_cache()
            self._decoder.join(row)

    def _stop_all(self) -> None:
        for answer in self._answers:
            _guarded(answer.reply, lambda reply=answer.reply: reply.end("stopped"))
        for _voice, _question, reply in self._asked:
            _guarded(reply, lambda reply=reply: reply.end("stopped"))
        self._answers.clear()
        self._asked.clear()
        self._free()

    def _free(self) -> None:
        if self._voices is None:
            return
        self._voices = self._decoder = None
        give_back()


def _guarded(reply: Reply, act: Callable[[], T]) -> T | None:
    """What `act` gives back; None when it failed, which `reply` then tells: no fault may end the thread."""
    try:
        return act()
    except Exception as error:
        reply.fail(_known(error))
        return None


def _known(error: Exception) -> EngineError:
    """Any fault as one that a person can read."""
    if isinstance(error, EngineError):
        return error
    if type(error).__name__ == "OutOfMemoryError":
        return EngineError("chat.memory")
    # Its own words are left out: a library may quote what the model has written.
    return EngineError("chat.unexpected", reason=type(error).__name__)
