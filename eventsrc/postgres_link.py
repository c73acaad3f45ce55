"""How statements get to a Postgres: connections, deadlines, and what errors mean.

What a store or a database of views asks of Postgres is written once, as a *conversation*: a generator
that yields statements and is sent their rows. `Link` holds conversations in the caller's thread,
`AsyncLink` in its event loop. Each statement is a transaction of its own.
"""

from __future__ import annotations

import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from eventsrc.store import (
    NotAStore,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
)

T = TypeVar("T")

Rows: TypeAlias = list[tuple[Any, ...]]


class Ask(NamedTuple):
    """A statement and its parameters."""

    sql: bytes
    parameters: Any = None


Conversation: TypeAlias = Generator[Ask, Rows, T]


class Lost(StoreError):
    """The connection broke before Postgres had answered: what it did is unknown."""


class Refused(StoreError):
    """A unique index refuses what was to be stored."""


class Unreachable(StoreError):
    """Postgres cannot be connected to, or ended the connection before it did anything."""


def hold(conversation: Conversation[T], execute: Callable[[Ask], Rows]) -> T:
    """Holds a conversation."""
    try:
        ask = next(conversation)
        while True:
            try:
                rows = execute(ask)
            except Exception as error:
                ask = conversation.throw(error)
            else:
                ask = conversation.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


async def hold_async(conversation: Conversation[T], execute: Callable[[Ask], Awaitable[Rows]]) -> T:
    """Holds a conversation, waiting for each answer."""
    try:
        ask = next(conversation)
        while True:
            try:
                rows = await execute(ask)
            except Exception as error:
                ask = conversation.throw(error)
            else:
                ask = conversation.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    finally:
        conversation.close()


class Link:
    """Executes statements on the connections of a pool.

    address: a connection string, for which a pool is made, or a pool, whose connections are borrowed.
    timeout: how many seconds a statement may take, and how many the wait for a connection.
    """

    def __init__(self, address: str | ConnectionPool[Any], timeout: float) -> None:
        self.timeout: Final = timeout
        self._owns = isinstance(address, str)
        if isinstance(address, str):
            settings = {"autocommit": True, "options": _options(timeout)}
            self._pool: ConnectionPool[Any] = ConnectionPool(
                address, min_size=1, max_size=8, open=True, timeout=timeout, kwargs=settings
            )
        else:
            self._pool = address

    def execute(self, ask: Ask) -> Rows:
        """Executes a statement, in a transaction of its own, on any connection."""
        with self._connection() as connection:
            return execute_on(connection, ask)

    def read(self, ask: Ask) -> Rows:
        """As `execute`, and once more if the connection broke: for what may be done twice."""
        try:
            return self.execute(ask)
        except (Lost, Unreachable):
            return self.execute(ask)

    @contextmanager
    def transaction(self) -> Iterator[Callable[[Ask], Rows]]:
        """A transaction, and what executes statements in it."""
        with self._connection() as connection, connection.transaction():
            yield lambda ask: execute_on(connection, ask)

    def close(self) -> None:
        """Closes the pool, if it was made here."""
        if self._owns:
            self._pool.close(timeout=self.timeout)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        connection = self._sound_connection()
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def _sound_connection(self) -> psycopg.Connection[Any]:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                connection: psycopg.Connection[Any] = self._pool.getconn(
                    timeout=max(deadline - time.monotonic(), 0.0)
                )
            except (PoolTimeout, TooManyRequests, PoolClosed) as error:
                raise _pool_error(error, self.timeout) from error
            if not _is_stale(connection):
                return connection
            connection.close()
            self._pool.putconn(connection)


