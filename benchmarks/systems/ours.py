"""eventsrc, through its public face."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlite_utils import Database

from benchmarks.facts import Layout, Renamed, key, moment, renamed
from benchmarks.systems import Log
from eventsrc import (
    START,
    AppendAll,
    Codec,
    Command,
    Fold,
    MemoryStore,
    Outcome,
    ReadFeed,
    Recorded,
    SqliteStore,
    SqliteViews,
    StoreOp,
    StreamAppend,
    Streams,
    Success,
    Translation,
    Try,
    View,
    World,
    on,
    synchronise,
    world,
)

_BATCH = 10_000


class State(NamedTuple):
    """What a service knows of a thing."""

    names: int
    name: str


def rename(state: State, event: Renamed) -> State:
    """The state with one more event."""
    return State(state.names + 1, event.name)


def latest(_: Renamed | None, event: Renamed) -> Renamed | None:
    """The last event: what a fold does least with."""
    return event


things = Streams("things/{id}", key=UUID, events=Renamed)
last = Fold[Renamed | None, Renamed](None, latest)
named = Fold(State(0, ""), rename)


class Rename(Command[Outcome[int, str]]):
    """Gives a thing a name; answers its version, or why not."""

    id: UUID
    name: str
    at: datetime.datetime


class ThingCommands(Translation[Rename, StoreOp | World]):
    """What a Rename means."""

    @on(Rename).program
    def rename(self, op: Rename) -> Try[StoreOp | World, int, str]:
        """Appends the name, unless the thing has it already."""

        def decide(state: State) -> Outcome[list[Renamed], str]:
            return Success([Renamed(op.id, f"{op.name} {state.names}", op.at)])

        decided = yield from things[op.id].decide(named, decide)
        return decided.map(lambda done: done.version)  # type: ignore[return-value]


names = View("names", version=1)


@names.schema
def _create(db: Database) -> None:
    db.execute("CREATE TABLE names (id TEXT PRIMARY KEY, name TEXT NOT NULL)")


@names.on_many(Renamed)
def _renamed(db: Database, events: Sequence[Recorded[Renamed]]) -> None:
    db.conn.executemany(
        "INSERT INTO names VALUES (?, ?) ON CONFLICT DO UPDATE SET name = excluded.name",
        [(str(thing.id), thing.name) for thing in (event.data for event in events)],
    )


class OurLog(Log):
    """A store of eventsrc."""

    def __init__(self, store: SqliteStore | MemoryStore) -> None:
        self.store = store
        self.service = ThingCommands().into(store | world)

    def events(self, stream: int, first: int, count: int) -> Sequence[Renamed]:
        return [renamed(stream, version) for version in range(first, first + count)]

    def append(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        self.store.run(things[key(stream)].append_at(version, *events)).unwrap()

    async def append_async(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        (await self.store.run_async(things[key(stream)].append_at(version, *events))).unwrap()

    def read(self, stream: int) -> int:
        folded = self.store.run(things[key(stream)].get(last))
        assert folded.state is not None
        return folded.version

    def scan(self) -> int:
        at, count = START, 0
        while True:
            page = self.store.run(ReadFeed(at, 1000, whole=False))
            for event in page.data:
                count += event.name != ""
            at = page.next
            if at >= page.end:
                return count

    def call(self, stream: int) -> None:
        self.service.run(Rename(key(stream), "Marge", moment(stream))).unwrap()

    def synchronise(self, folder: Path) -> int:
        with SqliteViews(folder / "views.db", [names]) as views:
            return (self.store | views).run(synchronise(names)).applied

    def fill(self, layout: Layout) -> None:
        turns = iter(layout.turns())
        while batch := list(islice(turns, min(_BATCH // layout.at_once, layout.streams, 250))):
            appends = tuple(
                StreamAppend(
                    things[key(stream)].id, tuple(renamed(stream, version) for version in versions)
                )
                for versions, stream in batch
            )
            self.store.run(AppendAll(appends)).unwrap()

    def close(self) -> None:
        self.store.close()


def open_sqlite(folder: Path, codec: Codec) -> Log:
    """A SQLite store."""
    return OurLog(SqliteStore(folder / "log.db", codec))


def open_memory(codec: Codec) -> Log:
    """A memory store."""
    return OurLog(MemoryStore(codec))
