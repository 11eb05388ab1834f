"""A person at the Overnight tab: a real chain on a tiny model to its end, through a failure; and what a page does for it."""

import re
import threading

import pytest
from ollama_server import OllamaServer
from patience import wait_for_ticks
from pipeline_setting import settings_for

from so8t_engine import config

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect
pytest.importorskip("xllamacpp", reason="xllamacpp is not installed (pip install .[oracle])")

STAGE_SECONDS = 180_000
"""Milliseconds until a loaded test machine has imported torch and come to the end of a tiny stage."""

JA, EN = "/ja/?tab=overnight", "/en/?tab=overnight"

LISTENING = """
window.played = [];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  this.addEventListener("playing", () => window.played.push(this.src.split("/").pop()));
  return play.call(this);
};
window.shown = [];
window.Notification = class {
  static get permission() { return localStorage.getItem("asked") ?? "default"; }
  static async requestPermission() { localStorage.setItem("asked", "granted"); }
  constructor(title, options) { window.shown.push([title, options.body, options.tag]); }
};
"""
"""Sounds that really began to play, and notices; no test can hear or see them otherwise."""


WATCHING = """() => {
  window.tops = [];
  const look = () => {
    const last = document.querySelector('#overnight-situation li[data-stage="japanese_test"]');
    if (last) window.tops.push(last.offsetTop);
  };
  new MutationObserver(look).observe(document.querySelector("#overnight-situation"), { childList: true, subtree: true });
}"""
"""Where the last stage of the timeline stands, each time it is drawn."""


@pytest.fixture
def ollama(tmp_path):
    server = OllamaServer(tmp_path / "ollama")
    server.faults.create_gate = threading.Event()
    yield server
    server.faults.create_gate.set()
    server.stop()


@pytest.fixture
def settings(runs, ollama, tiny_model):
    """Of a chain that takes seconds."""
    return settings_for(runs, tiny_model, ollama, **{"pipeline.accept_visible_thinking": False, "pipeline.sound": True})


@pytest.fixture
def night() -> float:
    """Seconds that a stage is played by script; 0: the true stages."""
    return 0.0


@pytest.fixture
def studio(open_studio, tmp_path, runs, settings, night):
    file = tmp_path / "overnight.yaml"
    file.write_text(config.to_yaml(settings), encoding="utf-8")
    return open_studio(runs, config=file, night=night)


def stage(page, name: str):
    return page.locator(f'li.so-stage[data-stage="{name}"]:visible')


def states(page) -> list[str]:
    """The state of each stage that is shown, in order."""
    found = page.locator("li.so-stage:visible").evaluate_all("all => all.map(one => one.className)")
    return [re.search(r"so-stage-(\w+)", one)[1] for one in found]


def press(page, name: str) -> None:
    """Press a button that starts a chain."""
    page.get_by_role("button", name=name).first.click()
    expect(page.locator("#overnight-head [data-do=stop]")).to_be_visible(timeout=STAGE_SECONDS)


def test_a_night_fails_goes_on_and_ends_with_a_model_in_ollama(window, studio, ollama):
    answer, ollama.answer = ollama.answer, lambda prompt: "<final>Good morning.</final>"
    page = window(JA, init=LISTENING)
    expect(page.locator("[data-part=ollama]")).to_contain_text("Ollama 0.12.6 が応答しています")
    expect(page.locator("#overnight-head")).to_contain_text("下の同意が必要です")
    expect(page.get_by_role("button", name="夜間実行を始める")).to_be_disabled()
    page.locator("[name=accept_visible_thinking]").check()
    expect(page.get_by_role("button", name="夜間実行を始める")).to_be_enabled()
    press(page, "夜間実行を始める")
    expect(page.locator("#tab-overnight-button")).to_have_class(re.compile("so-tab-runs"))
    expect(stage(page, "train")).to_have_class(re.compile("so-stage-finished"), timeout=STAGE_SECONDS)
    page.wait_for_function("window.played.includes('stage_done.wav')")
    expect(stage(page, "ollama")).to_have_class(re.compile("so-stage-running"), timeout=STAGE_SECONDS)
    page.wait_for_function("/^(6[789]|7\\d|8[0-3])% 夜間実行 · /.test(document.title)")
    before = states(page)

    page.reload()  # in the middle: nothing of it is lost
    expect(stage(page, "ollama")).to_have_class(re.compile("so-stage-running"))
    assert states(page) == before == ["finished"] * 4 + ["running", "waiting"]
    expect(page.locator("[name=accept_visible_thinking]")).to_be_checked()
    page.locator("#overnight-head h2").click()  # a browser lets no page play before somebody has touched it
    ollama.faults.create_gate.set()

    card = page.get_by_role("alert")
    expect(card).to_contain_text("Ollama への登録で止まりました", timeout=STAGE_SECONDS)
    expect(card).to_contain_text("分類")
    assert states(page) == ["finished"] * 4 + ["failed", "waiting"]
    expect(stage(page, "evaluate").locator("dd").first).to_contain_text("%")
    page.wait_for_function("window.played.includes('trouble.wav')")
    assert page.title().startswith("失敗しました 夜間実行")
    expect(page.locator("#overnight-unfinished")).to_contain_text("続き: Ollama への登録")
    (export,) = studio.runs.glob("*/export/*")
    written = {file: file.stat().st_mtime_ns for file in export.glob("*.gguf")}

    ollama.answer = answer
    press(page, "続きから")
    summary = page.locator("[data-card=summary]")
    expect(summary).to_contain_text("再学習モデル", timeout=STAGE_SECONDS)
    expect(summary.locator('[data-copy="ollama run night:latest"]')).to_be_visible()
    assert states(page) == ["finished"] * 6
    assert {file: file.stat().st_mtime_ns for file in export.glob("*.gguf")} == written, "what is done is not done again"
    page.wait_for_function("window.played.includes('all_done.wav')")
    assert page.title().startswith("完了しました 夜間実行")
    expect(page.locator("#overnight-results [aria-busy]")).to_have_count(0)
    page.locator("summary", has_text="分野ごとの得点").click()
    expect(page.locator(".so-japanese tbody tr")).to_have_count(6)
    expect(page.locator("#overnight-unfinished")).to_have_text("")
    assert [name.parts[-2:] for name in ollama.store.names()] == [("night", "latest")]


