"""Who can answer: read from the run folders without changing them, and from an Ollama that may not be there."""

import threading

import pytest
from ollama_stand_in import StandIn

from so8t_engine import BadInput, EngineError, Settings, checkpoint, config, runs
from so8t_engine.chat import sides


@pytest.fixture
def silent(tmp_path):
    """Settings whose Ollama is not running."""
    server = StandIn()
    server.stop()
    return settings_with(tmp_path, server.address)


def settings_with(tmp_path, address="http://127.0.0.1:9", **more) -> Settings:
    values = {"runs": str(tmp_path), "ollama.address": address, "data.system_prompt": "今の指示", **more}
    return config.from_values(values)


def fill(folder):
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_bytes(b"{}")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "optimizer.bin").write_bytes(b"state")


def fill_final(folder):
    (folder / "adapter_config.json").write_bytes(b"{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")


def make_run(root, name, *, steps=(), final=False, **values):
    """A run with checkpoints at `steps`, oldest first."""
    run = runs.create(root / name, settings_with(root, **{"data.system_prompt": f"system of {name}", **values}), "data")
    for step in steps:
        checkpoint.save(run.checkpoints, step, fill, {}, keep=10)
    if final:
        checkpoint.write_only(run.final_model, max(steps, default=8), fill_final, {})
    return run


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_the_original_is_the_base_model_of_the_settings(tmp_path, silent):
    voice = sides.resolve("original", tmp_path, silent)
    assert (voice.key, voice.name, voice.adapter) == ("original", "original", None)
    assert voice.base == silent.resolve(silent.base_model) and voice.model == silent.model
    assert voice.system == "今の指示"


def test_a_finished_run_speaks_with_its_final_model_and_its_own_settings(tmp_path, silent):
    run = make_run(tmp_path, "a", steps=(4, 8), final=True, **{"model.quantization": "8bit"})
    voice = sides.resolve("run:a", tmp_path, silent)
    assert (voice.name, voice.adapter, voice.system) == ("a", run.final_model, "system of a")
    assert voice.model.quantization == "8bit"


def test_an_unfinished_run_speaks_with_its_newest_checkpoint_and_says_its_step(tmp_path, silent):
    run = make_run(tmp_path, "a", steps=(4, 8))
    voice = sides.resolve("run:a", tmp_path, silent)
    assert voice.name == "a · step 8" == sides.name_of("run:a", tmp_path)
    assert voice.adapter.parent.parent == run.checkpoints and "00000008" in voice.adapter.parent.name


def test_a_damaged_checkpoint_is_passed_over_and_stays_where_it_is(tmp_path, silent):
    run = make_run(tmp_path, "a", steps=(4, 8))
    newest = next(run.checkpoints.glob("step-00000008-*"))
    (newest / "adapter" / "adapter_model.safetensors").write_bytes(b"weightS")
    half = run.checkpoints / "step-00000012-ffff"
    half.mkdir()
    fill(half)  # its manifest is still to come
    before = everything_in(tmp_path)
    assert sides.resolve("run:a", tmp_path, silent).name == "a · step 4"
    assert sides.choices(tmp_path, silent)[1]["key"] == "run:a"
    assert everything_in(tmp_path) == before


def test_a_run_without_anything_to_load_is_refused_and_not_listed(tmp_path, silent):
    make_run(tmp_path, "empty")
    with pytest.raises(BadInput) as caught:
        sides.resolve("run:empty", tmp_path, silent)
    assert caught.value.code == "chat.no_adapter"
    assert [side["key"] for side in sides.choices(tmp_path, silent)] == ["original"]


@pytest.mark.parametrize(
    "key", ["", "run:", "run:none", "run:..", "run:../a", "run:inner/a", "run:\0", "run:" + "a" * 5000, "Original", "gpt"]
)  # fmt: skip
def test_a_key_that_nobody_has_is_refused(tmp_path, silent, key):
    root = tmp_path / "runs"
    make_run(tmp_path, "a", final=True)
    make_run(root / "inner", "a", final=True)
    with pytest.raises(BadInput) as caught:
        sides.resolve(key, root, silent)
    assert caught.value.code == "chat.unknown_side"


def test_choices_are_the_original_then_runs_newest_first(tmp_path, silent):
    make_run(tmp_path, "20260101-1", final=True)
    make_run(tmp_path, "20260102-1", steps=(3,))
    broken = make_run(tmp_path, "20260103-1", final=True)
    broken.config_file.write_text("a: [", encoding="utf-8")
    assert sides.choices(tmp_path, silent) == [
        {"key": "original", "name": "original", "detail": "demo_model"},
        {"key": "run:20260102-1", "name": "20260102-1 · step 3", "detail": "demo_model"},
        {"key": "run:20260101-1", "name": "20260101-1", "detail": "demo_model"},
    ]


def test_at_most_fifty_runs_are_listed(tmp_path, silent):
    for number in range(52):
        make_run(tmp_path, f"run-{number:03d}", final=True)
    keys = [side["key"] for side in sides.choices(tmp_path, silent)]
    assert len(keys) == 51 and keys[1] == "run:run-051"


def test_the_first_sides_are_the_original_and_the_newest_finished_run_on_its_base(tmp_path, silent):
    assert sides.defaults(tmp_path, silent) == ("original", "original")
    make_run(tmp_path, "1", steps=(2,))
    assert sides.defaults(tmp_path, silent) == ("original", "run:1")
    make_run(tmp_path, "2", final=True)
    make_run(tmp_path, "3", steps=(2,))
    make_run(tmp_path, "4", final=True, **{"model.quantization": "4bit"})
    assert sides.defaults(tmp_path, silent) == ("original", "run:2")


def test_ollamas_models_are_listed_while_it_answers_and_asked_for_seldom(tmp_path):
    server = StandIn()
    server.models = {"borea:latest": "sha256:0123456789abcdef"}
    settings = settings_with(tmp_path, server.address)
    listed = {"key": "ollama:borea:latest", "name": "borea:latest", "detail": "0123456789ab"}
    assert sides.choices(tmp_path, settings)[1:] == [listed]
    server.stop()
    assert sides.choices(tmp_path, settings)[1:] == [listed]  # still held for true


def test_an_ollama_that_is_slow_holds_nobody_up(tmp_path, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(sides.Ollama, "models", lambda self, seconds: gate.wait(60) and [("late", "d")])
    settings = settings_with(tmp_path, "http://127.0.0.1:11")
    assert [side["key"] for side in sides.choices(tmp_path, settings)] == ["original"]  # the server has not answered
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "ollama-list":
            thread.join(30)
    assert [side["key"] for side in sides.choices(tmp_path, settings)] == ["original", "ollama:late"]


def test_a_model_that_ollama_lacks_is_refused_at_once(tmp_path, silent):
    server = StandIn()
    server.models = {"a": "d"}
    sides.check_listed(sides.Guest("ollama:a", "a", server.address))
    with pytest.raises(BadInput) as caught:
        sides.check_listed(sides.Guest("ollama:b", "b", server.address))
    assert caught.value.code == "chat.unknown_side"
    server.stop()
    with pytest.raises(EngineError) as gone:
        sides.check_listed(sides.side("ollama:a", tmp_path, silent))
    assert gone.value.code == "ollama.silent"
