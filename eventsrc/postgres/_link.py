"""How statements get to a Postgres: on connections of its own, of a pool, or on a user's.

`Link` executes them for threads, `AsyncLink` for an event loop. Each statement is a transaction of its
own, unless it is `Joined` to a user's.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc.postgres._connection import (
    AsyncWire,
    Wire,
    async_cursor_on,
    check_address,
    check_isolation,
    check_lent,
    check_timeout,
    connect,
    connect_async,
    cursor_on,
    execute_on,
    execute_on_async,
    forked,
    is_idle,
    is_stale,
    left_until,
    limit,
    limit_here,
    settings,
)
from eventsrc.postgres._conversation import Ask, Conversation, Home, Rows, hold, hold_async
from eventsrc.postgres._errors import may_come_back
from eventsrc.postgres._lent import borrowed, borrowed_async
from eventsrc.postgres._schema import who_holds
from eventsrc.stores.operations import Lost, Refused, StoreBusy, StoreClosed, StoreError, Unreachable

T = TypeVar("T")

_GRACE: Final = 0.25
"""How many seconds more than the server its client waits."""

_LOOK: Final = 0.2
"""How many seconds it may take, after its deadline, to find out who kept an append waiting."""

_ISOLATION: Final = Ask(b"SELECT current_setting('transaction_isolation')", ())

_FRESH: Final = 0.001
"""For how many seconds a connection that was in use is not looked at before it is used again: had the
server ended it since, it might as well do so in the middle of what is asked next."""

_Wired: TypeAlias = tuple[Wire, psycopg.Cursor[Any]]
_AsyncWired: TypeAlias = tuple[AsyncWire, psycopg.AsyncCursor[Any]]


class Link:
    """Executes statements on the connections of a pool.

    address: a connection string, for connections of its own, or a pool to borrow connections of.
    timeout: how many seconds a statement may take, the wait for a connection included.
    most: how many connections of its own it may have.
    may_rest: whether its transactions may be idle for longer than that.
    on_loss: is called when a connection turns out to be broken.
    holders: asks who may have kept an append waiting: see Tables.holders.

    Raises TypeError or ValueError for another address or timeout. In a process that was forked, each
    use raises StoreClosed, and nothing is written to the connections of the other.
    """

    def __init__(
        self,
        address: str | ConnectionPool[Any],
        timeout: float,
        most: int = 8,
        *,
        may_rest: bool = False,
    ) -> None:
        check_timeout(timeout)
        check_address(address, ConnectionPool, AsyncConnectionPool)
        self.timeout: Final = timeout
        self._may_rest = may_rest
        self._pid = os.getpid()
        self._lent: ConnectionPool[Any] | None = None if isinstance(address, str) else address
        self._address = address if isinstance(address, str) else ""
        self._idle: deque[_Wired] = deque()
        self._free: SimpleQueue[None] = SimpleQueue()  # a third of the cost of a Semaphore
        for _ in range(most):
            self._free.put(None)
        self._is_closed = False
        self._is_checked = False
        self.on_loss: Callable[[], None] = _nothing
        self.holders: Ask | None = None
        self._losses = 0

    def check_usable(self) -> None:
        """Raises StoreClosed if it was closed, or opened in another process."""
        if self._pid != os.getpid():  # what is locked there may be locked here for ever
            raise forked()
        if self._is_closed:
            raise StoreClosed("the store was closed: open it again")

    def execute(self, ask: Ask, deadline: float | None = None) -> Rows:
        """Executes a statement, in a transaction of its own, on any connection.

        deadline: when to give up, by time.monotonic(); `timeout` from now if not given.
        """
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        if self._lent is not None:
            with self._borrowed(self._lent, deadline, until=deadline + _GRACE) as connection:
                return execute_on(cursor_on(connection), ask.within(left_until(deadline)))
        losses = self._losses
        wired = self._take(deadline)
        try:
            if ask.is_bold and losses != self._losses:
                raise Refused("a connection was lost, and with it what was known")
            _limit(wired, deadline)
            return execute_on(wired[1], ask)
        finally:
            self._give(wired)

    def read(self, ask: Ask, deadline: float | None = None) -> Rows:
        """As `execute`, and once more if the connection broke: for what may be done twice."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        try:
            return self.execute(ask, deadline)
        except Lost:
            if time.monotonic() >= deadline:
                raise
            return self.execute(ask, deadline)

    def write(self, ask: Ask, deadline: float) -> Rows:
        """As `execute`; the error for one that others kept waiting says who they are."""
        return self._in_line(self.execute, ask, deadline)

    def find(self, ask: Ask, deadline: float) -> Rows:
        """As `read`; the error for one that others kept waiting says who they are."""
        return self._in_line(self.read, ask, deadline)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in a transaction, which is committed at the end, or rolled back.

        How long it takes is its user's affair, but for each statement.
        """
        if self._lent is not None:
            deadline, patience = time.monotonic() + self.timeout, self.timeout + _GRACE
            with (
                self._borrowed(self._lent, deadline, patience=patience) as connection,
                connection.transaction(),
            ):
                execute_on(cursor_on(connection), limit_here(self.timeout))
                yield connection
            return
        wired = self._take(time.monotonic() + self.timeout)
        try:
            _limit(wired, time.monotonic() + self.timeout)
            wired[0].until, wired[0].patience = math.inf, self.timeout + _GRACE
            with wired[0].transaction():
                yield wired[0]
        finally:
            self._give(wired)

    def close(self) -> None:
        """Closes its own connections; those that are in use, when they are given back."""
        self._is_closed = True
        while self._idle and self._pid == os.getpid():
            self._idle.pop()[0].close()

    def _in_line(self, execute: Callable[[Ask, float], Rows], ask: Ask, deadline: float) -> Rows:
        """Executes a statement that may have to wait for those who append."""
        try:
            return execute(ask, deadline)
        except StoreBusy as error:
            if self.holders is None:
                raise
            try:
                found = self.execute(self.holders, time.monotonic() + _LOOK)
            except StoreError:
                raise error from error.__cause__
            raise _kept_by(error, found) from error.__cause__

    @contextmanager
    def _borrowed(
        self, pool: ConnectionPool[Any], deadline: float, **limits: float
    ) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the user's pool, on which statements mean what they should: see borrowed."""
        self.check_usable()
        with borrowed(pool, deadline, **limits) as connection:
            check_lent(connection)
            if not self._is_checked:
                ((level,),) = execute_on(cursor_on(connection), _ISOLATION)
                check_isolation(level)
                self._is_checked = True
            yield connection

    def _take(self, deadline: float) -> _Wired:
        """One of its own connections, to be given back."""
        if self._pid != os.getpid():
            raise forked()
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
        how = settings(self._address, self.timeout, may_rest=self._may_rest)
        pause = 0.01
        while True:
            if time.monotonic() >= deadline:
                raise Unreachable("there was no time left to connect to Postgres")
            try:
                made = connect(self._address, deadline, **how)
            except psycopg.OperationalError as error:
                if not may_come_back(error) or time.monotonic() + pause >= deadline:
                    raise _unreachable(error) from error
            else:
                made.until, made.allowed = deadline + _GRACE, self.timeout
                return made, cursor_on(made)
            time.sleep(pause)
            pause = min(2 * pause, 0.2)


