"""An evening at the Chat tab: ask two models, watch, stop, ask again, vote blind, take the conversation away."""

import json
import re

import pytest
from patience import wait_for_ticks
from scripted_chat import OLDER_RUN, RUN, SECRET

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install .[dev])").expect

JA, EN = "/ja/?tab=chat", "/en/?tab=chat"
PATIENCE = 120_000
QUICK, SLOW = 0.005, 0.03
"""Seconds a token; slow where one looks at what grows, or stops it."""

SEND = re.compile("^(送信|Send)$")


@pytest.fixture
def pace() -> float:
    """Of the chat; a test may say so."""
    return QUICK


@pytest.fixture
def studio(open_studio, runs, pace):
    """The dashboard over a chat that answers by script."""
    return open_studio(runs, pace=pace)


slowly = pytest.mark.parametrize("pace", [SLOW], ids=["slowly"])


def part(page, name):
    return page.locator(f'#so-chat [data-part="{name}"]')


def answer(page, side, turn=-1):
    return page.locator(".so-turn").nth(turn).locator(".so-answer").nth(side)


def badge(page, side, turn=-1):
    return answer(page, side, turn).locator(".so-badge")


def opened(window, path=JA, **options):
    page = window(path, **options)
    expect(part(page, "send")).to_be_enabled()
    return page


def ask(page, text):
    part(page, "input").fill(text)
    part(page, "input").press("Control+Enter")
    expect(page.locator(".so-turn").last).to_contain_text(text)


def wait_until_done(page):
    expect(part(page, "send")).to_have_text(SEND, timeout=PATIENCE)


@slowly
def test_both_answer_at_once_and_only_what_may_be_seen_is_seen(window):
    page = opened(window)
    expect(part(page, "empty")).to_contain_text("ふたつのモデル")
    ask(page, "議事録を要約してください [long]")
    for side in (0, 1):
        expect(part(page, "state").nth(side)).to_have_text(re.compile("考えています · \\d+ トークン"))
    expect(page.locator("#tab-chat-button")).to_have_class(re.compile("so-tab-runs"))
    for side, confidence in ((0, "0.71"), (1, "0.93")):
        expect(badge(page, side)).to_have_text(f"AALLOW{confidence}", timeout=PATIENCE)
    assert [answer(page, side).get_attribute("data-state") for side in (0, 1)] == ["answering", "answering"]
    grown = len(answer(page, 1).inner_text())
    page.wait_for_function(f"document.querySelectorAll('.so-answer')[1].innerText.length > {grown + 30}")
    page.keyboard.press("Escape")
    wait_until_done(page)
    for side in (0, 1):
        expect(answer(page, side)).to_contain_text("ここで停止しました。")
        expect(answer(page, side)).to_contain_text("tokens/s")
    expect(page.locator("#tab-chat-button")).not_to_have_class(re.compile("so-tab-runs"))
    assert SECRET not in page.content()
    expect(page.locator("#so-chat [role=log] p")).to_have_count(2)


