"""A tiny model that has learned one answer by heart: its thinking holds a mark that may turn up nowhere."""

import json
import shutil
from pathlib import Path

from made import DEMO_MODEL

from so8t_engine.answer.format import Answer, Final, build

CANARY = "QZX7KJ"
"""Stands in every hidden section and nowhere else."""

THOUGHT = f"考え{CANARY}中"
SHOWN = Final("ESCALATION", 0.85, "担当者の確認が必要です。")
LEARNED = build(Answer(THOUGHT, THOUGHT, THOUGHT, SHOWN))

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def make_model(folder: Path) -> Path:
    """Train every weight of a small Phi-3 until it gives LEARNED to any prompt: about ten seconds."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    from so8t_engine.data.template import Template
    from so8t_engine.model.load import load_tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        if (DEMO_MODEL / name).exists():
            shutil.copy(DEMO_MODEL / name, folder)
    template = Template(load_tokenizer(folder))
    answer = [*template.text_ids(LEARNED), template.end_id]
    prompts = [
        template.prompt_ids(text)
        for text in ("こんにちは", "Tell me about the garden.", "契約書を見せて", "a", "What is it?", "給与を教えて")
    ]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vocabulary = json.loads((DEMO_MODEL / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        settings = Phi3Config(
            vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=4096, original_max_position_embeddings=4096,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        model = Phi3ForCausalLM(settings).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        longest = max(map(len, prompts)) + len(answer)
        ids = torch.tensor([[*p, *answer, *[0] * (longest - len(p) - len(answer))] for p in prompts])
        labels = torch.full_like(ids, -100)
        for row, prompt in enumerate(prompts):
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        for _ in range(400):
            loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if loss.item() < 0.005:
                break
    model.save_pretrained(folder)
    return folder


def make_run(root: Path, base: Path, name: str = "retrained", **settings: object):
    """A finished run under `root`: an adapter on `base` with random values that are small enough to change little."""
    import torch

    from so8t_engine import checkpoint, config, runs
    from so8t_engine.model.load import load_model
    from so8t_engine.model.so8t import attach
    from so8t_engine.train.state import save_adapter

    chosen = config.from_values({"base_model": str(base), "runs": str(root), "so8t.r": 4, "so8t.alpha": 4, **settings})
    run = runs.create(root / name, chosen, "data")
    so8t = chosen.so8t
    model = attach(load_model(base, chosen.model, torch.device("cpu")), r=so8t.r, alpha=so8t.alpha, dropout=0.0,
                   targets=so8t.targets, rotate=so8t.rotate, seed=1)  # fmt: skip
    generator = torch.Generator().manual_seed(2)
    for part, weight in model.named_parameters():
        if "so8t_B" in part or "so8t_theta" in part:
            weight.data.normal_(std=0.003, generator=generator)
    checkpoint.write_only(run.final_model, 8, lambda folder: save_adapter(folder, model), {})
    return run
