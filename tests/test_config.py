"""Settings in and out of YAML, and every fault with its place and its words."""

import math
import runpy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from so8t_engine import BadInput, Settings, SettingsError, config, errors
from so8t_engine.config import ROOT

FIELDS = {field.path: field for field in config.fields()}
LANGUAGES = ("en", "ja")

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
names = st.lists(st.text("abcdefgh_.", min_size=1, max_size=12), min_size=1, max_size=5, unique=True)


def _floats(field: config.FieldInfo) -> st.SearchStrategy[float]:
    return st.floats(
        field.low, field.high, exclude_min=field.low_excluded, exclude_max=field.high_excluded, allow_nan=False
    )  # fmt: skip


def _valid(field: config.FieldInfo) -> st.SearchStrategy:
    if field.path == "ollama.address":
        return st.sampled_from(["http://127.0.0.1:11434", "https://studio.local", "http://[::1]:8080"])
    match field.kind:
        case "int":
            return st.integers(int(field.low), int(field.high))
        case "float":
            return _floats(field)
        case "bool":
            return st.booleans()
        case "choice":
            return st.sampled_from(field.choices)
        case "names" if field.choices:
            return st.lists(st.sampled_from(field.choices), min_size=1, unique=True)
        case "names":
            return names
    return texts


@st.composite
def flat_values(draw) -> dict:
    """Valid values for all settings, by their paths."""
    values = {path: draw(_valid(field)) for path, field in FIELDS.items()}
    values["so8t.rotate"] = draw(st.lists(st.sampled_from(values["so8t.targets"]), unique=True))
    if values["data.validation_share"] + values["data.test_share"] >= 1:
        values["data.test_share"] = 0.25
    return values


def faults_of(text: str, **options) -> list[errors.EngineError]:
    with pytest.raises(SettingsError) as caught:
        config.parse(text, where="a.yaml", **options)
    assert caught.value.facts["count"] == str(len(caught.value.faults))
    return caught.value.faults


def codes_of(text: str, **options) -> list[tuple[str, str]]:
    return [(fault.code, fault.where) for fault in faults_of(text, **options)]


@settings(max_examples=60, deadline=None)
@given(flat_values())
def test_yaml_settings_and_flat_values_are_the_same_thing(values):
    made = config.from_values(values)
    assert config.from_values(config.to_values(made)) == made
    assert config.parse(config.to_yaml(made)) == made
    assert Settings.model_validate_json(made.model_dump_json()) == made
    assert list(config.to_values(made)) == list(FIELDS)


@pytest.mark.parametrize("field", [f for f in FIELDS.values() if f.low is not None], ids=lambda f: f.path)
def test_the_form_says_the_bounds_that_are_checked(field):
    step = (lambda value, towards: value + (1 if towards > value else -1)) if field.kind == "int" else math.nextafter
    inside = {
        "low": step(field.low, math.inf) if field.low_excluded else field.low,
        "high": step(field.high, -math.inf) if field.high_excluded else field.high,
    }
    outside = {
        "low": field.low if field.low_excluded else step(field.low, -math.inf),
        "high": field.high if field.high_excluded else step(field.high, math.inf),
    }
    for value in inside.values():
        config.from_values({field.path: value})
    for side, code in (("low", "config.too_small"), ("high", "config.too_large")):
        with pytest.raises(SettingsError) as caught:
            config.from_values({field.path: outside[side]})
        (fault,) = caught.value.faults
        assert (fault.code, fault.facts["field"]) == (code, field.path)
        assert f"{getattr(field, side):.10g}" in fault.what()


def test_every_field_speaks_both_languages():
    for field in FIELDS.values():
        for language in LANGUAGES:
            assert field.label(language).strip() and field.help(language).strip().endswith((".", "。"))
        assert field.label("en").isascii()
        assert field.help("ja") != field.help("en")


def test_labels_are_unique():
    for language in LANGUAGES:
        labels = [field.label(language) for field in FIELDS.values()]
        assert len(set(labels)) == len(labels)


