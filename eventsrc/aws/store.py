"""The DynamoDB store: streams in a table, for any number of processes.

DynamoStore works in threads, AsyncDynamoStore in an event loop, for which threads hold the same
conversations with DynamoDB. How a table keeps a feed is in _feed.py, and how appends are stored in
_appending.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Final, Self, TypeAlias, TypeVar

from eventsrc._pickling import OfOneProcess
from eventsrc.aws._appending import Appending, Job
from eventsrc.aws._feed import Feed
from eventsrc.aws._line import Line, closed
from eventsrc.aws._reading import Reading
from eventsrc.aws._talk import Table, Talk
from eventsrc.events.codec import Codec
from eventsrc.events.epochs import Epochs
from eventsrc.programs.interpreter import AsyncInterpreter, on
from eventsrc.programs.opened import Opened
from eventsrc.programs.operation import Command, Operation
from eventsrc.programs.program import Outcome
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
)
from eventsrc.stores.prepare import check, microseconds

R = TypeVar("R")

_Answer: TypeAlias = Outcome[Appended, NotAppended]

THREADS: Final = 8
"""The threads that an AsyncDynamoStore has for reading."""


class _Core:
    """The common part of both stores: the conversations, and the line of those who append."""

    def __init__(
        self,
        client: Any,
        table: str,
        codec: Codec | None,
        timeout: float,
        read_only: bool,
        clock: Callable[[], float],
    ) -> None:
        _check_client(client, timeout)
        if not isinstance(table, str) or not table:
            raise ValueError(f"table is {table!r:.100}: give the name of a table")
        self.codec = Codec() if codec is None else codec
        self.timeout = timeout
        self._is_read_only = read_only
        self.clock = clock
        self.table = Table(client, table, timeout)
        self.feed = Feed()
        self.reading = Reading(self.feed, self.codec)
        self.appending = Appending(self.table, self.reading, self.codec, clock)
        self.line: Line[Job, _Answer] = Line(self.appending.store, self._too_late)
        self._pid = os.getpid()
        self.is_closed = False

    def open(self) -> None:
        self.feed.open(self.table.talk(), read_only=self._is_read_only)

    def close(self) -> None:
        if os.getpid() == self._pid:  # the lock may be held by a thread that a fork did not copy
            self.line.close()
        self.is_closed = True

    def answer(self, op: Any) -> Any:
        """Answers an operation that appends nothing."""
        self.check_usable()
        if isinstance(op, Command):
            self.check_writable()
        return _question(op.__class__)(self, self.table.talk(), op)

    def job(self, op: Append | AppendAll) -> Job:
        self.check_usable()
        self.check_writable()
        return self.appending.job(op)

    def prepare(self, job: Job) -> None:
        """Asks and writes what is to be before a job joins the line."""
        self.appending.prepare(self.table.talk(), job)

    def check_usable(self) -> None:
        if self.is_closed:
            raise closed()
        if os.getpid() != self._pid:
            raise StoreClosed(
                "the store belongs to the process that opened it: open another in this one"
            )
        if not self.feed.store_id:
            raise StoreClosed("the store was never opened: open it with `async with`")
        self.feed.check_there()

    def check_writable(self) -> None:
        if self._is_read_only:
            raise StoreReadOnly("the store was opened to be read: open it without read_only to write")

    def _too_late(self) -> StoreBusy:
        return StoreBusy(
            f"the appends before it were not done in {self.timeout} seconds: try again, or give it a "
            "longer timeout"
        )

    def now(self) -> int:
        return microseconds(self.clock)


_QUESTIONS: Final[Mapping[type[Operation[Any]], Callable[[_Core, Talk, Any], Any]]] = {
    Read: lambda core, talk, op: core.reading.read(talk, op),
    Head: lambda core, talk, op: core.reading.head(talk, op.stream),
    ReadFeed: lambda core, talk, op: core.reading.read_feed(talk, op),
    FindAppend: lambda core, talk, op: core.reading.find(talk, op),
    LoadSnapshot: lambda core, talk, op: core.reading.load_snapshot(talk, op),
    SaveSnapshot: lambda core, talk, op: core.reading.save_snapshot(talk, op.snapshot, core.now()),
    GetEpochs: lambda core, talk, _: core.feed.get_epochs(talk),
    RaiseEpoch: lambda core, talk, _: core.feed.raise_epoch(talk, core.now()),
}


@cache
def _question(op_type: type) -> Callable[[_Core, Talk, Any], Any]:
    """The entry of the table for an operation's type, or for its nearest base class."""
    asked = next(_QUESTIONS[base] for base in op_type.__mro__ if base in _QUESTIONS)
    if issubclass(op_type, GetEpochs | RaiseEpoch):
        return asked

    def checked(core: _Core, talk: Talk, op: Any) -> Any:
        check(op)
        return asked(core, talk, op)

    return checked


