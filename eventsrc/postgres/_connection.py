"""Sessions: connections to a Postgres in use, what they are like, and statements on them."""

from __future__ import annotations

import functools
import math
import os
import random
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.rows import tuple_row

from eventsrc._clock import monotonic
from eventsrc._errors import with_article
from eventsrc.postgres._conversation import Statement
from eventsrc.postgres._errors import AnyConnection, is_of_connection, stuck, translation
from eventsrc.postgres._nul import may_have_nul, rows_of, take_nul
from eventsrc.postgres._settings import changes_settings
from eventsrc.postgres._watch import Unwatched, Watched
from eventsrc.stores.operations import StoreBusy, StoreClosed, StoreError

MOMENT: Final = 0.25
"""For how many seconds a cancelled task waits for the server to stop as well."""

_SLACK: Final = 0.1
"""The seconds by which a server may be wrong about the time that a statement has left."""

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


class Session:
    """A connection in use, with a cursor on it and the watch over its waits.

    connection: an own one, one of a user's pool, or one in whose transaction a user works.
    is_watched: False for the last of these, whose waits are its user's affair.
    """

    __slots__ = (
        "_pid",
        "allowed",
        "connection",
        "cursor",
        "is_unsettled",
        "used",
        "was_autocommit",
        "watched",
    )

    def __init__(self, connection: AnyConnection, *, is_watched: bool = True) -> None:
        self.connection: Final[Any] = connection
        self.cursor: Final[Any] = _cursor_on(connection)
        self.allowed = math.inf
        """The seconds that the server allows a statement."""
        self.is_unsettled = False
        """Whether its user has changed settings, so that it is nobody else's after that."""
        self.used = -math.inf
        """When it was last in use, by _clock.monotonic()."""
        self.was_autocommit = connection.autocommit
        self.watched: Final = Watched(connection) if is_watched else Unwatched()
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process has made it: what another one writes there would end its session."""
        return self._pid == os.getpid()

    @property
    def is_reusable(self) -> bool:
        """Whether it is in no transaction, in the middle of nothing, not cut off, and as it was."""
        status = self.connection.pgconn.transaction_status
        is_sound = status == TransactionStatus.IDLE and not self.watched.is_cut
        return is_sound and not self.is_unsettled

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Waits for the server no longer than so many seconds. Raises StoreClosed after a fork."""
        if not self.is_ours:
            raise forked()
        self.watched.start(monotonic() + seconds)
        try:
            yield
        finally:
            self.watched.stop()

    def close(self) -> None:
        """Ends the session, if it is this process's."""
        if self.is_ours:
            self.watched.close()
            self.connection.pgconn.finish()  # where `close` could give it back to a pool

    def text_cursor(self) -> Any:
        """A cursor for several statements in one, which have no parameters and are not binary."""
        return _cursor_on(self.connection, is_binary=False)

    def meaning(self, error: psycopg.Error) -> StoreError:
        """The error of this library that an error of the driver means."""
        return stuck() if self.watched.is_cut else translation(error)

    @contextmanager
    def typed(self) -> Iterator[None]:
        """Raises this library's errors for what happens to the connection while its user has it."""
        try:
            yield
        except psycopg.Error as error:
            if not is_of_connection(error, self.connection):
                raise
            raise self.meaning(error) from error


def _cursor_on(connection: AnyConnection, *, is_binary: bool = True) -> Any:
    """A cursor such as this library needs, whatever those of a user's connection are like."""
    cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]
    if isinstance(connection, psycopg.AsyncConnection):
        cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
    else:
        cursor = psycopg.Cursor(connection, row_factory=tuple_row)
    if is_binary:
        cursor.format = Format.BINARY
    return cursor


def has_rows(cursor: Any) -> bool:
    """Whether the last statement answered with rows, none of them included."""
    result = cursor.pgresult
    return result is not None and result.status == ExecStatus.TUPLES_OK


def forked() -> StoreClosed:
    """The error for a process that uses what another has opened."""
    return StoreClosed("this was opened before a fork: open it in each process")


# --- deadlines


def limit(session: Session, deadline: float) -> Statement | None:
    """Has the server give up at a deadline, if it would not by itself. Raises StoreBusy after it."""
    left = left_until(deadline)
    if abs(left - session.allowed) <= _SLACK:
        return None
    session.allowed = max(left, _SHORTEST)
    milliseconds = math.ceil(session.allowed * 1000)
    return Statement(_LIMIT, (milliseconds, milliseconds))


def limit_here(seconds: float) -> Statement:
    """Has the server give each statement of the transaction so many seconds."""
    milliseconds = math.ceil(seconds * 1000)
    return Statement(_LIMIT_HERE % (milliseconds, milliseconds))


