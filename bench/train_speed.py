"""Training speed and memory on one NVIDIA card: this project, the usual recipe, and what else is installed, in one run.

    python bench/train_speed.py FOLDER             every recipe, one table; FOLDER takes the weights (8 GB) and the results
    python bench/train_speed.py FOLDER NAME ...    some of them, by their names
    accelerate launch --num_processes 2 bench/train_speed.py FOLDER cards    one card against all of them

Random weights in the shape of Phi-3.5-mini (3.82 B parameters). Lengths: lognormal, median 380, sigma 0.55, clipped to
64..2048 (mean 443). Tokens are real ones: padding does not count. Every token is learned, prompt too, by all recipes, and
no recipe drops inputs unless it says so. Ours goes through the product's own step: data, packs, gradients, clipping,
optimizer, and the reading of the loss. A limit of memory is one that the allocator enforces, all that it holds counted.
"""

import gc
import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from shapes import PHI35, machine, make_phi35

from so8t_engine import config
from so8t_engine.data.template import Example

SECONDS = 12.0
"""Each recipe is timed for at least so long, after its first steps."""

WARM = 3
ROWS = 16
"""Rows of a step, as in configs/borea_phi35_so8t.yaml."""

LIMIT = 790e12 / (4 * 3.82e9)
"""Tokens a second at 790 TFLOP/s (measured, bf16 on an H200) if only the frozen weights were multiplied, there and back."""

# name: storage, GiB (0: all), tokens of a pack (0: chosen), rotation, what else
OURS = {
    "8-bit": ("8bit", 0, 0, True, {}),
    "8-bit, 32 rows a step": ("8bit", 0, 0, True, {"rows": 32}),
    "8-bit within 8 GiB": ("8bit", 8, 0, True, {}),
    "8-bit without rotation": ("8bit", 0, 0, False, {}),
    "8-bit, packs of 2k": ("8bit", 0, 2048, True, {}),
    "8-bit, packs of 4k": ("8bit", 0, 4096, True, {}),
    "8-bit, packs of 8k": ("8bit", 0, 8192, True, {"rows": 18}),
    "8-bit, dropout 0.05": ("8bit", 0, 0, True, {"dropout": 0.05}),
    "8-bit, rows of 2,048 within 6.5 GiB": ("8bit", 6.5, 0, True, {"length": 2048, "rows": 4}),
    "4-bit": ("4bit", 0, 0, True, {}),
    "4-bit within 8 GiB": ("4bit", 8, 0, True, {}),
    "4-bit, rows of 2,048 within 5 GiB": ("4bit", 5, 0, True, {"length": 2048, "rows": 4}),
    "bf16": ("none", 0, 0, True, {}),
}
OTHERS = ("usual recipe", "PEFT 8-bit, packed", "PEFT 4-bit, packed", "Unsloth 4-bit")
TARGETS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def lengths(count: int = 4096) -> list[int]:
    """Tokens of each row."""
    draw = random.Random(0)
    return [max(64, min(2048, int(draw.lognormvariate(math.log(380), 0.55)))) for _ in range(count)]


def drawn(length: int, draw: random.Random) -> Example:
    """A row of random tokens, all of them learned, as if two were a class."""
    return Example(tuple(draw.randrange(10, 32000) for _ in range(length)), 1, (2, 4))


def session(folder: Path, storage: str, gib: float, pack: int, rotation: bool, more: dict, ranks=None):
    """The product's own session with drawn rows, planned but not begun; and what it says of its memory."""
    from so8t_engine.train.loop import Session
    from so8t_engine.train.ranks import Ranks

    real = config.to_values(config.load(config.CONFIGS / "borea_phi35_so8t.yaml"))
    settings = config.from_values(
        real | {
            "base_model": str(folder / "base"), "model.quantization": storage, "train.memory_gib": float(gib),
            "train.max_tokens": pack, "so8t.rotate": ["o_proj"] if rotation else [],
            "so8t.dropout": more.get("dropout", 0.0), "train.gradient_accumulation": more.get("rows", ROWS),
            "train.epochs": 100.0,
        }
    )  # fmt: skip
    draw = random.Random(1)
    made = Session(settings, None, ranks or Ranks())
    sizes = [more["length"]] * 256 if "length" in more else lengths()
    made.train_rows = [drawn(size, draw) for size in sizes]
    made.load(folder / "base")
    made.plan_steps()
    return made, made.plan_memory()


