"""A SQLite store as the copy of another: its records are kept as they are there."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final
from uuid import UUID

from eventsrc.events.codec import Kind
from eventsrc.events.epochs import COPY, Epochs
from eventsrc.events.record import LOST_KIND, Record
from eventsrc.sqlite import _sql as sql
from eventsrc.sqlite._rows import end_of, epochs_of, head_of, stored_kinds
from eventsrc.stores._ids import OwnIds
from eventsrc.stores.copying import EndCopy, Identity, KeepRecords, NotACopy, check_versions, keeping


def identity_of(connection: sqlite3.Connection) -> Identity:
    """The store itself, as it stands in its file."""
    store_id, key = connection.execute(sql.STORE).fetchone()
    return Identity(store_id, key, epochs_of(connection))


def keep(connection: sqlite3.Connection, op: KeepRecords) -> int:
    """Keeps records, in the transaction that a connection is in; answers the last position then."""
    own, (end, _) = identity_of(connection), end_of(connection)

    def stored(first: int, last: int) -> Sequence[Record]:
        kinds = {number: kind for kind, number in stored_kinds(connection).items()}
        rows = connection.execute(sql.RECORDS, (first, last)).fetchall()
        return [Record._make(row)._replace(kind=kinds.get(row[3], LOST_KIND)) for row in rows]

    todo = keeping(op, own, end, stored)
    if todo.is_new:
        connection.execute(sql.SET_STORE, (op.identity.store_id, op.identity.secret))
    if todo.epochs != own.epochs:
        _set_epochs(connection, todo.epochs)
    if todo.records:
        _insert(connection, todo.records, OwnIds(op.identity.secret))
    return end + len(todo.records)


def end_copy(connection: sqlite3.Connection, op: EndCopy, now: int) -> int:
    """Ends a copy; answers the store's last position. now: microseconds since 1970."""
    epochs, (end, _) = epochs_of(connection), end_of(connection)
    if epochs.is_copy:
        begins = epochs.begins
        if op.raise_epoch:
            begins = (*begins, epochs.next(end, now))
        _set_epochs(connection, Epochs(begins))
    return end


def _set_epochs(connection: sqlite3.Connection, epochs: Epochs) -> None:
    connection.execute(sql.CLEAR_EPOCHS)
    rows = [*epochs.begins, (COPY, 0)] if epochs.is_copy else epochs.begins
    connection.executemany(sql.ADD_EPOCH, rows)


_FIRST: Final = bytes(4)
"""The place of the first event of an append."""


def _is_found(record: Record, ids: OwnIds) -> bool:
    """Whether the first record of an append is found by the place that its id names."""
    return record.rest[6] >> 4 == 8 and ids.position(UUID(bytes=record.append_id)) == record.position


def _insert(connection: sqlite3.Connection, records: Sequence[Record], ids: OwnIds) -> None:
    numbers: dict[str, int] = {}

    def version_of(stream: str) -> int:
        number, version, _ = head_of(connection, stream)
        if number is None:
            number = connection.execute(sql.ADD_STREAM, (stream,)).lastrowid or 0
        numbers[stream] = number
        return version

    @cache
    def number_of(kind: Kind) -> int:
        row = connection.execute(sql.KIND, kind).fetchone()
        return row[0] if row else connection.execute(sql.ADD_KIND, (*kind, "", 0)).lastrowid or 0

    check_versions(records, version_of)
    connection.executemany(
        sql.ADD_EVENT,
        [
            (position, numbers[stream], version, number_of(kind), at, data, data_crc, rest)
            for position, stream, version, kind, at, data, data_crc, rest in records
        ],
    )
    indexed = [
        (record.append_id, record.position)
        for record in records
        if record.rest[16:20] == _FIRST and not _is_found(record, ids)
    ]
    try:
        connection.executemany(sql.ADD_APPEND, indexed)
    except sqlite3.IntegrityError:
        raise NotACopy("two appends of the records have one id: the store is damaged") from None
