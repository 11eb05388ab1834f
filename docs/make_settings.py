"""Writes settings.md beside this file from the settings themselves: `python docs/make_settings.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from so8t_engine import config  # the project need not be installed

PAGE = Path(__file__).parent / "settings.md"

WORDS = {
    "en": {
        "title": "Settings",
        "intro": "Every setting of a config (`configs/*.yaml`). On the command line any of them can be given as "
        "`--set train.epochs=1`; on the Config tab each is a field. Relative paths start at the program's folder.",
        "columns": ("Setting", "What it is", "Values", "Default"),
        "bounds": {"closed": "{low} to {high}", "above": "above {low}, up to {high}", "below": "{low} to below {high}"},
        "kinds": {"text": "text", "names": "list of names", "bool": "true, false"},
        "required": "not empty",
    },
    "ja": {
        "title": "設定",
        "intro": "設定ファイル (`configs/*.yaml`) の全項目です。コマンドラインでは `--set train.epochs=1` のように、"
        "画面では「設定」タブの欄で指定します。相対パスは、このプログラムのフォルダーから数えます。",
        "columns": ("項目", "内容", "値", "既定値"),
        "bounds": {"closed": "{low} 〜 {high}", "above": "{low} より大きく {high} 以下", "below": "{low} 以上 {high} 未満"},
        "kinds": {"text": "文字列", "names": "名前の並び", "bool": "true, false"},
        "required": "空にできません",
    },
}  # fmt: skip


def page() -> str:
    """The whole page: both languages, one table each."""
    note = "<!-- Written by docs/make_settings.py from so8t_engine/settings.py. Change the settings, then run it. -->"
    return "\n\n".join([note, *(_section(language) for language in ("en", "ja"))]) + "\n"


def _section(language: str) -> str:
    words = WORDS[language]
    columns = words["columns"]
    rows = [columns, ["---"] * len(columns), *(_row(field, language) for field in config.fields())]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"# {words['title']}\n\n{words['intro']}\n\n{table}"


def _row(field: config.FieldInfo, language: str) -> tuple[str, str, str, str]:
    what = f"**{field.label(language)}.** {field.help(language)}".replace("|", "\\|")
    return f"`{field.path}`", what, _values(field, WORDS[language]), _default(field.default)


def _values(field: config.FieldInfo, words: dict) -> str:
    if field.choices:
        return ", ".join(f"`{choice}`" for choice in field.choices)
    if field.low is None or field.high is None:
        required = f" ({words['required']})" if field.required else ""
        return words["kinds"][field.kind] + required
    name = "above" if field.low_excluded else "below" if field.high_excluded else "closed"
    bounds = words["bounds"][name].format(low=f"{field.low:,.10g}", high=f"{field.high:,.10g}")
    return f"{bounds} {field.unit}".rstrip()


def _default(value: object) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`[{', '.join(value)}]`"
        case "":
            return "`''`"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
