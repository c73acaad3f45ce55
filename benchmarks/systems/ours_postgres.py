"""eventsrc on Postgres: the store for threads, with that for tasks beside it; and the latter alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from benchmarks.facts import Layout, Renamed, key, moment, renamed
from benchmarks.systems import Log
from benchmarks.systems.ours import Rename, ThingCommands, last, things
from eventsrc import (
    START,
    AppendAll,
    Codec,
    Conflict,
    Failure,
    Head,
    ReadFeed,
    Recorded,
    StreamAppend,
    View,
    synchronise,
    world,
)
from eventsrc.postgres import AsyncPostgresStore, PostgresStore, PostgresViews

T = TypeVar("T")

_BATCH = 10_000

names: View[psycopg.Connection[Any]] = View("names", version=1)


@names.schema
def _create(db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE TABLE names (id text PRIMARY KEY, name text NOT NULL) WITH (fillfactor = 50)")


@names.on_many(Renamed)
def _renamed(db: psycopg.Connection[Any], events: Sequence[Recorded[Renamed]]) -> None:
    last = {str(thing.id): thing.name for thing in (event.data for event in events)}
    db.execute(
        "INSERT INTO names SELECT * FROM unnest(%b::text[], %b::text[]) "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        (list(last), list(last.values())),
    )


class OurPostgresLog(Log):
    """A PostgresStore; what tasks append goes through an AsyncPostgresStore on the same tables."""

    def __init__(self, address: str, codec: Codec) -> None:
        self.address = address
        self.codec = codec
        self.store = PostgresStore(address, codec=codec, timeout=30)
        self.service = ThingCommands().into(self.store | world)
        self._runner: asyncio.Runner | None = None
        self._beside: AsyncPostgresStore

    def events(self, stream: int, first: int, count: int) -> Sequence[Renamed]:
        return [renamed(stream, version) for version in range(first, first + count)]

    def append(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        self.store.run(things[key(stream)].append_at(version, *events)).unwrap()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._opened_beside().run(work)

    async def append_async(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        (await self._beside.run_async(things[key(stream)].append_at(version, *events))).unwrap()

    def push(self, stream: int) -> None:
        thing = things[key(stream)]
        version = self.store.run(Head(thing.id))
        while True:
            match self.store.run(thing.append_at(version, renamed(stream, version + 1))):
                case Failure(Conflict(actual=actual)):
                    version = actual
                case answer:
                    answer.unwrap()
                    return

    def read(self, stream: int) -> int:
        folded = self.store.run(things[key(stream)].get(last))
        assert folded.state is not None
        return folded.version

    def scan(self) -> int:
        at, count = START, 0
        while True:
            page = self.store.run(ReadFeed(at, 1000))
            for event in page.data:
                count += event.name != ""
            at = page.next
            if at >= page.end:
                return count

    def call(self, stream: int) -> None:
        self.service.run(Rename(key(stream), "Marge", moment(stream))).unwrap()

    def synchronise(self, folder: Path) -> int:
        views = PostgresViews(self.address, [names])
        try:
            return (self.store | views).run(synchronise(names)).applied
        finally:
            views.close()

    def fill(self, layout: Layout) -> None:
        turns = iter(layout.turns())
        while batch := list(islice(turns, min(_BATCH // layout.at_once, layout.streams, 250))):
            appends = tuple(
                StreamAppend(things[key(stream)].id, tuple(renamed(stream, one) for one in versions))
                for versions, stream in batch
            )
            self.store.run(AppendAll(appends)).unwrap()

    def close(self) -> None:
        if self._runner is not None:
            self._runner.run(self._beside.close())
            self._runner.close()
        self.store.close()

    def _opened_beside(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner()

            async def open_it() -> AsyncPostgresStore:
                return await AsyncPostgresStore(self.address, codec=self.codec, timeout=30).open()

            self._beside = self._runner.run(open_it())
        return self._runner


class OurTasksLog(OurPostgresLog):
    """An AsyncPostgresStore; each call is a run of the event loop, whose cost is in the figures."""

    def __init__(self, address: str, codec: Codec) -> None:
        super().__init__(address, codec)
        self._loop = self._opened_beside()
        self._service = ThingCommands().into(self._beside | world)

    def append(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        self._loop.run(self.append_async(stream, version, events))

    def read(self, stream: int) -> int:
        folded = self._loop.run(self._beside.run_async(things[key(stream)].get(last)))
        assert folded.state is not None
        return folded.version

    def scan(self) -> int:
        return self._loop.run(self._scan())

    def call(self, stream: int) -> None:
        asked = Rename(key(stream), "Marge", moment(stream))
        self._loop.run(self._service.run_async(asked)).unwrap()

    async def _scan(self) -> int:
        at, count = START, 0
        while True:
            page = await self._beside.run_async(ReadFeed(at, 1000))
            for event in page.data:
                count += event.name != ""
            at = page.next
            if at >= page.end:
                return count