def test_all_faults_are_told_at_once_each_with_its_line():
    text = "seed: -1\ntrain:\n  epochs: many\n  schedule: steep\n  noise: 3\ndata:\n  validation_share: .nan\nso8t: {r: 1.5}\n"
    assert sorted(codes_of(text), key=lambda item: item[1]) == [
        ("config.too_small", "a.yaml:1"),
        ("config.not_number", "a.yaml:3"),
        ("config.choice", "a.yaml:4"),
        ("config.unknown", "a.yaml:5"),
        ("config.not_number", "a.yaml:7"),
        ("config.not_whole", "a.yaml:8"),
    ]


@pytest.mark.parametrize("address", ["127.0.0.1:11434", "http://", "http://a b", "http://host/path", "file:///etc"])
def test_an_address_is_a_scheme_and_a_host(address):
    assert codes_of(f"ollama:\n  address: {address!r}\n") == [("config.address", "a.yaml:2")]


def test_rules_over_two_fields_are_told_together_with_the_rest():
    text = "seed: x\ndata:\n  validation_share: 0.5\n  test_share: 0.5\nso8t:\n  rotate: [o_proj, lm_head]\n"
    assert codes_of(text) == [
        ("config.not_whole", "a.yaml:1"),
        ("config.shares", "a.yaml:4"),
        ("config.rotate_not_target", "a.yaml:6"),
    ]


def test_a_rotation_left_at_its_default_is_checked_against_new_targets():
    (fault,) = faults_of("so8t: {targets: [down_proj]}\n")
    assert (fault.code, fault.facts["field"]) == ("config.rotate_not_target", "so8t.rotate")


@pytest.mark.parametrize("word", ["auto", "[auto]"])
def test_auto_is_a_word_or_a_list_of_one_and_is_written_as_the_word(word):
    made = config.parse(f"so8t: {{targets: {word}, rotate: {word}}}\n")
    assert made.so8t.targets == made.so8t.rotate == (config.AUTO,)
    text = config.to_yaml(made)
    assert "targets: auto\n" in text and config.parse(text) == made
    assert Settings.model_validate_json(made.model_dump_json()) == made
    assert made.fingerprint() != Settings().fingerprint()


def test_rotate_auto_is_o_proj_and_is_checked_against_named_targets():
    assert config.parse("so8t: {targets: [o_proj], rotate: auto}\n").so8t.rotate == (config.AUTO,)
    assert config.parse("so8t: {targets: auto, rotate: [k_proj]}\n").so8t.rotate == ("k_proj",)
    (fault,) = faults_of("so8t: {targets: [q_proj], rotate: auto}\n")
    assert (fault.code, fault.facts["names"]) == ("config.rotate_not_target", "o_proj")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nruns: a\nseed: 2\n", [("config.double", "a.yaml:3")]),
        ("train: {epochs: 1, epochs: 2}\n", [("config.double", "a.yaml:1")]),
        ("sed: 1\n", [("config.unknown", "a.yaml:1")]),
        ("1: 2\n", [("config.unknown", "a.yaml:1")]),
        ("train: 5\n", [("config.not_group", "a.yaml:1")]),
        ("runs: 7\n", [("config.not_text", "a.yaml:1")]),
        ("runs:\n", [("config.empty", "a.yaml:1")]),
        ("runs: ''\n", [("config.empty", "a.yaml:1")]),
        ("so8t: {targets: o_proj}\n", [("config.not_list", "a.yaml:1")]),
        ("so8t: {targets: []}\n", [("config.empty", "a.yaml:1")]),
        ("so8t:\n  targets: [auto, o_proj]\n", [("config.auto_not_alone", "a.yaml:2")]),
        ("train: {epochs: yes}\n", [("config.not_number", "a.yaml:1")]),
        ("seed: on\n", [("config.not_whole", "a.yaml:1")]),
        ("train: {gradient_checkpointing: 3}\n", [("config.not_switch", "a.yaml:1")]),
        ("train: {epochs: .inf}\n", [("config.not_number", "a.yaml:1")]),
        ("train:\n\tepochs: 3\n", [("config.tab", "a.yaml:2")]),
        ("runs: a: b\n", [("config.colon", "a.yaml:1")]),
        ("seed 4\nruns: x\n", [("config.colon", "a.yaml:2")]),
        ("train:\n  epochs: 3\n seed: 1\n", [("config.indent", "a.yaml:3")]),
        ("seed: 1\nruns: 'a\nmodel: {}\n", [("config.quote", "a.yaml:2")]),
        ("seed: 1\ntrain: {epochs: 3\n", [("config.bracket", "a.yaml:2")]),
        ("seed: 1\nruns: @x\n", [("config.character", "a.yaml:2")]),
        ("seed: 1\nruns: \x00\n", [("config.character", "a.yaml:2")]),
        ("runs: *x\n", [("config.not_yaml", "a.yaml:1")]),
        ("seed: 1\n---\nseed: 2\n", [("config.not_yaml", "a.yaml:2")]),
        ("[" * 3000, [("config.not_yaml", "a.yaml")]),
        ("seed: " + "9" * 5000, [("config.not_yaml", "a.yaml")]),
        ("- a\n- b\n", [("config.not_mapping", "a.yaml")]),
        ("just words\n", [("config.not_mapping", "a.yaml")]),
    ],
)
def test_each_kind_of_mistake_has_its_own_words(text, expected):
    assert codes_of(text) == expected
    for fault in faults_of(text):
        for language in LANGUAGES:
            assert fault.what(language) and fault.hint(language)


