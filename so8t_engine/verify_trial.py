"""Checks that try a little of a training: the adapter, a step, an answer, a checkpoint, and a kill while saving."""

import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from so8t_engine import checkpoint
from so8t_engine.errors import EngineError
from so8t_engine.settings import ROOT, Settings
from so8t_engine.verify_finding import Finding, Trial, failed, passed, size, warned
from so8t_engine.verify_victim import content

ANSWER_TOKENS = 16
"""Tokens of the answer on trial: enough to see that the model speaks."""

HALF_SCALE = 1024.0
"""The loss is scaled by this in float16, so that small gradients don't vanish; a run finds its own scale."""

VICTIM_SECONDS = 30.0
"""A child that has not saved anything by then is given up."""


def targets(trial: Trial) -> Finding:
    """The base model in memory, with LoRA and rotations on the layers that the config names."""
    from so8t_engine.model.load import load_model, pick_device
    from so8t_engine.model.so8t import SO8TLinear

    settings = trial.settings
    base = load_model(trial.base, settings.model, pick_device())
    trial.model = _attached(base, settings, settings.seed)
    layers = [layer for layer in trial.model.modules() if isinstance(layer, SO8TLinear)]
    trained = sum(p.numel() for p in trial.model.parameters() if p.requires_grad)
    rotated = sum(bool(layer.so8t_theta) for layer in layers)
    return passed("verify.targets_good", layers=len(layers), rotated=rotated, trained=f"{trained / 1e6:.1f} M")


def step(trial: Trial) -> Finding:
    """Forward and backward on the longest row alone: a finite loss, and a gradient in every layer."""
    import torch

    from so8t_engine.data.batches import pack
    from so8t_engine.model.load import compute_dtype, pick_device
    from so8t_engine.model.packed import PackedModel
    from so8t_engine.model.so8t import SO8TLinear
    from so8t_engine.train.loss import answer_loss

    device = pick_device()
    dtype = compute_dtype(trial.settings.model.dtype, device)
    rows = pack([trial.longest]).to(device)
    train, begun = trial.settings.train, time.monotonic()
    model = PackedModel(trial.model)
    model.recomputed = model.layers if train.gradient_checkpointing else 0
    model.train()
    with torch.enable_grad(), model.solved():
        loss, sums, _ = answer_loss(model, rows, train.label_weight)
        scale = HALF_SCALE if dtype == torch.float16 else 1.0
        (loss / rows.weight(train.label_weight) * scale).backward()
    mean = float(sums[0]) / len(rows.targets)
    if not math.isfinite(mean):
        return failed("verify.loss_bad", loss=mean, dtype=str(dtype).removeprefix("torch."))
    layers = {name: layer for name, layer in trial.model.named_modules() if isinstance(layer, SO8TLinear)}
    norms = {name: _gradient_norm(layer) / scale for name, layer in layers.items()}
    dead = [name for name, norm in norms.items() if not (math.isfinite(norm) and norm > 0)]
    if dead:
        return failed("verify.gradient_bad", count=len(dead), layers=len(layers), first=dead[0])
    return passed(
        "verify.step_good", loss=f"{mean:.3f}", norm=f"{math.hypot(*norms.values()):.3g}",
        tokens=f"{rows.tokens:,}", seconds=f"{time.monotonic() - begun:.1f}",
    )  # fmt: skip


def answer(trial: Trial) -> Finding:
    """A few tokens of an answer. What they say is not looked at: it may be thinking."""
    import torch

    model = trial.model.get_base_model().eval()
    prompt = torch.tensor([trial.template.prompt_ids("こんにちは")], device=model.device)
    begun = time.monotonic()
    with torch.inference_mode():
        drawn = model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=ANSWER_TOKENS, do_sample=False,
            use_cache=True, pad_token_id=trial.pad_id, eos_token_id=trial.template.end_id, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    seconds = time.monotonic() - begun
    if not all(bool(torch.isfinite(logits).all()) for logits in drawn.logits):
        return failed("verify.answer_bad", where=str(trial.base))
    tokens = drawn.sequences[0, prompt.shape[1] :]
    if int(tokens[0]) == trial.template.end_id:
        return warned("verify.answer_empty", where=str(trial.base))
    return passed("verify.answer_good", tokens=len(tokens), speed=f"{len(tokens) / seconds:.1f}")


