"""Webhooks as a broker: external events by HTTP, signed, to a receiver.

One POST for each event, in CloudEvents' structured mode, signed as signing.py says. The receiver gives
what it got to `eventsrc.publishing.signing.received`, and answers 2xx when it has the event.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import quote, urlsplit

from eventsrc._clock import monotonic
from eventsrc.programs.interpreter import Interpreter, on
from eventsrc.publishing.cloud_event import CONTENT_TYPE, CloudEvent
from eventsrc.publishing.operations import Publish, Published, Refused
from eventsrc.publishing.signing import checked, signed
from eventsrc.stores.operations import Unreachable


class Webhook(Interpreter[Publish]):
    """Sends external events to a receiver by HTTP.

    url: of the receiver, https:// or http://.
    key: at least 24 bytes, which the receiver has too. older: keys by which requests are signed too,
        while they are being replaced.
    within: seconds in which a Publish ends, with what was sent by then.
    context: for TLS; the system's certificates if not given.
    clock: the time of day, in seconds.

    2xx is success. An event that is answered with 4xx is refused. A receiver that does not answer, or
    with 3xx, 401, 403, 404, 405, 407, 408, 410, 421, 425, 429, 502, 503 or 504, is away; another 5xx is
    the event's failure if others get through, and else the receiver's.
    Redirects are not followed. Raises ValueError for a bad URL or a key that can be guessed.
    """

    def __init__(
        self,
        url: str,
        key: bytes,
        *older: bytes,
        within: float = 5.0,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r:.200} is no address of a webhook: give an https:// URL")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"{url!r:.200} is no URL: write other characters as %..")
        if not within > 0:
            raise ValueError(f"within is {within!r}: give the seconds in which a Publish ends")
        self._keys = checked((key, *older))
        self._is_https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._within = within
        self._context = ssl.create_default_context() if context is None and self._is_https else context
        self._clock = clock

    @on(Publish)
    def publish(self, op: Publish) -> Published:
        """Sends the events, one after the other, on one connection."""
        refused: dict[str, Refused] = {}
        failing: dict[str, Refused] = {}
        sent = 0
        with _Line(self._connect, self._within) as line:
            for number, event in enumerate(op.events):
                if event.subject in refused or event.subject in failing:
                    continue
                is_alive = sent + len(refused) > 0
                try:
                    status, said = line.post(self._path, event.to_json(), self._headers(event))
                except (OSError, HTTPException) as error:
                    if is_alive:
                        both = *refused.values(), *failing.values()
                        return Published(both, len(op.events) - number)
                    raise Unreachable(f"{self!r} does not answer: {error!r:.200}") from error
                if 200 <= status < 300:
                    sent += 1
                elif 400 <= status < 500 and status not in _AWAY:
                    refused[event.subject] = Refused(event.id, f"{status}: {said}")
                elif status >= 500 and status not in _AWAY:
                    failing[event.subject] = Refused(event.id, f"{status}: {said}")
                elif is_alive:
                    both = *refused.values(), *failing.values()
                    return Published(both, len(op.events) - number)
                else:
                    raise Unreachable(f"{self!r} answers {status}: {said}")
        if failing and not sent and not refused:
            raise Unreachable(f"{self!r} answers {next(iter(failing.values())).why}")
        return Published((*refused.values(), *failing.values()))

    @on(Publish).coroutine
    async def publish_async(self, op: Publish) -> Published:
        """As `publish`, in a thread."""
        return await asyncio.to_thread(self.publish, op)

    def __repr__(self) -> str:
        return f"Webhook({self._host!r})"

    def _connect(self, timeout: float) -> HTTPConnection:
        if self._is_https:
            return HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return HTTPConnection(self._host, self._port, timeout=timeout)

    def _headers(self, event: CloudEvent) -> dict[str, str]:
        its_id = quote(event.id, safe="")
        return {
            "Content-Type": CONTENT_TYPE,
            **signed(event.to_json(), its_id, int(self._clock()), *self._keys),
        }


class _Line:
    """A connection, which ends with everything on it after some seconds."""

    def __init__(self, connect: Callable[[float], HTTPConnection], within: float) -> None:
        self._connection = connect(within)
        self._is_over = False
        self._lock = threading.Lock()
        self._ends = monotonic() + within
        self._timer = threading.Timer(within, self._end)
        self._timer.daemon = True

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """The status and the beginning of the answer to a POST."""
        is_new = self._connection.sock is None
        try:
            return self._post(path, body, headers)
        except (ConnectionError, HTTPException):
            if is_new or self._is_over:
                raise
            self._connection.close()  # a connection that was kept may end between two requests
            return self._post(path, body, headers)

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        left = self._ends - monotonic()
        if left <= 0:
            raise TimeoutError("there was no time left")
        self._connection.timeout = left  # for who connects
        self._connection.request("POST", path, body, dict(headers))
        response: HTTPResponse = self._connection.getresponse()
        said = response.read(_READ).decode("ascii", "replace")[:_SHOWN]
        if not response.isclosed():  # there is more of it, which nobody wants
            self._connection.close()
        return response.status, said

    def _end(self) -> None:
        """Ends the connection under whoever waits for it."""
        with self._lock:
            self._is_over = True
            sock = self._connection.sock
            if sock is not None:
                sock.shutdown(2)

    def __enter__(self) -> _Line:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._connection.close()


_AWAY: Final = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 425, 429, 502, 503, 504})
_READ: Final = 4096
_SHOWN: Final = 200
