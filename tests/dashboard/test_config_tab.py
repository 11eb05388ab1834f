"""The Config tab without a browser: every setting has its widget, values go both ways, and all text is escaped."""

from pathlib import Path

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import texts
from dashboard.bridge import Bridge, Page
from dashboard.draft import Draft
from dashboard.tabs import config as tab
from dashboard.tabs import config_cards, config_fields
from so8t_engine import Engine, config

FIELDS = {field.path: field for field in config.fields()}
EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def draft(tmp_path) -> Draft:
    file = tmp_path / "mine.yaml"
    file.write_text("base_model: m\nseed: 7\n", encoding="utf-8")
    return Draft(file, tmp_path)


@pytest.fixture
def page(draft, tmp_path) -> Page:
    return Page("ja", Bridge(Engine(tmp_path / "runs"), draft))


@pytest.fixture
def built(page) -> tab._ConfigTab:
    with gr.Blocks():
        return tab._ConfigTab(page)


def test_every_setting_has_a_widget_with_its_path_as_id(built):
    assert list(built.widgets) == list(FIELDS)
    ids = [widget.elem_id for widget in built.widgets.values()]
    assert ids == [path.replace(".", "-") for path in FIELDS] and len(set(ids)) == len(ids)
    kinds = {"int": gr.Number, "float": gr.Number, "bool": gr.Checkbox, "choice": gr.Radio, "names": gr.Dropdown}
    for path, widget in built.widgets.items():
        assert isinstance(widget, kinds.get(FIELDS[path].kind, gr.Textbox))
        assert widget.label == FIELDS[path].label("ja")


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_every_unit_and_group_has_its_words(page, language):
    page = Page(language, page.bridge)
    for group, members in config_cards.groups(FIELDS.values()):
        assert config_cards.head(group, page)
        for field in members:
            caption = config_fields.caption(field, None, page)
            assert field.path in caption
            assert ("so-bounds" in caption) and (field.high is None or f"{field.high:,.10g}" in caption)


@pytest.mark.parametrize("name", ["demo", "borea_phi35_so8t", "smollm2_cpu"])
def test_what_the_form_shows_means_the_same_settings(name):
    made = config.load(config.CONFIGS / f"{name}.yaml")
    values = config.to_values(made)
    back = {
        path: config_fields.meant(field, config_fields.shown(field, values[path])) for path, field in FIELDS.items()
    }
    assert config.from_values(back) == made


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.just(10**400),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(FIELDS.values())), anything)
def test_no_value_is_too_strange_for_its_widget(field, value):
    shown = config_fields.shown(field, value)
    match field.kind:
        case "int" | "float":
            assert shown is None or gr.Number(shown).value == shown
        case "choice":
            assert shown is None or shown in field.choices
        case "names":
            assert all(isinstance(name, str) for name in shown)
        case "text":
            assert isinstance(shown, str)


def test_a_field_sends_what_follows_and_nothing_else(built, draft):
    seen = draft.view().revision
    updates = built._field_handler("train.epochs")(0, seen)
    assert draft.view().values["train.epochs"] == 0.0
    assert built.captions["train.epochs"] in updates and "so-fault" in updates[built.captions["train.epochs"]]
    assert updates[built.code] == draft.text and updates[built.seen] == draft.view().revision
    assert built.widgets["train.epochs"] not in updates, "the widget being typed in is left alone"
    assert built.widgets["seed"] not in updates


def test_a_window_that_opens_gets_what_has_changed_since_the_page_was_built(built, draft):
    widgets = set(built.widgets.values())
    assert not widgets & set(built._loaded()), "what is typed into a window that has just opened is left alone"
    draft.edit("base_model: m\nseed: 9\n")
    updates = built._loaded()
    assert widgets & set(updates) == {built.widgets["seed"]} and updates[built.widgets["seed"]] == 9
    assert updates[built.code] == draft.text and updates[built.seen] == draft.view().revision


def test_a_window_that_is_behind_gets_everything(built, draft):
    draft.edit("seed: 9\n")
    updates = built._refresh(0)
    assert updates[built.widgets["seed"]] == 9 and updates[built.code] == "seed: 9\n"
    assert len(updates) > 2 * len(FIELDS)
    assert built._refresh(updates[built.seen]) == {built.seen: updates[built.seen]}


def test_auto_is_a_name_in_the_form_and_a_word_in_the_yaml(built, draft):
    for path in ("so8t.targets", "so8t.rotate"):
        assert config.AUTO in dict(built.widgets[path].choices)
        built._field_handler(path)([config.AUTO], draft.view().revision)
        assert draft.view().values[path] == "auto"
        assert config_fields.shown(FIELDS[path], "auto") == config_fields.shown(FIELDS[path], ["auto"]) == ["auto"]
    assert "  targets: auto\n" in draft.text and not draft.view().faults
    built._field_handler("so8t.targets")([config.AUTO, "o_proj"], draft.view().revision)
    assert [fault.code for fault in draft.view().faults] == ["config.auto_not_alone"]


def test_the_yaml_fills_the_form(built, draft):
    updates = built._edited("seed: 9\nmodel: {dtype: float16}\n", draft.view().revision)
    changed = {path for path, widget in built.widgets.items() if widget in updates}
    assert changed == {"seed", "model.dtype", "base_model"}
    assert built.code not in updates


def test_the_form_waits_while_the_yaml_cannot_be_read(built, draft):
    built._edited("a: b: c\n", draft.view().revision)
    updates = built._field_handler("seed")(8, draft.view().revision)
    assert 'data-do="mend"' in updates[built.notice]
    assert draft.text == "a: b: c\n"


def test_everything_from_a_person_is_escaped(built, draft, page):
    quoted = EVIL.replace('"', '\\"')
    draft.edit(
        f'"{quoted}": 1\nruns: [1]\nseed: "{quoted}"\nmodel: {{dtype: "{quoted}"}}\nso8t: {{rotate: ["{quoted}"]}}\n'
    )
    view = draft.view()
    assert len(view.faults) == 5
    html = config_cards.check(view, page) + config_cards.state(view, page)
    faults = config_cards.by_field(view)
    html += "".join(config_fields.caption(FIELDS[path], faults.get(path), page) for path in FIELDS)
    assert "&lt;img" in html and "<img" not in html
    updates = built._save_as(EVIL, view.revision)
    assert "<img" not in updates[built.notice]


def test_a_file_from_elsewhere_is_named_with_its_path(page, tmp_path):
    assert config_cards.file_label(tmp_path / "x.yaml", tmp_path, page) == "x"
    assert config_cards.file_label(Path("/else/x.yaml"), tmp_path, page) == str(Path("/else/x.yaml"))
    assert "プリセット" in config_cards.file_label(tmp_path / "demo.yaml", tmp_path, page)


def test_saving_over_another_config_asks_first(built, draft, tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(gr, "Info", told.append)
    (tmp_path / "other.yaml").write_text("base_model: o\n", encoding="utf-8")
    updates = built._save_as("other", draft.view().revision)
    assert 'data-do="overwrite_name"' in updates[built.notice] and not told
    updates = built._save_as("other", draft.view().revision, overwrite=True)
    assert updates[built.notice] == "" and len(told) == 1
    assert (tmp_path / "other.yaml").read_text(encoding="utf-8") == draft.text


def test_a_faulty_config_can_be_saved_and_says_so(built, draft, tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(gr, "Info", told.append)
    draft.edit("base_model: m\nseed: x\n")
    built._save(draft.view().revision)
    assert "1" in told[0] and not draft.dirty
