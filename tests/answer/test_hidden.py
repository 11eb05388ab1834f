"""The thinking filter: nothing hidden ever comes out, whatever the model says and however its text is cut.

`reference` says of a whole text what may be shown of it, by other means than the filter: it looks at all of it at once.
"""

import codecs
import random
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made import answer

from so8t_engine.answer.format import CLASSES, SECTIONS, FormatError, parse, parse_final
from so8t_engine.answer.hidden import NO_ANSWER, ThinkingFilter

ORDER = tuple(tag for name in SECTIONS for tag in (f"<{name}>", f"</{name}>"))
SECRET = "აბგდევზთ"
"""Letters that stand in hidden places alone."""

INVISIBLE = ["\u200b", "\u200d", "\ufeff", "\u2060", "\u00ad", "\u034f", "\ufe0f", "\u115f", "\u3164", "\x00", "\x08"]
FORGED = [
    "<Think-Task>", "<THINK-TASK>", "</FINAL>", "<Final>", "< think-task>", "<think-task >", "< / think-task >", "</ final>",
    "<\n/final>", "<think-task/>", '<think-task class="x">', "<final x>", "<think>", "</think>", "<thinking>", "<think_task>",
    "<think task>", "<thinktask>", "<think-tasks>", "<finally>", "<final_answer>", "<final", "<think", "＜think-task＞", "＜/final＞",
    "<ｔｈｉｎｋ-task>", "<／final>", "﹤final﹥", "<ﬁnal>", "<th\u0308ink>", "<thïnk>", "<fİnal>", "≮think-task>",
    "<|think|>", "<|/final|>", "<\\think>",
    *(f"<{sign}think-task>" for sign in INVISIBLE), *(f"<thi{sign}nk-task>" for sign in INVISIBLE), f"<{INVISIBLE[0]}/fin{INVISIBLE[2]}al>",
]  # fmt: skip
ORDINARY = ["<", "x < y", "<b>", "3<4", "<3", "a <= b", "<<", "<>", "</b>", "<thought>", "<fine>", "< t >", "<t>", "</f>", "<thin>", "<fin>", "<-", "＜3", "《final》"]
FINAL = "分類結果: ALLOW\n信頼度: 0.90\n理由: 害はありません。\n回答: {}"


def whole(body: str, hidden: str = SECRET) -> str:
    """An answer with that text in <final>."""
    return "".join(f"{ORDER[i]}{hidden}{ORDER[i + 1]}" for i in (0, 2, 4)) + f"<final>{body}</final>"


def shown(*pieces: str) -> str:
    """What the filter lets out of those pieces, without the message for an answer that has nothing to show."""
    hidden = ThinkingFilter()
    return "".join(hidden.feed(piece) for piece in pieces)


# --- the reference -------------------------------------------------------------------------------------------------


def flattened(text: str) -> tuple[str, list[int]]:
    """`text` as a reader sees it (plain small letters, nothing invisible), and where in `text` each letter stands."""
    letters, places = "", []
    for i, sign in enumerate(text):
        for letter in unicodedata.normalize("NFKD", sign).lower():
            if letter.isspace():
                letter = " "
            elif unicodedata.category(letter)[0] in "CM" or letter in "\u115f\u1160":
                continue
            letters += letter
            places.append(i)
    return letters, places


def reference(text: str) -> tuple[str, str]:
    """What may be shown of `text`, and the class that it names; the end of `text` may be the middle of an answer."""
    flat, places = flattened(text)
    count, at = 0, 0  # tags passed, and where the last one ended
    begin = end = None
    for match in re.finditer(r"<[ /\\|]*(?=think|final)", flat):
        start = places[match.start()]
        if count == 6 and text[at:start].strip():
            return "", ""
        if not text.startswith(ORDER[count], start):
            end = start  # out of place, or not whole yet: nothing from here on
            break
        count, at = count + 1, start + len(ORDER[count])
        if count == 7:
            begin = at
        if count == 8:
            end = start
            break
    if begin is None:
        return "", ""
    if end is None and (tail := re.search(r"<[ /\\|]*(t(h(in?)?)?|f(i(na?)?)?)?\Z", flat)) and places[tail.start()] >= begin:
        end = places[tail.start()]
    content = text[begin:end]
    lines = content.split("\n")
    named = [found for line in (lines if count == 8 else lines[:-1]) if (found := class_of(line))]
    if count < 8 and not named:
        return "", ""
    return content, named[0] if named else ""


