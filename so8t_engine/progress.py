"""A job's events as lines of text: one line that renews itself on a terminal, plain lines elsewhere."""

import sys
import time

from so8t_engine import events as e
from so8t_engine import progress_pipeline
from so8t_engine.ab_tests import verdict
from so8t_engine.engine import Engine
from so8t_engine.errors import sentence
from so8t_engine.progress_pipeline import clock

FIGURES = {
    "unsafe_allow": "unsafe ALLOW", "over_refusal": "over-refusal", "accuracy": "accuracy", "macro_f1": "macro F1",
}  # fmt: skip
"""What is told of a model's decisions, in this order."""

PLAIN_SECONDS = 5.0
"""Between two step lines where the output is no terminal."""


class Printer:
    """Writes each event once: what happened to standard output, trouble to standard error."""

    def __init__(self, engine: Engine, language: str) -> None:
        self.engine, self.language = engine, language
        self.live = sys.stdout.isatty()
        self.shown = 0.0
        self.width = 0

    def show(self, event: e.Event) -> None:
        """Print what a person should know of `event`."""
        if isinstance(event, e.StepFinished):
            self._step(event)
        elif isinstance(event, e.EvaluationProgressed | e.AbTestProgressed):
            self._deciding(event)
        elif isinstance(event, e.AbTestOpened) and event.base == event.retrained:
            self._line(f"{describe(event)}; {sentence('ab_test.same', 'what', self.language, {})}")
        elif isinstance(event, e.AbTestFinished):
            told = [verdict(event.winner, event.code, event.facts, part, self.language) for part in ("what", "hint")]
            self._line("\n".join([*told, f"results in {event.folder}"]))
        elif isinstance(event, e.JapaneseAnswerChecked):
            self._answering(event)
        elif isinstance(event, e.CheckFinished):
            self._check(event)
        elif isinstance(event, e.ConversionProgressed | e.FidelityProgressed | e.UploadProgressed):
            self._exporting(event)
        elif isinstance(event, e.FidelitySkipped):
            self._line(sentence(event.code, "what", self.language, event.facts))
        elif isinstance(event, e.JobFailed | e.CheckpointFailed | e.RowFaulted):
            self._trouble(event)
        elif isinstance(event, e.PackHalved):
            self._end_live_line()
            print(_halved(event), file=sys.stderr)
        elif isinstance(event, e.JobStopped) and self.engine.snapshot().command not in ("StartTraining", "RunPipeline"):
            self._line(f"stopped after {clock(event.seconds)}")
        elif (text := progress_pipeline.describe(event, self.engine.snapshot(), self.language)) or (text := describe(event)):
            self._line(text)

    def _step(self, event: e.StepFinished) -> None:
        snapshot = self.engine.snapshot()
        total = snapshot.plan.steps if snapshot.plan else 0
        if not self.live and event.step not in (1, total) and time.monotonic() - self.shown < PLAIN_SECONDS:
            return
        self.shown = time.monotonic()
        rate, left = snapshot.tokens_per_second, snapshot.seconds_left
        parts = [f"step {event.step}/{total}", f"epoch {event.epoch:.2f}", f"loss {event.loss:.3f}"]
        if event.label_nll is not None:
            parts.append(f"label {event.label_nll:.3f}")
        if rate is not None:
            parts.append(f"{rate:,.0f} tokens/s")
        if left is not None:
            parts.append(f"{clock(left)} left")
        text = "  ".join(parts)
        if self.live:
            self._renew(text)
        else:
            print(text, flush=True)

    def _renew(self, text: str) -> None:
        print("\r" + text.ljust(self.width), end="", flush=True)
        self.width = len(text)

    def _deciding(self, event: e.EvaluationProgressed | e.AbTestProgressed) -> None:
        if not self.live and event.done != event.total and time.monotonic() - self.shown < PLAIN_SECONDS:
            return
        self.shown = time.monotonic()
        left = event.seconds_left if event.done < event.total else None
        name = f"{event.side} {event.mode}" if isinstance(event, e.AbTestProgressed) else f"{event.mode} {event.detail}"
        text = f"{name.strip()} {event.done:,}/{event.total:,}" + (f"  {clock(left)} left" if left is not None else "")
        if self.live:
            self._renew(text)
        else:
            print(text, flush=True)

    def _exporting(self, event: e.ConversionProgressed | e.FidelityProgressed | e.UploadProgressed) -> None:
        """Where a part begins another line renews itself; plain lines come every few seconds and at its end."""
        done = event.sent if isinstance(event, e.UploadProgressed) else event.done
        if not self.live and done != event.total and time.monotonic() - self.shown < PLAIN_SECONDS:
            return
        self.shown = time.monotonic()
        text = _progressed(event, done)
        if self.live and done != event.total:
            self._renew(text)
        elif self.live:
            self._renew(text)
            self._end_live_line()
        else:
            print(text, flush=True)

    def _answering(self, event: e.JapaneseAnswerChecked) -> None:
        """A line an answer, which renews itself on a terminal."""
        text = f"{event.done}/{event.total}  {event.prompt}: {event.passed}/{event.checks} checks, {event.seconds:.1f} s"
        if not event.checks:
            text = f"{event.done}/{event.total}  {event.prompt}: not measured"
        if self.live:
            self._renew(text)
        else:
            print(text, flush=True)

    def _check(self, event: e.CheckFinished) -> None:
        """One line a check; what to do follows where it did not pass, and each row that is wrong."""
        head = f"{event.outcome:<8}{event.name:<13}{event.seconds:6.1f} s  "
        what = sentence(event.code, "what", self.language, event.facts)
        if event.outcome in ("pass", "skipped"):
            self._line(head + what)
            return
        self._end_live_line()
        place = f"{event.where}: " if event.where else ""
        hint = sentence(event.code, "hint", self.language, event.facts)
        rows = [f"{row.where}: {sentence(row.code, 'what', self.language, row.facts)}" for row in event.faults]
        lines = [f"{head}{place}{what} {hint}", *rows, *event.details.splitlines()]
        print("\n    ".join(lines), file=sys.stderr if event.outcome == "fail" else sys.stdout, flush=True)

    def _trouble(self, event: e.JobFailed | e.CheckpointFailed | e.RowFaulted) -> None:
        self._end_live_line()
        place = f"{event.where}: " if event.where else ""
        what, hint = (sentence(event.code, part, self.language, event.facts) for part in ("what", "hint"))
        print(f"{place}{what} {hint}", file=sys.stderr)
        if details := getattr(event, "details", ""):
            print(details, file=sys.stderr)

    def _line(self, text: str) -> None:
        self._end_live_line()
        print(text, flush=True)

    def _end_live_line(self) -> None:
        if self.width:
            print()
            self.width = 0


