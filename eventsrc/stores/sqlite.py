"""The SQLite store: streams in a file, for one process or several.

What is stored can be read with SQL through the view `eventsrc_events`, which shows data as text.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc.codec import Codec, Kind
from eventsrc.interpreter import Interpreter, on
from eventsrc.positions import Cursor, Token
from eventsrc.program import Outcome
from eventsrc.recorded import LOST, Corrupted, Events, Record, StreamData
from eventsrc.sqlite_file import CommitFailed, Durability, Schema, SqliteFile
from eventsrc.store import (
    CONFLICT_EVENTS,
    Append,
    AppendAll,
    Appended,
    Conflict,
    Expect,
    FeedPage,
    FindAppend,
    Head,
    LoadSnapshot,
    NotAppended,
    Page,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StoreOp,
    Unknown,
    holds,
)
from eventsrc.stores.group_commit import GroupCommit, Raised
from eventsrc.stores.known import Heads, Kinds
from eventsrc.stores.prepare import (
    Prepared,
    appended,
    check,
    check_end,
    is_own,
    microseconds,
    own_end,
    prepare,
)
from eventsrc.stream_id import StreamId

STAMP: Final = 0x65737263
"""The application_id of a store's file: "esrc"."""

GROUP: Final = 512
"""The most appends that share a commit."""

_SCRIPTS: Final = (
    # Streams and kinds have small numbers: rows are short, and the index of events is half as large as
    # with names. An event is found by its position in the feed, and by stream and version; the first
    # event of an append by the append's id, if the caller chose that.
    """
    CREATE TABLE eventsrc_store (id TEXT NOT NULL);
    CREATE TABLE eventsrc_stream (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE eventsrc_kind (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        schema INTEGER NOT NULL,
        codec TEXT NOT NULL,
        UNIQUE (type, schema, codec)
    );
    CREATE TABLE eventsrc_event (
        position INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL REFERENCES eventsrc_stream,
        version INTEGER NOT NULL,
        kind INTEGER NOT NULL REFERENCES eventsrc_kind,
        recorded_at INTEGER NOT NULL,
        data BLOB NOT NULL,
        data_crc INTEGER NOT NULL,
        rest BLOB NOT NULL
    );
    CREATE UNIQUE INDEX eventsrc_event_by_stream ON eventsrc_event (stream, version);
    CREATE TABLE eventsrc_append (
        id BLOB PRIMARY KEY,
        position INTEGER NOT NULL REFERENCES eventsrc_event
    ) WITHOUT ROWID;
    CREATE TABLE eventsrc_snapshot (
        stream TEXT NOT NULL,
        fold TEXT NOT NULL,
        fold_version INTEGER NOT NULL,
        version INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (stream, fold, fold_version)
    );
    CREATE VIEW eventsrc_events AS
        SELECT position, name AS stream, version, type, schema,
            CAST(data AS TEXT) AS data,
            CAST(substr(rest, 25) AS TEXT) AS metadata,
            hex(substr(rest, 1, 16)) AS append_id,
            strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at / 1e6, 'unixepoch') AS recorded_at
        FROM eventsrc_event
        JOIN eventsrc_stream ON eventsrc_stream.id = stream
        JOIN eventsrc_kind ON eventsrc_kind.id = kind;
    """,
)


SCHEMA: Final = Schema("store", _SCRIPTS, STAMP)


# by eventsrc_stream's unique name, then eventsrc_event_by_stream
_HEAD: Final = """
    SELECT id, (SELECT max(version) FROM eventsrc_event WHERE stream = eventsrc_stream.id)
    FROM eventsrc_stream WHERE name = ?
"""

# by eventsrc_event_by_stream
_READ_DATA: Final = """
    SELECT version, kind, data, data_crc FROM eventsrc_event
    WHERE stream = ? AND version > ?
    ORDER BY version LIMIT ?
"""
_READ: Final = """
    SELECT position, version, kind, recorded_at, data, data_crc, rest FROM eventsrc_event
    WHERE stream = ? AND version > ?
    ORDER BY version LIMIT ?
"""
_READ_BACKWARDS: Final = """
    SELECT position, version, kind, recorded_at, data, data_crc, rest FROM eventsrc_event
    WHERE stream = ? AND version < ?
    ORDER BY version DESC LIMIT ?
"""

