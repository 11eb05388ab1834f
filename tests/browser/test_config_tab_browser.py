"""The Config tab in a real browser: form and YAML in step, faults at their fields, files on the disk."""

import re
import secrets

import pytest
import yaml
from patience import wait_for_ticks

from so8t_engine import config

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

CONFIG = "/ja/?tab=config"


@pytest.fixture
def own_name():
    """A name in the configs folder that is free before the test and again after it."""
    name = f"試験 {secrets.token_hex(4)}"
    yield name
    for file in config.CONFIGS.glob(f"{name}*"):
        file.unlink()


def opened(window, path=CONFIG, **options):
    page = window(path, **options)
    page.wait_for_selector("#tab-config-button")
    page.locator("#tab-config-button").click()
    expect(text_of(page)).to_contain_text("base_model")
    return page


def text_of(page):
    return page.locator("#config-yaml .cm-content")


def write(page, text: str) -> None:
    text_of(page).fill(text)


def note(page, path: str):
    return page.locator(f"#{path.replace('.', '-')}-note")


def box(page, path: str):
    return page.locator(f"#{path.replace('.', '-')} :is(input, textarea)").first


def test_every_setting_has_a_named_control_with_help_and_bounds(window):
    for language, path in (("ja", CONFIG), ("en", "/en/?tab=config")):
        page = opened(window, path)
        for field in config.fields():
            control = page.locator(f"#{field.path.replace('.', '-')}")
            expect(control).to_contain_text(field.label(language)) if field.kind != "bool" else None
            expect(note(page, field.path)).to_contain_text(re.sub("`", "", field.help(language)))
            if field.high is not None:
                expect(note(page, field.path)).to_contain_text(f"{field.high:,.10g}")


LATE = """
const send = window.fetch;
window.fetch = async (resource, options) => {
  const answer = await send(resource, options);
  if (String(options?.body).includes("0.123")) {
    await new Promise((done) => setTimeout(done, 2000));
    setTimeout(() => { window.lateCame = true; });
  }
  return answer;
};
"""


def test_the_last_of_two_quick_changes_stays_whichever_is_acknowledged_first(window):
    """Gradio shows an answer when its request is acknowledged: the first of the two must not undo the second."""
    page = opened(window, init=LATE)
    box(page, "train.epochs").fill("0.123")
    box(page, "data.max_length").fill("777")
    page.wait_for_function("window.lateCame")
    expect(text_of(page)).to_contain_text("max_length: 777")
    wait_for_ticks(page)
    expect(text_of(page)).to_contain_text("epochs: 0.123")
    assert "max_length: 777" in text_of(page).text_content()


def test_a_field_changes_the_yaml_and_the_yaml_changes_the_field(window):
    page = opened(window)
    box(page, "train.learning_rate").fill("0.0005")
    expect(text_of(page)).to_contain_text("learning_rate: 0.0005")
    page.locator("#train-schedule").get_by_role("radio", name="linear").check()
    expect(text_of(page)).to_contain_text("schedule: linear")
    page.locator("#train-gradient_checkpointing").get_by_role("checkbox").check()
    expect(text_of(page)).to_contain_text("gradient_checkpointing: true")
    names = page.locator("#so8t-rotate input")
    names.fill("down_proj")
    names.press("Enter")
    expect(text_of(page)).to_contain_text("rotate: [o_proj, down_proj]")
    expect(page.locator("#config-state")).to_contain_text("未保存")

    write(page, "base_model: elsewhere\nseed: 7\nmodel: {dtype: float16}\nso8t: {targets: [a, b], rotate: [b]}\n")
    expect(box(page, "base_model")).to_have_value("elsewhere")
    expect(box(page, "seed")).to_have_value("7")
    expect(page.locator("#model-dtype label.selected")).to_have_text("float16")
    expect(page.locator("#so8t-targets .token")).to_have_count(2)
    expect(box(page, "train.learning_rate")).to_have_value("0.0002")


def test_typing_is_never_disturbed_and_pasted_text_reaches_the_yaml(window):
    page = opened(window)
    text_of(page).click()
    page.keyboard.press("Control+End")
    page.keyboard.type("# 夜の分, one letter after another, quickly\n", delay=12)
    wait_for_ticks(page)  # nobody's hand is in two places at once
    expect(text_of(page)).to_contain_text("# 夜の分, one letter after another, quickly")
    box(page, "dataset").fill("")
    box(page, "dataset").press_sequentially("data/私の行 2026.jsonl", delay=25)
    wait_for_ticks(page)
    expect(box(page, "dataset")).to_have_value("data/私の行 2026.jsonl")
    expect(text_of(page)).to_contain_text("# 夜の分, one letter after another, quickly")
    expect(text_of(page)).to_contain_text("dataset: data/私の行 2026.jsonl")

    box(page, "dataset").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("データ/四分類.jsonl")  # an input event without any key, as of an input method
    page.keyboard.press("Tab")
    expect(text_of(page)).to_contain_text("dataset: データ/四分類.jsonl")


