"""The SQLite store: streams in a file, for one process or several.

What is stored can be read with SQL through the view `eventsrc_events`, which shows data as text.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc.codec import Codec
from eventsrc.interpreter import Interpreter, on
from eventsrc.positions import Cursor, Token
from eventsrc.program import Outcome
from eventsrc.recorded import Corrupted, Record, Recorded
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
)
from eventsrc.stores.group_commit import GroupCommit, Raised
from eventsrc.stores.prepare import (
    Prepared,
    appended,
    check_read,
    check_stream,
    is_own,
    microseconds,
    prepare,
)
from eventsrc.stream_id import StreamId

STAMP: Final = 0x65737263
"""The application_id of a store's file: "esrc"."""

GROUP: Final = 512
"""The most appends that share a commit."""

_SCRIPTS: Final = (
    # Streams have small numbers, which makes the index of events half as large as names would.
    # An event is found by its position in the feed, by stream and version, and the first event of an
    # append by the append's id, if the caller chose that (is_own).
    """
    CREATE TABLE eventsrc_store (id TEXT NOT NULL);
    CREATE TABLE eventsrc_stream (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE eventsrc_event (
        position INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL REFERENCES eventsrc_stream,
        version INTEGER NOT NULL,
        append_id BLOB NOT NULL,
        nth INTEGER NOT NULL,
        type TEXT NOT NULL,
        schema INTEGER NOT NULL,
        codec TEXT NOT NULL,
        data BLOB NOT NULL,
        metadata BLOB NOT NULL,
        recorded_at INTEGER NOT NULL,
        data_crc INTEGER NOT NULL,
        rest_crc INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX eventsrc_event_by_stream ON eventsrc_event (stream, version);
    CREATE UNIQUE INDEX eventsrc_event_by_append ON eventsrc_event (append_id)
        WHERE nth = 0 AND substr(hex(append_id), 13, 1) <> '8';
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
            CAST(metadata AS TEXT) AS metadata,
            strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at / 1e6, 'unixepoch') AS recorded_at
        FROM eventsrc_event JOIN eventsrc_stream ON eventsrc_stream.id = stream;
    """,
)


SCHEMA: Final = Schema("store", _SCRIPTS, STAMP)


def _selecting(sql: str, stream: str) -> str:
    """A statement that selects records; `stream` is what gives their stream's name."""
    columns = (
        "position, {stream}, version, append_id, nth, type, schema, codec, data, metadata, "
        "recorded_at, data_crc, rest_crc"
    )
    return sql.replace("{record}", columns.replace("{stream}", stream))


# by eventsrc_stream's unique name, then eventsrc_event_by_stream
_HEAD: Final = """
    SELECT id, (SELECT max(version) FROM eventsrc_event WHERE stream = eventsrc_stream.id)
    FROM eventsrc_stream WHERE name = ?
"""
_READ: Final = _selecting(
    """
    SELECT {record} FROM eventsrc_event
    WHERE stream = (SELECT id FROM eventsrc_stream WHERE name = ?) AND version > ?
    ORDER BY version LIMIT ?
    """,
    stream="?",
)
_READ_BACKWARDS: Final = _selecting(
    """
    SELECT {record} FROM eventsrc_event
    WHERE stream = (SELECT id FROM eventsrc_stream WHERE name = ?) AND version < ?
    ORDER BY version DESC LIMIT ?
    """,
    stream="?",
)

# by the primary key; CROSS JOIN keeps SQLite from beginning with the streams
_END: Final = "SELECT coalesce(max(position), 0) FROM eventsrc_event"
_FEED: Final = _selecting(
    """
    SELECT {record} FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position > :after AND position <= :end
        AND (:prefix = '' OR (name >= :prefix AND name < :beyond))
        AND (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))
    ORDER BY position LIMIT :limit
    """,
    stream="name",
)

# by eventsrc_event_by_append
_FIND_KEYED: Final = """
    SELECT position FROM eventsrc_event
    WHERE append_id = ? AND nth = 0 AND substr(hex(append_id), 13, 1) <> '8'
"""
# by the primary key, from the newest event back
_FIND_OWN: Final = """
    SELECT position FROM eventsrc_event
    WHERE append_id = ? AND nth = 0 ORDER BY position DESC LIMIT 1
"""
# by the primary key: the events of an append stand together
_OF_APPEND: Final = _selecting(
    """
    SELECT {record} FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position >= ? ORDER BY position
    """,
    stream="name",
)

