"""A process that joins courses, under a rule across streams, until it is told not to or is killed.

main(DSN, STUDENT): for each line, which names a course, it joins that course if fewer than SEATS have,
and prints `done`.
"""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

from eventsrc import AppendAll, Codec, StreamAppend, StreamId, Success
from eventsrc.events.event import EventTypes, event
from eventsrc.events.tags import Tag, about
from eventsrc.postgres import PostgresStore
from eventsrc.stores.tags import AppendIf, BoundaryChanged, ReadTagged, Unchanged

SEATS = 5

TYPES = EventTypes()
course = Tag("course", key=str)
student = Tag("student", key=str)


@event("test.joined", tags={"course": course, "who": student}, types=TYPES)
class Joined:
    """A student has joined a course."""

    course: str
    who: str


@event("test.untagged", types=TYPES)
class Untagged:
    """An event without tags."""

    number: int


def boundary(which: str) -> Any:
    """All that there is of a course."""
    return about(course[which], of=Joined, types=TYPES)


def join(store: Any, which: str, who: str, *, looking: bool = False) -> bool:
    """Joins a course, if it has a seat, in a stream of its own; tries again if others were faster.

    looking: looks at the boundary and appends then, whatever came between: the control.
    """
    while True:
        page = store.run(ReadTagged(boundary(which)))
        if len(page.events) >= SEATS:
            return False
        part = StreamAppend(StreamId(f"students/{who}/{uuid4().hex}"), (Joined(which, who),))
        if looking:
            return isinstance(store.run(AppendAll((part,))), Success)
        outcome = store.run(AppendIf((part,), (Unchanged(boundary(which), page.end),)))
        if isinstance(outcome, Success):
            return True
        assert isinstance(outcome.failure(), BoundaryChanged), outcome


def main(dsn: str, who: str) -> None:
    """Joins until its input ends."""
    with PostgresStore(dsn, codec=Codec(TYPES), timeout=30) as store:
        print("ready", flush=True)
        for line in sys.stdin:
            join(store, line.strip(), who)
            print("done", flush=True)
