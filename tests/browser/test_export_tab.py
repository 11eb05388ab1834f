"""A person at the Export tab: export a tiny run, see how it decides, push it, and meet every way in which that fails."""

import re

import pytest
from canary import make_run
from made import DEMO_MODEL, answer
from ollama_server import Faults, OllamaServer

from so8t_engine import config

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect
pytest.importorskip("xllamacpp", reason="xllamacpp is not installed (pip install .[oracle])")

EXPORT_SECONDS = 180_000
"""Milliseconds until a loaded test machine has imported torch, written the files and compared them."""

JA, EN = "/ja/?tab=export", "/en/?tab=export"
NAME = "demo-studio:q8"

WATCH = """() => {
    [window.lines, window.stoppable] = [0, false];
    new MutationObserver(() => {
        window.lines = Math.max(window.lines, document.querySelectorAll("#export-situation .so-export-line").length);
        window.stoppable ||= Boolean(document.querySelector('#export-head [data-do="stop"]'));
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
"""Keeps what the page showed while the export ran: on a fast machine it is over before one can look."""


@pytest.fixture
def ollama(tmp_path):
    server = OllamaServer(tmp_path / "ollama")
    yield server
    server.stop()


@pytest.fixture
def limits() -> dict[str, object]:
    """Settings of the comparison; a test may change them."""
    return {"export.gate_prompts": 4}


@pytest.fixture
def studio(tmp_path, open_studio, ollama, limits):
    """The dashboard with one finished run of the demo model, and that Ollama."""
    runs = tmp_path / "runs"
    runs.mkdir()
    values = config.to_values(config.load(config.CONFIGS / "demo.yaml"))
    values |= {"runs": str(runs), "base_model": str(DEMO_MODEL), "ollama.address": ollama.address, **limits}
    make_run(runs, DEMO_MODEL, "retrained", dataset=values["dataset"])
    file = tmp_path / "export.yaml"
    file.write_text(config.to_yaml(config.from_values(values)), encoding="utf-8")
    return open_studio(runs, config=file)


def fill_in(page, *, consent: bool = True, gate: bool = True) -> None:
    """Fill in the name, agree."""
    page.locator("#export-name").fill(NAME)
    page.locator("[name=consent]").set_checked(consent)
    page.locator("[name=gate]").set_checked(gate)


def ask_for(page, button: str, *, consent: bool = True, gate: bool = True) -> None:
    """Fill in the form, press."""
    fill_in(page, consent=consent, gate=gate)
    page.locator("#export-head").get_by_role("button", name=button).click()


def situation(page):
    return page.locator("#export-situation")


def go_on(page, place, text: str) -> None:
    """Press the card's button; `text` then stands in `place`."""
    situation(page).get_by_role("button", name="Go on").click()
    expect(place).to_contain_text(text, timeout=EXPORT_SECONDS)


def files(runs) -> set[str]:
    return {file.name for file in runs.glob("retrained/export/*/*.gguf*")}


