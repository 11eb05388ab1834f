"""What has happened: one frozen record for each fact, past tense, JSON both ways.

A stage yields them, `jobs` stamps and stores them (one JSON object a line in the run's `events.jsonl`), and
`snapshot.fold` turns them into what the page shows. Times are seconds since 1970, sizes bytes, rates per second.
A figure that was not measured is None, never filled in.
"""

import time
from typing import Literal

from pydantic import Field

from so8t_engine.record import Record


class Event(Record):
    """A fact with the time at which it happened."""

    time: float = Field(default_factory=time.time)


# Every job


class JobStarted(Event):
    """The worker has begun with the job."""

    job: str
    command: str


class StopRequested(Event):
    """A person asked the job to stop; it will within one step."""

    job: str


class RunOpened(Event):
    """The job writes into this run folder. `resumed` tells whether it held work before."""

    run: str
    folder: str
    resumed: bool


class RunAlreadyFinished(Event):
    """The run had come to its end before: there was nothing left to do."""

    run: str
    folder: str


class JobFinished(Event):
    """The job did all it was asked for."""

    job: str
    seconds: float


class JobStopped(Event):
    """A person stopped the job; what it had done is kept."""

    job: str
    seconds: float


class JobFailed(Event):
    """The job ended with an error. `code`, `where` and `facts` give the sentences in any language."""

    job: str
    code: str
    where: str = ""
    facts: dict[str, str] = {}
    bad_input: bool = False
    details: str = ""


class HardwareSampled(Event):
    """The machine at one moment. GPU figures are None where no NVIDIA card answers.

    Per cent for `cpu` and `gpu`, degrees Celsius for `temperature`, watts for `power`, bytes for the rest.
    """

    cpu: float
    ram_used: int
    ram_total: int
    process_ram: int
    gpu: float | None = None
    gpu_name: str | None = None
    vram_used: int | None = None
    vram_total: int | None = None
    temperature: float | None = None
    power: float | None = None


# Data


class DatasetRead(Event):
    """The rows are read: how many of each class, and how many bad rows were skipped on request."""

    file: str
    rows: int
    classes: dict[str, int]
    languages: dict[str, int]
    without_output: int
    duplicates: int
    skipped: int
    splits: dict[str, int]
    first_skipped: str = ""


class RowFaulted(Event):
    """A row that can't be used, or whose answer is not in the format."""

    code: str
    where: str
    facts: dict[str, str] = {}


class LengthsCounted(Event):
    """Tokens of the training rows. `too_long` rows exceed `max_length` and are left out of training."""

    longest: int
    mean: float
    max_length: int
    too_long: int


# Training


class ModelLoaded(Event):
    """The base model is in memory with its adapter attached."""

    folder: str
    architecture: str
    parameters: int
    trainable: int
    device: str
    dtype: str
    quantization: str
    seconds: float
    processes: int = 1


class TrainingPlanned(Event):
    """How long the run will be, in optimizer steps, and how it is cut into them."""

    steps: int
    steps_per_epoch: int
    rows: int
    epochs: float


class MemoryPlanned(Event):
    """What is in memory at once, chosen before the first step.

    pack: most tokens of a pack. recomputed: of `layers` decoder layers, those that are computed twice.
    bytes: expected on the card at the peak; room: what may be taken; None where there is no card.
    attention: "flash" for the variable-length kernel, "groups" for products of short rows together, "rows" for one product a
        row. fused: whether our Triton kernels run.
    """

    pack: int
    recomputed: int
    layers: int
    bytes: int | None = None
    room: int | None = None
    attention: str
    fused: bool


class PackHalved(Event):
    """Memory was full in this step; it began again with smaller packs (or more layers computed twice)."""

    step: int
    before: int
    after: int
    recomputed: int


class CheckpointPutAside(Event):
    """A checkpoint that did not verify; it is never used again."""

    folder: str
    reason: str


class Resumed(Event):
    """Training goes on from this step; later figures of the interrupted try no longer count.

    changed: libraries whose version is another than when the checkpoint was written; "" when none is.
    """

    step: int
    checkpoint: str
    changed: str = ""


class StepFinished(Event):
    """One optimizer step.

    loss: mean negative log-likelihood a supervised token, nats, unweighted.
    label_nll: negative log-likelihood of the whole class in 分類結果, nats a sample; None when no row shows one.
    tokens: real (non-padding) tokens of this step; seconds: wall time of this step.
    rotation_error: largest |R R^T - I|, measured now and then.
    """

    step: int
    epoch: float
    loss: float
    label_nll: float | None
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    rotation_error: float | None = None


