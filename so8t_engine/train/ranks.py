"""The processes of one training: one, or one a card as `accelerate launch` starts them.

Each computes the gradient of its packs of a step; the sum is the step's gradient whatever the number of processes. That
is what DistributedDataParallel does too, which however takes a mean, and wants each process to have as many packs.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a page opens a run before torch is loaded
    import torch
    from torch import Tensor


BUCKET = 2**24
"""Numbers that are summed in one exchange: 64 MiB of float32."""


def launched() -> bool:
    """Whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class Ranks:
    """The processes, and which of them this one is. Joining them waits until all are there."""

    def __init__(self) -> None:
        self.count, self.index = 1, 0
        if launched():
            import torch
            from accelerate import PartialState

            state = PartialState(cpu=not torch.cuda.is_available())
            self.count, self.index = state.num_processes, state.process_index

    @property
    def first(self) -> bool:
        """The one that tells and writes."""
        return self.index == 0

    def add(self, values: "Tensor") -> "Tensor":
        """The sum of `values` over all processes."""
        if self.count > 1:
            from torch import distributed

            distributed.all_reduce(values)
        return values

    def add_gradients(self, parameters: "Iterable[torch.nn.Parameter]") -> None:
        """Give every process the sum of all gradients; where one has none it counts as zero."""
        if self.count == 1:
            return
        waiting, size = [], 0
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = parameter.detach().new_zeros(parameter.shape)
            waiting.append(parameter.grad)
            size += parameter.grad.numel()
            if size >= BUCKET:
                _sum_together(waiting)
                waiting, size = [], 0
        if waiting:
            _sum_together(waiting)

    def tell(self, text: str) -> str:
        """What the first process says, to all."""
        if self.count == 1:
            return text
        from torch import distributed

        box = [text]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def _sum_together(gradients: "list[Tensor]") -> None:
    import torch
    from torch import distributed

    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
