"""Connections to a Postgres on which no wait is without an end, and single statements on them."""

from __future__ import annotations

import asyncio
import math
import os
import select
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.rows import tuple_row

from eventsrc.postgres._conversation import Ask, Rows
from eventsrc.postgres._errors import stuck, translation
from eventsrc.stores.operations import StoreBusy, StoreClosed, StoreError

MOMENT: Final = 0.25
"""For how many seconds somebody who is interrupted waits for the server to stop as well."""

_SLACK: Final = 0.1
"""How many seconds a server may be wrong about the time that a statement has left."""

_SHORTEST: Final = 0.2
"""The least that a server is told, in seconds: it can be told something else within that."""

_LIMIT: Final = b"""
    SELECT set_config('statement_timeout', %s::text, false), set_config('lock_timeout', %s::text, false)
"""
# no query, after which a transaction could not be made to read only
_LIMIT_HERE: Final = b"SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d"

_WATCH: Final = "client_connection_check_interval"
_WATCHED: Final = f" -c {_WATCH}=500"
"""Has the server end a statement whose client is gone; some cannot, and refuse such a connection."""

_LONGEST: Final = 2_000_000
"""The longest timeout in seconds: Postgres has no longer ones than 2**31 milliseconds."""


class Limits:
    """For how long a connection waits for its server."""

    until = math.inf
    """When to give up, by time.monotonic()."""

    patience = math.inf
    """For how many seconds to wait for one answer."""

    def hurry(self) -> None:
        """Gives up in a moment."""
        self.until = min(self.until, time.monotonic() + MOMENT)


class _Own(Limits):
    """What a connection of this library does not do: wait for ever, or serve a forked process."""

    allowed = math.inf
    """How many seconds the server allows a statement."""

    used = -math.inf
    """When it was last in use, by time.monotonic()."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process has made it: what another one writes there would end its session."""
        return self._pid == os.getpid()

    @classmethod
    def _connect_gen(cls, conninfo: str = "", **options: Any) -> Generator[Any, Any, Self]:
        connecting: Any = super()
        return _timely(connecting._connect_gen(conninfo, **options))


class Wire(_Own, psycopg.Connection[Any]):
    """A connection that waits for its server no longer than until a time."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Waits for what a generator of psycopg waits for. Raises TimeoutError at the time."""
        if self._pid != os.getpid():
            raise forked()
        until = self.until
        try:
            return super().wait(limited(gen, self), *args, **kwargs)
        finally:
            self.until = until  # an interruption has brought it nearer

    def cancel_safe(self, *, timeout: float = MOMENT) -> None:
        """Asks the server to stop, for no longer than a moment."""
        self.hurry()
        super().cancel_safe(timeout=min(timeout, MOMENT))

    def close(self) -> None:
        """Ends the session, if it is this process's."""
        if self.is_ours:
            super().close()


class AsyncWire(_Own, psycopg.AsyncConnection[Any]):
    """As Wire, for an event loop."""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Waits for what a generator of psycopg waits for. Raises TimeoutError at the time."""
        if self._pid != os.getpid():
            raise forked()
        until = self.until
        try:
            return await super().wait(limited(gen, self), *args, **kwargs)
        finally:
            self.until = until  # a cancellation has brought it nearer

    async def cancel_safe(self, *, timeout: float = MOMENT) -> None:
        """Asks the server to stop, for no longer than a moment."""
        self.hurry()
        async with asyncio.timeout(2 * MOMENT):  # an old libpq cancels in a thread, without an end
            await super().cancel_safe(timeout=min(timeout, MOMENT))

    async def close(self) -> None:
        """Ends the session, if it is this process's."""
        if self.is_ours:
            await super().close()


def forked() -> StoreClosed:
    """The error for a process that uses what another has opened."""
    return StoreClosed("this was opened before a fork: open it in each process")


