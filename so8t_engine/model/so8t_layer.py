"""One linear layer that carries LoRA and, where it is asked for, rotations of its output."""

import math

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from so8t_engine.errors import ModelError
from so8t_engine.model.merge import fold
from so8t_engine.model.product import AdaptedProduct
from so8t_engine.model.so8t_rotation import ANGLES, BLOCK, rotation

Rows = tuple[tuple[str, int, int], ...]
"""Which rows of a batch speak with which adapter: (name, start, stop)."""


class SO8TLinear(nn.Module, BaseTunerLayer):
    """y = R (W x + b + (alpha / r) B A dropout(x)); without rotations R = I, which is LoRA.

    W stays frozen, and may be that of any layer that `frozen.dense` reads. B and theta start at zero: a new adapter leaves the output as it is.

    Parameters of each adapter, float32 whatever the dtype of W:
        so8t_A: (r, in), as in LoRA (https://arxiv.org/abs/2106.09685).
        so8t_B: (out, r).
        so8t_theta: (out / 8, 28), only on rotated layers; see `rotation`.

    When several adapters are active they act one after the other, in the order of their names in `active_adapters`.

    For generation the rows of a batch may each speak with an adapter of their own: `rows` then holds (name, start, stop)
    for each group of rows that has one, the other rows are the base layer's, and after a forward pass `spoke` is what
    `rows` was in it. None, the default, leaves the choice to PEFT.

    `ready` may hold what `AdaptedProduct` takes of the one active adapter, made for all layers at once by
    `so8t.prepared`; None otherwise.

    Args:
        base_layer: the frozen layer.
        adapter_name: name of the first adapter.
        r, alpha, dropout, rotated, drawn: see `add_adapter`.
    """

    adapter_layer_names = ("so8t_A", "so8t_B", "so8t_theta")
    other_param_names = ("so8t_scale", "so8t_dropout")

    def __init__(
        self, base_layer: nn.Linear, adapter_name: str, *, r: int, alpha: float, dropout: float, rotated: bool,
        drawn: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.base_layer = base_layer
        self.in_features = base_layer.in_features
        self.out_features = base_layer.out_features
        self.so8t_A = nn.ParameterDict()
        self.so8t_B = nn.ParameterDict()
        self.so8t_theta = nn.ParameterDict()
        self.so8t_dropout = nn.ModuleDict()
        self.so8t_scale: dict[str, float] = {}
        self.merged_adapters: list[str] = []  # BaseTunerLayer holds one list for all layers
        self._before_merge: list[tuple[Tensor, Tensor | None]] = []
        self._active_adapter = adapter_name
        self.rows: Rows | None = None
        self.spoke: Rows | None = None
        self._prepared: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
        self.ready: tuple | None = None
        self.add_adapter(adapter_name, r=r, alpha=alpha, dropout=dropout, rotated=rotated, drawn=drawn)

    def add_adapter(
        self, name: str, *, r: int, alpha: float, dropout: float, rotated: bool, drawn: bool = True
    ) -> None:
        """Add the parameters of one adapter on the device of the base layer.

        Args:
            name: name of the adapter.
            r: rank of B A.
            alpha: B A is scaled by alpha / r.
            dropout: probability that an input feature of A is dropped in training.
            rotated: whether the output is rotated.
            drawn: whether A is drawn from torch's generator; an adapter that is about to be loaded leaves it alone.
        """
        # A is drawn on the CPU, so that a seed gives the same adapter on any machine.
        a = torch.zeros(r, self.in_features, dtype=torch.float32)
        if drawn:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        device = self.base_layer.weight.device
        self.so8t_A[name] = nn.Parameter(a.to(device))
        self.so8t_B[name] = nn.Parameter(torch.zeros(self.out_features, r, dtype=torch.float32, device=device))
        if rotated:
            theta = torch.zeros(self.out_features // BLOCK, ANGLES, dtype=torch.float32, device=device)
            self.so8t_theta[name] = nn.Parameter(theta)
        self.so8t_scale[name] = alpha / r
        self.so8t_dropout[name] = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out) in the dtype of the base layer's output."""
        if self.rows is not None:
            return self._by_rows(x, self.rows)
        if self.disable_adapters:
            self.unmerge()
            return self.base_layer(x)
        names = [name for name in self.active_adapters if name in self.so8t_A]
        return self.base_layer(x) if self.merged or not names else self._adapt(x, names)

    @torch.no_grad()
    def prepare(self, name: str) -> None:
        """Make an adapter ready to speak by rows: A and s B as they are multiplied, R solved once."""
        if name not in self.so8t_A:
            return
        theta = self.so8t_theta.get(name)
        self._prepared[name] = (
            self.so8t_A[name].detach().T,
            (self.so8t_B[name].detach() * self.so8t_scale[name]).T.contiguous(),
            None if theta is None else rotation(theta.detach()),
        )

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter."""
        self._prepared.pop(adapter_name, None)
        super().delete_adapter(adapter_name)

    def _by_rows(self, x: Tensor, rows: Rows) -> Tensor:
        y = self.base_layer(x)
        for name, start, stop in rows:
            if name in self.so8t_A:
                self._speak(name, x[start:stop], y[start:stop])
        self.spoke = rows
        return y

    def _speak(self, name: str, x: Tensor, y: Tensor) -> None:
        """What `_adapt` computes of one adapter, written into `y`; with the fewest operations, as a step of few rows is all overhead."""
        a, b, rotations = self._prepared[name]
        flat = y.view(-1, self.out_features)
        narrow = flat.dtype != b.dtype
        wide = flat.to(b.dtype) if narrow else flat
        wide.addmm_(x.reshape(-1, self.in_features).to(a.dtype) @ a, b)
        if rotations is not None:
            wide = torch.bmm(rotations, wide.view(wide.shape[0], -1, BLOCK).permute(1, 2, 0)).permute(2, 0, 1)
            narrow = True
        if narrow:
            flat.view(wide.shape).copy_(wide)

    def _adapt(self, x: Tensor, names: list[str]) -> Tensor:
        """The adapters `names` in their order: R_n ( ... R_1 (W x + b + s_1 B_1 A_1 x) ... + s_n B_n A_n x).

        That is one adapter whose A are stacked, and whose B and rotations are those of the later ones times its own.
        """
        dropped = self.so8t_dropout[names[-1]](x)
        if self.ready is not None:
            return AdaptedProduct.apply(x, dropped, *self.ready, self.base_layer)
        a, b, rotations = [], [], None
        for name in names:
            b.append(self.so8t_B[name] * self.so8t_scale[name])
            a.append(self.so8t_A[name])
            if name in self.so8t_theta:
                own = rotation(self.so8t_theta[name])
                b = [(own @ part.unflatten(0, (-1, BLOCK))).flatten(0, 1) for part in b]
                rotations = own if rotations is None else own @ rotations
        a, b = (a[0], b[0]) if len(names) == 1 else (torch.cat(a), torch.cat(b, dim=1))
        rounded = a.detach().to(x.dtype), b.detach().to(x.dtype)
        return AdaptedProduct.apply(x, dropped, a, b, 1.0, rotations, *rounded, self.base_layer)

    def check_mergeable(self, where: str = "") -> None:
        """Raise ModelError "model.merge_quantized" when the base weight is no plain float parameter.

        Requantizing the folded weight would silently round the adapter away; fold into the original float weights
        instead (`so8t_engine.model.merge.fold`).
        """
        weight = self.base_layer.weight
        if type(weight) is not nn.Parameter or not weight.is_floating_point():
            raise ModelError("model.merge_quantized", where=where, layer=type(self.base_layer).__name__)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the base weight in place; the weight keeps its dtype.

        Args:
            safe_merge: part of PEFT's interface; a result that is not finite is refused in any case.
            adapter_names: the adapters, in order; None for the active ones.

        Raises:
            ModelError: "model.merge_quantized", or "model.not_finite" when the adapter holds NaN or infinity.
        """
        self.check_mergeable()
        base = self.base_layer
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.so8t_A:
                continue
            theta = self.so8t_theta.get(name)
            weight, bias = fold(
                base.weight, self.so8t_A[name], self.so8t_B[name], self.so8t_scale[name], theta, base.bias
            )
            if not weight.isfinite().all():
                raise ModelError("model.not_finite", adapter=name)
            # Kept, not computed back: undoing the fold in bfloat16 would not give the base model again.
            self._before_merge.append((base.weight.data, None if bias is None else base.bias.data))
            base.weight.data = weight.to(base.weight.dtype)
            if bias is not None:
                base.bias.data = bias.to(base.bias.dtype)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Put the base weight back, bit for bit, as it was before `merge`."""
        base = self.base_layer
        while self.merged_adapters:
            self.merged_adapters.pop()
            weight, bias = self._before_merge.pop()
            base.weight.data = weight.to(base.weight)
            if bias is not None:
                base.bias.data = bias.to(base.bias)
