"""Rounds: each system does each work, one after the other, and again with another one first.

What disturbs a machine for a while then disturbs them all alike, and the ratios of one round are worth
more than its figures.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from benchmarks.places import Places
from benchmarks.systems import System


@attrs.frozen
class Sample:
    """What a system did in a round.

    done: how much, in the work's unit. seconds: how long it took.
    latencies: the seconds that each call took, for work that is done call by call.
    """

    done: float
    seconds: float
    latencies: Sequence[float] = attrs.field(default=(), repr=False)

    @property
    def speed(self) -> float:
        """Units a second."""
        return self.done / self.seconds

    def latency(self, percent: int) -> float | None:
        """The microseconds within which so many of a hundred calls were answered."""
        if len(self.latencies) < 2:
            return None
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1] * 1e6


@attrs.frozen
class Budget:
    """What eventsrc must reach: so many times the speed of raw, of the best peer."""

    of_raw: float | None = None
    of_peer: float | None = None


@attrs.frozen
class Work:
    """Something to do that is measured.

    key: by which it is chosen, such as "sqlite/append-1". name: what the table calls it.
    unit: what is counted.
    measure: has a system do it, at a scale (1 for the full size), and answers how long that took.
    systems: those that can do it.
    budget: for each of eventsrc's set-ups, by name.
    """

    key: str
    name: str
    unit: str
    measure: Callable[[System, Places, float], Sample]
    systems: tuple[System, ...]
    budget: Mapping[str, Budget] = attrs.field(factory=dict)


@attrs.frozen
class Result:
    """What all rounds of a work gave: for each system, by name, a sample of each round."""

    work: Work
    samples: Mapping[str, Sequence[Sample]]

    def of(self, kind: str) -> list[System]:
        """The measured systems of a kind."""
        return [
            system
            for system in self.work.systems
            if system.kind == kind and self.samples.get(system.name)
        ]

    def speed(self, system: System) -> float:
        """The median speed."""
        return statistics.median(sample.speed for sample in self.samples[system.name])

    def ratio(self, system: System, other: System) -> float:
        """The median of the rounds' ratios of two speeds."""
        pairs = zip(self.samples[system.name], self.samples[other.name], strict=True)
        return statistics.median(one.speed / another.speed for one, another in pairs)

    def best_peer(self) -> System | None:
        """The fastest peer."""
        return max(self.of("peer"), key=self.speed, default=None)

    def rival(self, system: System) -> System | None:
        """The raw system that a set-up of eventsrc is held against."""
        raw = self.of("raw")
        return next((other for other in raw if other.name == system.rival), raw[0] if raw else None)

    def latency(self, system: System, percent: int) -> float | None:
        """The median of the rounds' percentiles, in microseconds."""
        found = [sample.latency(percent) for sample in self.samples[system.name]]
        known = [value for value in found if value is not None]
        return statistics.median(known) if known else None


def measure(
    works: Sequence[Work], places: Places, rounds: int, scale: float, say: Callable[[str], None]
) -> Iterator[Result]:
    """Measures one work after the other, each in several rounds.

    say: is told what is being done.
    """
    for work in works:
        samples: dict[str, list[Sample]] = {system.name: [] for system in work.systems}
        for number in range(rounds):
            for system in _rotated(work.systems, number):
                say(f"{work.key}, round {number + 1} of {rounds}: {system.name}")
                gc.collect()
                samples[system.name].append(work.measure(system, places, scale))
        yield Result(work, samples)


def _rotated(systems: Sequence[System], by: int) -> Sequence[System]:
    first = by % len(systems)
    return [*systems[first:], *systems[:first]]
