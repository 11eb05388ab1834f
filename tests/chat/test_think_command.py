"""`python -m so8t_engine think`: the final text alone on the output, the exit code, and Ctrl-C."""

import _thread
import json
import signal
import threading
import time

import pytest
from think_place import SECRET, Scripted

from so8t_engine import Busy, EngineError, config
from so8t_engine import __main__ as command_line
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.audit import Audit, verify
from so8t_engine.chat.think import Think
from so8t_engine.engine import Engine
from so8t_engine.runs import audit_folder

FINAL = "分類結果: ALLOW\n信頼度: 0.90\n理由: 害はありません。\n回答: mark-1 です。"


@pytest.fixture
def speaker(monkeypatch):
    """The engine of the command line has a scripted model; the signal handlers are put back."""
    speaker = Scripted()

    class ScriptedEngine(Engine):
        def __init__(self, runs_folder, settings):
            super().__init__(runs_folder, settings)
            self.think = Think(settings, speaker, self.audit, runs_folder)

    monkeypatch.setattr(command_line, "Engine", ScriptedEngine)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield speaker
    for number, handler in handlers.items():
        signal.signal(number, handler)
    speaker.leave()


@pytest.fixture
def think(tmp_path, speaker):
    """`think(*arguments)`: the command's exit code, with a config and runs of its own."""
    file = tmp_path / "設定.yaml"
    values = {"runs": str(tmp_path / "runs"), "data.system_prompt": "規則です。", "think.max_characters": 50}
    file.write_text(config.to_yaml(config.from_values(values)), encoding="utf-8")

    def run(*arguments, prompt="mark-1"):
        return command_line.main(["think", "--config", str(file), "--prompt", prompt, "--language", "en", *arguments])

    return run


def test_the_final_text_is_all_that_is_printed(think, speaker, tmp_path, capfd):
    assert think() == 0
    assert capfd.readouterr() == (FINAL + "\n", "")
    assert think("--model", "original", "--system", "S", "--json") == 0
    out, err = capfd.readouterr()
    assert (json.loads(out)["final"], json.loads(out)["audit_id"], err) == (FINAL, Audit(tmp_path / "runs" / "audit").answers()[0].number, "")
    assert set(json.loads(out)) == {"final", "label", "confidence", "reason", "audit_id"}
    assert [question.system for _, question, _ in speaker.asked] == ["規則です。", "S"]
    assert verify(audit_folder(tmp_path / "runs")).answers == 2
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()).decode("utf-8")
    assert not set(SECRET) & set(stored)


def test_where_nothing_can_be_shown_the_code_is_1_and_the_output_stays_empty(think, speaker, capfd):
    speaker.write = lambda prompt: f"<think-task>{SECRET}"
    assert think() == 1
    assert capfd.readouterr() == ("", NO_ANSWER + "\n")
    assert think("--json") == 1
    assert json.loads(capfd.readouterr().out)["label"] is None


def test_an_answer_that_fails_gives_1_and_the_reason(think, speaker, capfd):
    speaker.fault = EngineError("audit.unwritable", where="runs/audit", reason="disk full")
    assert think() == 1
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("runs/audit: ") and "disk full" in err


BAD = {
    "nothing asked": ({"prompt": " "}, "no prompt"),
    "too long": ({"prompt": "x" * 51}, "51 characters"),
    "no such run": (("--model", "20990101-000000-abcdef"), "20990101-000000-abcdef"),
    "no config": (("--config", "nowhere.yaml"), "There is no config file"),
    "bytes that are no text": ({"prompt": "x\udcff"}, "surrogate"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_2(think, speaker, capfd, case):
    given, message = BAD[case]
    code = think(**given) if isinstance(given, dict) else think(*given)
    out, err = capfd.readouterr()
    assert (code, out) == (2, "") and message in err and "Traceback" not in err
    assert speaker.asked == []


def test_a_model_that_can_not_be_asked_ends_with_2(think, speaker, capfd):
    speaker.why_not = Busy("engine.busy", command="StartTraining")
    assert think() == 2
    assert "StartTraining" in capfd.readouterr().err


def test_ctrl_c_stops_the_answer(think, speaker, tmp_path, capfd):
    speaker.gate.clear()

    def press():
        while not speaker.asked or signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            time.sleep(0.01)
        _thread.interrupt_main(signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    assert think() == 1
    presser.join()
    assert capfd.readouterr().out == ""
    assert [entry.ended for entry in Audit(audit_folder(tmp_path / "runs")).answers()] == ["stopped"]
