"""POST /think: one question, one answer, for programs on this machine. The logic is the engine's."""

import asyncio
from contextlib import suppress
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from dashboard import texts
from so8t_engine import BadInput, Engine, EngineError

STATUSES = {
    "think.not_json": 400, "think.unknown_field": 400, "think.no_prompt": 400, "think.not_text": 400,
    "think.bad_history": 400, "chat.unknown_role": 400, "data.broken_letter": 400, "think.unauthorized": 401,
    "think.method": 405, "think.too_long": 413, "think.body_too_long": 413, "chat.no_room": 413,
    "think.too_many": 429, "think.line_full": 429, "chat.unexpected": 500,
}  # fmt: skip
"""By the code of the error; 503 for every other: nothing is wrong with the request."""

OTHER_METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]


def add_think_route(app: FastAPI, engine: Engine) -> None:
    """The route /think."""

    @app.post("/think")
    async def answer(request: Request) -> Response:
        try:
            return await _answer(request, engine.think)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except EngineError as error:
            return refused(error, request)

    @app.api_route("/think", methods=OTHER_METHODS)
    def not_so(request: Request) -> Response:
        return refused(BadInput("think.method"), request)


async def _answer(request: Request, think: Any) -> Response:
    limit = await to_thread.run_sync(think.admit, request.headers.get("authorization", ""))
    body = await _body(request, limit)
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(over.set)

    reply = await to_thread.run_sync(lambda: think.ask(think.read(body), over=wake))
    waiting = [loop.create_task(_gone(request)), loop.create_task(over.wait())]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reply.stop()  # of no effect on an answer that is over
        for task in waiting:
            task.cancel()
    if not over.is_set():
        raise ClientDisconnect
    return JSONResponse(think.result(reply), headers={"cache-control": "no-store"})


async def _body(request: Request, limit: int) -> bytes:
    """The body. Raises BadInput as soon as it is too long, without reading the rest."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise BadInput("think.body_too_long", limit=limit)
    return bytes(body)


async def _gone(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refused(error: EngineError, request: Request) -> JSONResponse:
    """The error as JSON, in Japanese where the client asks for it, else in English."""
    status = STATUSES.get(error.code, 503)
    language = language_of(request.headers.get("accept-language", ""))
    words = {part: texts.error_sentence(error.code, part, language, error.facts) for part in ("what", "hint")}
    headers = {"cache-control": "no-store", "connection": "close"}  # the server reads no more of a body that has no end
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 405:
        headers["allow"] = "POST"
    if "seconds" in error.facts and status == 429:
        headers["retry-after"] = error.facts["seconds"]
    return JSONResponse({"error": {"code": error.code, **words}}, status, headers)


def language_of(wishes: str) -> str:
    """The first language of an Accept-Language header that we have; English when there is none."""
    for wish in wishes.split(","):
        language = wish.split(";")[0].strip().lower().split("-")[0]
        if language in texts.LANGUAGES:
            return language
    return "en"
