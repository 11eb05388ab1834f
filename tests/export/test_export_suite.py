"""A run becomes GGUF files that are compared with it and pushed: the whole way, what blocks it, and how it goes on."""

import json
import threading

import pytest
from gguf import GGUFReader
from ollama_server import OllamaServer
from ollama_store import Name
from tiny_exports import BOTH, Bench, disturb, leaks, read, sha256

from so8t_engine import events as e
from so8t_engine.config import ROOT
from so8t_engine.data import sources
from so8t_engine.errors import BadInput, Busy, EngineError
from so8t_engine.export import llama, suite
from so8t_engine.export.delivery import deliver
from so8t_engine.export.prompts import choose


@pytest.fixture
def bench(tmp_path, learned):
    return Bench(tmp_path, learned)


@pytest.fixture
def server(tmp_path, bench):
    server = OllamaServer(tmp_path / "store")
    bench.values["ollama.address"] = server.address
    yield server
    server.stop()


@pytest.fixture
def llama_cpp():
    pytest.importorskip("xllamacpp", reason="llama.cpp is not here: install the `oracle` extra")


PUSH = {"name": "so8t", "consent": True}


def fault_of(bench, **wish) -> EngineError:
    with pytest.raises(EngineError) as caught:
        bench.export(**wish)
    for language in ("en", "ja"):
        assert caught.value.what(language) and caught.value.hint(language)
    return caught.value


