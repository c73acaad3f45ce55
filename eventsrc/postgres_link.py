"""How statements get to a Postgres: on connections of its own, of a pool, or on a user's.

`Link` executes them for threads, `AsyncLink` for an event loop. Each statement is a transaction of its
own, unless it is `Joined` to a user's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from eventsrc.postgres_conversation import Ask, Conversation, Rows, hold, hold_async
from eventsrc.postgres_errors import Lost, Refused, Unreachable, of_pool
from eventsrc.postgres_wire import (
    AsyncWire,
    Wire,
    execute_on,
    execute_on_async,
    is_idle,
    is_stale,
    settings,
)
from eventsrc.store import StoreBusy, StoreClosed

T = TypeVar("T")

_GRACE: Final = 0.25
"""How many seconds more than the server its client waits."""

_FRESH: Final = 0.001
"""For how many seconds a connection that was in use is not looked at before it is used again: had the
server ended it since, it might as well do so in the middle of what is asked next."""

_Wired: TypeAlias = tuple[Wire, psycopg.Cursor[Any]]
_AsyncWired: TypeAlias = tuple[AsyncWire, psycopg.AsyncCursor[Any]]


class Link:
    """Executes statements on the connections of a pool.

    address: a connection string, for connections of its own, or a pool to borrow connections of.
    timeout: how many seconds a statement may take, and how many the wait for a connection.
    most: how many connections of its own it may have.
    on_loss: is called when a connection turns out to be broken.
    """

    def __init__(self, address: str | ConnectionPool[Any], timeout: float, most: int = 8) -> None:
        self.timeout: Final = timeout
        self._lent: ConnectionPool[Any] | None = None if isinstance(address, str) else address
        self._address = address if isinstance(address, str) else ""
        self._idle: deque[_Wired] = deque()
        self._free: SimpleQueue[None] = SimpleQueue()  # a third of the cost of a Semaphore
        for _ in range(most):
            self._free.put(None)
        self._is_closed = False
        self.on_loss: Callable[[], None] = _nothing
        self._losses = 0

    def execute(self, ask: Ask, deadline: float | None = None) -> Rows:
        """Executes a statement, in a transaction of its own, on any connection.

        deadline: when to give up, by time.monotonic(); `timeout` from now if not given.
        """
        if self._lent is not None:
            with borrowed(self._lent, self.timeout) as connection:
                return execute_on(connection.cursor(binary=True), ask)
        losses = self._losses
        wired = self._take(deadline)
        try:
            if ask.is_bold and losses != self._losses:
                raise Refused("a connection was lost, and with it what was known")
            return execute_on(wired[1], ask)
        finally:
            self._give(wired)

    def read(self, ask: Ask) -> Rows:
        """As `execute`, and once more if the connection broke: for what may be done twice."""
        deadline = time.monotonic() + self.timeout
        try:
            return self.execute(ask, deadline)
        except (Lost, Unreachable):
            if time.monotonic() >= deadline:
                raise
            return self.execute(ask, deadline)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in a transaction, which is committed at the end, or rolled back.

        How long it takes is its user's affair, but for each statement.
        """
        if self._lent is not None:
            with borrowed(self._lent, self.timeout) as connection, connection.transaction():
                yield connection
            return
        wired = self._take()
        wired[0].until, wired[0].patience = math.inf, self.timeout + _GRACE
        try:
            with wired[0].transaction():
                yield wired[0]
        finally:
            self._give(wired)

    def close(self) -> None:
        """Closes its own connections; those that are in use, when they are given back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[0].close()

    def _take(self, deadline: float | None = None) -> _Wired:
        """One of its own connections, to be given back."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        try:
            self._free.get(timeout=max(deadline - time.monotonic(), 0.0))
        except Empty:
            raise _no_connection(self.timeout) from None
        try:
            return self._sound(deadline)
        except BaseException:
            self._free.put(None)
            raise

    def _give(self, wired: _Wired) -> None:
        connection = wired[0]
        if self._is_closed or not is_idle(connection):
            self._lose()
            connection.close()
        else:
            connection.used = time.monotonic()
            self._idle.append(wired)
        self._free.put(None)

    def _lose(self) -> None:
        """Notes that a connection was broken."""
        self._losses += 1
        self.on_loss()

    def _sound(self, deadline: float) -> _Wired:
        """A connection that is not known to be broken, and its cursor."""
        if self._is_closed:
            raise StoreClosed("the store was closed: open it again")
        while self._idle:
            connection, cursor = self._idle.pop()
            if time.monotonic() - connection.used < _FRESH or not is_stale(connection):
                connection.until = deadline + _GRACE
                return connection, cursor
            connection.close()
            self._lose()
        pause = 0.01
        while True:
            if time.monotonic() >= deadline:
                raise Unreachable("there was no time left to connect to Postgres")
            try:
                made = Wire.connect(self._address, **settings(self._address, self.timeout))
                made.until = deadline + _GRACE
                return made, made.cursor(binary=True)
            except psycopg.OperationalError as error:
                if not _may_come_back(error) or time.monotonic() + pause > deadline:
                    raise Unreachable(f"Postgres cannot be connected to: {error}") from error
            time.sleep(pause)
            pause = min(2 * pause, 0.2)