def class_of(line: str) -> str:
    """The class in a 分類結果 line, "" in any other."""
    name, _, value = line.replace("：", ":", 1).partition(":")
    return value.strip() if name.strip() == "分類結果" and value.strip() in CLASSES else ""


def check(text: str, pieces: list[str]) -> None:
    """Feed `pieces` of `text` and compare every moment with the reference."""
    hidden, out, fed = ThinkingFilter(), "", ""
    for piece in pieces:
        more = hidden.feed(piece)
        out, fed = out + more, fed + piece
        expected, label = reference(fed)
        assert out == expected, (fed, pieces)
        assert hidden.label == label, (fed, pieces)
    message = hidden.close()
    assert message == ("" if out.strip() else NO_ANSWER)
    assert fed == text
    assert hidden.feed(SECRET) == "", "closed is closed"


# --- whole answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", CLASSES)
def test_a_whole_answer_shows_its_final_however_it_is_cut(label):
    text = answer(label)
    final = text.partition("<final>")[2].removesuffix("</final>")
    for cut in range(len(text) + 1):
        hidden = ThinkingFilter()
        assert hidden.feed(text[:cut]) + hidden.feed(text[cut:]) == final
        assert hidden.close() == ""
        assert (hidden.complete, hidden.sealed, hidden.label, hidden.final) == (True, False, label, parse(text).final)
    check(text, list(text))


@pytest.mark.parametrize("tag", ORDER)
def test_a_tag_is_a_tag_however_it_is_cut(tag):
    text = whole(FINAL.format("はい <b>"))
    start = text.index(tag)
    for first in range(start, start + len(tag) + 1):
        for second in range(first, start + len(tag) + 1):
            assert shown(text[:first], text[first:second], text[second:]) == FINAL.format("はい <b>")


@pytest.mark.parametrize("tag", [*ORDER, *FORGED, "<", "<th", "<fina"])
def test_text_with_a_tag_or_the_beginning_of_one_is_not_untagged(tag):
    for pieces in ([f"答えは三です。{tag}"], [*f"答えは三です。{tag}"]):
        hidden = ThinkingFilter()
        assert "".join(map(hidden.feed, pieces)) == "" and not hidden.untagged


@pytest.mark.parametrize("words", ["", "答えは三です。", *(f"a {words}. b" for words in ORDINARY)])
def test_text_without_one_is_untagged_and_stays_hidden_all_the_same(words):
    hidden = ThinkingFilter()
    assert hidden.feed(words) == "" and hidden.untagged and hidden.close() == NO_ANSWER


def test_bytes_cut_within_a_character_show_the_same():
    text = whole(FINAL.format("絵文字 🎌 と 鷗。"))
    data = text.encode("utf-8")
    for cut in range(len(data) + 1):
        decode = codecs.getincrementaldecoder("utf-8")().decode
        assert shown(decode(data[:cut]), decode(data[cut:], final=True)) == FINAL.format("絵文字 🎌 と 鷗。")


@pytest.mark.parametrize("words", ORDINARY)
def test_an_ordinary_bracket_is_left_alone(words):
    body = FINAL.format(f"a {words} b\n{words}")
    text = whole(body)
    assert shown(text) == shown(*text) == body
    hidden = ThinkingFilter()
    hidden.feed(text)
    hidden.close()
    assert hidden.final == parse_final(body)


@pytest.mark.parametrize("words", ORDINARY)
def test_an_ordinary_bracket_in_the_thinking_changes_nothing(words):
    assert shown(*whole(FINAL.format("x"), hidden=f"{SECRET}{words} {SECRET}")) == FINAL.format("x")


