"""Many who append at once: threads and tasks that share a store, beside threads without one.

The raw row is always eight threads with a connection each, which is what SQLite offers by itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.facts import Layout
from benchmarks.places import Places, opened
from benchmarks.rounds import Sample, Work
from benchmarks.systems import Log, System
from benchmarks.table import beside_others
from benchmarks.work import Part, scaled

Jobs = Sequence[tuple[int, int, Sequence[Any]]]
"""Appends: stream, version, events."""

_RAW_THREADS = 8


def part(systems: Sequence[System]) -> Part:
    """These works."""
    able = [one for one in systems if one.kind == "peer" or one.name in ("raw", "eventsrc")]
    ours_and_raw = [system for system in able if system.kind != "peer"]
    threads = [
        Work(
            f"concurrent/threads-{count}",
            f"append 1, {count} threads",
            "events/s",
            partial(by_threads, count),
            able,
        )
        for count in (8, 64)
    ]
    tasks = [
        Work(
            f"concurrent/tasks-{count}",
            f"append 1, {count} tasks",
            "events/s",
            partial(by_tasks, count),
            ours_and_raw,
        )
        for count in (8, 64)
    ]

    title = "Concurrent appends to SQLite (raw: 8 threads, a connection each)"
    return Part(title, threads + tasks, partial(beside_others, able, {}))


def by_threads(count: int, system: System, places: Places, scale: float) -> Sample:
    """Appends of one event each by so many threads, each to streams of its own."""
    if system.kind == "raw":
        return _by_raw_threads(system, places, scale)
    with places.copy(system) as log:
        jobs = _jobs(log, count, scale)
        latencies: list[float] = []
        work = [partial(_append, log, mine, latencies) for mine in jobs]
        return Sample(sum(map(len, jobs)), at_once(work), latencies)


def by_tasks(count: int, system: System, places: Places, scale: float) -> Sample:
    """Appends of one event each by so many tasks, each to streams of its own."""
    if system.kind == "raw":
        return _by_raw_threads(system, places, scale)
    latencies: list[float] = []

    async def append(log: Log, jobs: Jobs) -> None:
        for stream, version, events in jobs:
            began = perf_counter()
            await log.append_async(stream, version, events)
            latencies.append(perf_counter() - began)

    async def run(log: Log, jobs: Sequence[Jobs]) -> float:
        began = perf_counter()
        await asyncio.gather(*[append(log, mine) for mine in jobs])
        return perf_counter() - began

    with places.copy(system) as log:
        jobs = _jobs(log, count, scale)
        return Sample(sum(map(len, jobs)), asyncio.run(run(log, jobs)), latencies)


def _by_raw_threads(system: System, places: Places, scale: float) -> Sample:
    with places.folder() as folder:
        logs = [opened(system, folder) for _ in range(_RAW_THREADS)]
        jobs = _jobs(logs[0], _RAW_THREADS, scale)
        latencies: list[float] = []
        work = [partial(_append, log, mine, latencies) for log, mine in zip(logs, jobs, strict=True)]
        seconds = at_once(work)
        for log in logs:
            log.close()
    return Sample(sum(map(len, jobs)), seconds, latencies)


def _jobs(log: Log, count: int, scale: float) -> list[Jobs]:
    """What each of so many does."""
    each = scaled(4_000 if count <= _RAW_THREADS else 12_800, scale, count) // count
    layout = Layout(count * 100, 0)
    return [
        [
            (stream, turn // 100, log.events(stream, turn // 100 + 1, 1))
            for turn in range(each)
            if (stream := who + count * (turn % 100)) < layout.streams
        ]
        for who in range(count)
    ]


def _append(log: Log, jobs: Jobs, latencies: list[float]) -> None:
    for stream, version, events in jobs:
        began = perf_counter()
        log.append(stream, version, events)
        latencies.append(perf_counter() - began)


def at_once(work: Sequence[Callable[[], None]]) -> float:
    """Does each in a thread of its own, all at once; answers the seconds until the last is done."""
    start = threading.Barrier(len(work) + 1)
    errors: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        start.wait()
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in work]
    for thread in threads:
        thread.start()
    start.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    seconds = perf_counter() - began
    if errors:
        raise errors[0]
    return seconds
