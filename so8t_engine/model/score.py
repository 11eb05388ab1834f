"""Score the four classes without writing an answer: the log-likelihood of each class over one shared prefix.

    prompt, <final>分類結果: {class}\\n

What stands before the class is read once for all four, and in the same pass the tokens of all four classes, each class
seeing the prefix and itself alone (a tree of four branches, https://arxiv.org/abs/2305.09781).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from so8t_engine.answer.format import CLASSES, LABEL_FIELD
from so8t_engine.data.template import Template
from so8t_engine.model.batch import aligned, sight
from so8t_engine.model.cache import passing

BATCH_TOKENS = 2048
"""Tokens in one batch on a processor: no more than stay in its cache. Halved when memory is full."""

CARD_BATCH_TOKENS = 8192
"""The same on a graphics card, which wants many at once."""


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
    budget = CARD_BATCH_TOKENS if voices.device.type == "cuda" else BATCH_TOKENS
    more = len(branches.prefix) + sum(len(suffix) - 1 for suffix in branches.suffixes)
    while waiting:
        rows = max(1, budget // (len(prompts[waiting[0]]) + more))
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
    # All tokens of a class but its last one are read; each tells of the next.
    tails = [suffix[:-1] for suffix in branches.suffixes]
    flat = [token for tail in tails for token in tail]
    ids, positions, used = aligned([[*prompt, *branches.prefix, *flat] for prompt in prompts], voices.device)
    stem = ids.shape[1] - len(flat)
    depths = torch.tensor([place for tail in tails for place in range(len(tail))], dtype=torch.long)
    positions[:, stem:] = positions[:, stem - 1 : stem] + 1 + depths.to(positions.device)
    mask = sight(used, _tree(stem, tails).to(used.device))
    logits = voices.forward(ids, positions, mask, passing(), [voice] * len(prompts), len(flat) + 1)
    whole = logits.logsumexp(-1)
    totals, start = [], 1
    for suffix in branches.suffixes:
        places = [0, *range(start, start + len(suffix) - 1)]  # the end of the stem tells of a class's first token
        totals.append((logits[:, places, suffix] - whole[:, places]).sum(1))
        start += len(suffix) - 1
    return torch.stack(totals, 1).tolist()


def _tree(stem: int, tails: Sequence[Sequence[int]]) -> Tensor:
    """Which place may see which: bool (places, places). A branch sees the stem before it, and itself."""
    branches = torch.block_diag(*(torch.ones(len(tail), len(tail)).tril() for tail in tails)).bool()
    places = stem + len(branches)
    order = torch.ones(places, places, dtype=torch.bool).tril()
    order[stem:, stem:] = branches
    return order
