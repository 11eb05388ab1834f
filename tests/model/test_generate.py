"""Answers that grow side by side: each with its own weights, none disturbed by the others."""

import random

import pytest
import torch
from canary import make_run
from transformers import AutoModelForCausalLM

from so8t_engine import BadInput, EngineError
from so8t_engine.errors import ModelError
from so8t_engine.model.cache import empty
from so8t_engine.model.generate import KEPT_ROWS, Decoder, Row, _sampled
from so8t_engine.model.voices import BASE, KEPT_ADAPTERS, Voices
from so8t_engine.settings import ChatSettings, ModelSettings

GREEDY = ChatSettings()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory, loud_model):
    """Two adapters of the same base that change much."""
    root = tmp_path_factory.mktemp("adapters")
    return [make_run(root, loud_model, f"run{i}", **{"so8t.alpha": 400 * (i + 1)}).final_model for i in range(2)]


@pytest.fixture
def voices(loud_model, adapters):
    found = Voices(loud_model, ModelSettings())
    return found, [BASE, *(found.learn(folder) for folder in adapters)]


def prompt(number, length):
    chance = random.Random(number)
    return [1, *(chance.randrange(10, 2900) for _ in range(length))]


def answered(decoder, rows, tokens=20, late=0):
    """Let all rows produce `tokens`; every row after the first joins `late` steps after the one before it."""
    waiting = list(rows)
    while waiting or decoder.rows:
        if waiting and (not late or not decoder.rows or len(decoder.rows[-1].produced) > late):
            decoder.join(waiting.pop(0))
        for row in list(decoder.rows):
            if len(row.produced) >= tokens:
                decoder.leave(row)
        if decoder.rows:
            decoder.step()
    return [row.produced for row in rows]


def alone(voices, row, tokens=20):
    return answered(Decoder(voices), [Row(row.prompt, row.voice, row.sampling)], tokens)[0]


def test_greedy_tokens_are_those_of_transformers(voices, loud_model):
    found, _ = voices
    model = AutoModelForCausalLM.from_pretrained(loud_model, dtype=torch.float32)
    for number in range(4):
        ids = prompt(number, 12)
        wanted = model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False, eos_token_id=None)[0, len(ids) :]
        assert answered(Decoder(found), [Row(ids, BASE, GREEDY)]) == [wanted.tolist()]


@pytest.mark.parametrize("late", [0, 1, 7])
def test_rows_of_any_length_and_voice_that_join_at_any_time_answer_as_if_alone(voices, late):
    found, names = voices
    rows = [Row(prompt(n, 3 + 11 * n), names[n % 3], GREEDY) for n in range(6)]
    together = answered(Decoder(found), rows, late=late)
    assert together == [alone(found, row) for row in rows]
    assert len({tuple(answer) for answer in together}) == 6


@pytest.mark.parametrize("quantization", ["none", "8bit", "4bit"])
def test_each_row_has_the_logits_of_its_own_weights(loud_model, adapters, quantization):
    """Against PEFT's own switches: `set_adapter` and `disable_adapter()`."""
    found = Voices(loud_model, ModelSettings(quantization=quantization))
    names = [BASE, *(found.learn(folder) for folder in adapters)]
    ids = torch.tensor([prompt(1, 15)])
    places = torch.arange(ids.shape[1])[None]
    with torch.inference_mode():
        rows = found.forward(ids.repeat(3, 1), places.repeat(3, 1), None, empty(), names)[:, -1]
        model = found._model
        for layer in found._adapted:
            layer.rows = None
        with model.disable_adapter():
            wanted = [model(input_ids=ids).logits[0, -1].float()]
        for name in names[1:]:
            model.set_adapter(name, inference_mode=True)
            wanted.append(model(input_ids=ids).logits[0, -1].float())
    close = 1e-3 if quantization == "none" else 0.15  # LLM.int8 finds its outliers in the whole batch
    for row, reference in zip(rows, wanted, strict=True):
        assert (row - reference).abs().max() < close * reference.abs().max()
    apart = (wanted[0] - wanted[1]).abs().max(), (wanted[1] - wanted[2]).abs().max()
    assert min(apart) > 0.3 * wanted[0].abs().max()


def test_what_is_kept_of_a_turn_changes_no_later_answer(voices):
    found, names = voices
    decoder = Decoder(found)
    first = prompt(3, 25)
    for voice in names:
        for later in ([*first, *prompt(4, 9)], first, first[:7] + prompt(5, 4), prompt(6, 5)):
            answered(decoder, [Row(first, voice, GREEDY, keep="side")])
            row = Row(later, voice, GREEDY, keep="side")
            assert answered(decoder, [row])[0] == alone(found, row)


def test_what_is_kept_is_read_again_only_as_far_as_it_differs(voices, monkeypatch):
    found, names = voices
    decoder, read = Decoder(found), []
    forward = found.forward
    monkeypatch.setattr(found, "forward", lambda ids, *rest: read.append(ids.shape[1]) or forward(ids, *rest))
    first = prompt(3, 25)
    answered(decoder, [Row(first, names[1], GREEDY, keep="side")])
    for later, voice, tokens in (([*first, 50, 51], names[1], 2), (first, names[2], 26), (first, names[2], 1)):
        read.clear()
        answered(decoder, [Row(later, voice, GREEDY, keep="side")])
        assert read[0] == tokens


