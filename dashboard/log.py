"""The events of a run as sentences, newest first."""

from html import escape
from pathlib import Path

from dashboard import numbers, train_cards
from dashboard.ab_test_verdict import kind
from dashboard.bridge import Page
from dashboard.evaluate_cards import model_name
from so8t_engine import Snapshot, events

SHOWN = 200


def log(snapshot: Snapshot, page: Page) -> str:
    """The log's HTML: time and sentence, what went wrong in its own colour."""
    lines = []
    for event in reversed(snapshot.log[-SHOWN:]):
        words = sentence(event, page)
        if words:
            bad = isinstance(event, events.JobFailed | events.CheckpointFailed)
            bad = bad or (isinstance(event, events.CheckFinished) and event.outcome == "fail")
            tone = "so-bad" if bad else ""
            lines.append(
                f'<li class="{tone}"><time title="{numbers.date(event.time)}">{numbers.clock(event.time)}</time>'
                f"<span>{escape(words)}</span></li>"
            )
    if not lines:
        return f'<p class="so-empty">{escape(page.t("log.empty"))}</p>'
    return f'<ol class="so-log" tabindex="0" aria-label="{escape(page.t("log.title"))}">{"".join(lines)}</ol>'


def sentence(event: events.Event, page: Page) -> str:
    """What an event tells a person. An event of a kind that has no sentence yet is left out."""
    key = f"log.{type(event).__name__}"
    match event:
        case events.JobStarted():
            return page.t(key, command=page.t(f"command.{event.command}"))
        case events.RunOpened():
            return page.t("log.RunOpenedAgain" if event.resumed else key, run=event.run)
        case events.JobFinished() | events.JobStopped():
            return page.t(key, time=numbers.duration(event.seconds, page.language))
        case events.JobFailed():
            return page.t(key, what=page.error(event.code, "what", event.facts), where=event.where or numbers.DASH)
        case events.DatasetRead():
            splits = ", ".join(f"{page.t(f'split.{name}')} {rows:,}" for name, rows in event.splits.items())
            return page.t(key, file=Path(event.file).name, rows=numbers.count(event.rows), splits=splits)
        case events.LengthsCounted():
            return page.t(key, longest=event.longest, mean=f"{event.mean:.0f}", left_out=event.too_long)
        case events.ModelLoaded():
            return page.t(
                key, name=Path(event.folder).name, parameters=numbers.millions(event.parameters), device=event.device,
                time=numbers.duration(event.seconds, page.language),
            )  # fmt: skip
        case events.TrainingPlanned():
            return page.t(key, steps=numbers.count(event.steps), epochs=f"{event.epochs:g}")
        case events.MemoryPlanned():
            twice = page.t("run.twice", recomputed=event.recomputed, layers=event.layers)
            kernels = page.t(f"run.attention.{event.attention}")
            return page.t(key, pack=numbers.count(event.pack), twice=twice, attention=kernels)
        case events.PackHalved():
            return train_cards.halved(event, page)
        case events.Resumed() | events.CheckpointPutAside():
            facts = event.model_dump()
            return page.t(key, **facts | {n: Path(facts[n]).name for n in ("checkpoint", "folder") if n in facts})
        case events.ValidationFinished():
            return page.t("log.ValidationBest" if event.best else key, step=event.step, loss=numbers.loss(event.loss))
        case events.ValidationScored():
            shares = {name: getattr(event, name) for name in ("unsafe_allow", "over_refusal", "accuracy", "macro_f1")}
            told = {name: numbers.percent(None if share is None else 100 * share) for name, share in shares.items()}
            return page.t(key, step=event.step, rows=numbers.count(event.rows), **told)
        case events.CheckpointSaved():
            return page.t(key, step=event.step, size=numbers.file_size(event.bytes), seconds=f"{event.seconds:.1f}")
        case events.CheckpointFailed():
            return page.t(key, step=event.step, what=page.error(event.code, "what", event.facts))
        case events.CheckFinished():
            name, outcome = page.t(f"verify.check.{event.name}"), page.t(f"verify.outcome.{event.outcome}")
            return page.t(key, name=name, outcome=outcome, seconds=f"{event.seconds:.1f}")
        case events.VerificationFinished():
            return page.t(key, passed=event.passed, warned=event.warned, failed=event.failed)
        case events.EvaluationOpened():
            return page.t(key, name=event.name, file=Path(event.file).name, rows=numbers.count(event.rows))
        case events.ModeEvaluated():
            shares = {name: getattr(event, name) for name in ("unsafe_allow", "over_refusal", "accuracy")}
            told = {name: numbers.percent(100 * share[0] if share else None) for name, share in shares.items()}
            return page.t(key, mode=page.t(f"evaluate.mode.{event.mode}"), rows=numbers.count(event.rows), **told)
        case events.BenchmarkFinished():
            if event.outcome == "measured":
                return page.t(key, task=event.task)
            return page.t("log.BenchmarkNotRun", task=event.task, what=page.error(event.code, "what", event.facts))
        case events.EvaluationFinished():
            return page.t(key, folder=Path(event.folder).name)
        case events.ExportOpened():
            name = page.t("export.form.original") if event.name == "original" else event.name
            return page.t(key, name=name, kinds=", ".join(event.quantizations))
        case events.GgufKept() | events.GgufWritten():
            return page.t(key, file=Path(event.file).name, size=numbers.file_size(event.bytes))
        case events.FidelityMeasured():
            verdict = page.t("export.gate.passed" if event.passed else "export.gate.failed")
            return page.t(key, file=Path(event.file).name, share=numbers.percent(100 * event.agreement[0]), verdict=verdict)
        case events.FidelitySkipped():
            return page.t(key, what=page.error(event.code, "what", event.facts))
        case events.ModelPushed():
            return page.t(key, name=event.name)
        case events.ExportFinished():
            return page.t(key, folder=Path(event.folder).name)
        case events.AbTestOpened():
            base, retrained = (model_name(name, page) for name in (event.base_name, event.retrained_name))
            return page.t(key, base=base, retrained=retrained, file=Path(event.file).name, rows=numbers.count(event.rows))
        case events.AbTestFinished():
            return page.t(key, folder=Path(event.folder).name, verdict=page.t(f"ab_test.mark.{kind(event.winner, event.code)}"))
        case events.ModelSaved():
            return page.t(key, folder=Path(event.folder).name, size=numbers.file_size(event.bytes))
        case events.StopRequested() | events.RunAlreadyFinished() | events.ModelCreated():
            return page.t(key)
    return ""
