"""Connections that a user's pool lends: used as this library's own, and given back as they were.

While one is lent, it waits for its server no longer than one of this library's would. What the pool
does by itself before and afterwards, such as its checks, is not limited.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from eventsrc.postgres._connection import MOMENT, Limits, is_idle, limited
from eventsrc.postgres._errors import of_pool


@contextmanager
def borrowed(
    pool: ConnectionPool[Any], deadline: float, *, until: float = math.inf, patience: float = math.inf
) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a user's pool, in autocommit for the time being.

    deadline: until when to wait for the pool, by time.monotonic(). until, patience: see Limits.
    """
    timeout = max(deadline - time.monotonic(), 0.0)
    try:
        with pool.connection(timeout) as connection, _waiting(connection, until, patience):
            was = connection.autocommit
            connection.autocommit = True
            try:
                yield connection
            finally:
                if is_idle(connection):
                    connection.autocommit = was
                else:  # interrupted in the middle of something: the pool makes another one
                    connection.pgconn.finish()
    except (PoolTimeout, TooManyRequests, PoolClosed) as error:
        raise of_pool(error, timeout) from error


@asynccontextmanager
async def borrowed_async(
    pool: AsyncConnectionPool[Any],
    deadline: float,
    *,
    until: float = math.inf,
    patience: float = math.inf,
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """As borrowed, of an asynchronous pool."""
    timeout = max(deadline - time.monotonic(), 0.0)
    try:
        async with pool.connection(timeout) as connection:
            with _waiting_async(connection, until, patience):
                was = connection.autocommit
                await connection.set_autocommit(True)
                try:
                    yield connection
                finally:
                    if is_idle(connection):
                        await connection.set_autocommit(was)
                    else:
                        connection.pgconn.finish()
    except (PoolTimeout, TooManyRequests, PoolClosed) as error:
        raise of_pool(error, timeout) from error


@contextmanager
def _waiting(connection: psycopg.Connection[Any], until: float, patience: float) -> Iterator[None]:
    """Has a connection of whatever class wait as a Wire does."""
    limits = Limits()
    limits.until, limits.patience = until, patience
    wait, cancel = connection.wait, connection.cancel_safe

    def wait_in_time(gen: Any, *args: Any, **kwargs: Any) -> Any:
        return wait(limited(gen, limits), *args, **kwargs)

    def cancel_soon(*, timeout: float = MOMENT) -> None:
        limits.hurry()
        cancel(timeout=min(timeout, MOMENT))

    with _instead(connection, wait=wait_in_time, cancel_safe=cancel_soon):
        yield


@contextmanager
def _waiting_async(
    connection: psycopg.AsyncConnection[Any], until: float, patience: float
) -> Iterator[None]:
    """Has a connection of whatever class wait as an AsyncWire does."""
    limits = Limits()
    limits.until, limits.patience = until, patience
    wait, cancel = connection.wait, connection.cancel_safe

    async def wait_in_time(gen: Any, *args: Any, **kwargs: Any) -> Any:
        return await wait(limited(gen, limits), *args, **kwargs)

    async def cancel_soon(*, timeout: float = MOMENT) -> None:
        limits.hurry()
        async with asyncio.timeout(2 * MOMENT):  # an old libpq cancels in a thread, without an end
            await cancel(timeout=min(timeout, MOMENT))

    with _instead(connection, wait=wait_in_time, cancel_safe=cancel_soon):
        yield


@contextmanager
def _instead(connection: object, **methods: Callable[..., Any]) -> Iterator[None]:
    """Has one object do something else for the time being than its class says."""
    own = vars(connection)
    before = {name: own[name] for name in methods if name in own}
    own.update(methods)
    try:
        yield
    finally:
        for name in methods:
            del own[name]
        own.update(before)
