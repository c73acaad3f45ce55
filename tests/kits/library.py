"""A small set of events and views for the tests of views."""

from __future__ import annotations

from typing import Literal

from sqlite_utils import Database

from eventsrc import (
    START,
    Codec,
    Interpreter,
    MemoryStore,
    ReadFeed,
    Recorded,
    StoreOp,
    Stream,
    Streams,
    View,
    event,
)
from eventsrc.events.event import EventTypes

TYPES = EventTypes()
CODEC = Codec(TYPES)


@event("test.view.noted", types=TYPES)
class Noted:
    number: int


@event("test.view.closed", types=TYPES)
class Closed:
    why: str


books = Streams("books/{id}", key=int, events=Noted | Closed)
other = Stream("other", events=Noted)


def notes_view(
    name: str = "notes",
    version: int = 1,
    prefix: str = "",
    failing: Literal["park", "stop"] = "park",
    partitions: int = 1,
) -> View[Database]:
    """A view that appends each number to a text: an event applied twice or out of order shows."""
    view: View[Database] = View(
        name,
        version=version,
        prefix=prefix,
        types=TYPES,
        failing=failing,
        partitions=partitions,
    )

    @view.schema
    def create(db: Database) -> None:
        db.table(name).create({"stream": str, "numbers": str}, pk="stream")

    @view.on(Noted)
    def noted(db: Database, event: Recorded[Noted]) -> None:
        db.execute(
            f"INSERT INTO [{name}] VALUES (:stream, :number) "
            "ON CONFLICT DO UPDATE SET numbers = numbers || ',' || excluded.numbers",
            {"stream": event.stream, "number": str(event.data.number)},
        )

    return view


def rows_of(db: Database, name: str = "notes") -> dict[str, str]:
    """The view's table: for each stream its numbers, in the order applied."""
    return {row["stream"]: row["numbers"] for row in db.table(name).rows}


def filled(streams: int, events: int) -> MemoryStore:
    store = MemoryStore(CODEC)
    for number in range(events):
        store.run(books[number % streams].append(Noted(number)))
    return store


def folded(store: Interpreter[StoreOp], prefix: str = "") -> dict[str, str]:
    """What a view of notes must hold: a plain fold of the feed."""
    expected: dict[str, list[str]] = {}
    cursor = START
    while True:
        page = store.run(ReadFeed(cursor, 1000, prefix))
        for recorded in page.events:
            if isinstance(recorded.data, Noted):
                expected.setdefault(recorded.stream, []).append(str(recorded.data.number))
        cursor = page.next
        if cursor >= page.end:
            return {stream: ",".join(numbers) for stream, numbers in expected.items()}
