"""Looking into a store: its size, its streams and its events, as plain values.

Nothing here needs the classes of the events: their data is shown as it is stored. The command line, the
page and scripts of one's own run the same programs, over any store, and with `as_of` over its past.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import attrs

from eventsrc.events.codec import Json
from eventsrc.events.epochs import Epochs
from eventsrc.events.positions import START, Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId, stored_id
from eventsrc.programs.program import Do, program
from eventsrc.stores.epochs import get_epochs
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import FindAppend, Read, ReadFeed

PAGE: Final = 1000
"""The events that are read at a time."""


@attrs.frozen
class StoreSummary:
    """A store at a moment: what it holds, and since when."""

    store_id: str
    events: int
    """The events of all streams, the library's own included."""
    first: datetime | None
    last: datetime | None
    """The times of the first and of the last event, by the store's clock; None if it is empty."""
    end: Cursor
    epochs: Epochs


@attrs.frozen
class Entry:
    """An event as it is stored, undecoded."""

    position: int
    stream: StreamId
    version: int
    type: str
    schema: int
    codec: str
    recorded_at: datetime
    id: UUID
    append_id: UUID
    metadata: Json
    data: bytes

    @classmethod
    def of(cls, recorded: Recorded[Any]) -> Entry:
        """The entry of a recorded event. Raises Corrupted if it is not what was stored."""
        kind = recorded.record.kind
        recorded.check()
        return cls(
            recorded.position,
            recorded.stream,
            recorded.version,
            kind.type,
            kind.schema,
            kind.codec,
            recorded.recorded_at,
            recorded.id,
            recorded.append_id,
            recorded.metadata,
            recorded.record.data,
        )

    @property
    def value(self) -> Any:
        """The data as JSON has it; bytes in hexadecimal digits if it is no JSON."""
        try:
            return json.loads(self.data)
        except ValueError:
            return self.data.hex()


@attrs.frozen
class StreamSummary:
    """A stream: its version, and the times of its first and last event."""

    stream: StreamId
    version: int
    first: datetime
    last: datetime


@attrs.frozen
class TypeSummary:
    """The events of a type and version: their number, and the bytes of their data."""

    type: str
    schema: int
    events: int
    bytes: int


@program
def summary() -> Do[ReadFeed, StoreSummary]:
    """Sums up the store."""
    page = yield from ReadFeed(START, 1, all_streams=True)
    end = page.end
    epochs = yield from get_epochs()
    first = page.events[0].recorded_at if page.events else None
    last = [event.recorded_at for event in (yield from newest(end, 1, all_streams=True)).events]
    return StoreSummary(end.store_id, end.position, first, next(iter(last), None), end, epochs)


@program
def entries(
    stream: StreamId, after: int = 0, limit: int = PAGE, backwards: bool = False
) -> Do[Read, list[Entry]]:
    """One page of a stream; the arguments are those of Read."""
    page = yield from Read(stream, after, limit, backwards)
    return [Entry.of(recorded) for recorded in page.events]


@program
def event_at(which: int | UUID) -> Do[ReadFeed | Read | FindAppend, Entry | None]:
    """The event at a position, or with an id: its own, or that of the append which brought it.

    None if there is none. The id of a second or later event of an append is made from the append's id,
    and cannot be looked up.
    """
    if isinstance(which, int):
        if which < 1:
            raise ValueError(f"{which} is no position: the first event is at 1")
        end = (yield from ReadFeed(START, 1, all_streams=True)).end
        if which > end.position:
            return None
        before = attrs.evolve(end, position=which - 1) if which > 1 else START
        page = yield from ReadFeed(before, 1, all_streams=True)
        return next((Entry.of(event) for event in page.events if event.position == which), None)
    found = yield from FindAppend(which)
    if found is None:
        return None
    brought: list[Entry] = []
    for stream, version in found.token.versions.items():
        page_of = yield from Read(stream, version + 1, PAGE, backwards=True)
        brought += [Entry.of(event) for event in page_of.events if event.append_id == which]
    return min(brought, key=lambda entry: entry.position, default=None)