def checkpoint_round(trial: Trial) -> Finding:
    """One step's state saved, and read into a fresh adapter and optimizer: the same to the last bit."""
    from so8t_engine.train.optimizer import build_optimizer
    from so8t_engine.train.state import Progress, load_state, random_states, save_state

    settings, folder = trial.settings, trial.scratch() / "checkpoints"
    trial.model.train()
    optimizer = build_optimizer(trial.model, settings.train)
    optimizer.step()
    progress, states = Progress(step=1, best=0.5, validated=1), random_states()
    begun = time.monotonic()
    saved = checkpoint.save(
        folder, 1, lambda target: save_state(target, trial.model, optimizer, None, progress, states), {}, keep=2
    )  # fmt: skip
    seconds = time.monotonic() - begun
    before = _whole_state(trial.model, optimizer) | {"random": states["torch"]}
    trial.model = _attached(trial.model.unload(), settings, settings.seed + 1)
    fresh = build_optimizer(trial.model, settings.train)
    found, faults = checkpoint.newest_good(folder)
    if found is None or faults:
        return failed("verify.checkpoint_lost", where=str(folder), reason=faults[0] if faults else "-")
    read = load_state(found.folder, trial.model, fresh, None)
    after = _whole_state(trial.model, fresh) | {"random": random_states()["torch"]}
    differing = sorted(name for name in before.keys() | after.keys() if not _same(before.get(name), after.get(name)))
    if differing or read != progress:
        return failed("verify.checkpoint_differs", count=len(differing), first=next(iter(differing), "trainer.json"))
    return passed("verify.checkpoint_good", size=size(saved.bytes), seconds=f"{seconds:.2f}", tensors=len(before))


def kill(trial: Trial) -> Finding:
    """A child is killed while it saves, once in the middle of a file and once at any moment: the last whole one stays."""
    found = 0
    for mode in ("half", "loop"):
        folder = trial.scratch() / f"killed-{mode}"
        told = _killed(folder, mode)
        good, _ = checkpoint.newest_good(folder)
        if good is None or good.step < told or (good.folder / "state.bin").read_bytes() != content(good.step):
            return failed(
                "verify.kill_lost", where=str(folder.parent.parent), told=told, found=good.step if good else 0
            )
        found += 1
    return passed("verify.kill_good", count=found)


def _killed(folder: Path, mode: str) -> int:
    """Start a child that saves into `folder`, kill it in the act, and give back the last step it called saved."""
    command = [sys.executable, "-m", "so8t_engine.verify_victim", str(folder), mode]
    child = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )  # fmt: skip
    late = threading.Timer(VICTIM_SECONDS, child.kill)
    late.start()
    try:
        begun = child.stdout.readline().strip()
        if begun == "saving" and mode == "loop":
            time.sleep(0.2)  # a few saves: the kill falls where it falls
    finally:
        late.cancel()
        child.kill()
        rest, complaint = child.communicate()
    if begun != "saving":
        reason = (complaint.strip().splitlines() or ["-"])[-1][:300]
        raise EngineError("verify.kill_no_child", where=sys.executable, reason=reason)
    return max([1, *(int(line) for line in rest.split("\n")[:-1] if line.isdigit())])


def _attached(base: Any, settings: Settings, seed: int) -> Any:
    from so8t_engine.model.so8t import attach

    so8t = settings.so8t
    return attach(
        base, r=so8t.r, alpha=so8t.alpha, dropout=so8t.dropout, targets=so8t.targets, rotate=so8t.rotate, seed=seed
    )  # fmt: skip


def _gradient_norm(layer: Any) -> float:
    """Euclidean norm of the gradient of all trained parameters of a layer; 0 when there is none."""
    gradients = [p.grad for p in layer.parameters() if p.requires_grad and p.grad is not None]
    return math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients))


def _whole_state(model: Any, optimizer: Any) -> dict[str, Any]:
    """Copies of every tensor of the adapter and of the optimizer, by name."""
    from peft import get_peft_model_state_dict

    from so8t_engine.train.optimizer import pack_state

    adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {f"adapter/{name}": tensor.detach().to("cpu", copy=True) for name, tensor in adapter.items()}
    return tensors | {f"optimizer/{name}": tensor for name, tensor in pack_state(optimizer)[0].items()}


def _same(one: Any, two: Any) -> bool:
    import torch

    return one is not None and two is not None and one.dtype == two.dtype and torch.equal(one, two)
