"""The numbers of the gate: against references, and what they do with a file that is not the model."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from canary import CANARY
from scipy.special import rel_entr
from tiny_exports import Bench, disturb, leaks
from transformers import AutoModelForCausalLM

from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES
from so8t_engine.data.samples import Sample
from so8t_engine.errors import EngineError
from so8t_engine.export import llama_process
from so8t_engine.export.comparison import Thresholds, compare
from so8t_engine.export.llama import Llama
from so8t_engine.export.reference import ANSWER_TOKENS, Reference, Trial, before_end
from so8t_engine.measure.statistics import wilson
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.so8t import load_adapter

NEEDED = Thresholds(agreement=0.99, kl=0.02)


def trial(line=1, given=2, **changes):
    """One that gives CLASSES[given]; three words, an own answer of four tokens at 2 nats."""
    scores = tuple(-1.0 if place == given else -5.0 for place in range(4))
    one = Trial(
        Sample(line, f"prompt {line}", "DENY"), (1, 2), (5, 6, 7, 8), scores,
        np.log(np.array([0.7, 0.2, 0.1], np.float32)), (5, 6, 7), 2.0,
    )  # fmt: skip
    return replace(one, **changes)


MODEL = [trial(line) for line in range(1, 101)]


def test_a_file_that_does_the_same_passes():
    found = compare(MODEL, MODEL, NEEDED)
    assert found.passed and found.agreement == (1.0, *wilson(100, 100)) and found.kl[0] == 0
    assert found.greedy[0] == 1 and found.perplexity[2][0] == 0 and found.drifted == 0 and found.lines == ()


@pytest.mark.parametrize("count, passed", [(1, True), (2, False)])
def test_decisions_that_differ_are_counted_and_named(count, passed):
    """99 of 100 is 99 %: enough."""
    file = [trial(one.sample.line, 0 if one.sample.line <= count else 2) for one in MODEL]
    found = compare(MODEL, file, NEEDED)
    assert (found.passed, found.drifted, set(found.lines)) == (passed, count, set(range(1, count + 1)))
    assert found.agreement == ((100 - count) / 100, *wilson(100 - count, 100))
    assert (found.rows[0]["model"], found.rows[0]["file"]) == ("DENY", "ALLOW")


def test_a_far_distribution_fails_with_equal_decisions_and_names_the_furthest():
    other = np.array([0.1, 0.2, 0.7])
    file = [
        trial(one.sample.line, chances=np.log(other).astype(np.float32)) if one.sample.line in (7, 30) else one
        for one in MODEL
    ]
    found = compare(MODEL, file, NEEDED)
    wanted = rel_entr([0.7, 0.2, 0.1], other).sum() * 2 / 100
    assert found.kl[0] == pytest.approx(wanted, rel=1e-5) and found.kl[1] < wanted < found.kl[2]
    assert not found.passed and found.drifted == 0 and set(found.lines[:2]) == {7, 30} and len(found.lines) == 10


def test_answers_and_perplexities_are_compared():
    file = [trial(one.sample.line, written=(5, 9, 7), loss=2.4) if one.sample.line <= 25 else one for one in MODEL]
    found = compare(MODEL, file, NEEDED)
    assert found.greedy == (0.75, *wilson(75, 100)) and found.rows[0]["same_tokens"] == 1
    model, other, (apart, low, high) = found.perplexity
    assert model == pytest.approx(np.exp(0.5)) and other == pytest.approx(np.exp((0.5 * 75 + 0.6 * 25) / 100))
    assert apart == pytest.approx(other / model - 1) and low < apart < high and found.answer_tokens == 400


def test_rows_without_an_answer_of_their_own_give_no_perplexity():
    bare = [replace(one, answer=(), loss=0.0) for one in MODEL[:5]]
    assert compare(bare, bare, NEEDED).perplexity is None


def test_a_single_prompt_has_its_intervals():
    found = compare(MODEL[:1], [trial(1, 0, chances=np.zeros(3, np.float32))], NEEDED)
    assert found.agreement == (0.0, *wilson(0, 1)) and not found.passed and found.kl[0] > 0


@pytest.mark.parametrize("told, read", [(float("nan"), -87.0), (float("-inf"), -87.0), (-3.4e38, -87.0), (-2.5, -2.5),
                                        (0.001, 0.001), (float("inf"), 0.0)])  # fmt: skip
def test_what_is_no_probability_counts_as_none(told, read):
    assert llama_process._bounded(told) == read


@pytest.mark.parametrize("kind, needed", [("f16", 0.99), ("q8_0", 0.97), ("bf16", 0.97)])
def test_the_settings_say_what_is_needed(bench, kind, needed):
    assert Thresholds.of(bench.settings.export, kind) == Thresholds(needed, 0.02)


# The model and llama.cpp


@pytest.fixture(scope="module")
def bench(learned, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("fidelity"), learned)
    bench.export(gate=False)
    return bench


@pytest.fixture(scope="module")
def samples():
    texts = ("庭の手入れを教えて", "Show me the contract.", "給与の記録", "x")
    from made import answer

    return [Sample(line, text, "ALLOW", output=answer("ALLOW")) for line, text in enumerate(texts, 1)]


@pytest.fixture(scope="module")
def reference(bench):
    return Reference(bench.voice)


@pytest.fixture(scope="module")
def trials(reference, samples):
    return list(reference.trials(samples, threading.Event()))


@pytest.fixture(scope="module")
def adapted(bench):
    model = AutoModelForCausalLM.from_pretrained(bench.voice.base, dtype=torch.float32)
    return load_adapter(model, bench.voice.adapter).eval()


@torch.no_grad()
def likelihood(model, before, ids):
    """Log-likelihood of `ids` behind `before`, by one plain pass over all of them."""
    chances = model(torch.tensor([[*before, *ids]])).logits[0].double().log_softmax(-1)
    return sum(chances[len(before) + place - 1, token].item() for place, token in enumerate(ids))


def test_the_reference_is_what_transformers_says(reference, trials, adapted):
    for one in trials:
        stem = [*one.prompt, *reference.branches.prefix]
        wanted = [likelihood(adapted, stem, suffix) for suffix in reference.branches.suffixes]
        assert one.scores == pytest.approx(wanted, abs=1e-3)
        assert one.loss == pytest.approx(-likelihood(adapted, one.prompt, one.answer), abs=1e-2)
        assert one.chances[7] == pytest.approx(likelihood(adapted, stem, [7]), abs=1e-3)
        written = adapted.generate(torch.tensor([one.prompt]), max_new_tokens=ANSWER_TOKENS, do_sample=False)
        assert one.written == before_end(written[0, len(one.prompt) :].tolist(), reference.ends)


def test_the_model_does_think_in_what_is_compared(bench, trials):
    tokenizer = load_tokenizer(bench.voice.base)
    assert all(CANARY in tokenizer.decode(one.written) for one in trials)
    assert leaks(bench.folder / "out", bench.events) == []


@pytest.fixture
def file(bench):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not here: install the `oracle` extra")
    return bench.folder / "out" / "retrained-f16.gguf"


def test_llama_cpp_says_the_same_of_the_same_tokens(file, reference, trials):
    with Llama(file, 512, reference.branches, reference.ends) as running:
        running.load()
        found = [running.tried(one) for one in trials]
    for wanted, one in zip(trials, found, strict=True):
        assert one.scores == pytest.approx(wanted.scores, abs=0.02)
        likely = wanted.chances > -10
        assert one.chances[likely] == pytest.approx(wanted.chances[likely], abs=0.05)
        assert one.loss == pytest.approx(wanted.loss, rel=0.01) and one.written == wanted.written
    assert compare(trials, found, NEEDED).passed and running.version


def test_a_disturbed_file_is_far_from_its_model(bench, reference, trials, tmp_path):
    pytest.importorskip("xllamacpp")
    bench.export(tmp_path / "own", quantizations=("f16",), gate=False)
    file = disturb(tmp_path / "own", "f16")
    with Llama(file, 512, reference.branches, reference.ends) as running:
        running.load()
        found = compare(trials, [running.tried(one) for one in trials], NEEDED)
    assert not found.passed and found.kl[0] > 0.1 and found.greedy[0] < 1 and found.perplexity[2][0] > 0.1


def test_the_label_tokens_are_scored_over_the_whole_vocabulary(file, reference, trials):
    """Not over the likeliest ones alone: an unlikely class has its true likelihood too."""
    gaps = []
    with Llama(file, 512, reference.branches, reference.ends) as running:
        running.load()
        for one in trials:
            found = running.tried(one)
            gaps += [abs(a - b) for a, b in zip(found.scores, one.scores, strict=True) if b < -5]
    assert len(CLASSES) == 4 and gaps and max(gaps) < 0.1


# When it goes wrong


def test_a_file_that_llama_cpp_cannot_read_ends_the_comparison_alone(reference, tmp_path):
    pytest.importorskip("xllamacpp")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with Llama(broken, 512, reference.branches, reference.ends) as running, pytest.raises(EngineError) as caught:
        running.load()
    assert caught.value.code == "export.runner_died" and caught.value.where == str(broken)


def test_a_crash_in_mid_answer_is_told(file, reference, trials):
    with Llama(file, 512, reference.branches, reference.ends) as running:
        running.load()
        running.tried(trials[0])
        running.kill()
        with pytest.raises(EngineError) as caught:
            running.tried(trials[1])
    assert caught.value.code == "export.runner_died" and CANARY not in str(caught.value)


def test_a_stop_does_not_wait_for_llama_cpp(bench, file, monkeypatch):
    """A file that never answers: the stop ends its process."""
    started = threading.Event()
    cancel = threading.Event()

    def hangs(running):
        started.set()
        running._child.stdout.readline()  # asked nothing, it says nothing

    monkeypatch.setattr(Llama, "load", hangs)
    threading.Thread(target=lambda: (started.wait(), time.sleep(0.1), cancel.set())).start()
    bench.export(cancel=cancel)
    assert not bench.of(e.FidelityMeasured) and not bench.of(e.ExportFinished)