@pytest.mark.parametrize("night", [1.2])
def test_one_draft_for_all_windows_one_window_tells_and_a_muted_one_plays_nothing(window, studio, night):
    page = window(JA, init=LISTENING)
    second = page.context.new_page()  # of the same browser
    second.goto(studio.url + EN)
    expect(page.locator("#overnight-results")).to_contain_text("まだ夜間実行がありません")
    page.get_by_role("checkbox", name="評価").uncheck()
    page.get_by_role("checkbox", name="Ollama への登録").uncheck()
    expect(page.locator("#overnight-name")).to_be_hidden()
    expect(second.get_by_role("checkbox", name="Push to Ollama")).not_to_be_checked()
    expect(second.get_by_role("checkbox", name="Evaluation")).not_to_be_checked()
    wait_for_ticks(page)  # it knows that its changes have arrived, and says them no more
    second.get_by_role("checkbox", name="Push to Ollama").check()
    second.locator("#overnight-name").fill("my-model")
    expect(page.locator("#overnight-name")).to_have_value("my-model")
    second.locator("#tab-config-button").click()
    expect(second.locator("#pipeline-ollama_name").locator("textarea, input").first).to_have_value("my-model")
    page.get_by_role("checkbox", name="このブラウザーで通知する").check()
    page.locator("[name=accept_visible_thinking]").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="夜間実行を始める")).to_be_enabled()
    page.keyboard.press("Control+Enter")
    expect(second.locator("#tab-overnight-button")).to_have_class(re.compile("so-tab-runs"), timeout=STAGE_SECONDS)
    second.locator("#tab-overnight-button").click()
    for one in (page, second):
        expect(one.locator("[data-card=summary]")).to_contain_text("my-model", timeout=STAGE_SECONDS)
    assert states(second) == ["finished", "skipped"] + ["finished"] * 4
    all_done = "window.played.includes('all_done.wav') || window.shown.some((one) => one[2].endsWith('done'))"
    assert page.evaluate(all_done) or second.evaluate(all_done)
    told = [*page.evaluate("window.shown"), *second.evaluate("window.shown")]
    assert len({tag for _, _, tag in told}) == len(told) > 1, "each thing once, by one of the two"
    assert {"夜間実行が終わりました", "The overnight run is done"} & {title for title, _, _ in told}

    page.get_by_role("checkbox", name="段階の終わりに音を鳴らす").uncheck()
    expect(second.get_by_role("checkbox", name="Play a sound")).not_to_be_checked()
    for one in (page, second):
        one.evaluate("window.played.length = 0")
    page.locator("#overnight-name").fill("tie")
    expect(second.locator("#overnight-name")).to_have_value("tie")
    page.evaluate(WATCHING)
    press(page, "夜間実行を始める")
    calm = page.locator("#overnight-results [role=status].so-warning")
    expect(calm).to_contain_text("元モデルより良いとは言えない", timeout=STAGE_SECONDS)
    assert states(page) == ["finished", "skipped", "finished"] + ["not_needed"] * 3
    expect(page.get_by_role("alert")).to_have_count(0)
    assert [*page.evaluate("window.played"), *second.evaluate("window.played")] == []
    tops = page.evaluate("window.tops")
    assert tops and max(tops) - min(tops) < 4, "nothing jumps when a stage begins or ends"
    for width in (420, 800):
        page.set_viewport_size({"width": width, "height": 900})
        expect(calm).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
