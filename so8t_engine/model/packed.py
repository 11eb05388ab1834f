"""A causal language model that reads packs: the arithmetic of Phi-3 and of the Llama family, on a model of transformers.

transformers' own forward pads, masks and caches, which a pack has no use for; the layers, their weights and their adapters
are the model's own.
"""

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from so8t_engine.data.batches import Pack
from so8t_engine.model.attention import Rows, attend, flash_works
from so8t_engine.model.groups import Groups, together
from so8t_engine.model.pieces import pick
from so8t_engine.model.so8t import SO8TLinear, prepared


class PackedModel(nn.Module):
    """`model`, as it reads packs.

    Args:
        model: with its adapter; it goes on to answer in its own way too.
        recomputed: the first so many decoder layers keep their input alone and are computed once more on the way back.
    """

    def __init__(self, model: PeftModel, recomputed: int = 0) -> None:
        super().__init__()
        self.model, self.recomputed = model, recomputed
        whole = model.get_base_model()
        self._inner = [whole.model]  # in a list, so that its parameters are not named twice
        self.head: nn.Linear = whole.get_output_embeddings()
        self.config = whole.config
        weight = whole.model.embed_tokens.weight
        self.head_dim: int = whole.model.layers[0].self_attn.head_dim
        self.flash = flash_works(weight.device, weight.dtype, self.head_dim)
        self.pieces = pick(weight.device, weight.dtype)
        self._adapted = [layer for layer in model.modules() if isinstance(layer, SO8TLinear)]
        self.drops = any(part.p > 0 for part in model.modules() if isinstance(part, nn.Dropout))
        self._rope: tuple[Tensor, Tensor] | None = None

    @property
    def rank(self) -> int:
        """Of the adapter."""
        return next(iter(self.model.peft_config.values())).r

    @property
    def rotated(self) -> int:
        """Features that the rotated products of one decoder layer give."""
        return sum(layer.out_features for layer in self._adapted if layer.so8t_theta) // self.layers

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""
        return len(self._inner[0].layers)

    def attention(self, longest: int) -> str:
        """How a pack attends whose longest row has so many tokens: by "flash", in "groups", or its "rows" one by one."""
        if self.flash:
            return "flash"
        return "groups" if together(longest, self.head.weight.device, self.head.weight.dtype) else "rows"

    def forward(self, pack: Pack, whole: bool = False) -> Tensor:
        """The last hidden states, normed: at the places that are learned (learned, hidden), or where `whole` says so at
        all of them (tokens, hidden). Within `solved` where a way back is taken.

        The last layer's own products are then made for the learned places alone: nobody looks at the others.
        """
        inner = self._inner[0]
        hidden = inner.embed_tokens(pack.ids)
        rope = tuple(table[pack.positions] for table in self._table(max(pack.lengths), hidden))
        grouped = self.attention(max(pack.lengths)) == "groups"
        rows = Rows(pack.starts, pack.lengths, self.flash, Groups(pack.lengths) if grouped else None)
        for number, layer in enumerate(inner.layers):
            places = None if whole or number + 1 < self.layers else pack.places
            if number < self.recomputed and torch.is_grad_enabled():
                hidden = checkpoint(
                    self._layer, layer, hidden, rope, rows, places, use_reentrant=False, preserve_rng_state=self.drops
                )  # fmt: skip
            else:
                hidden = self._layer(layer, hidden, rope, rows, places)
        return self._norm(inner.norm, hidden)

    def solved(self):
        """See `so8t.prepared`."""
        return prepared(self._adapted, self.head.weight.dtype)

    def _layer(
        self, layer: nn.Module, hidden: Tensor, rope: tuple[Tensor, Tensor], rows: Rows, places: Tensor | None
    ) -> Tensor:  # fmt: skip
        """One decoder layer; of its result only `places`, where they are given."""
        attention, pieces = layer.self_attn, self.pieces
        heads, keys = self.config.num_attention_heads, self.config.num_key_value_heads
        projected = _beside(attention, self._norm(layer.input_layernorm, hidden), "qkv_proj", ("q_proj", "k_proj", "v_proj"))
        query, key, value = pieces.turn(projected, *rope, heads, keys)
        attended = attend(query, key, value, rows).flatten(1)
        if places is not None:
            hidden, attended = hidden[places], attended[places]
        hidden = hidden + attention.o_proj(attended)
        normed = self._norm(layer.post_attention_layernorm, hidden)
        gated = pieces.gate(_beside(layer.mlp, normed, "gate_up_proj", ("gate_proj", "up_proj")))
        return hidden + layer.mlp.down_proj(gated)

    def _norm(self, norm: nn.Module, x: Tensor) -> Tensor:
        return self.pieces.norm(x, norm.weight, norm.variance_epsilon)

    def _table(self, longest: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin (longest or more, dim / 2) of each position: made once, since the model's own looks at every pack
        anew, and waits for the card to do so."""
        if self._rope is None or len(self._rope[0]) < longest:
            places = torch.arange(longest, device=like.device)[None]
            self._rope = tuple(table[0, :, : table.shape[-1] // 2] for table in self._inner[0].rotary_emb(like, places))
        return self._rope


def _beside(module: nn.Module, x: Tensor, whole: str, parts: tuple[str, ...]) -> Tensor:
    """The projections `parts` of x side by side: in Phi-3 they are one, `whole`, in the Llama family several."""
    if hasattr(module, whole):
        return getattr(module, whole)(x)
    return torch.cat([getattr(module, part)(x) for part in parts], dim=1)