def test_japanese_sentences_carry_no_english_ones():
    text = "seed: x\nruns: 1\nmodel: {dtype: int8}\nso8t: {targets: 3, r: 0.5}\ntrain: {epochs: x, gradient_checkpointing: x}\n"
    for fault in faults_of(text):
        assert not any(word in fault.what("ja") for word in ("should", "valid", "Input", " or ", "must"))
    assert "auto, float32, bfloat16, float16" in next(f for f in faults_of(text) if f.code == "config.choice").what(
        "ja"
    )


def test_a_name_that_is_a_date_stays_a_text():
    assert config.parse("runs: 2026-05-01\n").runs == "2026-05-01"
    assert config.parse("runs: 2026-13-45\n").runs == "2026-13-45"


def test_scientific_notation_without_a_dot_is_a_number():
    assert config.parse("train: {learning_rate: 2e-4}\n").train.learning_rate == 2e-4


def test_aliases_cannot_blow_the_reader_up():
    levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert {code for code, _ in codes_of("x0: &x0 [a]\n" + levels)} == {"config.unknown"}
    assert codes_of("train: &t\n  epochs: *t\n")[0][0] in {"config.not_number", "config.not_yaml"}


def test_an_empty_text_is_all_defaults():
    assert config.parse("") == config.parse("# nothing\n") == Settings()


def test_overrides_win_over_the_file():
    made = config.parse("train: {epochs: 3}\n", overrides=["train.epochs=1", "runs = elsewhere", "so8t.rotate=[]"])
    assert (made.train.epochs, made.runs, made.so8t.rotate) == (1.0, "elsewhere", ())


def test_faulty_overrides_are_told_with_the_files_faults():
    text = "seed: -1\n"
    given_ = ["train.epochs=0", "no_equals_sign", "=3", "runs=[", "train.noise=1"]
    found = codes_of(text, overrides=given_)
    assert found.count(("config.bad_override", "--set")) == 3
    assert ("config.too_small", "--set") in found and ("config.unknown", "--set") in found
    assert ("config.too_small", "a.yaml:1") in found


def test_a_file_is_read_with_and_without_byte_order_mark(tmp_path):
    for start in (b"", b"\xef\xbb\xbf"):
        file = tmp_path / "設定 1.yaml"
        file.write_bytes(start + "runs: 実行\r\nseed: 7\r\n".encode())
        made = config.load(file)
        assert (made.runs, made.seed) == ("実行", 7)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(BadInput) as missing:
        config.load(tmp_path / "none.yaml")
    assert (missing.value.code, missing.value.where) == ("config.missing", str(tmp_path / "none.yaml"))
    file = tmp_path / "sjis.yaml"
    file.write_bytes("runs: 実行\n".encode("cp932"))
    with pytest.raises(BadInput) as encoded:
        config.load(file)
    assert (encoded.value.code, encoded.value.facts["position"]) == ("config.not_utf8", "6")
    with pytest.raises(BadInput) as folder:
        config.load(tmp_path)
    assert folder.value.code == "config.unreadable"


