"""How much the demo's retraining teaches: macro-F1 on its held-out split before and after, through the command line.

    python bench/demo_training.py                 trains with configs/demo.yaml, prints one table
    python bench/demo_training.py CONFIG.yaml     trains with another config, such as configs/smollm2_cpu.yaml
    python bench/demo_training.py RUN             only measures a finished run

The held-out split has phrasings and verb-object pairs that training never shows; of its rows those are asked whose
language the training data has. Each decision is the class that the model writes into 分類結果 when it answers greedily; an
answer that can't be parsed is wrong. "scored" is the class that is likeliest without any thinking: there a model that has
never seen the format can be told from one that guesses.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from so8t_engine import config
from so8t_engine.answer.format import CLASSES, FormatError, parse
from so8t_engine.data.samples import Sample
from so8t_engine.data.sources import read
from so8t_engine.data.template import Template
from so8t_engine.measure.metrics import macro_f1
from so8t_engine.model.load import load_model, load_tokenizer, pick_device
from so8t_engine.model.score import score
from so8t_engine.model.so8t import load_adapter
from so8t_engine.train.watch import Learner

DEMO = config.CONFIGS / "demo.yaml"
HELD_OUT = config.ROOT / "assets" / "data" / "demo_heldout.jsonl"
BATCH = 50
ANSWER_TOKENS = 128


@torch.no_grad()
def decide(model, template: Template, samples: list[Sample], system: str) -> list[str]:
    """The class that the model writes for each row; "unparseable" where its answer is not in the format."""
    tokenizer, decisions = template.tokenizer, []
    for start in range(0, len(samples), BATCH):
        prompts = [template.prompt_ids(sample.prompt, system=system) for sample in samples[start : start + BATCH]]
        longest = max(map(len, prompts))
        ids = torch.tensor([[template.end_id] * (longest - len(p)) + p for p in prompts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)
        output = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=ANSWER_TOKENS, do_sample=False, use_cache=True,
            eos_token_id=template.end_id, pad_token_id=template.end_id,
        )  # fmt: skip
        for answer in tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True):
            try:
                decisions.append(parse(answer).final.label)
            except FormatError:
                decisions.append("unparseable")
    return decisions


def likeliest(model, template: Template, samples: list[Sample], system: str) -> list[str]:
    """The class that the model finds likeliest for each row, without an answer being written."""
    prompts = [template.prompt_ids(sample.prompt, system=system) for sample in samples]
    found = dict(score(Learner(model, template), "", prompts))
    return [max(zip(found[row], CLASSES, strict=True))[1] for row in range(len(samples))]


def scores(samples: list[Sample], given: list[str]) -> dict[str, float]:
    """Macro-F1 over all rows and over each of their languages."""
    found = {"all": macro_f1([s.label for s in samples], given)}
    for language in sorted({sample.language for sample in samples}):
        pairs = [(s.label, g) for s, g in zip(samples, given, strict=True) if s.language == language]
        found[language] = macro_f1(*map(list, zip(*pairs, strict=True)))
    return found | {"unparseable": given.count("unparseable") / len(given)}


def measure(run: Path, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """The scores of the base model and of the run's final model on `samples`."""
    settings = config.load(run / "config.yaml")
    system, folder = settings.data.system_prompt, settings.resolve(settings.base_model)
    template = Template(load_tokenizer(folder))
    model = load_model(folder, settings.model, pick_device()).eval()
    results = {}
    for name in ("before", "after"):
        if name == "after":
            model = load_adapter(model, run / "final_model")
        results[name] = scores(samples, decide(model, template, samples, system))
        without = likeliest(model, template, samples, system)
        results[name]["scored"] = macro_f1([sample.label for sample in samples], without)
    return results


def held_out(settings: config.Settings) -> list[Sample]:
    """The held-out rows in the languages of the training data."""
    spoken = {sample.language for sample in read(settings.resolve(settings.dataset)).samples}
    return [sample for sample in read(HELD_OUT).samples if sample.language in spoken]


def main() -> None:
    given = Path(sys.argv[1]) if sys.argv[1:] else DEMO
    with tempfile.TemporaryDirectory() as scratch:
        run, seconds = given, None
        if given.is_file():
            run, begun = Path(scratch) / "run", time.monotonic()
            command = [sys.executable, "-m", "so8t_engine", "train", "--config", str(given.resolve()), "--output", str(run)]
            subprocess.run(command, check=True, cwd=config.ROOT)
            seconds = time.monotonic() - begun
        samples = held_out(config.load(run / "config.yaml"))
        results = measure(run, samples)
    print(f"\n{len(samples)} held-out rows, greedy answers; macro-F1")
    columns = list(results["after"])
    print(f"{'':8}" + "".join(f"{column:>13}" for column in columns))
    for name, row in results.items():
        print(f"{name:8}" + "".join(f"{row[column]:13.3f}" for column in columns))
    if seconds:
        print(f"the whole command took {seconds:.0f} s")
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {psutil.cpu_count(False)} cores"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"{machine}; Python {platform.python_version()}, {versions}; {date.today()}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
