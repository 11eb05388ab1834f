"""Everything a resumed run needs besides its settings, on disk in safetensors and JSON.

    adapter/adapter_model.safetensors   the SO8T weights, as PEFT saves them
    state.safetensors                   optimizer tensors and generator states
    trainer.json                        step, best loss, the optimizer's and the scaler's plain values
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from so8t_engine.train.optimizer import pack_state, unpack_state

ADAPTER = "adapter"


@dataclass
class Progress:
    """How far a run is.

    step: optimizer steps done; best: lowest validation loss so far, None before the first; validated: the step at
    which the validation rows were scored last.
    """

    step: int = 0
    best: float | None = None
    validated: int = 0


def random_states() -> dict[str, Any]:
    """The state of every generator that training draws from."""
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random(states: dict[str, Any]) -> None:
    """Put the generators back to where `random_states` found them."""
    torch.set_rng_state(states["torch"])
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    cards = sorted(name for name in states if name.startswith("cuda"))
    for i, name in enumerate(cards[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(states[name], i)


def save_state(folder: Path, model: PeftModel, optimizer, scaler, progress: Progress, states: dict[str, Any]) -> None:
    """Write the files into `folder`. `states` are the generators' at the end of step `progress.step`."""
    save_adapter(folder / ADAPTER, model)
    tensors, rest = pack_state(optimizer)
    tensors = {f"optimizer/{name}": value for name, value in tensors.items()}
    tensors |= {f"random/{name}": value for name, value in states.items() if isinstance(value, Tensor)}
    save_file(tensors, folder / "state.safetensors")
    trainer = {
        "step": progress.step,
        "best": progress.best,
        "validated": progress.validated,
        "optimizer": rest,
        "scaler": scaler.state_dict() if scaler is not None else None,
        "python_random": states["python"],
    }
    (folder / "trainer.json").write_text(json.dumps(trainer), encoding="utf-8")


def load_state(folder: Path, model: PeftModel, optimizer, scaler) -> Progress:
    """Read back what `save_state` wrote, generators included."""
    tensors = load_file(folder / "state.safetensors")
    trainer = json.loads((folder / "trainer.json").read_text(encoding="utf-8"))
    set_peft_model_state_dict(model, load_file(folder / ADAPTER / "adapter_model.safetensors"))
    part = {name: {n.removeprefix(f"{name}/"): t for n, t in tensors.items() if n.startswith(f"{name}/")}
            for name in ("optimizer", "random")}  # fmt: skip
    unpack_state(optimizer, part["optimizer"], trainer["optimizer"])
    if scaler is not None and trainer["scaler"] is not None:
        scaler.load_state_dict(trainer["scaler"])
    restore_random({**part["random"], "python": trainer["python_random"]})
    return Progress(trainer["step"], trainer["best"], trainer["validated"])


def save_adapter(folder: Path, model: PeftModel) -> None:
    """The adapter alone, as `PeftModel.from_pretrained` reads it."""
    # The flag keeps PEFT from comparing vocabularies with the base model's folder, or asking a hub for it.
    model.save_pretrained(folder, save_embedding_layers=False)
