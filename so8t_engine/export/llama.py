"""The process in which llama.cpp reads a GGUF file: if its native code crashes, only the comparison ends, and its memory
comes back."""

import base64
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from so8t_engine.errors import EngineError
from so8t_engine.export.reference import ANSWER_TOKENS, Trial, before_end
from so8t_engine.model.score import Branches
from so8t_engine.settings import ROOT

SMALL = 2**28
"""Bytes of a file under which one CPU thread is faster than several."""


def installed() -> bool:
    """Whether llama.cpp is here (the package xllamacpp)."""
    return find_spec("xllamacpp") is not None


class Llama:
    """A GGUF file in a llama.cpp of its own; ended by `close` or by leaving a with statement.

    Attributes:
        version: of xllamacpp.

    Raises EngineError "export.runner_died" when the process ends unasked: it can't read the file, has too little memory,
    or has crashed.
    """

    def __init__(self, file: Path, context: int, branches: Branches, ends: tuple[int, ...]) -> None:
        self._file, self._branches, self._ends = file, branches, ends
        self._child = subprocess.Popen(
            [sys.executable, "-m", "so8t_engine.export.llama_process"], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        threads = 1 if file.stat().st_size < SMALL else 0
        self._wish = {"file": str(file), "context": context, "threads": threads}
        self.version = ""

    def __enter__(self) -> "Llama":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> None:
        """Have the file loaded; returns when it is."""
        self.version = self._answer(self._wish)["version"]

    def tried(self, trial: Trial) -> Trial:
        """What the file does with the prompt of `trial`."""
        found = self._answer({
            "prompt": trial.prompt, "prefix": self._branches.prefix, "suffixes": self._branches.suffixes,
            "answer": trial.answer, "words": len(trial.chances), "tokens": ANSWER_TOKENS,
        })  # fmt: skip
        chances = np.frombuffer(base64.b64decode(found["chances"]), np.float32)
        written = before_end(found["written"], self._ends)
        return Trial(
            trial.sample, trial.prompt, trial.answer, tuple(found["scores"]), chances, written, found["loss"]
        )  # fmt: skip

    def kill(self) -> None:
        """End the process at once, from any thread."""
        self._child.kill()

    def close(self) -> None:
        """End the process and wait for its end."""
        self._child.kill()
        self._child.communicate()

    def _answer(self, wish: dict) -> dict:
        try:
            self._child.stdin.write(json.dumps(wish) + "\n")
            self._child.stdin.flush()
            return json.loads(self._child.stdout.readline())
        except (OSError, ValueError):
            self._child.kill()
            raise EngineError("export.runner_died", where=str(self._file), status=self._child.wait()) from None
