"""How statements get to a Postgres: connections, deadlines, and what errors mean.

What a store or a database of views asks of Postgres is written once, as a *conversation*: a generator
that yields statements and is sent their rows. `Link` holds conversations in the caller's thread,
`AsyncLink` in its event loop. Each statement is a transaction of its own.
"""

from __future__ import annotations

import asyncio
import math
import os
import select
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, TransactionStatus
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
    is_bold: bool = False
    """Whether it counts on what was told before: then it is Refused if a connection was lost since."""


_GRACE: Final = 0.25
"""How many seconds more than the server its client waits."""

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


class Wire(psycopg.Connection[Any]):
    """A connection that waits for its server no longer than until a time."""

    until = math.inf
    """When to give up, by time.monotonic()."""

    patience = math.inf
    """For how many seconds to wait for one answer."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Waits for what a generator of psycopg waits for. Raises TimeoutError at the time."""
        return super().wait(_limited(gen, self), *args, **kwargs)


class AsyncWire(psycopg.AsyncConnection[Any]):
    """As Wire, for an event loop."""

    until = math.inf
    """When to give up, by time.monotonic()."""

    patience = math.inf
    """For how many seconds to wait for one answer."""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Waits for what a generator of psycopg waits for. Raises TimeoutError at the time."""
        return await super().wait(_limited(gen, self), *args, **kwargs)


def _limited(waiting: Any, wire: Wire | AsyncWire) -> Generator[Any, Any, Any]:
    """What a generator of psycopg waits for, until its connection's time.

    It is asked again every tenth of a second or so, whether anything has come or not.
    """
    until = min(wire.until, time.monotonic() + wire.patience)
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= until:
                raise TimeoutError("Postgres has not answered in time")
            wanted = waiting.send(ready)
    except StopIteration as stop:
        return stop.value


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
        if self._is_closed or not _is_idle(connection):
            self._lose()
            connection.close()
        else:
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
            if not is_stale(connection):
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
        if self._is_closed or not _is_idle(connection):
            self._lose()
            await connection.close()
        else:
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
            if not is_stale(connection):
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
        raise _pool_error(error, timeout) from error


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
        raise _pool_error(error, timeout) from error


def hold_on(conversation: Conversation[T], connection: psycopg.Connection[Any]) -> T:
    """Holds a conversation on one connection, in the transaction that it is in."""
    cursor = connection.cursor(binary=True)
    return hold(conversation, lambda ask: execute_on(cursor, ask))


async def hold_on_async(conversation: Conversation[T], connection: psycopg.AsyncConnection[Any]) -> T:
    """As hold_on, waiting for each answer."""
    cursor = connection.cursor(binary=True)
    return await hold_async(conversation, lambda ask: execute_on_async(cursor, ask))


def execute_on(cursor: psycopg.Cursor[Any], ask: Ask) -> Rows:
    """Executes a statement. Raises this library's errors."""
    try:
        if ask.parameters is None:  # several statements cannot be sent with parameters, nor binary
            cursor = cursor.connection.cursor()
        cursor.execute(ask.sql, ask.parameters)
        return cursor.fetchall() if _has_rows(cursor) else []
    except TimeoutError as error:
        cursor.connection.close()
        raise Lost(f"the connection to Postgres is stuck: {error}") from error
    except psycopg.Error as error:
        raise translation(error) from error


async def execute_on_async(cursor: psycopg.AsyncCursor[Any], ask: Ask) -> Rows:
    """As execute_on, waiting for the answer."""
    try:
        if ask.parameters is None:
            cursor = cursor.connection.cursor()
        await cursor.execute(ask.sql, ask.parameters)
        return await cursor.fetchall() if _has_rows(cursor) else []
    except TimeoutError as error:
        await cursor.connection.close()
        raise Lost(f"the connection to Postgres is stuck: {error}") from error
    except psycopg.Error as error:
        raise translation(error) from error


@contextmanager
def translated() -> Iterator[None]:
    """Raises this library's errors for broken connections; mistakes in SQL are their maker's."""
    try:
        yield
    except TimeoutError as error:
        raise Lost(f"the connection to Postgres is stuck: {error}") from error
    except psycopg.OperationalError as error:
        raise translation(error) from error


def _has_rows(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> bool:
    result = cursor.pgresult
    return result is not None and result.status == ExecStatus.TUPLES_OK


def settings(address: str, timeout: float) -> dict[str, Any]:
    """How a connection is made: nothing there waits longer than a statement may take."""
    milliseconds = max(int(timeout * 1000), 1)
    users = conninfo_to_dict(address).get("options") or os.environ.get("PGOPTIONS", "")
    options = (
        f"{users} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={milliseconds}"
    )
    return {"autocommit": True, "options": options, "connect_timeout": max(int(timeout), 2)}


def is_stale(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server has said something to an idle connection: goodbye, that is."""
    if connection.closed:
        return True
    try:
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def _no_connection(timeout: float) -> StoreBusy:
    return StoreBusy(f"there was no free connection to Postgres for {timeout} seconds")


def _nothing() -> None:
    """What is done about a loss if nobody says."""


def _is_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a connection is in no transaction and in the middle of nothing."""
    return connection.pgconn.transaction_status == TransactionStatus.IDLE


def _may_come_back(error: psycopg.OperationalError) -> bool:
    """Whether a server that refused a connection may take one in a moment."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "53", "57"))


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
