"""General benchmarks: the figures of the harness's own loop on its own definitions, and what is said where there are none."""

import json
import math
import random
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from made import DEMO_MODEL, ROOT, environment

from so8t_engine import config
from so8t_engine import events as e
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluate.benchmarks import benchmarks, f1_error
from so8t_engine.evaluate.lm import LM
from so8t_engine.evaluate.tasks import GROUPS, Task, draw, find, read
from so8t_engine.model.voices import Voices
from so8t_engine.settings import ModelSettings

SHIPPED = {
    **{name: f"glue/{name}/default.yaml" for name in GROUPS["glue"]},
    **{name: f"super_glue/{name}/default.yaml" for name in GROUPS["superglue"]},
    **{name: f"japanese_leaderboard/ja_leaderboard_{name}.yaml" for name in GROUPS["japanese"]},
}
"""Where the harness has its own definition of each task."""


@pytest.fixture(scope="module")
def voices():
    return Voices(DEMO_MODEL, ModelSettings())


def rows_of(name: str, count: int, seed: int) -> list[dict]:
    """Made-up rows of a task, with the fields and labels of the real ones."""
    random_ = random.Random(f"{name} {seed}")
    words = ["the", "garden", "film", "never", "was", "a", "good", "contract", "people", "say", "about", "music"]
    kanji = "庭料理契約書音楽時間人海山田園"

    def english() -> str:
        return " ".join(random_.choices(words, k=random_.randint(3, 12))).capitalize() + "."

    def japanese() -> str:
        return "".join(random_.choices(kanji, k=random_.randint(2, 9))) + "です"

    def row() -> dict:
        if name == "jsquad":
            text = japanese()
            return {"context": f"庭 [SEP] {text}", "question": japanese(), "answers": [{"text": text[:2]}]}
        task = next(Task.load(group, name) for group, tasks in GROUPS.items() if name in tasks)
        say = japanese if task.group == "japanese" else english
        made = {field: say() for field in task.texts} | {"label": random_.randrange(len(task.labels))}
        return made | ({"question": random_.choice(["cause", "effect"])} if name == "copa" else {})

    return [row() for _ in range(count)]


def fill(folder: Path, name: str, split: str, count: int, seed: int = 0) -> Path:
    file = folder / name / f"{split}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = rows_of(name, count, seed)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def chosen(folder: Path, *tasks: str, **more) -> config.Settings:
    return config.from_values({"benchmarks.data": str(folder), "benchmarks.tasks": list(tasks), "seed": 5, **more})


def run(voices, settings) -> dict[str, e.BenchmarkFinished]:
    events = list(benchmarks(voices, "", settings, threading.Event()))
    return {event.task: event for event in events if isinstance(event, e.BenchmarkFinished)}


@pytest.fixture
def asked(monkeypatch) -> list[tuple]:
    """Every request that our reading of the model gets, in order."""
    requests: list[tuple] = []
    for kind in ("loglikelihood", "generate_until"):
        whole = getattr(LM, kind)
        monkeypatch.setattr(LM, kind, lambda lm, new, whole=whole: requests.extend(new) or whole(lm, new))
    return requests


def harness_figures(name: str, folder: Path, few_shot: int, seed: int) -> tuple[list[tuple], dict[str, float]]:
    """What the harness's own loop asks and finds, with its own definition and its own reading of the model."""
    import datasets
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks._yaml_loader import load_yaml
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shipped = Path(find_spec("lm_eval").submodule_search_locations[0]) / "tasks" / SHIPPED[name]
    definition = load_yaml(shipped, resolve_func=True)
    ours = next(Task.load(group, name) for group, tasks in GROUPS.items() if name in tasks)
    data = {
        split: datasets.Dataset.from_list(read(ours, find(name, folder, split))) for split in ("validation", "train")
    }
    definition |= {"custom_dataset": lambda **_: data, "num_fewshot": few_shot, "test_split": None}
    for address in ("dataset_path", "dataset_name", "tag"):
        definition.pop(address, None)
    task = ConfigurableTask(config=definition)
    task.set_fewshot_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32)
    reader = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(DEMO_MODEL), batch_size=1, device="cpu")
    found = evaluate(reader, {"tasks": {name: task}}, bootstrap_iters=2, log_samples=False)["results"][name]
    figures = {key.split(",")[0]: value for key, value in found.items() if "," in key}
    return [request.args for request in task.instances], figures


