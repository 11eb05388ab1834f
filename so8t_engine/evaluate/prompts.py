"""The rows as models are asked them."""

from so8t_engine.data.template import Template
from so8t_engine.errors import BadInput
from so8t_engine.evaluate.rows import Rows
from so8t_engine.model.load import context, load_tokenizer
from so8t_engine.model.score import Branches
from so8t_engine.voice import Voice

Prompts = dict[int, list[int]]
"""Token ids by the row's index."""


def prompts(rows: Rows, *voices: Voice) -> list[Prompts]:
    """What each voice is asked: the rows that leave all of them room for a class, the rest is left out.

    No weights are read. Raises BadInput "evaluate.all_too_long" when no row is left.
    """
    found = {(voice.base, voice.system): _fitting(rows, voice) for voice in voices}
    shared = set.intersection(*map(set, found.values()))
    if not shared:
        limit = min(context(voice.base) for voice in voices)
        raise BadInput("evaluate.all_too_long", where=str(rows.file), limit=limit)
    told = {who: {index: ids for index, ids in asked.items() if index in shared} for who, asked in found.items()}
    return [told[voice.base, voice.system] for voice in voices]


def _fitting(rows: Rows, voice: Voice) -> Prompts:
    template, limit = Template(load_tokenizer(voice.base)), context(voice.base)
    branches = Branches.of(template)
    needed = len(branches.prefix) + max(map(len, branches.suffixes))
    asked = (template.prompt_ids(row.prompt, system=row.system or voice.system) for row in rows.samples)
    return {index: ids for index, ids in enumerate(asked) if len(ids) + needed <= limit}
