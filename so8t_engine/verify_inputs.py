"""Checks of what a person gave: the model folder, its tokenizer, the dataset, and the plan that follows from them."""

import json
from collections.abc import Iterator

from so8t_engine.events import DatasetRead, RowFaulted
from so8t_engine.verify_finding import Finding, Trial, failed, passed, size, warned

FAULTS_TOLD = 5
"""Rows that are named one by one; `lint` names them all."""


def model_folder(trial: Trial) -> Finding:
    """Every shard to its last byte, a known architecture; code in the folder is named, and never run."""
    from so8t_engine.model.folder import check_folder, weight_files

    check_folder(trial.base)
    shards = weight_files(trial.base)
    settings = json.loads((trial.base / "config.json").read_text(encoding="utf-8-sig"))
    code = sorted(file.name for file in trial.base.glob("*.py"))
    code += ["config.json: auto_map"] if "auto_map" in settings else []
    if code:
        return warned("verify.model_code", where=str(trial.base), files=", ".join(code))
    total = sum(shard.stat().st_size for shard in shards)
    return passed("verify.model_good", architecture=settings["architectures"][0], shards=len(shards), size=size(total))


def tokenizer(trial: Trial) -> Finding:
    """The tokenizer speaks the model's ids and has a chat template that ends a turn."""
    from so8t_engine.data.template import Template
    from so8t_engine.model.load import load_tokenizer

    tokenizer = load_tokenizer(trial.base)
    template = Template(tokenizer)
    settings = json.loads((trial.base / "config.json").read_text(encoding="utf-8-sig"))
    tokens, room = len(tokenizer), settings["vocab_size"]
    if tokens > room:
        return failed("verify.tokenizer_too_large", where=str(trial.base), tokens=tokens, room=room)
    prompt = template.prompt_ids("こんにちは, world")
    end = tokenizer.convert_ids_to_tokens(template.end_id)
    trial.template = template
    trial.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else template.end_id
    return passed("verify.tokenizer_good", tokens=f"{tokens:,}", end=end, prompt=len(prompt))


def dataset(trial: Trial) -> Finding:
    """Every row: counts, and the first faults by file and line."""
    from so8t_engine.data.lint import FAULTS_SHOWN, lint

    settings = trial.settings
    events = list(lint(settings))
    faults = [event for event in events if isinstance(event, RowFaulted)]
    read = next(event for event in events if isinstance(event, DatasetRead))
    named = {"where": faults[0].where, "faults": tuple(faults[:FAULTS_TOLD])} if faults else {}
    count = f"{FAULTS_SHOWN}+" if len(faults) == FAULTS_SHOWN else len(faults)
    if read.skipped and settings.data.on_bad_row == "error":
        return failed("verify.dataset_bad_rows", count=read.skipped, rows=read.rows, **named)
    if read.without_output:
        return failed("data.no_output", where=read.file, count=read.without_output, rows=read.rows)
    if faults:
        return warned("verify.dataset_faults", count=count, rows=read.rows, **named)
    classes = ", ".join(f"{name} {number:,}" for name, number in read.classes.items())
    return passed("verify.dataset_good", rows=f"{read.rows:,}", classes=classes, duplicates=read.duplicates)


def plan(trial: Trial) -> Finding:
    """The steps of the run, and how many rows are too long for it."""
    import torch

    from so8t_engine.data.batches import Schedule
    from so8t_engine.model.load import compute_dtype, pick_device, row_limit

    settings, train = trial.settings, trial.settings.train
    limit = min(settings.data.max_length, row_limit(trial.base))
    device = pick_device()
    if device.type == "cpu" and compute_dtype(settings.model.dtype, device) == torch.float16:
        return failed("model.no_float16", where="model.dtype")
    rows = sorted(_examples(trial), key=lambda example: len(example.ids))
    if not rows:
        return failed("data.nothing_to_train", where=settings.dataset, rows=0)
    kept = [example for example in rows if len(example.ids) <= limit]
    longest = len(rows[-1].ids)
    if not kept:
        return failed("data.all_too_long", where=settings.dataset, max_length=limit, longest=longest)
    schedule = Schedule(len(kept), train.batch_size * train.gradient_accumulation, train.epochs, settings.seed)
    trial.schedule, trial.longest = schedule, kept[-1]
    facts = {"steps": f"{schedule.steps:,}", "rows": f"{len(kept):,}", "longest": longest, "limit": limit}
    if len(kept) < len(rows):
        return warned("verify.rows_too_long", count=len(rows) - len(kept), **facts)
    return passed("verify.plan_good", epochs=f"{train.epochs:g}", **facts)


def _examples(trial: Trial) -> Iterator:
    """The training rows as numbers, in the order of the file."""
    from so8t_engine.data import sources
    from so8t_engine.data.split import cut

    settings = trial.settings
    rows = sources.read(settings.resolve(settings.dataset), on_bad_row=settings.data.on_bad_row)
    for sample in cut(rows.samples, settings).train:
        yield trial.template.example(sample, settings.data.system_prompt)
