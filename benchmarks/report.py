"""The whole report: what was chosen is measured, part by part, and each part's table shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.entrants import entrants
from benchmarks.machine import description
from benchmarks.places import Places
from benchmarks.rounds import Result, measured
from benchmarks.work import (
    Part,
    concurrent,
    core,
    crowds,
    dynamodb,
    growth,
    hostile,
    memory,
    moving,
    postgres,
    replay,
    schedules,
    sqlite,
    tags,
)


def parts() -> list[Part]:
    """All parts of the report, in order."""
    systems = entrants()
    return [
        sqlite.part(systems),
        concurrent.part(systems),
        postgres.part(systems),
        crowds.part(systems),
        tags.part(systems),
        hostile.part(systems),
        dynamodb.part(),
        memory.part(systems),
        replay.part(systems),
        growth.part(systems),
        moving.part(),
        core.part(),
        schedules.part(),
    ]


def is_chosen(key: str, patterns: Sequence[str]) -> bool:
    """Whether a work is meant: `sqlite`, `sqlite/append-1`, `*/append-1`; all, without patterns."""
    return not patterns or any(
        fnmatch(key, pattern) or key.startswith(f"{pattern}/") for pattern in patterns
    )


def report(
    only: Sequence[str],
    folder: Path,
    rounds: int,
    scale: float,
    say: Callable[[str], None],
    keep: Callable[[dict[str, Any]], None],
) -> Iterator[str]:
    """Measures, and answers the lines to print.

    only: patterns of what is wanted; everything if there are none.
    folder: where the databases are made. rounds, scale: how often, and how much.
    say: is told what is being done. keep: is given all rounds of each work, to be saved as JSON.
    """
    with Places(folder) as places:
        yield from (f"- {line}" for line in description(places.path))
        is_said = False
        for part in parts():
            works = [work for work in part.works if is_chosen(work.key, only)]
            results = []
            for work in works:
                result = measured(work, places, rounds, scale, say)
                keep(plain(result))
                results.append(result)
            say("")
            if any(result.work.key.startswith("postgres/") for result in results) and not is_said:
                is_said = True
                yield f"- {places.postgres.version()}"
            if results:
                yield from ("", f"## {part.title}", "", *part.table(results))


def plain(result: Result) -> dict[str, Any]:
    """All rounds of a work, as JSON has them."""
    return {
        "work": result.work.key,
        "unit": result.work.unit,
        "rounds": {
            name: [
                {
                    "done": sample.done,
                    "seconds": sample.seconds,
                    "p50_us": sample.latency(50),
                    "p99_us": sample.latency(99),
                    "memory_mib": sample.memory,
                }
                for sample in samples
            ]
            for name, samples in result.samples.items()
        },
    }
