"""A long replay: all events of a feed decoded, and by how much the process grows meanwhile.

Each is done in a process of its own, which this module is when it is run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases import open_postgres
from benchmarks.facts import Layout
from benchmarks.memory import Growth
from benchmarks.places import Places, opened
from benchmarks.rounds import Result, Sample, Work
from benchmarks.systems import System
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, loops, scaled

BUDGET = 50
"""By how many MiB eventsrc may grow at most."""


def part(systems: Sequence[System]) -> Part:
    """These works."""
    filed = [system for system in systems if system.open is not None]
    kept = [one for one in systems if one.kind == "eventsrc" and one.open_memory is not None]
    based = [system for system in systems if system.open_postgres is not None]
    works = [
        Work("replay/sqlite", "replay of 1 M events, SQLite", "events/s", from_file, filed),
        Work("replay/memory", "replay of 1 M events, in memory", "events/s", from_memory, kept),
    ]
    if based:
        name = "replay of 1 M events, Postgres"
        works.append(Work("replay/postgres", name, "events/s", from_postgres, based))

    def table(results: Sequence[Result]) -> Iterator[str]:
        heads = ("work", "system", "events/s", "extra memory, MiB", "budget, MiB", "met?")
        yield from markdown(
            heads, (_line(result, system) for result in results for system in _of(result, systems))
        )

    return Part("Memory of a long replay", works, table)


def from_file(system: System, places: Places, scale: float) -> Sample:
    """A replay from a file."""
    layout = _layout(scale)
    return _in_child(system, layout, folder=str(places.filled(system, layout)))


def from_postgres(system: System, places: Places, scale: float) -> Sample:
    """A replay from Postgres; what the server takes does not count."""
    layout = _layout(scale)
    return _in_child(system, layout, address=places.postgres.filled(system, layout))


def from_memory(system: System, _: Places, scale: float) -> Sample:
    """A replay from memory; that which the events take themselves does not count."""
    return _in_child(system, _layout(scale))


def _layout(scale: float) -> Layout:
    return Layout(scaled(10_000, scale, 5), 100, at_once=10)


def _in_child(
    system: System, layout: Layout, folder: str | None = None, address: str | None = None
) -> Sample:
    asked = {
        "system": system.name,
        "layout": [layout.streams, layout.each, layout.at_once],
        "folder": folder,
        "address": address,
    }
    command = [sys.executable, "-m", __name__, json.dumps(asked)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return Sample(found["done"], found["seconds"], memory=found["memory"])


def _child(asked: dict[str, Any]) -> dict[str, float | None]:
    from benchmarks.entrants import entrants

    system = next(one for one in entrants() if one.name == asked["system"])
    layout = Layout(*asked["layout"])
    if asked["address"] is not None:
        log = open_postgres(system, asked["address"])
    elif asked["folder"] is None:
        log = system.open_memory()  # type: ignore[misc]
        log.fill(layout)
    else:
        log = opened(system, Path(asked["folder"]))
    with log:
        growth = Growth()
        sample = loops.scan(log, layout)
        return {"done": sample.done, "seconds": sample.seconds, "memory": growth.most()}


def _of(result: Result, systems: Sequence[System]) -> list[System]:
    return [system for system in systems if system.name in result.samples]


def _line(result: Result, system: System) -> tuple[str, ...]:
    grown = result.median(system.name, lambda sample: sample.memory)
    is_ours = system.kind == "eventsrc"
    return (
        result.work.name,
        system.name,
        number(result.speed(system.name)),
        "" if grown is None else f"{grown:.1f}",
        str(BUDGET) if is_ours else "",
        yes_or_no(None if grown is None else grown < BUDGET) if is_ours else "",
    )


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