def describe(event: e.Event) -> str:
    """One line on `event`, or "" for what a reader of lines need not know."""
    match event:
        case e.RunOpened():
            return f"run {event.run} in {event.folder}" + (" (going on with it)" if event.resumed else "")
        case e.DatasetRead():
            return _dataset(event)
        case e.LengthsCounted():
            cut = f", {event.too_long} left out (longer than {event.max_length})" if event.too_long else ""
            return f"tokens a row: mean {event.mean:.0f}, longest {event.longest}{cut}"
        case e.ModelLoaded():
            share = f"{event.trainable / 1e6:.1f} M of {event.parameters / 1e6:.1f} M parameters trained"
            quantized = "" if event.quantization == "none" else f", {event.quantization}"
            return f"{event.architecture} on {event.device}, {event.dtype}{quantized}; {share}"
        case e.TrainingPlanned():
            return f"{event.steps} steps, {event.steps_per_epoch} an epoch, {event.rows} rows"
        case e.MemoryPlanned():
            return _memory(event)
        case e.CheckpointPutAside():
            return f"put aside: {event.reason}"
        case e.Resumed():
            changed = f" (libraries changed: {event.changed})" if event.changed else ""
            return f"resumed at step {event.step} from {event.checkpoint}{changed}"
        case e.ValidationFinished():
            label = "" if event.label_nll is None else f", label {event.label_nll:.3f}"
            return f"validation at step {event.step}: loss {event.loss:.3f}{label}" + (" (best)" if event.best else "")
        case e.ValidationScored():
            figures = {name: getattr(event, key) for key, name in FIGURES.items()}
            told = ", ".join(f"{name} {value:.1%}" for name, value in figures.items() if value is not None)
            return f"four classes at step {event.step}, {event.rows} validation rows: {told}"
        case e.CheckpointSaved():
            size = event.bytes / 2**20
            return f"checkpoint at step {event.step}: {size:.1f} MiB in {event.seconds:.2f} s ({event.reason})"
        case e.PerformanceMeasured():
            return _performance(event)
        case e.ModelSaved():
            return f"model of step {event.step} saved in {event.folder}"
        case e.VerificationFinished():
            parts = {"passed": event.passed, "warned": event.warned, "failed": event.failed, "skipped": event.skipped}
            told = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
            return f"{told}; results in {event.folder}"
        case e.EvaluationOpened():
            return f"{event.name} on {_rows(event)}"
        case e.ModeEvaluated():
            return _measured(event)
        case e.BenchmarkFinished():
            return _benchmark(event)
        case e.EvaluationFinished():
            return f"results in {event.folder}"
        case e.AbTestOpened():
            return f"{event.retrained_name} against {event.base_name} on {_rows(event)}"
        case e.AbTestMeasured():
            return _compared(event) if event.rows == event.total else ""
        case e.ExportOpened():
            push = f", then to Ollama as {event.push}" if event.push else ""
            return f"{event.name} as {', '.join(event.quantizations)} in {event.folder}{push}" + (
                " (going on with it)" if event.resumed else ""
            )
        case e.GgufKept():
            return f"kept {event.file} ({event.bytes / 1e6:,.1f} MB), whole since an earlier try"
        case e.GgufWritten():
            return f"{event.file}: {event.bytes / 1e6:,.1f} MB, SHA-256 {event.sha256}"
        case e.FidelityMeasured():
            return _fidelity(event)
        case e.ModelCreated():
            return f"made in Ollama as {event.candidate}; asking it a question"
        case e.ModelPushed():
            return f"Ollama {event.version} has it: ollama run {event.name} (answered with {event.label})"
        case e.ExportFinished():
            return f"files in {event.folder}"
        case e.JapaneseTestOpened():
            return f"{event.name}: {event.prompts} questions in Japanese, to {event.folder}" + (
                " (going on with it)" if event.resumed else ""
            )
        case e.JapaneseTestFinished():
            return _japanese(event)
        case e.RunAlreadyFinished():
            return f"nothing to do: {event.folder} has come to its end"
        case e.StopRequested():
            return "stopping after this step"
        case e.JobStopped():
            return f"stopped after {clock(event.seconds)}; the same command goes on from here"
        case e.JobFinished():
            return f"done in {clock(event.seconds)}"
    return ""


