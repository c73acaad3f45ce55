"""What stores in Postgres do: append, serve, read, follow the feed, keep a view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter

from benchmarks.databases import open_postgres
from benchmarks.facts import Layout
from benchmarks.places import Places
from benchmarks.rounds import Sample, Work
from benchmarks.systems import System
from benchmarks.table import Budget, beside_others
from benchmarks.work import Part, loops, scaled

BUDGETS = {
    "postgres/append-1": Budget(of_raw=0.78),
    "postgres/call": Budget(of_raw=0.68, of_peer=2),
    "postgres/append-100": Budget(of_raw=0.7),
    "postgres/read": Budget(of_peer=1.2, fast_of_peer=2.5),
    "postgres/feed": Budget(of_peer=2, fast_of_peer=4),
    "postgres/view": Budget(of_peer=30),
}


def part(systems: Sequence[System]) -> Part:
    """These works, for the systems that know Postgres."""
    able = [system for system in systems if system.open_postgres is not None]
    with_views = [system for system in able if not system.name.endswith("async")]
    works = [
        Work("postgres/append-1", "append 1", "events/s", append_one, able),
        Work("postgres/call", "service call: load 10, decide, append", "calls/s", call, able),
        Work("postgres/append-100", "append 100 per call", "events/s", append_hundred, able),
        Work("postgres/read", "read streams of 1 000, decoded", "events/s", read_thousand, able),
        Work("postgres/feed", "feed, decoded", "events/s", feed, able),
        Work("postgres/view", "view sync, exactly once", "events/s", view, with_views),
    ]
    return Part("Postgres", works if able else [], partial(beside_others, able, BUDGETS))


def append_one(system: System, places: Places, scale: float) -> Sample:
    """Appends of one event each, to some of many streams, which were appended to just before."""
    layout = Layout(_streams(scale), 1)
    with places.postgres.opened(system, layout) as log:
        return loops.append_ones(log, layout, scaled(3_000, scale, 2), known=scaled(1_000, scale))


def append_hundred(system: System, places: Places, scale: float) -> Sample:
    """Appends of a hundred events each."""
    with places.postgres.opened(system) as log:
        return loops.append_hundreds(log, scaled(300, scale))


def call(system: System, places: Places, scale: float) -> Sample:
    """Calls that load a stream of ten events, decide, and append one."""
    layout = Layout(_streams(scale), 10)
    with places.postgres.opened(system, layout) as log:
        return loops.calls(log, layout, scaled(2_000, scale, 2))


def read_thousand(system: System, places: Places, scale: float) -> Sample:
    """Folds of streams of a thousand events, which were appended a hundred at a time."""
    layout = Layout(scaled(100, scale), 1_000, at_once=100)
    with open_postgres(system, places.postgres.filled(system, layout)) as log:
        return loops.read_streams(log, layout, layout.streams)


def feed(system: System, places: Places, scale: float) -> Sample:
    """All events of many streams in the order of the feed."""
    layout = Layout(_streams(scale), 20)
    with open_postgres(system, places.postgres.filled(system, layout)) as log:
        return loops.scan(log, layout)


def view(system: System, places: Places, scale: float) -> Sample:
    """A new view in the same database brought up to date from the feed, exactly once.

    Peers commit event by event; they get a tenth of the work.
    """
    layout = Layout(_streams(scale), 1 if system.kind == "peer" else 10)
    with places.postgres.opened(system, layout) as log, places.folder() as folder:
        began = perf_counter()
        found = log.synchronise(folder)
        seconds = perf_counter() - began
    assert found == layout.events
    return Sample(found, seconds)


def _streams(scale: float) -> int:
    return scaled(10_000, scale, 5)