class AsyncLink:
    """Executes statements on the connections of an asynchronous pool, as Link does."""

    def __init__(self, address: str | AsyncConnectionPool[Any], timeout: float, most: int = 8) -> None:
        check_timeout(timeout)
        check_address(address, AsyncConnectionPool, ConnectionPool)
        self.timeout: Final = timeout
        self._pid = os.getpid()
        self._lent: AsyncConnectionPool[Any] | None = None if isinstance(address, str) else address
        self._address = address if isinstance(address, str) else ""
        self._idle: deque[_AsyncWired] = deque()
        self._free = asyncio.Semaphore(most)
        self._is_closed = False
        self._is_checked = False
        self.on_loss: Callable[[], None] = _nothing
        self.holders: Ask | None = None
        self._losses = 0

    @property
    def is_ours(self) -> bool:
        """Whether it was opened in this process."""
        return self._pid == os.getpid()

    def check_usable(self) -> None:
        """Raises StoreClosed if it was closed, or opened in another process."""
        if not self.is_ours:
            raise forked()
        if self._is_closed:
            raise StoreClosed("the store was closed: open it again")

    async def execute(self, ask: Ask, deadline: float | None = None) -> Rows:
        """Executes a statement, in a transaction of its own, on any connection: see Link."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        if self._lent is not None:
            async with self._borrowed(self._lent, deadline, until=deadline + _GRACE) as connection:
                asked = ask.within(left_until(deadline))
                return await execute_on_async(async_cursor_on(connection), asked)
        losses = self._losses
        wired = await self._take(deadline)
        try:
            if ask.is_bold and losses != self._losses:
                raise Refused("a connection was lost, and with it what was known")
            await _limit_async(wired, deadline)
            return await execute_on_async(wired[1], ask)
        finally:
            await self._give(wired)

    async def read(self, ask: Ask, deadline: float) -> Rows:
        """As `execute`, and once more if the connection broke: for what may be done twice."""
        try:
            return await self.execute(ask, deadline)
        except Lost:
            if time.monotonic() >= deadline:
                raise
            return await self.execute(ask, deadline)

    async def write(self, ask: Ask, deadline: float) -> Rows:
        """As `execute`; the error for one that others kept waiting says who they are."""
        return await self._in_line(self.execute, ask, deadline)

    async def find(self, ask: Ask, deadline: float) -> Rows:
        """As `read`; the error for one that others kept waiting says who they are."""
        return await self._in_line(self.read, ask, deadline)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in a transaction, which is committed at the end, or rolled back: see Link."""
        if self._lent is not None:
            deadline, patience = time.monotonic() + self.timeout, self.timeout + _GRACE
            async with (
                self._borrowed(self._lent, deadline, patience=patience) as lent,
                lent.transaction(),
            ):
                await execute_on_async(async_cursor_on(lent), limit_here(self.timeout))
                yield lent
            return
        wired = await self._take(time.monotonic() + self.timeout)
        try:
            await _limit_async(wired, time.monotonic() + self.timeout)
            wired[0].until, wired[0].patience = math.inf, self.timeout + _GRACE
            async with wired[0].transaction():
                yield wired[0]
        finally:
            await self._give(wired)

    async def close(self) -> None:
        """Closes its own connections; those that are in use, when they are given back."""
        self._is_closed = True
        while self._idle and self.is_ours:
            await self._idle.pop()[0].close()

    async def _in_line(
        self, execute: Callable[[Ask, float], Awaitable[Rows]], ask: Ask, deadline: float
    ) -> Rows:
        """Executes a statement that may have to wait for those who append."""
        try:
            return await execute(ask, deadline)
        except StoreBusy as error:
            if self.holders is None:
                raise
            try:
                found = await self.execute(self.holders, time.monotonic() + _LOOK)
            except StoreError:
                raise error from error.__cause__
            raise _kept_by(error, found) from error.__cause__

    @asynccontextmanager
    async def _borrowed(
        self, pool: AsyncConnectionPool[Any], deadline: float, **limits: float
    ) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of the user's pool, on which statements mean what they should: see borrowed."""
        self.check_usable()
        async with borrowed_async(pool, deadline, **limits) as connection:
            check_lent(connection)
            if not self._is_checked:
                ((level,),) = await execute_on_async(async_cursor_on(connection), _ISOLATION)
                check_isolation(level)
                self._is_checked = True
            yield connection

    async def _take(self, deadline: float) -> _AsyncWired:
        """One of its own connections, to be given back."""
        if not self.is_ours:
            raise forked()
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
        how = settings(self._address, self.timeout)
        pause = 0.01
        while True:
            if time.monotonic() >= deadline:
                raise Unreachable("there was no time left to connect to Postgres")
            try:
                made = await connect_async(self._address, deadline, **how)
            except psycopg.OperationalError as error:
                if not may_come_back(error) or time.monotonic() + pause >= deadline:
                    raise _unreachable(error) from error
            else:
                made.until, made.allowed = deadline + _GRACE, self.timeout
                return made, async_cursor_on(made)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.2)


