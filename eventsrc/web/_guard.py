"""The guard of the page: who may ask, from where, and what a browser may do with the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

User: TypeAlias = Callable[[Request], Awaitable[str | None] | str | None]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The headers of every answer: nothing is loaded from elsewhere, and nobody frames the page."""


class Guard:
    """Refuses requests of other sites, for other hosts, that would write, or of nobody.

    hosts: the names, without a port, by which the page may be asked for: so a name that is made to lead
        here, as in DNS rebinding, does not.
    user: says who asks, or None for nobody: your own login. Without it, everybody who reaches the page
        may look.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], user: User | None) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._user = user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers 401, 403 or 405."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = await self._refusal(scope, receive)
        await (refusal or self._app)(scope, receive, sent)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        headers = Headers(scope=scope)
        if _host(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("This page is not asked for by that name.", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This page only shows.", 405, {"Allow": "GET, HEAD"})
        # a link that somebody follows may come from anywhere; nothing else may
        is_followed = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
            "navigate",
            "document",
        )
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_followed:
            return PlainTextResponse("This page is not for other sites.", 403)
        if self._user is not None:
            user: Any = self._user(Request(scope, receive))
            if hasattr(user, "__await__"):
                user = await user
            if user is None:
                return PlainTextResponse("Log in first.", 401)
        return None


def _host(text: str) -> str:
    """The name in a header Host, without the port."""
    name = text.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
