"""Listening to a Postgres store: whoever waits for events is woken by the commit that stores them.

A trigger has each append send a notification, which Postgres delivers after the commit to all who
listen at that moment. It is only a hint: whoever was not listening just then, because the connection
broke, is told so and reads the feed. (LISTEN, NOTIFY: the Postgres manual, "SQL Commands".)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import Any, Final, Self

import psycopg

from eventsrc.interpreter import Interpreter, on
from eventsrc.postgres_link import Link
from eventsrc.postgres_schema import Tables, quoted
from eventsrc.postgres_wire import settings
from eventsrc.store import NotAStore, StoreClosed, StoreReadOnly
from eventsrc.waiting import WaitForEvents

_IS_CALLING: Final = """
    SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = 'call')
"""
_HAVE_IT_CALL: Final = """
    SELECT pg_advisory_xact_lock({lock});
    CREATE OR REPLACE FUNCTION {s}.call() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('eventsrc {lock}', '');
        RETURN NULL;
    END $$;
    CREATE OR REPLACE TRIGGER call AFTER INSERT ON {s}.event
        FOR EACH STATEMENT EXECUTE FUNCTION {s}.call();
"""
_LISTEN: Final = 'LISTEN "eventsrc {lock}"'

_GLANCE: Final = 0.25
"""For how many seconds a thread waits before it looks whether the listener was closed."""

_PAUSE: Final = 1.0
"""After how many seconds a connection that could not be made is tried again."""

_KEEPALIVE: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

_log = logging.getLogger("eventsrc")


class PostgresListener(Interpreter[WaitForEvents]):
    """Waits for events of a Postgres store, on a connection of its own.

    address: the connection string of the server itself: behind a bouncer that pools transactions,
        nobody can listen.
    schema: the store's.
    timeout: how many seconds it may take to connect.

    The first one of a schema makes the trigger; from then on each append pays for the call, and a
    transaction that appends cannot be prepared (PREPARE TRANSACTION). Raises StoreReadOnly if there is
    no trigger and this user may not make one, NotAStore if there is no store, and Unreachable.
    One thread or task at a time may wait.
    """

    def __init__(self, address: str, *, schema: str = "eventsrc", timeout: float = 5.0) -> None:
        self._address = address
        self._tables = Tables(schema, ())
        self._timeout = timeout
        self._connection: psycopg.Connection[Any] | None = None
        self._is_closed = False
        self._turn = threading.Lock()
        self._have_it_call()

    @on(WaitForEvents)
    def wait(self, op: WaitForEvents) -> bool:
        """Waits until an append is committed."""
        deadline = time.monotonic() + op.within
        with self._turn:
            if self._connection is None:
                if not self._connect():
                    time.sleep(_rest(deadline))
                return True
            while not self._is_closed:
                left = deadline - time.monotonic()
                if self._is_called(min(left, _GLANCE)):
                    return True
                if left <= 0:
                    return False
        raise StoreClosed("the listener was closed: open it again")

    @on(WaitForEvents).coroutine
    async def wait_async(self, op: WaitForEvents) -> bool:
        """Waits until an append is committed, without holding up the event loop."""
        deadline = time.monotonic() + op.within
        if self._connection is None:
            if not await asyncio.to_thread(self._connect):
                await asyncio.sleep(_rest(deadline))
            return True
        while not self._is_closed:
            if self._is_called(0):
                return True
            left = deadline - time.monotonic()
            if left <= 0 or not await _readable(self._connection.fileno(), left):
                return False
        raise StoreClosed("the listener was closed: open it again")

    def close(self) -> None:
        """Closes the connection; who waits in another thread is told within a moment."""
        self._is_closed = True
        with self._turn:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_called(self, seconds: float) -> bool:
        """Whether a call comes within so many seconds; a broken connection may hide one."""
        assert self._connection is not None
        try:
            return bool(list(self._connection.notifies(timeout=max(seconds, 0), stop_after=1)))
        except psycopg.OperationalError:
            self._drop()
            return True

    def _connect(self) -> bool:
        """Listens from now on. Answers whether it does; nobody knows what was called before."""
        if self._is_closed:
            raise StoreClosed("the listener was closed: open it again")
        options = {**settings(self._address, self._timeout), **_KEEPALIVE}
        try:
            connection = psycopg.connect(self._address, **options)
            connection.execute(self._tables.ask(_LISTEN).sql)
        except psycopg.OperationalError as error:
            _log.warning("nobody can listen to Postgres just now, it is polled: %s", error)
            return False
        self._connection = connection
        return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _have_it_call(self) -> None:
        """Sees to it that appends call."""
        link = Link(self._address, self._timeout)
        event = f"{quoted(self._tables.schema)}.event"
        try:
            ((is_calling,),) = link.read(self._tables.ask(_IS_CALLING, (event,)))
            if not is_calling:
                link.execute(self._tables.ask(_HAVE_IT_CALL))
        except NotAStore as error:
            raise NotAStore(
                f"schema {self._tables.schema!r} has no store: open the store before its listener"
            ) from error
        except StoreReadOnly as error:
            raise StoreReadOnly(
                f"no append in schema {self._tables.schema!r} calls who listens, and this user may not "
                "make the trigger for that: open a PostgresListener once as the owner of its tables"
            ) from error
        finally:
            link.close()


def _rest(deadline: float) -> float:
    """For how many seconds to rest before the feed is read, and a connection tried, again."""
    return max(min(deadline - time.monotonic(), _PAUSE), 0.0)


async def _readable(file: int, seconds: float) -> bool:
    """Whether there is something to read within so many seconds."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(file, came.set)
    try:
        await asyncio.wait_for(came.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(file)
    return True