def test_only_a_few_turns_are_kept(voices):
    found, _ = voices
    decoder = Decoder(found)
    for number in range(KEPT_ROWS + 3):
        answered(decoder, [Row(prompt(number, 5), BASE, GREEDY, keep=str(number))], tokens=2)
    assert len(decoder._kept) == KEPT_ROWS


def test_the_same_seed_draws_the_same_answer_whoever_else_speaks(voices):
    found, names = voices
    warm = [ChatSettings(temperature=1.0, top_p=0.9, seed=seed) for seed in (1, 1, 2)]
    rows = [Row(prompt(1, 9), names[1], sampling) for sampling in warm]
    before = torch.get_rng_state()
    one, same, other = answered(Decoder(found), rows)
    assert one == same != other and one == alone(found, rows[0])
    assert torch.equal(before, torch.get_rng_state())  # a training beside it keeps its random state


def test_sampling_has_the_nucleus_distribution():
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0, -4.0])
    row = Row([1], BASE, ChatSettings(temperature=0.8, top_p=0.9, seed=3))
    drawn = torch.bincount(torch.tensor([int(_sampled(logits, row)) for _ in range(4000)]), minlength=5) / 4000
    share = torch.softmax(logits / 0.8, -1)
    nucleus = torch.where(share.cumsum(-1) - share < 0.9, share, 0.0)
    assert (drawn - nucleus / nucleus.sum()).abs().max() < 0.03
    assert (drawn[nucleus == 0] == 0).all()


def test_a_prompt_without_room_for_an_answer_is_refused(voices):
    found, _ = voices
    assert Decoder(found).room([1] * (found.context - 3)) == 3
    with pytest.raises(BadInput) as error:
        Decoder(found).room([1] * found.context)
    assert error.value.code == "chat.no_room"


def test_weights_that_change_in_memory_are_noticed(voices):
    found, names = voices
    assert len({found.weights(name) for name in names}) == 3
    with torch.no_grad():
        found._adapted[0].so8t_B[names[1]].add_(1e-6)
    with pytest.raises(EngineError) as error:
        found.weights(names[2])
    assert error.value.code == "chat.weights_changed"


def test_a_layer_that_speaks_with_other_weights_is_noticed(voices, monkeypatch):
    found, names = voices
    layer = found._adapted[1]
    monkeypatch.setattr(layer, "_by_rows", lambda x, rows: layer.base_layer(x))
    with pytest.raises(EngineError) as error:
        Decoder(found).join(Row(prompt(1, 4), names[1], GREEDY))
    assert error.value.code == "chat.wrong_weights"


def test_the_hash_of_a_voice_is_that_of_its_files(loud_model, adapters, tmp_path):
    first, second = Voices(loud_model, ModelSettings()), Voices(loud_model, ModelSettings())
    assert first.weights(first.learn(adapters[0])) == second.weights(second.learn(adapters[0]))
    assert first.weights(BASE) == second.weights(BASE) != first.weights(first.learn(adapters[1]))


def test_adapters_beyond_the_few_that_are_held_give_way(loud_model, tmp_path):
    found = Voices(loud_model, ModelSettings())
    folders = [make_run(tmp_path, loud_model, f"r{i}", **{"so8t.alpha": 100 + i}).final_model for i in range(KEPT_ADAPTERS + 2)]
    hashes = [found.weights(found.learn(folder)) for folder in folders]
    assert [found.known(folder) is None for folder in folders] == [True, True, *[False] * KEPT_ADAPTERS]
    again = found.learn(folders[0])
    assert found.weights(again) == hashes[0] and len(set(hashes)) == len(hashes)
    row = Row(prompt(1, 6), again, GREEDY)
    fresh = Voices(loud_model, ModelSettings())
    assert alone(found, row) == alone(fresh, Row(row.prompt, fresh.learn(folders[0]), GREEDY))


@pytest.mark.parametrize("others", [0, 1])
def test_an_adapter_that_can_not_be_loaded_leaves_the_others_as_they_are(loud_model, adapters, tmp_path, others):
    found = Voices(loud_model, ModelSettings())
    names = [BASE, *(found.learn(folder) for folder in adapters[:others])]
    rows = [Row(prompt(1, 6), name, GREEDY) for name in names]
    before = [alone(found, row) for row in rows]
    strange = make_run(tmp_path, loud_model, "strange", **{"so8t.targets": ["o_proj"], "so8t.rotate": []}).final_model
    config = (adapters[0] / "adapter_config.json").read_bytes()
    (strange / "adapter_config.json").write_bytes(config)  # promises more layers than there are tensors
    with pytest.raises(ModelError) as error:
        found.learn(strange)
    assert error.value.code == "model.adapter_mismatch"
    assert [alone(found, row) for row in rows] == before
    assert len({found.weights(name) for name in names}) == len(names)
    assert alone(found, Row(prompt(1, 6), found.learn(adapters[1]), GREEDY)) not in before


def test_loading_draws_nothing_from_a_trainings_random_state(loud_model, adapters):
    before = torch.get_rng_state()
    Voices(loud_model, ModelSettings()).learn(adapters[0])
    assert torch.equal(before, torch.get_rng_state())
