"""Exports on disk: how they are listed and shown, what is asked of the engine, and that only their folders are opened."""

import json
import socket
import subprocess
from html import escape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from test_cards import NASTY, Tags

from dashboard import export_wishes
from dashboard.app import create_app
from dashboard.draft import Draft
from dashboard.export_results import shown
from so8t_engine import BadInput, Engine, config

ID = "20261122-220000-abc123"
SURE = {"value": 1.0, "low": 0.96, "high": 1.0}


def make_export(root: Path, id: str = ID, name: str = "demo", push: bool = False, passed: bool = True) -> Path:
    """An export of a made-up run, as the engine leaves it."""
    folder = root / "demo" / "export" / id
    folder.mkdir(parents=True)
    rows = [
        {"line": 7, "id": "", "prompt": NASTY, "language": "ja", "model": "REFUSE", "file": "REFUSE" if passed else "ALLOW",
         "probabilities": {}, "kl": 0.31, "same_tokens": 3},
        {"line": 9, "id": "", "prompt": "not-drifted", "language": "en", "model": "DENY", "file": "DENY", "probabilities": {},
         "kl": 0.01, "same_tokens": 16},
    ]  # fmt: skip
    file = {
        "file": "demo-q8_0.gguf", "quantization": "q8_0", "sha256": "cd" * 32, "seconds": 1.0, "passed": passed,
        "drifted": 0 if passed else 1, "agreement": SURE, "kl": SURE | {"value": 0.0}, "greedy": SURE | {"tokens": 16},
        "perplexity": {"model": 2.0, "file": 2.0, "difference": {"value": 0.0, "low": -1e-7, "high": 1e-7}, "rows": 2, "tokens": 9},
        "rows": rows,
    }  # fmt: skip
    fidelity = {
        "version": 1,
        "prompts": {"rows": 2},
        "thresholds": {"q8_0": {"agreement": 0.97, "kl": 0.05}},
        "files": [file],
    }
    pushed = {"name": "m:q8", "file": "x", "version": "0.12.6", "label": "DENY", "thinking": "field", "seconds": 1.0}
    results = {
        "version": 1, "id": id, "created": "2026-11-22T22:00:00+0000", "seconds": 21.0,
        "model": {"key": "run:demo", "name": name, "base": "b", "adapter": "a", "run": "demo"}, "facts": {},
        "files": [{"file": "demo-q8_0.gguf", "quantization": "q8_0", "bytes": 4 * 2**20, "sha256": "cd" * 32}],
        "modelfile": "Modelfile", "gate": {"outcome": "passed" if passed else "failed", "code": ""},
        "push": pushed if push else None,
    }  # fmt: skip
    (folder / "fidelity.json").write_text(json.dumps(fidelity), encoding="utf-8")
    (folder / "export_results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


@pytest.fixture
def asked(bridge, monkeypatch) -> list:
    """Every command that reached the engine."""
    commands = []
    monkeypatch.setattr(bridge.engine, "submit", commands.append)
    return commands


@pytest.fixture
def client(bridge):
    with TestClient(create_app(bridge.engine, bridge.draft), base_url="http://127.0.0.1") as client:
        yield client


FORM = {"model": "original", "f16": True, "q8_0": True, "bf16": False, "name": " m:q8 ", "gate": True, "consent": True}


def test_the_form_becomes_the_command(bridge, asked):
    export_wishes.start(bridge, FORM)
    export_wishes.start(bridge, FORM | {"f16": False, "name": "", "gate": False, "consent": "yes"})
    first, second = asked
    assert (first.model, first.quantizations, first.name, first.gate, first.consent) == (
        "original", ("f16", "q8_0"), "m:q8", True, True,
    )  # fmt: skip
    assert (second.quantizations, second.name, second.gate, second.consent) == (("q8_0",), "", False, False)
    assert first.output == "" and Path(first.settings.runs) == bridge.engine.runs_folder


@pytest.mark.parametrize(
    ("change", "code"),
    [({"model": "run:../../etc"}, "voice.unknown"), ({"model": None}, "voice.unknown"),
     ({"f16": False, "q8_0": "yes"}, "export.no_kind")],
)  # fmt: skip
def test_what_can_not_be_meant_is_refused_before_anything_begins(bridge, asked, change, code):
    with pytest.raises(BadInput) as refused:
        export_wishes.start(bridge, FORM | change)
    assert refused.value.code == code and asked == []


def test_a_finished_export_is_pushed_from_its_own_folder(bridge, asked):
    folder = make_export(bridge.engine.runs_folder)
    export_wishes.push(bridge, ID, FORM)
    assert (asked[0].output, asked[0].model, asked[0].quantizations) == (str(folder), "run:demo", ("q8_0",))
    assert (asked[0].name, asked[0].consent) == ("m:q8", True)
    for wanted, form, code in ((ID, FORM | {"name": " "}, "export.no_name"), ("../x", FORM, "export.unknown")):
        with pytest.raises(BadInput) as refused:
            export_wishes.push(bridge, wanted, form)
        assert refused.value.code == code
    assert len(asked) == 1


@pytest.mark.parametrize(("system", "opener"), [("linux", "xdg-open"), ("darwin", "open")])
def test_only_the_folder_of_an_export_is_opened(bridge, monkeypatch, system, opener):
    started = []
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    folder = make_export(bridge.engine.runs_folder)
    export_wishes.open_folder(bridge, ID)
    assert started == [[opener, str(folder)]]
    for wanted in ("", "..", str(folder), ID + "/.."):
        with pytest.raises(BadInput):
            export_wishes.open_folder(bridge, wanted)
    assert len(started) == 1


def test_a_machine_without_file_manager_says_so(bridge, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PATH", "/nowhere")
    make_export(bridge.engine.runs_folder)
    with pytest.raises(BadInput) as refused:
        export_wishes.open_folder(bridge, ID)
    assert refused.value.code == "export.no_file_manager"


def test_an_export_shows_its_files_their_hashes_and_the_commands(page, bridge):
    folder = make_export(bridge.engine.runs_folder, name=NASTY, push=True)
    html = shown(bridge.engine.exports()[0], page)
    assert "img" not in Tags(html).seen
    assert f'data-copy="{"cd" * 32}"' in html and "4.0 MiB" in html and f'data-copy="{folder}"' in html
    assert 'data-copy="ollama run m:q8"' in html and "ollama create m:q8 -f" in html and 'data-do="push"' not in html
    assert page.t("export.gate.all_passed") in html and "0.00 %" in html and "-0.00" not in html


def test_what_drifted_is_shown_with_both_decisions_and_can_not_be_pushed(page, bridge):
    make_export(bridge.engine.runs_folder, passed=False)
    html = shown(bridge.engine.exports()[0], page)
    assert "img" not in Tags(html).seen and "&lt;img" in html and "not-drifted" not in html
    assert "[96.0 %, 100.0 %]" in html and page.t("export.gate.least", share="97.0 %") in html
    assert escape(page.t("export.gate.some_failed")) in html
    assert page.t("export.gate.lines", lines=7) in html and page.t("export.gate.drifted", kind="Q8_0", count=1) in html
    assert html.index('title="REFUSE"') < html.index('title="ALLOW"')
    assert 'data-do="push"' not in html


def test_a_comparison_that_was_left_out_later_is_not_shown_as_if_it_held(page, bridge):
    folder = make_export(bridge.engine.runs_folder)
    results = json.loads((folder / "export_results.json").read_text(encoding="utf-8"))
    results["gate"] = {"outcome": "not measured", "code": "export.gate_off"}
    (folder / "export_results.json").write_text(json.dumps(results), encoding="utf-8")
    html = shown(bridge.engine.exports()[0], page)
    assert "so-gate-verdict" not in html and 'data-do="push"' in html


def test_the_routes_list_exports_newest_first_and_pass_over_what_is_broken(client, bridge):
    root = bridge.engine.runs_folder
    make_export(root)
    make_export(root, "20261123-080000-fff000", push=True)
    broken = make_export(root, "20261124-080000-bad000")
    (broken / "export_results.json").write_text('{"version": 1, "half', encoding="utf-8")
    edited = make_export(root, "20261125-080000-bad111")
    (edited / "export_results.json").write_text('{"version": 1}', encoding="utf-8")
    found = client.get("/exports?language=en").json()
    assert found["keys"] == ["20261123-080000-fff000", ID]
    assert 'value="original"' in found["models"] and found["sizes"]["original"]["q8_0"].startswith("about")
    one = client.get(f"/exports/{ID}?language=en")
    assert (
        one.status_code == 200 and "demo-q8_0.gguf" in one.text and "sandbox" in one.headers["content-security-policy"]
    )
    for wanted in ("nobody", "..%2f..", "20261124-080000-bad000"):
        assert client.get(f"/exports/{wanted}").status_code == 404


def test_ollama_is_asked_when_a_page_wants_to_know_and_its_silence_is_no_error(bridge, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    draft = Draft(config.CONFIGS / "demo.yaml")
    draft.edit(config.changed(draft.text, "ollama.address", address))
    with TestClient(create_app(Engine(tmp_path / "runs"), draft), base_url="http://127.0.0.1") as client:
        found = client.get("/exports/ollama?language=en").json()
    assert "does not answer" in found["html"] and "data-ask-ollama" in found["html"] and found["thinking"]
