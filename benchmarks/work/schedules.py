"""How fast a scenario is run: steps of simulated programs, and schedules of small ones.

Three people pay into ten accounts, and the view of what they did is synchronised meanwhile. They do it
by reads and appends of their own, or by decisions, which fold what they read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter

import attrs

from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, scaled
from eventsrc import (
    Append,
    Do,
    Fold,
    Program,
    Read,
    Recorded,
    Stream,
    StreamId,
    View,
    event,
    program,
    synchronise,
)
from eventsrc.programs.program import in_turn
from eventsrc.streams.decide import DecideOp
from eventsrc.testing import EVERY_FAULT, Scenario, SimulatedStore, SimulatedViews
from eventsrc.views.memory import Tables

RUNS = 2_000
BUDGET = 30.0
"""Microseconds for a step: 10 000 runs of 200 steps then take a minute."""


@event("benchmarks.moved")
class Moved:
    """Money came or went."""

    by: int


accounts = [Stream(f"accounts/{n}", events=Moved) for n in range(10)]
balance: Fold[int, Moved] = Fold(0, lambda total, moved: total + moved.by)
moves: View[Tables] = View("moves")


@moves.on(Moved)
def _(tables: Tables, moved: Recorded[Moved]) -> None:
    tables["moves"][moved.stream] = tables["moves"].get(moved.stream, 0) + moved.data.by


Pays = Callable[[int], Program[DecideOp, None]]


@program
def pays(times: int) -> Do[Read | Append, None]:
    """Pays into one account after the other, where nobody else did meanwhile."""
    for n in range(times):
        page = yield from accounts[n % 10].read()
        yield from accounts[n % 10].append_at(page.head, Moved(1))


@program
def decides(times: int) -> Do[DecideOp, None]:
    """Pays into one account after the other, by decisions."""
    yield from in_turn(range(times), lambda n: accounts[n % 10].change(balance, lambda _: [Moved(1)]))


def scenario(pays: Pays, times: int) -> Scenario:
    """What is run: each of three programs pays in so often."""
    return Scenario(
        {"ann": pays(times), "bob": pays(times), "cyd": pays(times), "view": synchronise(moves)},
        on=lambda: SimulatedStore() | SimulatedViews([moves]),
        holds=lambda after: after.run(Read(StreamId("accounts/0"))).head >= 0,
        faults=EVERY_FAULT,
    )


@attrs.frozen
class Way:
    """How the schedules are chosen."""

    name: str = "eventsrc"


def by_chance(pays: Pays, _: Way, __: Places, scale: float) -> Sample:
    """Steps of runs of about 200 steps."""
    steps = 0

    def count(after: object) -> None:
        nonlocal steps
        steps += len(after.steps)  # type: ignore[attr-defined]

    counted = attrs.evolve(scenario(pays, 28), holds=count)
    began = perf_counter()
    assert counted.sample(scaled(RUNS, scale, 5), seed=1).holds
    return Sample(steps, perf_counter() - began)


def every(_: Way, __: Places, scale: float) -> Sample:
    """Schedules of three small programs."""
    began = perf_counter()
    found = scenario(decides, 1).explore(most=scaled(RUNS, scale, 5))
    return Sample(found.schedules, perf_counter() - began)


def part() -> Part:
    """These works."""
    works = [
        _steps("schedules/chance", "steps by chance, of reads and appends", pays),
        _steps("schedules/decide", "steps by chance, of decisions", decides),
        Work("schedules/every", "schedules, each different", "schedules/s", every, [Way()]),
    ]

    def table(results: Sequence[Result]) -> Iterator[str]:
        heads = ("work", "a second", "µs for each", "budget, µs", "met?")
        yield from markdown(heads, map(_line, results))

    return Part("Schedules of simulated programs", works, table)


def _steps(key: str, name: str, pays: Pays) -> Work:
    return Work(key, name, "steps/s", partial(by_chance, pays), [Way()])


def _line(result: Result) -> tuple[str, ...]:
    cost = result.cost("eventsrc") / 1000
    is_steps = result.work.unit == "steps/s"
    return (
        result.work.name,
        number(result.speed("eventsrc")),
        number(cost),
        f"≤ {number(BUDGET)}" if is_steps else "",
        yes_or_no(cost <= BUDGET) if is_steps else "",
    )
