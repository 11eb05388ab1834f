"""Whole answers in batches: token for token those of one at a time, whoever else is in the batch and whatever happens to it."""

import random

import pytest
import torch
from canary import make_run
from transformers import AutoModelForCausalLM

from so8t_engine import BadInput
from so8t_engine.model import generate
from so8t_engine.model.answers import write
from so8t_engine.model.generate import Decoder, Row
from so8t_engine.model.voices import BASE, Voices
from so8t_engine.settings import ChatSettings, ModelSettings

LIMIT = 24
GREEDY = ChatSettings(temperature=0.0)


def prompts(count, longest=60, seed=0):
    chance = random.Random(seed)
    return [[1, *(chance.randrange(10, 2900) for _ in range(chance.randrange(longest)))] for _ in range(count)]


ASKED = prompts(30)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory, loud_model):
    """A model, its two voices, and what each answers to each of ASKED when it is alone."""
    found = Voices(loud_model, ModelSettings(dtype="float32"))
    folder = make_run(tmp_path_factory.mktemp("runs"), loud_model, **{"so8t.alpha": 400}).final_model
    names = [BASE, found.learn(folder)]
    found.ends = frozenset()
    return found, {name: [alone(found, name, ids) for ids in ASKED] for name in names}


def alone(voices, voice, ids, tokens=LIMIT):
    decoder, row = Decoder(voices), Row(ids, voice, GREEDY)
    decoder.join(row)
    while len(row.produced) < tokens:
        decoder.step()
    return row.produced


class Heard:
    """Watches answers: keeps the tokens of each, and says that one is over at the first token that `over` says yes to."""

    def __init__(self, over=lambda token: False):
        self.over, self.tokens, self.begun = over, {}, []

    def __call__(self, index):
        self.begun.append(index)
        tokens = self.tokens[index] = []

        def feed(token):
            assert not any(map(self.over, tokens)), "fed after it was over"
            tokens.append(token)
            return self.over(token)

        return feed


def cut(answer, over):
    """An answer up to and with the first token that `over` says yes to."""
    stop = next((place for place, token in enumerate(answer) if over(token)), len(answer) - 1)
    return answer[: stop + 1]


def written(voices, voice, asked, watch, rows, limit=LIMIT):
    """All answers by index; each must come out once."""
    found = list(write(voices, voice, asked, limit=limit, rows=rows, watch=watch))
    assert sorted(answer.index for answer in found) == list(range(len(asked)))
    return {answer.index: answer for answer in found}


def seventh(token):
    return token % 7 == 0


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("over", [lambda token: False, seventh], ids=["whole", "early"])
def test_answers_in_batches_are_those_of_one_at_a_time(speaking, rows, over):
    voices, wanted = speaking
    for voice, whole in wanted.items():
        heard = Heard(over)
        found = written(voices, voice, ASKED, heard, rows)
        for index, answer in enumerate(whole):
            assert heard.tokens[index] == cut(answer, over)
            assert found[index].tokens == len(heard.tokens[index])
            assert found[index].ended == ("over" if over(heard.tokens[index][-1]) else "length")
            assert 0 < found[index].first_seconds <= found[index].seconds
        assert sorted(heard.begun) == list(range(len(ASKED)))
        assert len(set(map(tuple, heard.tokens.values()))) > 20, "the answers must depend on the prompts"


def test_answers_of_the_base_model_are_those_of_transformers(speaking, loud_model):
    voices, _ = speaking
    model = AutoModelForCausalLM.from_pretrained(loud_model, dtype=torch.float32)
    heard = Heard()
    written(voices, BASE, ASKED[:12], heard, rows=5)
    for index, ids in enumerate(ASKED[:12]):
        wanted = model.generate(torch.tensor([ids]), max_new_tokens=LIMIT, do_sample=False, eos_token_id=None)
        assert heard.tokens[index] == wanted[0, len(ids) :].tolist()


def test_a_control_token_ends_an_answer_and_is_not_part_of_it(speaking, monkeypatch):
    voices, wanted = speaking
    for voice, whole in wanted.items():
        monkeypatch.setattr(voices, "ends", frozenset(range(0, 3072, 9)))
        heard = Heard()
        found = written(voices, voice, ASKED, heard, rows=8)
        for index, answer in enumerate(whole):
            ending = cut(answer, lambda token: token % 9 == 0)
            ended = ending[-1] % 9 == 0
            assert heard.tokens[index] == (ending[:-1] if ended else ending)
            assert (found[index].ended, found[index].tokens) == ("end" if ended else "length", len(ending))
        assert {"end", "length"} == {answer.ended for answer in found.values()}


def test_an_answer_ends_where_the_context_ends(speaking, monkeypatch):
    voices, wanted = speaking
    monkeypatch.setattr(voices, "context", 70)
    asked = [*ASKED[:6], [1] * 67]
    heard = Heard()
    found = written(voices, BASE, asked, heard, rows=4)
    for index, ids in enumerate(asked[:6]):
        assert heard.tokens[index] == wanted[BASE][index][: 70 - len(ids)]
    assert (found[6].tokens, found[6].ended) == (3, "length")
    with pytest.raises(BadInput) as error:
        next(write(voices, BASE, [*asked, [1] * 70], limit=5, rows=4, watch=heard))
    assert error.value.code == "chat.no_room"


