"""The house rules: who may import whom (downward only), and what opening a page may load."""

import ast
import subprocess
import sys

import pytest
from made import ROOT, environment

FLOORS = [
    {"errors", "record", "events"},
    {"disk", "settings", "config", "config_edit", "config_faults", "config_text", "event_file", "runs", "hardware", "ollama"},
    {
        "answer", "data", "measure", "checkpoint", "voice", "evaluations", "exports", "audit", "audit_chain", "audit_entries",
        "audit_verdict", "ab_tests", "pipelines",
    },
    {"model"},
    {"train", "chat", "evaluate", "export"},
    {"pipeline", "pipeline_chain", "pipeline_checks", "pipeline_record", "pipeline_stages"},
    {"verify", "verify_estimate", "verify_finding", "verify_inputs", "verify_machine", "verify_trial", "verify_victim"},
    {"chime", "commands", "snapshot", "ledger", "jobs", "engine"},
    {"progress", "progress_pipeline", "__main__", ""},
]
"""From the ground up; "" is the surface, so8t_engine itself."""

STAGES = {"train", "chat", "evaluate", "export"}
"""They don't import each other: they meet in the run folder."""

MODULES = sorted((ROOT / "so8t_engine").rglob("*.py"))
PAGES = sorted((ROOT / "dashboard").rglob("*.py"))


def noun(module: str) -> str:
    """so8t_engine.model.load -> model; so8t_engine -> ""."""
    return [*module.split("."), ""][1]


def name_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file):
    """Every module that the file imports, inside functions too, with `from package import module` resolved."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            for alias in node.names:
                inner = ROOT / node.module.replace(".", "/") / alias.name
                yield f"{node.module}.{alias.name}" if inner.with_suffix(".py").exists() or inner.is_dir() else node.module


def floor(module):
    return next(i for i, nouns in enumerate(FLOORS) if noun(module) in nouns)


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_engine_imports_downward_only(file):
    mine = name_of(file)
    for other in imports(file):
        if not other.startswith("so8t_engine"):
            assert other.split(".")[0] not in ("gradio", "dashboard", "plotly"), f"{mine} imports {other}"
            continue
        assert floor(other) <= floor(mine), f"{mine} imports {other}, which stands above it"
        if noun(other) in STAGES and noun(mine) in STAGES:
            assert noun(other) == noun(mine), f"the stage {mine} imports the stage {other}"


@pytest.mark.parametrize("file", [f for f in MODULES if noun(name_of(f)) == "measure"], ids=name_of)
def test_measure_is_pure_numbers(file):
    assert not [name for name in imports(file) if name.split(".")[0] in ("torch", "transformers", "peft")]


@pytest.mark.parametrize("file", PAGES, ids=name_of)
def test_dashboard_sees_the_surface_alone(file):
    allowed = {"so8t_engine", *(f"so8t_engine.{name}" for name in ("commands", "config", "errors", "events"))}
    for other in imports(file):
        if other.startswith("so8t_engine"):
            assert other in allowed, f"{name_of(file)} imports {other}"
        assert other.split(".")[0] not in ("torch", "transformers", "peft", "accelerate", "bitsandbytes")


def test_every_module_says_what_it_is():
    for file in [*MODULES, *PAGES]:
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), f"{file} has no docstring"


HEAVY = "import sys, so8t_engine; so8t_engine.Engine().snapshot(); heavy = [m for m in ('torch', 'transformers', 'peft', 'accelerate', 'bitsandbytes', 'sklearn') if m in sys.modules]; assert not heavy, heavy"


def test_nothing_heavy_is_loaded_before_the_first_command():
    """That the page loads nothing heavy either is seen in tests/dashboard/test_frame.py."""
    subprocess.run([sys.executable, "-c", HEAVY], check=True, env=environment(), cwd=ROOT)


def test_no_pickle_and_no_remote_code():
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, file
            if isinstance(node, ast.Attribute) and node.attr == "load" and getattr(node.value, "id", "") in ("torch", "pickle"):
                pytest.fail(f"{file} loads a pickle")


def test_every_open_names_its_encoding():
    for file in [*MODULES, *PAGES, ROOT / "launch.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            text_mode = name in ("read_text", "write_text") or (name == "open" and isinstance(node.func, ast.Name))
            assert not text_mode or any(k.arg == "encoding" for k in node.keywords), f"{file}:{node.lineno}"
