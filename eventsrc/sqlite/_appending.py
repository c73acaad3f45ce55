"""A transaction in which appends are stored in a SQLite file, one after the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from returns.result import Failure, Success

from eventsrc.events.codec import Codec, Kind
from eventsrc.events.epochs import Epochs
from eventsrc.events.pages import Events
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.record import Record
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
from eventsrc.sqlite._tags import known_types, page, positions
from eventsrc.stores._ids import OwnIds
from eventsrc.stores._known import Kinds
from eventsrc.stores._tagging import UNDECLARED, Bound, Tagging, other_tags
from eventsrc.stores.copying import refuse_append
from eventsrc.stores.operations import CONFLICT_EVENTS, Appended, Conflict, Expect, NotAppended
from eventsrc.stores.prepare import Prepared, changed
from eventsrc.stores.tags import BoundaryChanged


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
        self.declared: dict[Kind, list[Any]] = {}
        """The tags that the events of those kinds have, and whether all of them have them."""
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
        for bound in asked.bounds:
            if (conflict := self._changed(bound)) is not None:
                return Failure(conflict)
        first = self.end + 1
        if not asked.is_keyed:
            asked.append_id = self.ids.naming(asked.append_id, first)
        records = asked.records(self.end, self.version, self.now)
        numbers = {part.stream: self.number(part.stream) for part in asked.parts}
        if asked.tagging is None:
            kinds = {kind: self.kind(kind) for kind in {record[3] for record in records}}
        else:
            kinds = self._tag(records, asked.tagging)
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

    def kind(self, kind: Kind, declared: str = UNDECLARED) -> int:
        """The number of a kind; a new one if it is new. It is looked up: tables may be emptied.

        declared: the tags that an event which is to be appended has by its type. Raises OtherTags if
        those of the stored ones are others.
        """
        number = self.kind_numbers.get(kind)
        if number is None:
            row = self.connection.execute(sql.KIND, kind).fetchone()
            if row is None:
                new = *kind, declared, declared != UNDECLARED
                row = self.connection.execute(sql.ADD_KIND, new).lastrowid or 0, *new[3:]
            number, *self.declared[kind] = row
            self.kind_numbers[kind] = number
        stored, is_whole = self.declared[kind]
        if is_whole and stored != declared:
            raise other_tags(kind.type, stored, declared)
        return number

    def _tag(self, records: Sequence[Record], tagging: Tagging) -> dict[Kind, int]:
        """Stores the tags of events that are about to be stored; answers the numbers of their kinds."""
        rows: list[tuple[str, int, int]] = []
        numbers: dict[Kind, int] = {}
        for at, (record, declared) in enumerate(zip(records, tagging.declared, strict=True)):
            number = numbers[record.kind] = self.kind(record.kind, declared)
            if self.declared[record.kind][0] == declared:
                rows += [(tag, record.position, number) for tag in tagging.of(at)]
        self.connection.executemany(sql.ADD_TAG, rows)
        return numbers

    def _changed(self, bound: Bound) -> BoundaryChanged | None:
        """The events of a boundary that came after it was read, if there are any."""
        bound.check(self.epochs, self.end)
        after = bound.cursor.position
        if after == self.end:
            return None
        types = known_types(self.connection, bound.items)
        found = positions(self.connection, types, bound.items, after, self.end)
        rows, _ = page(self.connection, found, CONFLICT_EVENTS)
        if not rows:
            return None
        kinds = kinds_of(self.connection, self.kinds.copy(), [row[3] for row in rows])
        return changed(bound.boundary, Events(rows, self.codec, kinds))

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
