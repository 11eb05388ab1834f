"""The checks of the Japanese test: every question by a right and a wrong answer, each kind by example and as a property."""

import json
import unicodedata
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from japanese_papers import ANSWERS, PROMPTS

from so8t_engine.export import japanese_checks as c
from so8t_engine.export.japanese_numbers import numbers, stated
from so8t_engine.export.japanese_prompts import CATEGORIES

# The questions


def failing(prompt, text):
    return [check.name for check, passed in zip(prompt.checks, prompt.passed(text), strict=True) if not passed]


def test_five_categories_with_at_least_eight_questions_each():
    counts = Counter(prompt.category for prompt in PROMPTS.values())
    assert list(counts) == list(CATEGORIES) and min(counts.values()) >= 8
    assert ANSWERS.keys() == PROMPTS.keys()
    assert all(len(prompt.turns) % 2 == 1 for prompt in PROMPTS.values())
    assert all(len(prompt.turns) >= 3 for prompt in PROMPTS.values() if prompt.category == "dialogue")


@pytest.mark.parametrize("id", PROMPTS)
def test_a_right_answer_passes_every_check_and_a_wrong_one_does_not(id):
    prompt, answers = PROMPTS[id], ANSWERS[id]
    for text in (answers["right"], *answers.get("also", [])):
        assert not failing(prompt, text), text
    assert failing(prompt, answers["wrong"])


@pytest.mark.parametrize("id", PROMPTS)
def test_an_answer_that_passes_by_chance_is_not_to_be_had(id):
    prompt = PROMPTS[id]
    others = [ANSWERS[other]["right"] for other in PROMPTS if other != id]
    assert all(failing(prompt, text) for text in (*others, "はい。", "123"))
    for nothing in ("", " \n", "わかりません。", "そのご質問にはお答えできません。", prompt.turns[-1]):
        assert failing(prompt, nothing) == [check.name for check in prompt.checks]


@pytest.mark.parametrize("id", PROMPTS)
def test_full_width_forms_are_read_as_half_width_ones(id):
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code) not in '{}[]":,'}
    answer = ANSWERS[id]["right"]
    assert not failing(PROMPTS[id], answer if answer.startswith("{") else answer.translate(wide))


@pytest.mark.parametrize(
    "text", ["はい。", "今日はいい天気です。", "何か他にご用はありますか。", "This is an answer in English."]
)
def test_a_sentence_that_says_nothing_of_what_was_asked_scores_next_to_nothing(text):
    passed = [hit for prompt in PROMPTS.values() for hit in prompt.passed(text)]
    assert sum(passed) < 0.03 * len(passed)


def test_every_question_has_a_check_of_what_is_said():
    assert all(any(isinstance(check, c.SUBSTANCE) for check in prompt.checks) for prompt in PROMPTS.values())


def test_each_check_of_a_question_has_a_name_of_its_own():
    for prompt in PROMPTS.values():
        names = [check.name for check in prompt.checks]
        assert len(set(names)) == len(names), prompt.id


def test_no_right_number_stands_in_its_question():
    for prompt in PROMPTS.values():
        for check in prompt.checks:
            if isinstance(check, c.Number):
                said = {one.value for turn in prompt.turns for one in numbers(unicodedata.normalize("NFKC", turn))}
                assert not said & set(check.values), prompt.id


# Numbers


def kanji(number: int) -> str:
    """As a Japanese reader writes it: 12034 is 一万二千三十四."""
    if number == 0:
        return "零"
    figures, text = "〇一二三四五六七八九", ""
    for large, mark in ((10**12, "兆"), (10**8, "億"), (10**4, "万"), (1, "")):
        group, number = divmod(number, large)
        if not group:
            continue
        for small, sign in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
            figure, group = divmod(group, small)
            if figure:
                text += ("" if figure == 1 and sign else figures[figure]) + sign
        text += mark
    return text


