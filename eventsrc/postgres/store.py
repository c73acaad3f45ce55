"""The Postgres store: streams in a schema of a database, for any number of processes.

PostgresStore works in threads, AsyncPostgresStore in an event loop; what they ask of Postgres is in
postgres_conversations.py, once for both. What is stored can be read with SQL through the view `events`
of the schema, which shows data as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from returns.result import Failure

from eventsrc._pickling import OfOneProcess
from eventsrc.events.codec import Codec
from eventsrc.postgres._conversation import Conversation, hold, hold_async
from eventsrc.postgres._errors import translated
from eventsrc.postgres._link import AsyncJoined, AsyncLink, Joined, Link, hold_on, hold_on_async
from eventsrc.postgres._questions import Conversations
from eventsrc.postgres._schema import Tables
from eventsrc.programs.interpreter import AsyncInterpreter, on
from eventsrc.programs.opened import Opened
from eventsrc.programs.program import Outcome
from eventsrc.stores._async_group_commit import AsyncAlone, AsyncGroupCommit
from eventsrc.stores._group_commit import Alone, GroupCommit, Raised
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
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
    StoreBusy,
    StoreClosed,
    StoreOp,
    Unknown,
)
from eventsrc.stores.prepare import Prepared, check, prepare

GROUP: Final = 512
"""The most appends that share a commit."""

T = TypeVar("T")

_Answer: TypeAlias = Outcome[Appended, NotAppended]


class PostgresStore(Opened[StoreOp]):
    """A store in a Postgres database. It may be used from threads, and its schema by many processes.

    address: a connection string, or a psycopg_pool.ConnectionPool, whose connections are then borrowed.
    schema: where the tables are; they are made if they are not there.
    codec: what it encodes with; one for all registered events if not given.
    timeout: how many seconds an operation may wait for Postgres and for a connection; an append, before
        that, as long for others of this store.
    clock: gives `recorded_at`, in seconds since 1970.

    Raises NotAStore for a schema of a newer version of this library, and Unreachable.
    Appends that wait together, in threads, share one statement. In an event loop, use
    AsyncPostgresStore: the operations of this store would hold it up.
    """

    durability = "os"

    def __init__(
        self,
        address: str | ConnectionPool[Any],
        *,
        schema: str = "eventsrc",
        codec: Codec | None = None,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.codec = Codec() if codec is None else codec
        self._timeout = timeout
        self._talks = Conversations(
            schema, self.codec, clock, timeout, is_lean=isinstance(address, str)
        )
        link = Link(address, timeout)
        link.on_loss, link.holders = self._talks.forget_heads, Tables(schema, ()).holders()
        self._link: Link | Joined = link
        self._line: GroupCommit[Prepared, _Answer] | Alone[Prepared, _Answer] = GroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._too_late, most=GROUP
        )
        try:
            self._open()
        except BaseException:
            self._link.close()
            raise

    @property
    def store_id(self) -> str:
        """The id of the store, which cursors and tokens name."""
        return self._talks.store_id

    def within(self, connection: psycopg.Connection[Any]) -> PostgresStore:
        """This store in a transaction of the caller's: what it appends is stored if that is committed.

        connection: in a transaction, which must be READ COMMITTED, as they are unless told otherwise.
        The price: from the first append or FindAppend on, all others wait until the transaction ends.
        How long its statements may take is up to that connection, and not to `timeout`.
        """
        joined = type(self).__new__(type(self))
        joined.codec, joined._timeout, joined._talks = self.codec, self._timeout, self._talks.joined()
        joined._link = Joined(connection, self._talks.home())
        joined._line = Alone(joined._commit)
        return joined

    def close(self) -> None:
        """Finishes the appends that are under way and closes the connections."""
        self._line.close()
        self._link.close()

    # --- appending

    @on(Append)
    def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return self._line.perform(self._prepared(op), self._timeout)

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return self._line.perform(self._prepared(op), self._timeout)

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """What became of an append."""
        check(op)
        deadline = time.monotonic() + self._timeout
        talk = self._talks.finding(op.append_id)
        return hold(talk, lambda ask: self._link.find(ask, deadline))

    # --- reading

    @on(Read)
    def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        check(op)
        return self._read(self._talks.reading(op))

    @on(Head)
    def head(self, op: Head) -> int:
        """The version of a stream."""
        check(op)
        return self._read(self._talks.finding_head(op.stream))

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        check(op)
        return self._read(self._talks.reading_feed(op))

    # --- snapshots

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        check(op)
        return self._read(self._talks.loading_snapshot(op.stream, op.fold, op.fold_version))

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        check(op)
        self._read(self._talks.saving_snapshot(op.snapshot))

    def _open(self) -> None:
        if not self._read(self._talks.opening()):
            with translated(), self._link.transaction() as connection:
                hold_on(self._talks.migrating(), connection)
            self._read(self._talks.opening())

    def _prepared(self, op: Append | AppendAll) -> Prepared:
        self._link.check_usable()
        return prepare(op, self.codec, self.store_id, self._talks.end)

    def _commit(self, group: Sequence[Prepared]) -> Sequence[_Answer | Raised]:
        deadline = time.monotonic() + self._timeout
        return hold(self._talks.appending(group), lambda ask: self._link.write(ask, deadline))

    def _read(self, conversation: Conversation[T]) -> T:
        deadline = time.monotonic() + self._timeout
        return hold(conversation, lambda ask: self._link.read(ask, deadline))

    def _too_late(self) -> StoreBusy:
        return _busy(self._timeout)


class AsyncPostgresStore(OfOneProcess, AsyncInterpreter[StoreOp]):
    """A store in a Postgres database, for the tasks of one event loop.

    address: a connection string, or a psycopg_pool.AsyncConnectionPool. Otherwise as PostgresStore.

    Open it with `async with AsyncPostgresStore(...) as store`. Appends that wait together share one
    statement.
    """

    durability = "os"

    def __init__(
        self,
        address: str | AsyncConnectionPool[Any],
        *,
        schema: str = "eventsrc",
        codec: Codec | None = None,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.codec = Codec() if codec is None else codec
        self._timeout = timeout
        self._talks = Conversations(
            schema, self.codec, clock, timeout, is_lean=isinstance(address, str)
        )
        link = AsyncLink(address, timeout)
        link.on_loss, link.holders = self._talks.forget_heads, Tables(schema, ()).holders()
        self._link: AsyncLink | AsyncJoined = link
        self._line: AsyncGroupCommit[Prepared, _Answer] | AsyncAlone[Prepared, _Answer]
        self._line = AsyncGroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._too_late, most=GROUP
        )

    @property
    def store_id(self) -> str:
        """The id of the store, which cursors and tokens name."""
        return self._talks.store_id

    async def open(self) -> Self:
        """Connects, and makes the tables if they are not there."""
        if not await self._hold(self._talks.opening()):
            with translated():
                async with self._link.transaction() as connection:
                    await hold_on_async(self._talks.migrating(), connection)
            await self._hold(self._talks.opening())
        return self

    def within(self, connection: psycopg.AsyncConnection[Any]) -> AsyncPostgresStore:
        """This store in a transaction of the caller's: see PostgresStore.within."""
        joined = type(self).__new__(type(self))
        joined.codec, joined._timeout, joined._talks = self.codec, self._timeout, self._talks.joined()
        joined._link = AsyncJoined(connection, self._talks.home())
        joined._line = AsyncAlone(joined._commit)
        return joined

    async def close(self) -> None:
        """Finishes the appends that are under way and closes the connections."""
        if self._link.is_ours:  # or else nobody here ends what is under way
            await self._line.close()
        await self._link.close()

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            await self._link.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @on(Append).coroutine
    async def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return await self._line.perform(self._prepared(op), self._timeout)

    @on(AppendAll).coroutine
    async def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return await self._line.perform(self._prepared(op), self._timeout)

    @on(FindAppend).coroutine
    async def find_append(self, op: FindAppend) -> Appended | None:
        """What became of an append."""
        check(op)
        self._check_open()
        deadline, link = time.monotonic() + self._timeout, self._link
        talk = self._talks.finding(op.append_id)
        return await hold_async(talk, lambda ask: link.find(ask, deadline))

    @on(Read).coroutine
    async def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        check(op)
        return await self._read(self._talks.reading(op))

    @on(Head).coroutine
    async def head(self, op: Head) -> int:
        """The version of a stream."""
        check(op)
        return await self._read(self._talks.finding_head(op.stream))

    @on(ReadFeed).coroutine
    async def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        check(op)
        return await self._read(self._talks.reading_feed(op))

    @on(LoadSnapshot).coroutine
    async def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        check(op)
        return await self._read(self._talks.loading_snapshot(op.stream, op.fold, op.fold_version))

    @on(SaveSnapshot).coroutine
    async def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        check(op)
        await self._read(self._talks.saving_snapshot(op.snapshot))

    def _prepared(self, op: Append | AppendAll) -> Prepared:
        self._check_open()
        self._link.check_usable()
        return prepare(op, self.codec, self.store_id, self._talks.end)

    async def _commit(self, group: Sequence[Prepared]) -> Sequence[_Answer | Raised]:
        deadline, link = time.monotonic() + self._timeout, self._link
        return await hold_async(self._talks.appending(group), lambda ask: link.write(ask, deadline))

    async def _read(self, conversation: Conversation[T]) -> T:
        self._check_open()
        return await self._hold(conversation)

    async def _hold(self, conversation: Conversation[T]) -> T:
        deadline, link = time.monotonic() + self._timeout, self._link
        return await hold_async(conversation, lambda ask: link.read(ask, deadline))

    def _check_open(self) -> None:
        if not self._talks.store_id:
            raise StoreClosed("the store was never opened: open it with `async with`")

    def _too_late(self) -> StoreBusy:
        return _busy(self._timeout)


def _interrupted(asked: Prepared) -> _Answer:
    return Failure(Unknown(asked.append_id, "the thread or task that was storing it was interrupted"))


def _busy(timeout: float) -> StoreBusy:
    return StoreBusy(
        f"others kept the store busy for {timeout} seconds: try again, or give it a longer timeout"
    )
