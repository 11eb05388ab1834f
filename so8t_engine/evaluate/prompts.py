"""The rows as a model is asked them."""

from so8t_engine.data.template import Template
from so8t_engine.errors import BadInput
from so8t_engine.evaluate.rows import Rows
from so8t_engine.model.load import context, load_tokenizer
from so8t_engine.model.score import Branches
from so8t_engine.voice import Voice


def prompts(rows: Rows, voice: Voice) -> dict[int, list[int]]:
    """Token ids by the row's index; a prompt that leaves the model no room for a class is left out.

    No weights are read. Raises BadInput "evaluate.all_too_long" when none is left.
    """
    template, limit = Template(load_tokenizer(voice.base)), context(voice.base)
    branches = Branches.of(template)
    needed = len(branches.prefix) + max(map(len, branches.suffixes))
    asked = (template.prompt_ids(row.prompt, system=row.system or voice.system) for row in rows.samples)
    found = {index: ids for index, ids in enumerate(asked) if len(ids) + needed <= limit}
    if not found:
        raise BadInput("evaluate.all_too_long", where=str(rows.file), limit=limit)
    return found