@given(st.integers(0, 10**16 - 1))
def test_every_form_of_a_number_is_read(number):
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in str(number))
    positional = "".join("〇一二三四五六七八九"[int(letter)] for letter in str(number))
    for text in (str(number), f"{number:,}", wide, kanji(number), positional, f"{number}.0"):
        (found,) = numbers(unicodedata.normalize("NFKC", f"それは{text}です"))
        assert found.value == number, text


@pytest.mark.parametrize(
    "text, value",
    [("1万2千", 12000), ("3.5", "3.5"), ("二千二十六", 2026), ("二〇二六", 2026), ("百万", 10**6), ("十", 10), ("1,234,567", 1234567)],
)  # fmt: skip
def test_mixed_forms(text, value):
    assert [one.value for one in numbers(text)] == [Decimal(value)]


def test_a_list_is_no_large_number():
    assert [one.value for one in numbers("12,34と1,2")] == [12, 34, 1, 2]


@pytest.mark.parametrize(
    "text, value",
    [
        ("答え: 37個", 37), ("答えは三十七個です。", 37), ("37個", 37), ("残りは37個です。", 37), ("37", 37), ("37です。6個が7袋で、5個を食べました。", 37),
        ("6×7=42、42-5=37", 37), ("6個が7袋で42個、5個を引いて37個", 37), ("答え: 42-5=37個", 37), ("答え:\n37個", 37),
        ("37個から5個を引いて、答え: 32個", 32), ("37個あるうちの5個", 5), ("三つあります", None), ("", None),
    ],
)  # fmt: skip
def test_the_number_is_the_one_that_is_answered(text, value):
    assert stated(text, ["個"]) == value


@given(st.integers(0, 9999), st.integers(0, 9999))
def test_a_right_number_on_the_way_to_another_answer_does_not_count(right, other):
    check = c.Number((right,), ("個",))
    assert check.passes(f"まず{right}個を数えます。答え: {other}個") == (right == other)
    assert check.passes(f"まず{other}個を数えます。答え: {kanji(right)}個です。")


# The other kinds

PASSING = [
    (c.Fact(("東京",)), "東 京都です"), (c.Fact(("api",)), "ＡＰＩのこと"), (c.Absent(("卵",)), "牛乳"),
    (c.Only(("矛盾",)), "「矛盾」です。"), (c.Only(("はい",)), "答えは、はい。"), (c.Order((("上",), ("下", "した"))), "上から した"),
    (c.Length(2, 3), "あ い\nう"), (c.Sentences(2, 2), "行く。帰る"), (c.Sentences(1, 1), "値は3.5です。"), (c.Sentences(1, 1), "ええと…行きます。"),
    (c.Japanese(0.7), "これは短い文ですが、APIです。"), (c.Japanese(0.8), "漢字"), (c.Kana(), "らーめん、おいしい"),
    (c.Repetition(), "春は花、夏は海、秋は月、冬は雪。"), (c.Repetition(), "ははは"), (c.Listed(3), "1. 赤\n2. 青\n3. 白"), (c.Listed(3), "① 赤 ② 青 ③ 白"),
    (c.Listed(2), "・赤\n・青"), (c.Listed(3), "三つ挙げます。\n1) 赤\n2) 青\n3) 白"), (c.Listed(2), "一、赤\n二、青"), (c.Listed(2), "- **赤**: 色\n- **青**: 色"),
    (c.Json(("甲",), ("甲",)), '{"甲": 1.5}'), (c.Json(("甲",)), "```json\n{\"甲\": \"乙\"}\n```"), (c.Field("甲", ("2",)), '{"甲": 2}'),
    (c.Style(True), "行きます。帰りました。「よいです」"), (c.Style(True), "行けますか。"), (c.Style(False), "行く。帰った。"),
    (c.Answered(), "お答えします。"), (c.Answered(), "昨日は行けませんでした。理由はわかりませんが、道が混んでいました。"), (c.Answered(), "魅力はうまく説明できないほどだ。"),
]  # fmt: skip

