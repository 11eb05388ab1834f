"""Optimizers, their learning rate, and their state as plain tensors."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from so8t_engine.settings import TrainSettings


def build_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; rotations are never decayed, since theta = 0 is no better than another."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if "theta" not in name], "weight_decay": settings.weight_decay},
        {"params": [p for name, p in named if "theta" in name], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)  # one kernel for all of them
    import bitsandbytes

    kind = bitsandbytes.optim.PagedAdamW8bit if settings.optimizer == "paged_adamw_8bit" else bitsandbytes.optim.AdamW8bit
    return kind(groups, lr=settings.learning_rate)


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """The rate of step `step` (from 0) of `steps`.

    Rises linearly over the first warmup_ratio of the steps, then falls along a half cosine
    (https://arxiv.org/abs/1608.03983) or a line towards zero at the end, or stays.
    """
    warmup = math.ceil(settings.warmup_ratio * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    factor = {"cosine": (1 + math.cos(math.pi * progress)) / 2, "linear": 1 - progress, "constant": 1.0}
    return settings.learning_rate * factor[settings.schedule]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` in every group from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def pack_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state as tensors by path ("0/exp_avg") and everything else as JSON values."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    _flatten(state["state"], "", tensors, plain)
    return tensors, {"values": plain, "groups": state["param_groups"]}


def unpack_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Give `optimizer` the state that `pack_state` took."""
    state: dict[Any, Any] = {}
    for path, value in [*tensors.items(), *rest["values"].items()]:
        *parents, name = path.split("/")
        place = state
        for parent in parents:
            place = place.setdefault(int(parent) if parent.isdigit() else parent, {})
        place[name] = value
    groups = [{**group, "betas": tuple(group["betas"])} for group in rest["groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _flatten(value: Any, path: str, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(inner, f"{path}/{name}" if path else str(name), tensors, plain)
    elif isinstance(value, Tensor):
        # Cloned: bitsandbytes shares one code table among all its states, and safetensors writes no tensor twice.
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
    else:
        plain[path] = value