def test_export_a_run_see_that_it_decides_the_same_push_it_and_use_it(window, studio, ollama):
    page, second = window(JA), window(EN)
    expect(page.locator("#export-results")).to_contain_text("まだ書き出しがありません")
    expect(page.locator("#export-model option")).to_have_text(["retrained", "元モデル"])
    expect(page.locator("[data-part=ollama]")).to_contain_text("Ollama 0.12.6 が応答しています")
    expect(page.locator('[data-size="q8_0"]')).to_have_text("約 4.9 MiB")
    expect(page.locator("[data-part=consent]")).to_be_hidden()
    ask_for(page, "書き出す", consent=False)
    expect(page.locator("#export-notice, #export-situation").filter(has_text="同意")).to_be_visible(
        timeout=EXPORT_SECONDS
    )
    assert files(studio.runs) == set(), "without consent nothing is written"
    expect(page.locator("[name=consent]")).not_to_be_checked()

    for one in (page, second):
        one.evaluate(WATCH)
    ask_for(page, "書き出す")
    for one in (page, second):  # both windows show what came out, without a reload
        expect(one.locator('[data-card="push"]')).to_contain_text(NAME, timeout=EXPORT_SECONDS)
        assert one.evaluate("window.lines") == 5, "each part of the work has a line of its own"
        assert one.evaluate("window.stoppable"), "it can be stopped from every window"
    expect(situation(page)).to_have_text("")
    assert files(studio.runs) == {"retrained-f16.gguf", "retrained-q8_0.gguf"}
    expect(page.locator(".so-gate tbody tr")).to_have_count(2)
    expect(page.locator('[data-card="gate"]')).to_contain_text("どのファイルも、モデルと同じように判定します。")
    expect(page.locator(f'[data-copy="ollama run {NAME}"]')).to_be_visible()
    (folder,) = (studio.runs / "retrained" / "export").iterdir()
    expect(page.locator(f'[data-card="files"] [data-copy="{folder}"]')).to_be_visible()
    assert re.fullmatch("[0-9a-f]{64}", page.locator(".so-export-files [data-copy]").first.get_attribute("data-copy"))
    assert [name.parts[-2:] for name in ollama.store.names()] == [("demo-studio", "q8")]

    page.reload()
    expect(page.locator('[data-card="push"]')).to_contain_text(NAME)
    expect(page.locator("#export-name")).to_have_value(NAME)
    expect(page.locator("[name=consent]")).not_to_be_checked()
    for width in (390, 800):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator("#export-name")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_each_failure_of_a_push_is_a_card_and_the_same_files_go_on(window, studio, ollama, monkeypatch):
    page = window(EN)
    expect(page.locator("[data-part=ollama]")).to_contain_text("answers")
    handler = ollama._server.RequestHandlerClass
    size = (DEMO_MODEL / "model.safetensors").stat().st_size // 4

    def disk_full():
        ollama.faults = Faults(full_after=size)

    def cut():
        ollama.faults = Faults(reset_after=size)

    def other_bytes():
        monkeypatch.setattr(handler, "_stored", lambda self, length: (self._drain(length), "sha256:" + "0" * 64)[1])

    def too_old():
        ollama.version = "0.5.1"

    def no_class():
        ollama.answer = lambda prompt: "<final>Good morning.</final>"

    failures = [
        (too_old, "Ollama 0.5.1 is older than 0.5.5", "Update Ollama"),
        (disk_full, "Ollama's disk is full", "OLLAMA_MODELS"),
        (cut, "The connection to Ollama broke", "sent from its start"),
        (other_bytes, "not the file that was exported", "Export the model again"),
        (no_class, "named no class", "Try the same model in the chat"),
    ]
    for number, (set_up, what, hint) in enumerate(failures):
        ollama.faults, ollama.version, ollama.answer = Faults(), "0.12.6", lambda prompt: answer("ALLOW")
        monkeypatch.undo()
        set_up()
        if number:
            go_on(page, situation(page).get_by_role("alert"), what)
        else:
            ask_for(page, "Export", gate=False)  # what is compared is another test's
        expect(situation(page).get_by_role("alert")).to_contain_text(what, timeout=EXPORT_SECONDS)
        expect(situation(page).get_by_role("alert")).to_contain_text(hint)
    (folder,) = (studio.runs / "retrained" / "export").iterdir()
    written = {file: file.stat().st_mtime_ns for file in folder.glob("*.gguf")}
    expect(page.locator('[data-card="push"]')).to_contain_text("Not in Ollama yet")

    (file,) = folder.glob("*-q8_0.gguf")
    whole = file.read_bytes()
    ollama.answer = lambda prompt: answer("ALLOW")
    go_on(page, page.locator('[data-card="push"]'), f"It stands there as {NAME}")
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*.gguf")} == written and file.read_bytes() == whole

    ollama.stop()
    page.reload()
    expect(page.locator("[data-part=ollama]")).to_contain_text("Ollama does not answer")
    ask_for(page, "Export", gate=False)
    expect(situation(page).get_by_role("alert")).to_contain_text(
        "does not answer at this address", timeout=EXPORT_SECONDS
    )


@pytest.mark.parametrize("limits", [{"export.gate_prompts": 4, "export.gate_kl": 1e-13}])
def test_a_file_that_decides_otherwise_is_not_pushed_and_the_prompts_are_shown(window, studio, ollama):
    page = window(EN)
    expect(page.locator("#export-model option")).to_have_count(2)
    ask_for(page, "Export")
    expect(situation(page).get_by_role("alert")).to_contain_text(
        "decides otherwise than the model", timeout=EXPORT_SECONDS
    )
    expect(page.locator("#export-results .so-gate .so-gate-failed").first).to_be_visible()
    expect(situation(page).get_by_role("button", name="Go on")).to_have_count(0)
    expect(page.locator("#export-results .so-drifted li").first).to_be_visible()
    assert page.locator('[data-do="push"]').count() == 0
    assert not [path for path in ollama.paths() if "POST" in path]