class Never:
    """A cancel token that is never set."""

    def is_set(self) -> bool:
        return False


def step(made) -> int:
    """One step of a session; its tokens."""
    going = made.step(Never())
    while True:
        try:
            print(next(going), flush=True)
        except StopIteration as end:
            return end.value.tokens


def timed(one_step, warm: int = WARM, patience: float = SECONDS / 2) -> dict:
    """Tokens a second and peaks of `one_step`, which gives its tokens and has waited for the card.

    warm: steps before; no more of them are begun after `patience` seconds.
    """
    begun = time.perf_counter()
    for _ in range(warm):
        one_step()
        if time.perf_counter() - begun > patience:
            break
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    tokens, steps, begun = 0, 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        tokens, steps = tokens + one_step(), steps + 1
    torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    return {
        "tokens_per_second": round(tokens / seconds), "steps": steps, "seconds": round(seconds, 1),
        "tokens_a_step": round(tokens / steps), "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "held_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }  # fmt: skip


def ours(folder: Path, name: str) -> dict:
    """One of `OURS`."""
    storage, gib, pack, rotation, more = OURS[name]
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / whole) if gib else 1.0)
    made, plan = session(folder, storage, gib, pack, rotation, more)
    made.model.train()
    found = timed(lambda: step(made))
    found |= {"pack": plan.pack, "recomputed": plan.recomputed, "expected_gib": round(plan.bytes / 2**30, 2)}
    return found | {"attention": plan.attention, "fused": plan.fused, "halved_to": made.gradient.most}


def padded(rows: list[list[int]], width: int) -> dict:
    """Token ids, mask and labels of rows, padded to `width`, on the card."""
    ids, mask = torch.full((len(rows), width), 0), torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = torch.tensor(row), 1
    labels = ids.masked_fill(mask == 0, -100)
    return {name: values.cuda() for name, values in {"input_ids": ids, "attention_mask": mask, "labels": labels}.items()}


def usual(folder: Path, quantization, dtype: torch.dtype, batches) -> dict:
    """PEFT's LoRA on transformers' model, as guides show it.

    batches: yields (inputs, real tokens, micro-batches of the step it belongs to).
    """
    from bitsandbytes.optim import PagedAdamW8bit
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        folder / "base", dtype=dtype, quantization_config=quantization, device_map={"": 0}, attn_implementation="sdpa"
    )  # fmt: skip
    model.config.use_cache = False
    model = prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs={"use_reentrant": False})
    if dtype == torch.bfloat16:  # the guides' float32 norms would make all activations float32
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype) if parameter.dtype == torch.float32 else parameter.data
    lora = LoraConfig(r=64, lora_alpha=128, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM")
    return trained(get_peft_model(model, lora), PagedAdamW8bit, dtype, batches)


def trained(model, optimizer, dtype: torch.dtype, batches, warm: int = WARM, patience: float = SECONDS / 2) -> dict:
    """Any model of transformers trained on `batches`, see `usual` and `timed`."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optimizer(trainable, lr=2e-4)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    model.train()

    def one_step() -> int:
        tokens, left = 0, 1
        while left:
            inputs, real, parts, left = next(batches)
            with torch.autocast("cuda", dtype=dtype):
                loss = model(**inputs).loss
            scaler.scale(loss / parts).backward()
            tokens += real
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        return tokens

    return timed(one_step, warm, patience)


def one_by_one(width: int):
    """Rows of 2,048 places, one at a time, 16 a step: the usual recipe."""
    draw = random.Random(1)
    while True:
        for place, length in enumerate(lengths()):
            row = [draw.randrange(10, 32000) for _ in range(length)]
            yield padded([row], width), length, ROWS, ROWS - 1 - place % ROWS


def packed(size: int):
    """Packs with restarted positions, one a step."""
    draw, waiting = random.Random(1), []
    while True:
        for length in lengths():
            if sum(waiting) + length > size:
                ids = torch.tensor([[draw.randrange(10, 32000) for _ in range(sum(waiting))]]).cuda()
                places = torch.cat([torch.arange(part) for part in waiting])[None].cuda()
                yield {"input_ids": ids, "position_ids": places, "labels": ids}, sum(waiting), 1, 0
                waiting = []
            waiting.append(length)


def by_length(size: int):
    """Batches of rows of like length, in random order, one a step."""
    draw, ordered = random.Random(1), sorted(lengths())
    groups = [ordered[place : place + size] for place in range(0, len(ordered), size)]
    while True:
        draw.shuffle(groups)
        for group in groups:
            rows = [[draw.randrange(10, 32000) for _ in range(length)] for length in group]
            yield padded(rows, max(group)), sum(group), 1, 0


def unsloth(folder: Path) -> dict:
    """Unsloth's own 4-bit path: its checkpointing, 8 rows of like length."""
    import unsloth  # noqa: F401 - it wants to be first
    from bitsandbytes.optim import PagedAdamW8bit
    from unsloth import FastLanguageModel

    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj"]
    model, _ = FastLanguageModel.from_pretrained(
        str(folder / "base"), max_seq_length=8192, load_in_4bit=True, dtype=torch.bfloat16, local_files_only=True
    )  # fmt: skip
    model = FastLanguageModel.get_peft_model(
        model, r=64, lora_alpha=128, lora_dropout=0, target_modules=names, use_gradient_checkpointing="unsloth"
    )  # fmt: skip
    # It compiles as it meets new lengths: a fair figure wants many steps before.
    return trained(model, PagedAdamW8bit, torch.bfloat16, by_length(8), 40, 75.0)


def other(folder: Path, name: str) -> dict:
    """One of `OTHERS`."""
    if name == "Unsloth 4-bit":
        return unsloth(folder)
    from transformers import BitsAndBytesConfig

    if name == "usual recipe":
        eight = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=6.0)
        return usual(folder, eight, torch.float16, one_by_one(2048))
    eight = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    four = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )  # fmt: skip
    return usual(folder, eight if "8-bit" in name else four, torch.bfloat16, packed(8192))


