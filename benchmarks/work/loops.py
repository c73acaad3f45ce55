"""What is done with any log, in a file or in memory, once it is open."""

from __future__ import annotations

import random
from collections.abc import Sequence
from time import perf_counter

from benchmarks.facts import Layout
from benchmarks.rounds import Sample
from benchmarks.systems import Log


def append_ones(log: Log, layout: Layout, count: int, known: int = 0) -> Sample:
    """Appends of one event each, to streams that exist, at the version that each is at.

    known: to so many streams, which have been appended to just before; if 0, to any.
    """
    versions = dict.fromkeys(range(layout.streams), layout.each)
    dice = random.Random(1)
    streams: Sequence[int] = range(layout.streams)
    if known:
        streams = dice.sample(streams, min(known, layout.streams))
        for stream in streams:
            log.append(stream, versions[stream], log.events(stream, versions[stream] + 1, 1))
            versions[stream] += 1
    jobs = []
    for stream in dice.choices(streams, k=count):
        jobs.append((stream, versions[stream], log.events(stream, versions[stream] + 1, 1)))
        versions[stream] += 1
    latencies = []
    for stream, version, events in jobs:
        began = perf_counter()
        log.append(stream, version, events)
        latencies.append(perf_counter() - began)
    return Sample(count, sum(latencies), latencies)


def append_hundreds(log: Log, count: int) -> Sample:
    """Appends of a hundred events each, every one to a new stream."""
    jobs = [(stream, log.events(stream, 1, 100)) for stream in range(count)]
    began = perf_counter()
    for stream, events in jobs:
        log.append(stream, 0, events)
    return Sample(count * 100, perf_counter() - began)


def calls(log: Log, layout: Layout, count: int) -> Sample:
    """Service calls, each to another stream."""
    latencies = []
    for stream in random.Random(1).sample(range(layout.streams), min(count, layout.streams)):
        began = perf_counter()
        log.call(stream)
        latencies.append(perf_counter() - began)
    return Sample(len(latencies), sum(latencies), latencies)


def read_streams(log: Log, layout: Layout, count: int) -> Sample:
    """Folds of so many streams, decoded."""
    streams = random.Random(1).choices(range(layout.streams), k=count)
    log.read(streams[0])
    began = perf_counter()
    found = sum(log.read(stream) for stream in streams)
    seconds = perf_counter() - began
    assert found == count * layout.each
    return Sample(found, seconds)


def scan(log: Log, layout: Layout) -> Sample:
    """All events in the order of the feed, decoded, in pages of a thousand."""
    began = perf_counter()
    found = log.scan()
    seconds = perf_counter() - began
    assert found == layout.events
    return Sample(found, seconds)
