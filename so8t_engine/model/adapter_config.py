"""What the `adapter_config.json` of an SO8T adapter says, read without PEFT: that takes seconds to import."""

import json
from pathlib import Path
from typing import Any

from so8t_engine.errors import ModelError


def read_attributes(folder: Path) -> dict[str, Any]:
    """The fields of `so8t.SO8TConfig` and of PEFT's own, by name, as the file in `folder` has them.

    Raises ModelError "model.bad_adapter" when it can't be read, "model.wrong_adapter" when it is another method's.
    """
    try:
        attributes = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        kind = attributes["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("model.bad_adapter", where=str(folder), reason=error) from error
    if kind != "SO8T":
        raise ModelError("model.wrong_adapter", where=str(folder), kind=kind)
    return attributes
