"""A training as a job: open or take up its run, then train to the end."""

from collections.abc import Iterator

from so8t_engine import runs
from so8t_engine.data.sources import fingerprint
from so8t_engine.events import Event, RunAlreadyFinished, RunOpened
from so8t_engine.settings import Settings
from so8t_engine.train.ranks import launched


def retrain(settings: Settings, output: str, resume: str, cancel) -> Iterator[Event]:
    """Train in the run that `output` and `resume` mean, see the command StartTraining.

    Yields RunOpened before torch is loaded, then RunAlreadyFinished or the events of `train`. Where `accelerate launch`
    started several processes, the first one opens the run and yields; the others compute and yield nothing. Raises
    BadInput, those of `runs.open_run` and of `train`.
    """
    if launched():
        yield from _retrain_together(settings, output, resume, cancel)
        return
    run, resumed = runs.open_run(settings, fingerprint(settings.resolve(settings.dataset)), output, resume)
    with run.lock():
        yield RunOpened(run=run.id, folder=str(run.folder), resumed=resumed)
        if run.finished:
            yield RunAlreadyFinished(run=run.id, folder=str(run.folder))
            return
        run.take_memory_of(settings)
        from so8t_engine.train.loop import train

        yield from train(run.settings(), run, cancel)


def _retrain_together(settings: Settings, output: str, resume: str, cancel) -> Iterator[Event]:
    from so8t_engine.train.loop import train
    from so8t_engine.train.ranks import Ranks

    ranks = Ranks()
    if not ranks.first:
        run = runs.Run.at(ranks.tell(""))
        if not run.finished:
            for _ in train(run.settings(), run, cancel, ranks):
                pass
        return
    run, resumed = runs.open_run(settings, fingerprint(settings.resolve(settings.dataset)), output, resume)
    with run.lock():
        yield RunOpened(run=run.id, folder=str(run.folder), resumed=resumed)
        if not run.finished:
            run.take_memory_of(settings)
        ranks.tell(str(run.folder))
        if run.finished:
            yield RunAlreadyFinished(run=run.id, folder=str(run.folder))
        else:
            yield from train(run.settings(), run, cancel, ranks)
