"""The training loop: a generator of events. `for event in train(...): print(event)` is all of it in a test."""

import json
import math
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version

import torch
from accelerate.utils import set_seed

from so8t_engine import checkpoint
from so8t_engine import events as e
from so8t_engine.data import sources
from so8t_engine.data.batches import Schedule
from so8t_engine.data.split import Split, check_trainable, counts, cut
from so8t_engine.data.template import Example, Template
from so8t_engine.disk import write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.model.folder import check_folder
from so8t_engine.model.load import compute_dtype, load_model, load_tokenizer, pick_device, row_limit
from so8t_engine.model.memory import give_back
from so8t_engine.model.packed import PackedModel
from so8t_engine.model.so8t import attach, rotations_error
from so8t_engine.runs import Run
from so8t_engine.settings import Settings
from so8t_engine.train.budget import choose
from so8t_engine.train.gradient import Gradient
from so8t_engine.train.optimizer import build_optimizer, learning_rate, set_rate
from so8t_engine.train.pet import pet_factor
from so8t_engine.train.profile import Profile
from so8t_engine.train.ranks import Ranks
from so8t_engine.train.state import Progress, load_state, random_states, save_adapter, save_state
from so8t_engine.train.watch import Watch

ROTATION_CHECK_STEPS = 10
"""Steps between two measurements of how orthogonal the rotations are."""

PLANNED_STEPS = 64
"""Steps whose sizes decide how large a pack should be."""

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")


def train(settings: Settings, run: Run, cancel, ranks: Ranks | None = None) -> Iterator[e.Event]:
    """Train from the newest good checkpoint of `run`, or from the start, to the end or until `cancel` is set.

    Args:
        settings: of this run, frozen in its folder.
        run: locked by the caller.
        cancel: anything with `is_set()`; looked at once a pack.
        ranks: the processes that share the training; None for this one alone. All of them yield the same events, the
            first one alone writes.

    Yields:
        DatasetRead, LengthsCounted, ModelLoaded, TrainingPlanned, MemoryPlanned, then steps, validations, checkpoints and scores,
        then ModelSaved unless it was stopped.

    Raises:
        BadInput: rows, model or settings can't be trained with.
        EngineError: "train.diverged" or "train.out_of_memory"; the last checkpoint stays good.
    """
    ranks = ranks or Ranks()
    parts = yield from _read_rows(settings, run, ranks)
    try:
        session = yield from Session.open(settings, run, parts, ranks)
        if not ranks.first:
            yield from session.steps(cancel)
            return
        yield from session.profile.follow(session.steps(cancel), run, settings, _libraries())
        if not cancel.is_set():
            yield session.save_final()
    except torch.OutOfMemoryError as error:
        raise EngineError("train.out_of_memory", where=str(pick_device()), reason=str(error).split("\n")[0]) from error
    finally:
        session = None
        give_back()


def _read_rows(settings: Settings, run: Run, ranks: Ranks) -> Iterator[e.Event]:
    dataset = sources.read(settings.resolve(settings.dataset), on_bad_row=settings.data.on_bad_row)
    parts = cut(dataset.samples, settings)
    yield counts(dataset, parts)
    check_trainable(dataset, parts)
    if ranks.first and not run.split_file.exists():
        write_whole(run.split_file, json.dumps(parts.record()).encode("utf-8"))
    return parts