FAILING = [
    (c.Fact(("東京",)), "京都です"), (c.Absent(("卵",)), "卵と牛乳"), (c.Only(("矛盾",)), "矛盾か中立です。"), (c.Only(("はい",)), "いいえ"),
    (c.Order((("上",), ("下",))), "下から上"), (c.Order((("上",), ("下",))), "上だけ"), (c.Length(2, 3), "あ"), (c.Length(2, 3), "ありがと"),
    (c.Sentences(2, 2), "行く。"), (c.Sentences(1, 1), "行く。帰る。"), (c.Japanese(0.8), "This is not Japanese です"),
    (c.Japanese(0.5), "今天的天气非常好我们一起去公园散步吧朋友们都在那里等着"), (c.Japanese(0.5), "12345"), (c.Kana(), "今日はいい日"), (c.Kana(), "カタカナ"),
    (c.Repetition(), "とても良いです。" * 5), (c.Repetition(), "あああああああああ"), (c.Repetition(), "今日は晴れです。明日は晴れです。" * 3),
    (c.Listed(3), "1. 赤\n2. 青"), (c.Listed(3), "1. 赤\n2. 青\n3. 白\n4. 黒"), (c.Listed(3), "赤、青、白"), (c.Listed(2), "1. 赤\n3. 青"),
    (c.Json(("甲",)), '{"乙": 1}'), (c.Json(("甲",)), '{"甲": 1, "乙": 2}'), (c.Json(("甲",)), '[1]'), (c.Json(("甲",)), '答え: {"甲": 1}'),
    (c.Json(("甲",), ("甲",)), '{"甲": "1"}'), (c.Json(("甲",), ("甲",)), '{"甲": true}'), (c.Json(("甲",)), '{"甲": ' + "[" * 20_000),
    (c.Field("甲", ("2",)), '{"甲": 3}'), (c.Field("甲", ("2",)), "甲は2"), (c.Style(True), "行く。帰ります。"), (c.Style(False), "行きます。"),
    (c.Answered(), "申し訳ありませんが、そのご質問にはお答えできません。"), (c.Answered(), "その依頼には対応いたしかねます。"),
    (c.Answered(), "AI言語モデルとして、意見を述べることはできません。"), (c.Answered(), "I'm sorry, but I cannot help with that."), (c.Answered(), "回答は差し控えます。"),
    (c.Answered("何時 ですか"), "何時ですか"), (c.Answered(), "申し訳ありませんが、わかりません。"),
]  # fmt: skip


@pytest.mark.parametrize("check, text", PASSING)
def test_what_passes(check, text):
    assert check.passes(text)


@pytest.mark.parametrize("check, text", FAILING)
def test_what_fails(check, text):
    assert not check.passes(text)


def test_every_kind_was_seen_to_pass_and_to_fail():
    for cases in (PASSING, FAILING):
        assert {check.kind for check, _ in cases} | {"number"} == set(c.KINDS)


EVERY = [check for prompt in PROMPTS.values() for check in prompt.checks]


@given(st.text(max_size=200))
def test_no_text_breaks_a_check_and_its_compatible_forms_count_alike(text):
    for check in EVERY:
        passed = check.passes(text)
        if not isinstance(check, c.Json | c.Field | c.Listed):
            assert passed == check.passes(unicodedata.normalize("NFKC", text.replace("…", "〜"))), check
        assert not (passed and not text.strip())


@given(st.text("あいうえおかきくけこ、。", min_size=6, max_size=40), st.integers(4, 20))
def test_going_round_in_circles_is_a_repetition(unit, times):
    assert not c.Repetition().passes(unit * times)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4), st.booleans())
def test_json_has_exactly_the_asked_keys(content, fenced):
    text = json.dumps(content, ensure_ascii=False, indent=1)
    text = f"```json\n{text}\n```" if fenced else text
    assert c.Json(tuple(content)).passes(text)
    assert not c.Json((*content, "ほかの項目")).passes(text)
