"""Verification before a run: what is whole passes, each injected fault is found by its own check, nothing is left."""

import ast
import json
import random
import shutil
import string
from collections import namedtuple

import pytest
import torch
from made import DEMO_MODEL, row, write_rows
from safetensors.torch import load_file, save_file

from so8t_engine import (
    Engine,
    StartTraining,
    StartVerification,
    checkpoint,
    config,
    errors,
    runs,
    verify_machine,
    verify_trial,
    verify_victim,
)
from so8t_engine import events as e
from so8t_engine import verify as verification
from so8t_engine.__main__ import main
from so8t_engine.config import ROOT
from so8t_engine.jobs import Cancel
from so8t_engine.model import load
from so8t_engine.model.packed import PackedModel
from so8t_engine.train.budget import activations, shape_of
from so8t_engine.verify import CHECKS, Check, verify
from so8t_engine.verify_estimate import adapter_parameters, checkpoint_bytes, memory


def changed(settings, **values):
    """The settings with other values: train__epochs=1."""
    flat = {name.replace("__", "."): value for name, value in values.items()}
    return config.from_values(config.to_values(settings) | flat)


def found(settings, folder, cancel=None):
    """Each check's end, by its name."""
    events = list(verify(settings, folder, cancel or Cancel()))
    return {event.name: event for event in events if isinstance(event, e.CheckFinished)}


def only(monkeypatch, *names):
    """Leave out all other checks: the test is about these, and what they build on."""
    monkeypatch.setattr(verification, "CHECKS", tuple(check for check in CHECKS if check.name in names))


@pytest.fixture
def own_model(tmp_path, tiny_model):
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_model, tmp_path / "own_model")


def test_what_can_be_trained_passes_and_leaves_nothing_but_its_results(tmp_path, tiny_settings, rows_file):
    before = rows_file.read_bytes()
    torch.manual_seed(5)
    random.seed(5)
    kept = torch.get_rng_state(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads()
    place = tmp_path / "検証 (1)"
    events = list(verify(tiny_settings, place, Cancel()))
    assert torch.equal(torch.get_rng_state(), kept[0])
    assert (random.getstate(), torch.get_default_dtype(), torch.get_num_threads()) == kept[1:]
    ends = [event for event in events if isinstance(event, e.CheckFinished)]
    assert [event.name for event in ends] == [check.name for check in CHECKS]
    assert {event.name: event.code for event in ends if event.outcome != "pass"} == {}
    assert [type(event) for event in events[:-1]] == [e.CheckStarted, e.CheckFinished] * len(CHECKS)
    assert (events[-1].passed, events[-1].failed, events[-1].skipped) == (len(CHECKS), 0, 0)
    file = place / "verification" / "verification_results.json"
    assert [path for path in place.rglob("*") if path.is_file()] == [file] and events[-1].folder == str(file.parent)
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["version"], told["outcome"], told["counts"]["pass"]) == (1, "pass", len(CHECKS))
    assert told["settings"]["fingerprint"] == tiny_settings.fingerprint()
    assert [(c["name"], c["outcome"], c["code"]) for c in told["checks"]] == [(x.name, x.outcome, x.code) for x in ends]
    assert all(check[language]["what"] for check in told["checks"] for language in ("en", "ja"))
    assert rows_file.read_bytes() == before


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_quantized_weights_and_optimizer_come_back_whole(tmp_path, tiny_settings, kind):
    """With the demo model: on a CPU, 4 bits need layers of at least one block of 64 inputs."""
    settings = changed(
        tiny_settings, base_model=str(DEMO_MODEL), model__quantization=kind, train__optimizer="adamw_8bit",
        train__gradient_checkpointing=True,
    )  # fmt: skip
    assert {x.name: x.code for x in found(settings, tmp_path / "v").values() if x.outcome != "pass"} == {}


