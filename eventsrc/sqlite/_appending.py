"""A transaction in which appends are stored in a SQLite file, one after the other."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any

from returns.result import Failure, Success

from eventsrc.events.codec import Codec, Kind
from eventsrc.events.epochs import Epochs
from eventsrc.events.pages import Events
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Outcome
from eventsrc.sqlite import _sql as sql
from eventsrc.sqlite._rows import (
    end_of,
    epochs_of,
    head_of,
    kinds_of,
    of_one_page,
    position_of,
    records_of,
    records_of_append,
)
from eventsrc.stores._ids import OwnIds
from eventsrc.stores._known import Kinds
from eventsrc.stores.copying import refuse_append
from eventsrc.stores.operations import CONFLICT_EVENTS, Appended, Conflict, Expect, NotAppended
from eventsrc.stores.prepare import Prepared


class Appending:
    """A transaction in which appends are stored one after the other."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        store_id: str,
        ids: OwnIds,
        codec: Codec,
        kinds: Kinds,
        epochs: Epochs,
        now: int,
    ) -> None:
        self.connection = connection
        self.store_id = store_id
        self.ids = ids
        self.codec = codec
        self.kinds = kinds
        self.epochs = epochs
        """Of the store, as soon as something of it was read here."""
        self.now = now
        self.kind_numbers: dict[Kind, int] = {}
        self.numbers: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.end, number = end_of(connection)
        if number != epochs.current:
            self.epochs = epochs_of(connection)
        """The last position, with what this transaction has appended."""

    def append(self, asked: Prepared) -> Outcome[Appended, NotAppended]:
        """Stores an append, if its conditions hold and it has not been stored before."""
        if asked.is_keyed and (again := self._again(asked)) is not None:
            return again
        refuse_append(self.epochs)
        unmet = asked.unmet(self.version)
        asked.check_epochs(self.epochs, partial(position_of, self.connection))
        if unmet is not None:
            return Failure(self._conflict(*unmet))
        first = self.end + 1
        if not asked.is_keyed:
            asked.append_id = self.ids.naming(asked.append_id, first)
        records = asked.records(self.end, self.version, self.now)
        numbers = {part.stream: self.number(part.stream) for part in asked.parts}
        kinds = {kind: self.kind(kind) for kind in {record[3] for record in records}}
        rows = [
            (position, numbers[stream], version, kinds[kind], recorded_at, data, data_crc, rest)  # type: ignore[index]
            for position, stream, version, kind, recorded_at, data, data_crc, rest in records
        ]
        if len(rows) == 1:
            self.connection.execute(sql.ADD_EVENT, rows[0])
        else:
            self.connection.executemany(sql.ADD_EVENT, rows)
        self.end += len(rows)
        if asked.is_keyed:
            self.connection.execute(sql.ADD_APPEND, (asked.append_id.bytes, first))
        versions = {record[1]: record[2] for record in records}  # the last of each stream remains
        self.versions |= versions
        epoch, seen = self.epochs.current, {StreamId(stream): at for stream, at in versions.items()}
        cursor = Cursor(self.store_id, self.end, epoch)
        return Success(Appended(asked.append_id, Token(self.store_id, seen, epoch), cursor))

    def version(self, stream: str) -> int:
        """The version of a stream, with what this transaction has appended."""
        if stream not in self.versions:
            number, self.versions[stream], _ = head_of(self.connection, stream)
            if number is not None:
                self.numbers[stream] = number
        return self.versions[stream]

    def number(self, stream: str) -> int:
        """The number of a stream whose version has been asked for; a new one if it is new."""
        number = self.numbers.get(stream)
        if number is None:
            number = self.connection.execute(sql.ADD_STREAM, (stream,)).lastrowid or 0
            self.numbers[stream] = number
        return number

    def kind(self, kind: Kind) -> int:
        """The number of a kind; a new one if it is new. It is looked up: tables may be emptied."""
        number = self.kind_numbers.get(kind)
        if number is None:
            row = self.connection.execute(sql.KIND, kind).fetchone()
            number = row[0] if row else self.connection.execute(sql.ADD_KIND, kind).lastrowid or 0
            self.kind_numbers[kind] = number
        return number

    def _again(self, asked: Prepared) -> Outcome[Appended, NotAppended] | None:
        stored = records_of_append(self.connection, self.kinds.copy(), self.ids, asked.append_id)
        if not stored:
            return None
        self.epochs = epochs_of(self.connection)
        return asked.again(stored, self.store_id, self.epochs.current)

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        rows: list[Any] = []
        if isinstance(expected, int):
            wanted = self.numbers.get(stream), expected, CONFLICT_EVENTS
            rows, _ = of_one_page(self.connection.execute(sql.READ, wanted), data=4, rest=6)
        kinds = kinds_of(self.connection, self.kinds.copy(), [row[1] for row in rows])
        events: Events[Any] = Events(records_of(stream, rows), self.codec, kinds)
        return Conflict(stream, expected, actual, events)
