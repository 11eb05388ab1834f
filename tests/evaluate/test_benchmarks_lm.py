"""What the benchmark harness asks of the model, against plain transformers, one whole sequence at a time."""

import pytest
import torch
from canary import make_run
from made import DEMO_MODEL
from transformers import AutoModelForCausalLM, AutoTokenizer

from so8t_engine.evaluate.lm import LM
from so8t_engine.model.voices import Voices
from so8t_engine.settings import ModelSettings

LONG = "料理の作り方を説明します。" * 30
PAIRS = [
    ("What is the capital of France?\nAnswer:", " Paris"),
    ("What is the capital of France?\nAnswer:", " the city of London, I think"),
    ("What is the capital of France?\nAnswer:", " no"),
    ("田んぼが広がる風景を何という？\n\n### 応答：", "\n田園"),
    ("田んぼが広がる風景を何という？\n\n### 応答：", "\n海"),
    ("A context that ends with spaces  ", "word"),
    ("", "nothing before it"),
    ("yes", " yes"),
    (LONG, "終わり"),
    ("Question:", " " + LONG),
]


@pytest.fixture(scope="module")
def voices():
    return Voices(DEMO_MODEL, ModelSettings())


@pytest.fixture(scope="module")
def plain():
    """The same model and its tokenizer, without anything of ours."""
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(DEMO_MODEL)


def reference(plain, context: str, continuation: str, window: int = 4096) -> tuple[float, bool]:
    """The sum over the continuation's tokens in one pass over all of it."""
    model, tokenizer = plain
    bare = context.rstrip()
    head = tokenizer.encode(bare)
    ids = tokenizer.encode(context + continuation)
    tail = ids[len(head) :]
    ids = ((head or [tokenizer.bos_token_id]) + tail)[-(window + 1) :]
    with torch.inference_mode():
        steps = model(torch.tensor([ids[:-1]])).logits[0, -len(tail) :].double().log_softmax(-1)
    value = sum(steps[place, token].item() for place, token in enumerate(tail))
    return value, steps.argmax(-1).tolist() == tail


def likelihoods(lm: LM, pairs: list[tuple[str, str]]) -> list[tuple[float, bool]]:
    found = dict(lm.loglikelihood(pairs))
    assert sorted(found) == list(range(len(pairs)))
    return [found[number] for number in range(len(pairs))]


def same(found, wanted):
    for (value, greedy), (right, best) in zip(found, wanted, strict=True):
        assert value == pytest.approx(right, rel=2e-5, abs=2e-4)
        assert greedy == best


def test_loglikelihoods_are_those_of_whole_sequences(voices, plain):
    model, tokenizer = plain
    context = "The weather today is"
    ids = torch.tensor([tokenizer.encode(context)])
    likely = tokenizer.decode(model.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :])
    pairs = [*PAIRS, (context, " " + likely), (context, likely)]
    wanted = [reference(plain, *pair) for pair in pairs]
    assert any(best for _, best in wanted) and not all(best for _, best in wanted)
    same(likelihoods(LM(voices, "", 4), pairs), wanted)


def test_a_context_too_long_loses_its_beginning(voices, plain, monkeypatch):
    monkeypatch.setattr(voices, "context", 48)
    pairs = [(LONG, "終わり"), (LONG, "まだ終わりません"), ("yes", " no")]
    same(likelihoods(LM(voices, "", 4), pairs), [reference(plain, *pair, window=48) for pair in pairs])


def test_a_full_memory_halves_the_batch_and_changes_nothing(voices, monkeypatch):
    lm, sizes = LM(voices, "", 4), []
    wanted = likelihoods(lm, PAIRS)
    whole = voices.forward

    def forward(ids, *arguments):
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError
        return whole(ids, *arguments)

    monkeypatch.setattr(voices, "forward", forward)
    same(likelihoods(lm, PAIRS), wanted)
    assert max(sizes) > 2 and sizes[-1] <= 2

    monkeypatch.setattr(voices, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        likelihoods(lm, PAIRS)


def test_an_adapter_speaks_when_it_is_asked(tmp_path, plain):
    voices = Voices(DEMO_MODEL, ModelSettings())
    name = voices.learn(make_run(tmp_path, DEMO_MODEL).final_model)
    base, adapted = (likelihoods(LM(voices, voice, 4), PAIRS) for voice in ("", name))
    same(base, [reference(plain, *pair) for pair in PAIRS])
    assert all(abs(one - other) > 1e-3 for (one, _), (other, _) in zip(base, adapted, strict=True))


def test_a_text_longer_than_the_window_is_read_in_windows(voices, plain, monkeypatch):
    model, tokenizer = plain
    monkeypatch.setattr(voices, "context", 20)
    texts = ["short", "A text with more tokens than the window of this model. " * 3, LONG]
    found = dict(LM(voices, "", 4).loglikelihood_rolling([(text,) for text in texts]))
    for number, text in enumerate(texts):
        ids, total = tokenizer.encode(text), 0.0
        for place in range(len(ids)):  # each token predicted once; a window that is full moves on as a whole
            end = min(len(ids), (place // 20 + 1) * 20)
            window = [tokenizer.bos_token_id, *ids][max(0, end - 20) : place + 1]
            with torch.inference_mode():
                total += model(torch.tensor([window])).logits[0, -1].double().log_softmax(-1)[ids[place]].item()
        assert found[number] == pytest.approx(total, rel=2e-5), text


def test_answers_are_those_of_greedy_decoding_cut_at_the_stop(voices, plain, monkeypatch):
    model, tokenizer = plain
    monkeypatch.setattr(voices, "context", 80)  # room for 56 tokens of context: LONG loses its beginning
    contexts = ["Question: what is a garden?\nAnswer:", "料理とは何ですか。\n\n### 応答：", LONG, "分類結果:"]
    options = {"until": ["\n", "。"], "max_gen_toks": 24, "do_sample": False}
    found = dict(LM(voices, "", 2).generate_until([(context, options) for context in contexts]))
    assert len(found) == len(contexts) and any(found.values())
    for number, context in enumerate(contexts):
        ids = tokenizer.encode(context)[-56:]
        begun = len(ids)
        with torch.inference_mode():
            while len(ids) == begun or (len(ids) < begun + 24 and ids[-1] not in voices.ends):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        written = tokenizer.decode([one for one in ids[begun:] if one not in voices.ends])
        assert found[number].strip() == written.split("\n")[0].split("。")[0].strip()


def test_nothing_is_written_behind_the_stop(voices, monkeypatch):
    context, options = "Question: what is a garden?\nAnswer:", {"until": [], "max_gen_toks": 24}
    (_, written), *_ = LM(voices, "", 1).generate_until([(context, options)])
    passes, whole = [], voices.forward
    monkeypatch.setattr(voices, "forward", lambda *arguments: passes.append(1) or whole(*arguments))
    (_, cut), *_ = LM(voices, "", 1).generate_until([(context, options | {"until": [written.strip()[2]]})])
    assert len(passes) < 12 and len(cut) < len(written)
