"""One prompt to both sides: two questions that go out together and two answers that grow side by side."""

from collections.abc import Callable

from so8t_engine.audit import Audit
from so8t_engine.chat import guest
from so8t_engine.chat.conversation import Conversation, Turn
from so8t_engine.chat.reply import Reply, Told
from so8t_engine.chat.sides import Guest
from so8t_engine.chat.speaker import Question, Speaker
from so8t_engine.errors import EngineError
from so8t_engine.voice import Voice

SEEDS = 2**31


class Round:
    """The turn under way. Whatever goes wrong in it ends in the answer of that side.

    Args:
        before: the conversation so far, without this turn.
        prompt: what is asked. tries: how often it was asked before; each try draws with the next seed.
        heard: called, by the threads that answer, after every change of an answer.

    Attributes:
        closing: set by the one who turns the finished round into a turn.
    """

    def __init__(self, before: Conversation, prompt: str, tries: int, audit: Audit, heard: Callable[[], None]) -> None:
        self.prompt, self.closing = prompt, False
        self._before, self._tries = before, tries
        self._replies = (Reply(audit, prompt, heard), Reply(audit, prompt, heard))
        self._closers: list[Callable[[], None]] = []

    @property
    def told(self) -> tuple[Told, Told]:
        """What may be shown of both answers now."""
        left, right = self._replies
        return left.told, right.told

    def turn(self) -> Turn:
        """The finished round as it is stored."""
        return Turn(prompt=self.prompt, answers=self.told, tries=self._tries)

    def begin(self, pair: tuple[Voice | Guest, Voice | Guest], speaker: Speaker) -> None:
        """Ask both; returns when both are at it."""
        for column, (side, reply) in enumerate(zip(pair, self._replies, strict=True)):
            try:
                self._ask(side, self._question(column, side), reply, speaker)
            except EngineError as error:
                reply.fail(error)
            except Exception as error:  # a fault of ours: the page must not wait for ever
                reply.fail(EngineError("chat.unexpected", reason=f"{type(error).__name__}: {error}"))

    def stop(self) -> None:
        """End both answers; what was shown of them stays."""
        for reply in self._replies:
            reply.stop()
        for close in list(self._closers):
            close()

    def _ask(self, side: Voice | Guest, question: Question, reply: Reply, speaker: Speaker) -> None:
        if isinstance(side, Voice):
            speaker.ask(side, question, reply)
            return
        close = guest.ask(side, question, reply)
        self._closers.append(close)
        if reply.stopping:  # the stop came before there was anything to close
            close()

    def _question(self, column: int, side: Voice | Guest) -> Question:
        before = self._before
        system = before.system
        if system is None:
            system = side.system if isinstance(side, Voice) else ""
        sampling = before.sampling.model_copy(update={"seed": (before.sampling.seed + self._tries) % SEEDS})
        return Question(self.prompt, before.history(column), system, sampling, keep=f"{before.id}/{column}")
