"""The Config tab: the form, the YAML beside it, and the files. All state is in the draft, none in the widgets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from dashboard import cards
from dashboard.bridge import Page, TabParts
from dashboard.draft import View
from dashboard.tabs import config_cards, config_fields
from dashboard.verify_card import verify_card
from so8t_engine import BadInput, EngineError, SettingsError, Snapshot, config

Updates = dict[Any, Any]
"""From a component to its new value; components that are not in it stay as they are."""

_PRESSED = "studio.presses(element, trigger)"

_QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "draft", "concurrency_limit": 1}
"""One at a time and in order: what was typed last reaches the draft before the click on Save."""


def build(page: Page) -> TabParts:
    """The tab's components and handlers. The timer keeps fresh the draft's revision (see `_ConfigTab`) and the checks."""
    tab = _ConfigTab(page)
    return TabParts(
        [tab.revision, tab.verification],
        lambda snapshot: [str(page.bridge.draft.view().revision), verify_card(snapshot, page)],
    )


class _ConfigTab:
    """The tab of one page.

    Each window knows the revision of the draft that it shows (`seen`). Its own changes send only what follows from
    them, never the widget that is being typed in; a change made in another window sends everything.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.draft = page.bridge.draft
        self.fields = {field.path: field for field in config.fields()}
        self.widgets: dict[str, Any] = {}
        self.captions: dict[str, gr.HTML] = {}
        self.first = view = self.draft.view()
        self.seen = gr.State(0)
        self.revision = gr.Textbox("", visible="hidden", container=False)
        with gr.Row(elem_classes="so-grid so-config", equal_height=False):
            with gr.Column(elem_classes="so-left", min_width=0):
                self._toolbar(view)
                self.verification = gr.HTML(
                    verify_card(Snapshot(), page), apply_default_css=False, js_on_load=_PRESSED, elem_id="config-verify"
                )
                for group, members in config_cards.groups(self.fields.values()):
                    self._card(group, members, view)
            with gr.Column(elem_classes="so-right", min_width=0):
                self._text(view)
        self._wire()

    def _toolbar(self, view: View) -> None:
        t = self.page.t
        with gr.Column(elem_classes="so-card so-config-bar", min_width=0):
            with gr.Row(elem_classes="so-config-line", equal_height=False):
                self.picker = gr.Dropdown(
                    self._choices(), value=str(view.file), label=t("config.picker"), elem_id="config-picker",
                    min_width=0, scale=1, filterable=False,
                )  # fmt: skip
                self.save = gr.Button(t("config.save"), variant="primary", size="md", elem_id="config-save", scale=0)
            with gr.Row(elem_classes="so-config-line", equal_height=False):
                first = config_cards.state(view, self.page, drawn=False)
                self.state = gr.HTML(first, apply_default_css=False, elem_id="config-state")
                small = {"size": "sm", "scale": 0, "min_width": 0}
                self.save_as = gr.Button(t("config.save_as"), elem_id="config-save-as", **small)
                self.duplicate = gr.Button(t("config.duplicate"), elem_id="config-duplicate", **small)
                self.reload = gr.Button(t("config.reload"), elem_id="config-reload", **small)
                self.upload = gr.UploadButton(
                    t("config.import"), file_types=[".yaml", ".yml"], elem_id="config-import", **small
                )  # fmt: skip
            with gr.Row(visible=False, elem_classes="so-config-line", equal_height=False) as self.name_row:
                self.name = gr.Textbox(label=t("config.name"), elem_id="config-name", min_width=0, scale=1)
                self.name_save = gr.Button(t("config.name_save"), elem_id="config-name-save", **small)
                self.cancel = gr.Button(t("config.cancel"), elem_id="config-cancel", **small)
            self.notice = gr.HTML("", apply_default_css=False, js_on_load=_PRESSED, elem_id="config-notice")

    def _card(self, group: str, members: list[config.FieldInfo], view: View) -> None:
        faults = config_cards.by_field(view)
        with gr.Column(elem_classes="so-card so-form", min_width=0, elem_id=f"config-{group}"):
            gr.HTML(config_cards.head(group, self.page), apply_default_css=False)
            with gr.Column(elem_classes="so-fields", min_width=0):
                for field in members:
                    wide = " so-wide" if field.path in config_fields.LONG else ""
                    with gr.Column(elem_classes=f"so-field{wide}", min_width=0):
                        path = field.path
                        self.widgets[path] = config_fields.widget(field, view.values[path], self.page)
                        caption = config_fields.caption(field, faults.get(path), self.page)
                        self.captions[path] = gr.HTML(caption, apply_default_css=False)

    def _text(self, view: View) -> None:
        with gr.Column(elem_classes="so-card so-config-yaml", min_width=0):
            gr.HTML(config_cards.text_head(self.page), apply_default_css=False, js_on_load=config_cards.NAMES)
            self.code = gr.Code(
                view.text, language="yaml", interactive=True, wrap_lines=True, container=False, show_label=False,
                label=self.page.t("config.yaml"), elem_id="config-yaml", buttons=[],
            )  # fmt: skip
        self.check = gr.HTML(config_cards.check(view, self.page), apply_default_css=False, elem_id="config-check")

    def _wire(self) -> None:
        everything = [
            self.seen, self.picker, self.state, self.name_row, self.name, self.notice, self.code, self.check,
            *self.widgets.values(), *self.captions.values(),
        ]  # fmt: skip
        options = {"outputs": everything, **_QUIET}
        typed = {**options, "trigger_mode": "always_last"}
        for path, widget in self.widgets.items():
            # Pasted text, text of an input method and a name of one's own come without an input event: they count
            # when the field is left.
            events = [widget.input, widget.blur] if isinstance(widget, gr.Textbox | gr.Dropdown) else [widget.input]
            if isinstance(widget, gr.Dropdown):
                events.append(widget.key_up)
            gr.on(events, self._field_handler(path), [widget, self.seen], **typed)
        self.code.input(self._edited, [self.code, self.seen], **typed)
        self.picker.input(self._picked, [self.picker, self.seen], **options)
        self.save.click(self._save, [self.seen], **options)
        self.save_as.click(self._ask_name, [self.seen], **options)
        self.duplicate.click(self._duplicate, [self.seen], **options)
        self.reload.click(self._reload, [self.seen], **options)
        self.upload.upload(self._uploaded, [self.upload, self.seen], **options)
        gr.on([self.name_save.click, self.name.submit], self._save_as, [self.name, self.seen], **options)
        self.cancel.click(self._dismiss, None, **options)
        self.verification.click(self._verify, None, outputs=[self.notice], show_progress="hidden", api_visibility="private")
        self.notice.click(self._obey, [self.name, self.seen], **options)
        self.revision.change(self._refresh, [self.seen], **options)
        Context.root_block.load(self._loaded, None, **options)

    # What the window shows, brought up to date

    def _before(self, seen: int) -> View | None:
        """What this window shows; None when another window has changed the draft since."""
        view = self.draft.view()
        return view if view.revision == seen else None

    def _updates(self, before: View | None, typed_in: Any = None) -> Updates:
        """What differs from `before`, except in the widget that is being typed in."""
        now = self.draft.view()
        faults, old_faults = config_cards.by_field(now), config_cards.by_field(before) if before else {}
        updates: Updates = {self.seen: now.revision}
        for path, field in self.fields.items():
            if before is None or now.values[path] != before.values[path]:
                updates[self.widgets[path]] = config_fields.shown(field, now.values[path])
            caption = config_fields.caption(field, faults.get(path), self.page)
            if before is None or caption != config_fields.caption(field, old_faults.get(path), self.page):
                updates[self.captions[path]] = caption
        if before is None or now.text != before.text:
            updates[self.code] = now.text
        if before is None or now.file != before.file:
            updates[self.picker] = gr.Dropdown(choices=self._choices(), value=str(now.file))
        updates[self.state] = config_cards.state(now, self.page)
        updates[self.check] = config_cards.check(now, self.page)
        updates.pop(typed_in, None)
        return updates

    def _choices(self) -> list[tuple[str, str]]:
        return [(config_cards.file_label(file, self.draft.folder, self.page), str(file)) for file in self.draft.files()]

    def _loaded(self) -> Updates:
        """A window opens with what was so when the page was built. Only what differs is sent: whoever is quick has
        begun to type, and would find an old value in the field again."""
        picker = gr.Dropdown(choices=self._choices(), value=str(self.draft.file))
        return self._updates(self.first) | {self.picker: picker}

    def _refresh(self, seen: int) -> Updates:
        """Another window, or a file operation elsewhere, changed the draft."""
        before = self._before(seen)
        return {self.seen: seen} if before else self._updates(None)

    def _refused(self, error: EngineError, do: str = "") -> Updates:
        """A card with what was refused, and the button that mends it."""
        buttons = cards.button(do, self.page.t(f"config.{do}"), kind="so-small") if do else ""
        buttons += cards.button("dismiss", self.page.t("config.cancel"), kind="so-small") if do else ""
        return {self.notice: cards.refused(self.page, error, buttons)}

    def _put_away(self) -> str:
        """A card that offers what was closed without being saved; "" when there is no such thing."""
        name = self.draft.view().undoable
        if not name:
            return ""
        t = self.page.t
        button = cards.button("undo", t("config.undo"), kind="so-small")
        what, hint = t("config.notice.put_away", name=name), t("config.notice.put_away_hint")
        return cards.trouble(self.page, what, hint=hint, actions=button, calm=True)

    # What a person does

    def _field_handler(self, path: str) -> Callable[[Any, int], Updates]:
        def handler(value: Any, seen: int) -> Updates:
            before = self._before(seen)
            try:
                self.draft.change(path, config_fields.meant(self.fields[path], value))
            except SettingsError:
                return self._locked()
            return self._updates(before, self.widgets[path])

        return handler

    def _locked(self) -> Updates:
        """The form can't write into a text that is no YAML; what was typed stays where it is."""
        t = self.page.t
        button = cards.button("mend", t("config.mend"), kind="so-small") if self.draft.view().mendable else ""
        what, hint = t("config.notice.locked"), t("config.notice.locked_hint")
        return {self.notice: cards.trouble(self.page, what, hint=hint, actions=button)}

    def _edited(self, text: str, seen: int) -> Updates:
        before = self._before(seen)
        if before and not before.readable:
            before = None  # fields may hold what could not be written into the text: see _locked
        self.draft.edit(text)
        updates = self._updates(before, self.code)
        if self.draft.view().readable:
            updates[self.notice] = ""
        return updates

    def _picked(self, file: str, seen: int) -> Updates:
        if Path(file) == self.draft.file:  # a second event of one choice must not sweep away what the first one showed
            return {self.seen: seen}
        return self._opened(file, seen)

    def _opened(self, file: str, seen: int) -> Updates:
        before = self._before(seen)
        try:
            self.draft.open(Path(file))
        except BadInput as error:
            return self._refused(error) | {self.picker: str(self.draft.file)}
        return self._updates(before) | {self.notice: self._put_away(), self.name_row: gr.Row(visible=False)}

    def _reload(self, seen: int) -> Updates:
        updates = self._opened(str(self.draft.file), seen)
        if not updates[self.notice]:
            gr.Info(self.page.t("config.toast.reloaded", name=self.draft.file.name))
        return updates

    def _uploaded(self, file: str, seen: int) -> Updates:
        before = self._before(seen)
        try:
            self.draft.take(Path(file).name, config.read(file))
        except BadInput as error:
            return self._refused(error)
        t = self.page.t
        what, hint = t("config.notice.imported", name=self.draft.file.name), t("config.notice.imported_hint")
        notice = self._put_away() or cards.trouble(self.page, what, hint=hint, calm=True)
        return self._updates(before) | {self.notice: notice}

    def _save(self, seen: int, overwrite: bool = False) -> Updates:
        before = self._before(seen)
        try:
            self.draft.save(overwrite=overwrite)
        except BadInput as error:
            if error.code == "config.name_preset":
                what, hint = (self.page.error(error.code, part, error.facts) for part in ("what", "hint"))
                return self._name_asked() | {self.notice: cards.trouble(self.page, what, hint=hint, calm=True)}
            return self._refused(error, "overwrite" if error.code == "config.changed_outside" else "")
        return self._saved(before)

    def _ask_name(self, seen: int) -> Updates:
        return self._name_asked() | {self.notice: "", self.seen: seen}

    def _name_asked(self) -> Updates:
        return {self.name_row: gr.Row(visible=True), self.name: self.draft.suggestion()}

    def _save_as(self, name: str, seen: int, overwrite: bool = False) -> Updates:
        before = self._before(seen)
        try:
            self.draft.save_as(name, overwrite=overwrite)
        except BadInput as error:
            return self._refused(error, "overwrite_name" if error.code == "config.name_taken" else "")
        return self._saved(before)

    def _duplicate(self, seen: int) -> Updates:
        return self._save_as(self.draft.suggestion(), seen)

    def _saved(self, before: View | None) -> Updates:
        view, t = self.draft.view(), self.page.t
        key = "config.toast.saved_faulty" if view.faults else "config.toast.saved"
        gr.Info(t(key, name=view.file.name, count=len(view.faults)))
        return self._updates(before) | self._dismiss()

    def _dismiss(self) -> Updates:
        return {self.notice: "", self.name_row: gr.Row(visible=False)}

    def _verify(self, event: gr.EventData) -> str:
        """A button of the verification's card; a refusal comes back as a card."""
        try:
            match event._data.get("do"):
                case "verify":
                    self.page.bridge.verify()
                case "stop":
                    self.page.bridge.engine.cancel()
        except EngineError as error:
            return cards.refused(self.page, error)
        return ""

    def _obey(self, name: str, seen: int, event: gr.EventData) -> Updates:
        """A button of the notice."""
        match event._data.get("do"):
            case "overwrite":
                return self._save(seen, overwrite=True)
            case "overwrite_name":
                return self._save_as(name, seen, overwrite=True)
            case "undo":
                self.draft.undo()
            case "mend":
                self.draft.mend()
            case _:
                return self._dismiss()
        return self._updates(None) | {self.notice: ""}
