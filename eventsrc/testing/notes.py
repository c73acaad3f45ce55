"""The events that the store contract appends."""

from __future__ import annotations

from typing import Any, Final

from eventsrc.codec import Codec
from eventsrc.event import EventTypes, event

_TYPES: Final = EventTypes()

NOTES: Final = Codec(_TYPES)
"""The codec of these events: give it to the store under test, or a codec that knows them."""


@event("eventsrc.testing.noted", types=_TYPES)
class Noted:
    """Anything JSON-able."""

    value: Any


@event("eventsrc.testing.renamed", types=_TYPES)
class Renamed:
    """An event of another type."""

    name: str
