"""A model of ours that takes the Japanese test."""


import torch

from so8t_engine.data.pieces import TextStream
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.export.japanese_answer import Hearing, NotMeasured, Spoken
from so8t_engine.export.japanese_prompts import Prompt
from so8t_engine.model.answers import write
from so8t_engine.model.folder import check_folder
from so8t_engine.model.load import compute_dtype
from so8t_engine.model.memory import give_back
from so8t_engine.model.voices import Voices
from so8t_engine.runs import Run
from so8t_engine.voice import ORIGINAL, Voice


class OurCandidate:
    """A voice; an `export.japanese_answer.Candidate`. It answers one question at a time.

    A run is asked with the system text that it was trained with. A model without an adapter was not trained in our
    format: it is asked without that text, which would tell it to use tags that it does not know.

    Raises ModelError for an unusable folder.
    """

    def __init__(self, voice: Voice, limit: int) -> None:
        check_folder(voice.base)
        self._voice, self._limit = voice, limit
        self.key, self.name, self.weights = voice.key, voice.name, ""
        self.run = Run(voice.run).id if voice.run else ORIGINAL if voice.key == ORIGINAL else "folder"
        self.model = voice.base.name
        self._plain = voice.adapter is None
        self._voices: Voices | None = None

    def load(self) -> None:
        """Put the model in memory. Raises ModelError, and EngineError "japanese.out_of_memory"."""
        voice = self._voice
        try:
            self._voices = Voices(voice.base, voice.model)
            self._spoken_by = self._voices.learn(voice.adapter) if voice.adapter else ""
        except torch.OutOfMemoryError as error:
            raise _full(error, voice) from None
        self.weights = self._voices.weights(self._spoken_by)

    def ask(self, prompt: Prompt, cancel) -> Spoken | None:
        """See Candidate. A question that leaves no room for an answer is NotMeasured."""
        *history, last = prompt.messages
        template = self._voices.template
        system = "" if self._plain else self._voice.system
        ids = template.prompt_ids(last["content"], system=system, history=history)
        hearing, stream = Hearing(self._plain), TextStream(template.tokenizer)

        def feed(token: int) -> bool:
            hearing.feed(stream.feed(token))
            return hearing.over or cancel.is_set()

        try:
            written = next(write(self._voices, self._spoken_by, [ids], limit=self._limit, rows=1, watch=lambda _: feed))
        except BadInput as error:
            raise NotMeasured(error) from None
        except torch.OutOfMemoryError as error:
            raise _full(error, self._voice) from None
        if cancel.is_set():
            return None
        later = written.seconds - written.first_seconds
        pace = (written.tokens - 1, later) if written.tokens > 1 and later > 0 else None
        ended = "length" if written.ended == "length" else "stop"
        return Spoken(hearing.end(), written.tokens, written.seconds, pace, ended)

    def check(self) -> None:
        """Raises EngineError "chat.weights_changed" when the weights in memory are not those that were loaded."""
        self._voices.weights(self._spoken_by)

    def facts(self) -> dict[str, object]:
        """See Candidate."""
        voice, device = self._voice, self._voices.device
        return {
            "kind": "ours", "base": str(voice.base), "adapter": str(voice.adapter) if voice.adapter else None,
            "quantization": voice.model.quantization,
            "dtype": str(compute_dtype(voice.model.dtype, device)).removeprefix("torch."),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU", "torch": torch.__version__,
            "plain": self._plain, "system": bool(voice.system.strip()) and not self._plain,
        }  # fmt: skip

    def close(self) -> None:
        """Free the model."""
        self._voices = None
        give_back()


def _full(error: torch.OutOfMemoryError, voice: Voice) -> EngineError:
    return EngineError("japanese.out_of_memory", where=str(voice.base), reason=str(error).split("\n")[0])
