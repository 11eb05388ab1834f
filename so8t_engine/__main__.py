"""The command line: the same engine as the dashboard's.

Exit codes: 0 all was done, 1 the job failed or was stopped, 2 the input was bad.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from so8t_engine import commands, config
from so8t_engine import events as e
from so8t_engine.engine import Engine
from so8t_engine.errors import LANGUAGES, EngineError, SettingsError
from so8t_engine.progress import Printer


def main(arguments: list[str] | None = None) -> int:
    """Run one command to its end and give back the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # a Japanese Windows console starts in code page 932
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except SettingsError as error:
        for fault in error.faults:
            _complain(fault, options.language)
    except EngineError as error:
        _complain(error, options.language)
    return 2


def _run(options: argparse.Namespace) -> int:
    settings = config.load(options.config, _overrides(options))
    engine = Engine(settings.resolve(settings.runs))
    match options.command:
        case "lint":
            command: commands.Command = commands.LintDataset(settings=settings)
        case "train":
            output = str(Path(options.output).resolve()) if options.output else ""
            command = commands.StartTraining(settings=settings, output=output, resume=options.resume)
    _stop_on_signal(engine)
    engine.submit(command)
    printer = Printer(engine, options.language)
    code = 0
    for event in engine.follow():
        printer.show(event)
        if isinstance(event, e.JobFailed):
            code = 2 if event.bad_input else 1
        elif isinstance(event, e.JobStopped):
            code = 1
        elif isinstance(event, e.RowFaulted):
            code = 2
    engine.wait()
    return code


def _stop_on_signal(engine: Engine) -> None:
    """Ctrl-C, Ctrl-Break and a polite kill stop the job after its step and leave a checkpoint; twice ends at once."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        # From a thread: the handler may interrupt a moment in which this thread holds the engine's lock.
        threading.Thread(target=engine.cancel, daemon=True).start()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)


def _overrides(options: argparse.Namespace) -> list[str]:
    """--base-model and --dataset are read from where the caller stands, as any path on a command line."""
    named = {"base_model": getattr(options, "base_model", None), "dataset": options.dataset}
    paths = [f"{name}={Path(value).resolve()}" for name, value in named.items() if value]
    return paths + options.set


def _complain(error: EngineError, language: str) -> None:
    place = f"{error.where}: " if error.where else ""
    print(f"{place}{error.what(language)} {error.hint(language)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m so8t_engine", description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = jobs.add_parser("train", help="retrain a model")
    train.add_argument("--base-model", metavar="DIR", help="folder of the model to retrain")
    train.add_argument("--output", metavar="DIR", help="the run's own folder (default: a new one under runs/)")
    train.add_argument(
        "--resume", default="auto", metavar="auto|never|RUN",
        help="go on with the newest unfinished run of the same settings (auto), none, or the one named",
    )  # fmt: skip
    lint = jobs.add_parser("lint", help="read a dataset, count it and name what is wrong with it")
    for job in (train, lint):
        job.add_argument("--config", default=str(config.CONFIGS / "demo.yaml"), metavar="FILE", help="settings (YAML)")
        job.add_argument("--dataset", metavar="FILE", help="JSONL file with the rows")
        job.add_argument("--set", action="append", default=[], metavar="key=value", help="change one setting")
        language = "ja" if os.environ.get("LANG", "").startswith("ja") else "en"
        job.add_argument("--language", choices=LANGUAGES, default=language, help="language of the messages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