class AsyncLink:
    """Executes statements on the connections of an asynchronous pool, as Link does."""

    def __init__(self, address: str | AsyncConnectionPool[Any], timeout: float, most: int = 8) -> None:
        self.timeout: Final = timeout
        self._lent: AsyncConnectionPool[Any] | None = None if isinstance(address, str) else address
        self._address = address if isinstance(address, str) else ""
        self._idle: deque[_AsyncWired] = deque()
        self._free = asyncio.Semaphore(most)
        self._is_closed = False
        self.on_loss: Callable[[], None] = _nothing
        self._losses = 0

    async def execute(self, ask: Ask, deadline: float | None = None) -> Rows:
        """Executes a statement, in a transaction of its own, on any connection: see Link."""
        if self._lent is not None:
            async with borrowed_async(self._lent, self.timeout) as connection:
                return await execute_on_async(connection.cursor(binary=True), ask)
        losses = self._losses
        wired = await self._take(deadline)
        try:
            if ask.is_bold and losses != self._losses:
                raise Refused("a connection was lost, and with it what was known")
            return await execute_on_async(wired[1], ask)
        finally:
            await self._give(wired)

    async def read(self, ask: Ask) -> Rows:
        """As `execute`, and once more if the connection broke: for what may be done twice."""
        deadline = time.monotonic() + self.timeout
        try:
            return await self.execute(ask, deadline)
        except (Lost, Unreachable):
            if time.monotonic() >= deadline:
                raise
            return await self.execute(ask, deadline)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in a transaction, which is committed at the end, or rolled back: see Link."""
        if self._lent is not None:
            async with borrowed_async(self._lent, self.timeout) as lent, lent.transaction():
                yield lent
            return
        wired = await self._take()
        wired[0].until, wired[0].patience = math.inf, self.timeout + _GRACE
        try:
            async with wired[0].transaction():
                yield wired[0]
        finally:
            await self._give(wired)

    async def close(self) -> None:
        """Closes its own connections; those that are in use, when they are given back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop()[0].close()

    async def _take(self, deadline: float | None = None) -> _AsyncWired:
        """One of its own connections, to be given back."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        try:
            if self._free.locked():
                await asyncio.wait_for(self._free.acquire(), max(deadline - time.monotonic(), 0.0))
            else:
                await self._free.acquire()  # at once, without the task that wait_for makes
        except TimeoutError:
            raise _no_connection(self.timeout) from None
        try:
            return await self._sound(deadline)
        except BaseException:
            self._free.release()
            raise

    async def _give(self, wired: _AsyncWired) -> None:
        connection = wired[0]
        if self._is_closed or not is_idle(connection):
            self._lose()
            await connection.close()
        else:
            connection.used = time.monotonic()
            self._idle.append(wired)
        self._free.release()

    def _lose(self) -> None:
        self._losses += 1
        self.on_loss()

    async def _sound(self, deadline: float) -> _AsyncWired:
        """A connection that is not known to be broken, and its cursor."""
        if self._is_closed:
            raise StoreClosed("the store was closed: open it again")
        while self._idle:
            connection, cursor = self._idle.pop()
            if time.monotonic() - connection.used < _FRESH or not is_stale(connection):
                connection.until = deadline + _GRACE
                return connection, cursor
            await connection.close()
            self._lose()
        pause = 0.01
        while True:
            if time.monotonic() >= deadline:
                raise Unreachable("there was no time left to connect to Postgres")
            try:
                made = await AsyncWire.connect(self._address, **settings(self._address, self.timeout))
                made.until = deadline + _GRACE
                return made, made.cursor(binary=True)
            except psycopg.OperationalError as error:
                if not _may_come_back(error) or time.monotonic() + pause > deadline:
                    raise Unreachable(f"Postgres cannot be connected to: {error}") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.2)


class Joined:
    """Executes statements on one connection, in the transaction that its user is in."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, ask: Ask, deadline: float | None = None) -> Rows:
        """Executes a statement; how long that may take is the user's affair."""
        return execute_on(self._connection.cursor(binary=True), ask)

    read = execute

    def transaction(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """The transaction that it is in."""
        return nullcontext(self._connection)

    def close(self) -> None:
        """Does nothing: the connection is its user's."""


class AsyncJoined:
    """As Joined, waiting for each answer."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def execute(self, ask: Ask, deadline: float | None = None) -> Rows:
        """Executes a statement; how long that may take is the user's affair."""
        return await execute_on_async(self._connection.cursor(binary=True), ask)

    read = execute

    def transaction(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """The transaction that it is in."""
        return nullcontext(self._connection)

    async def close(self) -> None:
        """Does nothing: the connection is its user's."""


@contextmanager
def borrowed(pool: ConnectionPool[Any], timeout: float) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a user's pool, in autocommit for the time being."""
    try:
        with pool.connection(timeout) as connection:
            was = connection.autocommit
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = was
    except (PoolTimeout, TooManyRequests, PoolClosed) as error:
        raise of_pool(error, timeout) from error


@asynccontextmanager
async def borrowed_async(
    pool: AsyncConnectionPool[Any], timeout: float
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """As borrowed, of an asynchronous pool."""
    try:
        async with pool.connection(timeout) as connection:
            was = connection.autocommit
            await connection.set_autocommit(True)
            try:
                yield connection
            finally:
                if not connection.closed:
                    await connection.set_autocommit(was)
    except (PoolTimeout, TooManyRequests, PoolClosed) as error:
        raise of_pool(error, timeout) from error


def hold_on(conversation: Conversation[T], connection: psycopg.Connection[Any]) -> T:
    """Holds a conversation on one connection, in the transaction that it is in."""
    cursor = connection.cursor(binary=True)
    return hold(conversation, lambda ask: execute_on(cursor, ask))


async def hold_on_async(conversation: Conversation[T], connection: psycopg.AsyncConnection[Any]) -> T:
    """As hold_on, waiting for each answer."""
    cursor = connection.cursor(binary=True)
    return await hold_async(conversation, lambda ask: execute_on_async(cursor, ask))


def _no_connection(timeout: float) -> StoreBusy:
    return StoreBusy(f"there was no free connection to Postgres for {timeout} seconds")


def _nothing() -> None:
    """What is done about a loss if nobody says."""


def _may_come_back(error: psycopg.OperationalError) -> bool:
    """Whether a server that refused a connection may take one in a moment."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "53", "57"))
