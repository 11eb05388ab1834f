"""What a person asks for: one frozen record for each wish, imperative, JSON both ways."""

from typing import Literal

from so8t_engine.config import Settings
from so8t_engine.record import Record


class Command(Record):
    """A wish. `engine.submit` takes it and gives back a job id."""


class LintDataset(Command):
    """Read the dataset of `settings`, count it and name what is wrong with it, without training."""

    settings: Settings


class StartVerification(Command):
    """Try a little of everything that training with `settings` needs, and say what is missing.

    run: folder of the run that the results belong to; "" makes a folder of their own under `settings.runs`.
    """

    settings: Settings
    run: str = ""


class RunEvaluation(Command):
    """Measure how a model decides.

    model: "original", id or folder of a run ("run:<id>" too), or folder of a model.
    test_data: JSONL file with four-class rows; "" takes the test rows of the run (of `settings` where it is no run).
    output: the evaluation's own folder; "" makes a new one in the run, or under `settings.runs`. A folder that holds an
        interrupted evaluation of the same model and rows is gone on with.
    scored, generated: which of the two modes; benchmarks: whether the general benchmarks run as well.
    """

    settings: Settings
    model: str = "original"
    test_data: str = ""
    output: str = ""
    scored: bool = True
    generated: bool = True
    benchmarks: bool = True


class StartTraining(Command):
    """Train with `settings`.

    output: the run's own folder; "" makes a new one under `settings.runs`.
    resume: "auto" goes on with the newest unfinished run of the same settings and data, "never" starts anew,
        anything else is the id or folder of the run to go on with.
    """

    settings: Settings
    output: str = ""
    resume: str = "auto"


class ExportModel(Command):
    """Write a model as GGUF files, compare how they decide with the model, and bring one of them into Ollama.

    model: "original", id or folder of a run ("run:<id>" too), or folder of a model.
    output: the export's own folder; "" makes a new one in the run, or under `settings.runs`. A folder that holds an
        export of the same model is gone on with: files that are whole are not written again.
    quantizations: of "f16", "q8_0", "bf16"; none takes those of the settings.
    name: the model's name in Ollama; "" leaves Ollama alone. The smallest of the files is sent.
    gate: whether the files are compared with the model first; one that decides otherwise is not sent.
    consent: that clients of Ollama can see the thinking. Without it nothing is sent.
    prompts: JSONL file with four-class rows for the comparison; "" takes the test rows of the run (of `settings`
        where it is no run).
    """

    settings: Settings
    model: str = "original"
    output: str = ""
    quantizations: tuple[str, ...] = ()
    name: str = ""
    gate: bool = True
    consent: bool = False
    prompts: str = ""


class RunAbTest(Command):
    """Have two models decide the same rows, and say which is better and how sure that is.

    base, retrained: "original", id or folder of a run ("run:<id>" too), or folder of a model.
    test_data: JSONL file with four-class rows; "" takes the test rows of the retrained model's run. Rows that one of
        the two has been trained on are left out.
    output: the test's own folder; "" makes a new one in the retrained model's run, or under `settings.runs`. A folder
        that holds an interrupted test of the same models and rows is gone on with.
    """

    settings: Settings
    base: str = "original"
    retrained: str
    test_data: str = ""
    output: str = ""


class RunJapaneseTest(Command):
    """Ask a model questions in Japanese and check its answers.

    model: "original", id or folder of a run ("run:<id>" too), folder of a model, or "ollama:<name>".
    output: the folder that the results go to; "" makes a new one. A folder that holds an interrupted test of the same
        model is gone on with.
    against: the folder of another model's finished test to compare with; "" for none.
    """

    settings: Settings
    model: str = "original"
    output: str = ""
    against: str = ""


class RunPipeline(Command):
    """Run the overnight chain as `settings.pipeline` says.

    output: the chain's own folder; "" for one under `settings.runs`.
    resume: whether, without `output`, the newest unfinished chain of the same settings is gone on with ("auto") or a
        new one made ("never").
    skip, force: stages to leave out beside those of the settings, and stages to run again although an earlier try has
        finished them, with all that follow.
    """

    settings: Settings
    output: str = ""
    resume: Literal["auto", "never"] = "auto"
    skip: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
