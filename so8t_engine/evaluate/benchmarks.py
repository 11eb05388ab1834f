"""General benchmarks by lm-evaluation-harness, in this process, on the model in memory.

The harness makes the prompts, filters and scores; the rows come from a local folder and the answers from one voice.
Nothing is fetched: its own loading of data and models is never called. A task without data gets no number.
"""

import logging
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from so8t_engine import events as e
from so8t_engine.errors import BadInput
from so8t_engine.evaluate.lm import LM
from so8t_engine.evaluate.tasks import Task, choose, draw, find, read
from so8t_engine.model.voices import Voices
from so8t_engine.settings import Settings

EXAMPLES = 1000
"""Training rows that the solved examples of a prompt are drawn from, at most: themselves drawn by the seed."""

REPLICATES = 100_000
"""Of the bootstrap: the harness's own number."""

TOLD_SECONDS = 0.5
"""Between two progress events."""

os.environ["HF_DATASETS_OFFLINE"] = "1"  # read when the harness imports the package `datasets`
logging.getLogger("lm_eval").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*(F-score|Precision|Recall) is ill-defined", category=UserWarning)


def benchmarks(voices: Voices, voice: str, settings: Settings, cancel) -> Iterator[e.Event]:
    """Run the tasks that the settings name.

    Args:
        voices, voice: the model and which of its weights speak.
        cancel: anything with `is_set()`, looked at between batches; the task under way is then left without a result.

    Yields:
        EvaluationProgressed now and then, one BenchmarkFinished a task. A task whose data is missing or bad, or that
        the memory can't hold, is "not run" with the reason, and the others go on.

    Raises BadInput "benchmarks.unknown_task" for a name in `benchmarks.tasks` that is no task.
    """
    wishes = settings.benchmarks
    for task in choose(wishes.tasks):
        started = time.monotonic()
        asked = {"task": task.name, "group": task.group, "few_shot": wishes.few_shot, "seed": settings.seed}
        try:
            with _harness():
                runner = _Runner(task, settings)
            yield from runner.answer(LM(voices, voice, settings.evaluate.batch_size), started, cancel)
            if cancel.is_set():
                return
            with _harness():
                metrics = runner.metrics()
            asked |= {"outcome": "measured", "metrics": metrics, "rows": len(runner.rows), **runner.source}
        except BadInput as error:
            asked |= {"outcome": "not run", "code": error.code, "where": error.where, "facts": error.facts}
        except torch.OutOfMemoryError as error:
            facts = {"reason": str(error).split("\n")[0]}
            asked |= {"outcome": "not run", "code": "benchmarks.out_of_memory", "facts": facts}
        yield e.BenchmarkFinished(**asked, seconds=time.monotonic() - started)