@pytest.mark.parametrize(("name", "few_shot"), [*((name, 0) for name in SHIPPED), ("cb", 2), ("copa", 1), ("jnli", 1)])
def test_figures_are_those_of_the_harness_s_own_loop(tmp_path, voices, monkeypatch, asked, name, few_shot):
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    fill(tmp_path, name, "validation", 5 if name == "jsquad" else 20)
    fill(tmp_path, name, "train", 12, seed=1)
    if name == "jsquad":
        teach_an_answer(voices, tmp_path)
        asked.clear()
    event = run(voices, chosen(tmp_path, name, **{"benchmarks.few_shot": few_shot}))[name]
    requests, wanted = harness_figures(name, tmp_path, few_shot, seed=5)
    assert asked == requests
    assert event.outcome == "measured" and event.rows == (5 if name == "jsquad" else 20)
    assert set(event.metrics) == {key for key in wanted if not key.endswith("_stderr")}
    for metric, (value, error) in event.metrics.items():
        assert value == pytest.approx(wanted[metric], abs=1e-12)
        if metric == "f1":
            assert (error is None) == (name == "cb")  # the harness has none for a mean of F1s
        else:
            assert error == pytest.approx(wanted[f"{metric}_stderr"], abs=1e-12)
    assert 0 < next(iter(event.metrics.values()))[0] < 1  # all wrong would be equal too


def teach_an_answer(voices, folder: Path) -> None:
    """Make what the model writes to two of the questions their right answer."""
    file = folder / "jsquad" / "validation.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    definition = yaml.safe_load((ROOT / "configs" / "benchmarks" / "jsquad.yaml").read_text(encoding="utf-8"))
    for row in rows[1:3]:
        text = (
            definition["description"]
            + "### 指示：\n与えられた文脈から、質問に対する答えを抜き出してください。\n\n### 入力：\n文脈："
            f"{row['context'].split('[SEP]')[1].strip()}\n質問：{row['question']}\n\n### 応答："
        )
        written = dict(LM(voices, "", 1).generate_until([(text, definition["generation_kwargs"])]))[0]
        assert written.strip()
        row["answers"] = [{"text": written.strip()}, {"text": "ほか"}]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(("ones", "skill"), [(0.3, 0.8), (0.5, 0.97)])
def test_the_error_of_an_f1_is_the_harness_s_bootstrap(monkeypatch, ones, skill):
    from lm_eval.api.metrics import bootstrap_stderr, f1_score

    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    random_ = random.Random(1)
    rights = [int(random_.random() < ones) for _ in range(60)]
    pairs = [(right, right if random_.random() < skill else 1 - right) for right in rights]
    assert f1_error(pairs, 5) == pytest.approx(bootstrap_stderr(f1_score, pairs, 1000), rel=0.08)
    assert f1_error([(0, 0)] * 9, 5) == 0.0


def test_jcommonsenseqa_equals_a_direct_computation(shared, loud_model):
    settings = chosen(shared / "data" / "jglue", "jcommonsenseqa", **{"benchmarks.limit": 200})
    event = run(Voices(loud_model, ModelSettings()), settings)["jcommonsenseqa"]
    file = shared.resolve() / "data" / "jglue" / "jcommonsenseqa-valid.jsonl"
    rows = draw([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()], 200, seed=5)
    right = direct_answers(loud_model, rows)
    assert (event.outcome, event.rows, event.facts["of"]) == ("measured", 200, "1119")
    accuracy = sum(right) / len(right)
    assert event.metrics == {"acc": (pytest.approx(accuracy, abs=1e-12), pytest.approx(math.sqrt(accuracy * (1 - accuracy) / 199), abs=1e-9))}  # fmt: skip
    assert event.where == str(file)


@pytest.fixture(scope="module")
def loud_model(tmp_path_factory):
    """A small random model that is no fraction of a bit away from changing its mind."""
    from transformers import AutoTokenizer, Phi3Config, Phi3ForCausalLM

    folder = tmp_path_factory.mktemp("loud")
    torch.manual_seed(5)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    limits = {"num_key_value_heads": 2, "max_position_embeddings": 4096, "original_max_position_embeddings": 4096}
    Phi3ForCausalLM(Phi3Config(vocab_size=3072, initializer_range=0.3, **shape, **ids, **limits)).save_pretrained(
        folder
    )
    AutoTokenizer.from_pretrained(DEMO_MODEL).save_pretrained(folder)
    return folder


