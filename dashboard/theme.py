"""Gradio's own controls in our tokens. The tokens themselves, light and dark, are in `assets/dashboard/style.css`."""

import gradio as gr


class StudioTheme(gr.themes.Base):
    """Every colour is a CSS variable of ours, so that light and dark come from one set of tokens."""

    def __init__(self) -> None:
        super().__init__(
            font=["Inter", "Noto Sans JP", "sans-serif"],
            font_mono=["ui-monospace", "Cascadia Mono", "Consolas", "monospace"],
            text_size=gr.themes.sizes.text_sm,
            spacing_size=gr.themes.sizes.spacing_sm,
            radius_size=gr.themes.sizes.radius_sm,
        )
        both = {
            "body_background_fill": "var(--so-background)",
            "body_text_color": "var(--so-text)",
            "body_text_color_subdued": "var(--so-muted)",
            "background_fill_primary": "var(--so-card)",
            "background_fill_secondary": "var(--so-background)",
            "border_color_primary": "var(--so-line)",
            "border_color_accent": "var(--so-accent)",
            "color_accent_soft": "var(--so-soft)",
            "block_background_fill": "var(--so-card)",
            "block_border_color": "var(--so-line)",
            "block_label_background_fill": "var(--so-card)",
            "block_label_text_color": "var(--so-muted)",
            "block_title_text_color": "var(--so-text)",
            "block_info_text_color": "var(--so-muted)",
            "block_shadow": "none",
            "panel_background_fill": "var(--so-card)",
            "panel_border_color": "var(--so-line)",
            "input_background_fill": "var(--so-background)",
            "input_background_fill_focus": "var(--so-background)",
            "input_border_color": "var(--so-line)",
            "input_border_color_focus": "var(--so-accent)",
            "input_placeholder_color": "var(--so-muted)",
            "input_shadow": "none",
            "input_shadow_focus": "none",
            "button_primary_background_fill": "var(--so-accent-fill)",
            "button_primary_background_fill_hover": "var(--so-accent-fill)",
            "button_primary_text_color": "var(--so-on-accent)",
            "button_primary_border_color": "var(--so-accent-fill)",
            "button_secondary_background_fill": "var(--so-card)",
            "button_secondary_background_fill_hover": "var(--so-soft)",
            "button_secondary_text_color": "var(--so-text)",
            "button_secondary_border_color": "var(--so-line)",
            "button_cancel_background_fill": "var(--so-card)",
            "button_cancel_text_color": "var(--so-danger)",
            "button_cancel_border_color": "var(--so-danger)",
            "checkbox_background_color": "var(--so-card)",
            "checkbox_background_color_selected": "var(--so-accent-fill)",
            "checkbox_border_color": "var(--so-muted)",
            "checkbox_border_color_selected": "var(--so-accent-fill)",
            "checkbox_label_background_fill": "transparent",
            "checkbox_label_background_fill_hover": "transparent",
            "checkbox_label_background_fill_selected": "transparent",
            "checkbox_label_text_color": "var(--so-text)",
            "link_text_color": "var(--so-accent)",
            "link_text_color_hover": "var(--so-accent)",
            "slider_color": "var(--so-accent)",
            "table_border_color": "var(--so-line)",
            "table_even_background_fill": "var(--so-card)",
            "table_odd_background_fill": "var(--so-background)",
            "table_text_color": "var(--so-text)",
            "code_background_fill": "var(--so-soft)",
            "error_background_fill": "var(--so-card)",
            "error_border_color": "var(--so-danger)",
            "error_text_color": "var(--so-danger)",
        }
        known = set(dir(self))
        dark = {f"{name}_dark": value for name, value in both.items() if f"{name}_dark" in known}
        self.set(**both, **dark, block_border_width="1px", block_radius="8px", input_radius="6px")