# --- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [*FORGED, *ORDER])
def test_a_tag_out_of_place_shuts_the_filter(tag):
    """In a hidden section it opens nothing; in <final> nothing comes out behind it, nor behind a second <final>."""
    for section in (0, 2, 4):
        closing = ORDER[section + 1]
        if tag == closing:
            continue
        text = whole(FINAL.format("x")).replace(closing, f"{tag}{SECRET}{closing}{SECRET}", 1)
        assert shown(text) == shown(*text) == ""
    if tag == "</final>":
        return
    for start in ("", "分類結果: DENY\n", FINAL.format("x")):
        text = whole(f"{start}{tag}{SECRET}</think-policy><final>{SECRET}</final>{SECRET}")
        expected = start if "\n" in start else ""
        assert shown(text) == shown(*text) == expected
        hidden = ThinkingFilter()
        hidden.feed(text)
        assert hidden.sealed and hidden.close() == ("" if expected else NO_ANSWER)
        assert hidden.final is None


@pytest.mark.parametrize("number", range(len(ORDER) - 1))
@pytest.mark.parametrize("way", ["missing", "twice", "forged", "with the next one"])
def test_every_tag_must_stand_once_in_its_place(number, way):
    tag, text = ORDER[number], whole(FINAL.format(SECRET))
    for other in {
        "missing": [""], "twice": [tag + tag, f"{tag}{SECRET}{tag}"], "forged": FORGED,
        "with the next one": [ORDER[number + 1] + tag],
    }[way]:  # fmt: skip
        broken = text.replace(tag, other, 1)
        assert shown(broken) == shown(*broken) == "", broken


@pytest.mark.parametrize("order", [(2, 0, 4), (0, 4, 2), (4, 2, 0), (2, 4), (0, 4), (0, 2), (0,), ()])
def test_sections_missing_or_in_another_order_show_nothing(order):
    text = "".join(f"{ORDER[i]}{SECRET}{ORDER[i + 1]}" for i in order) + f"<final>{FINAL.format(SECRET)}</final>"
    assert shown(text) == shown(*text) == ""


@pytest.mark.parametrize("between", [SECRET, ".", "<", "<b>", "\u200b", "</", "<fi <final>"])
def test_text_between_the_thinking_and_final_shuts_the_filter(between):
    text = whole(FINAL.format(SECRET)).replace("<final>", f"{between}<final>")
    assert shown(text) == shown(*text) == ""


def test_white_space_between_sections_and_other_text_before_the_last_one_is_dropped():
    text = whole(FINAL.format("x")).replace("><", ">\n\n\u3000<")
    assert shown(*f"{SECRET}\n{text}") == FINAL.format("x")
    assert shown(*text.replace("</think-task>", "</think-task>" + SECRET)) == FINAL.format("x")


@pytest.mark.parametrize("more", [SECRET, "\n" + SECRET, f"<final>{SECRET}</final>", f"<think-task>{SECRET}", whole(SECRET), "<"])
def test_nothing_comes_out_behind_final(more):
    text = whole(FINAL.format("x")) + more
    assert shown(text) == shown(*text) == FINAL.format("x")
    hidden = ThinkingFilter()
    hidden.feed(text)
    assert hidden.close() == ""
    assert hidden.sealed == (hidden.final is None) == any(tag in more for tag in ORDER)


@pytest.mark.parametrize("text", [whole(FINAL.format("a < b\n<i>x</i> <")), whole("理由だけ"), whole("分類結果: DENY"), whole(" \n"), whole(FINAL.format("x<think>" + SECRET))])
def test_an_answer_cut_anywhere_shows_a_beginning_of_what_it_would_have_shown(text):
    """The end token, a stop, and the longest length, at every position."""
    everything = shown(text)
    for cut in range(len(text) + 1):
        hidden = ThinkingFilter()
        out = "".join(map(hidden.feed, text[:cut]))
        assert everything.startswith(out)
        assert hidden.close() == ("" if out.strip() else NO_ANSWER)
        assert (hidden.final is not None) == (cut == len(text) and text == whole(FINAL.format("a < b\n<i>x</i> <")))
        check(text[:cut], [text[:cut]])


# --- streams that nobody would write -------------------------------------------------------------------------------

