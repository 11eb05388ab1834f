"""The answer format: what is built parses back; anything else is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from so8t_engine.answer.format import (
    ANSWER_FIELD,
    CLASSES,
    CONFIDENCE_FIELD,
    LABEL_FIELD,
    REASON_FIELD,
    SECTIONS,
    Answer,
    Final,
    FormatError,
    build,
    fields_so_far,
    label_span,
    neutralise,
    parse,
    parse_final,
)

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="<>:：\x85"), min_size=1, max_size=30)
clean = words.map(str.strip).filter(bool)


@st.composite
def answers(draw):
    label = draw(st.sampled_from(CLASSES))
    final = Final(label, draw(st.integers(0, 100)) / 100, draw(clean), draw(clean) if label == "ALLOW" else "")
    return Answer(draw(words), draw(words), draw(words), final)


@given(answers())
def test_what_is_built_parses_back_and_shows_its_class(answer):
    text = build(answer)
    assert parse(text) == answer
    assert text[slice(*label_span(text))] == answer.final.label


GOOD = build(Answer("a", "b", "c", Final("ALLOW", 0.5, "r", "x")))

BROKEN = {
    "a section is missing": GOOD.replace("<think-safety>b</think-safety>", ""),
    "wrong order": GOOD.replace("<think-task>a</think-task><think-safety>b</think-safety>", "<think-safety>b</think-safety><think-task>a</think-task>"),
    "a section twice": GOOD.replace("<final>", "<think-task>a</think-task><final>"),
    "text before": "Sure. " + GOOD,
    "text after": GOOD + " ok",
    "text between": GOOD.replace("</think-task>", "</think-task> so "),
    "unclosed": GOOD.removesuffix("</final>"),
    "nested tag": GOOD.replace(">a<", "><final>a<"),
    "unknown class": GOOD.replace("ALLOW", "allow"),
    "no confidence": GOOD.replace("信頼度: 0.50\n", ""),
    "confidence above one": GOOD.replace("0.50", "1.01"),
    "confidence is NaN": GOOD.replace("0.50", "nan"),
    "confidence is no number": GOOD.replace("0.50", "high"),
    "no reason": GOOD.replace("理由: r", "理由: "),
    "no answer for ALLOW": GOOD.replace("\n回答: x", ""),
    "an answer for DENY": GOOD.replace("ALLOW", "DENY"),
    "a field twice": GOOD.replace("理由: r", "理由: r\n理由: s"),
    "a line of no field": GOOD.replace("理由: r", "理由: r\nhello"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_anything_else_is_refused(case):
    with pytest.raises(FormatError):
        parse(BROKEN[case])


def test_class_in_the_thinking_is_not_taken_for_the_decision():
    text = GOOD.replace(">b<", ">分類結果: REFUSE\n<")
    assert text[slice(*label_span(text))] == "ALLOW"
    assert label_span("分類結果: ALLOW") is None
    assert label_span(GOOD.replace("分類結果: ALLOW", "分類結果: MAYBE")) is None


def test_answer_may_run_over_several_lines():
    text = build(Answer("a", "b", "c", Final("ALLOW", 1.0, "r", "one\n\n二: two")))
    assert parse(text).final.answer == "one\n\n二: two"


@given(st.sampled_from(SECTIONS), st.sampled_from(["<", "</", "< ", "< / ", "<\n/"]), st.sampled_from([str.upper, str.lower, str.title]))
def test_every_spelling_of_a_tag_is_neutralised_and_other_text_kept(name, opening, case):
    typed = f"a < b <finish> {opening}{case(name)}> c"
    safe = neutralise(typed)
    assert safe == typed.replace(opening + case(name), "‹" + opening[1:] + case(name))
    assert neutralise(safe) == safe


NAMES = (LABEL_FIELD, CONFIDENCE_FIELD, REASON_FIELD, ANSWER_FIELD)


@given(answers())
def test_the_fields_of_a_final_that_is_being_written_are_never_another_class_or_number(answer):
    text = build(answer).partition("<final>")[2].removesuffix("</final>")
    final = parse_final(text)
    ends = fields_so_far(text, whole=True)
    assert [ends.get(name, "") for name in NAMES] == [final.label, f"{final.confidence:.2f}", final.reason, final.answer]
    for cut in range(len(text) + 1):
        found = fields_so_far(text[:cut])
        assert found.get(LABEL_FIELD, final.label) == final.label
        assert found.get(CONFIDENCE_FIELD, ends[CONFIDENCE_FIELD]) == ends[CONFIDENCE_FIELD]
        assert all(ends[name].startswith(found.get(name, "")) for name in ends)
        assert (LABEL_FIELD in found) == (text[:cut].count("\n") > 0)


def test_the_fields_of_what_is_no_final_are_those_that_can_be_read():
    assert fields_so_far("") == {}
    assert fields_so_far("こんにちは\n分類結果: MAYBE\nx") == {LABEL_FIELD: "MAYBE"}
    assert fields_so_far("回答： 一\n\n二: two\n理由: r\n理由: s\n分類結果: DE") == {ANSWER_FIELD: "一\n\n二: two", REASON_FIELD: "r"}
    assert fields_so_far("分類結果: DENY\n分類結果: ALLOW\n") == {LABEL_FIELD: "DENY"}
    assert fields_so_far("信頼度: 0.9") == {} and fields_so_far("信頼度: 0.9", whole=True) == {CONFIDENCE_FIELD: "0.9"}
    assert fields_so_far("理由: 途") == {REASON_FIELD: "途"}
