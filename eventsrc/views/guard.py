"""The guard: which of the events that arrive a view must apply.

A view remembers, for each stream, the version it has applied, and moves it from n-1 to n in the same
transaction in which it applies event n. So whatever delivers the events, and however often, in whatever
order, each takes effect exactly once and in its order: what comes again is ignored, what comes early
shows a gap, to be filled from the store, and what comes after an event that could not be applied is
held back. (`transitionSeq` in Shek, Event sourcing and CQRS from the trenches.)

Mostly, all that arrives is next: `moves_of` says how the guards move then, for a database to try, which
need not be asked first where they are. If one is elsewhere, `sort_out` decides about each event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId


@attrs.frozen
class Gap:
    """Events are missing: a view has applied a stream up to a version, and later events came.

    came: the version of the last of them.
    """

    stream: StreamId
    applied: int
    came: int


@attrs.frozen
class Sorted:
    """The decision about the events that came."""

    to_apply: tuple[Recorded[Any], ...]
    ignored: int
    """The number that had been applied before."""
    gaps: tuple[Gap, ...]
    """One for each stream of which events are missing; none of its events after the gap is applied."""
    applied: Mapping[str, int]
    """The versions that the streams of `to_apply` have when it is applied."""
    held: Mapping[str, int]
    """The last versions that came of the parked streams."""


@attrs.frozen
class Moves:
    """The moves of guards if each event that came is the next of its stream."""

    before: Mapping[str, int]
    """The versions that must be applied of the streams."""
    after: Mapping[str, int]
    """The versions that are applied then."""


def moves_of(events: Iterable[Recorded[Any]]) -> Moves | None:
    """The moves of the guards if all of these events are next; None if they cannot be."""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for event in events:
        record = event.record
        stream, version = record.stream, record.version
        at = after.get(stream)
        if at is None:
            before[stream] = version - 1
        elif version != at + 1:
            return None
        after[stream] = version
    return Moves(before, after)


def sort_out(
    applied: Mapping[str, int], events: Iterable[Recorded[Any]], parked: Collection[str] = ()
) -> Sorted:
    """Decides about each event.

    applied: the versions that have been applied; 0 for streams that it does not name.
    parked: the streams of which nothing is applied for now.
    """
    to_apply: list[Recorded[Any]] = []
    ignored = 0
    early: dict[StreamId, int] = {}
    moved: dict[str, int] = {}
    held: dict[str, int] = {}
    for event in events:
        record = event.record
        stream, version = record.stream, record.version
        at = moved.get(stream)
        if at is None:
            at = applied.get(stream, 0)
        if version <= at:
            ignored += 1
        elif parked and stream in parked:
            held[stream] = max(version, held.get(stream, 0))
        elif version == at + 1:
            moved[stream] = version
            to_apply.append(event)
        else:
            early[event.stream] = max(version, early.get(event.stream, 0))
    gaps = tuple(
        Gap(stream, at, came)
        for stream, came in early.items()
        if (at := moved.get(stream, applied.get(stream, 0))) < came
    )
    return Sorted(tuple(to_apply), ignored, gaps, moved, held)