def _dataset(event: e.DatasetRead) -> str:
    classes = ", ".join(f"{name} {count}" for name, count in event.classes.items())
    splits = ", ".join(f"{name} {count}" for name, count in event.splits.items())
    extra = [f"{event.duplicates} duplicates" if event.duplicates else "",
             f"{event.without_output} without output" if event.without_output else "",
             f"{event.skipped} bad rows skipped, the first: {event.first_skipped}" if event.skipped else ""]  # fmt: skip
    return "; ".join(filter(None, [f"{event.rows} rows ({classes})", splits, *extra]))


def _memory(event: e.MemoryPlanned) -> str:
    kernels = {"flash": "flash attention", "groups": "short rows attend in groups", "rows": "attention row by row"}[event.attention]
    parts = [
        f"packs of up to {event.pack:,} tokens",
        f"{event.recomputed} of {event.layers} layers computed twice" if event.recomputed else "",
        f"{event.bytes / 2**30:.1f} of {event.room / 2**30:.1f} GiB" if event.bytes is not None else "",
    ]  # fmt: skip
    return f"{', '.join(filter(None, parts))}; {kernels}" + (", fused kernels" if event.fused else "")


def _halved(event: e.PackHalved) -> str:
    """What had to give way in a step whose memory was full."""
    smaller = f"packs of up to {event.after:,} tokens instead of {event.before:,}"
    smaller = smaller if event.after < event.before else f"{event.recomputed} layers computed twice"
    return f"memory was full in step {event.step}: it begins again with {smaller}, nothing is lost"


def _performance(event: e.PerformanceMeasured) -> str:
    memory, kind = (event.ram_peak, "RAM") if event.vram_peak is None else (event.vram_peak, "VRAM")
    energy = event.joules_per_1000_tokens
    parts = [
        f"{event.tokens_per_second:,.0f} tokens/s, {event.samples_per_second:,.1f} samples/s",
        f"a step {event.step_p50:.3f} s (p95 {event.step_p95:.3f} s)", f"peak {kind} {memory / 2**30:.1f} GiB",
        f"{energy:,.1f} J for 1,000 tokens" if energy is not None else "",
        ", ".join(f"{name} {share:.1%}" for name, share in event.shares.items()),
    ]  # fmt: skip
    return f"steps {event.from_step + 1} to {event.to_step}: " + "; ".join(filter(None, parts))


