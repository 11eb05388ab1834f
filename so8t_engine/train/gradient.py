"""The gradient of a step: pack by pack, process by process, whatever memory allows."""

from collections.abc import Iterator, Sequence

import torch

from so8t_engine.data.batches import Pack, pack, share_out
from so8t_engine.data.template import Example
from so8t_engine.events import PackHalved
from so8t_engine.model.packed import PackedModel
from so8t_engine.train.budget import Budget
from so8t_engine.train.loss import Sums, answer_loss
from so8t_engine.train.pet import pet_penalty
from so8t_engine.train.ranks import Ranks
from so8t_engine.train.state import random_states, restore_random

GOOD, STOPPED, FULL = 0, 1, 2
"""How a process came through its packs; the worst of all counts."""


class Gradient:
    """Adds up the gradient of a step in the parameters' `grad`.

    A row weighs as much in a step whatever pack it lies in: the weights of all learned tokens of the step are its divisor.

    Args:
        model: on `device`, with its adapter.
        budget: what a pack may be; halved here when memory is full all the same.
        may_recompute: whether layers may be computed twice at all, however few the budget asks for.
        label_weight: see TrainSettings.
        longest: tokens of the longest row: no pack can be smaller.
        scaler: of the loss, for float16.
        ranks: the processes that share each step out.
        phase: called with "data", "forward", "backward" or "validation", gives the context in which that part runs.
    """

    def __init__(
        self, model: PackedModel, budget: Budget, may_recompute: bool, label_weight: float, longest: int, scaler,
        ranks: Ranks, device: torch.device, phase,
    ) -> None:  # fmt: skip
        self.model, self.most, self.label_weight, self.longest = model, budget.pack, label_weight, longest
        self.may_recompute = may_recompute
        self.scaler, self.ranks, self.device, self.phase = scaler, ranks, device, phase
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def of_step(self, examples: Sequence[Example], step: int, pet: float, cancel) -> Iterator[PackHalved]:
        """Add up the gradient of `examples` over all processes; yields what had to change for memory.

        Returns a function that gives the step's `Sums`, and waits for the card to do so; None when it was stopped: the
        gradients are then empty, as before. `cancel` is looked at once a pack. Raises torch.OutOfMemoryError when even
        the longest row finds no room.
        """
        states = random_states()
        while True:
            sums = torch.zeros(2, dtype=torch.float64, device=self.device)
            how = self._worst(self._add_up(examples, pet, cancel, sums))
            if how == GOOD:
                self.ranks.add_gradients(self.parameters)
                self.ranks.add(sums)
                return lambda: self._read(sums, examples)
            self.drop()
            if how == STOPPED:
                return None
            restore_random(states)  # the step begins again with the same draws
            yield self._make_room(step)

    @torch.no_grad()
    def losses(self, examples: Sequence[Example], step: int, cancel) -> Iterator[PackHalved]:
        """Add up the losses of `examples` over all processes, without a gradient; yields and raises as `of_step` does.

        Returns their `Sums`; None when it was stopped.
        """
        while True:
            sums = torch.zeros(2, dtype=torch.float64, device=self.device)
            how = self._worst(self._add_losses(examples, cancel, sums))
            if how == GOOD:
                return self._read(self.ranks.add(sums), examples)
            if how == STOPPED:
                return None
            yield self._make_room(step)

    def drop(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def packs(self, examples: Sequence[Example]) -> list[list[Example]]:
        """This process's packs of a step. All processes have as many, some of them maybe empty."""
        shared = share_out([len(example.ids) for example in examples], self.most, self.ranks.count)
        return [[examples[row] for row in rows] for rows in shared[self.ranks.index :: self.ranks.count]]

    def _add_up(self, examples: Sequence[Example], pet: float, cancel, sums: torch.Tensor) -> int:
        """Go through this process's packs; whether it came to their end."""
        try:
            with self.phase("data"):
                packs = [pack(rows) for rows in self.packs(examples) if rows]
                weight = sum(_weight(example, self.label_weight) for example in examples)
                bends = sum(max(0, len(example.ids) - 2) for example in examples)
            for part in packs:
                if cancel.is_set():
                    return STOPPED
                self._add_pack(part, weight, pet / max(1, bends), sums)
        except torch.OutOfMemoryError:
            return FULL
        return GOOD

    def _add_losses(self, examples: Sequence[Example], cancel, sums: torch.Tensor) -> int:
        """Go through this process's packs; whether it came to their end."""
        try:
            for rows in filter(None, self.packs(examples)):
                if cancel.is_set():
                    return STOPPED
                with self.phase("validation"):
                    sums += answer_loss(self.model, pack(rows).to(self.device), 1.0)[1]
        except torch.OutOfMemoryError:
            return FULL
        return GOOD

    def _worst(self, how: int) -> int:
        """How the process fared that fared worst: all of them go on alike."""
        if self.ranks.count == 1:
            return how
        found = torch.zeros(3, device=self.device)
        found[how] = 1
        return max(flag for flag, count in enumerate(self.ranks.add(found).tolist()) if count)

    def _add_pack(self, part: Pack, weight: float, pet: float, sums: torch.Tensor) -> None:
        with self.phase("data"):
            part = part.to(self.device)
        with self.model.solved():
            with self.phase("forward"):
                weighted, own, hidden = answer_loss(self.model, part, self.label_weight, pet > 0)
                loss = weighted / weight
                if pet > 0:
                    loss = loss + pet * pet_penalty(hidden, part.positions)
            with self.phase("backward"):
                self.scaler.scale(loss).backward()
        sums += own

    def _read(self, sums: torch.Tensor, examples: Sequence[Example]) -> Sums:
        """The figures of `examples`, whose losses `sums` holds."""
        nll, label_nll = sums.tolist()
        learned = sum(len(example.ids) - example.answer_start for example in examples)
        return Sums(nll, learned, label_nll, sum(example.label is not None for example in examples))

    def _make_room(self, step: int) -> PackHalved:
        """Halve the pack; when it can't be smaller, compute every layer twice, if the settings allow that at all."""
        torch.cuda.empty_cache()
        before = self.most
        if self.most > self.longest:
            self.most = max(self.longest, self.most // 2)
        elif self.may_recompute and self.model.recomputed < self.model.layers:
            self.model.recomputed = self.model.layers
        else:
            raise torch.OutOfMemoryError(f"no room for a row of {self.longest} tokens")
        return PackHalved(step=step, before=before, after=self.most, recomputed=self.model.recomputed)


def _weight(example: Example, label_weight: float) -> float:
    """Sum of the weights of a row's learned tokens."""
    label = example.label[1] - example.label[0] if example.label else 0
    return len(example.ids) - example.answer_start + (label_weight - 1) * label
