"""The whole report: what was chosen is measured, part by part, and each part's table printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.entrants import entrants
from benchmarks.machine import description
from benchmarks.places import Places
from benchmarks.rounds import Result, measure
from benchmarks.table import table
from benchmarks.work import sqlite


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
    systems = entrants()
    with Places(folder) as places:
        yield from (f"- {line}" for line in description(places.path))
        yield ""
        works = [work for work in sqlite.works(systems) if is_chosen(work.key, only)]
        results = []
        for result in measure(works, places, rounds, scale, say):
            keep(_plain(result))
            results.append(result)
        say("")
        yield from table(results)


def _plain(result: Result) -> dict[str, Any]:
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
                }
                for sample in samples
            ]
            for name, samples in result.samples.items()
        },
    }