_ADD_STREAM: Final = "INSERT INTO eventsrc_stream (name) VALUES (?)"
_ADD_EVENT: Final = "INSERT INTO eventsrc_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

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
        self._file = SqliteFile(
            path, SCHEMA, durability=durability, timeout=timeout, read_only=read_only
        )
        self._line: GroupCommit[_Job, _Answer] = GroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._file.busy, most=GROUP
        )
        try:
            self.store_id: Final = self._find_id()
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
        return _Job(prepare(op, self.codec, self.store_id), time.monotonic() + self._file.timeout)

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
        with self._file.writing(group[0].deadline) as connection:
            writing = _Writing(connection, self.store_id, self.codec, microseconds(self._clock))
            return [writing.append(job.asked) for job in group]

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """What became of an append."""
        with self._file.reading() as connection:
            stored = _records_of_append(connection, op.append_id)
        return appended(stored, self.store_id) if stored else None

    # --- reading

    @on(Read)
    def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        check_read(op)
        with self._file.reading() as connection:
            _, head = _stream(connection, op.stream)
            if op.backwards:
                before = op.after or head + 1
                rows = _page(connection, _READ_BACKWARDS, op.stream, before, op.limit)
                newest = max(min(before - 1, head), rows[0][2] if rows else 0)
                first = newest - min(op.limit, newest) + 1
                _check_complete(op.stream, [row[2] for row in rows][::-1], first, newest)
            else:
                rows = _page(connection, _READ, op.stream, op.after, op.limit)
                _check_complete(op.stream, [row[2] for row in rows], op.after + 1, head)
        if rows:
            head = max(head, rows[-1][2])  # others may have appended since it was read
        return Page(_recorded(rows, self.codec), head, Token(self.store_id, {op.stream: head}))

    @on(Head)
    def head(self, op: Head) -> int:
        """The version of a stream."""
        check_stream(op)
        with self._file.reading() as connection:
            return _stream(connection, op.stream)[1]

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        check_read(op)
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
        if not op.prefix and op.types is None:
            _check_complete("the feed", [row[0] for row in rows], after + 1, end)
        last = rows[-1][0] if len(rows) == op.limit else max(after, end)
        return FeedPage(
            _recorded(rows, self.codec), Cursor(self.store_id, last), Cursor(self.store_id, end)
        )

    # --- snapshots

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        check_stream(op)
        with self._file.reading() as connection:
            key = op.stream, op.fold, op.fold_version
            row = connection.execute(_LOAD_SNAPSHOT, key).fetchone()
        return None if row is None else Snapshot(*key, *row)

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
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

    def __init__(self, connection: sqlite3.Connection, store: str, codec: Codec, now: int) -> None:
        self.connection = connection
        self.store = store
        self.codec = codec
        self.now = now
        self.numbers: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        ((self.end,),) = connection.execute(_END).fetchall()

    def append(self, asked: Prepared) -> _Answer:
        """Stores an append, if its conditions hold and it has not been stored before."""
        if asked.is_keyed and (again := self._again(asked)) is not None:
            return again
        unmet = asked.unmet(self.version)
        if unmet is not None:
            return Failure(self._conflict(*unmet))
        records = asked.records(self.end, self.version, self.now)
        rows = [(record[0], self.number(record[1]), *record[2:]) for record in records]
        self.connection.executemany(_ADD_EVENT, rows)
        self.end += len(records)
        self.versions.update([record[1:3] for record in records])
        return Success(appended(records, self.store))

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
            number = self.numbers[stream] = (
                self.connection.execute(_ADD_STREAM, (stream,)).lastrowid or 0
            )
        return number

    def _again(self, asked: Prepared) -> _Answer | None:
        stored = _records_of_append(self.connection, asked.append_id)
        return asked.again(stored, self.store) if stored else None

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        rows: list[Any] = []
        if isinstance(expected, int):
            rows = _page(self.connection, _READ, stream, expected, CONFLICT_EVENTS)
        return Conflict(stream, expected, actual, _recorded(rows, self.codec))


def _stream(connection: sqlite3.Connection, stream: str) -> tuple[int | None, int]:
    """A stream's number and version; None and 0 for one that has no events."""
    row = connection.execute(_HEAD, (stream,)).fetchone()
    if row is None:
        return None, 0
    number, version = row
    if type(version) is not int:
        raise Corrupted(f"{stream} has no version, but {version!r}: the file is damaged")
    return number, version


def _page(connection: sqlite3.Connection, sql: str, stream: str, place: int, limit: int) -> list[Any]:
    return connection.execute(sql, (stream, stream, place, limit)).fetchall()


def _check_complete(what: str, numbers: list[int], first: int, end: int) -> None:
    """Raises Corrupted if a page that begins at `first` has holes, or is empty before the end."""
    if numbers != list(range(first, first + len(numbers))) or (not numbers and first <= end):
        raise Corrupted(f"events of {what} from {first} on are missing: the file is damaged")


def _records_of_append(connection: sqlite3.Connection, append_id: UUID) -> list[Record]:
    key = append_id.bytes
    find = _FIND_OWN if is_own(append_id) else _FIND_KEYED
    first = connection.execute(find, (key,)).fetchone()
    if first is None:
        return []
    rows = connection.execute(_OF_APPEND, first)
    found = [Record._make(row) for row in takewhile(lambda row: row[3] == key, rows)]
    rows.close()
    return found


def _recorded(rows: Sequence[Any], codec: Codec) -> tuple[Recorded[Any], ...]:
    return tuple([Recorded(Record._make(row), codec) for row in rows])


def _interrupted(job: _Job) -> _Answer:
    return Failure(Unknown(job.asked.append_id, "the thread that was committing it was interrupted"))