@program
def feed_entries(
    after: Cursor = START,
    limit: int = PAGE,
    prefix: str = "",
    types: frozenset[str] | None = None,
    all_streams: bool = False,
) -> Do[ReadFeed, tuple[list[Entry], Cursor, Cursor]]:
    """One page of the feed, the cursor to go on from, and the end of the feed.

    The arguments are those of ReadFeed.
    """
    page = yield from ReadFeed(after, limit, prefix, types, all_streams=all_streams)
    return [Entry.of(recorded) for recorded in page.events], page.next, page.end


class Counting:
    """The streams and the types of the events of a feed, counted page by page.

    It holds a few hundred bytes for each stream.
    """

    def __init__(self) -> None:
        self._streams: dict[str, list[int]] = {}
        self._events: Counter[tuple[str, int]] = Counter()
        self._bytes: Counter[tuple[str, int]] = Counter()

    def add(self, events: Iterable[Recorded[Any]]) -> None:
        """Counts some more events of the feed, which come in its order."""
        for recorded in events:
            _, stream, version, kind, at, data, *_ = recorded.record
            known = self._streams.setdefault(stream, [version, at, at])
            known[0], known[2] = version, at
            key = kind.type, kind.schema
            self._events[key] += 1
            self._bytes[key] += len(data)

    def streams(self) -> Iterator[StreamSummary]:
        """The streams in the order of their ids."""
        for stream in sorted(self._streams):
            version, first, last = self._streams[stream]
            yield StreamSummary(stored_id(stream), version, _time(first), _time(last))

    def types(self) -> Iterator[TypeSummary]:
        """The types, the most frequent first."""
        for (name, schema), number in self._events.most_common():
            yield TypeSummary(name, schema, number, self._bytes[name, schema])


@program
def count(
    counting: Counting, after: Cursor = START, prefix: str = "", all_streams: bool = False
) -> Do[ReadFeed, tuple[Cursor, Cursor]]:
    """Counts one page of the feed; answers the cursor to go on from, and the end of the feed."""
    page = yield from ReadFeed(after, PAGE, prefix, all_streams=all_streams)
    counting.add(page.events)
    return page.next, page.end


@attrs.frozen
class Effect:
    """An event, and the events that say that it caused them."""

    entry: Entry
    effects: tuple[Effect, ...]


class Tracing:
    """The events of one correlation, found in a feed page by page.

    It holds the events that it has found.
    """

    def __init__(self, correlation_id: str) -> None:
        self._correlation_id = correlation_id
        self._found: dict[str, Entry] = {}

    def add(self, events: Iterable[Recorded[Any]]) -> None:
        """Looks at some more events of the feed, which come in its order.

        An event whose own id is the correlation's begins it, though it does not say so.
        """
        wanted = self._correlation_id
        for recorded in events:
            is_first = str(recorded.id) == wanted
            if is_first or recorded.metadata.get("correlation_id") == wanted:
                entry = Entry.of(recorded)
                self._found[str(entry.id)] = entry

    def roots(self) -> tuple[Effect, ...]:
        """The trees of causes and effects: their first events have causes that are not here, or none.

        Raises ValueError for a tree of more than 300 events below each other.
        """
        children: dict[str | None, list[Entry]] = {}
        for entry in self._found.values():
            cause = entry.metadata.get("causation_id")
            is_here = cause in self._found and self._found[cause].position < entry.position
            children.setdefault(cause if is_here else None, []).append(entry)

        def made(entry: Entry, depth: int) -> Effect:
            if depth > _DEEPEST:
                raise ValueError(
                    f"the effects go on for more than {_DEEPEST} events: show them by tail"
                )
            below = children.get(str(entry.id), ())
            return Effect(entry, tuple(made(each, depth + 1) for each in below))

        return tuple(made(entry, 1) for entry in children.get(None, ()))


_DEEPEST: Final = 300


@program
def trace(tracing: Tracing, after: Cursor = START) -> Do[ReadFeed, tuple[Cursor, Cursor]]:
    """Looks at one page of the feed; answers the cursor to go on from, and the end of the feed."""
    page = yield from ReadFeed(after, PAGE, all_streams=True)
    tracing.add(page.events)
    return page.next, page.end


def _time(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