class DynamoStore(Opened[StoreOp | EpochOp]):
    """A store in a DynamoDB table. It may be used from threads, and its table by many processes.

    client: of boto3, for "dynamodb", made with `eventsrc.aws.config()`.
    table: the name of the table, which is there; `cloudformation` says how to make it.
    codec: what it encodes with; one for all registered events if not given.
    timeout: how many seconds an operation may wait for DynamoDB; an append, before that, as long for
        others of this store. A call that has begun by then may take as long as the client lets it.
    read_only: refuses to write, with StoreReadOnly, and makes no store of an empty table.
    clock: gives `recorded_at`, in seconds since 1970.

    Raises NotAStore for a table that is not there, has other things in it, or a newer layout; Corrupted
    for one that was restored and not repaired; ValueError for a client that may wait for too long.
    Appends that wait together, in threads, share a transaction.
    """

    durability = "replicated"

    def __init__(
        self,
        client: Any,
        table: str,
        codec: Codec | None = None,
        *,
        timeout: float = 5.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._core = _Core(client, table, codec, timeout, read_only, clock)
        self.codec = self._core.codec
        try:
            self._core.open()
        except BaseException:
            self._core.close()
            raise

    @property
    def store_id(self) -> str:
        """The id of the store, which cursors and tokens name."""
        return self._core.feed.store_id

    def close(self) -> None:
        """Finishes the appends that are under way. The client is the caller's."""
        self._core.close()

    @on(Append)
    def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return self._append(op)

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return self._append(op)

    def _append(self, op: Append | AppendAll) -> _Answer:
        job = self._core.job(op)
        self._core.prepare(job)
        return self._core.line.perform(job, self._core.timeout)

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        return self._answer(op)

    @on(Read)
    def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        return self._answer(op)

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

    @on(GetEpochs)
    def get_epochs(self, op: GetEpochs) -> Epochs:
        """The epochs of the store."""
        return self._answer(op)

    @on(RaiseEpoch)
    def raise_epoch(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        return self._answer(op)

    def _answer(self, op: Operation[R]) -> R:
        answer: R = self._core.answer(op)
        return answer


class OwnClientStore(DynamoStore):
    """A DynamoStore whose client is its own, and is closed with it."""

    def close(self) -> None:
        """Finishes the appends that are under way, and closes the client."""
        super().close()
        self._core.table.client.close()


class AsyncDynamoStore(OfOneProcess, AsyncInterpreter[StoreOp | EpochOp]):
    """A store in a DynamoDB table, for the tasks of one event loop. Everything as for DynamoStore.

    Open it with `async with AsyncDynamoStore(...) as store`. Appends that wait together share a
    transaction. Threads of its own wait for DynamoDB: boto3 knows no event loops.
    """

    durability = "replicated"

    def __init__(
        self,
        client: Any,
        table: str,
        codec: Codec | None = None,
        *,
        timeout: float = 5.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._core = _Core(client, table, codec, timeout, read_only, clock)
        self.codec = self._core.codec
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="eventsrc-dynamodb-read")

    @property
    def store_id(self) -> str:
        """The id of the store, which cursors and tokens name."""
        return self._core.feed.store_id

    async def open(self) -> Self:
        """Finds the store in the table."""
        await self._elsewhere(self._core.open)
        return self

    async def close(self) -> None:
        """Finishes what is under way. The client is the caller's."""
        await asyncio.to_thread(self._core.close)
        await asyncio.to_thread(self._threads.shutdown)

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @on(Append).coroutine
    async def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return await self._append(op)

    @on(AppendAll).coroutine
    async def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return await self._append(op)

    async def _append(self, op: Append | AppendAll) -> _Answer:
        job = self._core.job(op)
        if self._core.appending.needs_preparing(job):
            await self._elsewhere(partial(self._core.prepare, job))
        return await self._core.line.perform_async(job, self._core.timeout)

    @on(FindAppend).coroutine
    async def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        return await self._answer(op)

    @on(Read).coroutine
    async def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        return await self._answer(op)

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

    @on(GetEpochs).coroutine
    async def get_epochs(self, op: GetEpochs) -> Epochs:
        """The epochs of the store."""
        return await self._answer(op)

    @on(RaiseEpoch).coroutine
    async def raise_epoch(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        return await self._answer(op)

    async def _answer(self, op: Operation[R]) -> R:
        answer: R = await self._elsewhere(partial(self._core.answer, op))
        return answer

    async def _elsewhere(self, work: Callable[[], R]) -> R:
        """Runs a function that waits for DynamoDB in a thread, and answers what it does."""
        if self._core.is_closed:
            raise closed()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _check_client(client: Any, timeout: float) -> None:
    """Raises TypeError or ValueError for a client that is none, or may wait longer than the store."""
    meta = getattr(client, "meta", None)
    service = getattr(getattr(meta, "service_model", None), "service_name", None)
    if service != "dynamodb":
        raise TypeError(f"client is {client!r:.100}, and must be boto3.client('dynamodb', ...)")
    if not isinstance(timeout, int | float) or not 0 < timeout < 86_400:
        raise ValueError(f"timeout is {timeout!r:.100}: give a number of seconds, at most a day")
    its = client.meta.config
    retries = its.retries or {}
    attempts = retries.get("total_max_attempts", retries.get("max_attempts", 9) + 1)
    longest = attempts * ((its.connect_timeout or 60) + (its.read_timeout or 60))
    if longest > 2 * timeout:
        raise ValueError(
            f"the client may wait {longest} seconds for one answer, and the store is to end within "
            f"{timeout}: make it with config=eventsrc.aws.config(), or give the store a longer timeout"
        )
