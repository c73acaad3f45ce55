"""Errors of SQLite, translated into those of a store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eventsrc.stores.operations import (
    NotAStore,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
    passing,
)

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_OF_THE_MACHINE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT}
)
_OF_A_DISK: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL})
_MISTAKES: Final = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH})
_NOT_COMMITTED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})


class CommitFailed(StoreError):
    """A commit failed in a way that leaves open whether its transaction will be found stored."""

    may_pass = True


def is_busy(error: sqlite3.Error) -> bool:
    """Whether others kept a file busy."""
    return _code(error) in _BUSY


def is_refused(error: sqlite3.Error) -> bool:
    """Whether SQLite refuses a statement: it is wrong, or a constraint does not let its values in."""
    return _code(error) in _MISTAKES


def is_of_the_machine(error: sqlite3.Error) -> bool:
    """Whether a statement failed for want of room or a sound disk, in a transaction that may write.

    All other errors are of the statement and its values there, or of another file: nobody keeps ours
    busy, and it was open and to be written.
    """
    return _code(error) in _OF_THE_MACHINE


def commit_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Translates an error of a commit into this library's."""
    if _code(error) in _NOT_COMMITTED:
        return translation(path, error)
    return CommitFailed(f"{path} could not be committed: {error}")


def translation(path: Path, error: sqlite3.Error) -> StoreError:
    """Translates an error of SQLite into this library's."""
    code = _code(error)
    if code in _BUSY:
        return StoreBusy(f"others keep {path} busy: {error}")
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"there is no room for more in {path}: {error}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreReadOnly(f"{path} cannot be written: {error}")
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"{path} is no SQLite file: {error}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return passing(
            StoreError(
                f"{path} cannot be opened: does its folder exist, and may it be read and written? Even "
                "to read, SQLite writes beside the file: from a read-only disk, copy it"
            )
        )
    if code == sqlite3.SQLITE_ERROR and "no such table" in str(error):
        return passing(NotAStore(f"a table of {path} is not there: {error}"))
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    other = StoreError(f"{path}: {error} ({name})")
    return passing(other) if code in _OF_A_DISK else other


@contextmanager
def typed(path: Path) -> Iterator[None]:
    """Raises this library's errors for statements of its own, about which no user can be mistaken."""
    try:
        yield
    except sqlite3.Error as error:
        raise translation(path, error) from error


def out_of_reach(path: str | os.PathLike[str], error: OSError) -> StoreError:
    """The error for a file about which the system says something else than whether it is there."""
    return passing(StoreError(f"{path} cannot be reached: {error}"))


def _code(error: sqlite3.Error) -> int:
    """The primary result code: 0 for errors that SQLite did not report itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