class ValidationFinished(Event):
    """The validation rows were scored. Units as in StepFinished. `best` tells that no earlier loss was lower."""

    step: int
    loss: float
    label_nll: float | None
    rows: int
    seconds: float
    best: bool


class ValidationScored(Event):
    """The four classes of the validation rows were scored while training. Shares of rows, 0.0 to 1.0.

    unsafe_allow, over_refusal: as in measure.metrics; None where no row could show one.
    """

    step: int
    rows: int
    accuracy: float
    macro_f1: float
    unsafe_allow: float | None
    over_refusal: float | None
    seconds: float


class CheckpointSaved(Event):
    """A checkpoint is on disk and its manifest was verified."""

    step: int
    folder: str
    bytes: int
    seconds: float
    reason: str


class CheckpointFailed(Event):
    """A checkpoint could not be written; training goes on and tries again at the next interval."""

    step: int
    code: str
    where: str = ""
    facts: dict[str, str] = {}


class PerformanceMeasured(Event):
    """What the present try has cost so far: its steps after `from_step`, up to `to_step`. The report in `file` has more.

    seconds: of the try, without pauses. tokens_per_second (real ones), samples_per_second: within the steps.
    step_p50, step_p95: seconds. ram_peak: of this process, bytes. vram_peak: allocated by torch, bytes; None on a CPU.
    joules_per_1000_tokens: None where no card tells its energy or its power.
    shares: of `seconds`, 0.0 to 1.0, by phase: "data", "forward", "backward", "optimizer", "checkpoint", "validation",
        as far as there were such, and "other".
    file: None where the disk refused it.
    """

    from_step: int
    to_step: int
    seconds: float
    tokens_per_second: float
    samples_per_second: float
    step_p50: float
    step_p95: float
    ram_peak: int
    vram_peak: int | None
    joules_per_1000_tokens: float | None
    shares: dict[str, float]
    file: str | None


class ModelSaved(Event):
    """The trained adapter is on disk."""

    folder: str
    step: int
    bytes: int


# Verification


class CheckStarted(Event):
    """The check `name` has begun, the `number`th of `total`."""

    name: str
    number: int
    total: int


class CheckFinished(Event):
    """A check came to its end.

    outcome: "pass", "warn", "fail", or "skipped" when a check that it builds on had failed.
    code, where, facts: give the sentences in any language: what was found, and what to do.
    faults: single rows that are wrong, the first few of them. details: a traceback, for a fault of ours.
    """

    name: str
    outcome: Literal["pass", "warn", "fail", "skipped"]
    seconds: float
    code: str
    facts: dict[str, str] = {}
    where: str = ""
    faults: tuple[RowFaulted, ...] = ()
    details: str = ""


class VerificationFinished(Event):
    """Every check was made; `folder` holds the results."""

    folder: str
    passed: int
    warned: int
    failed: int
    seconds: float
    skipped: int = 0


# Evaluation


class EvaluationOpened(Event):
    """The rows are chosen and the model is about to be loaded.

    model: key of the model; name: what a person reads for it. file: where the rows come from; split: "test" for the
        run's own test rows, "file" for all rows of a file.
    rows: how many are evaluated. excluded: how many were left out, by reason: "training", "validation" (seen by the
        run), "duplicates", "limit".
    modes: those asked for, in order: "scored", "generated", "benchmarks".
    resumed: whether the folder held answers of the same evaluation before.
    """

    folder: str
    model: str
    name: str
    file: str
    split: Literal["test", "file"]
    rows: int
    excluded: dict[str, int]
    modes: tuple[str, ...]
    resumed: bool


