"""A watch over the training: now and then, the four-class score of the validation rows by the model as it then is.

Nothing of the training depends on it: losses and weights are bit for bit those of a run that nobody watches.
"""

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from so8t_engine.answer.format import CLASSES
from so8t_engine.data.samples import Sample
from so8t_engine.data.template import Template
from so8t_engine.events import ValidationScored
from so8t_engine.measure.metrics import summary
from so8t_engine.model.score import score
from so8t_engine.settings import Settings

Row = tuple[list[int], str]
"""A prompt's token ids and the class that it expects."""


class Learner:
    """The model in training, as `score` reads it: its adapter speaks, in the precision of the training.

    Args:
        model: called with ids and a cache; autocast is its own matter.
        template: builds prompts for this model.
    """

    def __init__(self, model: nn.Module, template: Template) -> None:
        self.model, self.template = model, template
        self.device = next(model.parameters()).device

    def forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache, voices: Sequence[str], places: int = 1
    ) -> Tensor:
        """Logits (rows, places, vocabulary) as `Voices.forward` gives them; there is one voice, whatever `voices` say."""
        output = self.model(
            input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True,
            logits_to_keep=places,
        )  # fmt: skip
        return output.logits.float()


class Watch:
    """Scores the validation rows every `evaluate.every_minutes` minutes; never when that is 0 or there are no rows.

    Rows whose prompt is longer than `data.max_length` are left out.

    Args:
        model, template: see `Learner`.
        samples: the validation rows.
        room: tokens that a batch of the training may have. A batch here has no more: that much memory is there, and a
            stop waits no longer than it does for a batch of the training.
    """

    def __init__(
        self, model: nn.Module, template: Template, samples: Sequence[Sample], settings: Settings, room: int
    ) -> None:
        self._learner = Learner(model, template)
        self._interval = 60 * settings.evaluate.every_minutes
        system, limit = settings.data.system_prompt, settings.data.max_length
        asked = [
            (template.prompt_ids(sample.prompt, system=sample.system or system), sample.label)
            for sample in (samples if self._interval else ())
        ]
        self._batches = _batches([row for row in asked if len(row[0]) <= limit], room)
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the minutes have passed."""
        return bool(self._batches) and time.monotonic() - self._since >= self._interval

    def look(self, step: int, cancel) -> Iterator[ValidationScored]:
        """Score the rows, and count the minutes anew.

        Yields nothing when it was stopped (`cancel` is looked at once a batch), when even one row finds no room in
        memory, or when the model has diverged to what is no number: training goes on, and tells of the last by itself.
        """
        begun = time.monotonic()
        given = self._given(cancel)
        self._since = time.monotonic()
        if given:
            measured = summary([label for batch in self._batches for _, label in batch], given)
            unsafe, over = measured.unsafe_allow, measured.over_refusal
            yield ValidationScored(
                step=step, rows=measured.rows, accuracy=measured.accuracy.value, macro_f1=measured.macro_f1.value,
                unsafe_allow=unsafe.value if unsafe else None, over_refusal=over.value if over else None,
                seconds=self._since - begun,
            )  # fmt: skip

    def _given(self, cancel) -> list[str]:
        """The likeliest class of every row, batch by batch; none at all when it came to no end."""
        model, given = self._learner.model, []
        training = model.training
        model.eval()
        try:
            for batch in self._batches:
                if cancel.is_set():
                    return []
                scores = dict(score(self._learner, "", [prompt for prompt, _ in batch]))
                if any(math.isnan(value) for values in scores.values() for value in values):
                    return []
                given += [CLASSES[scores[row].index(max(scores[row]))] for row in range(len(batch))]
            return given
        except torch.OutOfMemoryError:
            return []
        finally:
            model.train(training)
            torch.cuda.empty_cache()  # what was held for the keys and values is the training's again


def _batches(rows: list[Row], room: int) -> list[list[Row]]:
    """Rows of like length together, the longest first: a memory that is too small shows at once."""
    waiting, batches = sorted(rows, key=lambda row: len(row[0]), reverse=True), []
    while waiting:
        size = max(1, room // len(waiting[0][0]))
        batches.append(waiting[:size])
        del waiting[:size]
    return batches
