"""Requests as this service takes them: from whom, how much of them, and how many at a time."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeAlias
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response as Reply

from eventsrc import EventsrcError
from eventsrc.http import Problem, Response, problem, refusal

MOST_BYTES: Final = 16_384
"""The most bytes of a body."""

LONGEST_WAIT: Final = 5.0
"""The most seconds that a request may wait for a view."""

MOST_WAITING: Final = 100
"""The most requests that wait for views at a time."""

MOST_BEGUN: Final = 100
"""The most requests that are at work for clients that do not wait."""

KEPT: Final = 1000
"""The requests of such clients of which it is kept what came of them."""

LONGEST_SEARCH: Final = 200
"""The most characters of a search."""

KEY: Final = "IDENTITY_KEY"
"""The environment variable with the key by which tokens are signed, in hexadecimal digits."""

Work: TypeAlias = Callable[[], Coroutine[Any, Any, Reply]]


def key_of_tokens() -> bytes:
    """The key that all processes of the service share; one for this process alone if none is set."""
    return bytes.fromhex(os.environ.get(KEY, "")) or secrets.token_bytes(32)


def caller(request: Request) -> str:
    """For whom a request is: here, whoever is at its address; with logins, whoever logged in."""
    return request.client.host if request.client else ""


async def body_of(request: Request) -> bytes:
    """The body of a request. Raises Problem (413) for a long one, which is not read to its end."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise Problem(problem(413, f"A body has at most {MOST_BYTES} bytes"), "a long body")
    return body


class Rooms:
    """The requests that wait or are at work, so many at a time."""

    def __init__(self) -> None:
        self._waiting = 0
        self._tasks: dict[tuple[str, UUID], asyncio.Task[Reply]] = {}

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts a request that waits for a view. Raises Problem (503) if too many do."""
        if self._waiting >= MOST_WAITING:
            raise busy()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def begin(self, caller: str, id: UUID, work: Work) -> None:
        """Begins work for a caller who does not wait, unless it has begun.

        Raises Problem (503) if too much is at work.
        """
        if (caller, id) in self._tasks:
            return
        done = [key for key, task in self._tasks.items() if task.done()]
        if len(self._tasks) - len(done) >= MOST_BEGUN:
            raise busy()
        for key in done[: max(len(done) - KEPT + 1, 0)]:
            del self._tasks[key]
        self._tasks[caller, id] = asyncio.create_task(settled(work()))

    def find(self, caller: str, id: UUID) -> asyncio.Task[Reply] | None:
        """The work for a caller's request; None if nothing is known of it."""
        return self._tasks.get((caller, id))

    async def over(self) -> None:
        """Waits for all that is at work."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settled(work: Coroutine[Any, Any, Reply]) -> Reply:
    """The reply of some work, refusals of the store included."""
    try:
        return await work
    except EventsrcError as error:
        return reply(refusal(error))


def busy() -> Problem:
    """The refusal of one request too many."""
    return Problem(problem(503, "Too many ask at once", headers={"Retry-After": "1"}), "too many")


def reply(response: Response) -> Reply:
    """The response, as Starlette sends it."""
    return Reply(response.body, response.status, dict(response.headers))
