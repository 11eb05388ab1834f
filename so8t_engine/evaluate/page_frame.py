"""The frame of a report: one file with its fonts in it, no script, nothing that it asks a network or a disk for."""

from base64 import b64encode
from io import BytesIO

from so8t_engine.evaluate.page_pieces import JAPANESE, LATIN, file_text, plain

POLICY = "default-src 'none'; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"


def document(title: str, body: str, foot: str) -> str:
    """The whole file. title: plain text; body, foot: HTML in both languages, of which the page shows one."""
    style = file_text("style.css") + _faces(plain(title) + body + foot)
    return (
        f'<!DOCTYPE html>\n<html lang="ja">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{plain(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n"
        '<input type="radio" name="language" id="ja" checked><input type="radio" name="language" id="en">\n'
        f"{body}\n<footer>{foot}</footer>\n</body>\n</html>\n"
    )


def _faces(text: str) -> str:
    """The fonts as CSS, the Japanese one cut down to the characters of `text`: boxes nowhere, whatever is installed."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    with TTFont(JAPANESE) as font:
        cut = Subsetter(Options(layout_features=[], hinting=False))
        cut.populate(text=text)
        cut.subset(font)
        font.flavor = "woff"
        japanese = BytesIO()
        font.save(japanese)
    return "".join(
        f'@font-face {{ font-family: "{family}"; src: url("data:{kind};base64,{b64encode(data).decode()}"); '
        "font-weight: 100 900; }\n"
        for family, kind, data in (
            ("Report Latin", "font/woff2", LATIN.read_bytes()),
            ("Report Japanese", "font/woff", japanese.getvalue()),
        )
    )