class AsyncLink:
    """Executes statements on the connections of an asynchronous pool, as Link does."""

    def __init__(self, address: str | AsyncConnectionPool[Any], timeout: float) -> None:
        self.timeout: Final = timeout
        self._owns = isinstance(address, str)
        if isinstance(address, str):
            settings = {"autocommit": True, "options": _options(timeout)}
            self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
                address, min_size=1, max_size=8, open=False, timeout=timeout, kwargs=settings
            )
        else:
            self._pool = address

    async def open(self) -> None:
        """Opens the pool, if it was made here."""
        if self._owns:
            await self._pool.open()

    async def execute(self, ask: Ask) -> Rows:
        """Executes a statement, in a transaction of its own, on any connection."""
        async with self._connection() as connection:
            return await execute_on_async(connection, ask)

    async def read(self, ask: Ask) -> Rows:
        """As `execute`, and once more if the connection broke: for what may be done twice."""
        try:
            return await self.execute(ask)
        except (Lost, Unreachable):
            return await self.execute(ask)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Callable[[Ask], Awaitable[Rows]]]:
        """A transaction, and what executes statements in it."""
        async with self._connection() as connection, connection.transaction():
            yield lambda ask: execute_on_async(connection, ask)

    async def close(self) -> None:
        """Closes the pool, if it was made here."""
        if self._owns:
            await self._pool.close(timeout=self.timeout)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        connection = await self._sound_connection()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    async def _sound_connection(self) -> psycopg.AsyncConnection[Any]:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                connection: psycopg.AsyncConnection[Any] = await self._pool.getconn(
                    timeout=max(deadline - time.monotonic(), 0.0)
                )
            except (PoolTimeout, TooManyRequests, PoolClosed) as error:
                raise _pool_error(error, self.timeout) from error
            if not _is_stale(connection):
                return connection
            await connection.close()
            await self._pool.putconn(connection)


def execute_on(connection: psycopg.Connection[Any], ask: Ask) -> Rows:
    """Executes a statement on a connection. Raises this library's errors."""
    try:
        cursor = connection.cursor(binary=ask.parameters is not None)
        cursor.execute(ask.sql, ask.parameters)
        return cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise translation(error) from error


async def execute_on_async(connection: psycopg.AsyncConnection[Any], ask: Ask) -> Rows:
    """As execute_on, waiting for the answer."""
    try:
        cursor = connection.cursor(binary=ask.parameters is not None)
        await cursor.execute(ask.sql, ask.parameters)
        return await cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise translation(error) from error


def _options(timeout: float) -> str:
    """Settings of a session: nothing there waits longer than a statement may take."""
    milliseconds = max(int(timeout * 1000), 1)
    return (
        f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={milliseconds}"
    )


def _is_stale(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server has said something to an idle connection: goodbye, that is."""
    if connection.closed:
        return True
    try:
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    except (OSError, ValueError):
        return True


# --- errors ---------------------------------------------------------------------------------------

_MEANINGS: Final[Sequence[tuple[tuple[str, ...], type[StoreError], str]]] = (
    (("23505",), Refused, "an index refused what was to be stored"),
    (("57014", "55P03", "40001", "40P01"), StoreBusy, "others kept it busy: try again"),
    (("53100", "53200"), StoreFull, "there is no room for more"),
    (("25006", "42501"), StoreReadOnly, "this user, or this server, may not write there"),
    (("42P01", "3F000", "42883"), NotAStore, "its tables are not there: open the store to make them"),
    (("08", "57P01", "57P02", "40003", "25P03"), Lost, "the connection was ended"),
    (("57P03", "53300", "28", "3D000"), Unreachable, "it cannot be connected to"),
)


def translation(error: psycopg.Error) -> StoreError:
    """What Postgres reported, as this library's error."""
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return Lost(f"the connection to Postgres broke: {error}")
        return StoreError(f"Postgres could not be asked: {error}")
    for states, meaning, words in _MEANINGS:
        if state.startswith(states):
            return meaning(f"Postgres says {error} ({state}): {words}")
    return StoreError(f"Postgres says {error} ({state})")


def _pool_error(error: Exception, timeout: float) -> StoreError:
    if isinstance(error, PoolClosed):
        return StoreClosed("the store was closed: open it again")
    if isinstance(error, TooManyRequests):
        return StoreBusy(f"too many wait for a connection: give the pool more of them ({error})")
    return Unreachable(f"there was no connection to Postgres for {timeout} seconds: {error}")