def _rows(event: e.EvaluationOpened | e.AbTestOpened) -> str:
    gone = ", ".join(f"{count} {name}" for name, count in event.excluded.items() if count)
    more = (f"; left out: {gone}" if gone else "") + ("; going on" if event.resumed else "")
    return f"{event.rows} rows of {event.file}{more}"


def _compared(event: e.AbTestMeasured) -> str:
    """The figures of both models and their differences, once all rows are decided."""
    parts = []
    for key, name in FIGURES.items():
        base, retrained, moved = (side[key] for side in (event.base, event.retrained, event.difference))
        if moved is None:
            parts.append(f"{name} {_estimate(None)}")
        else:
            low, high = (f"{100 * bound:+.1f}" for bound in moved[1:])
            parts.append(f"{name} {base[0]:.1%} -> {retrained[0]:.1%}, {100 * moved[0]:+.1f} points ({low} to {high})")
    return f"{event.mode}: {'; '.join(parts)}; {event.fixed} rows fixed, {event.broken} broken"


def _measured(event: e.ModeEvaluated) -> str:
    parts = [f"{name} {_estimate(getattr(event, key))}" for key, name in FIGURES.items()]
    if event.unparseable:
        parts.append(f"{event.unparseable} named no class")
    return f"{event.mode}: " + "; ".join(parts)


def _estimate(value: tuple[float, float, float] | None) -> str:
    return "not measured (no such row)" if value is None else f"{value[0]:.1%} ({value[1]:.1%} to {value[2]:.1%})"


def _benchmark(event: e.BenchmarkFinished) -> str:
    if event.outcome == "not run":
        place = f" ({event.where})" if event.where else ""
        return f"{event.task}: not run: {sentence(event.code, 'what', 'en', event.facts)}{place}"
    told = ", ".join(
        f"{name} {value:.3f}" + (f" ± {error:.3f}" if error is not None else "")
        for name, (value, error) in event.metrics.items()
    )
    return f"{event.task}: {told} ({event.rows} rows, {event.few_shot}-shot)"


def _japanese(event: e.JapaneseTestFinished) -> str:
    parts = [f"{event.score:.1%} of the checks passed"]
    parts.append(", ".join(f"{name} {value:.1%}" for name, value in event.categories.items()))
    if event.unmeasured:
        parts.append(f"{event.unmeasured} questions not measured")
    if event.tokens_per_second is not None:
        parts.append(f"{event.tokens_per_second:,.1f} tokens/s")
    if event.difference is not None:
        verdict = {"this": "better", "base": "worse", None: "not decided"}[event.decided]
        parts.append(f"{100 * event.difference:+.1f} points against the other model ({verdict})")
    return "; ".join(parts) + f"\nresults in {event.results}\nreport in {event.report}"


def _progressed(event: e.ConversionProgressed | e.FidelityProgressed | e.UploadProgressed, done: int) -> str:
    left = event.seconds / done * (event.total - done) if done else None
    rest = f"  {clock(left)} left" if left is not None and done < event.total else ""
    if isinstance(event, e.FidelityProgressed):
        return f"{event.quantization or 'model'}: {done:,}/{event.total:,} prompts{rest}"
    name = f"upload {event.file}" if isinstance(event, e.UploadProgressed) else event.stage
    speed = f"  {done / event.seconds / 1e6:,.0f} MB/s" if event.seconds else ""
    return f"{name}  {done / 1e6:,.1f}/{event.total / 1e6:,.1f} MB{speed}{rest}"


def _fidelity(event: e.FidelityMeasured) -> str:
    def share(found: tuple[float, float, float]) -> str:
        return f"{found[0]:.1%} ({found[1]:.1%} to {found[2]:.1%})"

    verdict = "decides like the model" if event.passed else "DECIDES OTHERWISE THAN THE MODEL"
    kl = "KL {:.2g} ({:.2g} to {:.2g}) nats".format(*event.kl)
    parts = [
        f"equal decisions {share(event.agreement)}, at least {event.needed_agreement:.1%} needed",
        f"{kl}, at most {event.largest_kl:.2g} allowed",
        f"first {event.greedy_tokens} tokens equal {share(event.greedy)}",
    ]
    if event.perplexity:
        parts.append("perplexity {:+.2%} ({:+.2%} to {:+.2%})".format(*event.perplexity))
    if event.lines:
        parts.append(f"look at lines {', '.join(map(str, event.lines))} of the prompts")
    return f"{event.quantization} {verdict} on {event.prompts} prompts: " + "; ".join(parts)
