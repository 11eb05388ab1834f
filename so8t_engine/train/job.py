"""A training as a job: open or take up its run, then train to the end."""

from collections.abc import Iterator

from so8t_engine import runs
from so8t_engine.data.sources import fingerprint
from so8t_engine.events import Event, RunAlreadyFinished, RunOpened
from so8t_engine.settings import Settings


def retrain(settings: Settings, output: str, resume: str, cancel) -> Iterator[Event]:
    """Train in the run that `output` and `resume` mean, see the command StartTraining.

    Yields RunOpened before torch is loaded, then RunAlreadyFinished or the events of `train`. Raises BadInput, those of
    `runs.open_run` and of `train`.
    """
    dataset = fingerprint(settings.resolve(settings.dataset))
    run, resumed = runs.open_run(settings, dataset, output, resume)
    with run.lock():
        yield RunOpened(run=run.id, folder=str(run.folder), resumed=resumed)
        if run.finished:
            yield RunAlreadyFinished(run=run.id, folder=str(run.folder))
            return
        from so8t_engine.train.loop import train

        yield from train(run.settings(), run, cancel)