def files(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


# The whole way


def test_a_run_is_written_compared_described_and_pushed_and_no_thought_with_it(bench, server, llama_cpp):
    bench.export(**PUSH)
    folder = bench.folder / "out"
    assert files(folder) == {"retrained-f16.gguf", "retrained-q8_0.gguf", "Modelfile", "MANIFEST.json", "fidelity.json",
                             "export_results.json"}  # fmt: skip
    kinds = list(dict.fromkeys(type(event).__name__ for event in bench.events))
    assert kinds == ["ExportOpened", "ConversionProgressed", "GgufWritten", "FidelityProgressed", "FidelityMeasured",
                     "UploadProgressed", "ModelCreated", "ModelPushed", "ExportFinished"]  # fmt: skip
    measured, done = bench.of(e.FidelityMeasured), bench.events[-1]
    assert [event.quantization for event in measured] == list(BOTH) and all(event.passed for event in measured)
    assert (done.passed, done.pushed) == (True, "so8t:latest")
    small = folder / "retrained-q8_0.gguf"
    assert server.store.read(Name.parse("so8t")).file.read_bytes() == small.read_bytes()
    results = read(folder / "export_results.json")
    assert [(one["file"], one["sha256"]) for one in results["files"]] == [
        (f"retrained-{kind}.gguf", sha256(folder / f"retrained-{kind}.gguf")) for kind in BOTH
    ]
    assert results["gate"] == {"outcome": "passed", "code": ""}
    assert (results["push"]["name"], results["push"]["file"]) == ("so8t:latest", small.name)
    assert (folder / "Modelfile").read_text(encoding="utf-8").startswith(f"FROM ./{small.name}\n")
    report = read(folder / "fidelity.json")
    assert [one["sha256"] for one in report["files"]] == [one["sha256"] for one in results["files"]]
    assert leaks(folder, bench.events) == []


def test_the_file_names_its_run_and_its_rows(bench):
    bench.export(quantizations=("f16",), gate=False)
    fields = GGUFReader(bench.folder / "out" / "retrained-f16.gguf").fields
    assert fields["so8t.run"].contents() == "retrained"
    assert fields["general.dataset.0.version"].contents() == "sha256:data"
    assert fields["general.base_model.0.name"].contents() == bench.voice.base.name
    assert "phi-3" in fields["general.name"].contents().lower()


def test_a_model_that_was_trained_without_a_system_text_is_pushed_without_one(bench, server):
    bench.export(gate=False, **PUSH)
    assert server.store.read(Name.parse("so8t")).system == ""


# What blocks a push


def test_a_wrong_file_fails_is_named_and_not_pushed(bench, server, llama_cpp):
    bench.export(gate=False)
    folder = bench.folder / "out"
    disturb(folder, "f16")
    fault = fault_of(bench, **PUSH)
    assert fault.code == "export.drifted" and fault.facts["files"].startswith("f16 ")
    good, wrong = sorted(bench.of(e.FidelityMeasured), key=lambda event: not event.passed)
    assert (good.quantization, good.passed, wrong.quantization, wrong.passed) == ("q8_0", True, "f16", False)
    assert set(map(str, wrong.lines)) <= set(fault.facts["lines"].split(", ")) and wrong.lines
    assert server.asked == []
    report = {one["quantization"]: one for one in read(folder / "fidelity.json")["files"]}
    assert set(wrong.lines) <= {one["line"] for one in report["f16"]["rows"]} and not report["f16"]["passed"]
    assert read(folder / "export_results.json")["gate"]["outcome"] == "failed"


def test_without_a_push_a_wrong_file_is_told_at_the_end(bench, llama_cpp):
    bench.export(gate=False)
    disturb(bench.folder / "out", "q8_0")
    assert bench.export()[-1].passed is False


def test_no_gate_pushes_unseen_and_says_so(bench, server):
    bench.export(gate=False)
    disturb(bench.folder / "out", "q8_0")
    *_, done = bench.export(gate=False, **PUSH)
    assert (done.passed, done.pushed) == (None, "so8t:latest")
    assert [event.code for event in bench.of(e.FidelitySkipped)] == ["export.gate_off"]
    assert not (bench.folder / "out" / "fidelity.json").exists()
    assert read(bench.folder / "out" / "export_results.json")["gate"] == {
        "outcome": "not measured", "code": "export.gate_off"
    }  # fmt: skip


def test_without_llama_cpp_nothing_is_claimed_and_nothing_pushed(bench, server, monkeypatch):
    monkeypatch.setattr(llama, "find_spec", lambda name: None)
    assert fault_of(bench, **PUSH).code == "export.unproven"
    assert not (bench.folder / "out").exists() and server.asked == []
    *_, done = bench.export()
    assert done.passed is None and [event.code for event in bench.of(e.FidelitySkipped)] == ["export.no_llama"]


@pytest.mark.parametrize(
    "wish, code",
    [({"name": "so8t"}, "push.no_consent"), ({"name": "so 8t", "consent": True}, "push.bad_name"),
     ({"quantizations": ("f16", "q4_0")}, "export.unknown_kind"), ({"quantizations": ()}, "export.unknown_kind")],
)  # fmt: skip
def test_a_wish_that_cannot_be_fulfilled_writes_nothing(bench, server, wish, code):
    fault = fault_of(bench, **wish)
    assert fault.code == code and isinstance(fault, BadInput)
    assert not (bench.folder / "out").exists() and server.asked == []


def test_ollama_not_there_leaves_whole_files_and_a_repeat_pushes_them(bench, server):
    address, bench.values["ollama.address"] = bench.values["ollama.address"], "http://127.0.0.1:9"
    assert fault_of(bench, gate=False, **PUSH).code == "ollama.silent"
    bench.values["ollama.address"] = address
    bench.export(gate=False, **PUSH)
    assert len(bench.of(e.GgufKept)) == 2 and bench.events[-1].pushed == "so8t:latest"


# A push later


def delivered(bench, name="later", consent=True):
    folder = bench.folder / "out"
    return list(deliver(bench.settings, bench.voice, folder, name, consent, threading.Event()))


def test_a_finished_export_is_pushed_later_and_nothing_is_written_or_compared_again(bench, server):
    bench.export(gate=False)
    folder = bench.folder / "out"
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.gguf")}
    events = delivered(bench)
    assert [type(event) for event in events if not isinstance(event, e.UploadProgressed)] == [e.ModelCreated, e.ModelPushed]
    small = folder / "retrained-q8_0.gguf"
    assert server.store.read(Name.parse("later")).file.read_bytes() == small.read_bytes()
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.gguf")} == stamps
    assert read(folder / "export_results.json")["push"]["file"] == small.name
    small.unlink()
    delivered(bench)
    assert read(folder / "export_results.json")["push"]["file"] == "retrained-f16.gguf"


@pytest.mark.parametrize("code, gate", [
    ("export.drifted", {"outcome": "failed", "code": "", "failures": [{"quantization": "q8_0", "agreement": 0.5, "lines": [7]}]}),
    ("export.unproven", {"outcome": "not measured", "code": "export.no_llama"}),
    ("export.no_results", None),
])  # fmt: skip
def test_an_export_that_was_not_found_alike_is_not_pushed_later_either(bench, server, code, gate):
    bench.export(gate=False, quantizations=("q8_0",))
    file = bench.folder / "out" / "export_results.json"
    file.write_text(json.dumps(read(file) | {"gate": gate}) if gate else "{", encoding="utf-8")
    with pytest.raises(EngineError) as caught:
        delivered(bench)
    assert caught.value.code == code and "{" not in caught.value.what() and server.asked == []
    if code == "export.drifted":
        assert caught.value.facts == {"files": "q8_0 50.0%", "lines": "7"}


# Going on


def test_a_repeat_keeps_whole_files_and_writes_damaged_ones_again(bench):
    bench.export(gate=False)
    folder = bench.folder / "out"
    before = {kind: sha256(folder / f"retrained-{kind}.gguf") for kind in BOTH}
    f16 = folder / "retrained-f16.gguf"
    stamp = f16.stat().st_mtime_ns
    damaged = folder / "retrained-q8_0.gguf"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    bench.export(gate=False)
    assert [event.quantization for event in bench.of(e.GgufKept)] == ["f16"] and bench.events[0].resumed
    assert [event.quantization for event in bench.of(e.GgufWritten)] == ["q8_0"]
    assert f16.stat().st_mtime_ns == stamp
    assert {kind: sha256(folder / f"retrained-{kind}.gguf") for kind in BOTH} == before
    damaged.unlink()
    bench.export(gate=False)
    assert [event.quantization for event in bench.of(e.GgufWritten)] == ["q8_0"]


def test_a_folder_of_something_else_is_left_alone(bench):
    folder = bench.folder / "out"
    folder.mkdir()
    (folder / "retrained-f16.gguf").write_bytes(b"mine")
    assert fault_of(bench, gate=False).code == "export.folder_taken"
    assert (folder / "retrained-f16.gguf").read_bytes() == b"mine" and files(folder) == {"retrained-f16.gguf"}


def test_a_model_that_has_changed_since_needs_another_folder(bench):
    bench.export(quantizations=("f16",), gate=False)
    voice, adapter = bench.voice, bench.run.final_model / "adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes())
    with pytest.raises(BadInput) as caught:
        list(
            suite.export(
                bench.settings, voice, bench.folder / "out", suite.Wish(("f16",), gate=False), threading.Event()
            )
        )
    assert caught.value.code == "export.other_model"


@pytest.mark.parametrize("kind", [e.ExportOpened, e.GgufWritten, e.FidelityProgressed, e.FidelityMeasured])
def test_a_stop_leaves_whole_files_alone_and_no_results(bench, llama_cpp, kind):
    cancel = threading.Event()

    def seen(event):
        if isinstance(event, kind):
            cancel.set()

    bench.export(cancel=cancel, seen=seen)
    assert not bench.of(e.ExportFinished)
    folder = bench.folder / "out"
    assert not {"export_results.json", "fidelity.json"} & files(folder)
    known = read(folder / "MANIFEST.json")["files"]
    for path in folder.glob("*.gguf*"):
        assert path.suffix == ".gguf" and sha256(path) == known[path.stem.split("-")[1]]["sha256"]
    bench.export()
    assert bench.events[-1].passed


def test_two_exports_into_one_folder_do_not_meet(bench):
    def seen(event):
        if isinstance(event, e.ExportOpened):
            with pytest.raises(Busy):
                Bench.export(other, gate=False)

    other = Bench.__new__(Bench)
    other.__dict__ = dict(bench.__dict__)
    bench.export(gate=False, seen=seen)
    assert bench.of(e.ExportFinished)


# The prompts


def test_the_prompts_are_the_rows_that_the_run_kept_for_testing(bench):
    rows = sources.read(bench.rows).samples
    kept = [rows[3].content_hash, rows[20].content_hash]
    bench.run.split_file.write_text(json.dumps({"test": kept}), encoding="utf-8")
    found = choose(bench.settings, bench.voice, "")
    assert [one.content_hash for one in found.samples] == kept and (found.split, found.found) == ("test", 2)


def test_the_seed_draws_the_prompts(bench):
    drawn = {tuple(one.line for one in choose(bench.settings, bench.voice, str(bench.rows)).samples) for _ in range(3)}
    bench.values["seed"] = 7
    other = tuple(one.line for one in choose(bench.settings, bench.voice, str(bench.rows)).samples)
    assert len(drawn) == 1 and len(other) == 6 and other not in drawn and list(other) == sorted(other)


def test_no_row_for_testing_is_told(bench):
    bench.run.split_file.write_text('{"test": []}', encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        choose(bench.settings, bench.voice, "")
    assert caught.value.code == "export.no_prompts"


def test_the_demo_says_its_licence():
    assert suite._license(ROOT / "assets" / "demo_model") == "mit"
