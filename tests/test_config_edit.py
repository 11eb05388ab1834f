"""One value changed in a YAML text: the rest of the text stays as it was typed."""

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from so8t_engine import SettingsError, config

TYPED = """\
# mine
runs: here   # a comment
data: {max_length: 64, system_prompt: 'x'} # in braces
so8t:
  # the layers
  targets:
  - qkv_proj   # first
  - o_proj
  # after the list
  r: 8
train:
    epochs: 3  # deep
    # batch_size: 4
    learning_rate: 2e-4
"""

PATHS = [field.path for field in config.fields()]

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), words,
    st.lists(st.sampled_from(["a", "b: c", "#d", "e, f", "三"]), max_size=3), st.sampled_from(["一行目\n\n  二行目: #\n", "a\x85b", "\u2028", "x\r\ny", "\ufeff", "\t"]),
)  # fmt: skip
starts = [
    "", "# only a comment\n", "seed: 1", "{seed: 1}", "{}", "train:\n", "train: 5 # five\n", "train: {}\n", TYPED,
    (config.CONFIGS / "demo.yaml").read_text(encoding="utf-8"),
    (config.CONFIGS / "borea_phi35_so8t.yaml").read_text(encoding="utf-8"),
    "data:\n  system_prompt: |\n    two\n    lines\n  # note\nseed: 1\n", "a: &a 1\nseed: *a\n", "seed: 1\nseed: 2\n",
    "%YAML 1.1\n---\nseed: 1\n...\n",
]  # fmt: skip


def meaning(text: str) -> dict:
    return yaml.safe_load(text) or {}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(starts), st.lists(st.tuples(st.sampled_from(PATHS), values), min_size=1, max_size=3))
def test_only_the_one_value_changes(text, changes):
    for path, value in changes:
        wanted = copy.deepcopy(meaning(text))
        *groups, name = path.split(".")
        inner = wanted
        for group in groups:
            if not isinstance(inner.get(group), dict):
                inner[group] = {}
            inner = inner[group]
        inner[name] = value
        text = config.changed(text, path, value)
        assert meaning(text) == wanted


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATHS), values)
def test_comments_stay(path, value):
    text = config.changed(TYPED, path, value)
    kept = [comment for comment in ("# mine", "# the layers", "# after the list", "# batch_size: 4") if comment in text]
    assert len(kept) == 4


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("runs", "there", "runs: here   # a comment", "runs: there   # a comment"),
        ("data.max_length", 128, "max_length: 64,", "max_length: 128,"),
        ("data.test_share", 0.2, "'x'} # in", "'x', test_share: 0.2} # in"),
        ("train.epochs", 5.0, "epochs: 3  # deep", "epochs: 5.0  # deep"),
        ("train.batch_size", 2, "    epochs: 3", "    batch_size: 2\n    epochs: 3"),
        ("so8t.targets", ["o_proj"], "\n  - qkv_proj   # first\n  - o_proj\n", " [o_proj]\n"),
        ("data.system_prompt", "a\nb", "'x'", '"a\\nb"'),
        ("seed", 7, "    learning_rate: 2e-4\n", "    learning_rate: 2e-4\nseed: 7\n"),
        ("model.dtype", "auto", "    learning_rate: 2e-4\n", "    learning_rate: 2e-4\nmodel:\n  dtype: auto\n"),
    ],
)
def test_the_value_goes_where_a_person_would_put_it(path, value, old, new):
    assert TYPED.count(old) == 1
    assert config.changed(TYPED, path, value) == TYPED.replace(old, new)


def test_a_text_of_several_lines_stays_a_block():
    text = (config.CONFIGS / "borea_phi35_so8t.yaml").read_text(encoding="utf-8")
    shorter = config.changed(text, "data.system_prompt", "一\n二")
    assert "  system_prompt: |-\n    一\n    二\nmodel:\n" in shorter
    assert "  system_prompt: 三\nmodel:\n" in config.changed(shorter, "data.system_prompt", "三")


def test_what_defies_editing_is_written_anew_below_its_comment():
    text = config.changed("# mine\nbase: &b 1\nseed: *b\n", "base", 5)
    assert text == "# mine\nbase: 5\nseed: 1\n"


def test_a_text_that_is_no_yaml_is_left_alone():
    with pytest.raises(SettingsError):
        config.changed("a: b: c", "seed", 1)