def limited(waiting: Any, limits: Limits) -> Generator[Any, Any, Any]:
    """What a generator of psycopg waits for, as long as its connection's limits let it.

    It is asked again every tenth of a second or so, whether anything has come or not.
    """
    end = time.monotonic() + limits.patience
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= min(limits.until, end):
                raise TimeoutError("Postgres has not answered in time")
            wanted = waiting.send(ready)
    except StopIteration as stop:
        return stop.value


# --- connecting

_allowed: ContextVar[tuple[float, float]] = ContextVar("_allowed", default=(math.inf, math.inf))
"""Until when connections may be made, and how many seconds each attempt may take: psycopg itself
allows each host whole seconds, two of them at least."""


def _timely(connecting: Any) -> Generator[Any, Any, Any]:
    """What a generator of psycopg that connects waits for, as long as that is allowed."""
    until, each = _allowed.get()
    until = min(until, time.monotonic() + each)
    try:
        ready = None
        while True:
            if not ready and time.monotonic() >= until:
                raise psycopg.errors.ConnectionTimeout("there was no answer in time")
            ready = yield connecting.send(ready)
    except StopIteration as stop:
        return stop.value


@contextmanager
def _allowing(address: str, deadline: float) -> Iterator[None]:
    """Connections are made until a deadline; the hosts of the address share the time."""
    hosts = str(conninfo_to_dict(address).get("host") or os.environ.get("PGHOST", "")).count(",") + 1
    token = _allowed.set((deadline, (deadline - time.monotonic()) / hosts))
    try:
        yield
    finally:
        _allowed.reset(token)


def connect(address: str, deadline: float, **how: Any) -> Wire:
    """A connection, made by a deadline. how: see settings."""
    with _allowing(address, deadline):
        try:
            return Wire.connect(address, **how)
        except psycopg.OperationalError as error:
            return Wire.connect(address, **_unwatched(how, error))


async def connect_async(address: str, deadline: float, **how: Any) -> AsyncWire:
    """As connect, without holding up the event loop."""
    with _allowing(address, deadline):
        try:
            return await AsyncWire.connect(address, **how)
        except psycopg.OperationalError as error:
            return await AsyncWire.connect(address, **_unwatched(how, error))


def _unwatched(how: dict[str, Any], error: psycopg.OperationalError) -> dict[str, Any]:
    """How to connect to a server that cannot see that its client is gone; raises any other error."""
    if _WATCH not in str(error):
        raise error
    return how | {"options": how["options"].removesuffix(_WATCHED)}


# --- statements


