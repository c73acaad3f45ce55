"""Footprints: what an operation reads and writes, and so which operations can be told apart by order.

Two operations are independent if neither writes what the other reads or writes: then no program can
tell which of them came first, and one of the two orders need not be run. (Mazurkiewicz, Trace theory,
1986; Godefroid, Partial-order methods for the verification of concurrent systems, 1996.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from eventsrc.events.event import EVENTS, EventTypeError
from eventsrc.events.stream_id import StreamId
from eventsrc.events.tags import BadTag, Boundary, TagValue
from eventsrc.programs.operation import Query
from eventsrc.programs.world import World
from eventsrc.stores.copying import EndCopy, GetIdentity, KeepRecords
from eventsrc.stores.operations import (
    AppendAll,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    RaiseEpoch,
    Read,
    ReadFeed,
    SaveSnapshot,
)
from eventsrc.stores.tags import APPENDS, AnyAppend, AppendIf, IndexTags, ReadTagged, parts_of
from eventsrc.streams.stream import Stream, Streams
from eventsrc.testing._scenarios.faults import goes_by_the_clock
from eventsrc.testing._scenarios.running import BadScenario
from eventsrc.testing._scenarios.simulation import Rows
from eventsrc.views.operations import GetApplied, GetLive, GetParked, GetProgress, ViewOp
from eventsrc.views.view import View

Place: TypeAlias = Any
"""A place that can be read and written, named by any value: a stream, or its id, a view, a name of your
own; a tag, for all events that have it. A text stands for no stream, though it be its name: that is
`StreamId("users/1")`."""

_NONE: Final[frozenset[Place]] = frozenset()


@attrs.frozen
class Footprint:
    """The places that an operation reads, and those that it writes."""

    reads: frozenset[Place] = _NONE
    writes: frozenset[Place] = _NONE


Footprints: TypeAlias = Mapping[type, Callable[[Any], Footprint]]
"""The functions that find the footprint of an operation, by its type."""

FEED: Final = "the feed"
"""The order of events of different streams, as a place."""

CLOCK: Final = "the clock"
"""The time of the store and the views, as a place: an hour passes there when a program is stalled."""

_UNKNOWN: Final = object()
"""The tags of an event whose declaration only the store's codec knows."""

EVERYTHING: Final = "everything"
"""A place that overlaps with all others."""

NOTHING: Final = Footprint()
_READS_ALL: Final = Footprint(reads=frozenset([EVERYTHING]))
_WRITES_ALL: Final = Footprint(writes=frozenset([EVERYTHING]))


def reads(*places: Place) -> Footprint:
    """The footprint of an operation that only reads; views stand for what is in them.

    Raises BadScenario for a family of streams: name those that are read.
    """
    return Footprint(reads=_places(places))


def writes(*places: Place) -> Footprint:
    """The footprint of an operation that writes, and may read, these places. Raises as `reads`."""
    return Footprint(writes=_places(places))


def place_of(view: View[Any]) -> Place:
    """The place that stands for a view, all its versions together."""
    return "view", view.name


def _places(places: tuple[Place, ...]) -> frozenset[Place]:
    return frozenset(map(_place, places))


def _place(place: Any) -> Place:
    if isinstance(place, Streams):
        raise BadScenario(f"{place!r} are many streams: name those that the operation reads and writes")
    if isinstance(place, View):
        return place_of(place)
    return place.id if isinstance(place, Stream) else place


def are_dependent(one: Footprint, other: Footprint) -> bool:
    """Whether the order of two operations with these footprints can matter."""
    if one.writes and _overlap(one.writes, other.writes, other.reads):
        return True
    return bool(other.writes) and _overlap(other.writes, one.reads, _NONE)


def _overlap(written: frozenset[Place], other: frozenset[Place], more: frozenset[Place]) -> bool:
    if not written.isdisjoint(other) or not written.isdisjoint(more):
        return True
    if EVERYTHING in written:
        return bool(other or more)
    return EVERYTHING in other or EVERYTHING in more


