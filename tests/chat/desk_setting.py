"""What the tests of the desk are made of: models that answer by script, one runs folder, and waiting."""

import hashlib
import threading

import pytest

from so8t_engine import EngineError, checkpoint, config, runs
from so8t_engine.audit import Audit
from so8t_engine.chat.desk import Desk

CANARY = "canary-ቀለበት-5561"
SAMPLING = {"max_tokens": 64, "temperature": 0.5, "top_p": 0.9, "seed": 7}


def thinking(final: str) -> str:
    """A whole answer with the canary in every hidden section."""
    hidden = "".join(f"<{name}>{CANARY}</{name}>" for name in ("think-task", "think-safety", "think-policy"))
    return f"{hidden}<final>{final}</final>"


def said(label: str, text: str) -> str:
    return f"分類結果: {label}\n信頼度: 0.90\n理由: {text}\n" + (f"回答: {text}です。" if label == "ALLOW" else "")


def weights_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class ScriptedSpeaker:
    """Answers from threads; `scripts` by the voice's key: texts are fed, Events waited for, errors end the answer."""

    def __init__(self) -> None:
        self.scripts: dict[str, list] = {}
        self.asked: list[tuple] = []
        self.refused: EngineError | None = None
        self.fault: Exception | None = None

    def ask(self, voice, question, reply) -> None:
        self.asked.append((voice, question))
        if self.fault:
            raise self.fault
        threading.Thread(target=self._answer, args=(voice, reply), daemon=True).start()

    def refusal(self):
        return self.refused

    def question(self, key):
        """The newest one to that voice."""
        return next(question for voice, question in reversed(self.asked) if voice.key == key)

    def _answer(self, voice, reply) -> None:
        reply.begin(voice.name, weights_of(voice.key))
        for part in self.scripts.get(voice.key, [thinking(said("ALLOW", voice.key))]):
            if isinstance(part, EngineError):
                reply.fail(part)
                return
            if isinstance(part, threading.Event):
                while not part.wait(0.005) and not reply.over:
                    pass
            else:
                for start in range(0, len(part), 7):
                    reply.feed(part[start : start + 7])
            if reply.over:
                break
        reply.end("stopped" if reply.stopping else "complete")


class Setting:
    """A runs folder with one finished run, a speaker that answers by script, and desks upon them."""

    def __init__(self, root, address: str) -> None:
        self.root = root
        self.settings = config.from_values(
            {"runs": str(root), "ollama.address": address, "data.system_prompt": "元の指示",
             **{f"chat.{name}": value for name, value in SAMPLING.items()}}
        )  # fmt: skip
        self.speaker = ScriptedSpeaker()
        self.audit = Audit(runs.audit_folder(root))
        self.make_run("20260101-000000-aaaaaa")

    def make_run(self, name, **values):
        own = config.from_values(config.to_values(self.settings) | {"data.system_prompt": "実行の指示"} | values)
        run = runs.create(self.root / name, own, "data")
        checkpoint.write_only(run.final_model, 8, lambda to: (to / "adapter_config.json").write_bytes(b"{}"), {})

    def desk(self) -> Desk:
        return Desk(self.root, lambda: self.settings, self.speaker, self.audit)

    @property
    def folder(self):
        return runs.chat_folder(self.root)


ORIGINAL, RUN = "original", "run:20260101-000000-aaaaaa"


def until(desk, condition):
    """The first picture that meets the condition."""
    picture = desk.picture()
    while not condition(picture):
        seen = picture["version"]
        picture = desk.wait(seen, 120)
        assert picture["version"] != seen, f"nothing comes any more: {picture}"
    return picture


def at_rest(desk):
    return until(desk, lambda picture: not picture["speaking"])


def ask(desk, prompt="質問"):
    desk.ask(prompt)
    return at_rest(desk)


def code_of(action) -> str:
    with pytest.raises(EngineError) as caught:
        action()
    return caught.value.code
