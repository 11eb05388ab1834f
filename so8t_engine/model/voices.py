"""One base model in memory and the adapters that speak through it, each row of a batch with weights of its own choice."""

import hashlib
import threading
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from so8t_engine.data.pieces import end_ids
from so8t_engine.data.template import Template
from so8t_engine.errors import EngineError, ModelError
from so8t_engine.model.cache import empty
from so8t_engine.model.folder import check_folder, weight_files
from so8t_engine.model.load import context, load_model, load_tokenizer, pick_device
from so8t_engine.model.so8t import SO8TLinear, load_adapter
from so8t_engine.settings import ModelSettings

BASE = ""
"""The voice of the base model."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Both make the weights: the config holds the scale."""

SMALL = 50_000_000
"""Parameters under which a model is small."""

KEPT_ADAPTERS = 4
"""Adapters held in memory; the one that was asked for least recently goes first."""


class Voices:
    """The base model of a folder with up to four adapters. One thread owns it.

    Attributes:
        template: builds prompts for this model.
        ends: ids of the tokens that end an answer.
        small: whether an operation takes so little time that one CPU thread is faster than several.
        context: tokens that prompt and answer may have together, see `load.context`.

    Raises ModelError for an unusable folder.
    """

    def __init__(self, folder: Path, settings: ModelSettings) -> None:
        check_folder(folder)
        self.folder, self.settings = folder, settings
        self.device = pick_device()
        hashing = _Hashing(folder)
        tokenizer = load_tokenizer(folder)
        self.template = Template(tokenizer)
        self._model: nn.Module = load_model(folder, settings, self.device).eval()
        self.context = context(folder)
        self.ends = end_ids(tokenizer, _listed(self._model.generation_config.eos_token_id))
        self.small = sum(weight.numel() for weight in self._model.parameters()) < SMALL
        self._hashes = {BASE: hashing.result()}
        self._names: dict[tuple[Path, tuple[tuple[int, int], ...]], str] = {}
        self._adapted: list[SO8TLinear] = []
        self._settle(BASE)

    def known(self, adapter: Path | None) -> str | None:
        """The voice of the adapter in this folder if it is in memory as it lies there now; None is the base model's."""
        if adapter is None:
            return BASE
        key = (adapter, _stamps(adapter))
        name = self._names.pop(key, None)
        if name is not None:
            self._names[key] = name  # last in the order: the one asked for most recently
        return name

    def learn(self, adapter: Path) -> str:
        """Load the adapter in this folder and give back its voice. Raises ModelError as `load_adapter` does."""
        stamps = _stamps(adapter)
        files = " ".join(_sha256(adapter / name) for name in ADAPTER_FILES)
        name = f"voice_{len(self._hashes)}"
        self._model = load_adapter(self._model, adapter, name=name)
        self._hashes[name] = hashlib.sha256(f"{self._hashes[BASE]} {files}".encode()).hexdigest()
        self._adapted = [layer for layer in self._model.modules() if isinstance(layer, SO8TLinear)]
        for layer in self._adapted:
            layer.prepare(name)
        while len(self._names) >= KEPT_ADAPTERS:
            self._model.delete_adapter(self._names.pop(next(iter(self._names))))
        self._settle(name)
        self._names[adapter, stamps] = name
        return name

    def weights(self, voice: str) -> str:
        """SHA-256 that names the weights of a voice.

        The base model's is taken over its weight files, config and tokenizer; an adapted one's over that and the adapter's two files.
        Raises EngineError "chat.weights_changed" when the weights in memory are no longer those that were hashed.
        """
        if self._marks != self._marked():
            raise EngineError("chat.weights_changed", where=str(self.folder))
        return self._hashes[voice]

    def forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache, voices: Sequence[str], places: int = 1
    ) -> Tensor:
        """Logits (rows, places, vocabulary) of the last places, float32.

        Args:
            ids, positions: (rows, new) token ids and their positions.
            mask: (rows, held + new), 0 for places that a row does not use; None when every row uses all. Or bool
                (rows, 1, new, held + new): which new place sees which.
            cache: keys and values of what came before; grows by `new`.
            voices: for each row the voice that speaks.

        Raises EngineError "chat.wrong_weights" when a layer did not give every row the weights it was to have.
        """
        rows, start = [], 0
        for voice, group in groupby(voices):
            stop = start + len(list(group))
            if voice != BASE:
                rows.append((voice, start, stop))
            start = stop
        wanted = tuple(rows)
        for layer in self._adapted:
            layer.rows, layer.spoke = wanted, None
        logits = self._base()(
            input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True,
            logits_to_keep=places,
        ).logits  # fmt: skip
        if any(layer.spoke != wanted for layer in self._adapted):
            raise EngineError("chat.wrong_weights", where=str(self.folder))
        return logits.float()

    def _base(self) -> nn.Module:
        return self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model

    def _settle(self, voice: str) -> None:
        """Run a voice once, as quantized layers arrange their weights on first use, and mark what is in memory."""
        with torch.inference_mode():
            ids = torch.zeros(1, 1, dtype=torch.long, device=self.device)
            self.forward(ids, ids, None, empty(), [voice])
        self._marks = self._marked()

    def _marked(self) -> list[tuple[int, int]]:
        """Where each weight lies and how often it was written to."""
        return [(weight.data_ptr(), weight._version) for weight in self._model.parameters()]


class _Hashing(threading.Thread):
    """Hashes the files of a base model while they are being loaded."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="hashing", daemon=True)
        self._folder, self._digest, self._error = folder, "", None
        self.start()

    def run(self) -> None:
        try:
            names = [*weight_files(self._folder), self._folder / "config.json", self._folder / "tokenizer.json"]
            whole = hashlib.sha256()
            for file in names:
                whole.update(f"{file.name} {_sha256(file)}\n".encode())
            self._digest = whole.hexdigest()
        except (OSError, EngineError) as error:
            self._error = error

    def result(self) -> str:
        self.join()
        if self._error:
            raise ModelError("model.unreadable", where=str(self._folder), reason=self._error)
        return self._digest


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError("model.unreadable", where=str(file), reason=error.strerror) from None


def _stamps(adapter: Path) -> tuple[tuple[int, int], ...]:
    """Size and time of the last change of each file: equal stamps mean the same files."""
    try:
        found = [(adapter / name).stat() for name in ADAPTER_FILES]
    except OSError as error:
        raise ModelError("model.unreadable", where=str(adapter), reason=error.strerror) from None
    return tuple((one.st_size, one.st_mtime_ns) for one in found)


def _listed(ids: int | Sequence[int] | None) -> Sequence[int]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else ids