VISIBLE = ["分類結果: DENY\n", "分類結果：ALLOW", "分類結果: MAYBE\n", "信頼度: 0.5\n", "理由: x", "回答: y", "\n", "z", " ", *ORDINARY]


def random_stream(chance: random.Random) -> str:
    """Pieces of tags, right or forged; letters of SECRET wherever nothing may be shown, others inside <final>."""
    pieces: list[str] = []
    place, sealed = 0, False
    if chance.random() < 0.5:  # half of the streams begin well
        place = chance.choice([6, 7])
        pieces = [part for tag in ORDER[:place] for part in (tag, "" if tag in ORDER[5:7] else SECRET)]
        if place == 7:
            pieces += ["分類結果: DENY\n"] * chance.randrange(2)
    for _ in range(chance.randrange(12)):
        kind = chance.random()
        if kind < 0.35 and place < 8:
            tag = ORDER[place]
        elif kind < 0.5:
            tag = chance.choice(ORDER)
        elif kind < 0.6:
            tag = chance.choice(FORGED)
        elif place == 7 and not sealed:
            pieces.append(chance.choice(VISIBLE))
            continue
        elif place == 6 and kind < 0.8:
            pieces.append(chance.choice(" \n\t"))
            continue
        else:
            pieces.append(chance.choice(SECRET) * chance.randrange(1, 4))
            sealed = sealed or place == 6
            continue
        if place < 8 and tag == ORDER[place]:
            place += 1
        else:
            sealed = True
        pieces.append(tag)
    return "".join(pieces)


def cuts(chance: random.Random, text: str) -> list[str]:
    """`text` in pieces of random lengths."""
    places = sorted(chance.choices(range(len(text) + 1), k=chance.randrange(len(text) + 1)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def test_ten_thousand_random_streams_let_nothing_hidden_out():
    chance = random.Random(7)
    showed = 0
    for _ in range(10_000):
        text = random_stream(chance)
        out = shown(*cuts(chance, text))
        assert not set(out) & set(SECRET), text
        assert out == shown(text) == reference(text)[0], text
        showed += bool(out)
    assert showed > 1000, "the streams are worth little when hardly any of them shows something"


parts = st.sampled_from([*ORDER, *FORGED, *VISIBLE, *"<＜/>| tfhinkal-\n", *INVISIBLE, "thi", "fin", "分類結果:"])
soups = st.lists(parts, max_size=10).map("".join)
streams = st.one_of(
    soups, st.tuples(st.just(whole("").removesuffix("</final>")), soups).map("".join),
    st.tuples(st.just(whole("分類結果: DENY\n").removesuffix("</final>")), soups).map("".join),
)  # fmt: skip


@given(streams, st.randoms(use_true_random=False))
@example(whole("分類結果: MAYBE\n分類結果: DENY"), random.Random(0))
@example(whole("分類結果: DENY\u2028信頼度: 0.5\n"), random.Random(0))
def test_every_moment_of_every_stream_is_as_the_reference_says(text, chance):
    check(text, [text])
    check(text, cuts(chance, text))


# --- the class -----------------------------------------------------------------------------------------------------

lines = st.lists(st.sampled_from([*VISIBLE, *(f"分類結果: {name}\n" for name in CLASSES), "\r\n", "\u2028", "信頼度: 0.9\n", "理由: 短い\n"]), max_size=8)


@given(lines.map("".join))
@example("分類結果: DENY\u2028信頼度: 0.9\n理由: 短い\n")
def test_the_class_is_known_before_the_first_character_and_is_the_one_that_the_fields_name(body):
    hidden = ThinkingFilter()
    known = []
    for letter in whole(body):
        if hidden.feed(letter):
            known.append(hidden.label)
    hidden.close()
    assert set(known) <= {hidden.label}, "it never changes once something is shown"
    if any(map(class_of, body.split("\n"))):
        assert hidden.label
    try:
        final = parse_final(body)
    except FormatError:
        final = None
    assert hidden.final == (final if final and final.label == hidden.label else None)
    if final and "\u2028" not in body:
        assert hidden.final == final
