"""Score the four classes without writing an answer: the log-likelihood of each class over one shared prefix.

    prompt, <final>分類結果: {class}\\n

What stands before the class is read once for all four; then the tokens of all four classes are read in one pass, each
class seeing the prefix and itself alone (a tree of four branches, https://arxiv.org/abs/2305.09781).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from so8t_engine.answer.format import CLASSES, LABEL_FIELD
from so8t_engine.data.template import Template
from so8t_engine.model.cache import empty

BATCH_TOKENS = 8192
"""Tokens of prefix in one batch; halved when memory is full."""


class Reader(Protocol):
    """What `score` needs of a model: `Voices`, or the model in training."""

    template: Template
    device: torch.device

    def forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache, voices: Sequence[str], places: int = 1
    ) -> Tensor:
        """Logits (rows, places, vocabulary), float32: see `Voices.forward`."""


@dataclass(frozen=True)
class Branches:
    """The tokens that tell the classes apart.

    prefix: ids that stand between the prompt and the class, the same for all four.
    suffixes: for each class, in the order of CLASSES, the ids that follow, the end of the line included.
    """

    prefix: tuple[int, ...]
    suffixes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, template: Template) -> "Branches":
        """As this tokenizer writes them. Pieces may run over the border of the class, so whole lines are encoded."""
        lines = [template.text_ids(f"<final>{LABEL_FIELD}: {label}\n") for label in CLASSES]
        same = 0
        while len({line[same] for line in lines}) == 1:
            same += 1
        return cls(tuple(lines[0][:same]), tuple(tuple(line[same:]) for line in lines))


def score(voices: Reader, voice: str, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, list[float]]]:
    """Yield (index in `prompts`, log-likelihoods of the four classes in nats), in no particular order.

    Args:
        voices, voice: the model and which of its weights speak.
        prompts: token ids, each up to the point where the assistant begins to speak.

    Prompts of like length share a batch. When memory is full the batch is halved, down to one prompt; then torch's
    OutOfMemoryError is raised.
    """
    branches = Branches.of(voices.template)
    waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
    budget = BATCH_TOKENS
    while waiting:
        rows = max(1, budget // (len(prompts[waiting[0]]) + len(branches.prefix)))
        batch = waiting[:rows]
        try:
            found = _scored(voices, voice, [prompts[index] for index in batch], branches)
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
            budget = max(1, budget // 2)
            torch.cuda.empty_cache()
            continue
        yield from zip(batch, found, strict=True)
        del waiting[:rows]


@torch.inference_mode()
def _scored(voices: Reader, voice: str, prompts: list[Sequence[int]], branches: Branches) -> list[list[float]]:
    device, rows = voices.device, [[*prompt, *branches.prefix] for prompt in prompts]
    longest = max(map(len, rows))
    pads = torch.tensor([longest - len(row) for row in rows], device=device)
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
    places = torch.arange(longest, device=device)
    used = places >= pads[:, None]
    cache, names = empty(), [voice] * len(rows)
    positions = (places - pads[:, None]).clamp(min=0)
    mask = None if bool(used.all()) else used.long()
    first = voices.forward(ids, positions, mask, cache, names)[:, -1].log_softmax(-1)

    # All tokens of a class but its last one are read; each predicts the next.
    tails = [suffix[:-1] for suffix in branches.suffixes]
    totals = torch.stack([first[:, suffix[0]] for suffix in branches.suffixes], 1)
    if any(tails):
        flat = torch.tensor([token for tail in tails for token in tail], device=device)
        depth = torch.tensor([place for tail in tails for place in range(len(tail))], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        logits = voices.forward(
            flat.expand(len(rows), -1), lengths[:, None] + depth, _tree(used, tails), cache, names, len(flat)
        ).log_softmax(-1)
        start = 0
        for label, suffix in enumerate(branches.suffixes):
            for place, token in enumerate(suffix[1:]):
                totals[:, label] += logits[:, start + place, token]
            start += len(suffix) - 1
    return totals.tolist()


def _tree(used: Tensor, tails: Sequence[Sequence[int]]) -> Tensor:
    """Which place sees which: bool (rows, 1, new, held + new). A new one sees the prefix and its own branch so far."""
    new = sum(map(len, tails))
    own = torch.zeros(new, new, dtype=torch.bool, device=used.device)
    start = 0
    for tail in tails:
        stop = start + len(tail)
        own[start:stop, start:stop] = torch.ones(len(tail), len(tail), dtype=torch.bool, device=used.device).tril()
        start = stop
    prefix = used[:, None, :].expand(-1, new, -1)
    return torch.cat([prefix, own.expand(len(used), -1, -1)], -1)[:, None]
