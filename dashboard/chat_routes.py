"""The chat over HTTP: a stream that shows the desk, and the wishes that a page may have of it."""

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from dashboard import texts
from dashboard.bridge import Bridge, Page
from dashboard.prompt_library import library
from dashboard.tabs.config_fields import fault_words
from so8t_engine import BadInput, Busy, EngineError, SettingsError, config

WISHES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "ask": {"prompt": str},
    "regenerate": {},
    "edit": {"prompt": str},
    "stop": {},
    "choose": {"left": str, "right": str},
    "tune": {"system": (str, type(None)), "sampling": dict},
    "blind": {"on": bool},
    "vote": {"choice": str},
    "new": {},
    "open": {"id": str},
    "delete": {"id": str},
    "restore": {"id": str},
}
"""Every wish with the fields that it must have, and no others."""

LONGEST_WISH = 256 * 1024
"""Bytes."""

FRAME_SECONDS = 0.05
"""At most 20 pictures a second: a person reads no faster, and a slow machine has the answer to compute."""

WAIT_SECONDS = 1.0
"""How long a thread waits for a change: a server that ends waits for its threads."""

BREATH_SECONDS = 15.0
"""A silent stream says that it lives."""

STREAMS = 64
"""Threads that may wait at once; further streams take turns."""


def add_chat_routes(app: FastAPI, bridge: Bridge) -> None:
    """The routes below /chat. The desk is asked for at each request: it is the engine's."""
    waiting = CapacityLimiter(STREAMS)

    @app.get("/chat/stream")
    async def stream(language: str = "") -> Response:
        pictures = _stream(bridge.engine.chat, Page(_known(language), bridge), waiting)
        return StreamingResponse(pictures, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @app.get("/chat/choices")
    def choices(language: str = "") -> Response:
        try:
            return _fresh(_choices(bridge.engine.chat))
        except EngineError as error:
            return _refused(error, Page(_known(language), bridge))

    @app.get("/chat/library")
    def prompts(language: str = "") -> Response:
        return _fresh(library(_known(language), demo=_is_demo(bridge)))

    @app.get("/chat/export/{name}")
    def export(name: str, language: str = "") -> Response:
        conversation, _, form = name.rpartition(".")
        try:
            file, text = bridge.engine.chat.export(conversation, form)
        except EngineError as error:
            return _refused(error, Page(_known(language), bridge))
        kind = "application/json" if form == "json" else "text/markdown"
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(file)}", "cache-control": "no-store"}
        return Response(text.encode("utf-8"), media_type=f"{kind}; charset=utf-8", headers=headers)

    @app.post("/chat/{wish}")
    async def obey(wish: str, request: Request, language: str = "") -> Response:
        page = Page(_known(language), bridge)
        if wish not in WISHES:
            return _refused(BadInput("wish.unknown", name=wish[:40]), page, status=404)
        try:
            values = _checked(wish, await _body(request))
            await to_thread.run_sync(partial(_method(bridge.engine.chat, wish), **values))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except EngineError as error:
            return _refused(error, page)
        return _fresh({})


def _known(language: str) -> str:
    return language if language in texts.LANGUAGES else texts.LANGUAGES[0]


def _fresh(content: dict) -> JSONResponse:
    return JSONResponse(content, headers={"cache-control": "no-store"})


def _method(desk: Any, wish: str) -> Any:
    return getattr(desk, {"blind": "set_blind"}.get(wish, wish))


def _is_demo(bridge: Bridge) -> bool:
    try:
        return bridge.settings().base_model == config.Settings().base_model
    except EngineError:
        return False