def test_a_failed_check_takes_what_builds_on_it_with_it_and_names_the_cause(tmp_path, tiny_settings, own_model):
    shard = own_model / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    ends = found(changed(tiny_settings, base_model=str(own_model)), tmp_path / "v")
    assert (ends["model"].outcome, ends["model"].code, ends["model"].where) == ("fail", "model.bad_shard", str(shard))
    skipped = {name for name, event in ends.items() if event.outcome == "skipped"}
    assert skipped == {"memory", "disk", "tokenizer", "settings", "targets", "step", "answer", "checkpoint"}
    assert all(ends[name].facts == {"check": "model"} for name in skipped)
    assert ends["dataset"].outcome == ends["kill"].outcome == "pass"


def test_code_in_the_folder_is_named_and_not_run(tmp_path, tiny_settings, own_model):
    (own_model / "modeling_phi3.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('x')", encoding="utf-8")
    ends = found(changed(tiny_settings, base_model=str(own_model)), tmp_path / "v")
    assert (ends["model"].outcome, ends["model"].code) == ("warn", "verify.model_code")
    assert "modeling_phi3.py" in ends["model"].facts["files"] and ends["answer"].outcome == "pass"
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_no_numbers_fail_at_step_and_answer(tmp_path, tiny_settings, own_model):
    weights = load_file(own_model / "model.safetensors")
    weights = {name: weight.clone() for name, weight in weights.items()}
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, own_model / "model.safetensors", {"format": "pt"})
    ends = found(changed(tiny_settings, base_model=str(own_model)), tmp_path / "v")
    assert (ends["step"].code, ends["answer"].code) == ("verify.loss_bad", "verify.answer_bad")
    assert ends["checkpoint"].outcome == "skipped"


def test_a_layer_that_gets_no_gradient_is_named(tmp_path, tiny_settings, own_model):
    weights = {name: weight.clone() for name, weight in load_file(own_model / "model.safetensors").items()}
    weights["model.layers.1.mlp.down_proj.weight"].zero_()  # nothing comes back to gate_up_proj
    save_file(weights, own_model / "model.safetensors", {"format": "pt"})
    ends = found(changed(tiny_settings, base_model=str(own_model)), tmp_path / "v")
    assert ends["step"].code == "verify.gradient_bad"
    assert ends["step"].facts["count"] == "1" and ends["step"].facts["first"].endswith("layers.1.mlp.gate_up_proj")


def test_bad_rows_fail_and_are_named_by_line_unless_they_are_to_be_skipped(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "dataset")
    file = write_rows(tmp_path / "bad.jsonl", [row(i, "DENY") for i in range(8)])
    file.write_bytes(file.read_bytes() + b'{"instruction": "x", "four_class_label": "MAYBE"}\n')
    settings = changed(tiny_settings, dataset=str(file))
    end = found(settings, tmp_path / "v")["dataset"]
    assert (end.outcome, end.code, end.where) == ("fail", "verify.dataset_bad_rows", f"{file}:9")
    assert [(fault.code, fault.where) for fault in end.faults] == [("data.bad_label", f"{file}:9")]
    end = found(changed(settings, data__on_bad_row="skip"), tmp_path / "v")["dataset"]
    assert (end.outcome, end.code) == ("warn", "verify.dataset_faults")
    write_rows(file, [row(1, "DENY"), row(2, "DENY", output="")])
    assert found(settings, tmp_path / "v")["dataset"].code == "data.no_output"
    missing = found(changed(settings, dataset=str(tmp_path / "nowhere.jsonl")), tmp_path / "v")["dataset"]
    assert (missing.outcome, missing.code) == ("fail", "data.missing")


def test_the_plan_is_the_trainings_own(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "model", "tokenizer", "dataset", "settings")
    rows = [row(i, "ALLOW") for i in range(30)] + [row(99, "DENY", input="長い" * 400)]
    settings = changed(
        tiny_settings, dataset=str(write_rows(tmp_path / "long.jsonl", rows)), data__max_length=300,
        data__test_share=0, data__validation_share=0,
    )  # fmt: skip
    end = found(settings, tmp_path / "v")["settings"]
    assert (end.outcome, end.code, end.facts["count"]) == ("warn", "verify.rows_too_long", "1")
    engine = Engine(tmp_path / "runs")
    engine.submit(StartTraining(settings=settings))
    engine.wait(60)  # to its end: a training draws from the random state that later tests compare
    plan = engine.snapshot().plan
    assert (end.facts["steps"], end.facts["rows"]) == (str(plan.steps), str(plan.rows))
    end = found(changed(settings, data__max_length=32), tmp_path / "v")["settings"]
    assert (end.outcome, end.code) == ("fail", "data.all_too_long")