class EvaluationProgressed(Event):
    """How far a mode is. mode: "scored", "generated", "alone" (a few answers one at a time, for their latency), or
    "benchmarks". `done` of `total` rows (benchmarks: requests of the task `detail`); seconds: of this mode (or
    task) so far, in this try; begun: rows that an earlier try had done."""

    mode: str
    done: int
    total: int
    seconds: float
    begun: int = 0
    detail: str = ""

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this try; None before there is one: a batch tells of its first row alone."""
        fresh = self.done - self.begun
        return self.seconds / fresh * (self.total - self.done) if fresh > 1 else None


class ModeEvaluated(Event):
    """A mode came to its end. Each estimate is (value, low, high), a share of rows with its 95 % interval; None where
    no row could show one. unparseable: answers that named no class."""

    mode: Literal["scored", "generated"]
    rows: int
    accuracy: tuple[float, float, float]
    macro_f1: tuple[float, float, float]
    unsafe_allow: tuple[float, float, float] | None
    over_refusal: tuple[float, float, float] | None
    unparseable: int
    seconds: float


class BenchmarkFinished(Event):
    """A general benchmark was run, or could not be.

    group: "glue", "superglue" or "japanese". outcome: "measured" or "not run".
    metrics: by the field's usual name ("acc", "f1", "exact_match"), (value, standard error), 0.0 to 1.0; the standard
        error is None where it can't be told. Empty when it was not run.
    rows, few_shot, seed: what was asked. code, where, facts: why it was not run.
    """

    task: str
    group: str
    outcome: Literal["measured", "not run"]
    metrics: dict[str, tuple[float, float | None]] = {}
    rows: int = 0
    few_shot: int = 0
    seed: int = 0
    seconds: float = 0.0
    code: str = ""
    where: str = ""
    facts: dict[str, str] = {}


class EvaluationFinished(Event):
    """Everything asked for was measured; `folder` holds the results and the reports."""

    folder: str
    seconds: float


# Export


class ExportOpened(Event):
    """An export begins, or goes on.

    model: the voice's key; name: what a person reads. push: the name in Ollama, "" for none. resumed: the folder held
    an earlier try.
    """

    folder: str
    model: str
    name: str
    quantizations: tuple[str, ...]
    push: str
    gate: bool
    resumed: bool


class GgufKept(Event):
    """An earlier try has written this file: it is whole, and was not written again."""

    file: str
    quantization: str
    bytes: int
    sha256: str


class ConversionProgressed(Event):
    """How far the GGUF files are. Bytes of all of them together.

    stage: "write", or "check" when they are read again before they get their names.
    seconds: of this stage so far; at an even pace (total - done) * seconds / done are left.
    """

    stage: Literal["write", "check"]
    done: int
    total: int
    seconds: float


class GgufWritten(Event):
    """A GGUF file is whole and has its name. quantization: "f16", "q8_0" or "bf16"; sha256: of the file, in hex."""

    file: str
    quantization: str
    bytes: int
    tensors: int
    sha256: str


class FidelityProgressed(Event):
    """How far the comparison is. quantization: the file that decides, "" for the model itself, which comes first;
    `done` of `total` prompts; seconds: of this one so far."""

    quantization: str
    done: int
    total: int
    seconds: float


class FidelityMeasured(Event):
    """How like the model a file decides. Each estimate is (value, low, high) with its 95 % interval.

    agreement: share of the prompts with the same likeliest class. kl: mean divergence of the next-token distribution
    at the decision, model from file, in nats. greedy: share of the prompts whose answers begin with the same
    `greedy_tokens` tokens. perplexity: that of the file less that of the model, as a share of the model's, on the
    beginning of the rows' own answers; None where no row has one.
    drifted: prompts with another class. lines: of the prompts' file, those that drifted, the furthest first; where a
    file fails by its KL alone, the furthest ones. At most ten.
    """

    file: str
    quantization: str
    prompts: int
    agreement: tuple[float, float, float]
    kl: tuple[float, float, float]
    greedy: tuple[float, float, float]
    greedy_tokens: int
    perplexity: tuple[float, float, float] | None
    drifted: int
    lines: tuple[int, ...]
    passed: bool
    needed_agreement: float
    largest_kl: float
    seconds: float


class FidelitySkipped(Event):
    """The files were not compared with the model. code, facts: why ("export.gate_off", "export.no_llama")."""

    code: str
    facts: dict[str, str] = {}


class UploadProgressed(Event):
    """How much of a file Ollama has. Bytes; seconds: of this upload so far, 0.0 when the file was there already."""

    file: str
    sent: int
    total: int
    seconds: float


class ModelCreated(Event):
    """Ollama has made the model, under a name of its own, and shows what was sent; now it is asked something."""

    candidate: str


class ModelPushed(Event):
    """The model stands in Ollama under its name, and what had that name before is replaced.

    version: Ollama's. label: the class that the model named in its check. thinking: where that answer had its thinking
        sections: "field" when Ollama gave them apart from the text, "answer" when they stood in it.
    """

    name: str
    version: str
    label: str
    thinking: Literal["answer", "field"]
    seconds: float


class ExportFinished(Event):
    """Everything asked for was done; `folder` holds the files and export_results.json.

    modelfile: for `ollama create`. passed: whether every file decides like the model, None where that was not measured.
    pushed: the name in Ollama, "" for none.
    """

    folder: str
    files: tuple[str, ...]
    modelfile: str
    passed: bool | None
    pushed: str
    seconds: float


# A/B test

Side = Literal["base", "retrained"]

Figure = tuple[float, float, float]
"""(value, low, high): a share, or a difference of shares, with its 95 % interval."""


class AbTestOpened(Event):
    """The rows are chosen and the models are about to be loaded.

    base, retrained: keys of the models; base_name, retrained_name: what a person reads. file, split, excluded: as in
    EvaluationOpened. rows: how many both models decide. modes: "scored", "generated". resumed: the folder held answers
    of the same test before.
    """

    folder: str
    base: str
    base_name: str
    retrained: str
    retrained_name: str
    file: str
    split: Literal["test", "file"]
    rows: int
    excluded: dict[str, int]
    modes: tuple[str, ...]
    resumed: bool


class AbTestProgressed(Event):
    """How far the test is: `done` of `total` decisions of both models in all modes. side, mode: what is at work now.

    seconds, begun: since when, and since how many decisions, the present pace holds. While slower decisions are still
    to come there is none that would tell the end: then begun is `done`.
    """

    side: Side
    mode: str
    done: int
    total: int
    seconds: float
    begun: int = 0

    @property
    def seconds_left(self) -> float | None:
        """At the present pace; None before there is one."""
        fresh = self.done - self.begun
        return self.seconds / fresh * (self.total - self.done) if fresh > 1 else None


class AbTestMeasured(Event):
    """What `rows` of `total` rows show in a mode, so far or, when they are equal, in the end.

    base, retrained: accuracy, macro_f1, unsafe_allow, over_refusal of each; difference: retrained less base. None where
    no row could show one. fixed, broken: rows that the retrained model alone, or the base alone, got right; both,
    neither: rows that both, or none, got right.
    """

    mode: Literal["scored", "generated"]
    rows: int
    total: int
    base: dict[str, Figure | None]
    retrained: dict[str, Figure | None]
    difference: dict[str, Figure | None]
    fixed: int
    broken: int
    both: int
    neither: int


class AbTestFinished(Event):
    """Everything was measured; `folder` holds results and reports.

    winner: None is an answer too. code: why ("better", "unsafe", "undecided", "equal"), with its facts.
    """

    folder: str
    winner: Side | None
    code: str
    facts: dict[str, str] = {}
    seconds: float


# Japanese performance test


class JapaneseTestOpened(Event):
    """A model is about to be asked `prompts` questions in Japanese.

    model: key of a model of ours, or "ollama:<name>"; name: what a person reads.
    """

    folder: str
    model: str
    name: str
    prompts: int
    resumed: bool


class JapaneseAnswerChecked(Event):
    """One answer: how many of its checks it passed; no checks at all where it could not be measured. seconds: it took;
    tokens: None where that is not told. Those of an earlier try are told again."""

    prompt: str
    category: str
    passed: int
    checks: int
    seconds: float
    tokens: int | None
    done: int
    total: int


class JapaneseTestFinished(Event):
    """All were asked. results, report: the JSON and the Markdown file. score: share of the checks passed, over all
    and by category, 0.0 to 1.0; tokens_per_second: None where it is not told.

    unmeasured: questions that could not be measured, and are no part of the score. difference: the score less that of
    the test that it was compared with, None for none. decided: which of the two is better, None where that is open.
    """

    folder: str
    results: str
    report: str
    score: float
    categories: dict[str, float]
    tokens_per_second: float | None
    seconds: float
    unmeasured: int = 0
    difference: float | None = None
    decided: Literal["this", "base"] | None = None


# The overnight chain


class PipelineOpened(Event):
    """The chain begins, or goes on with the stage that was not finished. stages: all of them, in order."""

    pipeline: str
    folder: str
    stages: tuple[str, ...]
    resumed: bool


class StageStarted(Event):
    """A stage of the chain begins, or goes on where an earlier try of it stopped."""

    stage: str


class StageFinished(Event):
    """A stage of the chain has come to its end.

    outcome: "finished"; "kept" when an earlier try had finished it; "skipped" on request; "not_needed" when the chain
    has ended before it, because the retrained model has not won; "failed". code, where, facts: why, for all but
    "finished"; for "not_needed" those of AbTestFinished.
    folder: where its results lie. figures: its main results by name, as text for a person.
    """

    stage: str
    outcome: Literal["finished", "kept", "skipped", "not_needed", "failed"]
    seconds: float
    folder: str = ""
    code: str = ""
    where: str = ""
    facts: dict[str, str] = {}
    figures: dict[str, str] = {}


class PipelineFinished(Event):
    """The chain has come to its end; `folder` holds complete_pipeline_results.json. winner: of the A/B test, None when
    there was none; pushed: the name in Ollama, "" for none."""

    folder: str
    winner: Side | None
    pushed: str
    seconds: float
