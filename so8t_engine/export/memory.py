"""Memory that is used again: the system hands fresh memory out page by page and zeroes each, which takes about as long
as the arithmetic on it."""

import math
from collections import defaultdict

import torch
from torch import Tensor


class Memory:
    """Blocks that are taken and given back. What came back last goes first, as the processor's cache still holds it.

    For any number of threads. A block that is never given back is not missed.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[Tensor]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor that holds anything."""
        size = math.prod(shape) * dtype.itemsize
        try:
            block = self._free[size].pop()
        except IndexError:
            block = torch.empty(size, dtype=torch.uint8)
        return block.view(dtype).view(shape)

    def give(self, tensor: Tensor) -> None:
        """Give back what was taken; nobody may look at it from now on."""
        block = tensor.view(-1).view(torch.uint8)
        self._free[len(block)].append(block)
