"""What stores in memory do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.facts import Layout
from benchmarks.places import Places
from benchmarks.rounds import Sample, Work
from benchmarks.systems import System
from benchmarks.table import Budget, beside_others
from benchmarks.work import Part, loops, scaled

BUDGETS = {"memory/append-1": Budget(of_peer=1), "memory/read": Budget(of_peer=1)}


def part(systems: Sequence[System]) -> Part:
    """These works, for the systems that can do without files."""
    able = [system for system in systems if system.open_memory is not None]
    works = [
        Work("memory/append-1", "append 1", "events/s", append_one, able),
        Work("memory/read", "read streams of 1 000, decoded", "events/s", read_thousand, able),
        Work("memory/call", "service call: load 10, decide, append", "calls/s", call, able),
    ]
    return Part("In memory", works, partial(beside_others, able, BUDGETS))


def append_one(system: System, _: Places, scale: float) -> Sample:
    """Appends of one event each, at the version that the stream is at."""
    layout = Layout(scaled(10_000, scale, 5), 1)
    with system.open_memory() as log:  # type: ignore[misc]
        log.fill(layout)
        return loops.append_ones(log, layout, scaled(20_000, scale, 2))


def read_thousand(system: System, _: Places, scale: float) -> Sample:
    """Folds of streams of a thousand events."""
    layout = Layout(scaled(50, scale), 1_000, at_once=100)
    with system.open_memory() as log:  # type: ignore[misc]
        log.fill(layout)
        return loops.read_streams(log, layout, layout.streams)


def call(system: System, _: Places, scale: float) -> Sample:
    """Calls that load a stream of ten events, decide, and append one."""
    layout = Layout(scaled(5_000, scale, 5), 10)
    with system.open_memory() as log:  # type: ignore[misc]
        log.fill(layout)
        return loops.calls(log, layout, scaled(5_000, scale, 2))
