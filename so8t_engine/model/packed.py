"""A causal language model that reads packs: embeddings, decoder layers and last norm, without its own masks."""

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from so8t_engine.data.batches import Pack
from so8t_engine.model.attention import PACKED, Rows, flash_works
from so8t_engine.model.kernels import fuse
from so8t_engine.model.so8t import rotations_solved


class PackedModel(nn.Module):
    """`model`, as it reads packs.

    Phi-3 and the Llama family have the same parts under the same names; what transformers adds around them (masks for
    padding, caches) a pack has no use for.

    Args:
        model: with its adapter; it goes on to answer in its own way too.
        recomputed: the first so many decoder layers keep their input alone and are computed once more on the way back.
    """

    def __init__(self, model: PeftModel, recomputed: int = 0) -> None:
        super().__init__()
        self.model, self.recomputed = model, recomputed
        whole = model.get_base_model()
        whole.set_attn_implementation(PACKED)
        self._inner = [whole.model]  # in a list, so that its parameters are not named twice
        self.head: nn.Linear = whole.get_output_embeddings()
        weight = whole.model.embed_tokens.weight
        self.flash = flash_works(weight.device, weight.dtype, whole.model.layers[0].self_attn.head_dim)
        self.fused = fuse(whole)
        self._random = any(part.p > 0 for part in model.modules() if isinstance(part, nn.Dropout))

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""
        return len(self._inner[0].layers)

    def forward(self, pack: Pack) -> Tensor:
        """The last hidden states (tokens, hidden), normed. Within `rotations_solved` where a way back is taken."""
        inner = self._inner[0]
        hidden = inner.embed_tokens(pack.ids[None])
        rope = inner.rotary_emb(hidden, pack.positions[None])
        more = {
            "attention_mask": None, "position_ids": None, "position_embeddings": rope,
            "rows": Rows(pack.starts, pack.lengths, self.flash),
        }  # fmt: skip
        for number, layer in enumerate(inner.layers):
            if number < self.recomputed and torch.is_grad_enabled():
                hidden = checkpoint(layer, hidden, use_reentrant=False, preserve_rng_state=self._random, **more)
            else:
                hidden = layer(hidden, **more)
        return inner.norm(hidden)[0]

    def solved(self):
        """See `rotations_solved`."""
        return rotations_solved(self.model)
