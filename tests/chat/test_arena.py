"""Blind rounds: an even toss, a veil that hides whose an answer is, votes that stay, and honest results."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from so8t_engine import BadInput
from so8t_engine.chat import arena, conversation
from so8t_engine.chat.arena import Candidate, Vote
from so8t_engine.chat.conversation import Side, Turn
from so8t_engine.chat.reply import Told
from so8t_engine.measure.statistics import sign_test

ORIGINAL = Candidate(key="original", name="original", weights="w-base")
RUN = Candidate(key="run:1", name="1", weights="w-run")
LATER = Candidate(key="run:1", name="1 final", weights="w-run")
OTHER = Candidate(key="run:2", name="2", weights="w-other")


def ballot(left, right, choice, number=0) -> Vote:
    return Vote(time=float(number), conversation=f"c{number}", left=left, right=right, choice=choice, prompts=1)


def blind(*turns, **more):
    sides = (Side(key="run:1", name="1"), Side(key="original", name="original"))
    return conversation.begin(sides, turns=turns, **{"blind": True, **more})


def turn(**more) -> Turn:
    left = Told(state="done", text="a", ended="complete", model="1 · step 8", weights="w-run")
    right = replace(left, model="original", weights="w-base")
    return Turn(prompt="p", answers=(replace(left, **more), right))


def test_the_toss_is_even():
    heads = sum(arena.swapped() for _ in range(2000))
    assert sign_test(heads, 2000 - heads)[0] > 1e-6


def test_a_vote_is_one_line_that_names_what_was_shown(tmp_path):
    file = tmp_path / "chat" / "votes.jsonl"
    given = arena.vote(file, blind(turn(), turn()), "left")
    assert json.loads(file.read_text(encoding="utf-8")) == given.model_dump()
    assert given.left == Candidate(key="run:1", name="1 · step 8", weights="w-run")
    assert (given.right, given.choice, given.prompts) == (ORIGINAL, "left", 2)
    arena.vote(file, blind(turn()), "bad")
    assert [one.choice for one in arena.votes(file)] == ["left", "bad"]


@pytest.mark.parametrize(
    "kept, choice, code",
    [
        (blind(turn()), "middle", "chat.bad_vote"), (blind(turn(), blind=False), "tie", "chat.not_blind"),
        (blind(turn(), vote="left"), "left", "chat.voted"), (blind(), "tie", "chat.nothing_asked"),
        (blind(turn(), turn(ended="failed")), "left", "chat.unfair_vote"),
        (blind(turn(weights="")), "left", "chat.unfair_vote"),
    ],
)  # fmt: skip
def test_a_vote_that_would_measure_nothing_is_refused(tmp_path, kept, choice, code):
    with pytest.raises(BadInput) as caught:
        arena.vote(tmp_path / "votes.jsonl", kept, choice)
    assert caught.value.code == code and not (tmp_path / "votes.jsonl").exists()


def test_votes_survive_half_a_line_and_count_once_a_conversation(tmp_path):
    file = tmp_path / "votes.jsonl"
    first = arena.vote(file, blind(turn()), "left")
    file.write_bytes(file.read_bytes() + b"[]\n" + b'{"time": 1, "conv')
    second = arena.vote(file, blind(turn()), "right")
    with file.open("ab") as stream:
        stream.write(first.model_copy(update={"choice": "right"}).model_dump_json().encode() + b"\n")
    assert arena.votes(file) == [first, second]
    assert arena.votes(tmp_path / "none.jsonl") == []


def test_results_count_for_the_model_whichever_side_it_stood_on():
    given = [
        ballot(RUN, ORIGINAL, "left", 1), ballot(ORIGINAL, RUN, "right", 2), ballot(ORIGINAL, LATER, "left", 3),
        ballot(RUN, ORIGINAL, "tie", 4), ballot(ORIGINAL, RUN, "bad", 5), ballot(ORIGINAL, ORIGINAL, "left", 6),
        ballot(OTHER, RUN, "tie", 7), ballot(ORIGINAL, LATER, "tie", 8),
    ]  # fmt: skip
    newest, other = arena.results(given)
    assert (newest["left"], newest["right"]) == ("1 final", "original")
    assert (newest["left_weights"], newest["right_weights"]) == ("w-run", "w-base")
    assert [newest[name] for name in ("wins", "losses", "ties", "bad")] == [2, 1, 2, 1]
    p, share, low, high = sign_test(2, 1)
    assert (newest["p"], newest["share"], newest["low"], newest["high"], newest["decided"]) == (p, share, low, high, False)
    assert (other["wins"], other["losses"], other["ties"]) == (0, 0, 1)
    assert [other[name] for name in ("share", "low", "high", "p", "decided")] == [None] * 4 + [False]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(arena.CHOICES)), min_size=1, max_size=40))
def test_turning_every_round_about_changes_no_result(rounds):
    turned = {"left": "right", "right": "left"}
    given = [ballot(*((ORIGINAL, RUN) if way else (RUN, ORIGINAL)), choice, i) for i, (way, choice) in enumerate(rounds)]
    mirrored = [ballot(one.right, one.left, turned.get(one.choice, one.choice), i) for i, one in enumerate(given)]
    assert arena.results(given) == arena.results(mirrored)


def test_a_pair_is_decided_only_when_chance_is_unlikely():
    five = arena.results([ballot(RUN, ORIGINAL, "left", i) for i in range(5)])[0]
    six = arena.results([ballot(RUN, ORIGINAL, "left", i) for i in range(6)])[0]
    assert (five["p"], five["decided"]) == (pytest.approx(0.0625), False)
    assert (six["p"], six["decided"]) == (pytest.approx(0.03125), True)


def test_the_veil_leaves_nothing_that_tells_whose_an_answer_is():
    shown = Told(
        state="answering", text="t", label="ALLOW", confidence=0.5, reason="r", answer="a", formal=True, ended="failed",
        first_token=0.1, first_shown=0.2, tokens=9, tokens_per_second=5.0, model="m", weights="w", audit=4,
        error="ollama.silent", facts={"where": "http://127.0.0.1:11434"},
    )  # fmt: skip
    kept = {"state", "text", "label", "confidence", "reason", "answer", "formal", "ended"}
    blank = asdict(Told()) | {"error": "chat.side_failed"}
    assert asdict(arena.veil(shown)) == blank | {name: getattr(shown, name) for name in kept}
    assert arena.veil(replace(shown, error="")).error == ""
