"""What many tests need: a tiny Phi-3 model made in code, rows in the format, and settings that put them together."""

import gc
import json
import os
import shutil
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings
from made import DEMO_MODEL, SHARED, eight_steps, forty_rows, row
from xdist.scheduler import LoadScopeScheduling

from so8t_engine import Settings
from so8t_engine.answer.format import CLASSES

# The models of most tests are so small that a second thread of torch waits more than it computes; and where another
# program has the other core, threads that wait by spinning make it ten times slower. A test that needs several threads
# takes `several_threads`. Set before anything imports torch, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What tests write lies in memory where there is room: the audit log and the checkpoints wait for the disk at each of some
# ten thousand calls of fsync. What a killed process leaves behind is the same there.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > 6 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# No test is timed: a busy machine may be ten times slower than an idle one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


class Shares(LoadScopeScheduling):
    """One process takes all tests that drive a browser, which share it and a dashboard's process; the other takes the rest
    a file at a time, whose fixtures are then made once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "browser" if "browser/" in file else file


def pytest_xdist_make_scheduler(config, log) -> Shares:
    """How the processes of the suite share it out."""
    return Shares(config, log)


def pytest_collection_finish() -> None:
    """Whatever has been imported stays: the collector need not look through all of it again each time it is called."""
    _settle()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """So does what a module has left when its tests and its fixtures are over: most of it is imports of its own.

    The engine collects after each model and each stage, and would look through it a thousand times.
    """
    result = yield
    if nextitem is None or nextitem.path != item.path:
        _settle()
    return result


def _settle() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real rows and the real tokenizer, which only some machines have."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the project: real rows and the real Phi-3.5 tokenizer are not here")
    return SHARED


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A folder with a random two-layer Phi-3 and the demo's tokenizer."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny_model")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (DEMO_MODEL / name).exists():
            shutil.copy(DEMO_MODEL / name, folder)
    vocabulary = json.loads((DEMO_MODEL / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    settings = Phi3Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=8192, original_max_position_embeddings=4096,
        rope_scaling={"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    Phi3ForCausalLM(settings).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """A folder with a random two-layer Llama and a tokenizer of its own: byte-level BPE, ChatML, a system text of its own."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = [line for i in range(40) for line in row(i, CLASSES[i % 4]).values()]
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=512, initial_alphabet=alphabet, special_tokens=special))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )  # fmt: skip
    tokenizer.chat_template = (
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe helpful.<|im_end|>\n"
        "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=1024, tie_word_embeddings=True,
        pad_token_id=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(settings).save_pretrained(folder)
    return folder


@pytest.fixture
def several_threads():
    """Torch computes on every core, as it does for a person; in this process alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(2, os.cpu_count() or 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def learned(tmp_path_factory) -> Path:
    """A small base model that gives one answer, thinking and all, to whatever; see canary.py. Nobody may change it."""
    from canary import make_model

    return make_model(tmp_path_factory.mktemp("learned") / "learned_model")


@pytest.fixture
def rows_file(tmp_path) -> Path:
    """A dataset of forty rows, ten a class."""
    return forty_rows(tmp_path)


@pytest.fixture
def tiny_settings(tmp_path, tiny_model, rows_file) -> Settings:
    """Settings for a run of eight steps with dropout, so that the random state matters."""
    return eight_steps(tiny_model, rows_file, tmp_path / "runs")
