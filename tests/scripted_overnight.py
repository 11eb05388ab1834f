"""Stages of an overnight chain by script, at a pace of their own: the true chain, folders and events, but no model.

    python tests/scripted_overnight.py --port 7900 --runs FOLDER [--pace SECONDS]

serves the whole dashboard with it; a stage takes about so many seconds. The name in Ollama asks for what seldom happens:
"fail-export" or another stage lets that stage fail until the name is changed, "tie" finds no winner, "gone" ends the
process in the middle of the A/B test.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from so8t_engine import Engine, EngineError, config, pipeline
from so8t_engine import events as e
from so8t_engine.pipeline_record import Entry
from so8t_engine.pipeline_stages import Chain
from so8t_engine.settings import STAGES

RATES = {"accuracy": 0.874, "macro_f1": 0.861, "unsafe_allow": 0.021, "over_refusal": 0.068}
BASE_RATES = {"accuracy": 0.712, "macro_f1": 0.694, "unsafe_allow": 0.088, "over_refusal": 0.153}
CATEGORIES = {"understanding": 0.91, "generation": 0.78, "reasoning": 0.72, "dialogue": 0.88, "terms": 0.84}
SIZES = {"f16": 588 * 2**20, "q8_0": 312 * 2**20}


def figure(value: float) -> tuple[float, float, float]:
    return value, value - 0.03, value + 0.03


def verdict(tie: bool) -> dict:
    """Of the A/B test, as its results hold it."""
    facts = {"metric": "score", "rows": "400", "first": "0.703", "second": "0.868", "value": "+0.165", "low": "+0.121",
             "high": "+0.209", "p_adjusted": "< 0.001"}  # fmt: skip
    if tie:
        facts |= {"second": "0.711", "value": "+0.008", "low": "-0.021", "high": "+0.037", "p_adjusted": "= 0.612", "rows_needed": "6,200"}
    value, low, high = ((0.008, -0.021, 0.037) if tie else (0.165, 0.121, 0.209))
    rule = {"mode": "generated", "metric": "score", "rows": 400, "value": value, "low": low, "high": high}
    return {"winner": None if tie else "retrained", "code": "undecided" if tie else "better", "facts": facts, "rule": rule}


@dataclass
class Stage:
    """One stage; it is whole once a file "done" lies in its folder."""

    name: str
    pace: float

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        names = ["japanese-base", self.name] if self.name == "japanese_test" else [self.name]
        return [chain.root / chain.record.place.id / name for name in names]

    def whole(self, chain: Chain, entry: Entry) -> bool:
        return entry.state == "finished" and (entry.folder / "done").exists()

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        entry.folder.mkdir(exist_ok=True, parents=True)
        self.wished, self.cancel = chain.settings.pipeline.ollama_name, cancel
        yield from getattr(self, self.name)(str(entry.folder))
        if self.wished == f"fail-{self.name}".replace("_", "-"):
            if self.name == "export":
                raise EngineError("export.disk_short", where=str(entry.folder), needed="11.00 GiB", free="3.20 GiB")
            raise EngineError("ollama.silent", where=chain.settings.ollama.address, reason="Connection refused")
        if not cancel.is_set():
            (entry.folder / "done").touch()

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        base = {name: value * 0.85 for name, value in CATEGORIES.items()}
        scores = {side: {"score": sum(found.values()) / 5, "categories": found} for side, found in (("base", base), ("winner", CATEGORIES))}
        compared = {"difference": 0.1239, "interval": {"low": 0.041, "high": 0.212}, "p": 0.008, "decided": "this", "better": 15,
                    "worse": 3, "equal": 27}  # fmt: skip
        files = [{"file": f"x-{kind}.gguf", "quantization": kind, "bytes": size} for kind, size in SIZES.items()]
        name = f"{chain.settings.pipeline.ollama_name}:latest"
        return {
            "train": ({"steps": 60}, {"steps": "60", "validation_loss": "0.357"}),
            "evaluate": ({}, {name: f"{value:.1%}" for name, value in RATES.items()}),
            "ab_test": ({"winner": verdict("tie" in name)}, {name: f"{RATES[name] - BASE_RATES[name]:+.1%}" for name in RATES}),
            "export": (
                {"files": files},
                {kind: f"{size / 1e6:,.1f} MB" for kind, size in SIZES.items()} | {"agreement_f16": "100.0%", "agreement_q8_0": "99.0%"},
            ),
            "ollama": ({"name": name}, {"name": name, "file": "x-q8_0.gguf"}),
            "japanese_test": (scores | {"comparison": compared}, {side: f"{found['score']:.1%}" for side, found in scores.items()}),
        }[self.name]  # fmt: skip

    def ticks(self, count: int, part: float = 1.0) -> Iterator[tuple[int, float]]:
        """1 to `count` with the seconds so far, over `part` of the stage's time, until somebody stops it."""
        for number in range(1, count + 1):
            if self.cancel.wait(part * self.pace / count):
                return
            yield number, number * part * self.pace / count

    def train(self, folder: str) -> Iterator[e.Event]:
        yield e.RunOpened(run=Path(folder).parent.name, folder=folder, resumed=False)
        yield e.TrainingPlanned(steps=60, steps_per_epoch=30, rows=480, epochs=2.0)
        common = {"label_nll": None, "learning_rate": 1e-3, "gradient_norm": 1.0, "tokens": 2400, "seconds": self.pace / 60}
        for step, _ in self.ticks(60):
            yield e.StepFinished(step=step, epoch=step / 30, loss=2.4 / (1 + step / 9), **common)
            if step % 20 == 0:
                yield e.ValidationFinished(step=step, loss=2.5 / (1 + step / 10), label_nll=None, rows=48, seconds=0.1, best=True)

    def evaluate(self, folder: str) -> Iterator[e.Event]:
        yield e.EvaluationOpened(
            folder=folder, model="run:x", name="x", file="demo.jsonl", split="test", rows=400, excluded={},
            modes=("scored", "generated"), resumed=False,
        )  # fmt: skip
        found = {name: figure(value) for name, value in RATES.items()}
        for mode in ("scored", "generated"):
            for tick, seconds in self.ticks(20, 0.5):
                yield e.EvaluationProgressed(mode=mode, done=20 * tick, total=400, seconds=seconds)
            yield e.ModeEvaluated(mode=mode, rows=400, unparseable=0, seconds=self.pace, **found)

    def ab_test(self, folder: str) -> Iterator[e.Event]:
        yield e.AbTestOpened(
            folder=folder, base="original", base_name="original", retrained="run:x", retrained_name="x", file="demo.jsonl",
            split="test", rows=400, excluded={}, modes=("generated",), resumed=False,
        )  # fmt: skip
        sides = {"base": {name: figure(BASE_RATES[name]) for name in RATES}, "retrained": {name: figure(RATES[name]) for name in RATES}}
        shifts = {name: figure(RATES[name] - BASE_RATES[name]) for name in RATES}
        for tick, seconds in self.ticks(40):
            yield e.AbTestProgressed(
                side="base" if tick % 2 else "retrained", mode="generated", done=20 * tick, total=800, seconds=seconds
            )
            if tick % 8 == 0:
                yield e.AbTestMeasured(
                    mode="generated", rows=10 * tick, total=400, difference=shifts, fixed=tick, broken=3, both=70, neither=8, **sides
                )
            if tick == 20 and self.wished == "gone":
                os._exit(1)
        found = verdict(self.wished == "tie")
        yield e.AbTestFinished(folder=folder, winner=found["winner"], code=found["code"], facts=found["facts"], seconds=self.pace)

    def export(self, folder: str) -> Iterator[e.Event]:
        yield e.ExportOpened(
            folder=folder, model="run:x", name="x", quantizations=tuple(SIZES), push="", gate=True, resumed=False
        )
        total = sum(SIZES.values())
        for stage in ("write", "check"):
            for tick, seconds in self.ticks(10, 0.2):
                yield e.ConversionProgressed(stage=stage, done=total * tick // 10, total=total, seconds=seconds)
        for kind, size in SIZES.items():
            yield e.GgufWritten(file=f"{folder}/x-{kind}.gguf", quantization=kind, bytes=size, tensors=9, sha256="ab" * 32)
        for kind in ("", *SIZES):
            for tick, seconds in self.ticks(10, 0.2):
                yield e.FidelityProgressed(quantization=kind, done=10 * tick, total=100, seconds=seconds)

    def ollama(self, folder: str) -> Iterator[e.Event]:
        total = SIZES["q8_0"]
        for tick, seconds in self.ticks(20, 0.8):
            yield e.UploadProgressed(file=f"{folder}/x-q8_0.gguf", sent=total * tick // 20, total=total, seconds=seconds)
        yield e.ModelCreated(candidate=f"{self.wished}:candidate")
        self.cancel.wait(0.2 * self.pace)
        yield e.ModelPushed(name=self.wished, version="0.12.6", label="ALLOW", thinking="field", seconds=self.pace)

    def japanese_test(self, folder: str) -> Iterator[e.Event]:
        for model, factor in (("original", 0.85), (f"ollama:{self.wished}", 1.0)):
            yield e.JapaneseTestOpened(folder=folder, model=model, name=model.split(":")[-1], prompts=40, resumed=False)
            for number, seconds in self.ticks(40, 0.5):
                category = list(CATEGORIES)[(number - 1) // 8]
                yield e.JapaneseAnswerChecked(
                    prompt=f"{category}-{number}", category=category, passed=round(4 * CATEGORIES[category] * factor), checks=4,
                    seconds=seconds / number, tokens=80, done=number, total=40,
                )  # fmt: skip


def stages(pace: float = 0.0) -> tuple[Stage, ...]:
    """What takes the place of the chain's stages."""
    return tuple(Stage(name, pace) for name in STAGES)


def played(pace: float) -> Callable[[], None]:
    """Have all chains of this process played at that pace; what comes back brings the true stages back."""
    true = pipeline.CHAIN, pipeline.check
    pipeline.CHAIN, pipeline.check = stages(pace), lambda chain: None

    def undo() -> None:
        pipeline.CHAIN, pipeline.check = true

    return undo


def main() -> None:
    """Serve the dashboard."""
    import uvicorn

    from dashboard.app import create_app
    from dashboard.draft import Draft

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--pace", type=float, default=6.0)
    options = parser.parse_args()
    played(options.pace)
    app = create_app(Engine(options.runs), Draft(config.CONFIGS / "demo.yaml"))
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