def cards(folder: Path) -> None:
    """Tokens a second of all processes together, the rows of a step growing with them: 16 a card."""
    from so8t_engine.train.ranks import Ranks

    ranks = Ranks()
    made, plan = session(folder, "8bit", 0, 0, True, {"rows": ROWS * ranks.count}, ranks)
    made.model.train()
    found = timed(lambda: step(made))
    if ranks.first:
        print(json.dumps({"name": f"8-bit on {ranks.count} cards", **found, "pack": plan.pack}), flush=True)


def table(rows: list[dict]) -> str:
    """The results as Markdown."""
    lines = ["| recipe | real tokens/s | peak GiB | held GiB | expected GiB | pack | recomputed |", "| --- " * 7 + "|"]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['name']} | not run: {row['error']} | | | | | |")
            continue
        figures = [f"{row['tokens_per_second']:,}", f"{row['peak_gib']:.2f}", f"{row['held_gib']:.2f}"]
        figures += [str(row.get(name, "")) for name in ("expected_gib", "pack", "recomputed")]
        lines.append(f"| {row['name']} | " + " | ".join(figures) + " |")
    return "\n".join([*lines, f"| limit: the frozen products alone at 790 TFLOP/s | {LIMIT:,.0f} | | | | | |"])


def main() -> None:
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    if wanted == ["cards"]:
        return cards(folder)
    if wanted[:1] == ["one"]:
        name = wanted[1]
        return print("RESULT " + json.dumps(ours(folder, name) if name in OURS else other(folder, name)), flush=True)
    if not (folder / "base" / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_phi35(folder)
        gc.collect()
        torch.cuda.empty_cache()
    rows = []
    for name in (*OURS, *OTHERS):
        if wanted and name not in wanted:
            continue
        if name.startswith("Unsloth") and importlib.util.find_spec("unsloth") is None:
            continue
        done = subprocess.run(
            [sys.executable, __file__, str(folder), "one", name], capture_output=True, text=True, encoding="utf-8"
        )  # fmt: skip
        found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        last = (done.stderr.strip().splitlines() or ["no output"])[-1][:200]
        rows.append({"name": name} | (json.loads(found[-1][7:]) if found else {"error": last}))
        print(json.dumps(rows[-1]), flush=True)
        if not found:
            print(done.stderr[-1500:], flush=True)
    packages = {name: version(name) for name in ("bitsandbytes", "peft", "triton", "unsloth") if _has(name)}
    record = {"machine": machine(), "packages": packages, "shape": PHI35, "rows": rows}
    (folder / f"train_speed{os.environ.get('CUDA_VISIBLE_DEVICES', '')}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(table(rows) + f"\n\n{machine()}; " + ", ".join(f"{name} {found}" for name, found in packages.items()))


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