def direct_answers(folder: Path, rows: list[dict]) -> list[bool]:
    """Whether the likeliest of five whole sequences is the right one, row by row, in plain transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    right = []
    for row in rows:
        choices = [row[f"choice{number}"] for number in range(5)]
        prompt = (
            "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。\n\n"
            "### 指示：\n出力は以下から選択してください：\n" + "".join(f"- {choice}\n" for choice in choices)
            + f"\n### 入力：\n{row['question']}\n\n### 応答："
        )  # fmt: skip
        begun = len(tokenizer.encode(prompt))
        whole = [tokenizer.encode(f"{prompt}\n{choice}") for choice in choices]
        longest = max(map(len, whole))
        ids = torch.tensor([one + [0] * (longest - len(one)) for one in whole])
        with torch.inference_mode():
            hidden = model.model(ids).last_hidden_state[:, begun - 1 :]
            steps = model.lm_head(hidden).log_softmax(-1)
        scores = [
            sum(steps[number, place, token].item() for place, token in enumerate(one[begun:]))
            for number, one in enumerate(whole)
        ]
        right.append(scores.index(max(scores)) == row["label"])
    return right


# What is said where there is no figure


def test_without_its_data_a_task_has_no_number(tmp_path, voices):
    fill(tmp_path, "jnli", "validation", 3)
    found = run(voices, chosen(tmp_path, "glue", "superglue", "japanese"))
    assert list(found) == [name for tasks in GROUPS.values() for name in tasks]
    assert found.pop("jnli").outcome == "measured"
    for name, event in found.items():
        assert (event.outcome, event.metrics, event.rows) == ("not run", {}, 0)
        assert (event.code, event.where) == ("benchmarks.data_missing", str(tmp_path / name))
        assert "docs/benchmarks.md" in EngineError(event.code, where=event.where, **event.facts).hint("ja")


def test_without_training_rows_there_are_no_examples(tmp_path, voices):
    fill(tmp_path, "cb", "validation", 3)
    fill(tmp_path, "copa", "validation", 3)
    fill(tmp_path, "copa", "train", 1)
    found = run(voices, chosen(tmp_path, "cb", "copa", **{"benchmarks.few_shot": 2}))
    assert (found["cb"].code, found["cb"].facts) == ("benchmarks.data_missing", {"split": "train"})
    assert found["copa"].code == "benchmarks.few_examples"


def test_a_bad_file_stops_its_own_task_alone(tmp_path, voices):
    for name in ("sst2", "mrpc", "copa", "jnli"):
        fill(tmp_path, name, "validation", 4)
    bad = tmp_path / "sst2" / "validation.jsonl"
    bad.write_text('{"sentence": "x", "label": 1}\n{"sentence"', encoding="utf-8")
    odd = tmp_path / "copa" / "validation.jsonl"
    odd.write_text(
        odd.read_text(encoding="utf-8").replace("cause", "reason").replace("effect", "reason"), encoding="utf-8"
    )
    found = run(voices, chosen(tmp_path, "sst2", "mrpc", "copa", "jnli"))
    assert (found["sst2"].code, found["sst2"].where) == ("benchmarks.unreadable", f"{bad}:2")
    assert (found["copa"].outcome, found["copa"].code) == ("not run", "benchmarks.failed")
    assert found["mrpc"].outcome == found["jnli"].outcome == "measured"


def test_without_the_harness_every_task_says_so(tmp_path, voices, monkeypatch):
    fill(tmp_path, "sst2", "validation", 2)
    for name in [name for name in sys.modules if name.split(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    found = run(voices, chosen(tmp_path, "glue"))
    assert [(event.outcome, event.code) for event in found.values()] == [("not run", "benchmarks.not_installed")] * 3
    assert "launch.py setup" in EngineError(found["sst2"].code, **found["sst2"].facts).hint("en")


def test_a_full_memory_stops_its_own_task_alone(tmp_path, voices, monkeypatch):
    fill(tmp_path, "sst2", "validation", 2)
    fill(tmp_path, "mrpc", "validation", 2)
    whole, calls = voices.forward, []

    def forward(*arguments):
        calls.append(1)
        if len(calls) <= 2:  # the batch of both rows, then the one row alone
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")
        return whole(*arguments)

    monkeypatch.setattr(voices, "forward", forward)
    found = run(voices, chosen(tmp_path, "sst2", "mrpc"))
    assert (found["sst2"].code, found["sst2"].facts) == ("benchmarks.out_of_memory", {"reason": "CUDA out of memory."})
    assert found["mrpc"].outcome == "measured"


def test_an_unknown_task_is_refused_before_anything_runs(tmp_path, voices):
    with pytest.raises(BadInput, match="mnli"):
        next(benchmarks(voices, "", chosen(tmp_path, "glue", "mnli"), threading.Event()))


# Limit, progress, stop, and what stays inside


def test_a_limit_takes_the_rows_that_the_seed_draws(tmp_path, voices, asked):
    file = fill(tmp_path, "jnli", "validation", 30)
    event = run(voices, chosen(tmp_path, "jnli", **{"benchmarks.limit": 8}))["jnli"]
    assert (event.rows, event.facts["of"], event.seed) == (8, "30", 5)
    drawn = draw([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()], 8, seed=5)
    assert len(asked) == 24
    for row, (context, _) in zip(drawn, asked[::3], strict=True):
        assert f"前提：{row['sentence1']}\n仮説：{row['sentence2']}\n" in context


def test_progress_counts_the_requests_and_a_stop_leaves_no_result(tmp_path, voices, monkeypatch):
    monkeypatch.setattr("so8t_engine.evaluate.benchmarks.TOLD_SECONDS", 0.0)
    monkeypatch.setattr("so8t_engine.evaluate.lm.BATCH_PLACES", 300)
    fill(tmp_path, "jnli", "validation", 6)
    fill(tmp_path, "sst2", "validation", 6)
    events = list(benchmarks(voices, "", chosen(tmp_path, "jnli"), threading.Event()))
    told = [(event.done, event.total) for event in events[:-1]]
    assert told == sorted(told) and told[0] == (0, 18) and told[-1] == (18, 18)
    assert {event.detail for event in events[:-1]} == {"jnli"}

    cancel, forwards, whole = threading.Event(), [], voices.forward
    monkeypatch.setattr(voices, "forward", lambda *arguments: forwards.append(1) or whole(*arguments))
    events = []
    for event in benchmarks(voices, "", chosen(tmp_path, "sst2", "jnli"), cancel):
        events.append(event)
        if event.done > 0:
            cancel.set()
    assert len(forwards) == 1
    assert not [event for event in events if isinstance(event, e.BenchmarkFinished)]


ALONE = """
import json, socket, sys, threading

