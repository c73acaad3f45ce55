"""What stores in a file do: append, read, follow the feed, serve, keep a view."""

from __future__ import annotations

import random
from collections.abc import Sequence
from time import perf_counter

from benchmarks.facts import Layout
from benchmarks.places import Places, opened
from benchmarks.rounds import Budget, Sample, Work
from benchmarks.systems import System
from benchmarks.work import scaled


def _streams(scale: float) -> int:
    return scaled(10_000, scale, 5)


def append_one(system: System, places: Places, scale: float) -> Sample:
    """Appends of one event each, to streams that exist, at the version that each is at."""
    layout = Layout(_streams(scale), 1)
    chosen = _chosen(layout.streams, scaled(3_000, scale))
    versions = dict.fromkeys(range(layout.streams), 1)
    latencies = []
    with places.copy(system, layout) as log:
        jobs = []
        for stream in chosen:
            jobs.append((stream, versions[stream], log.events(stream, versions[stream] + 1, 1)))
            versions[stream] += 1
        for stream, version, events in jobs:
            began = perf_counter()
            log.append(stream, version, events)
            latencies.append(perf_counter() - began)
    return Sample(len(latencies), sum(latencies), latencies)


def append_hundred(system: System, places: Places, scale: float) -> Sample:
    """Appends of a hundred events each, every one to a new stream."""
    count = scaled(300, scale)
    with places.copy(system) as log:
        jobs = [(stream, log.events(stream, 1, 100)) for stream in range(count)]
        began = perf_counter()
        for stream, events in jobs:
            log.append(stream, 0, events)
        return Sample(count * 100, perf_counter() - began)


def service_call(system: System, places: Places, scale: float) -> Sample:
    """Calls that load a stream of ten events, decide, and append one; each of another stream."""
    layout = Layout(_streams(scale), 10)
    chosen = random.Random(1).sample(
        range(layout.streams), min(scaled(2_000, scale, 2), layout.streams)
    )
    latencies = []
    with places.copy(system, layout) as log:
        for stream in chosen:
            began = perf_counter()
            log.call(stream)
            latencies.append(perf_counter() - began)
    return Sample(len(latencies), sum(latencies), latencies)


def read_thousand(system: System, places: Places, scale: float) -> Sample:
    """Folds of streams of a thousand events, decoded, which were appended a hundred at a time."""
    layout = Layout(scaled(100, scale), 1_000, at_once=100)
    chosen = _chosen(layout.streams, layout.streams)
    with opened(system, places.filled(system, layout)) as log:
        log.read(chosen[0])
        began = perf_counter()
        found = sum(log.read(stream) for stream in chosen)
        seconds = perf_counter() - began
    assert found == layout.events
    return Sample(found, seconds)


def feed(system: System, places: Places, scale: float) -> Sample:
    """All events of many streams in the order of the feed, decoded, in pages of a thousand."""
    layout = Layout(_streams(scale), 20)
    with opened(system, places.filled(system, layout)) as log:
        began = perf_counter()
        found = log.scan()
        seconds = perf_counter() - began
    assert found == layout.events
    return Sample(found, seconds)


def view(system: System, places: Places, scale: float) -> Sample:
    """A new view brought up to date from the feed, exactly once, in pages of a thousand events.

    Peers commit event by event and get a tenth of the work.
    """
    layout = Layout(_streams(scale), 1 if system.kind == "peer" else 10)
    with opened(system, places.filled(system, layout)) as log, places.folder() as folder:
        began = perf_counter()
        found = log.synchronise(folder)
        seconds = perf_counter() - began
    assert found == layout.events
    return Sample(found, seconds)


def works(systems: Sequence[System]) -> list[Work]:
    """All of these, for the systems that keep files."""
    able = tuple(system for system in systems if system.open is not None)
    plain, fast = "eventsrc", "eventsrc fast"
    share = {plain: Budget(of_raw=0.75), fast: Budget(of_raw=0.75)}
    return [
        Work(
            "sqlite/append-1",
            "append 1",
            "events/s",
            append_one,
            able,
            {plain: Budget(of_raw=0.85), fast: Budget(of_raw=0.85)},
        ),
        Work(
            "sqlite/call",
            "service call: load 10, decide, append",
            "calls/s",
            service_call,
            able,
            {plain: Budget(of_raw=0.75, of_peer=2), fast: Budget(of_raw=0.75, of_peer=2)},
        ),
        Work("sqlite/append-100", "append 100 per call", "events/s", append_hundred, able, share),
        Work(
            "sqlite/read",
            "read streams of 1 000, decoded",
            "events/s",
            read_thousand,
            able,
            {plain: Budget(of_peer=1.5), fast: Budget(of_peer=3)},
        ),
        Work(
            "sqlite/feed",
            "feed, decoded",
            "events/s",
            feed,
            able,
            {plain: Budget(of_peer=2), fast: Budget(of_peer=4)},
        ),
        Work(
            "sqlite/view",
            "view sync, exactly once",
            "events/s",
            view,
            able,
            {plain: Budget(of_peer=20), fast: Budget(of_peer=20)},
        ),
    ]


def _chosen(streams: int, count: int) -> list[int]:
    """Streams in a random order that is the same each time."""
    dice = random.Random(1)
    return [dice.randrange(streams) for _ in range(count)]
