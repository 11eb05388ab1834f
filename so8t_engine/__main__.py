"""The command line: the same engine as the dashboard's.

Exit codes: 0 all was done, 1 the job failed or was stopped, 2 the input was bad.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from so8t_engine import audit, commands, config
from so8t_engine import events as e
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.chat.think import checked
from so8t_engine.engine import Engine
from so8t_engine.errors import LANGUAGES, EngineError, SettingsError, sentence
from so8t_engine.progress import Printer
from so8t_engine.settings import STAGES


def main(arguments: list[str] | None = None) -> int:
    """Run one command to its end and give back the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # a Japanese Windows console starts in code page 932
    options = _parser().parse_args(arguments)
    try:
        return {"audit": _verify_audit, "think": _think}.get(options.command, _run)(options)
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
        case "verify":
            command = commands.StartVerification(settings=settings)
        case "evaluate":
            command = _evaluation(settings, options)
        case "train":
            command = commands.StartTraining(settings=settings, output=_path(options.output), resume=options.resume)
        case "export":
            command = _export(settings, options)
        case "abtest":
            command = _ab_test(settings, options)
        case "japanese":
            command = commands.RunJapaneseTest(
                settings=settings, model=_model(options.model), output=_path(options.output_dir),
                against=_path(options.against),
            )  # fmt: skip
        case "pipeline":
            command = _pipeline(settings, options)
    _stop_on_signal(engine.cancel)
    engine.submit(command)
    printer = Printer(engine, options.language)
    code = 0
    for event in engine.follow():
        printer.show(event)
        if isinstance(event, e.JobFailed):
            code = 2 if event.bad_input else 1
        elif isinstance(event, e.JobStopped) or (isinstance(event, e.CheckFinished) and event.outcome == "fail"):
            code = 1
        elif isinstance(event, e.RowFaulted):
            code = 2
        elif isinstance(event, e.ExportFinished) and event.passed is False:
            code = 1
    engine.wait()
    return code


def _path(text: str) -> str:
    """A path as it is read from where the caller stands; "" stays as it is."""
    return str(Path(text).resolve()) if text else ""


def _model(name: str) -> str:
    """A name that is a folder where the caller stands is that folder."""
    return _path(name) if Path(name).is_dir() else name


def _evaluation(settings: config.Settings, options: argparse.Namespace) -> commands.RunEvaluation:
    modes = ("scored", "generated") if options.mode == "both" else (options.mode,)
    return commands.RunEvaluation(
        settings=settings, model=_model(options.model), test_data=_path(options.test_data),
        output=_path(options.output_dir), scored="scored" in modes, generated="generated" in modes,
        benchmarks=not options.skip_hf_benchmark,
    )  # fmt: skip


def _ab_test(settings: config.Settings, options: argparse.Namespace) -> commands.RunAbTest:
    return commands.RunAbTest(
        settings=settings, base=_model(options.base), retrained=_model(options.retrained_model),
        test_data=_path(options.test_data), output=_path(options.output_dir),
    )  # fmt: skip


def _export(settings: config.Settings, options: argparse.Namespace) -> commands.ExportModel:
    kinds = tuple(kind.strip() for kind in options.quant.split(",")) if options.quant is not None else ()
    return commands.ExportModel(
        settings=settings, model=_model(options.model), output=_path(options.output_dir), quantizations=kinds,
        name=options.ollama, gate=not options.no_gate, consent=options.accept_visible_thinking,
        prompts=_path(options.prompts),
    )  # fmt: skip


def _pipeline(settings: config.Settings, options: argparse.Namespace) -> commands.RunPipeline:
    skip, force = (tuple(filter(None, (name.strip() for name in names.split(",")))) for names in (options.skip, options.force))
    return commands.RunPipeline(settings=settings, output=_path(options.output_dir), skip=skip, force=force)


def _verify_audit(options: argparse.Namespace) -> int:
    verdict = audit.verify(Path(options.file), options.expect)
    for fault in verdict.faults:
        _complain(fault, options.language)
    for code, facts in verdict.told():
        print(*(sentence(code, part, options.language, facts) for part in ("what", "hint")), sep="\n")
    return 0 if verdict.whole else 1


def _think(options: argparse.Namespace) -> int:
    settings = config.load(options.config)
    asked = {"prompt": options.prompt} | ({} if options.system is None else {"system": options.system})
    request = checked(asked, settings.think.max_characters)
    engine = Engine(settings.resolve(settings.runs), lambda: settings)
    reply = engine.think.ask(request, options.model)
    _stop_on_signal(reply.stop)
    while not reply.wait(0.2):  # Windows tells of Ctrl-C between two waits only
        pass
    try:
        result = engine.think.result(reply)
    except EngineError as error:
        _complain(error, options.language)
        return 1
    empty = result["final"].strip() == NO_ANSWER
    text = json.dumps(result, ensure_ascii=False) if options.json else result["final"]
    print(text, file=sys.stderr if empty and not options.json else sys.stdout)
    return 1 if empty else 0


def _stop_on_signal(stop: Callable[[], None]) -> None:
    """Ctrl-C, Ctrl-Break and a polite kill call `stop` (a training leaves a checkpoint); twice ends at once."""

    def stopped(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        # From a thread: the handler may interrupt a moment in which this thread holds a lock that `stop` needs.
        threading.Thread(target=stop, daemon=True).start()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stopped)


def _overrides(options: argparse.Namespace) -> list[str]:
    """--base-model and --dataset are read from where the caller stands, as any path on a command line."""
    named = {"base_model": getattr(options, "base_model", None), "dataset": getattr(options, "dataset", None)}
    paths = [f"{name}={Path(value).resolve()}" for name, value in named.items() if value]
    return paths + options.set


