"""Splitting a stream into several, and merging several into one: programs, and what ends the old ones.

No event is changed or moved: those of the old streams stay, and are appended again to the new ones,
with `origin` in their metadata. In the same append each old stream ends with an event that points on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, TypeAlias, overload

import attrs
from returns.result import Failure

from eventsrc.events.event import Opaque, own_event
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter
from eventsrc.programs.program import Do, Outcome, gather_all, program
from eventsrc.stores.metadata import LONGEST
from eventsrc.stores.operations import (
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Conflict,
    Expect,
    Expected,
    FindAppend,
    NotAppended,
    Read,
    Rejected,
    StoreOp,
    StreamAppend,
    is_met,
)
from eventsrc.stores.tags import APPENDS, AnyAppend, BoundaryChanged, TagOp, parts_of

SplitOp: TypeAlias = Read | AppendAll
"""The operations of splitting and merging."""

_PAGE: Final = 1000
_TRIES: Final = 100
"""The most times that an append tries again which others have overtaken."""


@own_event("stream.ended")
class Ended:
    """The last event of a stream that was split, or merged with others.

    into: the streams that have its events.
    """

    into: tuple[str, ...]


@program
def split(
    stream: StreamId, by: Callable[[Recorded[Any]], StreamId]
) -> Do[SplitOp, Outcome[Appended, NotAppended]]:
    """Splits a stream into new ones, in one append: all of it is done, or nothing.

    by: the new stream that an event goes to; it must answer the same for the same event.
    Each new stream has its events in their order. The old one ends with `Ended`, at the version that
    was read: if others append to it meanwhile that is a Conflict, and to be tried again. The new
    streams must have no events yet. The metadata of the old events stay with them; `origin` says where.
    Raises ValueError for a stream that has no events or has ended, or that would go into itself.
    """
    events = yield from _all_of(stream)
    parts: dict[StreamId, list[Opaque]] = {}
    for event in events:
        parts.setdefault(by(event), []).append(event.opaque())
    if stream in parts:
        raise ValueError(f"{stream} would go into itself: choose new streams for all of its events")
    appends = [StreamAppend(to, tuple(some), NO_STREAM) for to, some in parts.items()]
    ended = StreamAppend(stream, (Ended(tuple(parts)),), len(events))
    return (yield from AppendAll((*appends, ended), metadata={"origin": _origin([stream])}))


@program
def merge(streams: Sequence[StreamId], into: StreamId) -> Do[SplitOp, Outcome[Appended, NotAppended]]:
    """Merges streams into a new one, in one append: all of it is done, or nothing.

    The new stream has their events in the order of the feed, in which each stream keeps its own.
    Otherwise as `split`. Raises ValueError, too, for a stream that is named twice.
    """
    if len({*streams}) < len(streams) or into in streams or not streams:
        raise ValueError("the streams to be merged must be several, each once, and not the new one")
    found = yield from gather_all([_all_of(stream) for stream in streams])
    merged = sorted((event for events in found for event in events), key=lambda event: event.position)
    new = StreamAppend(into, tuple(event.opaque() for event in merged), NO_STREAM)
    ended = [
        StreamAppend(stream, (Ended((into,)),), len(events))
        for stream, events in zip(streams, found, strict=True)
    ]
    return (yield from AppendAll((new, *ended), metadata={"origin": _origin(streams)}))


@overload
def refusing_ended(store: Interpreter[StoreOp | TagOp]) -> Interpreter[StoreOp | TagOp]: ...
@overload
def refusing_ended(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    store: Interpreter[StoreOp],
) -> Interpreter[StoreOp]: ...
@overload
def refusing_ended(store: AsyncInterpreter[StoreOp | TagOp]) -> AsyncInterpreter[StoreOp | TagOp]: ...
@overload
def refusing_ended(store: AsyncInterpreter[StoreOp]) -> AsyncInterpreter[StoreOp]: ...
def refusing_ended(store: AsyncInterpreter[Any]) -> AsyncInterpreter[Any]:
    """A store that refuses appends to streams that were split or merged, and says where they went.

    Such an append is Rejected. That costs a read of the last event for each stream that is appended to;
    what was read is a condition of the append, so that a stream which ends meanwhile takes none. An
    append with an exact version needs none of this: the version at which a stream ended is a Conflict.
    """
    return store.around(_unless_ended, only=APPENDS)


@program
def _unless_ended(
    op: AnyAppend,
) -> Do[Read | FindAppend | AnyAppend, Outcome[Appended, NotAppended]]:
    parts = parts_of(op)
    for tries in count():
        pages = yield from gather_all([Read(part.stream, 0, 1, True) for part in parts])
        for page, part in zip(pages, parts, strict=True):
            if page.events and page.events[0].type == _ENDED:
                if op.append_id is not None and (yield from FindAppend(op.append_id)) is not None:
                    return (yield from op)  # it was stored before the end, and is answered again
                went: Ended = page.events[0].data
                events = f"its events are in {', '.join(went.into)}"
                return Failure(Rejected(f"{part.stream} has ended: {events}"))
        exact = tuple(
            attrs.evolve(part, expected=page.head) if _is_open(part.expected, page.head) else part
            for page, part in zip(pages, parts, strict=True)
        )
        outcome = yield from (
            Append(op.stream, op.events, exact[0].expected, op.append_id, op.metadata, op.request)
            if isinstance(op, Append)
            else attrs.evolve(op, appends=exact)  # type: ignore[misc]
        )
        moved = _overtaken(outcome, parts)
        if not moved or tries == _TRIES:
            return outcome
    raise AssertionError("count() goes on for ever")


def _is_open(expected: Expected, head: int) -> bool:
    """Whether a condition that holds at a version would hold at later ones too."""
    return isinstance(expected, Expect) and is_met(expected, head)


def _overtaken(outcome: Outcome[Appended, NotAppended], parts: Sequence[StreamAppend]) -> bool:
    """Whether an append failed since a stream went on that it demanded nothing more of."""
    conflict = outcome.failure() if isinstance(outcome, Failure) else None
    if not isinstance(conflict, Conflict) or isinstance(conflict, BoundaryChanged):
        return False
    return any(
        part.stream == conflict.stream and _is_open(part.expected, conflict.actual) for part in parts
    )


def _all_of(stream: StreamId) -> Do[Read, list[Recorded[Any]]]:
    """All events of a stream that has some and has not ended."""
    found: list[Recorded[Any]] = []
    while True:
        page = yield from Read(stream, len(found), _PAGE)
        found += page.events
        if page.is_last:
            break
    if not found:
        raise ValueError(f"{stream} has no events")
    if found[-1].type == _ENDED:
        raise ValueError(f"{stream} has ended: its events are in {', '.join(found[-1].data.into)}")
    return found


def _origin(streams: Sequence[StreamId]) -> str:
    text = " ".join(streams)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


_ENDED: Final = "eventsrc/stream.ended"
