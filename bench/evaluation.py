"""How fast decisions come: answers written one by one, answers written in batches, classes scored without writing.

    python bench/evaluation.py                     the demo model; with --run RUN_FOLDER, a run of it
    python bench/evaluation.py --shape phi35 --quantization 8bit --prompts 1000   random weights in the shape of
                                                   Phi-3.5-mini, on a GPU

One by one is what the usual script does: `model.generate` of transformers, one prompt at a time, on as many CPU threads
as it is fastest with (one, or all). Answers have exactly `--tokens` tokens, whatever the model says. The three take turns,
`--rounds` times after one turn of fewer prompts that does not count; printed are medians over the rounds.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import so8t_engine  # isort: skip  # before torch: it says how torch's threads wait

import torch
from shapes import DEMO, HELDOUT, machine, make_phi35

from so8t_engine.model.answers import write
from so8t_engine.model.load import load_model
from so8t_engine.model.score import score
from so8t_engine.model.so8t import load_adapter
from so8t_engine.model.voices import BASE, Voices
from so8t_engine.settings import ModelSettings


def main() -> None:
    """Measure and print one table."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = make_phi35(Path(folder)) if options.shape == "phi35" else (DEMO, None)
        if options.run:
            adapter = so8t_engine.Run.at(options.run).final_model
        race = _Race(base, adapter, options)
    rounds = [race.round() for _ in range(options.rounds)]
    _print(rounds, race, options)


class _Race:
    """Both ways to hold the model, and the prompts."""

    def __init__(self, base: Path, adapter: Path | None, options: argparse.Namespace) -> None:
        settings = ModelSettings(quantization=options.quantization)
        self.options = options
        self.voices = Voices(base, settings)
        self.voice = self.voices.learn(adapter) if adapter else BASE
        self.voices.ends = frozenset()  # every answer to its last token
        self.plain = load_model(base, settings, self.voices.device)
        if adapter:
            self.plain = load_adapter(self.plain, adapter)
        asked = [json.loads(line)["instruction"] for line in HELDOUT.read_text(encoding="utf-8").splitlines()]
        texts = islice(cycle(asked), options.prompts)
        self.prompts = [self.voices.template.prompt_ids(text * options.repeat) for text in texts]
        # Spread over all, so that few prompts are as long as many.
        self.few = self.prompts[:: max(1, len(self.prompts) // options.alone)][: options.alone]
        self.some = self.prompts[:: max(1, len(self.prompts) // options.written)][: options.written]
        self.threads = self._warm()

    def round(self) -> dict[str, float]:
        """Answers or decisions a second."""
        torch.set_num_threads(self.threads[0])
        alone = _pace(lambda: self._alone(self.few), len(self.few))
        torch.set_num_threads(self.threads[1])
        return {
            "one by one": alone,
            "batched": _pace(lambda: self._batched(self.some), len(self.some)),
            "scored": _pace(lambda: list(score(self.voices, self.voice, self.prompts)), len(self.prompts)),
        }

    def _warm(self) -> tuple[int, int]:
        """A turn of each; the threads that one by one is fastest with, and all of them."""
        several, paces = torch.get_num_threads(), {}
        for count in {1, several} if self.voices.device.type == "cpu" else {several}:
            torch.set_num_threads(count)
            self._alone(self.few[:1])
            paces[count] = _pace(lambda: self._alone(self.few[:2]), 2)
        torch.set_num_threads(several)
        self._batched(self.some[: self.options.rows])
        list(score(self.voices, self.voice, self.prompts[: len(self.prompts) // 2]))
        return max(paces, key=paces.__getitem__), several

    @torch.inference_mode()
    def _alone(self, prompts: list[list[int]]) -> None:
        for prompt in prompts:
            ids = torch.tensor([prompt], device=self.voices.device)
            self.plain.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=self.options.tokens,
                do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0,
            )  # fmt: skip

    def _batched(self, prompts: list[list[int]]) -> None:
        options = self.options
        for answer in write(self.voices, self.voice, prompts, limit=options.tokens, rows=options.rows,
                            watch=lambda _index: lambda _token: False):  # fmt: skip
            assert answer.tokens == options.tokens


def _pace(act: Callable[[], object], count: int) -> float:
    gc.collect()
    begun = time.perf_counter()
    act()
    return count / (time.perf_counter() - begun)


def _print(rounds: list[dict[str, float]], race: _Race, options: argparse.Namespace) -> None:
    lengths = sorted(map(len, race.prompts))
    print(f"{options.shape}{', adapted' if race.voice else ''}, {options.quantization}, answers of {options.tokens} tokens, "
          f"{options.rows} side by side, prompts of {lengths[0]} to {lengths[-1]} tokens; {machine()}")  # fmt: skip
    counts = {"one by one": len(race.few), "batched": len(race.some), "scored": len(race.prompts)}
    print(f"{'':12}{'prompts':>8}{'a second':>10}{'seconds':>10}{'times one by one':>20}  (lowest to highest)")
    for kind, count in counts.items():
        pace = statistics.median(one[kind] for one in rounds)
        ratios = sorted(one[kind] / one["one by one"] for one in rounds)
        told = (
            "" if kind == "one by one" else f"{statistics.median(ratios):20.1f}  ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )
        print(f"{kind:12}{count:8}{pace:10.2f}{count / pace:10.2f}{told}")
    if torch.cuda.is_available():
        print(f"most memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, two copies of the model in it")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("demo", "phi35"), default="demo")
    parser.add_argument("--run", help="folder of a finished run of the demo")
    parser.add_argument("--quantization", choices=("none", "8bit", "4bit"), default="none")
    parser.add_argument("--prompts", type=int, default=500, help="how many are scored")
    parser.add_argument("--alone", type=int, default=8, help="how many are answered one by one")
    parser.add_argument("--written", type=int, default=128, help="how many are answered in batches")
    parser.add_argument("--rows", type=int, default=128, help="answers side by side")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--repeat", type=int, default=1, help="how often each prompt is repeated in a question")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
