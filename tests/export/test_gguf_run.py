"""llama.cpp reads the files as the model was trained: the same tokens for a text, the same next token for a prompt."""

import json
import math
import random
import shutil
import urllib.request

import pytest
import torch
from gguf_bases import TOKENIZER, export, make_adapter, make_base
from made import DEMO_MODEL, ROOT
from transformers import AutoModelForCausalLM

from so8t_engine.data.template import Template
from so8t_engine.export import metadata
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.so8t import load_adapter

llama = pytest.importorskip("xllamacpp", reason="llama.cpp is not here: install the `oracle` extra")

WRITTEN = [
    "", "a", "ALLOW", "The quick brown fox.", "don't stop", "x == y != z", "3.14159 -273", "https://a.b/c?d=e&f=1#g",
    "def f(x):\n    return {'k': [1, 2]}\n", "a\tb\t\tc", "C:\\Users\\名前\\file.txt", "<b>html</b> &amp;", "▁", "▁▁a▁b",
    "<0x41>", "<0x0A>b", "\u200b", "a\u200bb", "\x00", "\x07bell", "e\u0301 é", "ﬁ ligature", "Ünïcödé", "ǅ",
    "こんにちは", "契約書を確認してください。", "給与の記録、全件。", "カタカナとひらがな", "ｶﾀｶﾅ ﾊﾝｶｸ", "が か\u3099", "全角１２３ＡＢＣ",
    "「引用」と（括弧）", "…——～", "々〆ヶ", "𠮷野家", "東京 2026年11月22日", "分類結果: ALLOW\n信頼度: 0.9\n理由: なし\n回答: はい。",
    "한국어 텍스트", "العربية", "עברית", "ไทย", "हिन्दी", "Ελληνικά", "русский",
    "🙂", "👩‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇯🇵", "a🙂b 🙂 c", "🙂🙂🙂", "1️⃣",
    "<think-task>依頼を読む。</think-task><think-safety>害を考える。</think-safety>", "<final>分類結果: DENY</final>",
    "<|user|>\nこんにちは<|end|>\n<|assistant|>\n", "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n",
    "<|user|>", "<|user|><|user|>", "<|user|> a", "<|user|>  a", "<|user|>\n\n a", "<|user|>\ta", "a<|end|>b", "a <|end|> b",
    "a\n<|end|>\nb", "<s>a", "<s> a", "a<s> b", "a</s>b", "a</s> b", "</s></s>", "<unk>", "<unk> a", "a<unk>b",
    "<|endoftext|>", "<|endoftext|> a", "<|endoftext|>\na", "<|placeholder1|> x <|placeholder6|>", "<|user|", "|user|>",
    "< |user|>", "<|User|>", "<|end|", "<<|end|>>", "<|assistant|><final>", "<|assistant|> <final>",
]  # fmt: skip
SPACES = [
    *(before + " " * count + after for count in (1, 2, 3, 4, 5, 8, 15, 16, 17, 33) for before, after in (("", "x"), ("x", "y"), ("x", ""))),
    *("\n" * count + "a" + "\n" * count for count in (1, 2, 3, 5)), " \n \n ", "a \n b", "\r\n", "a\r\nb", "\n\n  indented",
    "\u3000全角　空白\u3000", "\u00a0a\u00a0b", "a\u2003b", "\ufeffa", " 、 。 ", "あ い  う",
]  # fmt: skip
PIECES = [
    "the garden", "契約書", "給与", "hello", "12345", "foo_bar", "<final>", "</final>", "ALLOW", "。", "、", "！", "\n", "\t", "🙂", "é",
    "<|user|>", "<|end|>", "<|assistant|>", "<s>", "</s>", "<|endoftext|>", "<unk>", "f(x):", "▁", "<0x41>", "日本", "“q”", "👍🏽",
]  # fmt: skip
KNOWN = ["<|user|>\u3000あ", "<|user|>\n\u3000あ", "<|assistant|>\u00a0a", "</s>\u2003a", "a <|end|>\u3000\n"]
"""The one kind of text that is cut differently: behind a special token transformers drops white space of any script,
llama.cpp that of ASCII alone. Our own prompts never have it: `Template` drops white space around a text itself."""


def mixed(count: int) -> list[str]:
    draw = random.Random(0)
    parts = lambda: (draw.choice(PIECES) + draw.choice(["", "", " ", "  ", "\n"]) for _ in range(draw.randint(2, 8)))  # noqa: E731
    return ["".join(parts()) for _ in range(count)]


TEXTS = list(dict.fromkeys([*WRITTEN, *SPACES, *mixed(150)]))


