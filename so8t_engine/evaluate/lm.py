"""What lm-evaluation-harness asks of a language model, answered by one voice of the model in memory.

The texts are encoded as the harness encodes them for a causal model: plain, by the whole tokenizer with whatever it
puts before a text by itself, and without a chat template.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from so8t_engine.data.pieces import TextStream
from so8t_engine.errors import BadInput
from so8t_engine.model.answers import write
from so8t_engine.model.cache import passing
from so8t_engine.model.voices import Voices

BATCH_PLACES = 4096
"""Tokens in one batch; halved when memory is full."""

LOGIT_PLACES = 8
"""A token whose logits are needed takes the room of about so many others."""

LONGEST_TEXT = 256
"""Tokens that the model may write where a task sets no other limit: the harness's own number."""

Continuations = list[tuple[int, list[int]]]
"""What is asked for behind one context: (number of the request, ids)."""

Context = tuple[tuple[int, ...], Continuations]
"""The ids of a context and its continuations."""


class LM:
    """The harness's three kinds of request. Each method yields (number of the request, answer), in no particular order.

    Args:
        voices, voice: the model and which of its weights speak.
        rows: answers that are written at once.

    When memory is full a batch is halved, down to one row; then torch's OutOfMemoryError is raised.
    """

    def __init__(self, voices: Voices, voice: str, rows: int) -> None:
        self._voices, self._voice, self._rows = voices, voice, rows
        tokenizer = voices.template.tokenizer
        self._tokenizer = tokenizer
        self._first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id

    def loglikelihood(self, requests: Sequence[tuple[str, str]]) -> Iterator[tuple[int, tuple[float, bool]]]:
        """For each (context, continuation) its log-likelihood in nats, and whether greedy decoding would write it.

        A context that is too long for the model loses its beginning.
        """
        pairs = [_bordered(context, continuation) for context, continuation in requests]
        heads = self._encoded([context for context, _ in pairs])
        wholes = self._encoded([context + continuation for context, continuation in pairs])
        asked: dict[tuple[int, ...], Continuations] = {}
        for number, (head, whole) in enumerate(zip(heads, wholes, strict=True)):
            tail = whole[len(head) :]
            if not tail:
                raise BadInput("benchmarks.failed", kind="a choice without a token of its own")
            head = (head or [self._first])[-(self._voices.context + 1 - len(tail)) :]
            asked.setdefault(tuple(head), []).append((number, tail))
        yield from self._scored(asked)

    def loglikelihood_rolling(self, requests: Sequence[tuple[str]]) -> Iterator[tuple[int, float]]:
        """For each text the log-likelihood of all its tokens, in windows as long as the model allows."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        asked: dict[tuple[int, ...], Continuations] = {}
        owner: list[int] = []
        for number, ids in enumerate(self._encoded([text for (text,) in requests])):
            for window in get_rolling_token_windows(ids, self._first, self._voices.context, 1):
                head, tail = make_disjoint_window(window)
                asked.setdefault(tuple(head), []).append((len(owner), tail))
                owner.append(number)
        totals = [0.0] * len(requests)
        for window, (value, _) in self._scored(asked):
            totals[owner[window]] += value
        yield from enumerate(totals)

    def generate_until(self, requests: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[tuple[int, str]]:
        """For each (context, options) the text that greedy decoding writes, up to the first of options["until"].

        The options are a task's: the same for all requests. A context that is too long loses its beginning.
        """
        options = requests[0][1]
        limit = options.get("max_gen_toks", LONGEST_TEXT)
        prompts = [ids[limit - self._voices.context :] for ids in self._encoded([context for context, _ in requests])]
        texts: dict[int, _Text] = {}

        def watch(number: int):
            texts[number] = _Text(self._tokenizer, options["until"])
            return texts[number].feed

        for answer in write(self._voices, self._voice, prompts, limit=limit, rows=self._rows, watch=watch):
            yield answer.index, texts.pop(answer.index).kept()

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts)["input_ids"] if texts else []

    def _scored(self, asked: dict[tuple[int, ...], Continuations]) -> Iterator[tuple[int, tuple[float, bool]]]:
        """Contexts of like length share a batch; a context is read once for all its continuations."""
        waiting = sorted(asked.items(), key=_places, reverse=True)
        budget = BATCH_PLACES
        while waiting:
            longest = _places(waiting[0])
            rows = min(len(waiting), max(1, budget // longest))
            batch = waiting[:rows]
            try:
                found = _read(self._voices, self._voice, batch)
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise
                budget = longest * rows // 2
                torch.cuda.empty_cache()
                continue
            yield from found
            del waiting[:rows]


class _Text:
    """One answer as it is written."""

    def __init__(self, tokenizer, until: Sequence[str]) -> None:
        self._stream, self._until, self._text = TextStream(tokenizer), until, ""

    def feed(self, token: int) -> bool:
        """Take a token; True when nothing that counts can follow."""
        self._text += self._stream.feed(token)
        return any(end in self._text for end in self._until)

    def kept(self) -> str:
        text = self._text
        for end in self._until:
            text = text.split(end)[0]
        return text


def _bordered(context: str, continuation: str) -> tuple[str, str]:
    """Spaces at the end of the context belong to the continuation, where a tokenizer joins them to the word."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _places(context: Context) -> int:
    """How much room it takes in a batch, in tokens."""
    ids, continuations = context
    return len(ids) + LOGIT_PLACES * (1 + sum(len(tail) - 1 for _, tail in continuations))


