"""Many who append to one Postgres at once: threads or tasks, in one process or in several.

Each appender has ten streams of its own, and a process is what this module is when it is run; a hot
stream is one that all append to, so that most find that others were faster.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.databases import open_postgres
from benchmarks.places import Places
from benchmarks.rounds import Sample, Work
from benchmarks.systems import Log, System
from benchmarks.table import Budget, beside_others
from benchmarks.work import Part, scaled
from benchmarks.work.concurrent import Jobs, at_once

BUDGETS: Final = {
    "postgres/threads-8": Budget(of_raw=0.75),
    "postgres/threads-64": Budget(of_raw=0.7),
    "postgres/tasks-8": Budget(of_raw=0.69),
    "postgres/tasks-64": Budget(of_raw=0.5),
    "postgres/hot-8": Budget(of_peer=3),
}

_STREAMS: Final = 10
_PROCESSES: Final = 4
_TOTALS: Final = {8: 4_000, 64: 12_800, 256: 25_600}


def part(systems: Sequence[System]) -> Part:
    """These works."""
    chosen = ("raw", "eventsrc", "eventsourcing")
    able = [one for one in systems if one.open_postgres is not None and one.name in chosen]
    for_tasks = [system for system in able if system.kind != "peer"]
    works = [
        Work(
            f"postgres/{kind}-{count}{'-in-4' if processes > 1 else ''}",
            f"append 1, {count} {kind}{f' in {processes} processes' if processes > 1 else ''}",
            "events/s",
            partial(_crowd, kind, count, processes),
            able if kind == "threads" else for_tasks,
        )
        for processes in (1, _PROCESSES)
        for kind in ("threads", "tasks")
        for count in _TOTALS
    ]
    hot = Work("postgres/hot-8", "append 1, 8 threads on one hot stream", "events/s", _hot, able)
    title = "Concurrent appends to Postgres (raw: one connection, statements shared)"
    return Part(title, [*works, hot] if able else [], partial(beside_others, able, BUDGETS))


def _crowd(
    kind: str, count: int, processes: int, system: System, places: Places, scale: float
) -> Sample:
    each = scaled(_TOTALS[count] // (5 if system.kind == "peer" else 1), scale, count) // count
    with places.postgres.copy(system) as address:
        if processes == 1:
            with open_postgres(system, address) as log:
                jobs = _jobs(log, range(count), each)
                latencies: list[float] = []
                seconds = _DO[kind](log, jobs, latencies)
            return Sample(count * each, seconds, latencies)
        with open_postgres(system, address):  # makes the tables
            pass
        return _in_processes(kind, count, each, processes, system, address)


def _jobs(log: Log, appenders: range, each: int) -> list[Jobs]:
    """What each of some appenders does."""
    return [
        [
            (stream, nth // _STREAMS, log.events(stream, nth // _STREAMS + 1, 1))
            for nth in range(each)
            for stream in [who * _STREAMS + nth % _STREAMS]
        ]
        for who in appenders
    ]


def _by_threads(log: Log, jobs: Sequence[Jobs], latencies: list[float]) -> float:
    def append(mine: Jobs) -> None:
        for stream, version, events in mine:
            began = perf_counter()
            log.append_beside(stream, version, events)
            latencies.append(perf_counter() - began)

    return at_once([partial(append, mine) for mine in jobs])


def _by_tasks(log: Log, jobs: Sequence[Jobs], latencies: list[float]) -> float:
    async def append(mine: Jobs) -> None:
        for stream, version, events in mine:
            began = perf_counter()
            await log.append_async(stream, version, events)
            latencies.append(perf_counter() - began)

    async def run() -> float:
        began = perf_counter()
        await asyncio.gather(*[append(mine) for mine in jobs])
        return perf_counter() - began

    return log.run(run())


_DO: Final = {"threads": _by_threads, "tasks": _by_tasks}


def _hot(system: System, places: Places, scale: float) -> Sample:
    """Appends by eight threads to one stream, each again until it has come first."""
    each = scaled(250 // (5 if system.kind == "peer" else 1), scale, 2)
    latencies: list[float] = []
    with places.postgres.opened(system) as log:

        def push() -> None:
            for _ in range(each):
                began = perf_counter()
                log.push(0)
                latencies.append(perf_counter() - began)

        log.push(0)
        seconds = at_once([push] * 8)
        assert log.read(0) == 8 * each + 1
    return Sample(8 * each, seconds, latencies)


def _in_processes(
    kind: str, count: int, each: int, processes: int, system: System, address: str
) -> Sample:
    share = count // processes
    command = [sys.executable, "-m", __name__]
    root = Path(__file__).parents[2]
    children = []
    try:
        for nth in range(processes):
            asked = json.dumps([system.name, address, kind, nth * share, share, each])
            children.append(
                subprocess.Popen(
                    [*command, asked],
                    cwd=root,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            _line_of(children[-1])  # one after the other: the peer makes its functions as it opens
        began = perf_counter()
        for child in children:
            print(file=child.stdin, flush=True)
        found: list[dict[str, Any]] = [json.loads(_line_of(child)) for child in children]
        seconds = perf_counter() - began
        if any(child.wait(30) for child in children):
            raise RuntimeError("a process of appenders failed: see what it has printed")
    finally:
        for child in children:
            child.kill()
            child.communicate()
    latencies = [one for child in found for one in child["latencies"]]
    return Sample(processes * share * each, seconds, latencies)


def _line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("a process of appenders ended: see what it has printed")
    return line


def _child(name: str, address: str, kind: str, first: int, count: int, each: int) -> None:
    from benchmarks.entrants import entrants

    system = next(one for one in entrants() if one.name == name)
    with open_postgres(system, address) as log:
        jobs = _jobs(log, range(first, first + count), each)
        latencies: list[float] = []
        print("ready", flush=True)
        sys.stdin.readline()
        _DO[kind](log, jobs, latencies)
        print(json.dumps({"latencies": latencies}), flush=True)


if __name__ == "__main__":
    _child(*json.loads(sys.argv[1]))
