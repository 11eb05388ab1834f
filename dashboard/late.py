"""Pages that are built when they are first asked for: the dashboard answers before the other language is ready."""

import asyncio
from collections.abc import Callable

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send


class LatePages:
    """One application for each first part of the path, built and started on the first request for it.

    Args:
        names: the first parts that there are ("ja", "en").
        build: makes the application of a name; it gets the path as a whole.
    """

    def __init__(self, names: tuple[str, ...], build: Callable[[str], FastAPI]) -> None:
        self.names, self.build = names, build
        self._pages: dict[str, _Started] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].split("/")[1]
        if name not in self.names:
            await PlainTextResponse("Not found", 404)(scope, receive, send)
            return
        if name not in self._pages:
            self._pages[name] = _Started(self.build(name))
        page = self._pages[name]
        await page.ready.wait()
        await page.app(scope, receive, send)

    async def stop(self) -> None:
        """Let every page end what it does in the background."""
        for page in self._pages.values():
            page.end.set()
            await page.life


class _Started:
    """An application whose lifespan runs in a task of its own: it must be left by the task that entered it."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.ready, self.end = asyncio.Event(), asyncio.Event()
        self.life = asyncio.get_running_loop().create_task(self._live())

    async def _live(self) -> None:
        async with self.app.router.lifespan_context(self.app):
            self.ready.set()
            await self.end.wait()