def cursor_on(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """A cursor such as this library needs, whatever those of a user's connection are like."""
    cursor = psycopg.Cursor(connection, row_factory=tuple_row)
    cursor.format = Format.BINARY
    return cursor


def async_cursor_on(connection: psycopg.AsyncConnection[Any]) -> psycopg.AsyncCursor[Any]:
    """As cursor_on."""
    cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
    cursor.format = Format.BINARY
    return cursor


def execute_on(cursor: psycopg.Cursor[Any], ask: Ask) -> Rows:
    """Executes a statement. Raises this library's errors."""
    try:
        if ask.parameters is None:  # several statements cannot be sent with parameters, nor binary
            cursor = psycopg.Cursor(cursor.connection, row_factory=tuple_row)
        cursor.execute(ask.sql, ask.parameters)
        return cursor.fetchall() if _has_rows(cursor) else []
    except TimeoutError as error:
        cursor.connection.close()
        raise stuck(error) from error
    except psycopg.Error as error:
        raise translation(error) from error


async def execute_on_async(cursor: psycopg.AsyncCursor[Any], ask: Ask) -> Rows:
    """As execute_on, waiting for the answer."""
    try:
        if ask.parameters is None:
            cursor = psycopg.AsyncCursor(cursor.connection, row_factory=tuple_row)
        await cursor.execute(ask.sql, ask.parameters)
        return await cursor.fetchall() if _has_rows(cursor) else []
    except TimeoutError as error:
        await cursor.connection.close()
        raise stuck(error) from error
    except psycopg.Error as error:
        raise translation(error) from error


def limit(wire: Wire | AsyncWire, deadline: float) -> Ask | None:
    """Has the server give up at a deadline, if it would not by itself. Raises StoreBusy after it."""
    left = left_until(deadline)
    if abs(left - wire.allowed) <= _SLACK:
        return None
    wire.allowed = max(left, _SHORTEST)
    milliseconds = math.ceil(wire.allowed * 1000)
    return Ask(_LIMIT, (milliseconds, milliseconds))


def limit_here(seconds: float) -> Ask:
    """Has the server give each statement of the transaction so many seconds."""
    milliseconds = math.ceil(seconds * 1000)
    return Ask(_LIMIT_HERE % (milliseconds, milliseconds))


def left_until(deadline: float) -> float:
    """How many seconds there are. Raises StoreBusy if there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise StoreBusy("there was no time left to ask Postgres")
    return left


def _has_rows(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> bool:
    result = cursor.pgresult
    return result is not None and result.status == ExecStatus.TUPLES_OK


# --- what connections are like


def settings(address: str, timeout: float, *, may_rest: bool = False) -> dict[str, Any]:
    """How a connection is made: nothing there waits longer than a statement may take.

    may_rest: whether transactions may be idle for longer than that.
    """
    milliseconds = max(int(timeout * 1000), 1)
    users = conninfo_to_dict(address).get("options") or os.environ.get("PGOPTIONS", "")
    options = (
        f"{users} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={0 if may_rest else milliseconds} "
        f"-c default_transaction_isolation=read\\ committed{_WATCHED}"
    )
    return {
        "autocommit": True,
        "options": options,
        "client_encoding": "UTF8",
        "connect_timeout": max(math.ceil(timeout), 2),
    }


def check_timeout(timeout: object) -> None:
    """Raises TypeError or ValueError for what is no number of seconds to wait."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is {timeout!r}: give a number of seconds")
    if not 0 < timeout <= _LONGEST:
        raise ValueError(f"timeout is {timeout!r}: give more than 0 seconds, and at most {_LONGEST:_}")


def check_address(address: object, pool: type, others: type) -> None:
    """Raises TypeError or ValueError for what is neither a connection string nor such a pool.

    others: the pools of the other kind of store, which are easily taken for these.
    """
    if isinstance(address, str):
        try:
            conninfo_to_dict(address)
        except psycopg.ProgrammingError as error:
            raise ValueError(
                f"the address is no connection string, such as postgresql://app@host/shop: {error}"
            ) from error
    elif isinstance(address, others):
        raise TypeError(f"the address is an {others.__name__}: give this one a {pool.__name__}")
    elif not isinstance(address, pool):
        raise TypeError(f"the address is {address!r}: give a connection string or a {pool.__name__}")


def check_lent(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raises StoreError for a user's connection on which statements would not mean what they say."""
    encoding = connection.pgconn.parameter_status(b"client_encoding") or b"UTF8"
    if encoding.upper().replace(b"-", b"") not in (b"UTF8", b"UNICODE"):
        raise StoreError(
            f"the connection that was given has client_encoding {encoding.decode()}: connect with "
            "client_encoding=UTF8"
        )
    level = connection.isolation_level
    if level is not None:
        check_isolation(level.name.replace("_", " ").lower())


def check_isolation(level: str) -> None:
    """Raises StoreError for transactions that do not see what was committed while they waited."""
    if level not in ("read committed", "read uncommitted"):  # which are one in Postgres
        raise StoreError(
            f"transactions of the connection that was given are {level.upper()}: whoever appends must "
            "see what was committed while it waited, so make them READ COMMITTED"
        )


def is_stale(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server has said something to an idle connection: goodbye, that is."""
    if connection.closed:
        return True
    try:
        if sys.platform == "win32":
            return bool(select.select([connection.fileno()], [], [], 0)[0])
        look = select.poll()  # select.select knows only the first 1024 files of a process
        look.register(connection.fileno(), select.POLLIN)
        return bool(look.poll(0))
    except (OSError, psycopg.OperationalError):
        return True


def is_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a connection is in no transaction and in the middle of nothing."""
    return connection.pgconn.transaction_status == TransactionStatus.IDLE
