"""The same work by hand on psycopg, in the fastest way that was found.

One append is one prepared statement in autocommit, many are one `unnest`; those who append at once
share a statement on one connection. Readers may skip events here: the positions are an identity
column, and nothing keeps commits in their order, which is what eventsrc pays for and raw does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from benchmarks.facts import Layout, Renamed, key, moment, renamed
from benchmarks.systems import Log
from benchmarks.systems.raw import RawCodec

T = TypeVar("T")
Row = tuple[str, int, str, bytes, int]

_SCHEMA = """
    CREATE TABLE event (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        type text COLLATE "C" NOT NULL,
        data bytea NOT NULL,
        recorded_at bigint NOT NULL,
        UNIQUE (stream, version)
    )
"""
_ADD = """
    INSERT INTO event (stream, version, type, data, recorded_at)
    VALUES (%b, %b::int8, %b, %b, %b::int8)
"""
_ADD_ALL = """
    INSERT INTO event (stream, version, type, data, recorded_at)
    SELECT * FROM unnest(%b::text[], %b::int8[], %b::text[], %b::bytea[], %b::int8[])
"""
_ADD_TO_ONE = """
    INSERT INTO event (stream, version, type, data, recorded_at)
    SELECT %b, %b::int8 + n, 'renamed', data, %b::int8
    FROM unnest(%b::bytea[]) WITH ORDINALITY AS came (data, n)