@torch.inference_mode()
def _read(voices: Voices, voice: str, batch: Sequence[Context]) -> list[tuple[int, tuple[float, bool]]]:
    """Read each context, right-aligned, with all its continuations side by side behind it (a tree of branches).

    A token sees those before it in the context and in its own branch. All tokens of a continuation but its last one are
    read; each predicts the next.
    """
    device = voices.device
    longest = max(len(context) for context, _ in batch)
    new = max(sum(len(tail) - 1 for _, tail in continuations) for _, continuations in batch)
    ids, positions, branches = (torch.zeros(len(batch), longest + new, dtype=torch.long) for _ in range(3))
    branches -= 1  # what belongs to nothing
    wanted: list[tuple[int, int, int, int]] = []  # (number of the request, row, place that predicts, token)
    for row, (context, continuations) in enumerate(batch):
        start = longest - len(context)
        ids[row, start:longest] = torch.tensor(context)
        positions[row, start:longest] = torch.arange(len(context))
        branches[row, start:longest] = 0
        start = longest
        for branch, (number, tail) in enumerate(continuations, start=1):
            stop = start + len(tail) - 1
            ids[row, start:stop] = torch.tensor(tail[:-1])
            positions[row, start:stop] = torch.arange(len(context), len(context) + len(tail) - 1)
            branches[row, start:stop] = branch
            places = [0, *range(start - longest + 1, stop - longest + 1)]  # 0 is the context's last token
            wanted += [(number, row, place, token) for place, token in zip(places, tail, strict=True)]
            start = stop
    ids, positions, branches = ids.to(device), positions.to(device), branches.to(device)
    same = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
    seen = same & (positions[:, None, :] <= positions[:, :, None])
    logits = voices.forward(ids, positions, seen[:, None], passing(), [voice] * len(batch), new + 1)

    numbers, rows, places, tokens = (list(column) for column in zip(*wanted, strict=True))
    values = (logits[rows, places, tokens] - logits.logsumexp(-1)[rows, places]).tolist()
    greedy = (logits.argmax(-1).cpu()[rows, places] == torch.tensor(tokens)).tolist()
    found: dict[int, tuple[float, bool]] = {}
    for number, value, best in zip(numbers, values, greedy, strict=True):
        total, all_best = found.get(number, (0.0, True))
        found[number] = (total + value, all_best and best)
    return list(found.items())