async def _body(request: Request) -> bytes:
    """The request's body. Raises BadInput as soon as it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_WISH:
            raise BadInput("wish.too_long", limit=f"{LONGEST_WISH // 1024} KiB")
    return body


def _checked(wish: str, body: bytes) -> dict[str, Any]:
    """The fields of a wish. Raises BadInput unless they are the ones that it has, each of its type."""
    try:
        values = json.loads(body or b"{}")
        json.dumps(values, ensure_ascii=False).encode("utf-8")  # half a surrogate pair can't be stored
    except (ValueError, RecursionError):
        raise BadInput("wish.not_json") from None
    if not isinstance(values, dict):
        raise BadInput("wish.not_json")
    fields = WISHES[wish]
    wrong = [name for name in fields if name not in values or not isinstance(values[name], fields[name])]
    wrong += [name for name in values if name not in fields]
    if wrong:
        raise BadInput("wish.bad_field", field=wrong[0][:40])
    return values


def _refused(error: EngineError, page: Page, status: int = 0) -> JSONResponse:
    return JSONResponse(_told(error, page), status or (409 if isinstance(error, Busy) else 400))


def _told(error: EngineError, page: Page) -> dict:
    """What happened and what to do, with every fault of the settings and the field that it belongs to."""
    told = {"code": error.code, "where": error.where, **_sentences(error.code, error.facts, page.language)}
    if isinstance(error, SettingsError):
        told["faults"] = [_fault(fault, page) for fault in error.faults]
    return told


def _fault(fault: EngineError, page: Page) -> dict[str, str]:
    path = fault.facts.get("field", "")
    field = next((field for field in config.fields() if field.path == path), None)
    if field is None:
        return {"field": path, **_sentences(fault.code, fault.facts, page.language)}
    what, hint = fault_words(field, fault, page)
    return {"field": path, "what": what, "hint": hint}


def _sentences(code: str, facts: dict[str, str], language: str) -> dict[str, str]:
    return {part: texts.error_sentence(code, part, language, facts) for part in ("what", "hint")}


def _choices(desk: Any) -> dict:
    """What can be chosen. While a blind conversation awaits its vote nothing in it may name a side."""
    found, picture = desk.choices(), desk.picture()
    return found | {"sides": [], "results": []} if picture["blind"] and not picture["revealed"] else found


async def _stream(desk: Any, page: Page, waiting: CapacityLimiter) -> AsyncIterator[str]:
    """The desk as server-sent events: whole at first, then what has changed. It ends when the page leaves."""
    version, sent, spoke, trouble = -1, None, time.monotonic(), None
    while True:
        try:
            picture = await to_thread.run_sync(
                desk.wait, version, WAIT_SECONDS, limiter=waiting, abandon_on_cancel=True
            )
        except EngineError as error:  # the settings have a fault: nobody knows yet who could answer
            told = _told(error, page)
            if told != trouble:
                yield _event({"trouble": told})
                trouble = told
            await anyio.sleep(WAIT_SECONDS)
            continue
        if picture["version"] != version:
            version, shown = picture["version"], in_words(picture, page.language)
            yield _event(changed(sent, shown))
            sent, spoke = shown, time.monotonic()
            await anyio.sleep(FRAME_SECONDS)
        elif time.monotonic() - spoke >= BREATH_SECONDS:
            yield ": alive\n\n"
            spoke = time.monotonic()


def _event(content: dict) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def in_words(picture: dict, language: str) -> dict:
    """The picture with the sentences of what went wrong, in the language of the page."""
    turns = [
        turn | {"answers": [answer | _trouble(answer, language) for answer in turn["answers"]]}
        for turn in picture["turns"]
    ]
    refusal = picture["refusal"]
    if refusal:
        refusal = refusal | _sentences(refusal["code"], refusal["facts"], language)
    return picture | {"turns": turns, "refusal": refusal}


def _trouble(answer: dict, language: str) -> dict:
    return _sentences(answer["error"], answer["facts"], language) if answer["error"] else {}


def changed(sent: dict | None, picture: dict) -> dict:
    """The picture, or its last turn alone when only the answers in it differ from what was sent."""
    if sent is None or not picture["turns"] or len(sent["turns"]) != len(picture["turns"]):
        return picture
    moving = ("version", "speaking", "turns")
    same = all(picture[name] == sent.get(name) for name in picture if name not in moving)
    last, before = picture["turns"][-1], sent["turns"][-1]
    if not same or picture["turns"][:-1] != sent["turns"][:-1] or last["prompt"] != before["prompt"]:
        return picture
    return {"version": picture["version"], "turn": last, "speaking": picture["speaking"]}
