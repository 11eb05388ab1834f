"""Curves: few points, all extremes, honest gaps."""

import csv
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from dashboard import charts
from so8t_engine import events

values = st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), max_size=3000)


@given(values, st.integers(4, 600))
def test_downsample_keeps_ends_and_extremes(curve, limit):
    kept = charts.downsample(curve, limit)
    assert len(kept) <= max(limit, 0) or len(curve) <= limit
    assert kept == sorted(set(kept))
    if curve:
        assert kept[0] == 0 and kept[-1] == len(curve) - 1
    measured = [value for value in curve if value is not None and math.isfinite(value)]
    if measured:
        shown = [curve[i] for i in kept if curve[i] is not None and math.isfinite(curve[i])]
        assert (min(shown), max(shown)) == (min(measured), max(measured))


@given(st.integers(501, 20_000))
def test_never_more_than_500_points(length):
    assert len(charts.downsample([math.sin(i) for i in range(length)])) <= charts.MAX_POINTS


@given(values)
def test_smooth_stays_between_the_extremes(curve):
    measured = [value for value in curve if value is not None and abs(value) < 1e100]
    tamed = [value if value in measured else None for value in curve]
    means = [mean for mean in charts.smooth(tamed) if mean is not None]
    slack = 1e-6 * (1 + max(map(abs, measured), default=0))
    assert all(min(measured) - slack <= mean <= max(measured) + slack for mean in means)


def scored(step, **changes):
    facts = {"step": step, "rows": 40, "accuracy": 0.5, "macro_f1": 0.25, "unsafe_allow": 0.1, "over_refusal": None}
    return events.ValidationScored(**facts | {"seconds": 1.0} | changes)


def test_curves_are_json_with_gaps_for_what_is_no_number(page, story, replayed):
    broken = story(3, events.StepFinished(**story(4)[-1].model_dump() | {"loss": float("nan"), "step": 4}))
    figure = charts.curves(replayed(broken), page)["loss"]
    json.dumps(figure, allow_nan=False)
    assert figure["data"][0]["y"][-1] is None


def test_every_curve_has_each_axis_and_at_most_500_points(page, story, replayed):
    told = story(1200, events.CheckpointSaved(step=600, folder="c", bytes=1, seconds=1.0, reason="interval"),
                 events.ValidationFinished(step=600, loss=1.0, label_nll=0.5, rows=4, seconds=1.0, best=True),
                 *(scored(number) for number in range(1, 601)),
                 events.JobFailed(job="j", code="engine.busy", facts={"command": "x"}))  # fmt: skip
    for figure in charts.curves(replayed(told), page).values():
        for trace in figure["data"]:
            assert set(trace["meta"]["x"]) == set(charts.AXES)
            assert {len(x) for x in trace["meta"]["x"].values()} == {len(trace["y"])}
            assert len(trace["y"]) <= charts.MAX_POINTS
        assert figure["layout"]["uirevision"] == "keep"
        assert len(figure["meta"]["marks"]) == 1
        assert figure["data"][-1]["x"] == [600]


def test_an_empty_run_has_no_curves(page, replayed):
    assert set(charts.curves(replayed([]), page).values()) == {None}
    assert charts.hardware(replayed([]), page) == {"cpu": None, "ram": None}


def test_decisions_are_drawn_as_measured_and_absent_until_then(page, story, replayed):
    assert charts.curves(replayed(story(20)), page)["decisions"] is None
    told = story(20, scored(10, accuracy=0.25), scored(20, unsafe_allow=0.0))
    figure = charts.curves(replayed(told), page)["decisions"]
    drawn = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    assert list(drawn) == [page.t("chart.unsafe_allow"), page.t("chart.accuracy"), page.t("chart.macro_f1")]
    assert [list(trace["y"]) for trace in drawn.values()] == [[10.0, 0.0], [25.0, 50.0], [25.0, 25.0]]
    assert all(trace["x"] == [10, 20] for trace in drawn.values())
    assert [trace["meta"]["label"].split()[-2] for trace in drawn.values()] == ["0.0", "50.0", "25.0"]
    assert figure["layout"]["yaxis"]["range"] == [0, 100], "shares are never blown up to fill the chart"


def test_a_score_that_a_resume_took_back_is_not_drawn(page, story, replayed):
    told = story(20, scored(10), scored(20), events.Resumed(step=15, checkpoint="c"))
    assert charts.curves(replayed(told), page)["decisions"]["data"][0]["x"] == [10]


def test_a_missing_card_has_no_charts(page, replayed):
    bare = events.HardwareSampled(time=1.0, cpu=50.0, ram_used=2**30, ram_total=2**31, process_ram=1)
    assert set(charts.hardware(replayed([bare]), page)) == {"cpu", "ram"}
    card = bare.model_copy(update={"gpu": 80.0, "vram_used": 2**33, "vram_total": 2**34, "gpu_name": "RTX"})
    shown = charts.hardware(replayed([bare, card]), page)
    assert set(shown) == {"cpu", "ram", "gpu", "vram"}, "temperature and power were not told, so they are not drawn"
    assert shown["gpu"]["data"][0]["y"] == [None, 80.0]


def test_time_in_which_nothing_ran_is_cut_out(page, replayed):
    samples = [
        events.HardwareSampled(time=moment, cpu=1.0, ram_used=1, ram_total=2, process_ram=1)
        for moment in (0.0, 2.0, 90_000.0, 90_002.0)
    ]
    assert charts.hardware(replayed(samples), page)["cpu"]["data"][0]["x"] == [0.0, 2.0, 12.0, 14.0]


def test_csv_holds_every_step(story, replayed):
    validation = events.ValidationFinished(step=600, loss=1.5, label_nll=None, rows=4, seconds=1.0, best=True)
    text = charts.csv(replayed(story(1200, validation, scored(900))))
    assert text.startswith("step,")
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, 1201))
    measured = {int(row["step"]): {name: value for name, value in row.items() if name.startswith("val_") and value}
                for row in rows}  # fmt: skip
    assert {step: values for step, values in measured.items() if values} == {
        600: {"val_loss": "1.5"},
        900: {"val_unsafe_allow": "0.1", "val_accuracy": "0.5", "val_macro_f1": "0.25"},
    }
