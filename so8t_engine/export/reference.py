"""What the model itself does with each prompt: the measure that its files are held to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from so8t_engine.data.samples import Sample
from so8t_engine.model.cache import empty
from so8t_engine.model.generate import Decoder, Row
from so8t_engine.model.load import compute_dtype
from so8t_engine.model.memory import give_back
from so8t_engine.model.score import Branches, score
from so8t_engine.model.voices import Voices
from so8t_engine.settings import ChatSettings
from so8t_engine.voice import Voice

ANSWER_TOKENS = 32
"""So many tokens of an answer are written, and read, for the comparison."""

SIDE_BY_SIDE = 16
"""Answers that are written at once."""


@dataclass(frozen=True)
class Trial:
    """One prompt and what the model did with it. It holds thinking as token ids: it stays in this process and its child.

    prompt: ids up to where the assistant begins to speak. answer: the first ids of the row's own answer, () for none.
    scores: log-likelihood of the four classes. chances: log-probability of every token where the class begins,
    float32 (vocabulary,). written: the first ids of what the model says itself, without the token that ends it.
    loss: of `answer`, the sum over its tokens in nats.
    """

    sample: Sample
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    scores: tuple[float, ...]
    chances: np.ndarray
    written: tuple[int, ...]
    loss: float


class Reference:
    """A model of ours at work; loads it.

    Attributes:
        branches: the tokens that tell the classes apart. ends: ids of the tokens that end an answer.
        held: how the weights are held: quantization, dtype, device. too_long: prompts that left no room to answer.
    """

    def __init__(self, voice: Voice) -> None:
        self._voices: Voices | None = Voices(voice.base, voice.model)
        self._name = self._voices.learn(voice.adapter) if voice.adapter else ""
        self._system = voice.system
        self.branches, self.ends, self.too_long = Branches.of(self._voices.template), tuple(self._voices.ends), 0
        device = self._voices.device
        self.held = {
            "model": voice.name, "quantization": voice.model.quantization,
            "dtype": str(compute_dtype(voice.model.dtype, device)).removeprefix("torch."),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        }  # fmt: skip

    def trials(self, samples: Sequence[Sample], cancel) -> Iterator[Trial]:
        """What the model does with each of `samples`, in their order; ends early once `cancel` is set."""
        room = self._voices.context - ANSWER_TOKENS - len(self.branches.prefix) - max(map(len, self.branches.suffixes))
        template = self._voices.template
        asked = [(row, template.prompt_ids(row.prompt, system=row.system or self._system)) for row in samples]
        fitting = [(row, ids) for row, ids in asked if len(ids) <= room]
        self.too_long = len(asked) - len(fitting)
        for start in range(0, len(fitting), SIDE_BY_SIDE):
            if cancel.is_set():
                return
            part = fitting[start : start + SIDE_BY_SIDE]
            scores = dict(score(self._voices, self._name, [ids for _, ids in part]))
            written = self._written([ids for _, ids in part])
            for index, (row, ids) in enumerate(part):
                answer = template.text_ids(row.output)[:ANSWER_TOKENS] if row.output else []
                chances = self._read([*ids, *self.branches.prefix], 1)[0]
                yield Trial(
                    row, tuple(ids), tuple(answer), tuple(scores[index]), chances.cpu().numpy(), written[index],
                    self._loss(ids, answer),
                )  # fmt: skip

    def close(self) -> None:
        """Free the model."""
        self._voices = None
        give_back()

    @torch.inference_mode()
    def _read(self, ids: Sequence[int], places: int) -> torch.Tensor:
        """Log-probabilities (places, vocabulary) of what follows the last `places` of `ids`."""
        device = self._voices.device
        row, positions = torch.tensor([ids], device=device), torch.arange(len(ids), device=device)[None]
        return self._voices.forward(row, positions, None, empty(), [self._name], places)[0].log_softmax(-1)

    def _loss(self, prompt: Sequence[int], answer: Sequence[int]) -> float:
        if not answer:
            return 0.0
        chances = self._read([*prompt, *answer], len(answer) + 1)[:-1].double()
        return -chances.gather(1, torch.tensor(answer, device=chances.device)[:, None]).sum().item()

    def _written(self, prompts: Sequence[list[int]]) -> list[tuple[int, ...]]:
        decoder = Decoder(self._voices)
        rows = [Row(prompt, self._name, ChatSettings(temperature=0.0)) for prompt in prompts]
        for row in rows:
            decoder.join(row)
        for _ in range(ANSWER_TOKENS - 1):
            decoder.step()
        return [before_end(row.produced, self.ends) for row in rows]


def before_end(ids: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """`ids` up to the first that ends an answer."""
    stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return tuple(ids[:stop])