class Llama:
    """A GGUF file in llama.cpp, on one thread of this process."""

    def __init__(self, file):
        params = llama.CommonParams()
        params.model.path = str(file)
        # Above 4,096 tokens llama.cpp takes the long rope factors for every prompt.
        params.n_ctx, params.port, params.verbosity, params.warmup, params.n_gpu_layers = 2048, 0, 0, False, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        self.server = llama.Server(params)

    def ids(self, text: str) -> list[int]:
        body = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
        request = urllib.request.Request(
            self.server.listening_address + "/tokenize", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["tokens"]

    def next_token(self, ids: list[int], words: int) -> torch.Tensor:
        """Log-probability of each token after `ids`."""
        wish = {"prompt": ids, "n_predict": 1, "n_probs": words, "temperature": 0, "cache_prompt": False}
        answer = self.server.handle_completions(wish)
        found = torch.full((words,), -torch.inf, dtype=torch.float64)
        for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            found[entry["id"]] = entry["logprob"]
        return found.log_softmax(-1)  # they come as float32, and don't add up to 1 exactly


@pytest.fixture(scope="module", params=["tokenizer.model", "tokenizer.json", "Phi-3.5"])
def tokenizer_base(request, base, tmp_path_factory):
    """A model with the demo's tokenizer in both forms, with `tokenizer.json` alone, and with that of Phi-3.5."""
    if request.param == "tokenizer.model":
        return base
    folder = tmp_path_factory.mktemp("bases") / request.param
    if request.param == "tokenizer.json":
        shutil.copytree(base, folder)
        for name in ("tokenizer.model", "added_tokens.json"):
            (folder / name).unlink()
        return folder
    real = request.getfixturevalue("shared") / "phi35-tokenizer"
    make_base(folder, vocab_size=32064, hidden_size=32, eos_token_id=32000, rope_scaling=None)
    for name in TOKENIZER:
        shutil.copyfile(real / name, folder / name)
    return folder


def read(base, folder, name):
    export(base, None, folder, "f16", name=name)
    return Llama(folder / "model-f16.gguf"), load_tokenizer(base)


def test_texts_are_cut_into_the_same_tokens(tokenizer_base, tmp_path):
    assert len(TEXTS) > 200
    file, tokenizer = read(tokenizer_base, tmp_path, "a model")
    ids = {text: tokenizer.encode(text, add_special_tokens=False) for text in [*TEXTS, *KNOWN]}
    assert [text for text in TEXTS if file.ids(text) != ids[text]] == []
    assert [text for text in KNOWN if file.ids(text) == ids[text]] == [], "no exception any more"


def test_without_phi_3_in_its_name_a_file_would_be_read_wrongly(base, tmp_path, monkeypatch):
    """The reason for the rule; if this fails, llama.cpp has another one now."""
    monkeypatch.setattr(metadata, "named", lambda name: name)
    file, tokenizer = read(base, tmp_path, "a model")
    text = "<|user|>\nこんにちは<|end|>\n<|assistant|>\n"
    assert file.ids(text) != tokenizer.encode(text, add_special_tokens=False)


@pytest.fixture(scope="module")
def prompts():
    """Twenty prompts of the demo, half of them Japanese: (as the template renders them, their ids in training)."""
    template = Template(load_tokenizer(DEMO_MODEL))
    lines = (ROOT / "assets" / "data" / "demo_heldout.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines[:: len(lines) // 20][:20]:
        prompt = json.loads(line)["instruction"]
        turns = [{"role": "user", "content": prompt.strip()}]
        text = template.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        found.append((text, template.prompt_ids(prompt)))
    return found


@torch.no_grad()
def test_next_tokens_are_the_adapted_models(prompts, tmp_path):
    """The demo with an adapter that changes much, in transformers with the adapter on and in llama.cpp folded."""
    adapter = make_adapter(DEMO_MODEL, tmp_path / "adapter", std=0.1)
    export(DEMO_MODEL, adapter, tmp_path, "f16", "q8_0")
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32)
    ids = [prompt[: len(prompt) // 2] for _, prompt in prompts]  # the demo is sure of what it will say itself
    plain = [next_token(model, one) for one in ids]
    adapted = load_adapter(model, adapter)
    expected = [next_token(adapted, one) for one in ids]
    # The adapter is heard, and there is something to choose from.
    assert sorted(distance(*pair) for pair in zip(expected, plain, strict=True))[10] > 1
    assert sum(wanted.max() < math.log(0.9) for wanted in expected) > 10
    for kind, limit in (("f16", 1e-4), ("q8_0", 3e-2)):
        file = Llama(tmp_path / f"model-{kind}.gguf")
        for (text, prompt), one, wanted in zip(prompts, ids, expected, strict=True):
            assert file.ids(text) == prompt
            found = file.next_token(one, len(wanted))
            assert abs(distance(wanted, found)) < limit, (kind, text)
            if wanted.topk(2).values.diff().abs() > 0.1:
                assert found.argmax() == wanted.argmax(), (kind, text)


def next_token(model, ids: list[int]) -> torch.Tensor:
    return model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)


def distance(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Kullback-Leibler divergence in nats."""
    return (expected.exp() * (expected - found)).sum().item()
