"""The events of the experiments."""

from __future__ import annotations

from eventsrc import Codec, event
from eventsrc.events.event import EventTypes

TYPES = EventTypes()
CODEC = Codec(TYPES)


@event("test.fault.tick", types=TYPES)
class Tick:
    batch: int
    number: int
    of: int
    """How many ticks the batch has."""
