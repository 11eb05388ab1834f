"""SO8T as a method of PEFT: LoRA on the target layers, and rotations in SO(8) on the output of some of them.

    y = R (W x + b + (alpha / r) B A dropout(x)),   R = blockdiag(R_1 ... R_k),   R_i in SO(8)

LoRA moves a weight by a low-rank amount; the rotations turn groups of eight output features without stretching
them. Both fold into W, so a plain model comes out. PEFT's own OFT can't be stacked with LoRA on 8-bit layers and
saved, and its default is only near SO(8); hence one method that holds both.

Importing this module registers the method: `get_peft_model`, `save_pretrained`, `from_pretrained`,
`disable_adapter()` and `merge_and_unload()` then work as for LoRA. See https://huggingface.co/docs/peft,
LoRA (https://arxiv.org/abs/2106.09685) and OFT (https://arxiv.org/abs/2306.07280).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import (
    PeftConfig,
    PeftModel,
    PeftModelForCausalLM,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.peft_types import PeftType, register_peft_method
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from so8t_engine.errors import ModelError
from so8t_engine.model.adapter_config import read_attributes
from so8t_engine.model.frozen import take_over
from so8t_engine.model.layers import chosen
from so8t_engine.model.so8t_layer import SO8TLinear
from so8t_engine.model.so8t_rotation import BLOCK, rotation

__all__ = ["SO8TConfig", "SO8TLinear", "SO8TModel", "attach", "load_adapter", "prepared", "read_config", "rotation", "rotations_error"]


def _so8t_type() -> PeftType:
    """Return `PeftType.SO8T`, adding it to the enum the first time.

    PEFT looks a method up by its member of this enum and offers no way to add one. An enum with members can't be
    subclassed, so the member is built the way `enum` builds its own, and entered in its three tables.
    """
    if "SO8T" not in PeftType.__members__:
        member = str.__new__(PeftType, "SO8T")
        member._name_ = member._value_ = "SO8T"
        member._sort_order_ = len(PeftType)
        type.__setattr__(PeftType, "SO8T", member)
        PeftType._member_names_.append("SO8T")
        PeftType._member_map_["SO8T"] = member
        PeftType._value2member_map_["SO8T"] = member
    return PeftType.SO8T


@dataclass
class SO8TConfig(PeftConfig):
    """What an SO8T adapter looks like; saved as `adapter_config.json`.

    Args:
        r: rank of B A.
        alpha: B A is scaled by alpha / r.
        dropout: dropout on the input of A, in training.
        target_modules: last parts of the names of the linear layers that get LoRA.
        rotate_modules: those of them whose output is rotated as well.

    Raises:
        ModelError: "model.rotate_not_target" when a rotated module is no target.
    """

    r: int = field(default=64, metadata={"help": "Rank of B A."})
    alpha: float = field(default=128.0, metadata={"help": "B A is scaled by alpha / r."})
    dropout: float = field(default=0.0, metadata={"help": "Dropout on the input of A."})
    target_modules: list[str] = field(
        default_factory=lambda: ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
        metadata={"help": "Names of the linear layers that get LoRA."},
    )
    rotate_modules: list[str] = field(
        default_factory=lambda: ["o_proj"], metadata={"help": "Targets whose output is rotated as well."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = _so8t_type()
        # Lists, not PEFT's sets: the saved config is then the same file each time.
        self.target_modules = list(self.target_modules)
        self.rotate_modules = list(self.rotate_modules)
        strangers = [name for name in self.rotate_modules if name not in self.target_modules]
        if strangers:
            raise ModelError(
                "model.rotate_not_target",
                where="so8t.rotate",
                rotate=", ".join(strangers),
                targets=", ".join(self.target_modules),
            )


class SO8TModel(BaseTuner):
    """Replaces the target layers of a model by `SO8TLinear`; PEFT builds it in `get_peft_model`."""

    prefix = "so8t_"
    tuner_layer_cls = SO8TLinear

    def _prepare_model(self, peft_config: SO8TConfig, model: nn.Module) -> None:
        """Check every target before a single layer is replaced.

        PEFT itself fails only when no target matches at all, and then half a config can be lost without a word.

        Raises:
            ModelError: "model.no_target" when a target names no linear layers of the model, "model.not_blocks" when a
                layer to rotate has an output that is no multiple of 8.
        """
        take_over(model)
        modules = dict(model.named_modules())
        linear = {name: layer for name, layer in modules.items() if _is_linear(name, layer)}
        matches = {
            target: [name for name in modules if _ends(name, target)] for target in peft_config.target_modules
        }
        lost = [target for target, names in matches.items() if not names or any(name not in linear for name in names)]
        if lost:
            raise ModelError(
                "model.no_target",
                where="so8t.targets",
                targets=", ".join(lost),
                available=", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear)),
            )
        for name, layer in linear.items():
            if _rotated(peft_config, name) and layer.out_features % BLOCK:
                raise ModelError(
                    "model.not_blocks", where="so8t.rotate", layer=name, out_features=layer.out_features, block=BLOCK
                )

    def _create_and_replace(
        self,
        peft_config: SO8TConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        options = {
            "r": peft_config.r,
            "alpha": peft_config.alpha,
            "dropout": peft_config.dropout,
            "rotated": _rotated(peft_config, current_key),
            "drawn": not peft_config.inference_mode,
        }
        if isinstance(target, SO8TLinear):
            target.add_adapter(adapter_name, **options)
        else:
            self._replace_module(parent, target_name, SO8TLinear(target, adapter_name, **options), target)

    def _check_merge_allowed(self) -> None:
        """Refuse a quantized layer before the first layer is merged, so that no model is left half merged."""
        super()._check_merge_allowed()
        for name, layer in self.model.named_modules():
            if isinstance(layer, SO8TLinear):
                layer.check_mergeable(where=name)


def attach(
    model: nn.Module,
    *,
    r: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str],
    rotate: Sequence[str],
    seed: int | None = None,
) -> PeftModel:
    """Put a new, trainable adapter on a causal language model, in place; its output stays as it was.

    Args:
        model: the base model; its own parameters are frozen.
        r, alpha, dropout: see `SO8TConfig`.
        targets: last parts of the names of the linear layers that get LoRA, or ("auto",): see `layers.chosen`.
        rotate: those of them whose output is rotated as well, or ("auto",).
        seed: of the adapter's first values, leaving torch's generators as they are; None draws from torch's own.

    Returns:
        The model with its adapter, which is float32 whatever the dtype of the model.

    Raises:
        ModelError: "model.no_target", "model.rotate_not_target" or "model.not_blocks".
    """
    targets, rotate = chosen(targets, rotate, (name for name, layer in model.named_modules() if _is_linear(name, layer)))
    config = SO8TConfig(
        task_type=TaskType.CAUSAL_LM,
        r=r,
        alpha=alpha,
        dropout=dropout,
        target_modules=list(targets),
        rotate_modules=list(rotate),
    )
    # The layers draw on the CPU alone, so no GPU generator has to be kept.
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        return get_peft_model(model, config)


def load_adapter(model: nn.Module, folder: str | Path, *, trainable: bool = False, name: str = "default") -> PeftModel:
    """Put the adapter in `folder`, written by `save_pretrained`, on a causal language model, in place.

    Stricter than `PeftModel.from_pretrained`, which warns of missing tensors, says nothing of unknown ones, reads
    pickles, asks the Hub when the folder is not there, and may move a model on the CPU to a GPU.

    Args:
        model: the base model, or a model that has adapters already and gets one more.
        folder: holds `adapter_config.json` and `adapter_model.safetensors`.
        trainable: whether the adapter may be trained on; if not, the model is set to eval mode.
        name: what the adapter is called on this model.

    Raises:
        ModelError: "model.bad_adapter" when a file is missing or damaged, "model.wrong_adapter" when it is another
            method's adapter, "model.adapter_mismatch" when tensors are missing, unknown or of another shape; or as
            `attach` does.
    """
    folder = Path(folder)
    config, tensors = _read_adapter(folder)
    config.inference_mode = not trainable
    first = not isinstance(model, PeftModel)
    if first:
        model = PeftModelForCausalLM(model, config, adapter_name=name)
    else:
        model.add_adapter(name, config)
    expected = {(key, tensor.shape) for key, tensor in _adapter_state(model, name).items()}
    strangers = expected ^ {(key, tensor.shape) for key, tensor in tensors.items()}
    if strangers:
        if first:
            model.unload()
        else:
            model.delete_adapter(name)
        raise ModelError(
            "model.adapter_mismatch", where=str(folder), count=len(strangers), tensor=min(key for key, _ in strangers)
        )
    set_peft_model_state_dict(model, tensors, adapter_name=name)
    return model if trainable else model.eval()


def read_config(folder: Path) -> SO8TConfig:
    """What `adapter_config.json` in `folder` says.

    Raises ModelError "model.bad_adapter" when it can't be read, "model.wrong_adapter" when it is another method's.
    """
    attributes = read_attributes(folder)
    try:
        return SO8TConfig.from_peft_type(**attributes)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError("model.bad_adapter", where=str(folder), reason=error) from error


@contextmanager
def prepared(layers: Sequence[SO8TLinear], dtype: torch.dtype) -> Iterator[None]:
    """Within it the active adapters of all `layers` are ready for products in `dtype`: a few launches for all of them
    instead of some for each, which is what a card waits for.

    Rotations are solved, and turn their B, in one batch; A and B are rounded together. The way back of what was computed
    within must be taken within, too; the parameters must not change meanwhile. A layer on which several adapters are
    active prepares itself.
    """
    alone = [layer for layer in layers if len(layer.active_adapters) == 1 and layer.active_adapters[0] in layer.so8t_A]
    try:
        _prepare(alone, dtype)
        yield
    finally:
        for layer in alone:
            layer.ready = None


def _prepare(layers: Sequence[SO8TLinear], dtype: torch.dtype) -> None:
    names = [layer.active_adapters[0] for layer in layers]
    pairs = list(zip(layers, names, strict=True))
    whole: dict[SO8TLinear, tuple[Tensor, Tensor, float, Tensor | None]] = {
        layer: (layer.so8t_A[name], layer.so8t_B[name], layer.so8t_scale[name], None) for layer, name in pairs
    }
    turned = [(layer, name) for layer, name in pairs if name in layer.so8t_theta]
    if turned:
        blocks = [len(layer.so8t_theta[name]) for layer, name in turned]
        rotations = rotation(torch.cat([layer.so8t_theta[name] for layer, name in turned]))
        scaled = torch.cat([layer.so8t_B[name] * layer.so8t_scale[name] for layer, name in turned])
        b = rotations @ scaled.unflatten(0, (-1, BLOCK))
        for (layer, name), own, part in zip(turned, rotations.split(blocks), b.split(blocks), strict=True):
            whole[layer] = (layer.so8t_A[name], part.flatten(0, 1), 1.0, own)
    with torch.no_grad():
        for layer, rounded in zip(whole, _rounded(list(whole.values()), dtype), strict=True):
            layer.ready = (*whole[layer], *rounded)


def _rounded(adapters: list[tuple[Tensor, Tensor, float, Tensor | None]], dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """A and scale B of each adapter in `dtype`."""
    scaled = torch._foreach_mul([b for _, b, *_ in adapters], [scale for *_, scale, _ in adapters])
    exact = [*(a.detach() for a, *_ in adapters), *scaled]
    found = exact
    if exact[0].dtype != dtype:
        found = [torch.empty_like(values, dtype=dtype) for values in exact]
        torch._foreach_copy_(found, exact)
    return list(zip(found[: len(adapters)], found[len(adapters) :], strict=True))


@torch.no_grad()
def rotations_error(model: nn.Module) -> float:
    """How far the rotations of a model are from orthogonal: max |R R^T - I| over all rotated layers.

    0 when no layer is rotated; infinite when a parameter is not finite, so that no limit is met by a NaN.
    """
    thetas = [
        theta for layer in model.modules() if isinstance(layer, SO8TLinear) for theta in layer.so8t_theta.values()
    ]
    if not thetas:
        return 0.0
    # Multiplied in float64, so that the figure tells of R and not of the product (TF32, autocast).
    rotations = rotation(torch.cat(thetas)).double()
    eye = torch.eye(BLOCK, dtype=rotations.dtype, device=rotations.device)
    return (rotations @ rotations.mT - eye).abs().max().nan_to_num(nan=torch.inf).item()


def _is_linear(name: str, module: nn.Module) -> bool:
    """Whether an adapter can go on a module; the linear layer inside an adapted one is not told apart from it."""
    return isinstance(module, (nn.Linear, SO8TLinear)) and not name.endswith(".base_layer")


def _ends(name: str, suffix: str) -> bool:
    """PEFT's rule for a target: the whole name, or its last parts."""
    return name == suffix or name.endswith(f".{suffix}")


def _rotated(config: SO8TConfig, name: str) -> bool:
    return any(_ends(name, suffix) for suffix in config.rotate_modules)


def _adapter_state(model: PeftModel, name: str) -> dict[str, Tensor]:
    # Without the flag PEFT compares vocabularies with the base model's folder, or asks the Hub for it.
    return get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)


def _read_adapter(folder: Path) -> tuple[SO8TConfig, dict[str, Tensor]]:
    config = read_config(folder)
    try:
        return config, load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError("model.bad_adapter", where=str(folder), reason=error) from error


_so8t_type()
register_peft_method(name="so8t", config_cls=SO8TConfig, model_cls=SO8TModel)
