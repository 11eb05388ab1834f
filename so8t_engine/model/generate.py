"""Decode several answers at once, each with its own weights: rows join and leave one batch between two steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from so8t_engine.errors import BadInput
from so8t_engine.model.batch import aligned, sight
from so8t_engine.model.cache import Strip, admitted, drop, empty, head, joined, strip
from so8t_engine.model.voices import Voices
from so8t_engine.settings import ChatSettings

KEPT_ROWS = 2
"""Rows whose keys and values are kept for a next turn, one a side; the least recently used one goes first."""


@dataclass(eq=False)
class Row:
    """One answer under way.

    prompt: its token ids. voice: name of the weights that speak, as `Voices.learn` gave it.
    keep: under which name its keys and values are kept when it leaves; "" when they are not.
    """

    prompt: list[int]
    voice: str
    sampling: ChatSettings
    keep: str = ""
    produced: list[int] = field(default_factory=list)
    held: int = 0  # places of this row in the cache
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        # Its own generator, on the CPU: a draw depends on the seed alone, and disturbs no training's random state.
        self.generator = torch.Generator().manual_seed(self.sampling.seed)


class Decoder:
    """The batch of all rows under way on one base model. One thread owns it.

    Args:
        voices: the base model with its adapters.
    """

    def __init__(self, voices: Voices) -> None:
        self.voices = voices
        self.rows: list[Row] = []
        self._cache: Cache | None = None
        self._kept: dict[str, tuple[str, list[int], Strip]] = {}

    def room(self, prompt: Sequence[int]) -> int:
        """How many tokens an answer to `prompt` may have. Raises BadInput "chat.no_room" when it has no room."""
        room = self.voices.context - len(prompt)
        if room < 1:
            raise BadInput("chat.no_room", tokens=len(prompt), limit=self.voices.context)
        return room

    @torch.inference_mode()
    def join(self, row: Row) -> int:
        """Read the row's prompt, take it into the batch, and give back the first token of its answer.

        What was kept of an earlier turn is used as far as it is the beginning of this prompt.
        """
        known = self._known(row)
        cache = joined([known]) if known else empty()
        start = cache.get_seq_length() if known else 0
        ids = torch.tensor([row.prompt[start:]], device=self.voices.device)
        positions = torch.arange(start, len(row.prompt), device=self.voices.device)[None]
        logits = self.voices.forward(ids, positions, None, cache, [row.voice])[:, -1]
        return self._take([row], cache, logits)[0]

    @torch.inference_mode()
    def fill(self, rows: Sequence[Row]) -> list[int]:
        """Read the prompts of several rows in one pass, take them into the batch, and give back their first tokens.

        Nothing that was kept of an earlier turn is used.
        """
        ids, positions, used = aligned([row.prompt for row in rows], self.voices.device)
        mask = None
        if len({len(row.prompt) for row in rows}) > 1:
            places = ids.shape[1]
            mask = sight(used, torch.ones(places, places, dtype=torch.bool, device=ids.device).tril())
        cache = empty()
        logits = self.voices.forward(ids, positions, mask, cache, [row.voice for row in rows])[:, -1]
        return self._take(rows, cache, logits)

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of every row, in the order of `rows`."""
        assert self._cache is not None
        device, length = self.voices.device, self._cache.get_seq_length()
        ids = torch.tensor([[row.produced[-1]] for row in self.rows], device=device)
        positions = torch.tensor([[row.held] for row in self.rows], device=device)
        mask = None
        if any(row.held < length for row in self.rows):
            places = torch.arange(length + 1, device=device)
            mask = (places >= length - positions)[:, None, None]
        logits = self.voices.forward(ids, positions, mask, self._cache, [row.voice for row in self.rows])[:, -1]
        tokens = _drawn(logits, self.rows)
        for row, token in zip(self.rows, tokens, strict=True):
            row.held += 1
            row.produced.append(token)
        return tokens

    @torch.inference_mode()
    def leave(self, *rows: Row) -> None:
        """Take rows out of the batch. The last ones of `rows` take their places, so the order of the others changes."""
        strips = self._strips() if any(row.keep for row in rows) else []
        gone = {self.rows.index(row) for row in rows}
        for index in gone:
            if self.rows[index].keep:
                self._keep(self.rows[index], strips[index])
        left = len(self.rows) - len(gone)
        movers = [index for index in range(left, len(self.rows)) if index not in gone]
        moves = list(zip(movers, sorted(gone), strict=False))
        for source, target in moves:
            self.rows[target] = self.rows[source]
        del self.rows[left:]
        if self.rows:
            drop(self._cache, moves, left, self._cache.get_seq_length() - max(row.held for row in self.rows))
        else:
            self._cache = None

    def forget(self) -> None:
        """Free what is kept for next turns."""
        self._kept.clear()

    def _strips(self) -> list[Strip]:
        if self._cache is None:
            return []
        length = self._cache.get_seq_length()
        return [strip(self._cache, i, length - row.held) for i, row in enumerate(self.rows)]

    def _take(self, rows: Sequence[Row], cache: Cache, logits: Tensor) -> list[int]:
        """Take rows whose prompts were read into `cache` into the batch; give back their first tokens."""
        tokens = _drawn(logits, rows)
        for row in rows:
            row.held = len(row.prompt)
        if self._cache is None:
            self._cache = cache
        elif not admitted(self._cache, cache):
            length = cache.get_seq_length()
            new = [strip(cache, index, length - row.held) for index, row in enumerate(rows)]
            self._cache = joined([*self._strips(), *new])
        self.rows += rows
        for row, token in zip(rows, tokens, strict=True):
            row.produced.append(token)
        return tokens

    def _keep(self, row: Row, held: Strip) -> None:
        """Keep a row's keys and values for a next turn."""
        self._kept.pop(row.keep, None)
        ids = [*row.prompt, *row.produced][: row.held]
        self._kept[row.keep] = (row.voice, ids, head(held, row.held))
        while len(self._kept) > KEPT_ROWS:
            del self._kept[next(iter(self._kept))]

    def _known(self, row: Row) -> Strip | None:
        """Keys and values of the beginning of the row's prompt, where an earlier turn of the same weights left them."""
        voice, ids, kept = self._kept.pop(row.keep, ("", [], []))
        if voice != row.voice:
            return None
        same = 0
        for old, new in zip(ids, row.prompt[:-1], strict=False):  # the last token must be read for its logits
            if old != new:
                break
            same += 1
        return [(keys[:, :, :same], values[:, :, :same]) for keys, values in kept] if same else None


def _drawn(logits: Tensor, rows: Sequence[Row]) -> list[int]:
    """One token for each row of `logits` (rows, vocabulary), float32."""
    tokens = logits.argmax(-1)
    for index, row in enumerate(rows):
        if row.sampling.temperature > 0:
            tokens[index] = _sampled(logits[index], row)
    return tokens.tolist()


def _sampled(logits: Tensor, row: Row) -> Tensor:
    """Nucleus sampling (https://arxiv.org/abs/1904.09751) from one row's logits (vocabulary,)."""
    probabilities, order = torch.softmax(logits.double() / row.sampling.temperature, -1).sort(descending=True)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = torch.where(before < row.sampling.top_p, probabilities, 0.0)
    chance = torch.rand((), generator=row.generator, dtype=torch.float64).to(logits.device) * probabilities.sum()
    return order[torch.searchsorted(probabilities.cumsum(-1), chance, right=True).clamp(max=len(order) - 1)]
