"""The same work by hand on the driver, in the fastest way that was found.

It promises less: no checksums, no retries of appends, no conditions but the unique index, no types of
events but one.
"""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

from benchmarks.facts import Layout, Renamed, key, moment, renamed
from benchmarks.systems import Log

_SCHEMA = """
    CREATE TABLE event (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        data BLOB NOT NULL,
        recorded_at INTEGER NOT NULL,
        UNIQUE (stream, version)
    )
"""
_ADD = "INSERT INTO event (stream, version, type, data, recorded_at) VALUES (?, ?, ?, ?, ?)"
_READ = "SELECT data FROM event WHERE stream = ? ORDER BY version"
_SCAN = "SELECT position, data FROM event WHERE position > ? ORDER BY position LIMIT 1000"

_VIEW_SCHEMA = """
    CREATE TABLE names (id TEXT PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE progress (view TEXT PRIMARY KEY, position INTEGER NOT NULL);
    INSERT INTO progress VALUES ('names', 0);
"""
_SET_NAME = "INSERT INTO names VALUES (?, ?) ON CONFLICT DO UPDATE SET name = excluded.name"
_SET_PROGRESS = "UPDATE progress SET position = ? WHERE view = 'names'"


@attrs.frozen
class RawCodec:
    """Two functions: an event to bytes and back."""

    encode: Callable[[Renamed], bytes]
    decode: Callable[[bytes], Renamed]


def by_hand() -> RawCodec:
    """Hooks written for the class, with orjson if it is installed."""
    if find_spec("orjson"):
        orjson = import_module("orjson")
        dumps, loads = orjson.dumps, orjson.loads
    else:
        dumps, loads = _dumps, json.loads
    parse = datetime.datetime.fromisoformat

    def encode(event: Renamed) -> bytes:
        data: bytes = dumps({"id": str(event.id), "name": event.name, "at": event.at.isoformat()})
        return data

    def decode(data: bytes) -> Renamed:
        plain = loads(data)
        return Renamed(UUID(plain["id"]), plain["name"], parse(plain["at"]))

    return RawCodec(encode, decode)


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def by_msgspec() -> RawCodec:
    """msgspec, which fills the attrs class itself."""
    msgspec = import_module("msgspec")
    return RawCodec(msgspec.json.Encoder().encode, msgspec.json.Decoder(Renamed).decode)


class RawLog(Log):
    """A table of events."""

    def __init__(self, folder: Path, codec: RawCodec) -> None:
        self.path = folder / "log.db"
        self.codec = codec
        self.connection = connect(self.path)
        if not self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self.connection.execute(_SCHEMA)

    def events(self, stream: int, first: int, count: int) -> Sequence[Renamed]:
        return [renamed(stream, version) for version in range(first, first + count)]

    def append(self, stream: int, version: int, events: Sequence[Renamed]) -> None:
        name, encode = f"things/{key(stream)}", self.codec.encode
        if len(events) == 1:
            row = (name, version + 1, "renamed", encode(events[0]), _now())
            self.connection.execute(_ADD, row)
            return
        now = _now()
        rows = [(name, version + nth, "renamed", encode(one), now) for nth, one in enumerate(events, 1)]
        self._transact(rows)

    def read(self, stream: int) -> int:
        decode, count, last = self.codec.decode, 0, ""
        for (data,) in self.connection.execute(_READ, (f"things/{key(stream)}",)).fetchall():
            last = decode(data).name
            count += 1
        assert last
        return count

    def scan(self) -> int:
        decode, at, count = self.codec.decode, 0, 0
        while rows := self.connection.execute(_SCAN, (at,)).fetchall():
            for _, data in rows:
                count += decode(data).name != ""
            at = rows[-1][0]
        return count

    def call(self, stream: int) -> None:
        version = self.read(stream)
        event = Renamed(key(stream), f"Marge {version}", moment(stream))
        self.append(stream, version, [event])

    def synchronise(self, folder: Path) -> int:
        view = connect(folder / "views.db")
        view.executescript(_VIEW_SCHEMA)
        decode, at, count = self.codec.decode, 0, 0
        while rows := self.connection.execute(_SCAN, (at,)).fetchall():
            at = rows[-1][0]
            events = [decode(data) for _, data in rows]
            view.execute("BEGIN IMMEDIATE")
            view.executemany(_SET_NAME, [(str(event.id), event.name) for event in events])
            view.execute(_SET_PROGRESS, (at,))
            view.execute("COMMIT")
            count += len(rows)
        view.close()
        return count

    def fill(self, layout: Layout) -> None:
        turns = iter(layout.turns())
        encode, now = self.codec.encode, _now()
        while batch := list(islice(turns, 10_000 // layout.at_once)):
            self._transact(
                [
                    (
                        f"things/{key(stream)}",
                        version,
                        "renamed",
                        encode(renamed(stream, version)),
                        now,
                    )
                    for versions, stream in batch
                    for version in versions
                ]
            )

    def close(self) -> None:
        self.connection.close()

    def _transact(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(_ADD, rows)
        self.connection.execute("COMMIT")


def connect(path: Path) -> sqlite3.Connection:
    """A connection in the profile of all benchmarks: a write-ahead log, flushed with each commit."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _now() -> int:
    return round(datetime.datetime.now(datetime.UTC).timestamp() * 1_000_000)
