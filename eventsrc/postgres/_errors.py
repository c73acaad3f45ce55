"""Errors of Postgres, of its connections and of pools, translated into those of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import psycopg
from psycopg_pool import PoolClosed, TooManyRequests

from eventsrc.postgres._tags import OTHER_TAGS
from eventsrc.stores.operations import (
    Lost,
    NotAStore,
    Refused,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
    Unreachable,
    passing,
)
from eventsrc.stores.tags import OtherTags

AnyConnection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

_MEANINGS: Final[Sequence[tuple[tuple[str, ...], type[StoreError], str]]] = (
    (("23505",), Refused, "an index refused what was to be stored"),
    (("55P03", "40001", "40P01"), StoreBusy, "others kept it busy: try again"),
    (("57014",), StoreBusy, "it was ended before it was done: try again, or give it more time"),
    (("53100", "53200"), StoreFull, "there is no room for more"),
    (("25006", "42501"), StoreReadOnly, "this user, or this server, may not write there"),
    (("42P01", "3F000", "42883"), NotAStore, "its tables are not there: open the store to make them"),
    (("08", "57P01", "57P02", "57P05", "40003", "25P03", "25P04"), Lost, "the connection was ended"),
    (("57P03", "53300", "28", "3D000"), Unreachable, "it cannot be connected to"),
    ((OTHER_TAGS,), OtherTags, "update it or, if it is the newer one, run index_tags()"),
)


_REFUSING: Final = ("28", "3D000")
"""The SQLSTATEs of a server that refuses whoever comes with such an address."""

_CUT_OFF: Final = ("25P03", "25P04")
"""The SQLSTATEs of a connection that was ended for its transaction's sake, though of another class."""

_PASSING: Final = (
    "40",  # another transaction was in the way: a deadlock, a serialization failure
    "53",  # there is no room, or too many are there
    "55P03",  # a lock was not to be had
    "58",  # the system under Postgres failed
)
"""The SQLSTATEs that say nothing of what Postgres was told: it may well do it later.

All others are of the statement and its values (the manual, appendix A), also where psycopg takes them
for an OperationalError: a limit (54), an object that is not ready (55000), a timeout (57014), which a
statement that takes too long meets each time. That the connection broke (08, 57P01, 25P03 and their
like) is seen by the connection: an error that says so while it is sound is of another one. Neither does
a database become read-only (25006) in a transaction that has written.
"""


_MENDED: Final = (
    *_PASSING,
    "25006",  # the server is a standby, until it is promoted
    "42P01",  # a table is not there, until it is restored
    "3F000",
    "57",  # somebody has the server do something else
)
"""The SQLSTATEs of what time may mend, though it be hours, besides those whose class says so.

The others are of rights (42501), and of what is wrong with the database or with this library.
"""


def is_passing(error: BaseException) -> bool:
    """True if an error, or one that led to it, is one of Postgres that passes by itself."""
    looked_at: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in looked_at:
        if isinstance(seen, psycopg.Error) and (seen.sqlstate or "").startswith(_PASSING):
            return True
        looked_at.append(seen)
        seen = seen.__cause__ or seen.__context__
    return False


def was_cut_off(error: BaseException) -> bool:
    """True if an error says that a transaction was idle for longer than the server lets it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, psycopg.Error) and seen.sqlstate in _CUT_OFF:
            return True
        seen = seen.__cause__
    return False


def translation(error: psycopg.Error) -> StoreError:
    """Translates an error of Postgres into this library's."""
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return Lost(f"the connection to Postgres broke: {error}")
        return StoreError(f"Postgres could not be asked: {error}")
    for states, meaning, words in _MEANINGS:
        if state.startswith(states):
            return _judged(meaning(f"Postgres says {error} ({state}): {words}"), state)
    return _judged(StoreError(f"Postgres says {error} ({state})"), state)


def _judged(error: StoreError, state: str) -> StoreError:
    """The error, as one that time may mend if the SQLSTATE says so."""
    if state.startswith(_MENDED):
        return passing(error)
    error.may_pass = error.may_pass and not state.startswith(_REFUSING)
    return error


def is_of_connection(error: psycopg.Error, connection: AnyConnection) -> bool:
    """Whether an error is of a connection or its server; mistakes in SQL are their maker's."""
    if isinstance(error, psycopg.OperationalError) or error.sqlstate in _CUT_OFF:
        return True
    return isinstance(error, psycopg.InterfaceError) and connection.closed


def stuck() -> Lost:
    """The error for a connection that was ended because its server had not answered in time."""
    return Lost("the connection to Postgres is stuck: it has not answered in time")


@contextmanager
def before_storing() -> Iterator[None]:
    """While nothing can have been stored: a connection that breaks then leaves nothing unknown."""
    try:
        yield
    except Lost as lost:
        raise Unreachable(f"{lost}; nothing was to be stored yet, so try again") from lost


def not_connected(error: psycopg.OperationalError) -> Unreachable:
    """The error for a connection that could not be made."""
    unreachable = Unreachable(f"Postgres cannot be connected to: {error}")
    unreachable.may_pass = may_come_back(error)
    return unreachable


_FINAL: Final = ("authentication failed", "does not exist", "pg_hba.conf", "no password supplied")
"""Texts, in English, with which a server refuses a connection that it will always refuse."""


def may_come_back(error: psycopg.OperationalError) -> bool:
    """Whether a connection that could not be made may be made in a moment, as far as can be told.

    A driver is not told the SQLSTATE of such an error: all there is are words.
    """
    words = str(error)
    return not ("FATAL" in words and any(final in words for final in _FINAL))


def of_pool(error: Exception, timeout: float) -> StoreError:
    """Translates the error of a pool that gave no connection into this library's."""
    if isinstance(error, PoolClosed):
        return StoreClosed(f"{error}: open the pool first, and close it last")
    if isinstance(error, TooManyRequests):
        return StoreBusy(f"too many wait for a connection: give the pool more of them ({error})")
    return Unreachable(f"there was no connection to Postgres for {timeout} seconds: {error}")