def test_all_faults_are_told_each_at_its_field_and_an_unreadable_text_is_mended_with_one_press(window):
    page = opened(window)
    box(page, "train.epochs").fill("-3")
    box(page, "train.warmup_ratio").fill("1")
    for path, words in (("train.epochs", "-3"), ("train.warmup_ratio", "< 1")):
        expect(note(page, path).locator(".so-fault")).to_contain_text(words)
    expect(box(page, "train.epochs")).to_have_value("-3")
    expect(page.locator("#config-check li")).to_have_count(2)
    expect(page.locator("#config-state")).to_contain_text("誤り 2 件")

    write(page, "base_model: m\nseed: many\nnoise: <b>1</b>\ntrain: {schedule: steep}\n")
    expect(page.locator("#config-check li")).to_have_count(3)
    expect(page.locator("#config-check li").nth(1)).to_contain_text("3 行目")
    expect(note(page, "seed").locator(".so-fault")).to_contain_text("many")
    expect(note(page, "train.schedule").locator(".so-fault")).to_contain_text("steep")
    expect(note(page, "train.epochs").locator(".so-fault")).to_have_count(0)

    write(page, "base_model: m\nseed: 5\n")
    expect(box(page, "seed")).to_have_value("5")
    expect(page.locator("#config-check")).to_contain_text("誤りはありません")
    write(page, "train:\n\tepochs: 3\n")
    expect(page.locator("#config-check")).to_contain_text("タブ")
    box(page, "seed").fill("6")
    page.locator("#config-notice [data-do=mend]").click()
    expect(text_of(page)).to_contain_text("seed: 5")
    expect(page.locator("#config-check")).to_contain_text("誤りはありません")
    expect(box(page, "seed")).to_have_value("5")


def test_saving_under_a_name_puts_a_file_on_the_disk(window, own_name):
    page = opened(window)
    box(page, "seed").fill("11")
    page.locator("#config-save-as").click()
    page.locator("#config-name :is(input, textarea)").fill("a/b")
    page.locator("#config-name-save").click()
    expect(page.locator("#config-notice [role=alert]")).to_contain_text("a/b")
    page.locator("#config-name :is(input, textarea)").fill(own_name)
    page.locator("#config-name-save").click()
    expect(page.locator("#config-state")).to_contain_text("保存済み")
    file = config.CONFIGS / f"{own_name}.yaml"
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["seed"] == 11
    expect(page.locator("#config-picker input")).to_have_value(own_name)

    page.locator("#config-duplicate").click()
    expect(page.locator("#config-picker input")).to_have_value(f"{own_name}_2")
    box(page, "seed").fill("12")
    expect(page.locator("#config-state")).to_contain_text("未保存")
    page.locator("#config-save").click()
    expect(page.locator("#config-state")).to_contain_text("保存済み")
    copy = config.CONFIGS / f"{own_name}_2.yaml"
    assert yaml.safe_load(copy.read_text(encoding="utf-8"))["seed"] == 12
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["seed"] == 11


def test_a_preset_asks_for_a_name_what_was_unsaved_comes_back_and_a_file_from_anywhere_is_loaded(window, tmp_path):
    page = opened(window)
    box(page, "seed").fill("13")
    expect(text_of(page)).to_contain_text("seed: 13")
    page.locator("#config-picker input").click()
    page.get_by_role("option", name="borea_phi35_so8t").click()
    expect(box(page, "base_model")).to_have_value("models/Borea-Phi-3.5-mini-Instruct-Jp")
    expect(page.locator("#config-notice")).to_contain_text("保存していない変更")
    before = (config.CONFIGS / "borea_phi35_so8t.yaml").read_bytes()
    page.locator("#config-notice [data-do=undo]").click()
    expect(text_of(page)).to_contain_text("seed: 13")

    page.locator("#config-picker input").click()
    page.get_by_role("option", name="borea_phi35_so8t").click()
    expect(box(page, "train.gradient_accumulation")).to_have_value("16")
    page.locator("#config-save").click()
    expect(page.locator("#config-name :is(input, textarea)")).to_have_value("borea_phi35_so8t_2")
    assert (config.CONFIGS / "borea_phi35_so8t.yaml").read_bytes() == before

    file = tmp_path / "よその設定.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + "base_model: よそ\r\nseed: 21\r\n".encode())
    page.locator("input[type=file]").first.set_input_files(file)
    expect(box(page, "base_model")).to_have_value("よそ")
    expect(page.locator("#config-notice")).to_contain_text("よその設定.yaml")
    expect(page.locator("#config-state")).to_contain_text("未保存")


def test_a_reload_another_window_and_the_other_language_show_the_same(window):
    page = opened(window)
    other = opened(window, "/en/?tab=config")
    box(page, "seed").fill("31")
    expect(text_of(page)).to_contain_text("seed: 31")
    expect(box(other, "seed")).to_have_value("31")
    expect(text_of(other)).to_contain_text("seed: 31")
    expect(other.locator("#config-state")).to_contain_text("Unsaved")
    page.reload()
    page.locator("#tab-config-button").click()
    expect(box(page, "seed")).to_have_value("31")
    expect(page.locator("#config-state")).to_contain_text("未保存")
    box(other, "train.epochs").fill("0")
    expect(note(other, "train.epochs").locator(".so-fault")).to_contain_text("Epochs is 0")
    expect(note(page, "train.epochs").locator(".so-fault")).to_contain_text("エポック数は 0")
