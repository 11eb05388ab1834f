"""How the stand-in for Ollama answers: template, stop words, longest length, and where the thinking goes.

After server/routes.go, thinking/parser.go and template/template.go of Ollama.
"""

from collections.abc import Callable, Iterator

from go_template import GoTemplate, TemplateError
from ollama_store import Model, Refusal

PIECE = 3
"""Letters a line."""

TOKEN_NANOSECONDS = 20_000_000
"""What an answer claims to have taken, a token."""


def in_message(text: str, thought: str) -> dict:
    """A line of /api/chat."""
    return {"message": {"role": "assistant", "content": text, **({"thinking": thought} if thought else {})}}


def in_response(text: str, thought: str) -> dict:
    """A line of /api/generate."""
    return {"response": text, **({"thinking": thought} if thought else {})}


def joined(lines: list[dict]) -> dict:
    """The one object for a client that wants no stream."""
    if "response" in lines[-1]:
        texts = ("".join(line.get(key, "") for line in lines) for key in ("response", "thinking"))
        return {**lines[-1], **in_response(*texts)}
    if "message" in lines[-1]:
        texts = ("".join(line["message"].get(key, "") for line in lines) for key in ("content", "thinking"))
        return {**lines[-1], **in_message(*texts)}
    return lines[-1]


def thinks(server, model: Model) -> bool:
    """Whether this version takes the model for one whose thinking it can tell from its answer."""
    return server.at_least(0, 9, 0) and all(GoTemplate(model.template).thinking_tags())


def spoken(server, model: Model, messages: list[dict], body: dict, line: Callable[[str, str], dict]) -> Iterator[dict]:
    """The lines of an answer: thinking, where it is taken apart, then text, then the end."""
    think = body.get("think")
    if think and not thinks(server, model):
        raise Refusal(400, f'"{body["model"]}" does not support thinking')
    if think is None and server.at_least(0, 12, 5):
        think = thinks(server, model)
    options = {**model.parameters, **(body.get("options") or {})}
    text = server.answer(_prompt(model, messages, with_thinking=server.at_least(0, 9, 0)))
    text = text[: min((text.find(stop) for stop in options.get("stop", []) if stop in text), default=None)]
    longest = options.get("num_predict", -1) * PIECE
    cut = 0 <= longest < len(text)
    tags = GoTemplate(model.template).thinking_tags() if think else ("", "")
    thought, text = _split(text[:longest] if cut else text, *tags)
    for i in range(0, len(thought), PIECE):
        yield {**line("", thought[i : i + PIECE]), "done": False}
    for i in range(0, len(text), PIECE):
        yield {**line(text[i : i + PIECE], ""), "done": False}
    pieces = -(-len(thought) // PIECE) - (-len(text) // PIECE)
    yield {**line("", ""), "done": True, "done_reason": "length" if cut else "stop", **figures(pieces)}


def figures(tokens: int) -> dict[str, int]:
    """What the last line tells of an answer of so many tokens; durations in nanoseconds."""
    told = {"load_duration": 1_000_000, "prompt_eval_duration": 2_000_000, "eval_duration": tokens * TOKEN_NANOSECONDS}
    return {"total_duration": sum(told.values()), "prompt_eval_count": 10, "eval_count": tokens, **told}


def _prompt(model: Model, messages: list[dict], *, with_thinking: bool) -> str:
    """What the model is given: the system text of the model stands before a conversation that has none."""
    if messages[0]["role"] != "system" and model.system:
        messages = [{"role": "system", "content": model.system}, *messages]
    said = []
    for message in messages:
        dot = {"Role": message["role"], "Content": message["content"]}
        said.append({**dot, "Thinking": message.get("thinking", "")} if with_thinking else dot)
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    dot = {"Messages": said, "System": system, "Prompt": messages[-1]["content"], "Response": ""}
    try:
        return GoTemplate(model.template).render(dot)
    except TemplateError as error:
        raise Refusal(500, str(error)) from None


def _split(text: str, opening: str, closing: str) -> tuple[str, str]:
    """What stands between the tags at the beginning of an answer, and the rest, without the blanks around the tags."""
    begin = text.lstrip()
    if not opening or not begin.startswith(opening):
        return "", text
    thought, _, rest = begin.removeprefix(opening).lstrip().partition(closing)
    return thought, rest.lstrip()
