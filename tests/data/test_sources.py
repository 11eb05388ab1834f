"""Reading rows: what is wrong is named by file and physical line, and nothing is dropped unasked."""

import json

import pytest
from made import answer, row, write_rows

from so8t_engine import BadInput
from so8t_engine.data.sources import read

GOOD = json.dumps(row(1, "ALLOW"), ensure_ascii=False)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_reads_utf8_with_and_without_bom_and_both_line_ends(tmp_path, start, end):
    file = tmp_path / "日本語 (1).jsonl"
    file.write_bytes(start + (GOOD + end + end + GOOD + end).encode("utf-8"))
    samples = read(file).samples
    assert [s.line for s in samples] == [1, 3]
    assert samples[0].instruction == row(1, "ALLOW")["instruction"]
    assert samples[0].output == answer("ALLOW")


def test_line_separators_inside_a_text_do_not_shift_the_line_numbers(tmp_path):
    file = tmp_path / "rows.jsonl"
    odd = json.dumps({"instruction": "a\u2028b\u0085c\x0cd", "four_class_label": "DENY"}, ensure_ascii=False)
    file.write_text(f"{odd}\n{GOOD}\nbroken\n", encoding="utf-8", newline="\n")
    with pytest.raises(BadInput) as caught:
        read(file)
    assert caught.value.where == f"{file}:3"


BAD_LINES = {
    "data.not_json": '{"instruction": "a"',
    "data.bad_label": '{"instruction": "a", "four_class_label": "allow"}',
    "data.double_key": '{"instruction": "a", "instruction": "b", "four_class_label": "DENY"}',
    "data.not_number": '{"instruction": "a", "four_class_label": "DENY", "score": NaN}',
    "data.not_object": "[1, 2]",
    "data.field_missing": '{"instruction": "a"}',
    "data.field_empty": '{"instruction": "  ", "four_class_label": "DENY"}',
    "data.not_text": '{"instruction": 3, "four_class_label": "DENY"}',
    "data.broken_letter": '{"instruction": "\\ud800", "four_class_label": "DENY"}',
}


@pytest.mark.parametrize("code", BAD_LINES)
def test_bad_line_is_named_by_file_and_line_or_skipped_and_counted(tmp_path, code):
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{GOOD}\n\n{BAD_LINES[code]}\n{GOOD}\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read(file)
    assert (caught.value.code, caught.value.where) == (code, f"{file}:3")
    assert str(file) in str(caught.value)
    dataset = read(file, on_bad_row="skip")
    assert [s.line for s in dataset.samples] == [1, 4]
    assert [(f.code, f.where) for f in dataset.skipped] == [(code, f"{file}:3")]


def test_bytes_that_are_not_utf8(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(GOOD.encode() + b"\n" + "{'instruction': '契約'}".encode("cp932") + b"\n")
    with pytest.raises(BadInput) as caught:
        read(file)
    assert (caught.value.code, caught.value.where) == ("data.not_utf8", f"{file}:2")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path, content):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read(file)
    assert caught.value.code == "data.no_rows"


def test_missing_file_and_a_folder_in_its_place(tmp_path):
    with pytest.raises(BadInput) as caught:
        read(tmp_path / "none.jsonl")
    assert caught.value.code == "data.missing"
    with pytest.raises(BadInput) as caught:
        read(tmp_path)
    assert caught.value.code == "data.unreadable"


def test_input_file_is_left_as_it_was(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(1, "DENY")])
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    read(file)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_real_rows_without_answers_are_read(shared):
    samples = read(shared / "data" / "xstest_four_class.jsonl").samples
    assert len(samples) == 234
    assert not any(s.output for s in samples)
    assert {s.language for s in samples} == {"en"}
