"""The loss of a batch: weighted for learning, plain for the record, and the class's own apart."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from so8t_engine.data.batches import IGNORED, Batch


@dataclass
class Sums:
    """Sums over batches; divide at the end, so that batches of unequal length count by their tokens.

    nll: nats over all learned tokens; tokens: their number.
    label_nll: nats over the tokens of the classes; labels: number of rows that show a class.
    """

    nll: float = 0.0
    tokens: int = 0
    label_nll: float = 0.0
    labels: int = 0

    def add(self, other: "Sums") -> None:
        """Count `other` in."""
        self.nll += other.nll
        self.tokens += other.tokens
        self.label_nll += other.label_nll
        self.labels += other.labels

    @property
    def mean(self) -> float:
        """Nats a learned token."""
        return self.nll / self.tokens

    @property
    def label_mean(self) -> float | None:
        """Nats for a whole class, a row; the mean over all tokens hides it."""
        return self.label_nll / self.labels if self.labels else None


def answer_loss(model, batch: Batch, label_weight: float, hidden_states: bool = False) -> tuple[Tensor, Sums, Tensor | None]:
    """Weighted sum of the negative log-likelihood of the answers' tokens.

    Logits are computed only from the first learned position on: prompts need none.

    Args:
        model: causal language model; called with ids, mask and `logits_to_keep`.
        batch: on the model's device.
        label_weight: weight of the class tokens in 分類結果.
        hidden_states: whether the last hidden states are wanted too (for PET).

    Returns:
        Weighted sum (scalar, float32, with gradient), plain sums, and hidden states (rows, length, hidden) or None.
    """
    learned = (batch.targets != IGNORED).any(dim=0).nonzero()
    first, last = int(learned[0]), int(learned[-1])
    positions = torch.arange(first, last + 1, device=batch.ids.device)
    output = model(
        input_ids=batch.ids, attention_mask=batch.mask, logits_to_keep=positions, use_cache=False,
        output_hidden_states=hidden_states,
    )  # fmt: skip
    targets = batch.targets[:, first : last + 1]
    nll = F.cross_entropy(
        output.logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(targets.shape)  # fmt: skip
    weighted = (nll * batch.weights(label_weight)[:, first : last + 1]).sum()
    with torch.no_grad():
        label = batch.label[:, first : last + 1]
        sums = Sums(
            nll.double().sum().item(), int((targets != IGNORED).sum()),
            nll.double()[label].sum().item(), int(label.any(dim=1).sum()),
        )  # fmt: skip
    return weighted, sums, output.hidden_states[-1] if hidden_states else None
