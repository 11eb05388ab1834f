"""One linear layer that carries LoRA and, where it is asked for, rotations of its output."""

import math

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from so8t_engine.errors import ModelError
from so8t_engine.model.merge import fold
from so8t_engine.model.so8t_rotation import ANGLES, BLOCK, rotate, rotation


class SO8TLinear(nn.Module, BaseTunerLayer):
    """y = R (W x + b + (alpha / r) B A dropout(x)); without rotations R = I, which is LoRA.

    W stays frozen and is reached only through the base layer's own forward, so it may be an `nn.Linear` or one of
    bitsandbytes' 8-bit and 4-bit layers. B and theta start at zero: a new adapter leaves the output as it is.

    Parameters of each adapter, float32 whatever the dtype of W:
        so8t_A: (r, in), as in LoRA (https://arxiv.org/abs/2106.09685).
        so8t_B: (out, r).
        so8t_theta: (out / 8, 28), only on rotated layers; see `rotation`.

    When several adapters are active they act one after the other, in the order of their names in `active_adapters`.

    Args:
        base_layer: the frozen layer.
        adapter_name: name of the first adapter.
        r, alpha, dropout, rotated: see `add_adapter`.
    """

    adapter_layer_names = ("so8t_A", "so8t_B", "so8t_theta")
    other_param_names = ("so8t_scale", "so8t_dropout")

    def __init__(
        self, base_layer: nn.Linear, adapter_name: str, *, r: int, alpha: float, dropout: float, rotated: bool
    ) -> None:
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
        self.add_adapter(adapter_name, r=r, alpha=alpha, dropout=dropout, rotated=rotated)

    def add_adapter(self, name: str, *, r: int, alpha: float, dropout: float, rotated: bool) -> None:
        """Add the parameters of one adapter on the device of the base layer.

        Args:
            name: name of the adapter.
            r: rank of B A.
            alpha: B A is scaled by alpha / r.
            dropout: probability that an input feature of A is dropped in training.
            rotated: whether the output is rotated.
        """
        # A is drawn on the CPU, so that a seed gives the same adapter on any machine.
        a = torch.empty(r, self.in_features, dtype=torch.float32)
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
        if self.disable_adapters:
            self.unmerge()
            return self.base_layer(x)
        y = self.base_layer(x)
        if self.merged:
            return y
        for name in self.active_adapters:
            if name in self.so8t_A:
                y = self._adapt(name, x, y)
        return y

    def _adapt(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """R (y + (alpha / r) B A dropout(x)) of one adapter, in the dtype of `y`."""
        a, b = self.so8t_A[name], self.so8t_B[name]
        # Autocast casts both operands itself; without it a bfloat16 input would not meet the float32 A.
        inputs = x if torch.is_autocast_enabled(x.device.type) else x.to(a.dtype)
        delta = F.linear(F.linear(self.so8t_dropout[name](inputs), a), b) * self.so8t_scale[name]
        if name not in self.so8t_theta:
            return y + delta.to(y.dtype)
        # Rotated in float32 also when the activations are bfloat16, and rounded once at the end: a bfloat16 R is off
        # SO(8) by 4e-3, and training would then see another model than the one that is folded.
        with torch.autocast(y.device.type, enabled=False):
            rotations = rotation(self.so8t_theta[name])
            wide = torch.promote_types(y.dtype, rotations.dtype)
            return rotate(rotations.to(wide), y.to(wide) + delta).to(y.dtype)

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
            theta = self.so8t_theta[name] if name in self.so8t_theta else None
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
