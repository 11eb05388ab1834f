"""Settings as people meet them: the list of all fields for a form, and a YAML file read, checked and written.

The page builds its form from `fields()`, the command line its `--set key=value` from the same paths, and a YAML
file is checked as a whole: all faults are reported at once, each with the line it stands on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from so8t_engine import config_text
from so8t_engine.config_edit import changed
from so8t_engine.config_faults import fault
from so8t_engine.disk import write_whole
from so8t_engine.errors import BadInput, EngineError, SettingsError
from so8t_engine.settings import AUTO, ROOT, Group, Settings

__all__ = [
    "AUTO", "CONFIGS", "ROOT", "FieldInfo", "Settings",
    "changed", "fields", "from_values", "load", "parse", "read", "said", "to_values", "to_yaml", "write",
]  # fmt: skip

CONFIGS = ROOT / "configs"
"""Where the shipped presets lie, and where a person's own configs go."""


@dataclass(frozen=True)
class FieldInfo:
    """What a form needs to know of one setting.

    kind: "int", "float", "bool", "text", "choice" or "names" (a list of words).
    low and high are None where there is no bound; `low_excluded` and `high_excluded` tell < from <=.
    choices: the words that it may be, or that a list of names may hold; () for any.
    required: a text or a list that may not be empty.
    """

    path: str
    kind: str
    default: Any
    unit: str
    words: Mapping[str, list[str]]
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    high_excluded: bool = False
    required: bool = False

    def label(self, language: str) -> str:
        """The name of the setting as a person reads it."""
        return self.words[language][0]

    def help(self, language: str) -> str:
        """One or two sentences on what it does."""
        return self.words[language][1]


def fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[FieldInfo]:
    """Every setting in the order of the form; the path ("train.learning_rate") is its name everywhere."""
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            yield from fields(kind, f"{prefix}{name}.")
            continue
        bounds = {key: value for item in info.metadata for key, value in _bounds(item)}
        low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
        default = None if info.default is PydanticUndefined else info.default
        words = info.json_schema_extra
        yield FieldInfo(
            f"{prefix}{name}", _kind(kind), default, words["unit"], words,
            _choices(kind),
            low, high, "gt" in bounds, "lt" in bounds, "min_length" in bounds,
        )  # fmt: skip


def _bounds(constraint: object) -> list[tuple[str, Any]]:
    """The (name, value) pairs of one of annotated_types' constraints, such as Ge(ge=1)."""
    names = ("ge", "gt", "le", "lt", "min_length")
    return [(name, getattr(constraint, name)) for name in names if hasattr(constraint, name)]


def _choices(annotation: Any) -> tuple[str, ...]:
    """The allowed words of a choice, or of each entry of a list."""
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return "names"
    return {int: "int", float: "float", bool: "bool", str: "text"}[annotation]


def load(path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Read a YAML config; `overrides` are "key=value" texts as of `--set`. Raises SettingsError or BadInput."""
    return parse(read(path), where=str(path), overrides=overrides)


def read(path: str | Path) -> str:
    """The text of a config file, with or without a byte order mark. Raises BadInput."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput("config.missing", where=str(path)) from None
    except OSError as error:
        raise BadInput("config.unreadable", where=str(path), reason=error.strerror or error) from None
    except UnicodeDecodeError as error:
        raise BadInput("config.not_utf8", where=str(path), position=error.start) from None


def parse(text: str, *, where: str = "config", overrides: list[str] | None = None) -> Settings:
    """Settings from YAML text. Raises SettingsError with every fault, each naming its line in `where`."""
    values, lines, faults = config_text.values(text, where)
    places = {path: f"{where}:{line}" for path, line in lines.items()}
    for item in overrides or []:
        try:
            path, value = config_text.override(item)
        except EngineError as error:
            faults.append(error)
            continue
        config_text.put(values, path, value)
        places[path] = "--set"
    return _validate(values, where, places, faults)


def said(text: str) -> dict[str, Any]:
    """{"train.epochs": …} for every setting, right or wrong, as the text says it; defaults where it is silent.

    Raises SettingsError when the text can't be read as YAML.
    """
    values, _, _ = config_text.values(text, "config")
    return {field.path: config_text.get(values, field.path, field.default) for field in fields()}


def from_values(flat: Mapping[str, Any], *, where: str = "config") -> Settings:
    """Settings from {"train.epochs": 3, …}, as a form gives them. Raises SettingsError with every fault."""
    values: dict[str, Any] = {}
    for path, value in flat.items():
        config_text.put(values, path, value)
    return _validate(values, where, {}, [])


def to_values(settings: Settings) -> dict[str, Any]:
    """{"train.epochs": 3.0, …} in the order of the form."""
    values = {}
    for field in fields():
        value: Any = settings
        for name in field.path.split("."):
            value = getattr(value, name)
        values[field.path] = value
    return values


def to_yaml(settings: Settings) -> str:
    """The settings as a YAML text that `parse` reads back to the same value."""
    return config_text.dump(settings.model_dump(mode="json"))


def write(path: str | Path, text: str) -> None:
    """Store a config's text so that the file is never seen half-written. Raises BadInput."""
    try:
        write_whole(Path(path), text.encode("utf-8"))
    except OSError as error:
        raise BadInput("config.unwritable", where=str(path), reason=error.strerror or error) from None


def _validate(values: dict, where: str, places: dict[str, str], faults: list[EngineError]) -> Settings:
    choices = {field.path: field.choices for field in fields()}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        found = [fault(item, where, places, choices) for item in error.errors(include_url=False)]
        raise SettingsError(faults + found, where=where) from None
    if faults:
        raise SettingsError(faults, where=where)
    return settings
