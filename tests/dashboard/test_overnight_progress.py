"""The header while a chain runs: the stage under way is told, whatever earlier stages have left behind."""

import pytest

from dashboard.bridge import Page
from dashboard.header import header, progress
from so8t_engine import Snapshot
from so8t_engine import events as e
from so8t_engine.settings import STAGES
from so8t_engine.snapshot import fold

BEGUN = (
    e.JobStarted(job="1", command="RunPipeline"),
    e.PipelineOpened(pipeline="one", folder="x", stages=STAGES, resumed=False),
)
OPENED = e.ExportOpened(folder="x", model="run:one", name="one", quantizations=("f16", "q8_0"), push="", gate=True, resumed=False)


@pytest.fixture
def page(bridge) -> Page:
    return Page("ja", bridge)


def asked(model: str, done: int) -> list[e.Event]:
    opened = e.JapaneseTestOpened(folder="x", model=model, name=model, prompts=45, resumed=False)
    answer = e.JapaneseAnswerChecked(prompt="p", category="terms", passed=1, checks=1, seconds=2.0, tokens=9, done=done, total=45)
    return [opened, answer]


NIGHT = {
    "train": [e.RunOpened(run="one", folder="x", resumed=False), e.TrainingPlanned(steps=40, steps_per_epoch=20, rows=9, epochs=2.0),
              e.StepFinished(step=10, epoch=0.5, loss=1.0, label_nll=None, learning_rate=0.1, gradient_norm=1.0, tokens=9, seconds=0.1)],
    "evaluate": [e.EvaluationProgressed(mode="scored", done=30, total=60, seconds=6.0)],
    "ab_test": [e.AbTestProgressed(side="base", mode="scored", done=240, total=500, seconds=24.0)],
    "export": [OPENED, e.ConversionProgressed(stage="write", done=1, total=2, seconds=1.0)],
    "ollama": [e.UploadProgressed(file="x.gguf", sent=3, total=4, seconds=1.0)],
    "japanese_test": asked("ollama:night", 9),
}  # fmt: skip
TOLD = {
    "train": ("1/6 再学習", "step 10/40", 0.25, ""),
    "evaluate": ("2/6 評価", "30/60", 0.5, "残り 6"),
    "ab_test": ("3/6 A/Bテスト", "240/500", 0.48, "残り 26"),
    "export": ("4/6 GGUF 書き出し", "", 1 / 6, ""),
    "ollama": ("5/6 Ollama への登録", "", 0.75, ""),
    "japanese_test": ("6/6 日本語性能テスト", "54/90", 0.6, "残り 1分12秒"),
}


def until(stage: str) -> Snapshot:
    """The picture in the middle of a stage, with all that the stages before it have left."""
    snapshot = Snapshot()
    past = list(BEGUN)
    for name in STAGES[: STAGES.index(stage) + 1]:
        past += [e.StageStarted(stage=name), *NIGHT[name]]
        if name != stage:
            past.append(e.StageFinished(stage=name, outcome="finished", seconds=1.0))
    for event in past:
        snapshot = fold(snapshot, event)
    return snapshot


@pytest.mark.parametrize("stage", STAGES)
def test_the_header_tells_of_the_stage_under_way(stage, page):
    snapshot, (place, count, share, left) = until(stage), TOLD[stage]
    html = header(snapshot, page)
    assert progress(snapshot) == pytest.approx(share, abs=0.01)
    assert "夜間実行" in html and place in html and count in html and left in html
    later = [TOLD[name][0] for name in STAGES if name != stage]
    assert not any(words in html for words in later)
    assert ("step 10/40" in html) == (stage == "train")


def test_the_original_is_the_first_half_of_the_japanese_test(page):
    snapshot = until("japanese_test")
    for event in asked("original", 9):
        snapshot = fold(snapshot, event)
    assert "9/90" in header(snapshot, page) and progress(snapshot) == pytest.approx(0.1)


def test_between_stages_and_at_the_end_nothing_is_claimed(page):
    snapshot = fold(until("ab_test"), e.StageFinished(stage="ab_test", outcome="finished", seconds=1.0))
    assert progress(snapshot) is None and "240/500" not in header(snapshot, page)
    snapshot = fold(snapshot, e.JobFinished(job="1", seconds=1.0))
    html = header(snapshot, page)
    assert "完了しました" in html and "step" not in html.split("so-machine")[0]
