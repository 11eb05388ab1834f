"""A chat that answers by script, at a pace of its own: the true desk, replies and audit log, but no model.

    python tests/scripted_chat.py --port 7900 --runs FOLDER [--pace SECONDS]

serves the whole dashboard with it. Words in brackets in a prompt ask for what seldom happens: see `script`.
"""

import argparse
import hashlib
import threading
import time
from pathlib import Path

from so8t_engine import BadInput, Engine, EngineError, checkpoint, config, runs
from so8t_engine.answer.format import Answer, Final, build
from so8t_engine.chat.desk import Desk
from so8t_engine.chat.reply import Reply
from so8t_engine.chat.speaker import Question
from so8t_engine.voice import Voice

SECRET = "INNER MONOLOGUE 独り言"
"""Stands in every thinking section: nobody may ever see it."""

RUN, OLDER_RUN = "20261122-101500-7c3f", "20261121-220000-99aa"

REASONS = {
    "ALLOW": "害のない依頼です。", "ESCALATION": "人の判断が必要な依頼です。", "DENY": "社内の規則で認められていません。",
    "REFUSE": "危険な依頼のためお断りします。",
}  # fmt: skip


def script(original: bool, prompt: str) -> str:
    """What a model writes. [DENY] or another class in the prompt asks for that class; [long] for many lines; of the
    retrained model [seal] for a tag in the wrong place; of the original [plain] for text without any tag."""
    if original and "[plain]" in prompt:
        return "もちろんです。" * 20
    label = next((name for name in REASONS if f"[{name}]" in prompt), "ALLOW")
    if original and label == "REFUSE":
        label = "ESCALATION"
    answer = "要点は三つです。\n1. 目的を一文で書きます。\n2. 期限を決めます。\n3. 担当を決めます。"
    if "[long]" in prompt:
        answer = "\n".join(f"{number}. ゆっくり一つずつ確かめます。" for number in range(1, 80))
    final = Final(label, 0.71 if original else 0.93, REASONS[label], answer if label == "ALLOW" else "")
    thinking = [f"{SECRET} {words}" for words in ("依頼を読みます。", "害を考えます。", "規則を見ます。")]
    text = build(Answer(*thinking, final))
    return text.replace("3. ", "<think-task>3. ") if "[seal]" in prompt and not original else text


def weights(key: str) -> str:
    """The hash that stands for a model's weights."""
    return hashlib.sha256(key.encode()).hexdigest()


class ScriptedSpeaker:
    """The speaker's contract; each answer comes from a thread of its own, `pace` seconds a token.

    [fail] in a prompt lets the retrained model fail in the middle.
    """

    def __init__(self, pace: float = 0.0) -> None:
        self.pace = pace
        self.refused: EngineError | None = None

    def ask(self, voice: Voice, question: Question, reply: Reply) -> None:
        threading.Thread(target=self._answer, args=(voice, question, reply), daemon=True).start()

    def refusal(self) -> EngineError | None:
        return self.refused

    def rest(self) -> None:
        """There is nothing to free."""

    def _answer(self, voice: Voice, question: Question, reply: Reply) -> None:
        original = voice.adapter is None
        time.sleep(5 * self.pace)
        reply.begin(voice.name, weights(voice.key))
        text, tokens = script(original, question.prompt), 0
        while text and not reply.over:
            if "[fail]" in question.prompt and not original and tokens == 12:
                reply.fail(BadInput("chat.no_room", where="assets/demo_model", tokens=9000, limit=4096))
                return
            if tokens == question.sampling.max_tokens:
                reply.end("length")
                return
            reply.feed(text[:3])
            text, tokens = text[3:], tokens + 1
            time.sleep(self.pace)
        reply.end("stopped" if reply.stopping else "complete")


def make_runs(folder: Path) -> None:
    """Two finished runs on the demo model; nobody looks into their adapters."""
    settings = config.load(config.CONFIGS / "demo.yaml").model_copy(update={"runs": str(folder)})
    for name in (OLDER_RUN, RUN):
        run = runs.create(folder / name, settings, "data")
        checkpoint.write_only(run.final_model, 8, lambda to: (to / "adapter_config.json").write_bytes(b"{}"), {})


def scripted_engine(folder: Path, pace: float = 0.0) -> Engine:
    """An engine over `folder` whose chat answers by script."""
    engine = Engine(folder)
    settings = config.load(config.CONFIGS / "demo.yaml", overrides=["chat.max_tokens=512"])
    engine.chat = Desk(folder, lambda: settings, ScriptedSpeaker(pace), engine.audit)
    return engine


def main() -> None:
    """Serve the dashboard."""
    import uvicorn

    from dashboard.app import create_app
    from dashboard.draft import Draft

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--pace", type=float, default=0.03)
    options = parser.parse_args()
    if not options.runs.exists():
        make_runs(options.runs)
    app = create_app(scripted_engine(options.runs, options.pace), Draft(config.CONFIGS / "demo.yaml"))
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