class Joined:
    """Executes statements on one connection, in the transaction that its user is in.

    home: the store whose statements they are.
    """

    def __init__(self, connection: psycopg.Connection[Any], home: Home) -> None:
        self._connection = connection
        self._home = home
        self._level = ""

    def check_usable(self) -> None:
        """Raises StoreError if its connection is closed, or its transaction has failed."""
        _check_joined(self._connection)

    def read(self, ask: Ask, deadline: float = math.inf) -> Rows:
        """Executes a statement; how long that may take is the user's affair.

        Raises WrongStore if the tables that are there are those of another store.
        """
        self._look()
        return self._execute(ask)

    def write(self, ask: Ask, deadline: float) -> Rows:
        """As `read`, in a transaction that sees what was committed while it waited."""
        self._look()
        check_isolation(self._level)
        return self._execute(ask)

    find = read

    def _look(self) -> None:
        """Finds out, once, where the connection leads and what its transaction is like."""
        if not self._level:
            self._level = self._home.level(self._execute(self._home.ask))

    def _execute(self, ask: Ask) -> Rows:
        self.check_usable()
        return execute_on(cursor_on(self._connection), ask)

    def transaction(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """The transaction that it is in."""
        return nullcontext(self._connection)

    def close(self) -> None:
        """Does nothing: the connection is its user's."""


class AsyncJoined:
    """As Joined, waiting for each answer."""

    is_ours = True

    def __init__(self, connection: psycopg.AsyncConnection[Any], home: Home) -> None:
        self._connection = connection
        self._home = home
        self._level = ""

    def check_usable(self) -> None:
        """Raises StoreError if its connection is closed, or its transaction has failed."""
        _check_joined(self._connection)

    async def read(self, ask: Ask, deadline: float = math.inf) -> Rows:
        """Executes a statement; how long that may take is the user's affair.

        Raises WrongStore if the tables that are there are those of another store.
        """
        await self._look()
        return await self._execute(ask)

    async def write(self, ask: Ask, deadline: float) -> Rows:
        """As `read`, in a transaction that sees what was committed while it waited."""
        await self._look()
        check_isolation(self._level)
        return await self._execute(ask)

    find = read

    async def _look(self) -> None:
        """Finds out, once, where the connection leads and what its transaction is like."""
        if not self._level:
            self._level = self._home.level(await self._execute(self._home.ask))

    async def _execute(self, ask: Ask) -> Rows:
        self.check_usable()
        return await execute_on_async(async_cursor_on(self._connection), ask)

    def transaction(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """The transaction that it is in."""
        return nullcontext(self._connection)

    async def close(self) -> None:
        """Does nothing: the connection is its user's."""


def hold_on(conversation: Conversation[T], connection: psycopg.Connection[Any]) -> T:
    """Holds a conversation on one connection, in the transaction that it is in."""
    cursor = cursor_on(connection)
    return hold(conversation, lambda ask: execute_on(cursor, ask))


async def hold_on_async(conversation: Conversation[T], connection: psycopg.AsyncConnection[Any]) -> T:
    """As hold_on, waiting for each answer."""
    cursor = async_cursor_on(connection)
    return await hold_async(conversation, lambda ask: execute_on_async(cursor, ask))


def _limit(wired: _Wired, deadline: float) -> None:
    if (ask := limit(wired[0], deadline)) is not None:
        execute_on(wired[1], ask)


async def _limit_async(wired: _AsyncWired, deadline: float) -> None:
    if (ask := limit(wired[0], deadline)) is not None:
        await execute_on_async(wired[1], ask)


def _no_connection(timeout: float) -> StoreBusy:
    return StoreBusy(f"there was no free connection to Postgres for {timeout} seconds")


def _nothing() -> None:
    """What is done about a loss if nobody says."""


def _unreachable(error: psycopg.OperationalError) -> Unreachable:
    return Unreachable(f"Postgres cannot be connected to: {error}")


def _kept_by(error: StoreBusy, found: Rows) -> StoreBusy:
    """The error with the names of those who have the order lock."""
    names = who_holds(found)
    return StoreBusy(f"{error} (the right to append is held by {names})") if names else error


def _check_joined(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    match connection.pgconn.transaction_status:
        case TransactionStatus.UNKNOWN:
            raise StoreClosed(
                "the connection that was given is closed or broken: give one that is open"
            )
        case TransactionStatus.INERROR:
            raise StoreError("the transaction that was given has failed before: roll it back first")
        case _:
            check_lent(connection)
