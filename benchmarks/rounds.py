"""Rounds: each system does each work, one after the other, and again with another one first.

What disturbs a machine for a while then disturbs them all alike, and the ratios of one round are worth
more than its figures.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs

from benchmarks.places import Places


@attrs.frozen
class Sample:
    """What came of one round.

    done: how much was done, in the work's unit. seconds: how long it took.
    latencies: the seconds that each call took, for work that is done call by call.
    memory: by how many MiB the process grew at most, if that was looked at.
    """

    done: float
    seconds: float
    latencies: Sequence[float] = attrs.field(default=(), repr=False)
    memory: float | None = None

    @property
    def speed(self) -> float:
        """Units a second."""
        return self.done / self.seconds

    @property
    def cost(self) -> float:
        """Nanoseconds a unit."""
        return self.seconds / self.done * 1e9

    def latency(self, percent: int) -> float | None:
        """The microseconds within which so many of a hundred calls were answered."""
        if len(self.latencies) < 2:
            return None
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1] * 1e6


class Entrant(Protocol):
    """Whoever does a work: a system, or one of two ways to do the same."""

    @property
    def name(self) -> str:
        """By which its samples are found."""


@attrs.frozen
class Work:
    """Something to do that is measured.

    key: by which it is chosen, such as "sqlite/append-1". name: what the table calls it.
    unit: what is counted.
    measure: has an entrant do it, at a scale (1 for the full size), and answers how long that took.
    """

    key: str
    name: str
    unit: str
    measure: Callable[[Any, Places, float], Sample]
    entrants: Sequence[Entrant]


@attrs.frozen
class Result:
    """What all rounds of a work gave: for each entrant, by name, a sample of each round."""

    work: Work
    samples: Mapping[str, Sequence[Sample]]

    def median(self, name: str, of: Callable[[Sample], float | None]) -> float | None:
        """The median of something that the rounds' samples have; None where they have it not."""
        found = [value for sample in self.samples[name] if (value := of(sample)) is not None]
        return statistics.median(found) if found else None

    def speed(self, name: str) -> float:
        """The median speed, in units a second."""
        return statistics.median(sample.speed for sample in self.samples[name])

    def cost(self, name: str) -> float:
        """The median cost, in nanoseconds a unit."""
        return statistics.median(sample.cost for sample in self.samples[name])

    def ratio(self, name: str, other: str) -> float:
        """The median of the rounds' ratios of two speeds."""
        return statistics.median(one.speed / another.speed for one, another in self._pairs(name, other))

    def difference(self, name: str, other: str) -> float:
        """The median of the rounds' differences of two costs, in nanoseconds a unit."""
        return statistics.median(one.cost - another.cost for one, another in self._pairs(name, other))

    def _pairs(self, name: str, other: str) -> Iterator[tuple[Sample, Sample]]:
        return zip(self.samples[name], self.samples[other], strict=True)


def measured(
    work: Work, places: Places, rounds: int, scale: float, say: Callable[[str], None]
) -> Result:
    """Measures a work in several rounds.

    say: is told what is being done.
    """
    samples: dict[str, list[Sample]] = {entrant.name: [] for entrant in work.entrants}
    for number in range(rounds):
        for entrant in _rotated(work.entrants, number):
            say(f"{work.key}, round {number + 1} of {rounds}: {entrant.name}")
            gc.collect()
            samples[entrant.name].append(work.measure(entrant, places, scale))
    return Result(work, samples)


def _rotated(entrants: Sequence[Entrant], by: int) -> Sequence[Entrant]:
    first = by % len(entrants)
    return [*entrants[first:], *entrants[:first]]
