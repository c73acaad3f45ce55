"""A service over HTTP: `python -m examples.pipeline.service users` (or `groups`).

Each has commands of its own on the platform's store, and one view, which Lambda keeps. A query that
comes with the token of a write is answered by a view that has seen it.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import AsyncGenerator
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from eventsrc import EventsrcError
from eventsrc.http.signing import Signed
from examples.identity import rest
from examples.identity.app import identity
from examples.identity.requests import Rooms, key_of_tokens
from examples.pipeline.platform import VIEWS, Platform

ROUTES: Final = {
    "users": [
        Route("/users", rest.add_user, methods=["POST"]),
        Route("/users", rest.search_users),
        Route("/users/{user}/email", rest.replace_email, methods=["PUT"]),
    ],
    "groups": [
        Route("/groups", rest.add_group, methods=["POST"]),
        Route("/groups/{group}/members/{user}", rest.join, methods=["PUT"]),
        Route("/users/{user}/groups", rest.groups_of),
    ],
}
"""The endpoints of each service."""


def service(name: str, place: Platform, port: int) -> Starlette:
    """A service, which says in a file where it is, once it is ready."""

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncGenerator[None]:
        with place.store() as store, place.views(name, VIEWS[name]) as views:
            app.state.identity = identity(store, views)
            app.state.texts = Signed(key_of_tokens())
            app.state.rooms = Rooms()
            ready = place.folder / f"{name}.part"
            ready.write_text(f"http://127.0.0.1:{port}")
            ready.rename(place.folder / f"{name}.url")
            yield

    return Starlette(
        routes=ROUTES[name], lifespan=life, exception_handlers={EventsrcError: rest.refuse}
    )


def main(name: str) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        app = service(name, Platform.from_environment(), door.getsockname()[1])
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[door])


if __name__ == "__main__":
    main(sys.argv[1])
