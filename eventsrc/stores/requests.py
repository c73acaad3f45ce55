"""Requests: by what a store tells a retry from another request under the same append_id.

Whoever sends a request twice sends the same append_id; whoever reuses an id by mistake sends another
request under it. The store keeps a digest of the request with the append, so that the second can be
refused instead of being answered as if it had been done. The digest is keyed by the store's secret: who
reads the store's rows cannot try out which request it was of.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import attrs

from eventsrc._errors import EventsrcError, with_article
from eventsrc.events.record import REQUEST

_DIGEST: Final = 16
"""The bytes of a digest."""


class OtherRequest(EventsrcError):
    """An append_id was used before, for a request that is not known to be this one."""


def request_of(value: object) -> bytes:
    """A request, as the store operations take it: the same bytes for values that are equal.

    value: bytes, such as a request's body; or a text, number, date, UUID or enum; or a list, set,
        mapping or attrs class of these, such as an operation. The order of a mapping does not matter.
    Raises TypeError for any other.
    """
    told = value if type(value) is bytes else json.dumps(_told(value)).encode()
    return blake2b(told, digest_size=32, person=b"bytes" if told is value else b"value").digest()


def digest_of(request: bytes, append_id: UUID, key: bytes) -> str:
    """The digest that a store keeps. key: the store's secret, of 1 to 64 bytes."""
    hashed = blake2b(append_id.bytes, key=key, digest_size=_DIGEST, person=b"eventsrc request")
    hashed.update(request)
    return hashed.hexdigest()


def digest_in(metadata: bytes) -> str | None:
    """The digest in the metadata of a stored append; None if it was made without a request."""
    if _KEY not in metadata:
        return None
    found = json.loads(metadata).get(REQUEST)
    return found if isinstance(found, str) else None


_KEY: Final = f'"{REQUEST}":'.encode()


def check_request(request: bytes | None, append_id: UUID, metadata: bytes, key: bytes) -> None:
    """Raises OtherRequest if an append, of some metadata, is not known to be of the request.

    request: None if the append is good whatever its request was.
    """
    if request is not None and digest_in(metadata) != digest_of(request, append_id, key):
        raise other_request(append_id)


def other_request(append_id: UUID) -> OtherRequest:
    """The error that says so."""
    return OtherRequest(
        f"append_id {append_id} was used before, and not for this request: choose a new id for a new "
        "request, and send a retry with just what was sent first"
    )


def _told(value: Any) -> Any:
    """A value as JSON that tells it from any other: each with its type."""
    kind = type(value)
    if value is None or kind is bool or kind is int or isinstance(value, float):
        return [kind.__name__, repr(value)]
    if isinstance(value, enum.Enum):
        return [kind.__qualname__, value.name]
    if isinstance(value, str):
        return ["str", value]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, _TEXTS):
        return [kind.__name__, str(value)]
    if isinstance(value, list | tuple):
        return ["list", [*map(_told, value)]]
    if isinstance(value, set | frozenset):
        return ["set", sorted(map(_told, value), key=json.dumps)]
    if isinstance(value, Mapping):
        items = [[_told(name), _told(item)] for name, item in value.items()]
        return ["mapping", sorted(items, key=json.dumps)]
    if attrs.has(kind):
        names = [field.name for field in attrs.fields(kind)]
        return [kind.__qualname__, [[name, _told(getattr(value, name))] for name in names]]
    raise TypeError(
        f"the request has {value!r:.100} in it, {with_article(kind)}, of which no digest can be made: "
        "give bytes, or plain values, lists, mappings and attrs classes of these"
    )


_TEXTS: Final = (UUID, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)
