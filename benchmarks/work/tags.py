"""What tags cost: an append of an event with two tags, and one on a boundary, beside a plain one.

Events are of one of many courses and of one of many students. An append that depends on a boundary
expects that nothing came of one course or of one student since some events before; nothing did.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Literal

import attrs

from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work
from benchmarks.systems import System
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, scaled
from eventsrc import Append, AppendAll, SqliteStore, StreamAppend, StreamId, Success, event
from eventsrc.events.tags import Tag, about
from eventsrc.stores.tags import AppendIf, Unchanged

BUDGETS = {"sqlite": 1.18, "postgres": 1.25}
"""How much longer an append that depends on a boundary may take than a plain one."""

GROWTH = 1.3
"""How much longer it may take in a large store."""

_COURSE = Tag("course", key=int)
_STUDENT = Tag("student", key=int)
_SMALL, _LARGE = 10_000, 1_000_000
_BEHIND = 3
"""How many events have come since the boundary was read, of others."""


@event("benchmark.joined", tags={"course": _COURSE, "who": _STUDENT})
class Joined:
    """The event with tags."""

    course: int
    who: int
    note: str


@event("benchmark.noted")
class Noted:
    """The same without."""

    course: int
    who: int
    note: str


@attrs.frozen
class Way:
    """How an event is appended, and to a store of how many."""

    name: str
    kind: Literal["plain", "tagged", "conditional"]
    events: int = _SMALL


_WAYS = (
    Way("plain", "plain"),
    Way("tagged", "tagged"),
    Way("conditional", "conditional"),
)
_SIZES = (Way("small", "conditional"), Way("large", "conditional", _LARGE))


def part(systems: Sequence[System]) -> Part:
    """These works, of eventsrc alone."""
    places = ["sqlite"]
    if any(system.open_postgres is not None for system in systems):
        places.append("postgres")
    works = [
        Work(f"tags/{place}{key}", f"{name}, {place}", "events/s", _measure(place), ways)
        for place in places
        for key, name, ways in (
            ("", "append 1, with two tags, and on a boundary of two items", _WAYS),
            ("-growth", "append 1 on a boundary, among 10 000 or 1 000 000 events", _SIZES),
        )
    ]
    return Part("Tags", works, _table)


def _table(results: Sequence[Result]) -> Iterator[str]:
    heads = ("work", "of which", "takes, of what it is compared with", "budget", "met?")
    yield from markdown(heads, (line for result in results for line in _lines(result)))


def _lines(result: Result) -> Iterator[tuple[str, ...]]:
    compared: list[tuple[str, str, float | None]]
    if result.work.key.endswith("-growth"):
        compared = [("large", "small", GROWTH)]
    else:
        place = result.work.key.partition("/")[2]
        compared = [("tagged", "plain", None), ("conditional", "plain", BUDGETS[place])]
    for name, other, budget in compared:
        takes = 1 / result.ratio(name, other)
        met = ("", "") if budget is None else (f"≤ {budget}", yes_or_no(takes <= budget))
        what = f"{name}, {number(result.speed(name))} {result.work.unit}"
        yield result.work.name, what, f"{takes:.2f}", *met


def _measure(place: str) -> Any:
    def measure(way: Way, places: Places, scale: float) -> Sample:
        with _store(place, places) as store:
            _fill(store, scaled(way.events, scale, 100))
            return _append(store, way, scaled(3_000, scale, 2))

    return measure


@contextmanager
def _store(place: str, places: Places) -> Iterator[Any]:
    if place == "sqlite":
        with places.folder() as folder, SqliteStore(folder / "store.db") as store:
            yield store
        return
    from eventsrc.postgres import PostgresStore

    with (
        places.postgres.copy(System("eventsrc", "eventsrc", "eventsrc", None)) as address,
        PostgresStore(address, timeout=60) as postgres,
    ):
        yield postgres


def _fill(store: Any, events: int) -> None:
    for first in range(0, events, 1_000):
        some = range(first, min(first + 1_000, events))
        joined = tuple(_joined(Joined, number, events) for number in some)
        assert isinstance(store.run(Append(StreamId(f"before/{first}"), joined)), Success)


def _joined(made: type, number: int, events: int) -> Any:
    return made(number % max(events // 100, 1), number // 10, "x" * 60)


def _append(store: Any, way: Way, times: int) -> Sample:
    chance = random.Random(way.events)
    stream = StreamId("measured")
    made = Noted if way.kind == "plain" else Joined
    new = range(10_000_000, 10_000_000 + times)
    parts = [StreamAppend(stream, (made(number, number, "x" * 60),)) for number in new]
    end = store.run(AppendAll(tuple(parts[:1]))).unwrap().cursor
    latencies: list[float] = []
    for nth, asked in enumerate(parts[1:]):
        op: Any = Append(stream, asked.events)
        if way.kind == "conditional":
            of = chance.randrange(way.events)
            boundary = about(_COURSE[of], of=Joined) | about(_STUDENT[of], of=Joined)
            seen = attrs.evolve(end, position=end.position + max(nth - _BEHIND, 0))
            op = AppendIf((asked,), (Unchanged(boundary, seen),))
        began = perf_counter()
        store.run(op).unwrap()
        latencies.append(perf_counter() - began)
    return Sample(len(latencies), sum(latencies), latencies)
