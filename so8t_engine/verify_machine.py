"""Checks of the machine: packages, torch, the card, bitsandbytes, free memory and free disk."""

import platform
import shutil
import sys
import tomllib
from importlib import metadata

import pynvml

from so8t_engine import hardware
from so8t_engine.settings import ROOT
from so8t_engine.verify_finding import Finding, Trial, failed, passed, size, warned

WORST_8BIT, WORST_4BIT = 0.05, 0.25
"""Largest relative error (Frobenius) of a quantized product against float that is still quantization and no fault:
about 0.01 in 8 bits and 0.1 in 4 on random weights."""


def packages(trial: Trial) -> Finding:
    """Python and every package that pyproject.toml pins."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = platform.python_version()
    if not SpecifierSet(project["requires-python"]).contains(python, prereleases=True):
        return failed("verify.python_wrong", where=sys.executable, found=python, wanted=project["requires-python"])
    missing, other, count = [], [], 0
    for pin in map(Requirement, project["dependencies"]):
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        count += 1
        try:
            found = metadata.version(pin.name)
        except metadata.PackageNotFoundError:
            missing.append(f"{pin.name}{pin.specifier}")
            continue
        if not pin.specifier.contains(found, prereleases=True):
            other.append(f"{pin.name} {found} ({pin.specifier})")
    if missing:
        return failed("verify.packages_missing", names=", ".join(missing))
    if other:
        return warned("verify.packages_differ", names=", ".join(other))
    return passed("verify.packages_good", python=python, count=count)


def torch_build(trial: Trial) -> Finding:
    """torch can be imported and is the build for this machine."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a DLL that is missing is an OSError on Windows
        return failed("verify.torch_broken", reason=_line(error))
    card = hardware.sample().gpu_name
    if torch.version.cuda is None and card:
        return warned("verify.torch_cpu_build", version=torch.__version__, card=card)
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    return passed("verify.torch_good", version=torch.__version__, build=build, threads=torch.get_num_threads())


def card(trial: Trial) -> Finding:
    """The card multiplies; without one the CPU does, which is no fault."""
    import torch

    name = hardware.sample().gpu_name
    if not torch.cuda.is_available():
        return warned("verify.card_unused", card=name, driver=_driver()) if name else passed("verify.card_none")
    device = torch.device("cuda", torch.cuda.current_device())
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    draw = torch.Generator().manual_seed(0)
    one, two = (torch.randn(256, 256, generator=draw) for _ in range(2))
    error = _relative((one.to(device, dtype) @ two.to(device, dtype)).float().cpu(), one @ two)
    facts = {"card": torch.cuda.get_device_name(device), "driver": _driver(), "error": f"{error:.1e}"}
    if not error < WORST_8BIT:
        return failed("verify.card_wrong", **facts)
    return passed("verify.card_good", cuda=torch.version.cuda, memory=size(torch.cuda.mem_get_info()[1]), **facts)


def bitsandbytes(trial: Trial) -> Finding:
    """An 8-bit and a 4-bit product, made by the kernels that training would use, compared with float."""
    train, model = trial.settings.train, trial.settings.model
    needed = model.quantization != "none" or train.optimizer != "adamw"
    verdict = failed if needed else warned
    try:
        eight, four = _quantized_errors()
    except Exception as error:  # whatever a library without its kernels throws
        return verdict("verify.bitsandbytes_broken", reason=_line(error))
    facts = {"eight": f"{100 * eight:.1f} %", "four": f"{100 * four:.1f} %"}
    if not (eight < WORST_8BIT and four < WORST_4BIT):
        return verdict("verify.bitsandbytes_wrong", **facts)
    return passed("verify.bitsandbytes_good", version=metadata.version("bitsandbytes"), **facts)


def memory(trial: Trial) -> Finding:
    """Free memory against the estimate; what does not fit at all is not loaded."""
    from so8t_engine import verify_estimate
    from so8t_engine.model.load import memory_free

    need, free = verify_estimate.memory(trial.base, trial.settings), memory_free()
    parts = {name: size(getattr(need, name)) for name in ("base", "adapter", "optimizer", "activations")}
    facts = {"free": size(free), "needed": size(need.total), **parts}
    if need.base > free:
        return failed("verify.memory_short", **facts)
    return warned("verify.memory_tight", **facts) if need.total > free else passed("verify.memory_good", **facts)


def disk(trial: Trial) -> Finding:
    """Free disk where runs lie, against the checkpoints that will be kept."""
    from so8t_engine.verify_estimate import checkpoint_bytes

    one, adapter = checkpoint_bytes(trial.base, trial.settings)
    folder, keep = trial.scratch(), trial.settings.checkpoint.keep
    free = shutil.disk_usage(folder).free
    models = 4 * adapter  # best_model keeps two and writes a third; final_model
    needed = (keep + 1) * one + models  # the oldest is deleted once the newest is whole
    facts = {"free": size(free), "needed": size(needed), "keep": keep, "one": size(one)}
    if free < 3 * one + models:  # the last two good ones are never deleted
        return failed("verify.disk_short", where=str(folder.parent), **facts)
    if free < needed:
        return warned("verify.disk_tight", where=str(folder.parent), **facts)
    return passed("verify.disk_good", **facts)


def _quantized_errors() -> tuple[float, float]:
    """Relative errors of an 8-bit and a 4-bit layer on the device of a training."""
    import torch

    from so8t_engine.model.load import pick_device  # first: it keeps bitsandbytes from talking to a person's console

    from bitsandbytes.nn import Linear4bit, Linear8bitLt  # isort: skip

    device = pick_device()
    draw = torch.Generator().manual_seed(0)
    weight, x = torch.randn(128, 256, generator=draw), torch.randn(16, 256, generator=draw)
    wanted = x @ weight.T
    layers = (
        Linear8bitLt(256, 128, bias=False, has_fp16_weights=False),
        Linear4bit(256, 128, bias=False, quant_type="nf4", compute_dtype=torch.float32),
    )
    errors = []
    with torch.no_grad():
        for layer in layers:
            layer.load_state_dict({"weight": weight.half()})
            layer = layer.to(device)  # here the weight is quantized
            errors.append(_relative(layer(x.to(device, torch.float16)).float().cpu(), wanted))
    return errors[0], errors[1]


def _relative(found, wanted) -> float:
    """|found - wanted| / |wanted| of two tensors (Frobenius norm)."""
    return ((found - wanted).norm() / wanted.norm()).item()


def _driver() -> str:
    """Version of the NVIDIA driver, "?" where none tells it."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return "?"


def _line(error: BaseException) -> str:
    """The first line of an error's text, of a length that a page can show."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
