"""The clock jumps, goes back, stands still.

Passed if versions, the order of the feed, decisions and views are what they are with a sound clock.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Fold, Interpreter, MemoryStore, ReadFeed, SqliteStore, Streams, world
from tests.kits.events import CODEC, Tick

NOW = 1_800_000_000.0
ticks = Streams("ticks/{id}", key=int, events=Tick)
count: Fold[int, Tick] = Fold(0, lambda so_far, _: so_far + 1)


def jumping() -> Callable[[], float]:
    chance = random.Random(5)
    return lambda: NOW + chance.choice([-3600, 0, 3600])


def going_back() -> Callable[[], float]:
    steps = itertools.count()
    return lambda: NOW - next(steps) / 1000


CLOCKS: dict[str, Callable[[], Callable[[], float]]] = {
    "jumping an hour": jumping,
    "going back": going_back,
    "standing still": lambda: lambda: NOW,
    "in the year 9999": lambda: datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp,
    "before 1970": lambda: lambda: -1e9,
}


@contextmanager
def opened(kind: str, clock: Callable[[], float], folder: Path) -> Iterator[Interpreter[Any]]:
    if kind == "memory":
        yield MemoryStore(CODEC, clock=clock)
    else:
        with SqliteStore(folder / "store.db", CODEC, clock=clock, durability="process") as store:
            yield store


def wrong_order(order: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The events that a feed shows in another place than they were appended in."""
    wanted = [(f"ticks/{n % 3}", n // 3 + 1, n) for n in range(60)]
    return [found for found, right in zip(order, wanted, strict=True) if found != right]


def fed(store: Interpreter[Any]) -> list[Any]:
    """Sixty events, each decided, in three streams; then the feed."""
    app = store | world
    for number in range(60):

        def decide(version: int, number: int = number) -> list[Tick]:
            return [Tick(number, version, 60)]

        app.run(ticks[number % 3].change(count, decide))
    return list(store.run(ReadFeed()).events)


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_order_versions_and_decisions_do_not_depend_on_the_clock(
    clock: str, kind: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    with opened(kind, CLOCKS[clock](), tmp_path) as store:
        events = fed(store)
        assert wrong_order([(e.stream, e.version, e.data.batch) for e in events]) == []
        assert [e.data.number for e in events] == [n // 3 for n in range(60)]
        told = CLOCKS[clock]()
        assert abs(events[0].recorded_at.timestamp() - told()) < 3601, "the clock is believed"
        times = [event.recorded_at for event in events]
        backwards = sum(later < sooner for sooner, later in itertools.pairwise(times))
        figure(f"{len(events)} events in their order, while the clock went back {backwards} times")


def test_control_a_reader_that_orders_by_time_is_caught(tmp_path: Path) -> None:
    with opened("file", going_back(), tmp_path) as store:
        events = sorted(fed(store), key=lambda event: event.recorded_at)
        assert wrong_order([(e.stream, e.version, e.data.batch) for e in events]) != []