def test_a_target_that_the_model_has_not_is_named(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "model", "targets")
    end = found(changed(tiny_settings, so8t__targets=("q_proj",), so8t__rotate=()), tmp_path / "v")["targets"]
    assert (end.outcome, end.code, end.facts["targets"]) == ("fail", "model.no_target", "q_proj")


def test_memory_and_disk_are_measured_against_the_estimate(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "model", "memory", "disk")
    usage = namedtuple("usage", "total used free")
    codes = []
    one, adapter = checkpoint_bytes(tiny_settings.resolve(tiny_settings.base_model), tiny_settings)
    needed = load.memory_needed(tiny_settings.resolve(tiny_settings.base_model), tiny_settings.model)
    for free_memory, free_disk in ((needed - 1, 0), (needed + 1, 4 * one + 4 * adapter), (2**40, 2**40)):
        monkeypatch.setattr(load, "memory_free", lambda free=free_memory: free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free_disk: usage(0, 0, free))
        ends = found(tiny_settings, tmp_path / "v")
        codes.append((ends["memory"].code, ends["disk"].code))
    assert codes == [
        ("verify.memory_short", "verify.disk_short"), ("verify.memory_tight", "verify.disk_tight"),
        ("verify.memory_good", "verify.disk_good"),
    ]  # fmt: skip


def test_the_estimate_counts_what_the_adapter_and_its_checkpoint_really_hold(tmp_path, tiny_settings):
    folder = tiny_settings.resolve(tiny_settings.base_model)
    model = load.load_model(folder, tiny_settings.model, torch.device("cpu"))
    adapted = verify_trial._attached(model, tiny_settings, 0)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert adapter_parameters(folder, tiny_settings) == trained
    end = found(tiny_settings, tmp_path / "v")["checkpoint"]
    assert end.outcome == "pass", end
    size = float(end.facts["size"].removesuffix(" MiB")) * 2**20
    assert checkpoint_bytes(folder, tiny_settings)[0] == pytest.approx(size, abs=0.15 * 2**20)


@pytest.mark.parametrize("twice", [False, True])
def test_the_estimate_of_a_pack_is_that_of_the_trainings_own_plan(tiny_settings, twice):
    """Told from the model's files alone; the plan looks at the model itself."""
    settings = changed(tiny_settings, train__gradient_checkpointing=twice, data__max_length=700, train__batch_size=64)
    folder = settings.resolve(settings.base_model)
    model = load.load_model(folder, settings.model, load.pick_device())
    packed = PackedModel(verify_trial._attached(model, settings, 0))
    told = memory(folder, settings).activations
    assert told == activations(shape_of(packed), 700, packed.layers if twice else 0)
    assert told > memory(folder, changed(settings, data__max_length=600)).activations
    if not twice:
        assert told > memory(folder, changed(settings, train__gradient_checkpointing=True)).activations


