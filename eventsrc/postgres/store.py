"""The Postgres store: streams in a schema of a database, for any number of processes.

PostgresStore works in threads, AsyncPostgresStore in an event loop; the questions that they ask are in
_questions.py, and how these reach a server in _policy.py, both once for the two. The view `events` of
the schema shows what is stored to SQL, data as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, Self, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from returns.result import Failure

from eventsrc._clock import monotonic
from eventsrc._pickling import OfOneProcess
from eventsrc.events.codec import Codec
from eventsrc.events.epochs import Epochs
from eventsrc.postgres._conversation import Conversation, answered
from eventsrc.postgres._link import AsyncDriver, AsyncLink, Driver, Link
from eventsrc.postgres._policy import CallersTransaction, Connections, Dialogue, Policy
from eventsrc.postgres._questions import Questions
from eventsrc.programs.interpreter import AsyncInterpreter, on
from eventsrc.programs.opened import Opened
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Outcome
from eventsrc.stores._async_group_commit import AsyncAlone, AsyncGroupCommit
from eventsrc.stores._group_commit import Alone, GroupCommit, ToRaise
from eventsrc.stores._tagging import check_indexing
from eventsrc.stores.copying import (
    CopyOp,
    EndCopy,
    GetIdentity,
    Identity,
    KeepRecords,
    check_keeping,
)
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
    EpochOp,
    FeedPage,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    NotAppended,
    Page,
    RaiseEpoch,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StoreBusy,
    StoreClosed,
    StoreOp,
    StoreReadOnly,
    Unknown,
)
from eventsrc.stores.prepare import Prepared, check, check_tagged, prepare
from eventsrc.stores.tags import AppendIf, Indexed, IndexTags, ReadTagged, TagOp

GROUP: Final = 512
"""The most appends that share a commit."""

R = TypeVar("R")

_Answer: TypeAlias = Outcome[Appended, NotAppended]

_QUESTIONS: Final[Mapping[type[Operation[Any]], Callable[[Questions, Any], Conversation[Any]]]] = {
    Read: Questions.reading,
    Head: Questions.finding_head,
    ReadFeed: Questions.reading_feed,
    FindAppend: Questions.finding,
    LoadSnapshot: Questions.loading_snapshot,
    SaveSnapshot: Questions.saving_snapshot,
    GetEpochs: Questions.getting_epochs,
    RaiseEpoch: Questions.raising_epoch,
    GetIdentity: Questions.getting_identity,
    ReadTagged: Questions.reading_tagged,
}
"""The questions that an operation which appends nothing asks."""


class PostgresStore(Opened[StoreOp | EpochOp | CopyOp | TagOp]):
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
        self._questions = Questions(
            schema, self.codec, clock, timeout, is_lean=isinstance(address, str)
        )
        link = Link(address, timeout)
        _acquaint(link.policy, self._questions)
        self._link: Driver[Policy] = link
        self._line: GroupCommit[Prepared, _Answer] | Alone[Prepared, _Answer] = GroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._too_late, most=GROUP
        )
        try:
            link.run(_opening(link.policy, self._questions))
        except BaseException:
            link.close()
            raise

    @property
    def store_id(self) -> str:
        """The id of the store, which cursors and tokens name."""
        return self._questions.store_id

    def within(self, connection: psycopg.Connection[Any]) -> PostgresStore:
        """This store in a transaction of the caller's: what it appends is stored if that is committed.

        connection: in a transaction, which must be READ COMMITTED, as they are unless told otherwise.
        The price: from the first append or FindAppend on, all others wait until the transaction ends.
        How long its statements may take is up to that connection, and not to `timeout`.
        """
        store = type(self).__new__(type(self))
        store.codec, store._timeout = self.codec, self._timeout
        store._questions = self._questions.in_transaction()
        store._link = Driver(CallersTransaction(connection, self._questions.identity()))
        store._line = Alone(store._commit)
        return store

    def close(self) -> None:
        """Finishes the appends that are under way and closes the connections."""
        self._line.close()
        self._link.policy.close()

    # --- appending

    @on(Append)
    def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return self._line.perform(self._prepared(op), self._timeout)

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return self._line.perform(self._prepared(op), self._timeout)

    @on(AppendIf)
    def append_if(self, op: AppendIf) -> _Answer:
        """Appends to several streams, if boundaries are unchanged."""
        return self._line.perform(self._prepared(op), self._timeout)

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        return self._answer(op)

    # --- reading, and snapshots

    @on(Read).batched
    def read(self, ops: Sequence[Read]) -> Sequence[Page[Any]]:
        """Pages of streams."""
        if len(ops) == 1:
            return [self._answer(ops[0])]
        policy, questions = self._link.policy, self._questions
        return self._link.run(_reading_all(policy, questions, ops, self._timeout))

    @on(Head)
    def head(self, op: Head) -> int:
        """The version of a stream."""
        return self._answer(op)

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        return self._answer(op)

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        return self._answer(op)

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        self._answer(op)

    # --- epochs

    @on(GetEpochs)
    def get_epochs(self, op: GetEpochs) -> Epochs:
        """The epochs of the store."""
        return self._answer(op)

    @on(RaiseEpoch)
    def raise_epoch(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        return self._answer(op)

    # --- copies

    @on(GetIdentity)
    def get_identity(self, op: GetIdentity) -> Identity:
        """The store's id, its secret and its epochs."""
        return self._answer(op)

    @on(KeepRecords)
    def keep_records(self, op: KeepRecords) -> int:
        """Keeps records as another store has them."""
        return self._change(op)

    @on(EndCopy)
    def end_copy(self, op: EndCopy) -> int:
        """Makes a copy a store that takes appends."""
        return self._change(op)

    # --- tags

    @on(ReadTagged)
    def read_tagged(self, op: ReadTagged) -> FeedPage[Any]:
        """A page of the events of a boundary."""
        return self._answer(op)

    @on(IndexTags)
    def index_tags(self, op: IndexTags) -> Indexed:
        """Gives stored events the tags of their types; it takes the rights of the owner."""
        return self._change(op)

    def _answer(self, op: Operation[R]) -> R:
        asked = _answering(self._link.policy, self._questions, op, self._timeout)
        answer: R = self._link.run(asked)
        return answer

    def _change(self, op: Operation[R]) -> R:
        answer: R = self._link.run(_changing(self._link.policy, self._questions, op))
        return answer

    def _prepared(self, op: Append | AppendAll | AppendIf) -> Prepared:
        self._link.policy.check_usable()
        key = self._questions.key
        return prepare(op, self.codec, self.store_id, key=key, keeps_tags=True)

    def _commit(self, group: Sequence[Prepared]) -> Sequence[_Answer | ToRaise]:
        return self._link.run(_appending(self._link.policy, self._questions, group, self._timeout))

    def _too_late(self) -> StoreBusy:
        return _busy(self._timeout)


