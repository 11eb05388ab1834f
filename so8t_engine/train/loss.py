"""The loss of a pack: weighted for learning, plain for the record, and the class's own apart."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from so8t_engine.data.batches import Pack

CHUNK = 2**24
"""Logits that exist at a time: 64 MiB in float32. All of a pack of 8,192 tokens would be 1 GiB with Phi-3's vocabulary."""


@dataclass
class Sums:
    """Sums over packs; divide at the end, so that packs of unequal length count by their tokens.

    nll: nats over all learned tokens; tokens: their number.
    label_nll: nats over the tokens of the classes; labels: number of rows that show a class.
    """

    nll: float = 0.0
    tokens: int = 0
    label_nll: float = 0.0
    labels: int = 0

    @property
    def mean(self) -> float:
        """Nats a learned token."""
        return self.nll / self.tokens

    @property
    def label_mean(self) -> float | None:
        """Nats for a whole class, a row; the mean over all tokens hides it."""
        return self.label_nll / self.labels if self.labels else None


def answer_loss(model, pack: Pack, label_weight: float, whole: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted sum of the negative log-likelihood of the answers' tokens.

    Args:
        model: a `PackedModel`.
        pack: on the model's device.
        label_weight: weight of the class tokens in 分類結果.
        whole: whether the hidden states of all tokens are wanted (for PET), not only of those whose next one is learned.

    Returns:
        Weighted sum (scalar, float32, with gradient); the plain sums over all learned tokens and over those of the classes,
        float64 (2,) on the device, so that nobody waits for them; and the last hidden states (tokens or learned, hidden).
    """
    hidden = model(pack, whole)
    weights = 1 + (label_weight - 1) * pack.label.float()
    weighted, nll = HeadLoss.apply(hidden[pack.places] if whole else hidden, model.head, pack.targets, weights)
    nll = nll.double()
    return weighted, torch.stack([nll.sum(), (nll * pack.label).sum()]), hidden


class HeadLoss(torch.autograd.Function):
    """sum_t w_t nll_t of softmax(h_t V^T), a part of the tokens at a time: the logits of a pack never exist together.

    The gradient of h is made on the way there, while the logits are: (softmax - one_hot) w V. See Cut Cross-Entropy
    (https://arxiv.org/abs/2411.09009) and Liger's fused linear cross entropy (https://arxiv.org/abs/2410.10989).

    Args of `apply`:
        hidden: (tokens, hidden).
        head: the output layer, frozen.
        targets: (tokens,) int64.
        weights: (tokens,) float32.

    Returns the weighted sum (scalar, float32) and the plain nll of each token (tokens,), float32, without gradient.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        learning = ctx.needs_input_grad[0]
        to_hidden = torch.empty_like(hidden) if learning else None
        nll = hidden.new_empty(len(hidden), dtype=torch.float32)
        size = max(1, CHUNK // head.out_features)
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            chances, own = head(hidden[part]).float().log_softmax(1), targets[part, None]
            nll[part] = -chances.gather(1, own)[:, 0]
            if learning:
                slope = chances.exp_().scatter_add_(1, own, chances.new_full((len(chances), 1), -1.0))
                torch.mm(slope.to(hidden.dtype), head.weight, out=to_hidden[part]).mul_(weights[part, None])
        ctx.save_for_backward(to_hidden)
        ctx.mark_non_differentiable(nll)
        return (nll * weights).sum(), nll

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, None, None, None]:
        (to_hidden,) = ctx.saved_tensors
        # In float32: a factor rounded to bfloat16 would scale every gradient of the step by up to 0.2 %.
        return (to_hidden.float() * gradient).to(to_hidden.dtype), None, None, None
