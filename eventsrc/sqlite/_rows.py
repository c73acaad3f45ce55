"""Rows of a SQLite store's tables, made into records."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any
from uuid import UUID

from eventsrc.events.codec import Kind
from eventsrc.events.epochs import Epochs
from eventsrc.events.record import LOST_KIND, Corrupted, Record
from eventsrc.sqlite import _sql as sql
from eventsrc.stores._ids import OwnIds
from eventsrc.stores._known import Kinds
from eventsrc.stores.operations import MAX_PAGE_BYTES


def stored_kinds(connection: sqlite3.Connection) -> dict[Kind, int]:
    """The kinds of events that are known in the file, and their numbers."""
    return {Kind(*kind): number for number, *kind in connection.execute(sql.KINDS).fetchall()}


def kinds_of(
    connection: sqlite3.Connection, kinds: Kinds, numbers: Collection[Any]
) -> Mapping[Any, Kind]:
    """The kinds that numbers stand for."""
    if not kinds.kinds.keys() >= {*numbers}:
        kinds.add(stored_kinds(connection))
    return kinds.kinds


def records_of(stream: str, rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The records of rows as READ has them, with the numbers of their kinds."""
    return [
        (position, stream, version, kind, recorded_at, data, data_crc, rest)
        for version, kind, position, recorded_at, data, data_crc, rest in rows
    ]


def head_of(connection: sqlite3.Connection, stream: str) -> tuple[int | None, int, int]:
    """A stream's number, None if it has no events, its version, and the epoch of the store."""
    number, version, epoch = connection.execute(sql.HEAD, (stream,)).fetchone()
    if number is None and type(epoch) is int:
        return None, 0, epoch
    if type(version) is not int:
        raise Corrupted(f"{stream} has no version, but {version!r}: the file is damaged")
    if type(epoch) is not int:
        raise _no_epoch(epoch)
    return number, version, epoch


def position_of(connection: sqlite3.Connection, stream: str, version: int) -> int | None:
    """The position of an event, if there is one."""
    row = connection.execute(sql.POSITION, (stream, version)).fetchone()
    return None if row is None else row[0]


def end_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """The last position of the feed, and the epoch of the store."""
    ((end, epoch),) = connection.execute(sql.END).fetchall()
    if type(end) is not int:
        raise Corrupted(f"the feed ends at {end!r:.100}, which is no position: the file is damaged")
    if type(epoch) is not int:
        raise _no_epoch(epoch)
    return end, epoch


def epochs_of(connection: sqlite3.Connection) -> Epochs:
    """The epochs of the store."""
    rows = connection.execute(sql.EPOCHS).fetchall()
    if not rows or not {type(number) for row in rows for number in row} <= {int}:
        raise _no_epoch(rows)
    return Epochs.stored(rows)


def _no_epoch(found: object) -> Corrupted:
    return Corrupted(f"the store's epoch is {found!r:.100}: the file is damaged")


def of_one_page(
    cursor: sqlite3.Cursor | Generator[Any, None, None], data: int, rest: int | None = None
) -> tuple[list[Any], bool]:
    """The first rows of a query that one page holds, and whether there are more. No other is read.

    data, rest: the columns that have an event's data and, if they are read, its metadata.
    """
    rows: list[Any] = []
    room = MAX_PAGE_BYTES
    for row in cursor:
        try:
            room -= len(row[data]) + (0 if rest is None else len(row[rest]))
        except TypeError:  # a damaged one, of which its reader is told
            room -= 1
        if room < 0 and rows:
            cursor.close()
            return rows, True
        rows.append(row)
    return rows, False


def columns(rows: Sequence[Any], width: int) -> tuple[tuple[Any, ...], ...]:
    """The columns of rows that have so many."""
    return tuple(zip(*rows, strict=True)) or ((),) * width


def check_streams(streams: Iterable[Any]) -> None:
    """Raises Corrupted unless the names of streams are texts."""
    if not {*map(type, streams)} <= {str}:
        raise Corrupted("a stream's name is no text: the file is damaged")


def check_positions(positions: Sequence[Any]) -> None:
    """Raises Corrupted unless these can be the positions of events."""
    if not {*map(type, positions)} <= {int} or min(positions, default=1) < 1:
        raise Corrupted("an event's position is none: the file is damaged")


def check_complete(what: str, numbers: Sequence[int], first: int, end: int) -> None:
    """Raises Corrupted if a page that begins at `first` has holes, or is empty before the end."""
    if [*numbers] != [*range(first, first + len(numbers))] or (not numbers and first <= end):
        raise _missing(what, first)


def check_count(what: str, found: int, first: int, count: int) -> None:
    """Raises Corrupted unless so many rows were found, of numbers from `first` on without holes."""
    if found != count:
        raise _missing(what, first)


def _missing(what: str, first: int) -> Corrupted:
    return Corrupted(f"events of {what} from {first} on are missing: the file is damaged")


def records_of_append(
    connection: sqlite3.Connection, kinds: Kinds, ids: OwnIds, append_id: UUID
) -> list[Record]:
    """The records of an append, in order; none if it was not stored."""
    key = append_id.bytes
    first = connection.execute(sql.FIND_KEYED, (key,)).fetchone()
    if first is None and (position := ids.position(append_id)) is not None:
        first = connection.execute(sql.FIND_OWN, (position, key + bytes(4))).fetchone()
    if first is None:
        return []
    cursor = connection.execute(sql.OF_APPEND, first)
    try:
        rows = list(takewhile(lambda row: row[-1][:16] == key, cursor))
    except TypeError:
        raise Corrupted(f"an event of append {append_id} is damaged") from None
    finally:
        cursor.close()
    check_streams([row[1] for row in rows])
    check_positions([row[0] for row in rows])
    known = kinds_of(connection, kinds, [row[3] for row in rows])
    return [Record._make(row)._replace(kind=known.get(row[3], LOST_KIND)) for row in rows]