class AsyncPostgresStore(OfOneProcess, AsyncInterpreter[StoreOp | EpochOp | CopyOp | TagOp]):
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
        self._questions = Questions(
            schema, self.codec, clock, timeout, is_lean=isinstance(address, str)
        )
        link = AsyncLink(address, timeout)
        _acquaint(link.policy, self._questions)
        self._open: Callable[[], Dialogue[None]] = partial(_opening, link.policy, self._questions)
        self._link: AsyncDriver[Policy] = link
        self._line: AsyncGroupCommit[Prepared, _Answer] | AsyncAlone[Prepared, _Answer]
        self._line = AsyncGroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._too_late, most=GROUP
        )

    @property
    def store_id(self) -> str:
        """The id of the store, which cursors and tokens name."""
        return self._questions.store_id

    async def open(self) -> Self:
        """Connects, and makes the tables if they are not there."""
        await self._link.run(self._open())
        return self

    def within(self, connection: psycopg.AsyncConnection[Any]) -> AsyncPostgresStore:
        """This store in a transaction of the caller's: see PostgresStore.within."""
        store = type(self).__new__(type(self))
        store.codec, store._timeout = self.codec, self._timeout
        store._questions = self._questions.in_transaction()
        store._link = AsyncDriver(CallersTransaction(connection, self._questions.identity()))
        store._line = AsyncAlone(store._commit)
        return store

    async def close(self) -> None:
        """Finishes the appends that are under way and closes the connections."""
        if self._link.policy.is_ours:  # or else nobody here ends what is under way
            await self._line.close()
        self._link.policy.close()

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            self._link.policy.close()
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

    @on(AppendIf).coroutine
    async def append_if(self, op: AppendIf) -> _Answer:
        """Appends to several streams, if boundaries are unchanged."""
        return await self._line.perform(self._prepared(op), self._timeout)

    @on(FindAppend).coroutine
    async def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        return await self._answer(op)

    @on(Read).batched_coroutine
    async def read(self, ops: Sequence[Read]) -> Sequence[Page[Any]]:
        """Pages of streams."""
        if len(ops) == 1:
            return [await self._answer(ops[0])]
        policy, questions = self._link.policy, self._questions
        return await self._link.run(_reading_all(policy, questions, ops, self._timeout))

    @on(Head).coroutine
    async def head(self, op: Head) -> int:
        """The version of a stream."""
        return await self._answer(op)

    @on(ReadFeed).coroutine
    async def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        return await self._answer(op)

    @on(LoadSnapshot).coroutine
    async def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        return await self._answer(op)

    @on(SaveSnapshot).coroutine
    async def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        await self._answer(op)

    async def _answer(self, op: Operation[R]) -> R:
        asked = _answering(self._link.policy, self._questions, op, self._timeout)
        answer: R = await self._link.run(asked)
        return answer

    async def _change(self, op: Operation[R]) -> R:
        answer: R = await self._link.run(_changing(self._link.policy, self._questions, op))
        return answer

    # --- epochs

    @on(GetEpochs).coroutine
    async def get_epochs(self, op: GetEpochs) -> Epochs:
        """The epochs of the store."""
        return await self._answer(op)

    @on(RaiseEpoch).coroutine
    async def raise_epoch(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        return await self._answer(op)

    # --- copies

    @on(GetIdentity).coroutine
    async def get_identity(self, op: GetIdentity) -> Identity:
        """The store's id, its secret and its epochs."""
        return await self._answer(op)

    @on(KeepRecords).coroutine
    async def keep_records(self, op: KeepRecords) -> int:
        """Keeps records as another store has them."""
        return await self._change(op)

    @on(EndCopy).coroutine
    async def end_copy(self, op: EndCopy) -> int:
        """Makes a copy a store that takes appends."""
        return await self._change(op)

    # --- tags

    @on(ReadTagged).coroutine
    async def read_tagged(self, op: ReadTagged) -> FeedPage[Any]:
        """A page of the events of a boundary."""
        return await self._answer(op)

    @on(IndexTags).coroutine
    async def index_tags(self, op: IndexTags) -> Indexed:
        """Gives stored events the tags of their types; it takes the rights of the owner."""
        return await self._change(op)

    def _prepared(self, op: Append | AppendAll | AppendIf) -> Prepared:
        _check_open(self._questions)
        self._link.policy.check_usable()
        key = self._questions.key
        return prepare(op, self.codec, self.store_id, key=key, keeps_tags=True)

    async def _commit(self, group: Sequence[Prepared]) -> Sequence[_Answer | ToRaise]:
        asked = _appending(self._link.policy, self._questions, group, self._timeout)
        return await self._link.run(asked)

    def _too_late(self) -> StoreBusy:
        return _busy(self._timeout)


# --- what both do


def _acquaint(policy: Policy, questions: Questions) -> None:
    """Has a policy tell of lost connections, and name those who keep an append waiting."""
    policy.on_loss = questions.forget_heads
    policy.holders = questions.holders()


def _opening(policy: Connections, questions: Questions) -> Dialogue[None]:
    """Finds the store, and makes its tables if they are not there."""

    def find() -> Dialogue[bool]:
        return answered(questions.opening(), partial(policy.read, deadline=policy.deadline()))

    if not (yield from find()):
        yield from policy.in_transaction(questions.migrating())
        yield from find()


@cache
def _question(op_type: type) -> Callable[[Questions, Any], Conversation[Any]]:
    """The entry of the table for an operation's type, or for its nearest base class."""
    return next(_QUESTIONS[base] for base in op_type.__mro__ if base in _QUESTIONS)


def _answering(policy: Policy, questions: Questions, op: Any, timeout: float) -> Dialogue[Any]:
    """Answers an operation that appends nothing."""
    if isinstance(op, ReadTagged):
        check_tagged(op)
    else:
        check(op)
    _check_open(questions)
    asked = _question(op.__class__)(questions, op)
    execute = policy.find if isinstance(op, FindAppend) else policy.read
    return answered(asked, partial(execute, deadline=monotonic() + timeout))


def _reading_all(
    policy: Policy, questions: Questions, ops: Sequence[Read], timeout: float
) -> Dialogue[list[Page[Any]]]:
    """Answers several Reads."""
    for op in ops:
        check(op)
    _check_open(questions)
    execute = partial(policy.read, deadline=monotonic() + timeout)
    return answered(questions.reading_several(ops), execute)


def _appending(
    policy: Policy, questions: Questions, group: Sequence[Prepared], timeout: float
) -> Dialogue[list[_Answer | ToRaise]]:
    """Stores appends that came together, and answers them in their order."""
    write = partial(policy.write, deadline=monotonic() + timeout)
    return answered(questions.appending(group), write)


def _changing(policy: Policy, questions: Questions, op: Any) -> Dialogue[Any]:
    """Keeps records of another store, ends that, or indexes tags, in a transaction."""
    _check_open(questions)
    if not isinstance(policy, Connections):
        what = "tags are not indexed" if isinstance(op, IndexTags) else "a copy cannot be made"
        raise StoreReadOnly(f"{what} in a transaction of the caller's: ask the store itself")
    match op:
        case KeepRecords():
            check_keeping(op)
            return policy.in_transaction(questions.keeping(op))
        case EndCopy():
            return policy.in_transaction(questions.ending_copy(op))
        case _:
            check_indexing(op, questions.codec)
            return policy.in_transaction(questions.indexing(op))


def _check_open(questions: Questions) -> None:
    if not questions.store_id:
        raise StoreClosed("the store was never opened: open it with `async with`")


def _interrupted(asked: Prepared) -> _Answer:
    return Failure(Unknown(asked.append_id, "the thread or task that was storing it was interrupted"))


def _busy(timeout: float) -> StoreBusy:
    return StoreBusy(
        f"the appends before it were not done in {timeout} seconds: try again, or give the store a "
        "longer timeout"
    )
