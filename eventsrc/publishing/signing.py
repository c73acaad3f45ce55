"""Signed requests: who receives external events by HTTP knows who sent them, and when.

The headers are those of the Standard Webhooks specification: `webhook-id`, `webhook-timestamp` and
`webhook-signature`, an HMAC-SHA256 over both and the body, to the byte.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final

from eventsrc._errors import EventsrcError
from eventsrc.publishing.cloud_event import CloudEvent

TOLERANCE: Final = 300.0
"""Seconds by which the clocks of sender and receiver may differ, and for which a request is good."""

_LEAST_KEY_BYTES: Final = 24


class BadSignature(EventsrcError):
    """A request that was not signed by who knows the key, or long ago."""


def signed(body: bytes, webhook_id: str, timestamp: int, *keys: bytes) -> dict[str, str]:
    """The headers that sign a request. timestamp: the time of day, in seconds."""
    marks = [f"v1,{_mark(body, webhook_id, timestamp, key)}" for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(marks),
    }


def received(
    body: bytes,
    headers: Mapping[str, str],
    key: bytes,
    *older: bytes,
    tolerance: float = TOLERANCE,
    clock: Callable[[], float] = time.time,
) -> CloudEvent:
    """The event of a request that a receiver got.

    body: as it came, to the byte. headers: the request's, whatever the case of their names.
    key, older: those by which it may be signed. tolerance: seconds by which it may be old, or early.
    Raises BadSignature for a request that was signed by nobody who knows a key, or not now, and
    NotACloudEvent for another body. A request that comes again is good as long as it is not old: see
    `eventsrc.publishing.arrived`, for which the event's own id counts.
    """
    told = {name.lower(): text for name, text in headers.items()}
    try:
        its_id, text, marks = (told[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        timestamp = int(text)
    except (KeyError, ValueError) as error:
        raise BadSignature(
            "the request is not signed: webhook-id, -timestamp and -signature"
        ) from error
    if abs(clock() - timestamp) > tolerance:
        raise BadSignature(
            f"the request was signed {clock() - timestamp:.0f} seconds ago: it was kept and sent "
            "again, or a clock is wrong"
        )
    given = [
        mark for version, _, mark in (each.partition(",") for each in marks.split()) if version == "v1"
    ]
    wanted = [_mark(body, its_id, timestamp, each) for each in checked((key, *older))]
    if not any(hmac.compare_digest(one.encode(), its.encode()) for one in given for its in wanted):
        raise BadSignature("the request was signed with another key, or changed on its way")
    return CloudEvent.parse(body)


def _mark(body: bytes, webhook_id: str, timestamp: int, key: bytes) -> str:
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def checked(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The keys. Raises ValueError for one that can be guessed."""
    for each in keys:
        if not isinstance(each, bytes) or len(each) < _LEAST_KEY_BYTES:
            raise ValueError(
                f"a key of less than {_LEAST_KEY_BYTES} bytes can be guessed: take "
                "secrets.token_bytes(32)"
            )
    return keys
