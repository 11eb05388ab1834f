"""Benchmark files in the forms that people have them in, and what is said of bad ones."""

import json
from pathlib import Path

import pytest

from so8t_engine.errors import BadInput
from so8t_engine.evaluate.tasks import GROUPS, Task, choose, draw, find, read


def write(file: Path, *rows: dict) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    else:
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def task(name: str) -> Task:
    return next(task for task in choose([name]))


def found(name: str, folder: Path, split: str = "validation") -> list[dict]:
    return read(task(name), find(name, folder, split))


def fault(name: str, folder: Path, split: str = "validation") -> BadInput:
    with pytest.raises(BadInput) as error:
        found(name, folder, split)
    assert str(error.value)  # the sentences have all their facts
    return error.value


SENTENCE = {"idx": 0, "sentence": "a fine film", "label": 1}
QUIZ = {"q_id": 1, "question": "何？", **{f"choice{i}": str(i) for i in range(5)}, "label": 2}
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "庭",
            "paragraphs": [
                {
                    "context": "庭 [SEP] 庭は家の外にある。",
                    "qas": [
                        {"id": "a", "question": "どこ？", "answers": [{"text": "家の外", "answer_start": 7}]},
                        {"id": "b", "question": "何？", "answers": [{"text": "庭", "answer_start": 0}, {"text": "家"}]},
                    ],
                }
            ],
        }
    ],
}


@pytest.mark.parametrize(
    "place",
    ["sst2/validation.jsonl", "sst2/validation-00000-of-00001.parquet", "SST-2/dev.jsonl", "sst2-validation.parquet",
     "sst2_valid.first10.jsonl", "sst2/sst2-val.json"],
)  # fmt: skip
def test_the_usual_names_of_folder_and_file_are_found(tmp_path, place):
    write(tmp_path / place, SENTENCE)
    write(tmp_path / Path(place).parent / "sst2-train.jsonl", SENTENCE | {"sentence": "for the examples"})
    write(tmp_path / "mrpc" / "validation.jsonl", {"sentence1": "another task's"})
    assert found("sst2", tmp_path) == [{"sentence": "a fine film", "label": 1}]
    assert found("sst2", tmp_path, "train")[0]["sentence"] == "for the examples"


def test_jglue_s_own_folders_are_read_as_they_are(tmp_path):
    write(tmp_path / "jcommonsenseqa-v1.1" / "valid-v1.1.json", QUIZ | {"label": 0})
    write(tmp_path / "jcommonsenseqa-v1.3" / "valid-v1.3.json", QUIZ, QUIZ)
    write(tmp_path / "jcommonsenseqa-v1.3" / "test-v1.3.json", QUIZ | {"label": 4})
    write(tmp_path / "jnli-v1.1" / "valid-v1.1.json", {"sentence1": "甲", "sentence2": "乙", "label": "neutral"})
    (tmp_path / "jsquad-v1.1").mkdir()
    (tmp_path / "jsquad-v1.1" / "valid-v1.1.json").write_text(json.dumps(SQUAD, indent=1), encoding="utf-8-sig")
    assert [row["label"] for row in found("jcommonsenseqa", tmp_path)] == [2, 2]  # the newest version alone
    assert found("jnli", tmp_path) == [{"sentence1": "甲", "sentence2": "乙", "label": 2}]
    assert [(row["question"], row["answers"]["text"]) for row in found("jsquad", tmp_path)] == [
        ("どこ？", ["家の外"]), ("何？", ["庭", "家"]),
    ]  # fmt: skip
    assert found("jsquad", tmp_path)[0]["context"].startswith("庭 [SEP]")


def test_the_real_files_are_whole(shared):
    assert len(found("jcommonsenseqa", shared / "data" / "jglue")) == 1119
    assert len(found("jnli", shared / "data" / "jglue")) == 1000


