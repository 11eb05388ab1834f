"""Events and commands go to JSON and back; the fold is pure and shows the same after a replay."""

import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from so8t_engine import LintDataset, Settings, Snapshot, StartTraining, config
from so8t_engine import events as e
from so8t_engine.commands import Command
from so8t_engine.snapshot import fold, replay, with_history

numbers = st.floats(allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def value_of(annotation):
    if annotation is float:
        return numbers
    if annotation is int:
        return st.integers(0, 2**60)
    if annotation is bool:
        return st.booleans()
    if annotation is str:
        return texts
    if typing.get_origin(annotation) is dict:
        return st.dictionaries(texts, value_of(typing.get_args(annotation)[1]), max_size=3)
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        entries = options[:1] * 2 if Ellipsis in options else options
        return st.tuples(*map(value_of, entries))
    if typing.get_origin(annotation) is typing.Literal:
        return st.sampled_from(options)
    return st.one_of(*(st.none() if option is type(None) else value_of(option) for option in options))


def any_event(kind):
    fields = {name: value_of(info.annotation) for name, info in kind.model_fields.items()}
    return st.builds(kind, **fields)


all_events = st.one_of(*(any_event(kind) for kind in e.Event.__subclasses__()))


@given(all_events)
def test_every_event_round_trips_through_one_line_of_json(event):
    line = event.to_json()
    assert "\n" not in line
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert e.Event.from_json(line) == event


def test_infinity_survives():
    event = e.ValidationFinished(step=1, loss=float("inf"), label_nll=None, rows=1, seconds=0, best=False)
    assert e.Event.from_json(event.to_json()) == event


@pytest.mark.parametrize("line", ["", "{", "[]", '{"kind": "Nothing"}', '{"kind": "JobStarted"}', "null", '{"kind": ["x"]}'])
def test_other_lines_are_refused(line):
    with pytest.raises((ValueError, TypeError)):
        e.Event.from_json(line)


def test_commands_round_trip_and_are_frozen():
    settings = config.from_values(config.to_values(Settings()) | {"train.learning_rate": 0.003, "so8t.targets": ["o_proj"]})
    for command in (StartTraining(settings=settings, output="フォルダー", resume="never"), LintDataset(settings=settings)):
        assert Command.from_json(command.to_json()) == command
        with pytest.raises(ValidationError):
            command.settings = None


def step(number, **more):
    values = dict(step=number, epoch=number / 10, loss=1 / number, label_nll=None, learning_rate=0.1, gradient_norm=1.0,
                  tokens=100, seconds=0.5) | more  # fmt: skip
    return e.StepFinished(**values)


def job(run="r", resumed=False):
    return [e.JobStarted(job="j", command="StartTraining"), e.RunOpened(run=run, folder="/f", resumed=resumed)]


@given(st.lists(all_events, max_size=12))
def test_fold_takes_any_order_and_leaves_the_old_snapshot_as_it_was(events):
    snapshot = Snapshot()
    for event in events:
        before = snapshot
        seen = (before.version, before.state, len(before.steps), len(before.log))
        snapshot = fold(snapshot, event)
        assert (before.version, before.state, len(before.steps), len(before.log)) == seen
        assert snapshot.version == before.version + 1
    assert replay(events) == replay(events)


def test_steps_after_a_resume_replace_those_of_the_interrupted_try():
    first = [*job(), *(step(n) for n in range(1, 8))]
    second = [*job(resumed=True), e.Resumed(step=4, checkpoint="c"), *(step(n, loss=9.0) for n in range(5, 7))]
    shown = replay(first + second)
    assert [(s.step, s.loss) for s in shown.steps][3:] == [(4, 0.25), (5, 9.0), (6, 9.0)]
    assert (shown.step, shown.state) == (6, "interrupted")
    live = Snapshot()
    for event in second[:2]:
        live = fold(live, event)
    live = with_history(live, first)
    for event in second[2:]:
        live = fold(live, event)
    assert list(live.steps) == list(shown.steps) and live.state == "running"


def test_a_try_that_found_no_checkpoint_draws_its_curves_anew():
    look = e.ValidationFinished(step=3, loss=1.0, label_nll=None, rows=1, seconds=1.0, best=True)
    first = [*job(), *(step(n) for n in range(1, 5)), look]
    shown = replay([*first, *job(resumed=True), step(1, loss=9.0), step(2, loss=9.0)])
    assert [(s.step, s.loss) for s in shown.steps] == [(1, 9.0), (2, 9.0)] and len(shown.validations) == 0


def test_ten_thousand_steps_keep_their_order_and_share_their_past():
    snapshot = Snapshot()
    for n in range(1, 10_001):
        snapshot = fold(snapshot, step(n))
    assert [s.step for s in snapshot.steps] == list(range(1, 10_001))
    later = fold(snapshot, step(10_001))
    assert all(a is b for a, b in zip(snapshot.steps.chunks[:-1], later.steps.chunks, strict=False))
    assert len(snapshot.log) == 0


def test_speed_and_time_left_come_from_this_try_alone():
    old = [step(n, time=n, tokens=10**9) for n in range(1, 50)]
    start = e.JobStarted(job="j", command="StartTraining", time=1000)
    plan = e.TrainingPlanned(steps=70, steps_per_epoch=70, rows=70, epochs=1, time=1001)
    fresh = [step(n, time=1001 + 2 * (n - 49), seconds=2.0, tokens=100) for n in range(50, 61)]
    shown = Snapshot()
    for event in [*old, start, plan, *fresh]:
        shown = fold(shown, event)
    assert shown.tokens_per_second == 50
    assert shown.seconds_left == pytest.approx(20)
