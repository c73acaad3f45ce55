"""The operation that sends external events away, which the interpreter of a broker handles.

A broker that is not in the library takes one interpreter: `Interpreter[Publish]`, with a handler that
keeps what `Publish` promises. `tests/contracts/brokers.py` holds the library's own to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.programs.operation import Command
from eventsrc.publishing.cloud_event import CloudEvent


class NotPublished(EventsrcError):
    """A broker does not take an event: its stream is parked."""


@attrs.frozen
class Refused:
    """An event that the broker does not take, and would not if it were sent again.

    id: the event's. why: for who mends it.
    """

    id: str
    why: str


@attrs.frozen
class Published:
    """The answer of a broker: it has all of the events but these.

    refused: not taken; later events of their subjects, in the same Publish, were not sent.
    left: so many at the end were not sent, since it took long: publish them again.
    """

    refused: tuple[Refused, ...] = ()
    left: int = 0


class Publish(Command[Published]):
    """Sends events to a broker, and waits until it has them: at least once.

    The events of a subject are sent in this order, each when the broker has the one before. An event
    may come again, with the same id: a broker that can drops it.

    Raises `eventsrc.stores.operations.Unreachable` if the broker is away, or takes nothing at all for
    now, with some of the events sent or none: it is to be performed again with the same events.
    It ends in a time that is shorter than the publishers' leases.
    """

    events: tuple[CloudEvent, ...]


def by_subject(events: Iterable[CloudEvent]) -> Mapping[str, Sequence[CloudEvent]]:
    """The events of each subject, in their order: those of different ones may be sent side by side."""
    found: dict[str, list[CloudEvent]] = {}
    for event in events:
        found.setdefault(event.subject, []).append(event)
    return found
