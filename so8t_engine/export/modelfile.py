"""A Modelfile: for people who make the model themselves, with `ollama create NAME -f Modelfile`.

https://github.com/ollama/ollama/blob/main/docs/modelfile.md
"""

from pathlib import Path
from typing import Any

from so8t_engine.disk import write_whole
from so8t_engine.export.model_card import ModelCard

NAME = "Modelfile"


def write_modelfile(folder: Path, gguf: str, card: ModelCard) -> Path:
    """Write `Modelfile` into `folder`, beside the file named `gguf`. Raises OSError."""
    parts = [f"FROM ./{gguf}", f"TEMPLATE {_quoted(card.template)}"]
    if card.system:
        parts.append(f"SYSTEM {_quoted(card.system)}")
    for name, value in card.parameters.items():
        parts += [f"PARAMETER {name} {_value(one)}" for one in (value if isinstance(value, list) else [value])]
    if card.license:
        parts.append(f"LICENSE {_quoted(card.license)}")
    file = folder / NAME
    write_whole(file, "".join(part + "\n" for part in parts).encode("utf-8"))
    return file


def _quoted(text: str) -> str:
    """Three quotation marks hold any text but themselves; a Modelfile knows no way to write those."""
    return '"""' + text.replace('"""', "'''") + '"""'


def _value(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