# by the primary key; CROSS JOIN keeps SQLite from beginning with the streams
_END: Final = "SELECT coalesce(max(position), 0) FROM eventsrc_event"
_FEED: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position > :after AND position <= :end
        AND (:prefix = '' OR (name >= :prefix AND name < :beyond))
        AND (:types IS NULL OR kind IN (
            SELECT id FROM eventsrc_kind WHERE type IN (SELECT value FROM json_each(:types))
        ))
    ORDER BY position LIMIT :limit
"""
_KINDS: Final = "SELECT id, type, schema, codec FROM eventsrc_kind"

# by the primary key of eventsrc_append
_FIND_KEYED: Final = "SELECT position FROM eventsrc_append WHERE id = ?"
# by the primary key, from where the id says
_FIND_OWN: Final = """
    SELECT position FROM eventsrc_event WHERE position > ? AND substr(rest, 1, 20) = ?
    ORDER BY position LIMIT 1
"""
# by the primary key: the events of an append stand together
_OF_APPEND: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position >= ? ORDER BY position
"""

_ADD_STREAM: Final = "INSERT INTO eventsrc_stream (name) VALUES (?)"
_ADD_KIND: Final = "INSERT INTO eventsrc_kind (type, schema, codec) VALUES (?, ?, ?)"
_ADD_APPEND: Final = "INSERT INTO eventsrc_append VALUES (?, ?)"
_ADD_EVENT: Final = "INSERT INTO eventsrc_event VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_LOAD_SNAPSHOT: Final = """
    SELECT version, data FROM eventsrc_snapshot WHERE stream = ? AND fold = ? AND fold_version = ?
"""
_SAVE_SNAPSHOT: Final = """
    INSERT INTO eventsrc_snapshot VALUES (:stream, :fold, :fold_version, :version, :data)
    ON CONFLICT DO UPDATE SET version = excluded.version, data = excluded.data
    WHERE excluded.version > eventsrc_snapshot.version