def test_a_file_is_written_whole_or_the_reason_is_told(tmp_path):
    config.write(tmp_path / "a.yaml", "runs: 実行\n")
    assert (tmp_path / "a.yaml").read_bytes() == "runs: 実行\n".encode()
    with pytest.raises(BadInput) as refused:
        config.write(tmp_path / "no folder" / "a.yaml", "x")
    assert refused.value.code == "config.unwritable"
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]


def test_said_gives_what_stands_there_right_or_wrong():
    values = config.said("train: {epochs: many}\nseed: 3\nnoise: 1\n")
    assert list(values) == list(FIELDS)
    assert (values["train.epochs"], values["seed"], values["train.batch_size"]) == ("many", 3, 1)
    assert config.said("train: 5\n")["train.epochs"] == 3.0
    with pytest.raises(SettingsError):
        config.said("a: b: c")


def test_the_fingerprint_leaves_out_what_does_not_shape_the_weights():
    plain = Settings().fingerprint()
    same = {"runs": "elsewhere", "checkpoint.keep": 3, "checkpoint.interval_seconds": 9}
    outside = ("chat.", "evaluate.", "benchmarks.", "think.", "ollama.", "export.", "ab_test.", "pipeline.")
    outside += ("train.gradient_checkpointing", "train.max_tokens", "train.memory_gib")
    same |= {path: _other(field) for path, field in FIELDS.items() if path.startswith(outside)}
    same["ollama.address"] = "http://127.0.0.1:9"
    for path, value in same.items():
        assert config.from_values({path: value}).fingerprint() == plain
    for path, field in FIELDS.items():
        if path not in same:
            assert config.from_values({path: _other(field)}).fingerprint() != plain, path
    assert config.from_values({"base_model": str(ROOT / "assets/demo_model")}).fingerprint() == plain


def _other(field: config.FieldInfo):
    match field.kind:
        case "int" | "float":
            return field.low + 1 if field.kind == "int" else (field.low + min(field.high, 1.0)) / 3
        case "bool":
            return not field.default
        case "choice":
            return next(choice for choice in field.choices if choice != field.default)
        case "names":
            return list(field.choices[-1:]) or ["o_proj", "down_proj"]
    return "other"


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError):
        Settings().train.epochs = 4


@pytest.mark.parametrize("name", ["demo", "borea_phi35_so8t", "smollm2_cpu", "pipeline"])
def test_the_presets_load_and_name_every_setting(name):
    file = config.CONFIGS / f"{name}.yaml"
    made = config.load(file)
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    named = {f"{a}.{b}" for a, inner in written.items() if isinstance(inner, dict) for b in inner}
    assert named | {a for a, inner in written.items() if not isinstance(inner, dict)} == set(FIELDS)
    assert config.parse(config.to_yaml(made)) == made


def test_the_real_job_is_the_promised_one():
    values = config.to_values(config.load(config.CONFIGS / "borea_phi35_so8t.yaml"))
    promised = {
        "model.quantization": "8bit", "so8t.r": 64, "so8t.alpha": 128.0, "so8t.rotate": ("o_proj",),
        "train.epochs": 3.0, "train.batch_size": 1, "train.gradient_accumulation": 16, "train.learning_rate": 2e-4,
        "train.weight_decay": 0.01, "train.warmup_ratio": 0.1, "train.schedule": "cosine",
        "train.optimizer": "paged_adamw_8bit", "data.max_length": 2048,
        "checkpoint.interval_seconds": 300, "checkpoint.keep": 10,
    }  # fmt: skip
    assert {path: values[path] for path in promised} == promised


def test_the_page_of_all_settings_is_in_step():
    page = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["page"]()
    assert Path(ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run docs/make_settings.py"
