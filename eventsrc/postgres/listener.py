"""Listening to a Postgres store: whoever waits for events is woken by the commit that stores them.

A trigger has each append send a notification, which Postgres delivers after the commit to all who
listen at that moment. It says that there is something, and not what: so one thread, which listens for
all who wait, then looks how far the feed goes, as it does whenever it has connected anew and nobody
knows what was called meanwhile. (LISTEN, NOTIFY: the Postgres manual, "SQL Commands".)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import selectors
import socket
import threading
from concurrent.futures import Future
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from eventsrc._clock import within
from eventsrc.events.positions import Cursor
from eventsrc.following.waiting import WaitForEvents
from eventsrc.postgres._connection import Session, forked
from eventsrc.postgres._errors import not_connected, translation
from eventsrc.postgres._link import Driver, Link
from eventsrc.postgres._policy import OwnConnections
from eventsrc.postgres._schema import Tables, quoted
from eventsrc.programs.interpreter import on
from eventsrc.programs.opened import Opened
from eventsrc.stores.operations import NotAStore, StoreClosed, StoreError, StoreReadOnly

_IS_CALLING: Final = """
    SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = 'call')
"""
_HAVE_IT_CALL: Final = """
    SELECT pg_advisory_xact_lock({lock});
    CREATE OR REPLACE FUNCTION {s}.call() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM pg_notify('eventsrc {lock}', '');
        RETURN NULL;
    END $$;
    CREATE OR REPLACE TRIGGER call AFTER INSERT ON {s}.event
        FOR EACH STATEMENT EXECUTE FUNCTION {s}.call();