"""

_Answer: TypeAlias = Outcome[Appended, NotAppended]


@attrs.define
class _Job:
    """An append in line."""

    asked: Prepared
    deadline: float
    """When its turn to write must have come, by time.monotonic()."""


class SqliteStore(Interpreter[StoreOp]):
    """A store in a SQLite file. It may be used from threads, tasks and several processes at once.

    path: of the file; it is made if it is not there.
    codec: what it encodes with; one for all registered events if not given.
    durability: what an acknowledged append survives: "os", a power cut; "process", only a crash of the
        process, which is faster.
    timeout: how many seconds an append may wait for other writers, before StoreBusy.
    read_only: refuses appends with StoreReadOnly, and does not make the file.
    clock: gives `recorded_at`, in seconds since 1970.

    Raises NotAStore for a file of another application, or of a newer version of this library.
    Appends that wait together, in threads or tasks, share one commit. In `run_async`, appending does
    not hold up the event loop; reading does, for as long as SQLite takes to find a page.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        durability: Durability = "os",
        timeout: float = 5.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.codec = Codec() if codec is None else codec
        self._clock = clock
        self._kinds = Kinds()
        self._heads = Heads()
        self._file = SqliteFile(
            path, SCHEMA, durability=durability, timeout=timeout, read_only=read_only
        )
        self._line: GroupCommit[_Job, _Answer] = GroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._file.busy, most=GROUP
        )
        try:
            self.store_id: Final = self._find_id()
            self._end = self._find_end()
        except BaseException:
            self._file.close()
            raise

    @property
    def durability(self) -> Durability:
        """What an acknowledged append survives."""
        return self._file.durability

    def close(self) -> None:
        """Finishes the appends that are under way and closes the file."""
        self._line.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- appending

    @on(Append)
    def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return self._line.perform(self._job(op), self._file.timeout)

    @on(Append).coroutine
    async def append_async(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return await self._line.perform_async(self._job(op), self._file.timeout)

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return self._line.perform(self._job(op), self._file.timeout)

    @on(AppendAll).coroutine
    async def append_all_async(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return await self._line.perform_async(self._job(op), self._file.timeout)

    def _job(self, op: Append | AppendAll) -> _Job:
        self._file.check_usable()
        asked = prepare(op, self.codec, self.store_id, self._end)
        return _Job(asked, time.monotonic() + self._file.timeout)

    def _commit(self, group: Sequence[_Job]) -> list[_Answer | Raised]:
        """Stores a group in one transaction; if that fails, each of it in one of its own."""
        try:
            return [*self._transact(group)]
        except CommitFailed as failed:
            return [Failure(Unknown(job.asked.append_id, str(failed))) for job in group]
        except Exception as error:
            if len(group) == 1:
                return [Raised(error)]
        return [self._commit([job])[0] for job in group]

    def _transact(self, group: Sequence[_Job]) -> list[_Answer]:
        if len(group) == 1:
            answer = self._append_alone(group[0])
            if answer is not None:
                return [answer]
        with self._file.writing(group[0].deadline) as connection:
            writing = _Writing(connection, self.store_id, self.codec, self._kinds, self._now())
            answers = [writing.append(job.asked) for job in group]
        self._end = max(self._end, writing.end)
        self._kinds.add(writing.new_kinds)
        for stream, version in writing.versions.items():
            if version:
                self._heads.move(stream, writing.numbers[stream], version)
        return answers

    def _append_alone(self, job: _Job) -> _Answer | None:
        """Appends one event to a stream whose head is known, in one statement; None if that won't do.

        A head that others have moved is no danger: the index of streams and versions refuses the event.
        """
        asked = job.asked
        part = asked.parts[0]
        if asked.is_keyed or asked.demands or len(asked.parts) > 1 or len(part.events) > 1:
            return None
        number, version = self._heads.of(part.stream)
        kind = self._kinds.numbers.get(part.events[0].kind)
        if not version or kind is None or not holds(part.expected, version):
            return None
        (record,) = asked.records(0, lambda _: version, self._now())
        row = None, number, version + 1, kind, *record[4:]
        try:
            position = self._file.write(_ADD_EVENT, row, job.deadline)
        except sqlite3.IntegrityError:
            return None
        self._end = position
        self._heads.move(part.stream, number, version + 1)
        token = Token(self.store_id, {part.stream: version + 1})
        return Success(Appended(asked.append_id, token, Cursor(self.store_id, position)))

    def _now(self) -> int:
        return microseconds(self._clock)

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """What became of an append."""
        check(op)
        with self._file.reading() as connection:
            stored = _records_of_append(connection, self._kinds, op.append_id)
        return appended(op.append_id, stored, self.store_id) if stored else None

    # --- reading

    @on(Read)
    def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        check(op)
        sql = _READ_BACKWARDS if op.backwards else _READ if op.whole else _READ_DATA
        with self._file.reading() as connection:
            number, head = _stream(connection, op.stream)
            place = (op.after or head + 1) if op.backwards else op.after
            rows = connection.execute(sql, (number, place, op.limit)).fetchall()
            if sql is _READ_DATA:
                kinds = self._kinds_of(connection, {row[1] for row in rows})
                events: Events[Any] = StreamData(op.stream, rows, kinds, self.codec)
                versions = [row[0] for row in rows]
            else:
                records = _records_of_rows(connection, self._kinds, rows, op.stream)
                events = Events(records, self.codec)
                versions = [row[1] for row in rows]
        if op.backwards:
            newest = max([min(place - 1, head), *versions[:1]])
            first = newest - min(op.limit, newest) + 1
            _check_complete(op.stream, versions[::-1], first, newest)
        else:
            _check_complete(op.stream, versions, op.after + 1, head)
        head = max([head, *versions[:1], *versions[-1:]])  # others may have appended since it was read
        if number is not None:
            self._heads.move(op.stream, number, head)
        token = Token(self.store_id, {op.stream: head})
        return Page(events, head, token)

    @on(Head)
    def head(self, op: Head) -> int:
        """The version of a stream."""
        check(op)
        with self._file.reading() as connection:
            return _stream(connection, op.stream)[1]

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        check(op)
        after = op.after.check(self.store_id)
        with self._file.reading() as connection:
            ((end,),) = connection.execute(_END).fetchall()
            wanted = {
                "after": after,
                "end": end,
                "limit": op.limit,
                "prefix": op.prefix,
                "beyond": op.prefix[:-1] + chr(ord("/") + 1),
                "types": None if op.types is None else json.dumps(sorted(op.types)),
            }
            rows = connection.execute(_FEED, wanted).fetchall()
            events = _records_of_rows(connection, self._kinds, rows)
        check_end(op, end)
        if not op.prefix and op.types is None:
            _check_complete("the feed", [row[0] for row in rows], after + 1, end)
        last = rows[-1][0] if len(rows) == op.limit else max(after, end)
        place, end_place = Cursor(self.store_id, last), Cursor(self.store_id, end)
        return FeedPage(Events(events, self.codec), place, end_place)

    # --- snapshots

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        check(op)
        with self._file.reading() as connection:
            key = op.stream, op.fold, op.fold_version
            row = connection.execute(_LOAD_SNAPSHOT, key).fetchone()
        return None if row is None else Snapshot(*key, *row)

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        check(op)
        kept = op.snapshot
        row = {
            "stream": kept.stream,
            "fold": kept.fold,
            "fold_version": kept.fold_version,
            "version": kept.version,
            "data": kept.data,
        }
        with self._file.writing() as connection:
            connection.execute(_SAVE_SNAPSHOT, row)

    def _kinds_of(self, connection: sqlite3.Connection, numbers: set[Any]) -> Mapping[Any, Kind]:
        if not numbers <= self._kinds.kinds.keys():
            self._kinds.add(_stored_kinds(connection))
        return self._kinds.kinds

    def _find_end(self) -> int:
        with self._file.reading() as connection:
            return int(connection.execute(_END).fetchone()[0])

    def _find_id(self) -> str:
        """The store's id, which its first opening makes up."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT id FROM eventsrc_store").fetchone()
        if row is None:
            with self._file.writing() as connection:
                row = connection.execute("SELECT id FROM eventsrc_store").fetchone()
                if row is None:
                    row = (secrets.token_hex(8),)
                    connection.execute("INSERT INTO eventsrc_store VALUES (?)", row)
        return str(row[0])


class _Writing:
    """A transaction in which appends are stored one after the other."""

    def __init__(
        self, connection: sqlite3.Connection, store: str, codec: Codec, kinds: Kinds, now: int
    ) -> None:
        self.connection = connection
        self.store = store
        self.codec = codec
        self.kinds = kinds
        self.now = now
        self.new_kinds: dict[Kind, int] = {}
        self.numbers: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.end = 0
        """The last position that has been stored here."""

    def append(self, asked: Prepared) -> _Answer:
        """Stores an append, if its conditions hold and it has not been stored before."""
        if asked.is_keyed and (again := self._again(asked)) is not None:
            return again
        unmet = asked.unmet(self.version)
        if unmet is not None:
            return Failure(self._conflict(*unmet))
        records = asked.records(0, self.version, self.now)
        numbers = {part.stream: self.number(part.stream) for part in asked.parts}
        kinds = {kind: self.kind(kind) for kind in {record[3] for record in records}}
        rows = [
            (None, numbers[stream], version, kinds[kind], recorded_at, data, data_crc, rest)  # type: ignore[index]
            for _, stream, version, kind, recorded_at, data, data_crc, rest in records
        ]
        self.end = self._insert(rows)
        if asked.is_keyed:
            first = self.end - len(rows) + 1
            self.connection.execute(_ADD_APPEND, (asked.append_id.bytes, first))
        versions = {record[1]: record[2] for record in records}  # the last of each stream remains
        self.versions |= versions
        token = Token(self.store, {StreamId(stream): at for stream, at in versions.items()})
        return Success(Appended(asked.append_id, token, Cursor(self.store, self.end)))

    def _insert(self, rows: Sequence[Any]) -> int:
        """Stores events at the end of the feed; answers the position of the last."""
        if len(rows) == 1:
            return self.connection.execute(_ADD_EVENT, rows[0]).lastrowid or 0
        self.connection.executemany(_ADD_EVENT, rows)
        return int(self.connection.execute("SELECT last_insert_rowid()").fetchone()[0])

    def version(self, stream: str) -> int:
        """The version of a stream, with what this transaction has appended."""
        if stream not in self.versions:
            number, self.versions[stream] = _stream(self.connection, stream)
            if number is not None:
                self.numbers[stream] = number
        return self.versions[stream]

    def number(self, stream: str) -> int:
        """The number of a stream whose version has been asked for; a new one if it is new."""
        number = self.numbers.get(stream)
        if number is None:
            number = self.connection.execute(_ADD_STREAM, (stream,)).lastrowid or 0
            self.numbers[stream] = number
        return number

    def kind(self, kind: Kind) -> int:
        """The number of a kind; a new one if it is new."""
        number = self.kinds.numbers.get(kind) or self.new_kinds.get(kind)
        if number is None:
            self.new_kinds |= _stored_kinds(self.connection)
            number = self.new_kinds.get(kind)
        if number is None:
            number = self.connection.execute(_ADD_KIND, kind).lastrowid or 0
            self.new_kinds[kind] = number
        return number

    def _again(self, asked: Prepared) -> _Answer | None:
        stored = _records_of_append(self.connection, self.kinds.copy(), asked.append_id)
        return asked.again(stored, self.store) if stored else None

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        rows: list[Any] = []
        if isinstance(expected, int):
            wanted = self.numbers.get(stream), expected, CONFLICT_EVENTS
            rows = self.connection.execute(_READ, wanted).fetchall()
        events = _records_of_rows(self.connection, self.kinds.copy(), rows, stream)
        return Conflict(stream, expected, actual, Events(events, self.codec))


def _stored_kinds(connection: sqlite3.Connection) -> dict[Kind, int]:
    return {Kind(*kind): number for number, *kind in connection.execute(_KINDS).fetchall()}


def _records_of_rows(
    connection: sqlite3.Connection, kinds: Kinds, rows: Sequence[Any], stream: str | None = None
) -> list[tuple[Any, ...]]:
    """The records of rows as _FEED has them or, of a stream, as _READ."""
    try:
        return _records(rows, kinds.kinds, stream)
    except KeyError:
        kinds.add(_stored_kinds(connection))
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


def _stream(connection: sqlite3.Connection, stream: str) -> tuple[int | None, int]:
    """A stream's number and version; None and 0 for one that has no events."""
    row = connection.execute(_HEAD, (stream,)).fetchone()
    if row is None:
        return None, 0
    number, version = row
    if type(version) is not int:
        raise Corrupted(f"{stream} has no version, but {version!r}: the file is damaged")
    return number, version


def _check_complete(what: str, numbers: list[int], first: int, end: int) -> None:
    """Raises Corrupted if a page that begins at `first` has holes, or is empty before the end."""
    if numbers != list(range(first, first + len(numbers))) or (not numbers and first <= end):
        raise Corrupted(f"events of {what} from {first} on are missing: the file is damaged")


def _records_of_append(connection: sqlite3.Connection, kinds: Kinds, append_id: UUID) -> list[Record]:
    key = append_id.bytes
    first = connection.execute(_FIND_KEYED, (key,)).fetchone()
    if first is None and is_own(append_id):
        place = own_end(append_id), key + bytes(4)
        first = connection.execute(_FIND_OWN, place).fetchone()
    if first is None:
        return []
    cursor = connection.execute(_OF_APPEND, first)
    rows = list(takewhile(lambda row: row[-1][:16] == key, cursor))
    cursor.close()
    return [Record._make(record) for record in _records_of_rows(connection, kinds, rows)]


def _interrupted(job: _Job) -> _Answer:
    return Failure(Unknown(job.asked.append_id, "the thread that was committing it was interrupted"))
