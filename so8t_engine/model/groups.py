"""Attention on a CPU, of short rows of like length together: a row alone is too little for its cores.

Plain products of whole groups took two thirds of the time that torch's kernel took row by row (rows of 50 to 100 tokens).
"""

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

TOGETHER = 4
"""Most rows that a CPU takes together: with more, more is filled up than gained."""

ALIKE = 0.75
"""The shortest row of a group has at least so much of the longest one's length."""

SHORT = 256
"""Tokens of the longest row up to which a CPU does so: what it then keeps grows with the square of the length."""


class Groups:
    """Neighbouring rows of a pack side by side, the shorter ones filled up to the longest of their group.

    A group's numbers lie as (rows, heads, tokens, dim), one group behind the other: what products of whole groups want.

    Args:
        lengths: tokens of each row of the pack, the longest first, so that little is filled up.

    Attributes:
        sizes: (rows, tokens) of each group.
        padded: tokens of all groups, filled up.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        parts: list[list[int]] = []
        for length in lengths:
            if parts and len(parts[-1]) < TOGETHER and length >= ALIKE * parts[-1][0]:
                parts[-1].append(length)
            else:
                parts.append([length])
        self.sizes = [(len(part), max(part)) for part in parts]
        self.padded = sum(rows * longest for rows, longest in self.sizes)
        self._lengths = torch.tensor(lengths)
        self._widths = torch.tensor([longest for rows, longest in self.sizes for _ in range(rows)])
        self._places: dict[int, tuple[Tensor, Tensor]] = {}

    def places(self, heads: int) -> tuple[Tensor, Tensor]:
        """Of numbers (tokens, heads, dim) as lines of `dim`: which line stands at each place of the groups (filled up with
        the last one of its row), and at which place each line stands. int64 (padded heads,) and (tokens heads,)."""
        if heads not in self._places:
            starts, ends = self._lengths.cumsum(0) - self._lengths, self._lengths.cumsum(0)
            head, taken, row = torch.arange(heads), [], 0
            for rows, longest in self.sizes:
                token = starts[row : row + rows, None] + torch.arange(longest)
                token = token.minimum(ends[row : row + rows, None] - 1)
                taken.append((token[:, None] * heads + head[:, None]).flatten())
                row += rows
            begins = (self._widths.cumsum(0) - self._widths) * heads
            begin, start, width = (of.repeat_interleave(self._lengths) for of in (begins, starts, self._widths))
            places = (begin - start + torch.arange(len(start)))[:, None] + head * width[:, None]
            self._places[heads] = torch.cat(taken), places.flatten()
        return self._places[heads]

    def parts(self, lines: Sequence[Tensor], keys: int) -> Iterator[list[Tensor]]:
        """Each group's part of `lines` (padded heads, dim): (rows keys, tokens, dim), where the heads that one key serves
        lie behind each other as so many more tokens."""
        begin = 0
        for rows, longest in self.sizes:
            end = begin + rows * longest
            heads = [len(of) // self.padded for of in lines]
            yield [of[begin * n : end * n].view(rows * keys, -1, of.shape[1]) for of, n in zip(lines, heads, strict=True)]
            begin = end


def together(longest: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the rows of a pack are taken in groups, the longest having so many tokens.

    In half precision they are not: the plain products of a group would round what goes into the softmax.
    """
    return device.type == "cpu" and dtype == torch.float32 and longest <= SHORT


class Together(torch.autograd.Function):
    """Causal attention of each row with itself, a group at a time; see `attend` for the arguments of `apply`.

    What fills a row up comes after it: no token of the row sees it, and no gradient comes from it.
    """

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, groups: Groups) -> Tensor:
        heads, keys, dim = query.shape[1], key.shape[1], query.shape[2]
        (at, back), (at_key, _) = groups.places(heads), groups.places(keys)
        lines = [of.reshape(-1, dim).index_select(0, places) for of, places in ((query, at), (key, at_key), (value, at_key))]
        answers, kept = torch.empty_like(lines[0]), []
        for (q, k, v), (out,) in zip(groups.parts(lines, keys), groups.parts([answers], keys), strict=True):
            hidden = _hidden(k.shape[1], q.dtype).repeat(heads // keys, 1)
            seen = torch.baddbmm(hidden, q, k.mT, alpha=dim**-0.5).softmax(-1)
            torch.bmm(seen, v, out=out)
            kept.append(seen)
        ctx.save_for_backward(*lines, *kept)
        ctx.groups, ctx.heads, ctx.keys = groups, heads, keys
        return answers.index_select(0, back).view(query.shape)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        groups, keys, saved = ctx.groups, ctx.keys, ctx.saved_tensors
        lines, kept = saved[:3], saved[3:]
        tokens, _, dim = gradient.shape
        back, back_key = groups.places(ctx.heads)[1], groups.places(keys)[1]
        given = torch.zeros_like(lines[0]).index_copy_(0, back, gradient.reshape(-1, dim))
        found = [torch.empty_like(of) for of in lines]
        parts = (groups.parts(of, keys) for of in (lines, found, [given]))
        for (q, k, v), (to_q, to_k, to_v), (g,), seen in zip(*parts, kept, strict=True):
            torch.bmm(seen.mT, g, out=to_v)
            to_seen = torch.ops.aten._softmax_backward_data(torch.bmm(g, v.mT), seen, -1, seen.dtype).mul_(dim**-0.5)
            torch.bmm(to_seen, k, out=to_q)
            torch.bmm(to_seen.mT, q, out=to_k)
        places = (back, back_key, back_key)
        return *(of.index_select(0, at).view(tokens, -1, dim) for of, at in zip(found, places, strict=True)), None


@cache
def _hidden(tokens: int, dtype: torch.dtype) -> Tensor:
    """(tokens, tokens): -inf where a token must not see the other one, which comes after it; 0 elsewhere."""
    return torch.full((tokens, tokens), -torch.inf, dtype=dtype).triu_(1)
