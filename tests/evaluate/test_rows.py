"""Which rows are measured: those the run kept for testing, and never one that it has seen."""

import json

import pytest
from canary import make_run
from made import answer, row, write_rows

from so8t_engine import BadInput, config
from so8t_engine.answer.format import CLASSES
from so8t_engine.data import sources
from so8t_engine.data.split import cut
from so8t_engine.evaluate.rows import SETTINGS, choose
from so8t_engine.voice import named


@pytest.fixture
def place(tmp_path, tiny_model):
    """(settings, a finished run on forty rows, its rows by set, the dataset)."""
    data = write_rows(tmp_path / "data.jsonl", [row(i, CLASSES[i % 4]) for i in range(80)])
    root = tmp_path / "runs"
    run = make_run(root, tiny_model, dataset=str(data))
    parts = cut(sources.read(data).samples, run.settings())
    run.split_file.write_text(json.dumps(parts.record()), encoding="utf-8")
    settings = config.from_values({"base_model": str(tiny_model), "dataset": str(data), "runs": str(root)})
    return settings, named(run.id, root, settings), parts, data


def as_rows(samples):
    return [{"instruction": s.instruction, "input": s.input, "four_class_label": s.label} for s in samples]


def test_by_default_a_run_is_measured_on_exactly_its_test_rows(place):
    settings, voice, parts, data = place
    rows = choose(settings, voice, "")
    assert {s.content_hash for s in rows.samples} == set(parts.record()["test"])
    assert (rows.split, rows.file, rows.read) == ("test", data, 80)
    assert rows.checked_against == (voice.run.name,) and not any(rows.excluded.values())


def test_rows_seen_in_training_are_left_out_and_counted_whatever_their_answer_or_order(place, tmp_path):
    settings, voice, parts, _ = place
    fresh = [row(i, CLASSES[i % 4]) for i in range(100, 110)]
    seen = as_rows(parts.train[:7])
    seen[0]["instruction"] = "  " + seen[0]["instruction"] + "\n"  # blanks around it make no other request
    seen[1] |= {"output": answer("DENY"), "four_class_label": "DENY"}  # neither do another answer or class
    known = as_rows(parts.validation[:3])
    file = write_rows(tmp_path / "mixed.jsonl", [*known, *fresh, *seen, fresh[0]])
    rows = choose(settings, voice, str(file))
    assert [s.instruction for s in rows.samples] == [r["instruction"] for r in fresh]
    assert rows.excluded == {"training": 7, "validation": 3, "duplicates": 1, "limit": 0}
    assert rows.split == "file"


def test_only_seen_rows_is_refused(place, tmp_path):
    settings, voice, parts, _ = place
    file = write_rows(tmp_path / "seen.jsonl", as_rows([*parts.train, *parts.validation]))
    with pytest.raises(BadInput) as refused:
        choose(settings, voice, str(file))
    assert refused.value.code == "evaluate.all_seen" and voice.run.name in str(refused.value)


def test_without_a_record_of_what_was_seen_nothing_is_measured(place):
    settings, voice, _, _ = place
    (voice.run / "split.json").write_text('{"train": [', encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        choose(settings, voice, "")
    assert refused.value.code == "evaluate.no_split"


def test_a_dataset_that_lost_test_rows_is_refused(place):
    settings, voice, parts, data = place
    gone = parts.test[0].content_hash
    write_rows(data, as_rows(s for s in sources.read(data).samples if s.content_hash != gone))
    with pytest.raises(BadInput) as refused:
        choose(settings, voice, "")
    assert refused.value.code == "evaluate.rows_gone" and refused.value.facts["gone"] == "1"


def test_the_original_is_measured_on_the_rows_that_a_training_would_keep(place, tmp_path):
    settings, _, parts, _ = place
    original = named("original", tmp_path / "runs", settings)
    rows = choose(settings, original, "")
    assert [s.content_hash for s in rows.samples] == [s.content_hash for s in parts.test]
    assert rows.checked_against == (SETTINGS,)
    file = write_rows(tmp_path / "other.jsonl", as_rows(parts.train))
    assert choose(settings, original, str(file)).checked_against == ()


def test_a_limit_draws_the_same_rows_each_time_and_others_for_another_seed(place, tmp_path):
    settings, voice, _, _ = place
    file = write_rows(tmp_path / "many.jsonl", [row(i, CLASSES[i % 4]) for i in range(200, 300)])

    def drawn(seed, limit=20):
        chosen = config.from_values(config.to_values(settings) | {"seed": seed, "evaluate.limit": limit})
        return choose(chosen, voice, str(file))

    first = drawn(1)
    assert len(first.samples) == 20 and first.excluded["limit"] == 80
    assert [s.line for s in first.samples] == sorted(s.line for s in first.samples)
    assert first.samples == drawn(1).samples != drawn(2).samples
    assert set(drawn(1, 10).samples) < set(first.samples), "a larger limit adds rows and drops none"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "data.no_rows"),
        ('{"instruction": "a", "four_class_label": "MAYBE"}\n', "data.bad_label"),
        ('{"instruction": "a"}\n', "data.field_missing"),
        (None, "data.missing"),
    ],
    ids=["empty", "foreign label", "no label", "no file"],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(place, tmp_path, text, code):
    settings, voice, _, _ = place
    file = tmp_path / "bad.jsonl"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        choose(settings, voice, str(file))
    assert refused.value.code == code and str(file) in refused.value.where
