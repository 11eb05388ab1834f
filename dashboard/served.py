"""The page as it leaves the server: no address of another host in it, and a policy that forbids to ask one."""

import json
import re
from html import escape

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import texts

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; media-src 'self'; frame-ancestors 'none'; "
    "base-uri 'self'; form-action 'self'"
)
"""Gradio compiles its templates in the page, hence 'unsafe-eval'; nothing may come from or go to another host."""

STYLES = (
    "style.css", "config_tab.css", "evaluate_tab.css", "ab_test_tab.css", "chat_tab.css", "export_tab.css",
    "overnight_tab.css", "system_tab.css",
)  # fmt: skip
SCRIPTS = (
    "charts.js", "page.js", "redraw.js", "fetched.js", "evaluate.js", "ab_test.js", "chat_answers.js", "chat_lists.js",
    "chat_panel.js", "chat.js", "export.js", "overnight.js",
)  # fmt: skip
"""In the order in which they are loaded."""

_STYLES = "".join(
    f'<link rel="stylesheet" href="/static/dashboard/{name}">'
    for name in STYLES
)

_SCRIPTS = "".join(
    f'<script src="/static/dashboard/{name}"></script>'
    for name in SCRIPTS
)

PAGE_WORDS = ("age", "copy", "header.offline", "chart.png", "chart.csv", "keys", "chat.", "state.")
"""Texts that the scripts need, by the start of their keys."""

_STRAY = [
    re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>'),
    re.compile(r'<link rel="manifest"[^>]*>'),
    re.compile(r"<script>\s*\(\(\) => \{\s*const root = .*?</script>", re.DOTALL),  # loads the iframe resizer
    re.compile(r"https://github\.com/gradio-app/[^\"]*"),  # the example of a file in the description of the endpoints
]


class Served:
    """Middleware: rewrites the two pages, adds the policy, and refuses what another site's page sends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin and origin != f"http://{headers.get('host')}":
            await PlainTextResponse("Only the dashboard's own page may call it.", 403)(scope, receive, send)
            return
        language = scope["path"].strip("/")
        if language in texts.LANGUAGES and scope["method"] == "GET":
            await self.app(scope, receive, _Rewriting(send, language))
        else:
            await self.app(scope, receive, send)


class _Rewriting:
    """Holds the page back until it is whole, then sends it rewritten."""

    def __init__(self, send: Send, language: str) -> None:
        self.send, self.language = send, language
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.start is None:
            return
        headers = MutableHeaders(raw=list(self.start["headers"]))
        if headers.get("content-type", "").startswith("text/html"):
            self.body = rewrite(self.body.decode("utf-8"), self.language).encode("utf-8")
            headers["content-security-policy"] = POLICY
            headers["cache-control"] = "no-store"
            headers["set-cookie"] = f"language={self.language}; Path=/; Max-Age=31536000; SameSite=Strict"
        headers["content-length"] = str(len(self.body))
        await self.send(self.start | {"headers": headers.raw})
        await self.send({"type": "http.response.body", "body": self.body})


def rewrite(html: str, language: str) -> str:
    """Gradio's page with our style, script and words, and without its links to other hosts."""
    for stray in _STRAY:
        html = stray.sub("", html)
    html = html.replace('lang="en"', f'lang="{language}"', 1)
    words = json.dumps(page_words(language), ensure_ascii=False).replace("<", "\\u003c")
    head = (
        '<link rel="icon" id="so-icon" href="data:,">'
        f"{_STYLES}"
        f'<meta name="description" content="{escape("SO8T Studio")}">'
        f"<script>window.studioWords = {words};</script>"
        f"{_SCRIPTS}"
    )
    return html.replace("</head>", head + "</head>", 1)


def page_words(language: str) -> dict[str, str]:
    """The texts that the browser fills in by itself."""
    return {key: words[language] for key, words in texts.catalogue().items() if key.startswith(PAGE_WORDS)}
