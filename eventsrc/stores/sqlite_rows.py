"""What is found in the tables of a SQLite store, and made into records."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any
from uuid import UUID

from eventsrc.codec import Kind
from eventsrc.recorded import LOST, Corrupted, Record
from eventsrc.stores import sqlite_sql as sql
from eventsrc.stores.known import Kinds
from eventsrc.stores.prepare import is_own, own_end


def stored_kinds(connection: sqlite3.Connection) -> dict[Kind, int]:
    """The kinds of events that are known in the file, and their numbers."""
    return {Kind(*kind): number for number, *kind in connection.execute(sql.KINDS).fetchall()}


def records_of_rows(
    connection: sqlite3.Connection, kinds: Kinds, rows: Sequence[Any], stream: str | None = None
) -> list[tuple[Any, ...]]:
    """The records of rows as FEED has them or, of a stream, as READ."""
    if stream is None and not {type(row[1]) for row in rows} <= {str}:
        raise Corrupted("a stream's name is no text: the file is damaged")
    try:
        return _records(rows, kinds.kinds, stream)
    except KeyError:
        kinds.add(stored_kinds(connection))
        return _records(rows, defaultdict(lambda: LOST, kinds.kinds), stream)


def _records(
    rows: Sequence[Any], kinds: Mapping[Any, Kind], stream: str | None
) -> list[tuple[Any, ...]]:
    if stream is None:
        return [
            (position, stream, version, kinds[kind], recorded_at, data, data_crc, rest)
            for position, stream, version, kind, recorded_at, data, data_crc, rest in rows
        ]
    return [
        (position, stream, version, kinds[kind], recorded_at, data, data_crc, rest)
        for position, version, kind, recorded_at, data, data_crc, rest in rows
    ]


def head_of(connection: sqlite3.Connection, stream: str) -> tuple[int | None, int]:
    """A stream's number and version; None and 0 for one that has no events."""
    row = connection.execute(sql.HEAD, (stream,)).fetchone()
    if row is None:
        return None, 0
    number, version = row
    if type(version) is not int:
        raise Corrupted(f"{stream} has no version, but {version!r}: the file is damaged")
    return number, version


def check_complete(what: str, numbers: list[int], first: int, end: int) -> None:
    """Raises Corrupted if a page that begins at `first` has holes, or is empty before the end."""
    if numbers != list(range(first, first + len(numbers))) or (not numbers and first <= end):
        raise Corrupted(f"events of {what} from {first} on are missing: the file is damaged")


def records_of_append(connection: sqlite3.Connection, kinds: Kinds, append_id: UUID) -> list[Record]:
    """The records of an append, in order; none if it was not stored."""
    key = append_id.bytes
    first = connection.execute(sql.FIND_KEYED, (key,)).fetchone()
    if first is None and is_own(append_id):
        place = own_end(append_id), key + bytes(4)
        first = connection.execute(sql.FIND_OWN, place).fetchone()
    if first is None:
        return []
    cursor = connection.execute(sql.OF_APPEND, first)
    try:
        rows = list(takewhile(lambda row: row[-1][:16] == key, cursor))
    except TypeError:
        raise Corrupted(f"an event of append {append_id} is damaged") from None
    finally:
        cursor.close()
    return [Record._make(record) for record in records_of_rows(connection, kinds, rows)]
