"""llama.cpp in a process of its own: `python -m so8t_engine.export.llama_process`. Loads neither torch nor a model of ours.

Reads one JSON object a line and answers each with one line. The first: {"file", "context", "threads"}, answered with
{"version"} once the file is loaded. Then trials, see `tried`. The end of the input ends the process.
"""

import base64
import json
import os
import sys
from array import array
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

FLOOR = -87.0
"""Nats: llama.cpp tells probabilities as float32, whose smallest has this logarithm; less, and what is no number, is this."""

FORCE = 1e4
"""Added to the logit of a token that must be chosen. What is told of it is its probability before that."""


class Llama:
    """A GGUF file in llama.cpp, on the CPU; `threads` 0 leaves their number to it."""

    def __init__(self, file: str, context: int, threads: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = file
        params.n_ctx, params.n_parallel, params.n_gpu_layers = context, 1, 0
        params.port, params.verbosity, params.warmup = 0, 0, False
        if threads:
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self._server = xllamacpp.Server(params)

    def chances(self, ids: Sequence[int], words: int) -> array:
        """Log-probability of each of the `words` tokens after `ids`, float32."""
        (place,) = self._ask(ids, n_predict=1, n_probs=words)
        found = array("f", [FLOOR]) * words
        for entry in place["top_logprobs"]:
            found[entry["id"]] = _bounded(entry["logprob"])
        return found

    def chance(self, ids: Sequence[int], token: int) -> float:
        """Log-probability of one token after `ids`."""
        (place,) = self._ask(ids, n_predict=1, n_probs=1, logit_bias=[[token, FORCE]])
        if place["id"] != token:
            raise RuntimeError("llama.cpp has chosen another token")
        return _bounded(place["logprob"])

    def written(self, ids: Sequence[int], count: int) -> list[int]:
        """The likeliest answer to `ids`, at most `count` tokens of it; may hold the token that ends it."""
        return [place["id"] for place in self._ask(ids, n_predict=count, n_probs=1)]

    def _ask(self, ids: Sequence[int], **wishes: Any) -> list[dict]:
        answer = self._server.handle_completions({"prompt": list(ids), "temperature": 0, "cache_prompt": True} | wishes)
        return answer["choices"][0]["logprobs"]["content"]


def tried(llama: Llama, trial: dict) -> dict:
    """What the file does with one prompt.

    trial: {"prompt", "prefix", "suffixes", "answer"}: ids; "words": size of the vocabulary; "tokens": how many to write.
    Gives {"scores": log-likelihood of each of `suffixes` behind prompt and prefix, "chances": float32 log-probability of
    every token there, in base64, "written": ids, "loss": of `answer` behind the prompt, in nats}.
    """
    stem = [*trial["prompt"], *trial["prefix"]]
    chances = llama.chances(stem, trial["words"])
    known: dict[tuple[int, ...], float] = {}
    scores = []
    for suffix in trial["suffixes"]:
        total = chances[suffix[0]]
        for place in range(1, len(suffix)):
            path = tuple(suffix[: place + 1])
            if path not in known:
                known[path] = llama.chance([*stem, *suffix[:place]], suffix[place])
            total += known[path]
        scores.append(total)
    answer, prompt = trial["answer"], trial["prompt"]
    loss = -sum(llama.chance([*prompt, *answer[:place]], token) for place, token in enumerate(answer))
    written = llama.written(prompt, trial["tokens"])
    packed = base64.b64encode(chances.tobytes()).decode("ascii")
    return {"scores": scores, "chances": packed, "written": written, "loss": loss}


def main() -> None:
    """Answer until the input ends. What llama.cpp prints by itself is thrown away: it may quote a model's text."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    wish = json.loads(sys.stdin.readline())
    llama = Llama(**wish)
    told: dict = {"version": version("xllamacpp")}
    while True:
        answers.write(json.dumps(told) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # llama.cpp's own threads need not be waited for
        told = tried(llama, json.loads(line))


def _bounded(chance: float) -> float:
    return chance if FLOOR < chance <= 0.01 else 0.0 if chance > 0.01 else FLOOR


if __name__ == "__main__":
    main()
