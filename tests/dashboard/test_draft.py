"""The working copy of a config: what it opens, what it saves, and what it never writes over."""

import threading

import pytest

from dashboard.draft import LONGEST_NAME, PRESETS, Draft
from so8t_engine import BadInput, SettingsError, config

MINE = "# mine\nbase_model: m\ndataset: d.jsonl\nseed: 7 # lucky\n"


@pytest.fixture
def folder(tmp_path):
    for name in PRESETS:
        (tmp_path / f"{name}.yaml").write_bytes((config.CONFIGS / f"{name}.yaml").read_bytes())
    (tmp_path / "other.yaml").write_text("steps: [a]\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(MINE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def draft(folder) -> Draft:
    return Draft(folder / "mine.yaml", folder)


def refusal(action, *arguments, **options) -> BadInput:
    with pytest.raises(BadInput) as caught:
        action(*arguments, **options)
    for language in ("en", "ja"):
        assert caught.value.what(language) and caught.value.hint(language)
    return caught.value


def test_the_shipped_presets_are_there():
    assert all((config.CONFIGS / f"{name}.yaml").exists() for name in PRESETS)


def test_it_opens_as_the_file_stands(draft):
    assert (draft.text, draft.dirty, draft.file.name) == (MINE, False, "mine.yaml")
    assert draft.settings().seed == 7


def test_a_change_in_the_form_keeps_the_comments(draft):
    draft.change("seed", 8)
    draft.change("train.epochs", 1.0)
    assert draft.text == MINE.replace("7", "8") + "train:\n  epochs: 1.0\n"
    assert draft.dirty and draft.settings().train.epochs == 1.0


def test_a_change_to_the_same_value_changes_nothing(draft):
    before = draft.view()
    draft.change("seed", 7.0)
    draft.change("train.epochs", 3)
    assert draft.view() == before and not draft.dirty


def test_a_wrong_value_is_kept_and_told(draft):
    draft.change("train.learning_rate", 3.0)
    draft.change("seed", None)
    view = draft.view()
    assert (view.values["train.learning_rate"], view.values["seed"]) == (3.0, None)
    assert {fault.facts["field"] for fault in view.faults} == {"train.learning_rate", "seed"}
    with pytest.raises(SettingsError):
        draft.settings()


def test_faults_name_the_file_and_the_line(draft):
    draft.edit(MINE + "noise: 1\n")
    (fault,) = draft.view().faults
    assert (fault.code, fault.where) == ("config.unknown", "mine.yaml:5")


def test_an_unreadable_text_leaves_the_form_as_it_was(draft):
    draft.edit(MINE + "a: b: c\n")
    view = draft.view()
    assert not view.readable and view.mendable and view.values["seed"] == 7
    assert [fault.code for fault in view.faults] == ["config.colon"]
    with pytest.raises(SettingsError):
        draft.change("seed", 9)
    draft.mend()
    assert draft.text == MINE
    draft.undo()
    assert draft.text == MINE + "a: b: c\n"


def test_a_file_that_was_never_readable_cannot_be_mended(folder):
    (folder / "broken.yaml").write_text("a: b: c\n", encoding="utf-8")
    draft = Draft(folder / "broken.yaml", folder)
    assert not draft.view().mendable
    draft.mend()
    assert draft.text == "a: b: c\n"


def test_every_change_has_a_revision_of_its_own(draft):
    seen = {draft.view().revision}
    for step in (lambda: draft.change("seed", 1), lambda: draft.edit("seed: 2\n"), draft.save, draft.undo):
        step()
        seen.add(draft.view().revision)
    assert len(seen) == 4, "undo had nothing to bring back"


def test_configs_are_listed_presets_first_and_nothing_else(draft, folder):
    (folder / "あ config.yml").write_text("base_model: x\n", encoding="utf-8")
    assert [file.name for file in draft.files()] == ["demo.yaml", "borea_phi35_so8t.yaml", "smollm2_cpu.yaml", "pipeline.yaml", "mine.yaml", "あ config.yml"]


def test_the_open_file_is_listed_wherever_it_lies(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "x.yaml"
    other.write_text("seed: 1\n", encoding="utf-8")
    assert Draft(other, folder).files()[-1] == other


def test_saving_writes_the_text_as_typed(draft, folder):
    draft.edit(MINE.replace("7", "8"))
    draft.save()
    assert (folder / "mine.yaml").read_bytes() == MINE.replace("7", "8").encode()
    assert not draft.dirty
    assert not list(folder.glob("*.tmp"))


def test_windows_line_ends_come_and_go_quietly(folder):
    (folder / "crlf.yaml").write_bytes(b"\xef\xbb\xbf" + MINE.replace("\n", "\r\n").encode())
    draft = Draft(folder / "crlf.yaml", folder)
    draft.edit(MINE.replace("\n", "\r\n"))
    assert not draft.dirty
    draft.save()
    assert (folder / "crlf.yaml").read_bytes() == MINE.encode()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_never_written_over(folder, name):
    draft = Draft(folder / f"{name}.yaml", folder)
    before = draft.text
    draft.change("seed", 1)
    assert refusal(draft.save).code == "config.name_preset"
    assert refusal(draft.save, overwrite=True).code == "config.name_preset"
    for spelling in (name, name.upper(), f"{name}.yaml"):
        assert refusal(draft.save_as, spelling, overwrite=True).code == "config.name_preset"
    assert (folder / f"{name}.yaml").read_text(encoding="utf-8") == before
    draft.save_as(draft.suggestion())
    assert draft.file.name == f"{name}_2.yaml" and not draft.dirty


def test_other_files_of_the_program_are_never_written_over(draft, folder):
    assert refusal(draft.save_as, "other", overwrite=True).code == "config.name_preset"
    assert (folder / "other.yaml").read_text(encoding="utf-8") == "steps: [a]\n"


def test_another_config_is_written_over_only_when_that_is_said(draft, folder):
    (folder / "other.yaml").write_text("base_model: o\n", encoding="utf-8")
    for name in ("other", "OTHER.YAML"):
        assert refusal(draft.save_as, name).code == "config.name_taken"
    assert (folder / "other.yaml").read_text(encoding="utf-8") == "base_model: o\n"
    draft.save_as("Other", overwrite=True)
    assert draft.file == folder / "other.yaml"
    assert (folder / "other.yaml").read_text(encoding="utf-8") == MINE


def test_a_change_from_outside_is_not_lost_silently(draft, folder):
    (folder / "mine.yaml").write_text("base_model: changed elsewhere\n", encoding="utf-8")
    draft.edit(MINE + "runs: r\n")
    assert refusal(draft.save).code == "config.changed_outside"
    assert "elsewhere" in (folder / "mine.yaml").read_text(encoding="utf-8")
    draft.save(overwrite=True)
    assert (folder / "mine.yaml").read_text(encoding="utf-8") == MINE + "runs: r\n"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "empty"), ("   ", "empty"), (".yaml", "empty"),
        ("a/b", "bad"), ("a\\b", "bad"), ("..", "bad"), ("../demo", "bad"), ("C:x", "bad"), ("a?", "bad"), ("a*", "bad"),
        ("a\tb", "bad"), ("a\x00", "bad"), (".hidden", "bad"), ("dot.", "bad"), ("x" * (LONGEST_NAME + 1), "bad"),
        ("CON", "reserved"), ("nul.yaml", "reserved"), ("com1.txt", "reserved"), ("LPT9", "reserved"), ("aux", "reserved"),
    ],
)  # fmt: skip
def test_names_that_no_file_can_have_are_refused(draft, folder, name, code):
    before = sorted(folder.iterdir())
    assert refusal(draft.save_as, name).code == f"config.name_{code}"
    assert sorted(folder.iterdir()) == before and draft.file.name == "mine.yaml"