@pytest.mark.parametrize("room", [3 * 40, 6 * 60, 9 * 85], ids=["one row", "few rows", "late"])
def test_a_full_memory_loses_no_answer_and_gives_none_twice(speaking, monkeypatch, room):
    """A memory that holds `room` tokens: the longest prompts with their answers just fit alone."""
    voices, wanted = speaking
    forward, sizes, failed = voices.forward, [], []

    def small(ids, positions, mask, cache, names, places=1):
        sizes.append(ids.shape[0])
        if ids.shape[0] * (cache.get_seq_length() + ids.shape[1]) > room:
            failed.append(len(sizes))
            raise torch.OutOfMemoryError("full")
        return forward(ids, positions, mask, cache, names, places)

    monkeypatch.setattr(voices, "forward", small)
    voice, whole = list(wanted.items())[-1]
    heard = Heard(seventh)
    found = written(voices, voice, ASKED, heard, rows=16)
    assert heard.tokens == {index: cut(answer, seventh) for index, answer in enumerate(whole)}
    assert all(found[index].tokens == len(tokens) for index, tokens in heard.tokens.items())
    assert len(heard.begun) > len(ASKED)
    assert failed and all(sizes[place] == sizes[place - 1] // 2 for place in failed), "half as many after each time"


def test_a_memory_too_small_for_one_row_is_an_error_after_what_was_done(speaking, monkeypatch):
    voices, wanted = speaking
    forward, threads = voices.forward, torch.get_num_threads()

    def small(ids, positions, mask, cache, names, places=1):
        if cache.get_seq_length() + ids.shape[1] > 70:
            raise torch.OutOfMemoryError("full")
        return forward(ids, positions, mask, cache, names, places)

    monkeypatch.setattr(voices, "forward", small)
    heard, found = Heard(), []
    with pytest.raises(torch.OutOfMemoryError):
        for answer in write(voices, BASE, ASKED, limit=LIMIT, rows=4, watch=heard):
            found.append(answer.index)
    assert sorted(found) == sorted(index for index, ids in enumerate(ASKED) if len(ids) + LIMIT <= 71)
    assert all(heard.tokens[index] == wanted[BASE][index] for index in found)
    assert torch.get_num_threads() == threads


def test_a_batch_that_is_broken_off_leaves_torchs_threads_as_they_were(speaking):
    voices, _ = speaking
    torch.set_num_threads(3)
    for rows in (1, 8):
        writing = write(voices, BASE, ASKED, limit=2, rows=rows, watch=Heard())
        next(writing)
        writing.close()
        assert torch.get_num_threads() == 3

    def broken(index):
        raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        list(write(voices, BASE, ASKED, limit=2, rows=1, watch=broken))
    assert torch.get_num_threads() == 3


@pytest.fixture
def poisoned(monkeypatch):
    """Memory that nobody has written to holds what is no number."""
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *shape: self.new_full(shape, float("nan")))


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_come_and_go_in_any_order_disturb_no_other(speaking, poisoned, seed):
    """Filled and joined, several or one, longer or shorter than what is there; and leaving, several or one."""
    voices, wanted = speaking
    chance, decoder = random.Random(seed), Decoder(voices)
    waiting = [(index, voice) for index in range(len(ASKED)) for voice in wanted]
    chance.shuffle(waiting)
    under_way, ended = {}, 0
    while waiting or decoder.rows:
        if waiting and (not decoder.rows or chance.random() < 0.2):
            new = [waiting.pop() for _ in range(min(len(waiting), chance.choice((1, 1, 2, 5))))]
            rows = [Row(ASKED[index], voice, GREEDY, keep=chance.choice(("", "side"))) for index, voice in new]
            under_way |= dict(zip(rows, new, strict=True))
            first = decoder.fill(rows) if chance.random() < 0.7 else [decoder.join(row) for row in rows]
            assert first == [row.produced[-1] for row in rows]
        going = [row for row in decoder.rows if len(row.produced) == LIMIT or chance.random() < 0.05]
        chance.shuffle(going)
        if going and chance.random() < 0.5:
            decoder.leave(*going)
        else:
            for row in going:
                decoder.leave(row)
        for row in going:
            index, voice = under_way.pop(row)
            assert row.produced == wanted[voice][index][: len(row.produced)]
            ended += 1
        if decoder.rows:
            assert decoder.step() == [row.produced[-1] for row in decoder.rows]
    assert ended == 2 * len(ASKED) and not under_way


def mixed(index):
    """How long an answer is, where the watch says so."""
    return random.Random(index).choice((2, LIMIT))


class Counted(Heard):
    """Says that an answer is over after `mixed` tokens."""

    def __call__(self, index):
        feed = super().__call__(index)
        return lambda token: feed(token) or len(self.tokens[index]) == mixed(index)


def test_answers_that_follow_others_take_no_more_memory(speaking, monkeypatch):
    """Rows of like length begin in the memory that others have left, so it need not hold the batch twice."""
    voices, wanted = speaking
    asked = sorted(ids[:10] for ids in ASKED if len(ids) >= 9)
    one, many = Counted(), Counted()
    for voice in wanted:
        written(voices, voice, asked, one, rows=1)
        with monkeypatch.context() as patch:
            patch.setattr(generate, "joined", lambda rows: pytest.fail("all rows were copied"))
            written(voices, voice, asked, many, rows=8)
        assert many.tokens == one.tokens


def test_rows_begin_where_others_end(speaking, monkeypatch):
    """No row waits for the longest answer: far fewer passes than if each batch were written to its end."""
    voices, wanted = speaking
    forward, passes = voices.forward, []
    monkeypatch.setattr(voices, "forward", lambda *args: passes.append(args[0].shape) or forward(*args))
    heard = Counted()
    found = written(voices, BASE, ASKED, heard, rows=8)
    assert all(found[index].tokens == mixed(index) for index in range(len(ASKED)))
    assert all(heard.tokens[index] == wanted[BASE][index][: mixed(index)] for index in range(len(ASKED)))
    assert max(rows for rows, _ in passes) == 8
    steps = sum(places == 1 for _, places in passes)
    assert steps < 0.75 * LIMIT * len(ASKED) / 8