"""
_LISTEN: Final = 'LISTEN "eventsrc {lock}"'
_END: Final = "SELECT coalesce(max(position), 0) FROM {s}.event"

_PAUSE: Final = 1.0
"""After how many seconds, at most, a connection that could not be made is tried again."""

_HOW: Final[dict[str, int | str]] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "fallback_application_name": "eventsrc listener",
}

_log = logging.getLogger("eventsrc")


class PostgresListener(Opened[WaitForEvents]):
    """Waits for events of a Postgres store, on a connection of its own.

    address: the connection string of the server itself: behind a bouncer that pools transactions,
        nobody can listen.
    schema: the store's.
    timeout: how many seconds it may take to connect.

    The first one of a schema makes the trigger; from then on each append pays for the call, and a
    transaction that appends cannot be prepared (PREPARE TRANSACTION). Raises StoreReadOnly if there is
    no trigger and this user may not make one, NotAStore if there is no store, and Unreachable.
    Any number of threads and tasks may wait. While nobody can listen, who waits is told about every
    second that there may be news.
    """

    def __init__(self, address: str, *, schema: str = "eventsrc", timeout: float = 5.0) -> None:
        if not isinstance(address, str):
            raise TypeError(f"the address is {address!r}: give the connection string of the server")
        self._address = address
        self._tables = Tables(schema, ())
        self._timeout = timeout
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: dict[Future[bool], int] = {}
        """The waiters, with the position that each waits to be passed."""
        self._end = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._have_it_call()
        self._policy = OwnConnections(make_conninfo(address, **_HOW), timeout)
        self._driver = Driver(self._policy)

    @on(WaitForEvents)
    def wait(self, op: WaitForEvents) -> bool:
        """Waits until the feed goes beyond the cursor."""
        news = self._expect(op.after)
        try:
            return news.result(min(op.within, threading.TIMEOUT_MAX))
        except TimeoutError:
            return False
        finally:
            self._forget(news)

    @on(WaitForEvents).coroutine
    async def wait_async(self, op: WaitForEvents) -> bool:
        """Waits until the feed goes beyond the cursor, without holding up the event loop."""
        news = self._expect(op.after)
        try:
            return await within(op.within, asyncio.wrap_future(news))
        except TimeoutError:
            return False
        finally:
            self._forget(news)

    def close(self) -> None:
        """Closes the connection; all who wait are told at once. Closing twice is closing once."""
        if self._pid != os.getpid():  # what is locked there may be locked here for ever
            return
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._tell(StoreClosed("the listener was closed: open it again"))
            self._changed.notify_all()
        if self._thread is not None:
            with self._awake, contextlib.suppress(OSError):  # it may have seen for itself
                self._awake.send(b"!")
            self._thread.join(_PAUSE)  # one that connects just now ends a little later

    # --- who waits

    def _expect(self, after: Cursor) -> Future[bool]:
        """A future that is told when the feed goes beyond a cursor."""
        if self._pid != os.getpid():
            raise forked()
        news: Future[bool] = Future()
        with self._changed:
            if self._is_closed:
                raise StoreClosed("the listener was closed: open it again")
            if self._end > after.position:
                news.set_result(True)
                return news
            self._waiting[news] = after.position
            if self._thread is None:
                self._awake, asleep = socket.socketpair()
                self._thread = threading.Thread(
                    target=self._listen, args=(asleep,), name="eventsrc-listener", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
        return news

    def _forget(self, news: Future[bool]) -> None:
        with self._changed:
            self._waiting.pop(news, None)

    def _tell(self, error: Exception | None = None) -> None:
        """Tells all who wait that there may be news, or raises an error for them."""
        with self._changed:
            while self._waiting:
                news, _ = self._waiting.popitem()
                if news.set_running_or_notify_cancel():
                    if error is None:
                        news.set_result(True)
                    else:
                        news.set_exception(error)

    def _reaches(self, end: int) -> None:
        """Tells those who wait for positions up to the end of the feed."""
        with self._changed:
            self._end = end
            for news in [news for news, after in self._waiting.items() if after < end]:
                del self._waiting[news]
                if news.set_running_or_notify_cancel():
                    news.set_result(True)

    def _is_wanted(self) -> bool:
        """Waits until somebody waits; answers False when it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._waiting))
            return not self._is_closed

    # --- the thread that listens

    def _listen(self, asleep: socket.socket) -> None:
        """Listens, as long as somebody waits, until it is closed."""
        session: Session | None = None
        is_away = False
        while self._is_wanted():
            was_listening = session is not None
            try:
                if session is None:
                    session = self._connected()
                elif not _is_readable(session, asleep):
                    continue
                self._look(session)
            except Exception as raised:
                self._drop(session)
                session = None
                error = _meant(raised)
                if not (isinstance(error, StoreError) and error.may_pass):
                    self._tell(error)
                elif not was_listening:
                    if not is_away:
                        _log.warning("nobody can listen to Postgres just now, it is polled: %s", error)
                    is_away = True
                    self._rest()
                    self._tell()
            else:
                if is_away:
                    _log.warning("the listener listens to Postgres again")
                is_away = False
        self._drop(session)
        asleep.close()

    def _connected(self) -> Session:
        """A connection that listens from now on."""
        session = self._driver.run(self._policy.connected(self._policy.deadline()))
        try:
            self._driver.run(self._policy.on(session, self._tables.ask(_LISTEN)))
        except BaseException:
            session.close()
            raise
        return session

    def _look(self, session: Session) -> None:
        """Looks how far the feed goes, and again if a call comes meanwhile."""
        calls: list[object] = []
        session.connection.add_notify_handler(calls.append)
        try:
            _take_calls(session)
            while True:
                ((end,),) = self._driver.run(self._policy.on(session, self._tables.ask(_END, ())))
                self._reaches(end)
                if not (calls or _take_calls(session)):
                    return
                calls.clear()
        finally:
            session.connection.remove_notify_handler(calls.append)

    @staticmethod
    def _drop(session: Session | None) -> None:
        """Closes a connection, if there is one."""
        if session is not None:
            session.close()

    def _rest(self) -> None:
        """Rests before a connection is tried again; nobody knows what is called meanwhile."""
        with self._changed:
            self._end = 0
            self._changed.wait_for(lambda: self._is_closed, _PAUSE * random.uniform(0.5, 1.0))

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


def _meant(error: Exception) -> Exception:
    """The error of this library that an error of the driver means, where no session said so."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return not_connected(error)
    return translation(error) if isinstance(error, psycopg.Error) else error


def _is_readable(session: Session, asleep: socket.socket) -> bool:
    """Waits for the server or for being woken; answers whether the server has said something."""
    with selectors.DefaultSelector() as selector:
        selector.register(session.connection.fileno(), selectors.EVENT_READ)
        selector.register(asleep, selectors.EVENT_READ)
        return any(key.fileobj is not asleep for key, _ in selector.select())


def _take_calls(session: Session) -> bool:
    """Takes the calls that have come; answers whether there were any."""
    session.connection.pgconn.consume_input()
    came = False
    while session.connection.pgconn.notifies() is not None:
        came = True
    return came
