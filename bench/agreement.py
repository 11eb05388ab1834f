"""Does the fast path learn what the plain one learns? Loss curves of the demo model on the demo's rows.

    python bench/agreement.py fast FILE     the product's step: 8-bit storage, packs, and whatever this machine's card can
    python bench/agreement.py plain FILE    float32 throughout, one row at a time, transformers' own forward and loss
    python bench/agreement.py noise FILE    as plain, in bfloat16: how far rounding alone leads
    python bench/agreement.py seed FILE     as plain, with another start of the adapter: how far chance leads
    python bench/agreement.py compare FAST PLAIN NOISE SEED

All have the same base weights (the 8-bit ones, as numbers), rows, order, learning rates, optimizer and, but for `seed`, the
same start. 200 steps of 8 rows.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from shapes import machine
from train_speed import Never

from so8t_engine import config
from so8t_engine.data.sources import read
from so8t_engine.data.split import cut
from so8t_engine.data.template import Template
from so8t_engine.model.frozen import Int8Linear, dense
from so8t_engine.model.load import load_tokenizer
from so8t_engine.train.loop import Session
from so8t_engine.train.optimizer import learning_rate, set_rate
from so8t_engine.train.ranks import Ranks

STEPS = 200


def session(seed: int = 42, dtype: str = "auto") -> Session:
    """The product's session on the demo's rows."""
    values = config.to_values(config.load(config.CONFIGS / "demo.yaml")) | {
        "model.quantization": "8bit", "model.dtype": dtype, "train.batch_size": 8, "train.epochs": 1.0,
    }  # fmt: skip
    settings = config.from_values(values)
    made = Session(config.from_values(values | {"seed": seed}), None, Ranks())
    folder = settings.resolve(settings.base_model)
    template = Template(load_tokenizer(folder))
    rows = cut(read(settings.resolve(settings.dataset)).samples, settings).train
    made.train_rows = [template.example(row) for row in rows]
    made.load(folder)
    made.settings = settings  # the seed of the adapter's start alone is another one
    made.plan_steps()
    made.plan_memory()
    made.model.train()
    return made


def fast() -> list[float]:
    """Losses of the product's step."""
    made, losses = session(), []
    for _ in range(STEPS):
        going = made.step(Never())
        while True:
            try:
                next(going)
            except StopIteration as end:
                losses.append(end.value.loss)
                break
    return losses


def plain(dtype: torch.dtype, seed: int = 42) -> list[float]:
    """Losses one row at a time."""
    made = session(seed, "float32")
    model, losses = made.adapted, []
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, Int8Linear):
                wide = torch.nn.Linear(layer.in_features, layer.out_features, bias=False, device=layer.weight.device)
                wide.weight = torch.nn.Parameter(dense(layer, torch.float32), requires_grad=False)
                setattr(parent, name, wide)
    if dtype != torch.float32:
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
    for step in range(STEPS):
        examples = [made.train_rows[row] for row in made.schedule.step_rows(step)]
        learned, total = sum(len(x.ids) - x.answer_start for x in examples), 0.0
        for example in examples:
            ids = torch.tensor([example.ids], device=made.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, example.answer_start - 1 : -1]
            nll = torch.nn.functional.cross_entropy(logits.float(), ids[0, example.answer_start :], reduction="sum")
            (nll / learned).backward()
            total += nll.item()
        torch.nn.utils.clip_grad_norm_(made.gradient.parameters, made.settings.train.max_grad_norm)
        set_rate(made.optimizer, learning_rate(step, made.schedule.steps, made.settings.train))
        made.optimizer.step()
        made.gradient.drop()
        losses.append(total / learned)
    return losses


def compare(files: list[str]) -> None:
    """Mean and largest distance from the plain curve, of each."""
    names = ("fast", "plain", "noise", "seed")
    found = {name: json.loads(Path(file).read_text(encoding="utf-8")) for name, file in zip(names, files, strict=True)}
    reference = torch.tensor(found["plain"]["losses"], dtype=torch.float64)
    print("| curve | mean distance | largest | mean loss of the last 20 steps | where |")
    print("| --- " * 5 + "|")
    for name in names:
        losses = torch.tensor(found[name]["losses"], dtype=torch.float64)
        apart = (losses - reference).abs()
        print(
            f"| {name} | {apart.mean():.5f} | {apart.max():.5f} | {losses[-20:].mean():.5f} | {found[name]['machine']} |"
        )  # fmt: skip


def main() -> None:
    what, *files = sys.argv[1:]
    if what == "compare":
        return compare(files)
    ways = {
        "fast": fast, "plain": lambda: plain(torch.float32), "noise": lambda: plain(torch.bfloat16),
        "seed": lambda: plain(torch.float32, seed=43),
    }  # fmt: skip
    losses = ways[what]()
    Path(files[0]).write_text(json.dumps({"machine": machine(), "losses": losses}), encoding="utf-8")
    print(what, losses[0], losses[-1])


if __name__ == "__main__":
    main()
