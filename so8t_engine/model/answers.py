"""Write many whole answers: rows of like prompt length grow side by side, and where answers end, others begin."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from so8t_engine.model.generate import Decoder, Row
from so8t_engine.model.memory import give_back
from so8t_engine.model.voices import Voices
from so8t_engine.settings import ChatSettings

LUMP = 8
"""Free rows wait until they are one in so many: reading a prompt holds up all the other answers."""

FEW_TOKENS = 48
"""Tokens in one pass of a small model up to which one CPU thread is faster than several."""

Watch = Callable[[int], Callable[[int], bool]]


@dataclass(frozen=True)
class Written:
    """One answer.

    index: which of the prompts it answers.
    tokens: how many were written, with the control token that ended it.
    ended: "end" by a control token, "over" when the watch said so, "length" at the limit.
    first_seconds, seconds: from when its prompt began to be read, to its first and to its last token.
    """

    index: int
    tokens: int
    ended: str
    first_seconds: float
    seconds: float


def write(
    voices: Voices, voice: str, prompts: Sequence[Sequence[int]], *, limit: int, rows: int, watch: Watch
) -> Iterator[Written]:
    """Answer every prompt greedily; the answers come out as they end, in no particular order.

    Args:
        voices, voice: the model and which of its weights speak.
        prompts: token ids, each up to the point where the assistant begins to speak.
        limit: most tokens of an answer, which has to fit `voices.context` together with its prompt, too.
        rows: answers side by side. They are the same for any number, but for rounding.
        watch: called with the index of a prompt when its answer begins; what it gives back is fed each token that is no
            control token, and says whether the answer is over with it.

    When memory is full there are half as many rows from then on, down to one; then torch's OutOfMemoryError is raised.
    The answers under way begin again, and `watch` is called anew for them.

    Raises BadInput "chat.no_room" for a prompt that leaves no room for an answer.
    """
    batch = _Batch(voices, voice, prompts, limit, watch)
    with _threads(voices) as choose:
        while batch.waiting or batch.answers:
            full = False
            try:
                batch.advance(rows, choose)
            except torch.OutOfMemoryError:
                if len(batch.answers) == 1:
                    raise
                full = True
            if full:  # outside of the handler, which holds on to the tensors of the pass that failed
                rows = len(batch.answers) // 2
                batch.begin_again()
            yield from batch.ended()


@dataclass(eq=False)
class _Answer:
    """An answer under way. feed: what the watch gave for it. limit: its tokens, at most. begun: on the clock."""

    index: int
    feed: Callable[[int], bool]
    limit: int
    begun: float
    first_seconds: float = 0.0


class _Batch:
    """The answers under way, those that wait, and those that have ended.

    waiting: indexes of prompts, the shortest first: where memory ends, all that still wait need even more, so half as
    many rows are right for them too.
    """

    def __init__(self, voices: Voices, voice: str, prompts: Sequence[Sequence[int]], limit: int, watch: Watch) -> None:
        self.voices, self.voice, self.prompts, self.watch = voices, voice, prompts, watch
        self.decoder = Decoder(voices)
        self.limits = [min(limit, self.decoder.room(prompt)) for prompt in prompts]
        self.waiting = deque(sorted(range(len(prompts)), key=lambda index: len(prompts[index])))
        self.answers: dict[Row, _Answer] = {}
        self._ended: list[Written] = []

    def advance(self, rows: int, choose: Callable[[int], None]) -> None:
        """Begin new answers where enough of `rows` are free, else write one more token of each; `choose` the threads."""
        fresh = min(rows - len(self.answers), len(self.waiting))
        if fresh and (not self.answers or fresh == len(self.waiting) or fresh * LUMP >= rows):
            begun = [self._begin(self.waiting.popleft()) for _ in range(fresh)]
            choose(sum(len(row.prompt) for row in begun))
            tokens = self.decoder.fill(begun)
        else:
            choose(len(self.answers))
            begun, tokens = list(self.decoder.rows), self.decoder.step()
        self._hear(begun, tokens)

    def begin_again(self) -> None:
        """Put the answers under way back before those that wait, and free their memory."""
        self.waiting.extendleft(reversed([answer.index for answer in self.answers.values()]))
        self.answers.clear()
        self.decoder = Decoder(self.voices)
        give_back()

    def ended(self) -> list[Written]:
        """The answers that have ended since this was asked last."""
        ended, self._ended = self._ended, []
        return ended

    def _begin(self, index: int) -> Row:
        row = Row(list(self.prompts[index]), self.voice, ChatSettings(temperature=0.0))
        self.answers[row] = _Answer(index, self.watch(index), self.limits[index], time.perf_counter())
        return row

    def _hear(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        """Take each row's newest token; the rows that end leave."""
        gone = []
        for row, token in zip(rows, tokens, strict=True):
            answer = self.answers[row]
            seconds, count = time.perf_counter() - answer.begun, len(row.produced)
            if count == 1:
                answer.first_seconds = seconds
            if token in self.voices.ends:
                ended = "end"
            elif answer.feed(token):
                ended = "over"
            elif count == answer.limit:
                ended = "length"
            else:
                continue
            self._ended.append(Written(answer.index, count, ended, answer.first_seconds, seconds))
            del self.answers[row]
            gone.append(row)
        if gone:
            self.decoder.leave(*gone)


@contextmanager
def _threads(voices: Voices) -> Iterator[Callable[[int], None]]:
    """A function that sets torch's CPU threads for a pass over so many tokens. Afterwards there are as many as before."""
    several = torch.get_num_threads()

    def choose(tokens: int) -> None:
        torch.set_num_threads(1 if voices.small and tokens <= FEW_TOKENS else several)

    try:
        yield choose
    finally:
        torch.set_num_threads(several)