def left_until(deadline: float) -> float:
    """The seconds that are left. Raises StoreBusy if there are none."""
    left = deadline - monotonic()
    if left <= 0:
        raise StoreBusy("there was no time left to ask Postgres")
    return left


@contextmanager
def limited_cursors(session: Session, seconds: float) -> Iterator[None]:
    """Has `execute` of a user's cursors wait for the server no longer than so many seconds, and note
    whether it changes settings; and has all of them take U+0000.

    COPY, `executemany`, `stream` and named cursors are left as they are: how long these take cannot be
    told from how long they wait.
    """
    connection = session.connection
    factory = connection.cursor_factory
    if isinstance(factory, type):
        limited = _limited(factory)

        def made(*args: Any, **options: Any) -> Any:
            cursor = limited(*args, **options)
            cursor.session, cursor.seconds = session, seconds
            return cursor

        connection.cursor_factory = made
    try:
        yield
    finally:
        connection.cursor_factory = factory


@functools.cache
def _limited(factory: type[Any]) -> type[Any]:
    """A class of cursors whose `execute` waits no longer than so many seconds."""

    class Limited(factory):  # type: ignore[misc]
        session: Session
        seconds: float

        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            session = self.session
            if may_have_nul(params):
                take_nul(self.adapters)
            try:
                with session.within(self.seconds):
                    return super().execute(query, params, **options)
            finally:
                if changes_settings(query, self.statusmessage):
                    session.is_unsettled = True

        def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
            rows = rows_of(params_seq)
            if may_have_nul(rows):
                take_nul(self.adapters)
            super().executemany(query, rows, **options)

        def stream(self, query: Any, params: Any = None, **options: Any) -> Any:
            if may_have_nul(params):
                take_nul(self.adapters)
            return super().stream(query, params, **options)

        def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
            take_nul(self.adapters)  # of rows that are to come
            return super().copy(statement, params, **options)

    return Limited


# --- addresses


def hosts_of(address: str) -> list[str]:
    """An address for each host that an address names, in the order in which to try them."""
    parts = conninfo_to_dict(address)
    named = {
        name: str(parts.get(name) or os.environ.get(f"PG{name.upper()}", "")).split(",")
        for name in ("host", "hostaddr", "port")
    }
    count = max(len(named["host"]), len(named["hostaddr"]))
    if count == 1:
        return [address]
    addresses: list[str] = []
    for index in range(count):
        one = {
            name: values[index] if len(values) == count else values[-1]
            for name, values in named.items()
        }
        addresses.append(
            make_conninfo(address, **{name: value for name, value in one.items() if value})
        )
    if parts.get("load_balance_hosts", os.environ.get("PGLOADBALANCEHOSTS")) == "random":
        random.shuffle(addresses)
    return addresses


def unwatched(options: str, error: psycopg.OperationalError) -> str:
    """The options for a server that cannot see that its client is gone; raises any other error."""
    if _WATCH not in str(error):
        raise error
    return options.removesuffix(_WATCHED)


# --- what connections are like


def settings(address: str, timeout: float, *, for_handlers: bool = False) -> dict[str, Any]:
    """The settings of a new connection: nothing there waits longer than a statement may take.

    for_handlers: whether handlers of views use it, which may compute for longer between two statements,
        and find what they call where the user has it.
    """
    path = "" if for_handlers else " -c search_path=pg_catalog,pg_temp"
    milliseconds = max(int(timeout * 1000), 1)
    users = conninfo_to_dict(address).get("options") or os.environ.get("PGOPTIONS", "")
    options = (
        f"{users} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={0 if for_handlers else milliseconds} "
        f"-c default_transaction_isolation=read\\ committed{path}{_WATCHED}"
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
    No part of the address is in the error, since any may be a part of a password.
    """
    if isinstance(address, str):
        _check_text(address)
    elif isinstance(address, others):
        raise TypeError(f"the address is an {others.__name__}: give this one a {pool.__name__}")
    elif not isinstance(address, pool):
        kind = with_article(type(address))
        raise TypeError(f"the address is {kind}: give a connection string or a {pool.__name__}")


def _check_text(address: str) -> None:
    wrong = None
    try:
        fields = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        wrong = "is no connection string"
    else:
        ports = [port for port in str(fields.get("port", "")).split(",") if port]
        if not all(port.isascii() and port.isdigit() for port in ports):
            wrong = "has a port that is no number"
        elif any("@" in str(fields.get(name, "")) for name in ("host", "dbname")):
            wrong = "has an @ in its host or database"
    if wrong is not None:
        raise ValueError(
            f"the address {wrong}: write it as postgresql://app:password@host:5432/shop, with %-codes "
            "for special characters in the password (@ is %40, / is %2F, % is %25)"
        )


def check_session_settings(connection: AnyConnection) -> None:
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


def is_stale(connection: AnyConnection) -> bool:
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
