"""NATS as a broker: external events in a stream of JetStream. Needs the extra `nats`, for nats-py.

    client = await nats.connect("nats://…", max_reconnect_attempts=-1)
    app = store | views | world | NatsBroker(client, "shop")
    await app.run_async(publish(out))

An event goes to the subject `shop.TYPE`; the stream must take it (`shop.>`). Its id is the message's
`Nats-Msg-Id`, by which JetStream drops what comes again in its time for duplicates.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import nats.errors
import nats.js.errors

from eventsrc._clock import timeout
from eventsrc.programs.interpreter import AsyncInterpreter, on
from eventsrc.publishing.cloud_event import CONTENT_TYPE, CloudEvent
from eventsrc.publishing.operations import Publish, Published, Refused, by_subject
from eventsrc.stores.operations import Unreachable

if TYPE_CHECKING:
    from nats.aio.client import Client


class NatsBroker(AsyncInterpreter[Publish]):
    """Sends external events to JetStream, in an event loop.

    client: connected; with `max_reconnect_attempts=-1`, it outlives any outage.
    subject: that of all events, before their types: words with dots between.
    within: seconds in which a Publish ends, with what JetStream has by then.

    Events of different subjects (of CloudEvents) are sent side by side, those of one after the other.
    Raises ValueError for a subject that is none.
    """

    def __init__(self, client: Client, subject: str, *, within: float = 5.0) -> None:
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise ValueError(f"{subject!r:.100} is no subject of NATS: use words with dots between")
        if not within > 0:
            raise ValueError(f"within is {within!r}: give the seconds in which a Publish ends")
        self._client = client
        self._subject = subject
        self._within = within

    @on(Publish).coroutine
    async def publish(self, op: Publish) -> Published:
        """Sends the events, and waits until JetStream has them."""
        if not self._client.is_connected:  # else the client would keep them, for a while
            raise Unreachable(f"{self!r} is not connected")
        sending = _Sending(self._client, self._subject)
        lines = by_subject(op.events).values()
        why: BaseException | None = None
        try:
            async with timeout(self._within):
                answers = await asyncio.gather(*map(sending.send, lines), return_exceptions=True)
                why = next((each for each in answers if isinstance(each, BaseException)), None)
        except TimeoutError as error:
            why = error
        if why is not None and not isinstance(why, TimeoutError | nats.errors.Error | ConnectionError):
            raise why
        settled = sending.settled
        first = next((n for n, each in enumerate(op.events) if each.id not in settled), len(op.events))
        if why is not None and not first:
            raise Unreachable(
                f"{self!r} does not take events: {type(why).__name__} {why!s:.200}"
            ) from why
        refused = [each for each in sending.refused if each.id in {e.id for e in op.events[:first]}]
        return Published(tuple(refused), len(op.events) - first)

    def __repr__(self) -> str:
        return f"NatsBroker({self._subject!r})"


class _Sending:
    """Sends some events. settled: the ids of those that JetStream has, or that are not to be sent."""

    def __init__(self, client: Client, subject: str) -> None:
        self._stream = client.jetstream(timeout=_NEVER)
        self._most = client.max_payload
        self._subject = subject
        self.settled: set[str] = set()
        self.refused: list[Refused] = []

    async def send(self, events: Sequence[CloudEvent]) -> None:
        """Sends events in their order, up to one that is refused."""
        for number, event in enumerate(events):
            why = await self._refused(event)
            if why is not None:
                self.refused.append(Refused(event.id, why))
                self.settled.update(each.id for each in events[number:])
                return
            self.settled.add(event.id)

    async def _refused(self, event: CloudEvent) -> str | None:
        """Sends an event; answers why it will never be taken, if that is so."""
        body = event.to_json()
        if not _SUBJECT.fullmatch(event.type):
            return f"the type {event.type!r:.100} is no subject of NATS"
        if len(body) > self._most:
            return f"it has {len(body)} bytes, of which the server takes {self._most}"
        headers = {"Nats-Msg-Id": event.id, "Content-Type": CONTENT_TYPE}
        try:
            await self._stream.publish(f"{self._subject}.{event.type}", body, headers=headers)
        except nats.errors.MaxPayloadError:
            return f"it has {len(body)} bytes, and headers, which are more than the server takes"
        except nats.js.errors.APIError as error:
            if error.err_code not in _TOO_LARGE:
                raise
            return f"{error.description}"
        return None


_SUBJECT: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_NEVER: Final = 3600.0
"""Seconds; `within` is shorter."""
_TOO_LARGE: Final = frozenset({10054})
"""Error codes of JetStream about the size of a message."""
