"""Without an adapter our files are those of llama.cpp's own converter, to the last byte."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from gguf import GGUFReader
from gguf_bases import export, make_base
from made import DEMO_MODEL

from so8t_engine.export import tensors

CARD = """---
license: mit
language: [ja, en]
tags: [safety]
base_model: microsoft/Phi-3.5-mini-instruct
datasets: [zapabob/four-class]
---
# A model
"""
KINDS = ("f16", "q8_0", "bf16")
NAMES = {"sharded": "", "plain": "plain Phi-3", "demo": "The demo Phi-3"}
"""Names that are given; the first one is found in the folder's name."""

DRIVE = """
import json, runpy, sys
for base, kind, file, name in json.loads(sys.stdin.read()):
    sys.argv = ["convert", base, "--outtype", kind, "--outfile", file, "--model-name", name]
    runpy.run_path("convert_hf_to_gguf.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def bases(base, tmp_path_factory):
    """Three models that differ in all that the converter looks at."""
    sharded = tmp_path_factory.mktemp("card") / base.name
    shutil.copytree(base, sharded)
    (sharded / "README.md").write_text(CARD, encoding="utf-8")
    (sharded / "generation_config.json").write_text(json.dumps({"temperature": 0.5, "top_k": 3}), encoding="utf-8")
    plain = {"rope_scaling": None, "sliding_window": None, "tie_word_embeddings": True, "num_key_value_heads": 4}
    return {
        "sharded": sharded,
        "plain": make_base(tmp_path_factory.mktemp("bases") / "plain", "float32", **plain),
        "demo": DEMO_MODEL,
    }


@pytest.fixture(scope="module")
def theirs(bases, converter, tmp_path_factory):
    """(model, kind) -> the converter's file."""
    folder = tmp_path_factory.mktemp("theirs")
    files = {(model, kind): folder / f"{model}-{kind}.gguf" for model in bases for kind in KINDS}
    names = NAMES | {"sharded": "Borea Phi-3.5 Tiny Instruct Jp"}
    wanted = [(str(bases[model]), kind, str(file), names[model]) for (model, kind), file in files.items()]
    environment = {**os.environ, "PYTHONPATH": str(converter)}
    answer = subprocess.run([sys.executable, "-c", DRIVE], cwd=converter, env=environment, input=json.dumps(wanted),
                            capture_output=True, text=True, encoding="utf-8")  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return files


def fields(reader):
    return {name: field.contents() for name, field in reader.fields.items()}


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("piece", [tensors.PIECE, 1024], ids=["whole", "in_pieces"])
def test_every_byte_is_the_converters(theirs, bases, model, piece, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE", piece)
    told = export(bases[model], None, tmp_path, *KINDS, name=NAMES[model])
    for kind in KINDS:
        ours, reference = GGUFReader(tmp_path / f"model-{kind}.gguf"), GGUFReader(theirs[model, kind])
        assert fields(ours) == fields(reference)
        found = [(tensor.name, tensor.tensor_type, tensor.data.tobytes()) for tensor in ours.tensors]
        expected = [(tensor.name, tensor.tensor_type, tensor.data.tobytes()) for tensor in reference.tensors]
        assert [entry[:2] for entry in found] == [entry[:2] for entry in expected]
        assert [a[0] for a, b in zip(found, expected, strict=True) if a[2] != b[2]] == []
        same = (tmp_path / f"model-{kind}.gguf").read_bytes() == theirs[model, kind].read_bytes()
        assert same
        assert told[kind].tensors == len(expected) and told[kind].bytes == theirs[model, kind].stat().st_size