def refused(*arguments, **options):
    raise SystemExit(f"the network was asked: {arguments}")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refused
from pathlib import Path
from so8t_engine import config
from so8t_engine.evaluate.benchmarks import benchmarks
from so8t_engine.model.voices import Voices

folder, model = sys.argv[1:]
settings = config.from_values({"benchmarks.data": folder, "benchmarks.tasks": ["glue", "superglue", "japanese"]})
voices = Voices(Path(model), settings.model)
events = [event for event in benchmarks(voices, "", settings, threading.Event()) if hasattr(event, "outcome")]
print(json.dumps([event.outcome for event in events]))
"""


def test_no_network_is_asked_and_nothing_is_left_behind(tmp_path):
    """In a process of its own: the harness and the packages below it do their worst when they are first imported."""
    home = tmp_path / "home"
    home.mkdir()
    for name in SHIPPED:
        fill(tmp_path / "data", name, "validation", 2)
    places = {"HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(home), "TEMP": str(home), "TMP": str(home)}
    child = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "data"), str(DEMO_MODEL)], capture_output=True, encoding="utf-8",
        env={**environment(), **places}, cwd=ROOT, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == ["measured"] * 9  # and the harness prints nothing
    assert child.stderr == ""
    assert list(home.rglob("*")) == []
    assert len(list((tmp_path / "data").rglob("*.*"))) == 9
