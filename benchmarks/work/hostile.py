"""Honest writers, beside one more of them or beside a client that wants to slow them.

Eight threads append to streams of their own. A ninth does what it likes until they are done: it appends
as they do, or asks and appends under ids that look as if the store had made them at the beginning of
its feed, and under ids that it was given.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, Literal
from uuid import UUID, uuid4

import attrs

from benchmarks.facts import renamed
from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work
from benchmarks.systems import System
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, scaled
from benchmarks.work.concurrent import at_once
from eventsrc import Append, Interpreter, SqliteStore, StoreOp, StreamId, Success
from eventsrc.stores.operations import FindAppend

BUDGET = 0.8
"""Of the speed beside an honest one: the hostile client asks for more at a time."""

_WRITERS = 8
_EVENTS = 100_000
_IN_A_PAGE = 1_000


@attrs.frozen
class Ninth:
    """Who writes beside the others."""

    name: Literal["honest", "hostile"]
    do: Callable[[Interpreter[StoreOp], int], None]


def part(systems: Sequence[System]) -> Part:
    """These works, of eventsrc alone."""
    entrants = [Ninth("honest", write), Ninth("hostile", attack)]
    name = "append 1, 8 threads and a ninth, {}"
    works = [Work("hostile/sqlite", name.format("SQLite"), "events/s", in_file, entrants)]
    if any(system.open_postgres is not None for system in systems):
        works.append(
            Work("hostile/postgres", name.format("Postgres"), "events/s", in_postgres, entrants)
        )

    def table(results: Sequence[Result]) -> Iterator[str]:
        heads = ("work", "beside an honest one", "beside a hostile one", "ratio", "budget", "met?")
        yield from markdown(heads, map(_line, results))

    return Part("Honest writers beside a hostile client", works, table)


def in_file(ninth: Ninth, places: Places, scale: float) -> Sample:
    """Appends to a store in a file that has many events."""
    with places.folder() as folder, SqliteStore(folder / "store.db") as store:
        return _measured(store, ninth, scale)


def in_postgres(ninth: Ninth, places: Places, scale: float) -> Sample:
    """Appends to a store in Postgres that has many events."""
    from eventsrc.postgres import PostgresStore

    with ExitStack() as stack:
        address = stack.enter_context(places.postgres.copy(_OURS))
        return _measured(stack.enter_context(PostgresStore(address)), ninth, scale)


_OURS = System("eventsrc", "eventsrc", "eventsrc", None)


def write(store: Interpreter[StoreOp], turn: int) -> None:
    """Appends an event under an id of one's own."""
    store.run(Append(StreamId("ninth"), (renamed(0, turn + 1),), append_id=uuid4())).unwrap()


def attack(store: Interpreter[StoreOp], turn: int) -> None:
    """Asks and appends under ids that would have a store search all that it has."""
    forged = UUID(int=int.from_bytes(os.urandom(10), "big") & ~_FIXED | _VERSION_8)
    event = (renamed(0, turn + 1),)
    store.run(FindAppend(forged))
    store.run(Append(StreamId("ninth"), event, append_id=forged)).unwrap()
    given = store.run(Append(StreamId("ninth"), event)).unwrap().append_id
    store.run(Append(StreamId("ninth"), event, append_id=given)).unwrap()


_FIXED = 0xF << 76 | 0x3 << 62
_VERSION_8 = 0x8 << 76 | 0x2 << 62


def _measured(store: Interpreter[StoreOp], ninth: Ninth, scale: float) -> Sample:
    for page in range(scaled(_EVENTS, scale, _IN_A_PAGE) // _IN_A_PAGE):
        events = tuple(renamed(page, version + 1) for version in range(_IN_A_PAGE))
        assert isinstance(store.run(Append(StreamId(f"before/{page}"), events)), Success)
    each = scaled(4_000, scale, _WRITERS) // _WRITERS
    over, latencies = threading.Event(), list[float]()
    aside = threading.Thread(target=_until, args=(over, partial(ninth.do, store)))
    aside.start()
    try:
        seconds = at_once([partial(_append, store, who, each, latencies) for who in range(_WRITERS)])
    finally:
        over.set()
        aside.join()
    return Sample(each * _WRITERS, seconds, latencies)


def _until(over: threading.Event, act: Callable[[int], Any]) -> None:
    for turn in count():
        if over.is_set():
            return
        act(turn)


def _append(store: Interpreter[StoreOp], who: int, times: int, latencies: list[float]) -> None:
    stream = StreamId(f"honest/{who}")
    for version in range(times):
        op = Append(stream, (renamed(who, version + 1),), version)
        began = perf_counter()
        store.run(op).unwrap()
        latencies.append(perf_counter() - began)


def _line(result: Result) -> tuple[str, ...]:
    ratio = result.ratio("hostile", "honest")
    speeds = [f"{number(result.speed(name))} {result.work.unit}" for name in ("honest", "hostile")]
    return (result.work.name, *speeds, f"{ratio:.2f}", f"≥ {BUDGET}", yes_or_no(ratio >= BUDGET))