@pytest.mark.parametrize(
    ("name", "row", "label"),
    [
        ("boolq", {"passage": "p", "question": "q", "label": True}, 1),
        ("boolq", {"passage": "p", "question": "q", "label": 0}, 0),
        ("cb", {"premise": "p", "hypothesis": "h", "label": "neutral"}, 2),
        ("cb", {"premise": "p", "hypothesis": "h", "label": 1}, 1),
        ("copa", {"premise": "p.", "choice1": "A.", "choice2": "B.", "question": "cause", "label": 1}, 1),
        ("mrpc", {"sentence1": "a", "sentence2": "b", "label": "equivalent"}, 1),
        ("qqp", {"question1": "a", "question2": "", "label": "not_duplicate"}, 0),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_labels_are_names_numbers_or_truth(tmp_path, name, row, label, form):
    write(tmp_path / name / f"val.{form}", row)
    assert [one["label"] for one in found(name, tmp_path)] == [label]


@pytest.mark.parametrize("answers", [[{"text": "庭"}], {"text": ["庭"], "answer_start": [0]}])
def test_answers_stand_in_either_form(tmp_path, answers):
    write(tmp_path / "jsquad" / "validation.jsonl", {"context": "庭", "question": "何？", "answers": answers})
    assert found("jsquad", tmp_path)[0]["answers"] == {"text": ["庭"]}


def test_a_file_in_parts_is_read_whole_or_not_at_all(tmp_path):
    for part in range(3):
        write(tmp_path / "sst2" / f"validation-0000{part}-of-00003.parquet", SENTENCE | {"sentence": str(part)})
    assert [row["sentence"] for row in found("sst2", tmp_path)] == ["0", "1", "2"]
    (tmp_path / "sst2" / "validation-00001-of-00003.parquet").unlink()
    assert fault("sst2", tmp_path).code == "benchmarks.part_missing"


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ('{"sentence": "x", "label": 1}\n{"sentence": \n', "benchmarks.unreadable", ":2"),
        ('{"sentence": "x", "label": 1}\n\n{"label": 1}\n', "benchmarks.no_text", ":3"),
        ('{"sentence": "x", "label": -1}\n', "benchmarks.bad_label", ":1"),
        ('{"sentence": "x", "label": "good"}\n', "benchmarks.bad_label", ":1"),
        ('{"sentence": "x", "label": null}\n', "benchmarks.bad_label", ":1"),
        ("[1, 2]\n", "benchmarks.unreadable", ":1"),
        ("\n", "benchmarks.no_rows", ""),
        ('{"data": [{"paragraphs": 3}]}', "benchmarks.unreadable", ""),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, text, code, place):
    file = tmp_path / "sst2" / "validation.jsonl"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    error = fault("sst2", tmp_path)
    assert (error.code, error.where) == (code, f"{file}{place}")


@pytest.mark.parametrize("name", ["validation.jsonl", "validation.parquet"])
def test_a_file_that_is_something_else_is_named(tmp_path, name):
    file = tmp_path / "sst2" / name
    file.parent.mkdir()
    file.write_bytes(b"PAR1\xff\xfe\x00nonsense")
    error = fault("sst2", tmp_path)
    assert (error.code, error.where) == ("benchmarks.unreadable", str(file))


def test_what_is_not_there_is_missing(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        error = fault("sst2", folder)
        assert (error.code, error.where) == ("benchmarks.data_missing", str(folder / "sst2"))
    write(tmp_path / "sst2" / "test.jsonl", SENTENCE)
    assert fault("sst2", tmp_path).code == "benchmarks.data_missing"


def test_groups_and_names_are_chosen_once_and_in_order():
    def names(*asked: str) -> list[str]:
        return [one.name for one in choose(asked)]

    assert names("japanese", "glue") == [*GROUPS["glue"], *GROUPS["japanese"]]
    assert names("jnli", "copa", "superglue") == ["boolq", "cb", "copa", "jnli"]
    with pytest.raises(BadInput) as error:
        choose(["glue", "mnli"])
    assert error.value.code == "benchmarks.unknown_task" and "mnli" in str(error.value)


def test_the_seed_alone_decides_which_rows_are_drawn():
    rows = [{"number": number} for number in range(100)]
    first = draw(rows, 10, 3)
    assert first == draw(rows, 10, 3) != draw(rows, 10, 4)
    assert len({row["number"] for row in first}) == 10
    assert draw(rows, 0, 3) == draw(rows, 100, 3) == draw(rows, 1000, 3) == rows
    assert first != rows[:10]
