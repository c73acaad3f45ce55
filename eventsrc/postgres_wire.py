"""Connections to a Postgres on which no wait is without an end, and single statements on them."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, TransactionStatus

from eventsrc.postgres_conversation import Ask, Rows
from eventsrc.postgres_errors import stuck, translation


class Wire(psycopg.Connection[Any]):
    """A connection that waits for its server no longer than until a time."""

    until = math.inf
    """When to give up, by time.monotonic()."""

    patience = math.inf
    """For how many seconds to wait for one answer."""

    used = -math.inf
    """When it was last in use, by time.monotonic()."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Waits for what a generator of psycopg waits for. Raises TimeoutError at the time."""
        return super().wait(_limited(gen, self), *args, **kwargs)


class AsyncWire(psycopg.AsyncConnection[Any]):
    """As Wire, for an event loop."""

    until = math.inf
    """When to give up, by time.monotonic()."""

    patience = math.inf
    """For how many seconds to wait for one answer."""

    used = -math.inf
    """When it was last in use, by time.monotonic()."""

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


def execute_on(cursor: psycopg.Cursor[Any], ask: Ask) -> Rows:
    """Executes a statement. Raises this library's errors."""
    try:
        if ask.parameters is None:  # several statements cannot be sent with parameters, nor binary
            cursor = cursor.connection.cursor()
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
            cursor = cursor.connection.cursor()
        await cursor.execute(ask.sql, ask.parameters)
        return await cursor.fetchall() if _has_rows(cursor) else []
    except TimeoutError as error:
        await cursor.connection.close()
        raise stuck(error) from error
    except psycopg.Error as error:
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


def is_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a connection is in no transaction and in the middle of nothing."""
    return connection.pgconn.transaction_status == TransactionStatus.IDLE