def test_a_card_that_torch_cannot_use_is_a_warning(tmp_path, tiny_settings, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("torch uses the card of this machine")
    only(monkeypatch, "torch", "card")
    sample = verify_machine.hardware.sample()
    monkeypatch.setattr(verify_machine.hardware, "sample", lambda: sample.model_copy(update={"gpu_name": "RTX 9"}))
    ends = found(tiny_settings, tmp_path / "v")
    assert (ends["card"].outcome, ends["card"].code) == ("warn", "verify.card_unused")
    wanted = "verify.torch_cpu_build" if torch.version.cuda is None else "verify.torch_good"
    assert ends["torch"].code == wanted


def test_bitsandbytes_that_computes_wrongly_fails_only_where_it_is_needed(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "bitsandbytes")
    from bitsandbytes.nn import Linear8bitLt

    right = Linear8bitLt.forward
    monkeypatch.setattr(Linear8bitLt, "forward", lambda self, x: right(self, x) * 1.1)
    outcomes = [
        found(changed(tiny_settings, **values), tmp_path / "v")["bitsandbytes"]
        for values in ({}, {"model__quantization": "8bit"}, {"train__optimizer": "adamw_8bit"})
    ]
    assert [end.outcome for end in outcomes] == ["warn", "fail", "fail"]
    assert {end.code for end in outcomes} == {"verify.bitsandbytes_wrong"}


def test_packages_that_differ_from_the_pins_are_named(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "packages")
    real = verify_machine.metadata.version
    monkeypatch.setattr(verify_machine.metadata, "version", lambda name: "0.1" if name == "peft" else real(name))
    end = found(tiny_settings, tmp_path / "v")["packages"]
    assert (end.outcome, end.code) == ("warn", "verify.packages_differ") and "peft 0.1" in end.facts["names"]

    def missing(name):
        raise verify_machine.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(verify_machine.metadata, "version", missing)
    assert found(tiny_settings, tmp_path / "v")["packages"].code == "verify.packages_missing"


def test_a_checkpoint_that_comes_back_changed_is_found(tmp_path, tiny_settings, monkeypatch):
    from so8t_engine.train import state

    real = state.save_state

    def careless(folder, model, *rest):
        real(folder, model, *rest)
        file = folder / "adapter" / "adapter_model.safetensors"
        tensors = load_file(file)
        name = sorted(tensors)[0]
        tensors[name] = tensors[name].bfloat16().float()  # a loss of digits that no size or header shows
        save_file(tensors, file)

    monkeypatch.setattr(state, "save_state", careless)
    end = found(tiny_settings, tmp_path / "v")["checkpoint"]
    assert (end.outcome, end.code, end.facts["count"]) == ("fail", "verify.checkpoint_differs", "1")
    assert end.facts["first"].startswith("adapter/")


def test_a_disk_that_forgets_what_it_confirmed_is_found(tmp_path, tiny_settings, monkeypatch):
    only(monkeypatch, "kill")
    real = verify_trial._killed

    def forgetful(folder, mode):
        told = real(folder, mode)
        for file in folder.glob("step-*/state.bin"):
            file.write_bytes(file.read_bytes()[:-1])
        return told

    monkeypatch.setattr(verify_trial, "_killed", forgetful)
    end = found(tiny_settings, tmp_path / "v")["kill"]
    assert (end.outcome, end.code) == ("fail", "verify.kill_lost")


@pytest.mark.parametrize("wrong", ["older", "content"])
def test_a_kill_that_leaves_an_older_checkpoint_or_other_bytes_is_a_fail(tiny_settings, tmp_path, monkeypatch, wrong):
    only(monkeypatch, "kill")

    def killed(folder, mode):
        held = b"other" if wrong == "content" else verify_victim.content(3)
        checkpoint.save(folder, 3, lambda target: (target / "state.bin").write_bytes(held), {}, keep=2)
        return 4 if wrong == "older" else 3

    monkeypatch.setattr(verify_trial, "_killed", killed)
    end = found(tiny_settings, tmp_path / "v")["kill"]
    assert (end.outcome, end.code) == ("fail", "verify.kill_lost")


def test_the_child_is_killed_in_the_middle_of_a_file(tmp_path):
    told = verify_trial._killed(tmp_path / "half", "half")
    torn = [path for path in (tmp_path / "half").iterdir() if not (path / runs.MANIFEST).exists()]
    assert told == 1 and len(torn) == 1 and 0 < (torn[0] / "state.bin").stat().st_size < 2**20


def test_a_fault_of_ours_is_that_checks_fail_and_the_rest_goes_on(tmp_path, tiny_settings, monkeypatch):
    def broken(trial):
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        raise RuntimeError("boom <b>\nsecond line")

    def full(trial):
        raise torch.OutOfMemoryError("CUDA out of memory")

    checks = (Check("card", broken), Check("memory", full), Check("kill", verify_trial.kill))
    monkeypatch.setattr(verification, "CHECKS", checks)
    torch.manual_seed(9)
    state = torch.get_rng_state()
    ends = found(tiny_settings, tmp_path / "v")
    assert torch.equal(torch.get_rng_state(), state) and torch.get_default_dtype() == torch.float32
    assert (ends["card"].code, ends["card"].facts["reason"]) == ("verify.unexpected", "RuntimeError: boom <b>")
    assert "Traceback" in ends["card"].details
    assert ends["memory"].code == "verify.out_of_memory" and ends["kill"].outcome == "pass"


def test_a_stop_is_seen_between_two_checks_and_leaves_nothing(tmp_path, tiny_settings):
    cancel, seen = Cancel(), []
    for event in verify(tiny_settings, tmp_path / "v", cancel):
        seen.append(event)
        if isinstance(event, e.CheckFinished) and event.name == "disk":  # its trial files are there by now
            cancel.set()
    assert isinstance(seen[-1], e.CheckFinished) and seen[-1].name == "disk"
    assert not (tmp_path / "v").exists()


def test_the_engine_folds_the_checks_and_a_run_keeps_its_verification(tiny_settings, monkeypatch):
    only(monkeypatch, "dataset", "kill")
    root = tiny_settings.resolve(tiny_settings.runs)
    run = runs.create(root / "one", tiny_settings, "data")
    engine = Engine(root)
    engine.submit(StartVerification(settings=tiny_settings, run="one"))
    assert not engine._worker.settled(), "the chat must not load a model beside it"
    engine.wait(60)
    snapshot = engine.snapshot()
    assert snapshot.state == "finished" and [check.name for check in snapshot.checks] == ["dataset", "kill"]
    assert snapshot.verified.folder == str(run.folder / "verification")
    assert not run.events_file.exists(), "a verification is no part of the run's own story"
    engine.submit(StartVerification(settings=tiny_settings))
    engine.wait(60)
    assert engine.snapshot().verified.folder != snapshot.verified.folder
    assert [known.id for known in engine.runs()] == ["one"], "a verification alone is no run"


def test_exit_codes_and_lines_of_the_command(tmp_path, tiny_settings, capsys, monkeypatch):
    only(monkeypatch, "model", "dataset")
    job = tmp_path / "job.yaml"
    job.write_text(config.to_yaml(tiny_settings), encoding="utf-8")
    assert main(["verify", "--config", str(job)]) == 0
    told = capsys.readouterr()
    assert "pass    model" in told.out and "2 passed; results in" in told.out and not told.err
    assert main(["verify", "--config", str(job), "--base-model", str(tmp_path), "--language", "ja"]) == 1
    told = capsys.readouterr()
    assert "fail    model" in told.err and "config.json" in told.err and "1 passed, 1 failed" in told.out
    assert main(["verify", "--config", str(job), "--set", "train.epochs=-1"]) == 2


FINDINGS = ("passed", "warned", "failed", "EngineError")


def test_every_finding_has_its_sentences_and_the_facts_they_need():
    seen = set()
    for file in (ROOT / "so8t_engine").glob("verify*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (*FINDINGS, "verdict"):
                code = node.args[0].value
                given = {keyword.arg for keyword in node.keywords}
                seen.add(code)
                for part in ("what_en", "hint_en", "what_ja", "hint_ja"):
                    needed = {
                        name for _, name, _, _ in string.Formatter().parse(errors.catalogue()[code][part]) if name
                    }
                    assert None in given or needed <= given, f"{file.name}:{node.lineno}: {code} needs {needed - given}"
    written = {code for code in errors.catalogue() if code.startswith("verify.")}
    assert written - seen == {"verify.skipped", "verify.unexpected", "verify.out_of_memory"}
