"""What would stop a chain hours later for sure is told before it begins."""

import shutil
from collections.abc import Collection
from pathlib import Path

from so8t_engine import exports, runs
from so8t_engine.data import sources
from so8t_engine.data.split import check_trainable, cut
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluate import tasks
from so8t_engine.evaluate.rows import choose
from so8t_engine.export import llama
from so8t_engine.export.model_name import ModelName
from so8t_engine.export.standing import standing
from so8t_engine.model.folder import check_exportable, check_folder
from so8t_engine.pipeline_chain import Chain
from so8t_engine.pipeline_record import Entry
from so8t_engine.settings import STAGES, Settings


def check_names(skip: Collection[str], force: Collection[str]) -> None:
    """Raises BadInput for stages that do not exist, that are left out and forced, and when none is left."""
    unknown = [name for name in (*skip, *force) if name not in STAGES]
    if unknown:
        raise BadInput("pipeline.unknown_stage", names=", ".join(unknown), known=", ".join(STAGES))
    both = [name for name in force if name in skip]
    if both:
        raise BadInput("pipeline.skip_and_force", names=", ".join(both))
    if set(STAGES) <= set(skip):
        raise BadInput("pipeline.nothing_left")


def leave_out(chain: Chain) -> None:
    """Note what is left out, and what later stages take in its place: a run, an export. Raises BadInput when there is
    none."""
    stages = chain.record.stages
    for name in STAGES:
        if name in chain.skip:
            stages[name] = Entry(state="skipped", folders=_instead(chain, name), code="pipeline.skipped")
        elif stages[name].state == "skipped":
            stages[name] = Entry()


def check(chain: Chain) -> None:
    """Raises BadInput or EngineError for what would stop one of the stages that are still to be done."""
    todo = chain.todo()
    if "train" in todo:
        _check_training(chain)
    elif todo:
        check_folder(chain.retrained.base)
        if "evaluate" in todo or "ab_test" in todo:
            choose(chain.settings, chain.retrained, "")
    if "evaluate" in todo:
        tasks.choose(chain.settings.benchmarks.tasks)
    if "export" in todo:
        check_exportable(_base(chain))
        _check_room(chain)
    if "ollama" in todo or ("japanese_test" in todo and "ollama" not in chain.skip):
        _check_ollama(chain.settings, "export" in todo)


def _instead(chain: Chain, name: str) -> list[str]:
    entry, wanted = chain.record.stages[name], chain.settings.pipeline.retrained
    if name == "train":
        if entry.state in ("finished", "skipped"):
            return entry.folders
        if wanted:
            return [str(runs.find(chain.root, wanted).folder)]
        for run in runs.all_runs(chain.root):
            if run.finished:
                return [str(run.folder)]
        raise BadInput("pipeline.no_run", where=str(chain.root))
    if name == "export" and "ollama" not in chain.skip:
        if entry.state in ("finished", "skipped") and entry.folders:
            return entry.folders
        trained = "train" in chain.skip or chain.record.stages["train"].state == "finished"
        for one in exports.finished(chain.root) if trained else ():
            if one.results["model"]["key"] == chain.retrained.key:
                return [str(one.folder)]
        raise BadInput("pipeline.no_export", where=str(chain.root))
    return []


def _check_training(chain: Chain) -> None:
    settings = chain.settings
    check_folder(settings.resolve(settings.base_model))
    dataset = sources.read(settings.resolve(settings.dataset), on_bad_row=settings.data.on_bad_row)
    parts = cut(dataset.samples, settings)
    check_trainable(dataset, parts)
    if not parts.test and not {"evaluate", "ab_test"} <= chain.skip:
        raise BadInput("evaluate.no_test_rows", where=str(dataset.file))


def _base(chain: Chain) -> Path:
    """Folder of the model that the export begins with."""
    settings = chain.settings
    return settings.resolve(settings.base_model) if "train" in chain.todo() else chain.retrained.base


def _check_room(chain: Chain) -> None:
    settings, entry = chain.settings, chain.record.stages["export"]
    sizes = exports.expected_sizes(_base(chain))
    there = sum(file.stat().st_size for folder in entry.folders for file in Path(folder).glob("*.gguf"))
    needed = sum(sizes.get(kind, 0) for kind in settings.export.quantizations) - there
    disk = next(folder for folder in (chain.root, *chain.root.parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    if free < needed:
        raise EngineError(
            "export.disk_short", where=str(disk), needed=f"{needed / 2**30:.2f} GiB", free=f"{free / 2**30:.2f} GiB"
        )


def _check_ollama(settings: Settings, exporting: bool) -> None:
    name, address = settings.pipeline.ollama_name, settings.ollama.address
    ModelName.parse(name)
    if not settings.pipeline.accept_visible_thinking:
        raise BadInput("pipeline.no_consent", name=name[:100])
    if exporting and not llama.installed():
        raise EngineError("pipeline.no_llama")
    try:
        found = standing(address)
    except EngineError as error:
        raise EngineError("pipeline.no_ollama", where=address, reason=error.facts["reason"]) from None
    if not found.new_enough:
        raise EngineError("push.too_old", where=address, version=found.version, oldest=found.oldest)
