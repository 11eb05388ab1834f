"""A whole chain on a tiny model: killed in every stage and started again it ends with the same results."""

import gc
import json
import multiprocessing
import random
import threading
from pathlib import Path

import pytest
from ollama_server import OllamaServer
from ollama_store import Name
from pipeline_setting import settings_for

from so8t_engine import Engine, RunPipeline, Settings, pipeline
from so8t_engine import events as e
from so8t_engine.runs import Pipeline, Run
from so8t_engine.settings import STAGES
from so8t_engine.snapshot import replay

KIND = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PROCESSES = multiprocessing.get_context(KIND)  # torch is loaded once for all tries, where the system can


def night(settings: Settings, folder: str, told, counting: bool) -> None:
    """One try, in a process of its own; tells the kind and the stage of each event, and how many models are still in
    memory behind each stage."""
    if counting:
        from transformers import PreTrainedModel

        free = pipeline.give_back

        def counted() -> None:
            free()
            told.send(("alive", str(sum(issubclass(type(one), PreTrainedModel) for one in gc.get_objects()))))

        pipeline.give_back = counted
    engine = Engine(settings.resolve(settings.runs))
    engine.submit(RunPipeline(settings=settings, output=folder))
    for event in engine.follow():
        if not isinstance(event, e.HardwareSampled):
            told.send((type(event).__name__, getattr(event, "stage", "")))


def tried(settings: Settings, folder: Path, kill_in: str = "", behind: int = 0) -> list[tuple[str, str]]:
    """What a try tells until its end, or until it is killed: `behind` events after the begin of a stage."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=night, args=(settings, str(folder), theirs, not kill_in))
    process.start()
    theirs.close()
    told: list[tuple[str, str]] = []
    try:
        while True:
            told.append(ours.recv())
            begun = ("StageStarted", kill_in) in told
            if begun and len(told) - told.index(("StageStarted", kill_in)) > behind:
                break
    except EOFError:
        pass  # it has come to its end
    finally:
        if kill_in:
            process.kill()
        process.join()
    return told


def counts(told: list[tuple[str, str]]) -> dict[str, int]:
    """Events of each stage between its begin and its end."""
    return {name: told.index(("StageFinished", name)) - told.index(("StageStarted", name)) - 1 for name in STAGES}


def decisions(held: dict) -> dict[str, dict[int, str]]:
    """Every single decision of the evaluation and of the A/B test."""
    folders = [Path(held["stages"][name]["folders"][0]) for name in ("evaluate", "ab_test")]
    journals = [file for folder in folders for file in sorted(folder.glob("*.jsonl")) if file.name != "rows.jsonl"]
    lines = {file.name: map(json.loads, file.read_text(encoding="utf-8").splitlines()) for file in journals}
    return {name: {entry["index"]: entry["given"] for entry in entries} for name, entries in lines.items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory, tiny_model):
    """(places, servers) of a chain that nothing happened to, and of one that was killed in every stage."""
    PROCESSES.set_forkserver_preload(["test_pipeline_kill", "so8t_engine.pipeline", "so8t_engine.train.loop"])
    folder, draw = tmp_path_factory.mktemp("nights"), random.Random(5)
    servers = [OllamaServer(folder / name) for name in ("store", "other store")]
    whole, killed = (settings_for(folder / str(number) / "runs", tiny_model, server) for number, server in enumerate(servers))
    places = [Pipeline.at(settings.resolve(settings.runs) / "pipeline-夜 (1)") for settings in (whole, killed)]
    told = tried(whole, places[0].folder)
    assert told[-1][0] == "JobFinished"
    assert [count for kind, count in told if kind == "alive"] == ["0"] * len(STAGES), "each stage frees its model"
    for name, count in counts(told).items():
        servers[1].faults.create_gate = gate = threading.Event()
        if name != "ollama":
            gate.set()
        tried(killed, places[1].folder, name, 1 if name == "ollama" else draw.randrange(1, count - 1))
        gate.set()
    assert tried(killed, places[1].folder)[-1][0] == "JobFinished"
    yield places, servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def held(both):
    return [json.loads(place.results.read_text(encoding="utf-8")) for place in both[0]]


def test_both_have_come_to_the_same_end(both, held):
    whole, killed = held
    assert (whole["tries"], killed["tries"]) == (1, 1 + len(STAGES))
    assert {entry["state"] for one in held for entry in one["stages"].values()} == {"finished"}
    for name in STAGES:
        for part in ("results", "figures"):
            assert killed["stages"][name][part] == whole["stages"][name][part], name
    assert (killed["winner"], killed["pushed"]) == (whole["winner"], whole["pushed"]) == ("retrained", "night:latest")
    assert decisions(killed) == decisions(whole)
    assert len(decisions(whole)["retrained-scored.jsonl"]) == 18
    begun = [event.stage for event in both[0][1].events() if isinstance(event, e.StageStarted)]
    assert sum(begun.count(name) > 1 for name in STAGES) >= 4, "the kills have hit stages under way"


def test_the_weights_the_files_and_what_ollama_has_are_the_same_bytes(both, held):
    (whole, killed), servers = (one["stages"] for one in held), both[1]
    assert whole["train"]["results"]["weights"].keys() >= {"adapter_model.safetensors"}
    files = {file["quantization"]: file["sha256"] for file in killed["export"]["results"]["files"]}
    assert set(files) == {"f16", "q8_0"}
    assert killed["ollama"]["results"]["sha256"] == whole["ollama"]["results"]["sha256"] == files["q8_0"]
    stored = [server.store.read(Name.parse("night")).file.read_bytes() for server in servers]
    assert stored[0] == stored[1]


def test_each_can_be_shown_again_as_a_chain_and_as_a_run(both, held):
    for place, one in zip(both[0], held, strict=True):
        shown = replay(place.events())
        assert (shown.state, shown.command, shown.pipeline_finished.winner) == ("finished", "RunPipeline", "retrained")
        assert [(event.stage, event.outcome in ("finished", "kept")) for event in shown.stages] == [(name, True) for name in STAGES]
        run = Run.at(one["stages"]["train"]["folders"][0])
        assert run.id == "夜 (1)"
        alone = replay(run.events())
        assert (alone.state, alone.command, alone.step, alone.ab_test) == ("finished", "StartTraining", 24, None)
        assert [event.step for event in alone.steps] == [event.step for event in shown.steps] == list(range(1, 25))
