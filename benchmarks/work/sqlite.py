"""What stores in a file do: append, serve, read, follow the feed, keep a view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter

from benchmarks.facts import Layout
from benchmarks.places import Places, opened
from benchmarks.rounds import Sample, Work
from benchmarks.systems import System
from benchmarks.table import Budget, beside_others
from benchmarks.work import Part, loops, scaled


def part(systems: Sequence[System]) -> Part:
    """These works, for the systems that keep files."""
    able = [system for system in systems if system.open is not None]
    works = [
        Work("sqlite/append-1", "append 1", "events/s", append_one, able),
        Work(
            "sqlite/append-1-cold",
            "append 1, to a stream not appended to before",
            "events/s",
            append_one_cold,
            able,
        ),
        Work("sqlite/call", "service call: load 10, decide, append", "calls/s", call, able),
        Work("sqlite/append-100", "append 100 per call", "events/s", append_hundred, able),
        Work("sqlite/read", "read streams of 1 000, decoded", "events/s", read_thousand, able),
        Work("sqlite/feed", "feed, decoded", "events/s", feed, able),
        Work("sqlite/view", "view sync, exactly once", "events/s", view, able),
    ]
    return Part("SQLite", works, partial(beside_others, able, BUDGETS))


BUDGETS = {
    "sqlite/append-1": Budget(of_raw=0.78, of_peer=1.2),
    "sqlite/call": Budget(of_raw=0.7, of_peer=1.15),
    "sqlite/append-100": Budget(of_raw=0.75, of_peer=1.2),
    "sqlite/read": Budget(of_peer=1.4, fast_of_peer=2.9),
    "sqlite/feed": Budget(of_peer=1.7, fast_of_peer=3),
    "sqlite/view": Budget(of_raw=0.55, of_peer=25),
}


def append_one(system: System, places: Places, scale: float) -> Sample:
    """Appends of one event each, to some of many streams, which were appended to just before."""
    layout = Layout(_streams(scale), 1)
    with places.copy(system, layout) as log:
        return loops.append_ones(log, layout, scaled(3_000, scale, 2), known=scaled(1_000, scale))


def append_one_cold(system: System, places: Places, scale: float) -> Sample:
    """Appends of one event each, to any of many streams; the store was opened just before."""
    layout = Layout(_streams(scale), 1)
    with places.copy(system, layout) as log:
        return loops.append_ones(log, layout, scaled(3_000, scale, 2))


def append_hundred(system: System, places: Places, scale: float) -> Sample:
    """Appends of a hundred events each."""
    with places.copy(system) as log:
        return loops.append_hundreds(log, scaled(300, scale))


def call(system: System, places: Places, scale: float) -> Sample:
    """Calls that load a stream of ten events, decide, and append one."""
    layout = Layout(_streams(scale), 10)
    with places.copy(system, layout) as log:
        return loops.calls(log, layout, scaled(2_000, scale, 2))


def read_thousand(system: System, places: Places, scale: float) -> Sample:
    """Folds of streams of a thousand events, which were appended a hundred at a time."""
    layout = Layout(scaled(100, scale), 1_000, at_once=100)
    with opened(system, places.filled(system, layout)) as log:
        return loops.read_streams(log, layout, layout.streams)


def feed(system: System, places: Places, scale: float) -> Sample:
    """All events of many streams in the order of the feed."""
    layout = Layout(_streams(scale), 20)
    with opened(system, places.filled(system, layout)) as log:
        return loops.scan(log, layout)


def view(system: System, places: Places, scale: float) -> Sample:
    """A new view brought up to date from the feed, exactly once, in pages of a thousand events.

    Peers commit event by event; they get a tenth of the work.
    """
    layout = Layout(_streams(scale), 1 if system.kind == "peer" else 10)
    with opened(system, places.filled(system, layout)) as log, places.folder() as folder:
        began = perf_counter()
        found = log.synchronise(folder)
        seconds = perf_counter() - began
    assert found == layout.events
    return Sample(found, seconds)


def _streams(scale: float) -> int:
    return scaled(10_000, scale, 5)
