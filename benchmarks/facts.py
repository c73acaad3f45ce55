"""What all systems are given: events, keys, and how many of them."""

from __future__ import annotations

import datetime
from functools import cache
from uuid import NAMESPACE_URL, UUID, uuid5

import attrs

from eventsrc import event

_FIRST = datetime.datetime(2026, 11, 23, 8, 30, 15, 123456, tzinfo=datetime.UTC)


@event("benchmark.renamed")
class Renamed:
    """The event of all benchmarks: about 105 bytes of JSON."""

    id: UUID
    name: str
    at: datetime.datetime


@attrs.frozen
class Layout:
    """How many events a database holds at first: so many streams, with so many events each.

    at_once: how many events of a stream stand together in the feed.
    """

    streams: int
    each: int
    at_once: int = 1

    @property
    def events(self) -> int:
        """How many events that are."""
        return self.streams * self.each

    def turns(self) -> list[tuple[range, int]]:
        """The order of the feed: the versions that a stream gets before it is the next one's turn."""
        steps = range(0, self.each, self.at_once)
        return [
            (range(first + 1, min(first + self.at_once, self.each) + 1), stream)
            for first in steps
            for stream in range(self.streams)
        ]


@cache
def key(stream: int) -> UUID:
    """The key of a stream: the same in each run, and scattered."""
    return uuid5(NAMESPACE_URL, f"https://eventsrc.example/{stream}")


def moment(version: int) -> datetime.datetime:
    """When the event with this version happened."""
    return _FIRST + datetime.timedelta(seconds=version, microseconds=version * 7 % 1000)


def renamed(stream: int, version: int) -> Renamed:
    """The event at a version of a stream."""
    return Renamed(key(stream), f"Homer {version % 1000}", moment(version))