class _Runner:
    """One task on its way: the rows, what they ask of the model, and what came back."""

    def __init__(self, task: Task, settings: Settings) -> None:
        from lm_eval import __version__
        from lm_eval.api.task import ConfigurableTask

        wishes, seed = settings.benchmarks, settings.seed
        folder = settings.resolve(wishes.data)
        files = find(task.name, folder, "validation")
        whole = read(task, files)
        self.rows = draw(whole, wishes.limit, seed)
        splits = {"validation": self.rows}
        if wishes.few_shot:
            splits["train"] = draw(read(task, find(task.name, folder, "train")), EXAMPLES, seed)
            if len(splits["train"]) <= wishes.few_shot:  # the harness draws one more than it shows
                raise BadInput("benchmarks.few_examples", where=str(folder / task.name), rows=len(splits["train"]))
        version = str(task.harness["metadata"]["version"])
        self.source = {
            "where": str(files[0]),
            "facts": {"of": str(len(whole)), "harness": __version__, "prompt": version},
        }
        self._name, self._seed = task.name, seed
        self._task = ConfigurableTask(config=_config(task.harness, splits, wishes.few_shot))
        self._task.set_fewshot_seed(seed)

    def answer(self, lm: LM, begun: float, cancel) -> Iterator[e.EvaluationProgressed]:
        """Ask the model all that the rows ask; `begun` is when the task did. Stops when `cancel` is set."""
        told = 0.0
        self._requests: list[list[Any]] = []
        for done in self._answered(lm):
            if cancel.is_set():
                return
            total = len(self.rows) * len(self._requests[0])
            if time.monotonic() - told >= TOLD_SECONDS or done == total:
                told = time.monotonic()
                yield e.EvaluationProgressed(
                    mode="benchmarks", done=done, total=total, seconds=told - begun, detail=self._name
                )

    def metrics(self) -> dict[str, tuple[float, float | None]]:
        """Value and standard error of each metric, as the harness computes them."""
        from lm_eval.api.metrics import f1_score, mean, mean_stderr

        task = self._task
        task._instances = [request for requests in self._requests for request in requests]  # as its own loop leaves it
        task.apply_filters()
        scores = defaultdict(list)
        for requests in self._requests:
            for chain in requests[0].filtered_resps:
                answers = [request.filtered_resps[chain] for request in requests]
                for metric, value in task.process_results(requests[0].doc, answers).items():
                    scores[metric].append(value)
        found = {}
        for metric, values in scores.items():
            aggregate, error = task.aggregation()[metric], None
            if aggregate is mean and len(values) > 1:
                error = float(mean_stderr(values))
            elif aggregate is f1_score and len(values) > 1:
                error = f1_error(values, self._seed)
            found[metric] = (float(aggregate(values)), error)
        return found

    def _answered(self, lm: LM) -> Iterator[int]:
        """Makes the prompts, then has them answered; yields how many requests are done."""
        for number, row in enumerate(self._task.eval_docs):
            with _harness():
                self._requests.append(self._made(number, row))
            yield 0
        flat = [request for requests in self._requests for request in requests]
        answers = getattr(lm, flat[0].request_type)([request.args for request in flat])
        for done, (index, answer) in enumerate(answers, start=1):
            flat[index].resps = [answer]
            yield done

    def _made(self, number: int, row: dict[str, Any]) -> list[Any]:
        """What a row asks of the model."""
        task = self._task
        context = task.fewshot_context(row, num_fewshot=task.config.num_fewshot)
        made = task.construct_requests(doc=row, ctx=context, metadata=(self._name, number, 1))
        return made if isinstance(made, list) else [made]


def f1_error(pairs: Sequence[tuple[int, int]], seed: int) -> float:
    """Bootstrap standard error of the F1 of class 1, from (right, given) of each row.

    Rows drawn with replacement make a multinomial draw of the four kinds of row: the harness's estimate, without its
    hours of computing.
    """
    counts = np.bincount([2 * right + given for right, given in pairs], minlength=4)
    draws = np.random.default_rng(seed).multinomial(len(pairs), counts / len(pairs), size=REPLICATES)
    twice = 2 * draws[:, 3]
    return float(np.std(twice / np.maximum(twice + draws[:, 1] + draws[:, 2], 1), ddof=1))


def _config(definition: dict[str, Any], splits: dict[str, list[dict]], few_shot: int) -> dict[str, Any]:
    """The definition with our rows in the place of a data set to fetch."""
    from datasets import Dataset
    from lm_eval.tasks.super_glue.cb.aggregate import cb_multi_fi

    data = {split: Dataset.from_list(rows) for split, rows in splits.items()}
    config = definition | {"custom_dataset": lambda **_: data, "validation_split": "validation"}
    config["num_fewshot"] = few_shot
    if "train" in data:
        config["training_split"] = "train"
    else:
        config.pop("fewshot_split", None)
    for metric in config["metric_list"]:
        if metric.get("aggregation") == "cb_multi_fi":
            metric["aggregation"] = cb_multi_fi
    return config


@contextmanager
def _harness() -> Generator[None]:
    """The harness at work: what it trips over is a task not run. Its messages may quote an answer, so only their kind
    is told."""
    try:
        yield
    except (BadInput, torch.OutOfMemoryError):
        raise
    except ImportError as error:
        raise BadInput("benchmarks.not_installed", reason=error) from None
    except Exception as error:
        raise BadInput("benchmarks.failed", kind=type(error).__name__) from None