class Reader:
    """Finds the footprints of operations.

    known: those of an application's own operations. One that is not known is taken to read everything
        if it is a Query, and to write everything if not.
    ordered: whether appends to different streams are told apart by their order in the feed. As long as
        nobody reads the feed, they need not be.
    timed: whether programs may be stalled, which moves the clock of the store and the views.
    is_feed_read: whether an operation was noted that sees that order, without being told it apart.

    Who reads a boundary of one tag sees the order of the events that have it, and no other. What has
    several items, or one without tags, sees that of all events.
    """

    def __init__(self, known: Footprints, *, ordered: bool, timed: bool = False) -> None:
        self.ordered = ordered
        self.timed = timed
        self.is_feed_read = False
        self._are_tags_read = self._are_tags_unknown = False
        self._found: dict[type, Callable[[Any], Footprint]] = {}
        self._known = {**_KNOWN, **known}

    def __call__(self, op: Any) -> Footprint:
        """The footprint of an operation.

        Raises FeedIsRead if order matters after all, and BadScenario if what is given makes none.
        """
        kind = type(op)
        find = self._found.get(kind)
        if find is None:
            find = self._found[kind] = self._of(kind)
        found = find(op)
        if type(found) is not Footprint:
            raise BadScenario(
                f"the footprint of {op!r:.200} is {found!r:.200}: make it by `reads` or `writes`"
            )
        if self.timed and goes_by_the_clock(op):
            found = Footprint(found.reads | {CLOCK}, found.writes)
        self._are_tags_read |= any(isinstance(place, TagValue) for place in found.reads)
        if _UNKNOWN in found.writes:
            self._are_tags_unknown = True
            found = Footprint(found.reads, found.writes - {_UNKNOWN})
        if self.ordered:
            if any(isinstance(place, StreamId | TagValue) for place in found.writes):
                found = Footprint(found.reads, found.writes | {FEED})
            if any(isinstance(place, TagValue) for place in found.reads):
                found = Footprint(found.reads | {FEED}, found.writes)
        elif (
            (self._are_tags_read and self._are_tags_unknown)
            or FEED in found.reads
            or EVERYTHING in found.reads
            or EVERYTHING in found.writes
        ):
            raise FeedIsRead
        return found

    def note(self, op: Any) -> None:
        """Notes an operation by which a run is judged. (To raise here would be to raise in `holds`.)"""
        try:
            self(op)
        except FeedIsRead:
            self.is_feed_read = True

    def _of(self, kind: type) -> Callable[[Any], Footprint]:
        for base in kind.__mro__:
            if base in self._known:
                return self._known[base]
        whole = _READS_ALL if issubclass(kind, Query) else _WRITES_ALL
        return lambda _op: whole


class FeedIsRead(Exception):
    """An operation sees the order of events of different streams."""


def _of_append(op: AnyAppend) -> Footprint:
    written: set[Place] = set() if op.append_id is None else {op.append_id}
    read: set[Place] = set()
    for part in parts_of(op):
        written.add(part.stream)
        written |= _tags_of(part.events)
    if isinstance(op, AppendAll | AppendIf):
        read |= {condition.stream for condition in op.conditions}
    if isinstance(op, AppendIf):
        read.update(*(_of_boundary(asked.boundary) for asked in op.unchanged))
    return Footprint(frozenset(read), frozenset(written))


def _tags_of(events: Iterable[object]) -> set[Place]:
    """The tags of events, and whether there may be others."""
    found: set[Place] = set()
    for event in events:
        try:
            found.update(EVENTS.of(type(event)).tags_of(event))
        except EventTypeError:
            found.add(_UNKNOWN)
        except (BadTag, TypeError):  # the store refuses the event
            pass
    return found


def _of_boundary(boundary: Boundary) -> set[Place]:
    """The places that tell what is in a boundary, and in which order."""
    tags = {min(item.tags, key=str, default=FEED) for item in boundary.items}
    return tags if len(tags) < 2 else {*tags, FEED}


def _snapshot(stream: str, fold: str, version: int) -> Place:
    return "snapshot", stream, fold, version


def _reads_view(op: Any) -> Footprint:
    return reads(op.view)


def _writes_view(op: Any) -> Footprint:
    return writes(op.view)


_VIEW_OPS: Final[tuple[type, ...]] = ViewOp.__args__
_WORLD: Final[tuple[type, ...]] = World.__args__

_KNOWN: Final[dict[type, Callable[[Any], Footprint]]] = {
    **dict.fromkeys(APPENDS, _of_append),
    Read: lambda op: reads(op.stream),
    Head: lambda op: reads(op.stream),
    ReadFeed: lambda _op: reads(FEED),
    ReadTagged: lambda op: Footprint(reads=frozenset(_of_boundary(op.boundary))),
    IndexTags: lambda _op: writes(EVERYTHING),
    FindAppend: lambda op: reads(op.append_id),
    GetEpochs: lambda _op: reads(FEED),
    RaiseEpoch: lambda _op: writes(FEED),
    GetIdentity: lambda _op: reads(FEED),
    KeepRecords: lambda _op: writes(FEED),
    EndCopy: lambda _op: writes(FEED),
    LoadSnapshot: lambda op: reads(_snapshot(op.stream, op.fold, op.fold_version)),
    SaveSnapshot: lambda op: writes(
        _snapshot(op.snapshot.stream, op.snapshot.fold, op.snapshot.fold_version)
    ),
    **dict.fromkeys(_VIEW_OPS, _writes_view),
    **dict.fromkeys((GetProgress, GetApplied, GetParked, GetLive, Rows), _reads_view),
    **dict.fromkeys(_WORLD, lambda _op: NOTHING),
}
