"""How much slower two sides answer than one: the chat's own path, from the question to the last token.

    python bench/chat.py --run RUN_FOLDER            the demo model and a run of it
    python bench/chat.py --shape phi35 --quantization 8bit   random weights in the shape of Phi-3.5-mini, on a GPU

Each of `--questions` questions is asked of the original alone, of the retrained model alone, and of both at once, in
turn, after one of each kind that does not count. Printed are medians. With random weights no answer has a form, so
the text of a fixed answer of 160 tokens stands in for what the tokens say; everything else is the real path.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from shapes import DEMO, HELDOUT, machine, make_phi35

from so8t_engine import Run
from so8t_engine.answer.format import Answer, Final, build
from so8t_engine.audit import Audit
from so8t_engine.chat.reply import Reply
from so8t_engine.chat.speaker import Question, Speaker
from so8t_engine.data import pieces
from so8t_engine.jobs import Worker
from so8t_engine.settings import ChatSettings, ModelSettings
from so8t_engine.snapshot import Snapshot
from so8t_engine.voice import Voice

TOKENS = 160


class FixedText:
    """Stands in for TextStream: each token brings the next piece of one answer."""

    whole = build(Answer("依頼の内容を確かめる。" * 4, "害の有無を考える。" * 4, "規則に照らす。" * 4,
                         Final("ALLOW", 0.95, "問題ありません。", "お答えします。" * 4)))  # fmt: skip

    def __init__(self, _tokenizer) -> None:
        self.told = 0

    def feed(self, _token: int) -> str:
        start, self.told = self.told, self.told + 1
        return self.whole[start * len(self.whole) // TOKENS : self.told * len(self.whole) // TOKENS]


def main() -> None:
    """Measure and print one table."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        sides = _phi35(Path(folder), options) if options.shape == "phi35" else _demo(options)
        speaker = Speaker(Worker(Snapshot()))
        ask = _Asking(speaker, Audit(Path(folder) / "audit"), options.shape == "phi35")
        prompts = [json.loads(line)["instruction"] for line in HELDOUT.read_text(encoding="utf-8").splitlines()]
        kinds = {"original": sides[:1], "retrained": sides[1:], "both": sides}
        figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for number, prompt in enumerate(prompts[: options.questions + 1]):
            for kind, voices in kinds.items():
                measured = ask(voices, prompt * options.repeat)
                if number and measured:
                    figures[kind].append(measured)
        speaker.rest()
    _print(figures, options)


class _Asking:
    def __init__(self, speaker: Speaker, audit: Audit, fixed: bool) -> None:
        self.speaker, self.audit = speaker, audit
        if fixed:
            pieces.TextStream = FixedText

    def __call__(self, voices: list[Voice], prompt: str) -> tuple[float, float] | None:
        """Seconds to the first visible character (the later side's) and tokens a second of all sides together."""
        begun = time.monotonic()
        replies = [Reply(self.audit, prompt) for _ in voices]
        for voice, reply in zip(voices, replies, strict=True):
            self.speaker.ask(voice, Question(prompt, sampling=ChatSettings(max_tokens=TOKENS)), reply)
        for reply in replies:
            reply.wait()
        wall = time.monotonic() - begun
        told = [reply.told for reply in replies]
        if any(one.error for one in told):
            raise SystemExit(f"{told[0].error} {told[0].facts}")
        if any(one.first_shown is None or one.ended != "complete" for one in told):
            return None
        return max(one.first_shown for one in told), sum(one.tokens for one in told) / wall


def _demo(options: argparse.Namespace) -> list[Voice]:
    model = ModelSettings(quantization=options.quantization)
    run = Run.at(options.run)
    return [Voice("original", "original", DEMO, None, model, ""), Voice("run", "run", DEMO, run.final_model, model, "")]


def _phi35(folder: Path, options: argparse.Namespace) -> list[Voice]:
    base, adapter = make_phi35(folder)
    held = ModelSettings(quantization=options.quantization)
    return [Voice("original", "original", base, None, held, ""), Voice("run", "run", base, adapter, held, "")]


def _print(figures: dict[str, list[tuple[float, float]]], options: argparse.Namespace) -> None:
    print(f"{options.shape}, {options.quantization}, {options.questions} questions; {machine()}")
    middle = {kind: [statistics.median(column) for column in zip(*rows, strict=True)] for kind, rows in figures.items()}
    print(f"{'':12}{'answers':>8}{'first shown s':>15}{'tokens/s':>10}")
    for kind, (first, pace) in middle.items():
        print(f"{kind:12}{len(figures[kind]):8}{first:15.3f}{pace:10.0f}")
    for kind in ("original", "retrained"):
        first, pace = (both / one for both, one in zip(middle["both"], middle[kind], strict=True))
        print(f"both against {kind} alone: first shown {first:.2f} times as late, {pace:.2f} times the tokens/s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("demo", "phi35"), default="demo")
    parser.add_argument("--run", help="folder of a finished run of the demo")
    parser.add_argument("--quantization", choices=("none", "8bit", "4bit"), default="none")
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=1, help="how often each prompt is repeated in a question")
    options = parser.parse_args()
    if options.shape == "demo" and not options.run:
        parser.error("the demo needs --run: python -m so8t_engine train makes one in about 2 minutes")
    return options


if __name__ == "__main__":
    main()