def _complain(error: EngineError, language: str) -> None:
    place = f"{error.where}: " if error.where else ""
    print(f"{place}{error.what(language)} {error.hint(language)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m so8t_engine", description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = jobs.add_parser("train", help="retrain a model")
    train.add_argument("--output", metavar="DIR", help="the run's own folder (default: a new one under runs/)")
    train.add_argument(
        "--resume", default="auto", metavar="auto|never|RUN",
        help="go on with the newest unfinished run of the same settings (auto), none, or the one named",
    )  # fmt: skip
    lint = jobs.add_parser("lint", help="read a dataset, count it and name what is wrong with it")
    checks = jobs.add_parser("verify", help="try a little of everything that a training needs, before it")
    for job in (train, checks):
        job.add_argument("--base-model", metavar="DIR", help="folder of the model to retrain")
    test = jobs.add_parser("evaluate", help="measure how a model decides")
    test.add_argument("--model", required=True, metavar="RUN|DIR|original", help="a run, the folder of a model, or original")
    test.add_argument("--test-data", default="", metavar="FILE", help="JSONL rows (default: those kept for testing)")
    test.add_argument("--output-dir", default="", metavar="DIR", help="its own folder (default: a new one)")
    test.add_argument(
        "--mode", choices=("scored", "generated", "both"), default="both",
        help="likeliest class (fast), whole answers, or both (default)",
    )  # fmt: skip
    test.add_argument("--skip-hf-benchmark", action="store_true", help="leave the general benchmarks out")
    pair = jobs.add_parser("abtest", help="say which of two models decides better, and how sure that is")
    pair.add_argument(
        "--base-model", dest="base", default="original", metavar="RUN|DIR|original",
        help="the model to compare with: a run, the folder of a model, or original (default)",
    )  # fmt: skip
    pair.add_argument("--retrained-model", required=True, metavar="RUN|DIR|original", help="the model that may be better")
    pair.add_argument("--test-data", default="", metavar="FILE", help="JSONL rows (default: those the run kept for testing)")
    pair.add_argument("--output-dir", default="", metavar="DIR", help="its own folder (default: a new one)")
    files = jobs.add_parser("export", help="write a model as GGUF files, check them, and push one to Ollama")
    files.add_argument("--model", required=True, metavar="RUN|DIR|original", help="a run, the folder of a model, or original")
    files.add_argument("--output-dir", default="", metavar="DIR", help="its own folder (default: a new one)")
    files.add_argument("--quant", metavar="KINDS", help="of f16, q8_0, bf16, with commas (default: export.quantizations)")
    files.add_argument("--prompts", default="", metavar="FILE", help="JSONL rows to compare on (default: those kept for testing)")
    files.add_argument("--no-gate", action="store_true", help="do not compare the files with the model")
    files.add_argument("--ollama", default="", metavar="NAME", help="push the smallest file to Ollama under this name")
    files.add_argument(
        "--accept-visible-thinking", action="store_true",
        help="agree that whoever uses the model in Ollama can read its thinking; --ollama needs it",
    )  # fmt: skip
    questions = jobs.add_parser("japanese", help="ask a model questions in Japanese and check its answers")
    questions.add_argument(
        "--model", required=True, metavar="RUN|DIR|original|ollama:NAME",
        help="a run, the folder of a model, original, or a model in Ollama",
    )  # fmt: skip
    questions.add_argument("--output-dir", default="", metavar="DIR", help="its own folder (default: a new one)")
    questions.add_argument("--against", default="", metavar="DIR", help="folder of another finished test to compare with")
    chain = jobs.add_parser("pipeline", help="the overnight chain: from training to the Japanese test of the winner")
    chain.add_argument("--output-dir", default="", metavar="DIR", help="its own folder; one that holds an unfinished chain goes on")
    chain.add_argument("--skip", default="", metavar="STAGES", help=f"of {', '.join(STAGES)}, with commas: left out")
    chain.add_argument("--force", default="", metavar="STAGES", help="done anew although finished, with all that follow")
    for job in (train, lint, checks):
        job.add_argument("--dataset", metavar="FILE", help="JSONL file with the rows")
    for job in (train, lint, checks, test, pair, files, questions, chain):
        preset = "pipeline.yaml" if job is chain else "demo.yaml"
        job.add_argument("--config", default=str(config.CONFIGS / preset), metavar="FILE", help="settings (YAML)")
        job.add_argument("--set", action="append", default=[], metavar="key=value", help="change one setting")
    log = jobs.add_parser("audit", help="the audit log").add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = log.add_parser("verify", help="find out whether anything in the log was changed, deleted or moved")
    verify.add_argument("file", metavar="FILE", help="log.jsonl, with head.json and key beside it")
    verify.add_argument("--expect", default="", metavar="MAC", help="a MAC noted earlier, which must still occur")
    think = jobs.add_parser("think", help="ask a model one question, as /think answers it")
    think.add_argument("--prompt", required=True, metavar="TEXT", help="what is asked")
    think.add_argument("--model", metavar="original|RUN", help="who answers (default: think.model of the settings)")
    think.add_argument("--system", metavar="TEXT", help="system text (default: the one the model was trained with)")
    think.add_argument("--config", default=str(config.CONFIGS / "demo.yaml"), metavar="FILE", help="settings (YAML)")
    think.add_argument("--json", action="store_true", help="print final, label, confidence, reason and audit_id")
    for command in (train, lint, checks, test, pair, files, questions, chain, verify, think):
        language = "ja" if os.environ.get("LANG", "").startswith("ja") else "en"
        command.add_argument("--language", choices=LANGUAGES, default=language, help="language of the messages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
