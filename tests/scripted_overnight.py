"""An overnight chain by script, at a pace of its own: the true events, folders and results, but no model.

    python tests/scripted_overnight.py --port 7900 --runs FOLDER [--pace SECONDS]

serves the whole dashboard with it. The name in Ollama asks for what seldom happens: one that begins with "fail-" lets
the stage of that name fail ("fail-export"), "tie" finds no winner, "gone" ends the process in the middle of the A/B test.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

from so8t_engine import Engine, EngineError, RunPipeline, config
from so8t_engine import events as e
from so8t_engine.chime import rung
from so8t_engine.pipeline import open_pipeline
from so8t_engine.pipeline_record import Record
from so8t_engine.settings import STAGES

RATES = {"accuracy": 0.874, "macro_f1": 0.861, "unsafe_allow": 0.021, "over_refusal": 0.068}
BASE_RATES = {"accuracy": 0.712, "macro_f1": 0.694, "unsafe_allow": 0.088, "over_refusal": 0.153}
CATEGORIES = {"understanding": 0.91, "generation": 0.78, "reasoning": 0.72, "dialogue": 0.88, "terms": 0.84}
MIB = 2**20


def figure(value: float) -> tuple[float, float, float]:
    return value, value - 0.03, value + 0.03


def share(value: float) -> str:
    return f"{value:.1%}"


def verdict(tie: bool) -> dict:
    """Of the A/B test, as its results hold it."""
    facts = {"metric": "score", "rows": "400", "first": "0.703", "second": "0.868", "value": "+0.165", "low": "+0.121",
             "high": "+0.209", "p_adjusted": "< 0.001"}  # fmt: skip
    if tie:
        facts |= {"second": "0.711", "value": "+0.008", "low": "-0.021", "high": "+0.037", "p_adjusted": "= 0.612", "rows_needed": "6,200"}
    value, low, high = ((0.008, -0.021, 0.037) if tie else (0.165, 0.121, 0.209))
    rule = {"mode": "generated", "metric": "score", "rows": 400, "value": value, "low": low, "high": high}
    return {"winner": None if tie else "retrained", "code": "undecided" if tie else "better", "facts": facts, "rule": rule}


class Script:
    """One chain: `stages()` yields its events. `pace`: seconds that a stage takes, about."""

    def __init__(self, command: RunPipeline, pace: float, cancel) -> None:
        self.settings, self.force = command.settings, command.force
        self.pace, self.cancel = pace, cancel
        self.name = self.settings.pipeline.ollama_name
        place, self.resumed = open_pipeline(self.settings, command.output, command.resume)
        self.record = Record.open(place)
        self.tie = "tie" in self.name

    def __call__(self) -> Iterator[e.Event]:
        record = self.record
        record.make()
        if self.force:
            record.forget(STAGES[STAGES.index(self.force[0]) :])
        record.begin(self.settings)
        place = record.place
        yield e.PipelineOpened(pipeline=place.id, folder=str(place.folder), stages=STAGES, resumed=self.resumed)
        for stage in STAGES:
            yield from self.stage(stage)
            if self.cancel.is_set():
                return
        record.state = "finished"
        record.save()
        yield e.PipelineFinished(
            folder=str(place.folder), winner=record.winner, pushed=record.pushed, seconds=record.seconds
        )

    def stage(self, name: str) -> Iterator[e.Event]:
        entry = self.record.stages[name]
        found = entry.state
        if name in self.settings.pipeline.skip:
            entry.state, entry.code = "skipped", "pipeline.skipped"
            yield self.told(name, "skipped")
        elif self.tie and STAGES.index(name) > 2:
            entry.state, entry.code = "not_needed", "undecided"
            yield self.told(name, "not_needed")
        elif found == "finished":
            entry.code = "pipeline.kept"
            yield self.told(name, "kept")
            entry.code = ""
        else:
            yield from self.work(name)

    def work(self, name: str) -> Iterator[e.Event]:
        entry, begun = self.record.stages[name], time.monotonic()
        root = Path(self.settings.runs)
        folders = ["japanese_test-base", f"{self.record.place.id}/japanese_test"] if name == "japanese_test" else [f"{self.record.place.id}/{name}"]
        entry.folders, entry.state, entry.code = [str(root / folder) for folder in folders], "running", ""
        self.record.save()
        yield e.StageStarted(stage=name)
        for event in getattr(self, name)(entry):
            yield event
            if self.cancel.is_set():
                self.record.save()
                return
        entry.seconds += time.monotonic() - begun
        if self.name.startswith("fail-") and self.name.endswith(name.replace("_", "-")):
            yield from self.fail(name)
        entry.state = "finished"
        self.record.save()
        yield self.told(name, "finished")

    def fail(self, name: str) -> Iterator[e.Event]:
        entry, record = self.record.stages[name], self.record
        disk = "export.disk_short" if name == "export" else "ollama.silent"
        facts = {"needed": "11.00 GiB", "free": "3.20 GiB"} if name == "export" else {"reason": "Connection refused"}
        entry.state = record.state = "failed"
        entry.code, entry.where, entry.facts = disk, entry.folders[-1], facts
        record.save()
        yield self.told(name, "failed")
        raise EngineError(disk, where=entry.where, **facts)

    def told(self, name: str, outcome: str) -> e.StageFinished:
        entry = self.record.stages[name]
        folder = entry.folders[-1] if entry.folders else ""
        return e.StageFinished(
            stage=name, outcome=outcome, seconds=entry.seconds, folder=folder, code=entry.code, where=entry.where,
            facts=entry.facts, figures=entry.figures,
        )  # fmt: skip

    def ticks(self, count: int) -> Iterator[int]:
        for number in range(1, count + 1):
            if self.cancel.wait(self.pace / count):
                return
            yield number

    def train(self, entry) -> Iterator[e.Event]:
        run = Path(entry.folders[0])
        run.mkdir(parents=True, exist_ok=True)
        yield e.RunOpened(run=run.name, folder=str(run), resumed=False)
        yield e.TrainingPlanned(steps=60, steps_per_epoch=30, rows=480, epochs=2.0)
        for step in self.ticks(60):
            yield e.StepFinished(
                step=step, epoch=step / 30, loss=2.4 / (1 + step / 9), label_nll=None, learning_rate=1e-3, gradient_norm=1.0,
                tokens=2400, seconds=self.pace / 60,
            )  # fmt: skip
            if step % 20 == 0:
                yield e.ValidationFinished(step=step, loss=2.5 / (1 + step / 10), label_nll=None, rows=48, seconds=0.1, best=True)
        entry.figures = {"steps": "60", "validation_loss": "0.357"}
        entry.results = {"run": run.name, "steps": 60}

    def evaluate(self, entry) -> Iterator[e.Event]:
        yield e.EvaluationOpened(
            folder=entry.folders[0], model="run:x", name="x", file="demo.jsonl", split="test", rows=400, excluded={},
            modes=("scored", "generated"), resumed=False,
        )  # fmt: skip
        for mode in ("scored", "generated"):
            for tick in self.ticks(20):
                yield e.EvaluationProgressed(mode=mode, done=20 * tick, total=400, seconds=tick * self.pace / 20)
            yield e.ModeEvaluated(
                mode=mode, rows=400, unparseable=0, seconds=self.pace, **{name: figure(RATES[name]) for name in RATES}
            )
        entry.figures = {name: share(value) for name, value in RATES.items()}

    def ab_test(self, entry) -> Iterator[e.Event]:
        yield e.AbTestOpened(
            folder=entry.folders[0], base="original", base_name="original", retrained="run:x", retrained_name="x",
            file="demo.jsonl", split="test", rows=400, excluded={}, modes=("generated",), resumed=False,
        )  # fmt: skip
        for tick in self.ticks(40):
            side = "base" if tick % 2 else "retrained"
            yield e.AbTestProgressed(side=side, mode="generated", done=20 * tick, total=800, seconds=tick * self.pace / 40)
            if tick % 8 == 0:
                yield e.AbTestMeasured(
                    mode="generated", rows=10 * tick, total=400, base={name: figure(BASE_RATES[name]) for name in RATES},
                    retrained={name: figure(RATES[name]) for name in RATES},
                    difference={name: figure(RATES[name] - BASE_RATES[name]) for name in RATES},
                    fixed=18 * tick // 10, broken=3, both=70, neither=8,
                )  # fmt: skip
            if tick == 20 and self.name == "gone":
                os._exit(1)
        found = verdict(self.tie)
        entry.figures = {name: f"{RATES[name] - BASE_RATES[name]:+.1%}" for name in RATES}
        entry.results = {"winner": found, "differences": {}}
        self.record.winner = found["winner"]
        yield e.AbTestFinished(folder=entry.folders[0], winner=found["winner"], code=found["code"], facts=found["facts"], seconds=1.0)

    def export(self, entry) -> Iterator[e.Event]:
        yield e.ExportOpened(
            folder=entry.folders[0], model="run:x", name="x", quantizations=("f16", "q8_0"), push="", gate=True, resumed=False
        )
        for stage in ("write", "check"):
            for tick in self.ticks(10):
                yield e.ConversionProgressed(stage=stage, done=90 * MIB * tick, total=900 * MIB, seconds=tick * self.pace / 10)
        sizes = {"f16": 588 * MIB, "q8_0": 312 * MIB}
        for kind, size in sizes.items():
            yield e.GgufWritten(file=f"x-{kind}.gguf", quantization=kind, bytes=size, tensors=9, sha256="ab" * 32)
        for quantization in ("", "f16", "q8_0"):
            for tick in self.ticks(10):
                yield e.FidelityProgressed(quantization=quantization, done=10 * tick, total=100, seconds=tick * self.pace / 10)
        entry.figures = {kind: f"{size / 1e6:,.1f} MB" for kind, size in sizes.items()}
        entry.figures |= {"agreement_f16": "100.0%", "agreement_q8_0": "99.0%"}
        entry.results = {"files": [{"file": f"x-{kind}.gguf", "quantization": kind, "bytes": size} for kind, size in sizes.items()]}

    def ollama(self, entry) -> Iterator[e.Event]:
        for tick in self.ticks(20):
            yield e.UploadProgressed(file="x-q8_0.gguf", sent=312 * MIB * tick // 20, total=312 * MIB, seconds=tick * self.pace / 20)
        yield e.ModelCreated(candidate=f"{self.name}:candidate")
        time.sleep(self.pace / 5)
        yield e.ModelPushed(name=self.name, version="0.12.6", label="ALLOW", thinking="field", seconds=self.pace)
        entry.figures = {"name": self.name, "file": "x-q8_0.gguf"}
        entry.results = {"name": self.name}
        self.record.pushed = self.name

    def japanese_test(self, entry) -> Iterator[e.Event]:
        scores = {}
        for side, model, factor in (("base", "original", 0.85), ("winner", f"ollama:{self.name}", 1.0)):
            yield e.JapaneseTestOpened(folder=entry.folders[0], model=model, name=model, prompts=40, resumed=False)
            for number in self.ticks(40):
                category = list(CATEGORIES)[(number - 1) // 8]
                passed = round(4 * CATEGORIES[category] * factor)
                yield e.JapaneseAnswerChecked(
                    prompt=f"{category}-{number}", category=category, passed=passed, checks=4, seconds=self.pace / 40,
                    tokens=80, done=number, total=40,
                )  # fmt: skip
            categories = {name: value * factor for name, value in CATEGORIES.items()}
            scores[side] = {"score": sum(categories.values()) / 5, "categories": categories}
        entry.figures = {side: share(found["score"]) for side, found in scores.items()}
        entry.results = {"asked": "x", **scores}


class ScriptedEngine(Engine):
    """An engine whose overnight chains are played by script; `pace`: seconds a stage takes."""

    pace = 0.0

    def submit(self, command):
        if not isinstance(command, RunPipeline):
            return super().submit(command)

        def play(cancel):
            chain = Script(command, self.pace, cancel)()
            return rung(chain, self.heard) if command.settings.pipeline.sound else chain

        return self._worker.start("RunPipeline", play)


def scripted_engine(folder: Path, pace: float = 0.0) -> ScriptedEngine:
    """An engine over `folder` whose chains are played."""
    engine = ScriptedEngine(folder)
    engine.pace = pace
    return engine


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
    app = create_app(scripted_engine(options.runs, options.pace), Draft(config.CONFIGS / "demo.yaml"))
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
