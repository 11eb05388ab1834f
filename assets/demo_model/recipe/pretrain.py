"""Pretrain the demo model from nothing on the corpus of corpus.py.

    python assets/demo_model/recipe/pretrain.py [--steps N] [--samples N] [--batch N] [--out FOLDER] [--seed N]

One GPU, a few minutes. Writes config.json, generation_config.json and model.safetensors (float16).
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]

import corpus  # noqa: E402

HIDDEN, LAYERS, HEADS, INNER = 256, 4, 4, 704
PROMPT_WEIGHT = 0.3
IGNORED = -100


def config(tokenizer):
    """A small Phi-3 with Phi-3.5's long rope: the factors grow along the frequencies as its own do."""
    half = HIDDEN // HEADS // 2
    position = [i / (half - 1) for i in range(half)]
    return Phi3Config(
        architectures=["Phi3ForCausalLM"],
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 1.0,
            "original_max_position_embeddings": 4096,
            "short_factor": [round(1.0 + 1.8 * x**2, 4) for x in position],
            "long_factor": [round(1.0 + 63.0 * x**1.5, 4) for x in position],
        },
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        sliding_window=262144,
    )


def as_phi35(settings):
    """The saved config under the key names that Phi-3.5's own config.json uses."""
    rope = settings.pop("rope_parameters")
    factors = {name: rope[name] for name in ("long_factor", "short_factor")}
    settings |= {"rope_scaling": {**factors, "type": "longrope"}, "rope_theta": rope["rope_theta"]}
    return dict(sorted(settings.items()))


def encode(tokenizer, samples):
    """[(ids, number of prompt tokens)]: exactly the ids that the chat template gives, with `<|end|>` at the end."""
    user, assistant, end = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>", "<|end|>"])
    texts = [text for pair in samples for text in pair if text is not None]
    pieces = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows = []
    for prompt, _ in samples:
        if prompt is None:
            rows.append(([*next(pieces), tokenizer.eos_token_id], 0))
        else:
            head = [user, *next(pieces), end, assistant]
            rows.append((head + next(pieces) + [end], len(head)))
    return rows


def batches(rows, size, generator):
    """Endless shuffled batches on the CPU: ids, labels, weights."""
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for i in range(0, len(order) - size + 1, size):
            chosen = [rows[j] for j in order[i : i + size]]
            width = max(len(ids) for ids, _ in chosen)
            ids = torch.zeros(size, width, dtype=torch.long)
            labels = torch.full((size, width), IGNORED)
            weights = torch.zeros(size, width)
            for row, (tokens, prompt) in enumerate(chosen):
                ids[row, : len(tokens)] = torch.tensor(tokens)
                labels[row, 1 : len(tokens)] = ids[row, 1 : len(tokens)]
                weights[row, : len(tokens)] = 1.0
                weights[row, :prompt] = PROMPT_WEIGHT
            yield ids, labels, weights


def rate(step, steps, peak):
    warm = min(1.0, (step + 1) / 200)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=250_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.parent)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(HERE.parent)
    draw = corpus.Corpus(options.seed)
    started = time.time()
    rows = encode(tokenizer, [draw.sample() for _ in range(options.samples)])
    mean = sum(len(ids) for ids, _ in rows) / len(rows)
    print(f"{len(rows)} samples, {mean:.1f} tokens each, {time.time() - started:.0f} s", flush=True)
    model = Phi3ForCausalLM(config(tokenizer)).to(device)
    print(f"{sum(w.numel() for w in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    decay = [w for w in model.parameters() if w.ndim > 1]
    rest = [w for w in model.parameters() if w.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(options.seed)
    started = time.time()
    for step, batch in zip(range(options.steps), batches(rows, options.batch, generator), strict=False):
        ids, labels, weights = (part.to(device, non_blocking=True) for part in batch)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, options.steps, options.rate)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(input_ids=ids).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="none"
        )
        scale = weights[:, 1:].flatten()
        loss = (losses * scale).sum() / scale.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 250 == 0 or step == options.steps - 1:
            print(f"step {step} loss {loss.item():.4f} {time.time() - started:.0f} s", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        *tokenizer.convert_tokens_to_ids(["<|assistant|>", "<|end|>"]),
    ]
    model.generation_config._from_model_config = False
    model.half().save_pretrained(options.out)
    path = options.out / "config.json"
    path.write_bytes((json.dumps(as_phi35(json.loads(path.read_bytes())), indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