@pytest.mark.parametrize("name", ["再学習 1", "a & b (100 %)!", "v1.2", "console", "x" * LONGEST_NAME, "がぎぐ"])
def test_ordinary_names_are_taken(draft, folder, name):
    draft.save_as(f" {name} ")
    assert draft.file == folder / f"{name}.yaml"
    assert draft.file.read_text(encoding="utf-8") == MINE
    assert draft.file in draft.files()


def test_opening_another_file_can_be_undone(draft, folder):
    draft.edit("seed: 99\n")
    draft.open(folder / "demo.yaml")
    assert draft.settings().seed == 42 and draft.view().undoable == "mine.yaml"
    draft.undo()
    assert (draft.text, draft.file.name, draft.dirty) == ("seed: 99\n", "mine.yaml", True)
    draft.save()
    assert (folder / "mine.yaml").read_text(encoding="utf-8") == "seed: 99\n"


def test_opening_with_nothing_unsaved_leaves_nothing_to_undo(draft, folder):
    draft.open(folder / "demo.yaml")
    assert draft.view().undoable == ""


def test_reloading_takes_what_stands_on_the_disk(draft, folder):
    draft.edit("seed: 99\n")
    (folder / "mine.yaml").write_text("seed: 5\n", encoding="utf-8")
    draft.open(draft.file)
    assert draft.settings().seed == 5 and not draft.dirty


def test_a_file_that_cannot_be_opened_changes_nothing(draft, folder):
    assert refusal(draft.open, folder / "none.yaml").code == "config.missing"
    assert draft.text == MINE
    assert refusal(Draft, folder / "none.yaml", folder).code == "config.missing"


def test_a_text_from_elsewhere_gets_a_free_name_and_waits_to_be_saved(draft, folder):
    draft.take("mine.yaml", "seed: 3\n")
    assert (draft.file, draft.dirty) == (folder / "mine_2.yaml", True)
    assert not draft.file.exists()
    draft.save()
    assert draft.file.read_text(encoding="utf-8") == "seed: 3\n"
    draft.take("a?b|.yml", "seed: 4\n")
    assert draft.file.name == "a_b_.yaml"
    draft.take("...", "seed: 4\n")
    assert draft.file.name == "config.yaml"


def test_many_threads_lose_no_change(draft):
    paths = [field.path for field in config.fields() if field.kind in ("int", "float")]

    def work(path: str) -> None:
        for value in (1, 2):
            draft.change(path, value)
            draft.view()

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = config.said(draft.text)
    assert {path: values[path] for path in paths} == dict.fromkeys(paths, 2)