class Session:
    """The model, the optimizer and the rows of one try at a run."""

    def __init__(self, settings: Settings, run: Run, ranks: Ranks) -> None:
        self.settings, self.run, self.ranks = settings, run, ranks
        self.device = pick_device()
        self.train_rows: list[Example] = []
        self.validation_rows: list[Example] = []
        self.progress = Progress()
        self.profile = Profile(self.device)

    @classmethod
    def open(cls, settings: Settings, run: Run, parts: Split, ranks: Ranks) -> Iterator[e.Event]:
        """Encode the rows, load the model, take up the newest good checkpoint."""
        self = cls(settings, run, ranks)
        folder = settings.resolve(settings.base_model)
        check_folder(folder)
        template = Template(load_tokenizer(folder))
        yield self._encode(template, parts, min(settings.data.max_length, row_limit(folder)))
        yield self.load(folder)
        yield self.plan_steps()
        yield self.plan_memory()
        self.watch = Watch(self.adapted, template, parts.validation, settings, self.gradient.most)
        yield from self._take_up()
        return self

    def _encode(self, template: Template, parts: Split, limit: int) -> e.LengthsCounted:
        prompt = self.settings.data.system_prompt
        encoded = [template.example(sample, prompt) for sample in parts.train]
        lengths = [len(example.ids) for example in encoded]
        self.train_rows = [example for example in encoded if len(example.ids) <= limit]
        validation = (template.example(sample, prompt) for sample in parts.validation)
        self.validation_rows = [example for example in validation if len(example.ids) <= limit]
        if not self.train_rows:
            where = self.settings.dataset
            raise BadInput("data.all_too_long", where=where, max_length=limit, longest=max(lengths))
        return e.LengthsCounted(
            longest=max(lengths), mean=sum(lengths) / len(lengths), max_length=limit,
            too_long=len(lengths) - len(self.train_rows),
        )  # fmt: skip

    def load(self, folder) -> e.ModelLoaded:
        begun = time.monotonic()
        settings = self.settings
        dtype = compute_dtype(settings.model.dtype, self.device)
        if dtype == torch.float16 and self.device.type == "cpu":
            raise BadInput("model.no_float16", where="model.dtype")
        set_seed(settings.seed + self.ranks.index)  # of dropout: each process draws its own
        base = load_model(folder, settings.model, self.device)
        parameters = sum(p.numel() for p in base.parameters())
        so8t = settings.so8t
        self.adapted = attach(
            base, r=so8t.r, alpha=so8t.alpha, dropout=so8t.dropout, targets=so8t.targets, rotate=so8t.rotate,
            seed=settings.seed,
        )  # fmt: skip
        self.model = PackedModel(self.adapted)
        self.optimizer = build_optimizer(self.adapted, settings.train)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        return e.ModelLoaded(
            folder=str(folder), architecture=base.config.architectures[0], parameters=parameters,
            trainable=sum(p.numel() for p in self.adapted.parameters() if p.requires_grad),
            device=torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU",
            dtype=str(dtype).removeprefix("torch."), quantization=settings.model.quantization,
            seconds=time.monotonic() - begun, processes=self.ranks.count,
        )  # fmt: skip

    def plan_steps(self) -> e.TrainingPlanned:
        """Which rows each step will see."""
        train = self.settings.train
        batch = train.batch_size * train.gradient_accumulation
        self.schedule = Schedule(len(self.train_rows), batch, train.epochs, self.settings.seed)
        return e.TrainingPlanned(
            steps=self.schedule.steps, steps_per_epoch=self.schedule.steps_per_epoch, rows=len(self.train_rows),
            epochs=train.epochs,
        )  # fmt: skip

    def plan_memory(self) -> e.MemoryPlanned:
        """Choose the size of a pack and the layers that are computed twice, and say so before the first step."""
        train = self.settings.train
        longest = max(len(example.ids) for example in (*self.train_rows, *self.validation_rows))
        looked_at = range(min(self.schedule.steps, PLANNED_STEPS))
        steps = [[len(self.train_rows[row].ids) for row in self.schedule.step_rows(step)] for step in looked_at]
        budget = choose(self.model, train, [*steps, [longest]], self.ranks.count, self.device)
        self.model.recomputed = budget.recomputed
        self.gradient = Gradient(
            self.model, budget, train.gradient_checkpointing, train.label_weight, longest, self.scaler, self.ranks,
            self.device, self.profile.phase,
        )  # fmt: skip
        return e.MemoryPlanned(
            pack=budget.pack, recomputed=budget.recomputed, layers=self.model.layers, bytes=budget.bytes,
            room=budget.room, attention=self.model.attention(longest), fused=self.model.pieces.fused,
        )  # fmt: skip

    def _take_up(self) -> Iterator[e.Event]:
        found, faults = checkpoint.newest_good(self.run.checkpoints)
        for fault in faults:
            yield e.CheckpointPutAside(folder=fault.where, reason=str(fault))
        if found:
            self.progress = load_state(found.folder, self.adapted, self.optimizer, self.scaler)
            if not self.ranks.first:  # the generators that were saved are the first process's
                set_seed(self.settings.seed + self.ranks.index + self.progress.step * self.ranks.count)
            before, now = found.manifest["fingerprints"].get("libraries", {}), _libraries()
            changed = [f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]]
            yield e.Resumed(step=found.step, checkpoint=str(found.folder), changed=", ".join(changed))

    def steps(self, cancel) -> Iterator[e.Event]:
        """Every step from the present one to the last, with validation, checkpoints and scores between them."""
        self.saved, saved_at = self.progress.step, time.monotonic()
        total = self.schedule.steps
        self.model.train()
        yield from self._validate(cancel)  # left out when the last try was stopped in it
        while self.progress.step < total:
            states = random_states()
            done = yield from self.step(cancel)
            if done is None:  # stopped within the step: its part counts for nothing, its random draws neither
                if self.progress.step > self.saved:
                    yield from self._save("stop", states)
                return
            yield done
            yield from self._validate(cancel)
            due = time.monotonic() - saved_at >= self.settings.checkpoint.interval_seconds
            if self.progress.step == total:
                yield from self._save("end", random_states())
            elif due:
                saved_at = time.monotonic()
                yield from self._try_save()
            if self.progress.step < total and self.watch.due:
                yield from self._score(cancel)
        yield from self._score(cancel)  # behind the last checkpoint: a stop in it costs no step

    def _score(self, cancel) -> list[e.Event]:
        if not self.ranks.first:
            return []
        with self.profile.phase("validation"):
            return list(self.watch.look(self.progress.step, cancel))

    def step(self, cancel) -> Iterator[e.Event]:
        """One optimizer step; returns its StepFinished, or None when it was stopped."""
        begun = time.monotonic()
        train, step = self.settings.train, self.progress.step
        examples = [self.train_rows[row] for row in self.schedule.step_rows(step)]
        pet = train.pet_weight * pet_factor(step / self.schedule.steps)
        read = yield from self.gradient.of_step(examples, step + 1, pet, cancel)
        if read is None:
            return None
        rate = learning_rate(step, self.schedule.steps, train)
        with self.profile.phase("optimizer"):
            self.scaler.unscale_(self.optimizer)
            norm = torch.nn.utils.clip_grad_norm_(self.gradient.parameters, train.max_grad_norm)
            set_rate(self.optimizer, rate)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.gradient.drop()
        sums = read()  # here the card is waited for: all of the step has been handed to it
        if not math.isfinite(sums.nll):
            raise EngineError("train.diverged", where=f"step {step + 1}", step=step + 1)
        self.progress.step = step + 1
        measured = (step + 1) % ROTATION_CHECK_STEPS == 0 or step + 1 == self.schedule.steps
        done = e.StepFinished(
            step=step + 1, epoch=(step + 1) / self.schedule.steps_per_epoch, loss=sums.mean,
            label_nll=sums.label_mean, learning_rate=rate, gradient_norm=float(norm),
            tokens=sum(len(example.ids) for example in examples), seconds=time.monotonic() - begun,
            rotation_error=rotations_error(self.adapted) if measured and self.settings.so8t.rotate else None,
        )  # fmt: skip
        self.profile.finish_step(len(examples), done.tokens, done.seconds)
        return done

    def _validate(self, cancel) -> Iterator[e.Event]:
        """Score the validation rows if they are due and not yet scored; a stop in between leaves them due."""
        step, every = self.progress.step, self.settings.train.validate_every
        due = step > self.progress.validated and (step % every == 0 or step == self.schedule.steps)
        if not due or not self.validation_rows:
            return
        begun = time.monotonic()
        self.model.eval()
        sums = yield from self.gradient.losses(self.validation_rows, step, cancel)
        self.model.train()
        if sums is None:
            return
        self.progress.validated = step
        best = self.progress.best is None or sums.mean < self.progress.best
        yield e.ValidationFinished(
            step=step, loss=sums.mean, label_nll=sums.label_mean, rows=len(self.validation_rows),
            seconds=time.monotonic() - begun, best=best,
        )  # fmt: skip
        if best and not self.ranks.first:
            self.progress.best = sums.mean
        elif best:
            try:
                with self.profile.phase("checkpoint"):
                    checkpoint.save(self.run.best_model, step, self._fill_adapter, self._fingerprints(), keep=2)
                self.progress.best = sums.mean
            except EngineError as error:  # a full disk costs a warning, not the run
                yield e.CheckpointFailed(step=step, code=error.code, where=error.where, facts=error.facts)

    def save_final(self) -> e.ModelSaved:
        """Write the adapter of the last step; its manifest marks the run as finished."""
        saved = checkpoint.write_only(
            self.run.final_model, self.progress.step, self._fill_adapter, self._fingerprints()
        )  # fmt: skip
        return e.ModelSaved(folder=str(saved.folder), step=saved.step, bytes=saved.bytes)

    def _try_save(self) -> Iterator[e.CheckpointSaved | e.CheckpointFailed]:
        """Save on the way: a full disk then costs a warning, not the run."""
        try:
            yield from self._save("interval", random_states())
        except EngineError as error:
            yield e.CheckpointFailed(step=self.progress.step, code=error.code, where=error.where, facts=error.facts)

    def _save(self, reason: str, states: dict) -> Iterator[e.CheckpointSaved]:
        """Write a checkpoint, in the first process: all of them hold the same."""
        if not self.ranks.first:
            return
        begun = time.monotonic()
        with self.profile.phase("checkpoint"):
            saved = checkpoint.save(
                self.run.checkpoints,
                self.progress.step,
                lambda folder: save_state(folder, self.adapted, self.optimizer, self.scaler, self.progress, states),
                self._fingerprints(),
                self.settings.checkpoint.keep,
            )
        self.saved = saved.step
        yield e.CheckpointSaved(
            step=saved.step, folder=str(saved.folder), bytes=saved.bytes, seconds=time.monotonic() - begun,
            reason=reason,
        )  # fmt: skip

    def _fill_adapter(self, folder) -> None:
        save_adapter(folder, self.adapted)

    def _fingerprints(self) -> dict:
        record = self.run.record
        return {"settings": record["settings"], "dataset": record["dataset"], "libraries": _libraries()}


def _libraries() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
