"""What would stop a chain at three in the morning is told at ten in the evening, and nothing is written."""

import shutil
import threading
from collections import namedtuple

import pytest
from made import row, write_rows
from ollama_server import OllamaServer
from pipeline_setting import settings_for

from so8t_engine import config, runs
from so8t_engine import events as e
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.export import llama
from so8t_engine.pipeline import open_pipeline, pipeline


@pytest.fixture
def server(tmp_path):
    server = OllamaServer(tmp_path / "store")
    yield server
    server.stop()


@pytest.fixture
def values(tmp_path, tiny_model, server) -> dict:
    """The settings of a chain that can begin, to be spoilt."""
    return config.to_values(settings_for(tmp_path / "runs", tiny_model, server))


def begun(values: dict, skip: tuple[str, ...] = ()) -> e.PipelineOpened:
    """The first event of a new chain."""
    settings = config.from_values(values)
    chain = pipeline(settings, *open_pipeline(settings, ""), skip, (), threading.Event())
    try:
        return next(chain)
    finally:
        chain.close()


def told(values: dict, server: OllamaServer, skip: tuple[str, ...] = ()) -> EngineError:
    """Why a chain does not begin."""
    with pytest.raises(EngineError) as caught:
        begun(values, skip)
    for language in ("en", "ja"):
        assert "{" not in caught.value.what(language) + caught.value.hint(language)
    root = config.from_values(values).resolve(values["runs"])
    assert [path.name for path in root.glob("*") if not runs.is_run(path)] == []
    assert set(server.paths()) <= {"GET /api/version"}
    return caught.value


def test_a_chain_that_lacks_nothing_begins(values, server):
    assert not begun(values).resumed and server.paths() == ["GET /api/version"]


@pytest.mark.parametrize("spoilt, code", [
    ({"pipeline.accept_visible_thinking": False}, "pipeline.no_consent"),
    ({"pipeline.ollama_name": "so 8t"}, "push.bad_name"),
    ({"ollama.address": "http://127.0.0.1:9"}, "pipeline.no_ollama"),
    ({"base_model": "nowhere"}, "model.missing"),
    ({"dataset": "nowhere.jsonl"}, "data.missing"),
    ({"data.test_share": 0.0}, "evaluate.no_test_rows"),
    ({"benchmarks.tasks": ("sst3",)}, "benchmarks.unknown_task"),
    ({"pipeline.retrained": "20990101-nothing", "pipeline.skip": ("train",)}, "run.missing"),
    ({"pipeline.skip": ("export",)}, "pipeline.no_export"),
])  # fmt: skip
def test_what_the_settings_lack_is_told(values, server, spoilt, code):
    fault = told(values | spoilt, server)
    assert fault.code == code and isinstance(fault, BadInput) == (code != "pipeline.no_ollama")


@pytest.mark.parametrize("lost, code", [
    ({}, "data.bad_label"), ({"four_class_label": "DENY", "output": ""}, "data.no_output"),
])  # fmt: skip
def test_a_bad_row_is_named_by_its_line(values, server, tmp_path, lost, code):
    rows = [row(i, "DENY") for i in range(20)]
    rows[4] |= {"four_class_label": "MAYBE"} | lost
    fault = told(values | {"dataset": str(write_rows(tmp_path / "bad.jsonl", rows))}, server)
    assert (fault.code, fault.where.rpartition(":")[2]) == (code, "5")


def test_an_ollama_that_is_too_old_is_told(values, server):
    server.version = "0.5.1"
    assert told(values, server).code == "push.too_old"


def test_without_llama_cpp_nothing_could_be_pushed(values, server, monkeypatch):
    monkeypatch.setattr(llama, "find_spec", lambda name: None)
    assert told(values, server).code == "pipeline.no_llama"


def test_a_disk_that_is_too_small_for_the_files_is_told(values, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10_000))
    assert told(values, server).code == "export.disk_short"
    assert begun(values, ("export", "ollama"))


def test_a_model_that_no_gguf_can_hold_is_told_before_the_night(values, server, tiny_llama):
    llama_values = values | {"base_model": str(tiny_llama), "so8t.targets": "auto", "so8t.rotate": "auto"}
    assert told(llama_values, server).code == "export.wrong_architecture"
    assert begun(llama_values, ("export", "ollama"))


def test_what_only_a_left_out_stage_needs_is_not_asked_for(values, server):
    server.stop()
    spoilt = {"pipeline.accept_visible_thinking": False, "pipeline.ollama_name": "so 8t"}
    assert begun(values | spoilt, ("ollama",))
    assert begun(values | {"benchmarks.tasks": ("sst3",)}, ("ollama", "evaluate"))
