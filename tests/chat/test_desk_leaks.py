"""What a model thinks leaves the desk nowhere; looking at the desk loads no torch."""

import json
import logging
import subprocess
import sys
import threading

import pytest
from desk_setting import CANARY, RUN, ask, at_rest, said, thinking
from made import ROOT, environment
from ollama_stand_in import words

HOSTILE = [
    thinking(said("ALLOW", "よい")),
    f"<think-task>{CANARY}",
    f"{CANARY}<final>分類結果: ALLOW\n",
    thinking("").replace("</final>", "") + said("DENY", "閉") + f"\n<think-task>{CANARY}</think-task>{CANARY}",
    thinking(said("DENY", "後")) + CANARY,
    f"<Think-Task>{CANARY}</Think-Task>" + thinking(said("ALLOW", "x")),
]


@pytest.mark.parametrize("blind", [False, True])
def test_a_hidden_word_comes_out_nowhere(desk, setting, ollama, caplog, capfd, blind):
    caplog.set_level(logging.DEBUG)
    desk.choose(RUN, "ollama:borea:q8")
    desk.set_blind(blind)
    out: list = []
    for number, text in enumerate(HOSTILE):
        setting.speaker.scripts = {RUN: [text]}
        ending = [{"error": f"parsing failed: raw='{CANARY}'"}] if number % 2 else words()
        ollama.answers["borea:q8"] = [*words(*text, thinking=CANARY)[:-1], *ending]
        desk.ask(f"質問 {number}")
        picture = desk.picture()
        while picture["speaking"]:
            picture = desk.wait(picture["version"], 30)
            out.append(picture)
        if number == 2:
            gate = threading.Event()
            setting.speaker.scripts = {RUN: [text[:40], gate]}
            ollama.answers["borea:q8"] = [*words(text[:40])[:1], gate]
            desk.regenerate()
            desk.stop()
            out.append(at_rest(desk))
    id = desk.picture()["conversation"]
    out += [desk.export(id, form) for form in ("md", "json")] + [desk.choices()]
    out += [[vars(question) for _, question in setting.speaker.asked], ollama.asked]
    desk.new()
    desk.delete(id)
    text = json.dumps(out, ensure_ascii=False, default=str) + caplog.text + "".join(capfd.readouterr())
    assert "よい" in text  # what may be shown came out
    assert CANARY not in text
    for file in (file for file in setting.root.rglob("*") if file.is_file()):
        assert CANARY.encode() not in file.read_bytes() and b"canary" not in file.read_bytes(), file


def test_reading_conversations_and_votes_loads_no_torch(desk, setting):
    desk.set_blind(True)
    ask(desk)
    desk.vote("left")
    code = (
        "import sys; from pathlib import Path; from so8t_engine import config; from so8t_engine.audit import Audit; "
        "from so8t_engine.chat.desk import Desk\n"
        f"root = Path({str(setting.root)!r})\n"
        "class Silent:\n    def refusal(self): return None\n"
        "desk = Desk(root, config.Settings, Silent(), Audit(root / 'audit'))\n"
        "assert desk.picture()['turns'] and desk.choices()['results']\n"
        "assert not [m for m in ('torch', 'transformers', 'peft', 'gradio') if m in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), cwd=ROOT)