@slowly
def test_regenerate_and_edit_replace_the_last_turn_and_the_rest_is_exported_as_a_file(window):
    page = opened(window, EN)
    ask(page, "first [DENY]")
    wait_until_done(page)
    ask(page, "second [long]")
    page.get_by_role("button", name="Stop").click()
    wait_until_done(page)
    page.get_by_role("button", name="Regenerate").last.click()
    expect(part(page, "send")).to_have_text("Stop")
    page.keyboard.press("Escape")
    wait_until_done(page)
    part(page, "input").fill("not sent yet")
    page.get_by_role("button", name="Edit the prompt").last.click()
    expect(part(page, "input")).to_have_value("second [long]")
    page.keyboard.press("Escape")
    expect(part(page, "input")).to_have_value("not sent yet")
    page.get_by_role("button", name="Edit the prompt").last.click()
    part(page, "input").fill("other [REFUSE]")
    page.get_by_role("button", name="Send instead").click()
    expect(badge(page, 1)).to_contain_text("REFUSE", timeout=PATIENCE)
    expect(badge(page, 0)).to_contain_text("ESCALATION")
    wait_until_done(page)
    assert page.locator(".so-turn").count() == 2
    expect(part(page, "prompt").nth(0)).to_have_text("first [DENY]")
    expect(part(page, "input")).to_have_value("")

    for name, form in (("Markdown", "md"), ("JSON", "json")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename.endswith(f".{form}")
        text = download.value.path().read_text(encoding="utf-8")
        assert "first [DENY]" in text and "other [REFUSE]" in text and RUN in text and SECRET not in text


def test_names_appear_only_after_the_vote_and_digits_are_text_while_one_types(window, studio):
    page = opened(window)
    page.locator('#so-chat [data-chat="blind"]').check(force=True)
    expect(part(page, "letter").first).to_be_visible()
    sent: list[str] = []
    page.on("response", lambda response: "/chat/choices" in response.url and sent.append(response.text()))
    page.reload()
    page.wait_for_selector("html.so-ready")
    expect(page.locator('#so-chat [data-chat="blind"]')).to_be_checked()
    ask(page, "どちらがよいですか")
    expect(badge(page, 1)).to_be_visible(timeout=PATIENCE)
    expect(part(page, "votes").get_by_role("button").first).to_be_enabled(timeout=PATIENCE)
    chat = page.locator("#so-chat").inner_html()
    stream = page.evaluate(FIRST_PICTURE)
    export = page.evaluate("async () => (await fetch(document.querySelector('[data-export=json]').href)).text()")
    for text in (chat, stream, export, *sent):
        assert text and RUN not in text and OLDER_RUN not in text and "original" not in text and "元モデル" not in text
    assert "tokens/s" not in chat, "the pace would tell who it is"

    page.keyboard.press("1")
    expect(part(page, "vote-note")).to_contain_text("投票しました: A がよい")
    expect(part(page, "vote-note")).to_contain_text(RUN)
    expect(part(page, "vote-note")).to_contain_text("元モデル")
    expect(part(page, "results")).to_contain_text(re.compile(r"(100|0)\.0 % \[\d+\.\d, \d+\.\d\]"))
    expect(part(page, "results")).to_contain_text("まだ差は決まりません")
    votes = (studio.runs / "chat" / "votes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(vote)["choice"] for vote in votes] == ["left"]
    expect(page.locator('#so-chat [data-chat="edit"]')).not_to_be_visible()

    ask(page, "質問 [DENY]")
    part(page, "input").fill("次は ")
    expect(part(page, "votes").get_by_role("button").first).to_be_enabled(timeout=PATIENCE)
    part(page, "input").press_sequentially("1/2")
    expect(part(page, "input")).to_have_value("次は 1/2")
    expect(part(page, "votes")).to_be_visible()
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("button", name="引き分け").click()
    expect(part(page, "vote-note")).to_contain_text("引き分け")


FIRST_PICTURE = """() => new Promise((done) => {
    const source = new EventSource("/chat/stream?language=ja");
    source.onmessage = (event) => { source.close(); done(event.data); };
})"""


def test_a_reload_a_second_window_and_the_other_language_show_the_same_and_a_chosen_side_stays(window):
    page = opened(window)
    ask(page, "覚えておいてください [DENY]")
    second = opened(window, EN)
    expect(part(second, "turns")).to_contain_text("覚えておいてください")
    wait_until_done(page)
    wait_until_done(second)
    part(page, "input").fill("書きかけ")
    page.reload()
    for shown in (page, second):
        expect(badge(shown, 0)).to_have_text("DDENY0.71")
        expect(badge(shown, 1)).to_have_text("DDENY0.93")
    expect(part(page, "input")).to_have_value("書きかけ")
    ask(second, "from the second window [REFUSE]")
    expect(part(page, "turns")).to_contain_text("from the second window")
    wait_until_done(page)

    page.get_by_role("button", name="新しい会話").first.click()
    expect(part(second, "empty")).to_be_visible()
    part(page, "history").get_by_role("button", name="覚えて").first.click()
    expect(second.locator(".so-turn")).to_have_count(2)
    page.get_by_role("button", name="削除: 覚えて").click()
    expect(part(page, "no-history")).to_be_visible()
    page.get_by_role("button", name="元に戻す").click()
    expect(part(page, "history")).to_contain_text("覚えておいて")
    expect(second.locator(".so-turn")).to_have_count(2)

    page.get_by_label("左のモデル").select_option(f"run:{OLDER_RUN}")
    expect(second.get_by_label("Model on the left")).to_have_value(f"run:{OLDER_RUN}")
    expect(second.get_by_label("Model on the right")).to_have_value(f"run:{RUN}")
    ask(second, "[DENY]")
    wait_until_done(second)
    expect(badge(page, 0)).to_have_text("DDENY0.93", timeout=PATIENCE)


def test_what_ends_otherwise_is_said_in_words(window):
    page = opened(window)
    ask(page, "[plain] [fail]")
    wait_until_done(page)
    expect(answer(page, 0)).to_contain_text("回答を表示できません")
    expect(answer(page, 0)).to_contain_text("最終回答を出さずに終わりました")
    trouble = answer(page, 1).locator(".so-trouble")
    expect(trouble).to_contain_text("9000 トークン")
    expect(trouble).to_contain_text("短くする")
    ask(page, "[seal]")
    wait_until_done(page)
    expect(answer(page, 1)).to_contain_text("フィルターがここで閉じました")
    expect(answer(page, 0)).to_contain_text("3. 担当")
    page.locator(".so-chat-settings summary").click()
    page.locator('[data-tune="max_tokens"]').fill("80")
    page.locator('[data-tune="max_tokens"]').press("Tab")
    ask(page, "[long]")
    wait_until_done(page)
    expect(answer(page, 1)).to_contain_text("最大長に達した")
    expect(answer(page, 1)).to_contain_text("80 トークン")


def test_the_library_fills_the_input_enter_makes_a_line_and_a_kana_conversion_sends_nothing(window):
    page = opened(window)
    page.locator("#so-chat .so-chat-body").focus()
    page.keyboard.press("/")
    expect(part(page, "search")).to_be_focused()
    expect(part(page, "prompts").locator("section:visible")).to_have_count(4)
    part(page, "search").fill("ｐｒｅ 見つからない")
    expect(part(page, "no-prompts")).to_be_visible()
    part(page, "search").fill("deny 給与額")
    expect(part(page, "prompts").locator(".so-chip:visible").first).to_contain_text("給与額")
    part(page, "prompts").locator(".so-chip:visible").first.click()
    expect(part(page, "input")).to_have_value(re.compile("給与額"))
    expect(part(page, "input")).to_be_focused()

    part(page, "input").fill("")
    page.keyboard.type("一行目")
    page.keyboard.press("Enter")
    page.keyboard.type("二行目")
    expect(part(page, "input")).to_have_value("一行目\n二行目")
    asked: list[str] = []
    page.on("request", lambda request: request.method == "POST" and "/chat/" in request.url and asked.append(request.url))
    part(page, "input").dispatch_event(
        "keydown", {"key": "Enter", "ctrlKey": True, "isComposing": True, "bubbles": True}
    )
    wait_for_ticks(page, 1)
    assert asked == []
    expect(page.locator(".so-turn")).to_have_count(0)


@slowly
def test_the_reader_is_followed_only_at_the_end(window):
    page = opened(window, viewport={"width": 1200, "height": 640})
    ask(page, "[long]")
    gap = "(() => { const b = document.querySelector('.so-chat-body'); return b.scrollHeight - b.scrollTop - b.clientHeight; })()"
    page.wait_for_function("document.querySelector('.so-chat-body').scrollHeight > 700", timeout=PATIENCE)
    assert page.evaluate(gap) < 40
    body = page.locator(".so-chat-body")
    body.evaluate("body => { body.scrollTop = 0; }")
    grown = body.evaluate("body => body.scrollHeight")
    page.wait_for_function(f"document.querySelector('.so-chat-body').scrollHeight > {grown}", timeout=PATIENCE)
    assert body.evaluate("body => body.scrollTop") == 0
    page.get_by_role("button", name="最新へ").click()
    assert page.evaluate(gap) < 40


@slowly
def test_nothing_streams_while_nobody_looks(window):
    page = window("/ja/?tab=train")
    asked: list[str] = []
    page.on("request", lambda request: "/chat/" in request.url and asked.append(request.url))
    wait_for_ticks(page)
    assert asked == []
    page.get_by_role("tab", name="チャット").click()
    expect(part(page, "send")).to_be_enabled()
    assert any("/chat/stream" in url for url in asked)
    ask(page, "[long]")
    page.get_by_role("tab", name="学習").click()
    expect(page.locator("#tab-chat-button")).to_have_class(re.compile("so-tab-runs"))
    page.get_by_role("tab", name="チャット").click()
    page.get_by_role("button", name="停止").click()
    wait_until_done(page)
    with page.expect_event("requestfailed", lambda request: "/chat/stream" in request.url):
        page.get_by_role("tab", name="学習").click()


def test_narrow_windows_stack_the_answers_without_sideways_scroll(window):
    page = opened(window, viewport={"width": 390, "height": 844})
    ask(page, "狭い画面 [DENY]")
    wait_until_done(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        first, second = answer(page, 0).bounding_box(), answer(page, 1).bounding_box()
        assert second["y"] >= first["y"] + first["height"] and first["width"] > 300
        box = part(page, "input").bounding_box()
        assert box["y"] + box["height"] <= 844
