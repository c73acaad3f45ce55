"""A SQLite file: how it is opened, written by one at a time, and kept from the wrong hands.

The profile is WAL with synchronous=FULL, in which what was committed survives a power cut. Writes
begin with BEGIN IMMEDIATE on one connection, so that a transaction never fails half way because others
wrote; reads have connections of their own and wait for nobody.

A signal's handler may raise anywhere in the main thread, even as a `finally` or an `__exit__` begins.
So who has the lock is noted in the very step that takes it, and whoever may be left with it gives it
back twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from eventsrc._clock import monotonic
from eventsrc.sqlite import _forks, _wal
from eventsrc.sqlite._errors import commit_error, is_busy, is_refused, out_of_reach, translation
from eventsrc.sqlite._pool import Pool
from eventsrc.sqlite._schema import Schema, applied_scripts, apply_missing
from eventsrc.sqlite._turn import Turn, pauses
from eventsrc.stores.operations import NotAStore, StoreBusy, StoreClosed, StoreError, StoreReadOnly

R = TypeVar("R")

Durability: TypeAlias = Literal["os", "process"]
"""The accident that an acknowledged write survives: "os", a power cut; "process", a process's end."""

MAX_TIMEOUT: Final = 1_000_000
"""In seconds: the longest that every system can wait."""

_SYNCHRONOUS: Final[dict[str, str]] = {"os": "FULL", "process": "NORMAL"}
_RESET_BUG_FIXED: Final = (3, 51, 3)
_PATIENCE: Final = 0.1

_log = logging.getLogger("eventsrc")
_log.addHandler(logging.NullHandler())


