"""What a person asks for: one frozen record for each wish, imperative, JSON both ways."""

from so8t_engine.config import Settings
from so8t_engine.record import Record


class Command(Record):
    """A wish. `engine.submit` takes it and gives back a job id."""


class LintDataset(Command):
    """Read the dataset of `settings`, count it and name what is wrong with it, without training."""

    settings: Settings


class StartVerification(Command):
    """Try a little of everything that training with `settings` needs, and say what is missing.

    run: folder of the run that the results belong to; "" makes a folder of their own under `settings.runs`.
    """

    settings: Settings
    run: str = ""


class StartTraining(Command):
    """Train with `settings`.

    output: the run's own folder; "" makes a new one under `settings.runs`.
    resume: "auto" goes on with the newest unfinished run of the same settings and data, "never" starts anew,
        anything else is the id or folder of the run to go on with.
    """

    settings: Settings
    output: str = ""
    resume: str = "auto"