"""
_READ = "SELECT data FROM event WHERE stream = %b ORDER BY version"
_SCAN = "SELECT position, data FROM event WHERE position > %b::int8 ORDER BY position LIMIT 1000"
_HEAD = "SELECT coalesce(max(version), 0) FROM event WHERE stream = %b"

_VIEW_SCHEMA = """
    CREATE TABLE names (id text PRIMARY KEY, name text NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE progress (view text PRIMARY KEY, position bigint NOT NULL);
    INSERT INTO progress VALUES ('names', 0);
"""
_SET_NAMES = """
    WITH moved AS (UPDATE progress SET position = %b::int8 WHERE view = 'names')
    INSERT INTO names SELECT * FROM unnest(%b::text[], %b::text[])
    ON CONFLICT (id) DO UPDATE SET name = excluded.name
"""


class RawPostgresLog(Log):
    """A table of events in Postgres, on one connection."""

    def __init__(self, address: str, codec: RawCodec) -> None:
        self.address = address
        self.codec = codec
        self.connection = psycopg.connect(address, autocommit=True, prepare_threshold=0)
        found = self.connection.execute("SELECT to_regclass('event') IS NULL").fetchone()
        if found and found[0]:
            self.connection.execute(_SCHEMA, prepare=False)
        self._cursor = self.connection.cursor(binary=True)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._line: list[tuple[Row, threading.Lock]] = []
        self._busy = self._is_closed = False
        self._wake = threading.Semaphore(0)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        self._runner = asyncio.Runner()
        self._shared: psycopg.AsyncConnection[Any] | None = None
        self._tasks: deque[tuple[Row, asyncio.Future[None]]] = deque()
        self._leader: asyncio.Task[None] | None = None
        self._extra: list[psycopg.Connection[Any]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def events(self, stream: int, first: int, count: int) -> Sequence[Renamed]:
        return [renamed(stream, version) for version in range(first, first + count)]

    def append(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        encode = self.codec.encode
        if len(events) == 1:
            self._cursor.execute(_ADD, self._row(stream, version, events[0]))
        else:
            datas = [encode(event) for event in events]
            self._cursor.execute(_ADD_TO_ONE, (f"things/{key(stream)}", version, _now(), datas))

    def append_beside(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        told = threading.Lock()
        told.acquire()
        with self._lock:
            self._line.append((self._row(stream, version, events[0]), told))
            wakes, self._busy = not self._busy, True
        if wakes:
            self._wake.release()
        told.acquire()

    async def append_async(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self._tasks.append((self._row(stream, version, events[0]), waiting))
        if self._leader is None:
            self._leader = loop.create_task(self._lead())
        await waiting

    def push(self, stream: int) -> None:
        """Reads the version, inserts, and again if the unique index refuses: on its own connection."""
        cursor = self._own_cursor()
        name = f"things/{key(stream)}"
        while True:
            ((version,),) = cursor.execute(_HEAD, (name,)).fetchall()
            with contextlib.suppress(psycopg.errors.UniqueViolation):
                cursor.execute(_ADD, self._row(stream, version, renamed(stream, version + 1)))
                return

    def read(self, stream: int) -> int:
        decode, count, last = self.codec.decode, 0, ""
        for (data,) in self._cursor.execute(_READ, (f"things/{key(stream)}",)).fetchall():
            last = decode(data).name
            count += 1
        assert last
        return count

    def scan(self) -> int:
        decode, at, count = self.codec.decode, 0, 0
        while rows := self._cursor.execute(_SCAN, (at,)).fetchall():
            for _, data in rows:
                count += decode(data).name != ""
            at = rows[-1][0]
        return count

    def call(self, stream: int) -> None:
        version = self.read(stream)
        self.append(stream, version, [Renamed(key(stream), f"Marge {version}", moment(stream))])

    def synchronise(self, folder: Path) -> int:
        self.connection.execute(_VIEW_SCHEMA, prepare=False)
        decode, at, count = self.codec.decode, 0, 0
        while rows := self._cursor.execute(_SCAN, (at,)).fetchall():
            at = rows[-1][0]
            names = {str(event.id): event.name for event in (decode(data) for _, data in rows)}
            self._cursor.execute(_SET_NAMES, (at, list(names), list(names.values())))
            count += len(rows)
        return count

    def fill(self, layout: Layout) -> None:
        turns = iter(layout.turns())
        while batch := list(islice(turns, 10_000 // layout.at_once)):
            rows = [
                self._row(stream, version - 1, renamed(stream, version))
                for versions, stream in batch
                for version in versions
            ]
            self._cursor.execute(_ADD_ALL, _columns(rows))

    def close(self) -> None:
        self._is_closed = True
        self._wake.release()
        self._writer.join()
        if self._shared is not None:
            self._runner.run(self._shared.close())
        self._runner.close()
        for connection in (self.connection, *self._extra):
            connection.close()

    def _write(self) -> None:
        """Performs what threads wait for, in a thread of its own."""
        while True:
            self._wake.acquire()
            while True:
                with self._lock:
                    group, self._line = self._line, []
                    self._busy = bool(group)
                if not group:
                    break
                self._cursor.execute(_ADD_ALL, _columns([one for one, _ in group]))
                for _, waiting in group:
                    waiting.release()
            if self._is_closed:
                return

    async def _lead(self) -> None:
        if self._shared is None:
            self._shared = await psycopg.AsyncConnection.connect(
                self.address, autocommit=True, prepare_threshold=0
            )
        cursor = self._shared.cursor(binary=True)
        while self._tasks:
            group = [self._tasks.popleft() for _ in range(len(self._tasks))]
            await cursor.execute(_ADD_ALL, _columns([row for row, _ in group]))
            for _, waiting in group:
                waiting.set_result(None)
        self._leader = None

    def _row(self, stream: int, version: int, event: Renamed) -> Row:
        return f"things/{key(stream)}", version + 1, "renamed", self.codec.encode(event), _now()

    def _own_cursor(self) -> psycopg.Cursor[Any]:
        cursor: psycopg.Cursor[Any] | None = getattr(self._local, "cursor", None)
        if cursor is None:
            connection = psycopg.connect(self.address, autocommit=True, prepare_threshold=0)
            self._extra.append(connection)
            cursor = self._local.cursor = connection.cursor(binary=True)
        return cursor


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _now() -> int:
    return time.time_ns() // 1000