class SqliteFile:
    """A SQLite file, open. It may be used from several threads, and not across a fork.

    path: of the file; it is made if it is not there, unless read_only, or create is False.
    schema: is brought up to date. Raises NotAStore, before any write, for a file of another application
        (if it is to be stamped) or with a newer schema.
    durability: see Durability.
    timeout: how many seconds to wait for others who write, before StoreBusy.
    """

    _connection_class: ClassVar[type[sqlite3.Connection]] = sqlite3.Connection

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: Schema,
        *,
        durability: Durability = "os",
        timeout: float = 5.0,
        read_only: bool = False,
        create: bool = True,
    ) -> None:
        if durability not in _SYNCHRONOUS:
            raise ValueError(f"durability is {durability!r}: choose 'os' or 'process'")
        if str(path) in ("", ":memory:") or str(path).startswith("file::memory:"):
            raise ValueError(f"{path!r} is no file: for a store in memory, use MemoryStore()")
        if not isinstance(timeout, int | float) or isinstance(timeout, bool):
            raise TypeError(f"timeout is {timeout!r:.100}: it must be a number of seconds")
        if not 0 <= timeout <= MAX_TIMEOUT:
            raise ValueError(f"timeout is {timeout!r}: it must be from 0 to {MAX_TIMEOUT} seconds")
        self.path: Final = Path(path).absolute()  # the working directory may change
        self._name: Final = str(self.path)
        self.durability: Final = durability
        self.timeout: Final = timeout
        self.read_only: Final = read_only
        self._mode = "ro" if read_only else "rwc" if create else "rw"
        self._is_shared = schema.stamp is None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._holder: WriteTransaction | None = None
        self._readers = Pool(self._connect_reader)
        self._is_closed = False
        self._is_opening = True
        _warn_of_version()
        self._writers: list[sqlite3.Connection] = []  # one, or none if it is only read
        self._turn = Turn(self.path)
        self._opened: tuple[int, int] | None = None
        self._commits = 0
        if _forks.is_unsafe(self._in_place()):
            raise StoreClosed(
                f"{self.path} was in use by a thread when this process was forked, and SQLite would "
                "take that one's locks for its own: fork before the file is used, or start processes "
                "by spawn or forkserver"
            )
        _forks.watch(self)
        try:
            if self._mode == "rwc":
                self._make()
            applied = self._checked(schema)
            self._opened = self._in_place()
            if not read_only:
                self._mode = "rw"  # should it be deleted, no empty one is to take its place
                self._writer = self._connect(self.timeout)
                self._writers.append(self._writer)
                self._enter_wal()
                self._writer.execute("PRAGMA busy_timeout = 0")  # from here on, Turn says who waits
            if applied < len(schema.scripts):
                self._migrate(schema)
        except BaseException as error:
            self.close()
            self.reraise(error)
            raise
        finally:
            self._is_opening = False

    def writing(self, deadline: float | None = None) -> WriteTransaction:
        """A transaction that may write: committed at the end, rolled back if something is raised.

        deadline: when the turn to write must have come, by _clock.monotonic(); `timeout` from now if
            not given.
        Raises StoreBusy if it has not come by then, StoreFull, StoreReadOnly and StoreError for what
        SQLite reports, and CommitFailed if the commit itself failed.
        """
        return WriteTransaction(self, deadline)

    def reading(self) -> ReadTransaction:
        """A connection to read with; fetch what is read before giving it back."""
        return ReadTransaction(self)

    def write(self, sql: str, parameters: Sequence[Any], deadline: float) -> int:
        """Executes one INSERT as a transaction of its own, and answers the row's number; 0 for none.

        Raises as `writing`, and sqlite3.IntegrityError, unchanged, for a row that an index refuses.
        """
        writing = WriteTransaction(self, deadline)
        try:
            self._take_lock(writing)
            inserted = None
            if (now := monotonic()) < self._turn.free_until or self._turn.is_free(now):
                try:
                    inserted = self._writer.execute(sql, parameters)
                except sqlite3.OperationalError as error:
                    if not is_busy(error):
                        raise
            if inserted is None:
                self._begin(deadline)
                inserted = self._writer.execute(sql, parameters)
                self._writer.execute("COMMIT")
            number = inserted.lastrowid if inserted.rowcount else None
            self._count()
            return number or 0
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise commit_error(self.path, error) from error
        finally:
            try:
                if self._holder is writing:
                    writing.give_back()
            finally:
                if self._holder is writing:
                    writing.give_back()

    def _count(self) -> None:
        """Counts a commit, whose connection is still this thread's."""
        self._commits += 1
        if self._commits == _wal.SEVERAL:
            _wal.extend(self._writer, self.path)

    def busy(self) -> StoreBusy:
        """The error for a wait, for others or for this process's own, that met its deadline."""
        return self._busy("appends of this process came before, or others kept it busy")

    def _busy(self, why: str) -> StoreBusy:
        return StoreBusy(
            f"{self.path} could not be written for {self.timeout} seconds, as {why}: try again, or "
            "give it a longer timeout"
        )

    def close(self) -> None:
        """Closes the connections, those that are in use as soon as they are given back.

        It waits for the other threads that write, for `timeout`. Closing twice is closing once.
        """
        if os.getpid() != self._pid:  # the locks may be held by threads that a fork did not copy
            return
        if self._is_closed:
            return
        self._is_closed = True  # before the lock: those who write on and on would keep it from us
        holder = self._holder
        is_mine = holder is not None and holder.thread == threading.get_ident()
        self._close_unless_held(0.0 if is_mine else self.timeout)

    def _close_unless_held(self, timeout: float) -> None:
        """Closes the connections; if somebody writes for longer than that, they do as they end."""
        if self._lock.acquire(timeout=timeout):
            try:
                self._turn.close()
                self._close_writers()
                self._readers.close()
            finally:
                self._lock.release()

    def _close_writers(self) -> None:
        while self._writers:
            self._writers.pop().close()

    def _make(self) -> None:
        """Makes the file if it is not there, to be read and written by its owner alone.

        SQLite gives its log the same rights. Whoever shares a file gives others the right to it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        with contextlib.suppress(OSError):  # it is there; or SQLite says what is wrong
            os.close(os.open(self.path, flags, 0o600))

    def _checked(self, schema: Schema) -> int:
        """The number of the schema's scripts that the file has seen; nothing is written to find out."""
        with self.reading() as connection:
            connection.execute("BEGIN")  # all that is looked at is of one moment
            return applied_scripts(connection, self.path, schema)

    def _migrate(self, schema: Schema) -> None:
        if self.read_only:
            raise NotAStore(f"{self.path} is not up to date: open it once without read_only")
        with self.writing() as connection:
            apply_missing(connection, self.path, schema)

    def check_usable(self) -> None:
        """Raises StoreClosed for a file that was closed, or that another process opened."""
        if self._is_closed:
            raise StoreClosed(f"{self.path} was closed: open it again")
        if os.getpid() != self._pid:
            raise StoreClosed(f"{self.path} was opened before a fork: open it in each process")

    def is_in_place(self) -> bool:
        """Whether the file that was opened is still where it was: not moved, deleted or replaced."""
        return self._opened == identity(self._name)

    def _in_place(self) -> tuple[int, int] | None:
        """Which file is at the path now."""
        return identity(self._name)

    def check_in_place(self) -> None:
        """Raises StoreClosed if the file that was opened is not where it was."""
        if self._opened is not None and not self.is_in_place():
            error = StoreClosed(
                f"{self.path} was moved, deleted or replaced since it was opened: nothing that is "
                "written to the opened file would be found there. Open it again"
            )
            error.may_pass = self._in_place() is None  # its disk may come back
            raise error

    def _connect(self, timeout: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={self._mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=timeout,
            factory=self._connection_class,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self.durability]}")
            if not self._is_shared:
                connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def _enter_wal(self) -> None:
        deadline = monotonic() + self.timeout
        for pause in pauses(deadline):
            try:
                (mode,) = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                time.sleep(pause)
            else:
                if mode != "wal":
                    raise StoreError(
                        f"{self.path} cannot have a write-ahead log: its journal is {mode}"
                    )
                return
        raise self._busy("others kept it busy")

    def reraise(self, error: BaseException) -> None:
        """Raises this library's error for what SQLite reports of the file and of its surroundings.

        In a file that users share, mistakes in SQL, such as a missing table, are theirs and left alone.
        """
        if isinstance(error, UnicodeDecodeError):  # from Python, of a message about a damaged schema
            raise StoreError(f"{self.path} is damaged: {error}") from error
        if isinstance(error, sqlite3.Error) and not (self._is_shared and is_refused(error)):
            raise translation(self.path, error) from error

    def take_reader(self) -> sqlite3.Connection:
        """A connection to read with, to be given back."""
        self.check_usable()
        self.check_in_place()
        return self._readers.take()

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect(self.timeout)
        connection.execute("PRAGMA query_only = ON")  # which reads nothing, and so cannot fail
        return connection

    def give_reader(self, connection: sqlite3.Connection) -> None:
        """Gives back a connection to read with."""
        self._readers.give(connection)

    def identities(self) -> list[tuple[int, int] | None]:
        """The file's device and its number there."""
        return [self._opened or self._in_place()]

    def rest(self, deadline: float) -> _forks.Resting | None:
        """All connections, once nobody uses one; None if somebody still does at the deadline."""
        holder = self._holder
        if self._is_opening or (holder is not None and holder.thread == threading.get_ident()):
            return None
        if not self._lock.acquire(timeout=max(deadline - monotonic(), 0.0)):
            return None
        readers = self._readers.rest(deadline)
        if readers is None:
            self._lock.release()
            return None

        def wake() -> None:
            readers.wake()
            self._lock.release()

        return _forks.Resting([*readers.connections, *self._writers], wake)

    def _check_writable(self) -> None:
        self.check_usable()
        if self.read_only:
            raise StoreReadOnly(f"{self.path} was opened with read_only=True")

    def _take_lock(self, writing: WriteTransaction) -> None:
        """Waits for the other threads of this process."""
        self._check_writable()
        wait = max(writing.deadline - monotonic(), 0.0)
        # No handler of a signal can run between a step of `map` and the assignment.
        for is_taken in map(self._lock.acquire, (True,), (wait,)):
            if is_taken:
                self._holder = writing
        if self._holder is not writing:
            raise self._busy("other threads of this process wrote")
        if self._is_closed:  # meanwhile
            self.check_usable()
        self.check_in_place()

    def _give_back_lock(self, writing: WriteTransaction) -> None:
        """Lets the other threads write, if this one may."""
        if self._holder is not writing:
            return
        try:
            if self._writer.in_transaction:  # SQLite may have rolled back by itself
                self._writer.rollback()
        finally:
            self._holder = None
            self._lock.release()
        if self._is_closed:  # meanwhile
            self._close_unless_held(0.0)

    def _begin(self, deadline: float) -> None:
        """Begins a transaction with SQLite's lock for writing, which it waits for."""
        began = monotonic()
        if self._turn.is_free(began):
            with contextlib.suppress(_Busy):
                self._try("BEGIN IMMEDIATE")
                return
        try:
            for pause in pauses(deadline):
                if self._turn.take(insisting=monotonic() > began + _PATIENCE):
                    with contextlib.suppress(_Busy):
                        self._try("BEGIN IMMEDIATE")
                        return
                    self._turn.yield_turn()
                time.sleep(pause)
            raise self._busy("another process, or another connection of this one, kept it busy")
        finally:
            self._turn.give()

    def _begin_as(self, writing: WriteTransaction) -> sqlite3.Connection:
        """Takes the lock and begins a transaction."""
        self._take_lock(writing)
        self._begin(writing.deadline)
        return self._writer

    def _try(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._writer.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise _Busy from error
            raise


class WriteTransaction:
    """See SqliteFile.writing. It is used once."""

    # These two are classes with few frames: they are on the path of every append and every read.

    __slots__ = ("_file", "deadline", "is_committed", "thread")

    def __init__(self, file: SqliteFile, deadline: float | None) -> None:
        self._file = file
        self.deadline = monotonic() + file.timeout if deadline is None else deadline
        self.is_committed = False
        self.thread = threading.get_ident()

    def run(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Does some work in the transaction, as in a `with`.

        Whatever a signal's handler raises, and wherever, the lock is given back when this ends.
        """
        try:
            with self as connection:
                return work(connection)
        finally:
            if self._file._holder is self:  # raised as `__exit__` began
                self.give_back()

    def __enter__(self) -> sqlite3.Connection:
        try:
            return self._file._begin_as(self)
        except BaseException as error:
            self.give_back()
            self._file.reraise(error)
            raise

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            if error is None:
                self._commit()
        finally:
            self.give_back()
        if isinstance(error, sqlite3.Error):
            self._file.reraise(error)

    def _commit(self) -> None:
        connection = self._file._writer
        try:
            connection.commit()  # which asks an authorizer each time, as execute does not
        except sqlite3.Error as error:
            raise commit_error(self._file.path, error) from error
        except BaseException:  # a signal's handler raised when it was done, or before it was tried
            self.is_committed = not connection.in_transaction
            raise
        self.is_committed = True
        self._file._count()

    def give_back(self) -> None:
        """Rolls back what is not committed, and lets others write. Twice is once."""
        self._file._give_back_lock(self)


class ReadTransaction:
    """See SqliteFile.reading."""

    __slots__ = ("_connection", "_file")

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._file.take_reader()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._file.reraise(error)
            raise
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            self._file.give_reader(self._connection)
        except sqlite3.Error as other:
            self._file.reraise(error or other)
            raise
        if error is not None:
            self._file.reraise(error)


def identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """The device of the file that is at a path now, and its number there; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  as Path.stat, on the path of each operation
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise out_of_reach(path, error) from error
    return found.st_dev, found.st_ino


class _Busy(Exception):
    """Somebody else is writing."""


_warned: list[Any] = []


def _warn_of_version() -> None:
    if sqlite3.sqlite_version_info < _RESET_BUG_FIXED and not _warned:
        _warned.append(True)
        _log.warning(
            "SQLite %s can corrupt a file in rare cases when several connections write and checkpoint "
            "at once (fixed in 3.51.3): update it, or put the package pysqlite3 first",
            sqlite3.sqlite_version,
        )
