"""Views in SQLite files, which handlers and queries use through sqlite-utils.

Each version of a view is a file of its own beside the one that is named: `views.db-users-2` is version
2 of the view "users". So views do not wait for each other, a slow one delays no other, and a version
can be built beside the one that queries read. The named file itself says which version that is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from string import ascii_uppercase
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from eventsrc._clock import monotonic
from eventsrc.events.stream_id import StreamId
from eventsrc.sqlite import _forks
from eventsrc.sqlite._copy import SqliteCopy, quoted
from eventsrc.sqlite._errors import is_of_the_machine, out_of_reach, typed
from eventsrc.sqlite._file import Durability, SqliteFile, identity
from eventsrc.sqlite._handling import GuardedConnection, Rule, bad_handler, settings_of
from eventsrc.sqlite._pool import Pool
from eventsrc.sqlite._schema import Schema
from eventsrc.stores.operations import StoreBusy, StoreError
from eventsrc.views._applying import LedgerViews
from eventsrc.views._ledger import PLACE, Ledger, PartitionState, row_of
from eventsrc.views.guard import Moves
from eventsrc.views.operations import Lease
from eventsrc.views.rows import Copy
from eventsrc.views.view import BadHandler, View, ViewError, distinct

if TYPE_CHECKING:
    from sqlite_utils import Database

_LIVE_SCRIPTS: Final = (
    "CREATE TABLE eventsrc_live (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
)

_VIEW_SCRIPTS: Final = (
    # streams have small numbers by which their guards are kept, so that those that move stand in few
    # pages: SQLite writes whole pages
    """
    CREATE TABLE eventsrc_part (
        part INTEGER PRIMARY KEY,
        store TEXT NOT NULL,
        position INTEGER NOT NULL,
        applied INTEGER NOT NULL,
        owner TEXT,
        token INTEGER NOT NULL,
        until REAL NOT NULL,
        seconds REAL NOT NULL,
        starts INTEGER NOT NULL,
        trying INTEGER NOT NULL,
        tries INTEGER NOT NULL
    );
    CREATE TABLE eventsrc_guarded (stream TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE eventsrc_guard (id INTEGER PRIMARY KEY, version INTEGER NOT NULL);
    CREATE TABLE eventsrc_parked (
        stream TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        position INTEGER NOT NULL,
        type TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        held INTEGER NOT NULL,
        since TEXT NOT NULL,
        is_deadly INTEGER NOT NULL
    );
    CREATE TABLE eventsrc_owner (
        owner TEXT PRIMARY KEY, until REAL NOT NULL, seconds REAL NOT NULL
    );
    """,
    # What the release of 0.1 has that commit 4fdead8 had not.
    """
    ALTER TABLE eventsrc_part ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE eventsrc_part ADD COLUMN reached INTEGER NOT NULL DEFAULT 0;
    UPDATE eventsrc_part SET reached = position;

    CREATE TABLE eventsrc_definition (one INTEGER PRIMARY KEY, definition TEXT NOT NULL);
    ALTER TABLE eventsrc_part ADD COLUMN defined INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE eventsrc_part ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE eventsrc_part ADD COLUMN last_sum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE eventsrc_parked ADD COLUMN is_undecodable INTEGER NOT NULL DEFAULT 0;
    UPDATE eventsrc_parked SET is_undecodable = 1
    WHERE error LIKE 'UnknownEvent:%' OR error LIKE 'Undecodable:%';
    """,
)

LIVE_SCHEMA: Final = Schema("views", _LIVE_SCRIPTS)
VIEW_SCHEMA: Final = Schema("view", _VIEW_SCRIPTS)

# by the primary keys
_LIVE: Final = "SELECT version FROM eventsrc_live WHERE name = ?"
_FIRST_LIVE: Final = "INSERT INTO eventsrc_live VALUES (?, ?) ON CONFLICT DO NOTHING"
_GO_LIVE: Final = """
    INSERT INTO eventsrc_live VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version
"""
_GUARDS: Final = """
    SELECT 0, stream, version
    FROM eventsrc_guarded CROSS JOIN eventsrc_guard ON eventsrc_guard.id = eventsrc_guarded.id
    WHERE stream IN (SELECT value FROM json_each(:streams))
    UNION ALL
    SELECT 1, stream, version FROM eventsrc_parked
    WHERE stream IN (SELECT value FROM json_each(:streams))
"""
# EXISTS is looked at first, and so nothing else where nothing is parked
_ARE_PARKED: Final = """
    SELECT count(*) FROM eventsrc_parked
    WHERE EXISTS (SELECT 1 FROM eventsrc_parked)
        AND stream IN (SELECT value FROM json_each(?))
"""
_LAST_GUARD: Final = "SELECT coalesce(max(id), 0) FROM eventsrc_guard"
_NUMBER: Final = "INSERT INTO eventsrc_guarded VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_GUARD: Final = "INSERT INTO eventsrc_guard VALUES (?, ?)"
_MOVE_GUARD: Final = """
    UPDATE eventsrc_guard SET version = ?
    WHERE id = (SELECT id FROM eventsrc_guarded WHERE stream = ?)
"""
_ADVANCE_GUARD: Final = _MOVE_GUARD + " AND version = ?"
_IS_MADE: Final = "SELECT count(*) FROM eventsrc_part"
_DESCRIBED: Final = """
    SELECT sql FROM sqlite_master
    WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'eventsrc!_%' ESCAPE '!'
    ORDER BY type, name
"""
# before others those that others belong to
_MADE: Final = """
    SELECT type, name FROM sqlite_master
    WHERE type <> 'index' AND tbl_name NOT LIKE 'eventsrc!_%' ESCAPE '!'
        AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
    ORDER BY type = 'table', sql NOT LIKE 'CREATE VIRTUAL%'
"""
_IS_STILL_THERE: Final = "SELECT count(*) FROM sqlite_master WHERE type = ? AND name = ?"
_FORGET: Final = (
    "DELETE FROM eventsrc_definition",
    "DELETE FROM eventsrc_guard",
    "DELETE FROM eventsrc_guarded",
    "DELETE FROM eventsrc_parked",
    "DELETE FROM eventsrc_part",
)

_LOWER: Final = {ord(letter): letter.lower() for letter in ascii_uppercase}
_NAMES_OF_SQLITE: Final = frozenset({"main", "temp"})

_READS: Final = 5
"""Looks for the live version, at most, if those that are found were discarded meanwhile."""

_MOST_ATTACHED: Final = 10
"""Files that SQLite attaches to a connection, at most."""


class SqliteViews(LedgerViews):
    """Views in SQLite files beside the one that is named.

    path: of a file that says which versions are read; each version of a view has a file of its own, of
        that name and the view's ("views.db-users-2"). It may be the store's.
    views: whose tables are to be there at once, so that they can be queried before the first event.
    durability, timeout: as for SqliteStore.
    target: given to handlers in place of the database, for views in an external system: see
        eventsrc.views._applying.

    What a view's handlers write and how far the view has come are committed in one transaction.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        views: Iterable[View[Any]] = (),
        *,
        durability: Durability = "os",
        timeout: float = 5.0,
        target: object = None,
    ) -> None:
        # sqlite-utils takes longer to import than all the rest: only who has views pays for it.
        from sqlite_utils import Database
        from sqlite_utils.db import COLUMN_TYPE_MAPPING

        COLUMN_TYPE_MAPPING.setdefault(StreamId, "TEXT")  # it does not look for bases of a type
        super().__init__(target=target)
        self._database = Database
        self._folder: TemporaryDirectory[str] | None = None
        self._durability: Durability = durability
        self._timeout = timeout
        self._lock = threading.Lock()
        self._files: dict[tuple[str, int], _ViewFile] = {}
        self._several: dict[tuple[_ViewFile, ...], Pool] = {}
        self._shown: set[str] = set()  # the names of which a version is known to be live
        self._file = SqliteFile(path, LIVE_SCHEMA, durability=durability, timeout=timeout)
        try:
            for view in distinct(views):
                self._made(view)
                self._check_place(view)
        except BaseException:
            self.close()
            raise

    @classmethod
    def temporary(cls, views: Iterable[View[Database]] = ()) -> Self:
        """Views in files of their own that are removed when they are closed: for tests and trials."""
        folder = TemporaryDirectory(prefix="eventsrc-views-")
        try:
            made = cls(Path(folder.name) / "views.db", views, durability="process")
        except BaseException:
            folder.cleanup()
            raise
        made._folder = folder
        return made

    @contextlib.contextmanager
    def reading(
        self, view: View[Database], *others: View[Database], live: bool = True
    ) -> Iterator[Database]:
        """A database with the tables of one view or several; fetch what is read before the `with` ends.

        SQL sees the tables of them all, sqlite-utils' methods for tables those of the first.
        live: of each the version that is live (see GoLive), or else the very version that is named.
        Raises ViewError for more than eleven at once, for the same view twice, and for a second view
        that is named "main" or "temp", which are SQLite's own names.
        """
        views = view, *others
        if len(views) > _MOST_ATTACHED + 1:
            raise ViewError(f"{len(views)} views cannot be read at once: name those that a query needs")
        for each in others:
            if _folded(each.name) in _NAMES_OF_SQLITE:
                raise ViewError(f"{each!r} has a name of SQLite's own: name it first")
        names = [each.name for each in views]
        if len({_folded(name) for name in names}) < len(names):
            raise ViewError(f"views cannot be read twice at once: name each of {names!r} once")
        with contextlib.ExitStack() as until:
            yield self._database(self._connected(views, live, until))

    def path(self, view: View[Any]) -> Path:
        """The file of a version of a view, to look at with other tools."""
        return self._path(view.name, view.version)

    @contextlib.contextmanager
    def writing(self, view: View[Any], within: float | None = None) -> Iterator[Ledger]:
        """A transaction that may write, with the view's tables made."""
        file = self._opened(view.name, view.version)
        wait = file.timeout if within is None else min(within, file.timeout)
        writing = file.writing(monotonic() + wait)
        try:
            with writing as connection:
                database = file.database if self.target is None else self.target
                ledger = SqliteLedger(connection, file.path, database, file.rule)
                if not ledger.is_made(view):
                    ledger.make(view)
                yield ledger
        finally:  # as in WriteTransaction.run
            writing.give_back()
        if view.name not in self._shown:
            if not self._live(view):
                self._write(_FIRST_LIVE, view)
            self._shown.add(view.name)

    @contextlib.contextmanager
    def looking(self, view: View[Any]) -> Iterator[Ledger | None]:
        """A ledger for reading only; None if the view was never made."""
        with contextlib.ExitStack() as until:
            file = self._found(view.name, view.version)
            connection = None if file is None else _entered(file, until)
            if file is None or connection is None:
                yield None
                return
            connection.execute("BEGIN")
            ledger = SqliteLedger(connection, file.path)
            yield ledger if ledger.is_made(view) else None

    def close(self) -> None:
        """Closes the files."""
        for pool in self._several.values():
            pool.close()
        for file in self._files.values():
            file.close()
        self._file.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _live(self, view: View[Any]) -> int:
        with self._file.reading() as connection, typed(self._file.path):
            row = connection.execute(_LIVE, (view.name,)).fetchone()
        return 0 if row is None else int(row[0])

    def _write(self, sql: str, view: View[Any]) -> None:
        """Writes which version of a view is live."""
        values = view.name, view.version
        with typed(self._file.path):
            self._file.writing().run(lambda connection: connection.execute(sql, values))

    def _made(self, view: View[Any]) -> None:
        with self.writing(view):
            pass

    def _read_version(self, view: View[Any], live: bool) -> tuple[str, int]:
        """Which version of a view is to be read; it is made if it is not there."""
        version = self._live(view) if live else 0
        if not version:
            version = view.version
            self._made(view)
        return view.name, version

    def _go_live(self, view: View[Any]) -> None:
        with self.looking(view) as ledger:
            if ledger is None:
                raise ViewError(f"{view!r} was never built: synchronise it first")
        self._write(_GO_LIVE, view)

    def _discard(self, view: View[Any]) -> None:
        key = view.name, view.version
        with self._file.writing():  # nobody changes what is live meanwhile
            if self._live(view) == view.version:
                raise ViewError(f"{view!r} is what queries read: have another version go live first")
            with self._lock:
                self._forget(*key)
            for suffix in ("", "-wal", "-shm", "-turn"):
                path = Path(f"{self._path(*key)}{suffix}")
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise out_of_reach(path, error) from error

    def _start_over(self, view: View[Any]) -> None:
        with self.writing(view.beside(view.version)) as ledger:  # however many partitions it had
            leases = ledger.leases()
            assert isinstance(ledger, SqliteLedger)
            ledger.clear()
            ledger.make(view)
            ledger.keep_tokens(leases)

    @contextlib.contextmanager
    def _scratch(self, view: View[Any]) -> Iterator[Ledger]:
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield SqliteLedger(connection, Path(":memory:"), self._database(connection))

    def _path(self, name: str, version: int) -> Path:
        return Path(f"{self._file.path}-{quote(name, safe='')}-{version}")

    def _connected(
        self, views: Sequence[View[Any]], live: bool, until: contextlib.ExitStack
    ) -> sqlite3.Connection:
        """A connection to read some views with, for a while."""
        for _ in range(_READS):
            keys = [self._read_version(each, live) for each in views]
            found = [self._found(*key) for key in keys]
            files = tuple([file for file in found if file is not None])
            if len(files) < len(found):
                continue  # it was discarded: another is live
            if len(files) == 1:
                connection = _entered(files[0], until)
            else:
                try:
                    connection = until.enter_context(self._several_reading(files, keys))
                except StoreError:
                    if all(file.is_in_place() for file in files):
                        raise
                    connection = None
            if connection is not None:
                return connection
        raise ViewError(
            f"the files of {list(views)!r} are not there, though they are live: rebuild the views"
        )

    @contextlib.contextmanager
    def _several_reading(
        self, files: tuple[_ViewFile, ...], keys: Sequence[tuple[str, int]]
    ) -> Iterator[sqlite3.Connection]:
        """A connection that sees the tables of several views, for a while."""
        try:
            pool = self._several.get(files)
            if pool is None:
                attach = partial(self._attached, files, [name for name, _ in keys])
                pool = self._several.setdefault(files, _Several(files, attach))
            connection = pool.take()
            try:
                yield connection
            finally:
                pool.give(connection)
        except sqlite3.Error as error:
            self._file.reraise(error)
            raise

    def _found(self, name: str, version: int) -> _ViewFile | None:
        """The file of a version of a view, if it is there."""
        self._file.check_usable()
        path = self._path(name, version)
        failed: tuple[int, int] | None = None
        while True:
            try:
                return self._opened(name, version, create=False)
            except StoreBusy:
                raise
            except StoreError:
                there = identity(path)
                if there is None:
                    self._file.check_in_place()  # or else the folder of them all is away
                    return None
                if there == failed:
                    raise
                failed = there  # it may have been made just after it was looked for

    def _opened(self, name: str, version: int, *, create: bool = True) -> _ViewFile:
        """The file of a version of a view."""
        self._file.check_usable()
        file = self._files.get((name, version))
        if file is None or not file.is_in_place():
            with self._lock:
                file = self._files.get((name, version))
                if file is not None and not file.is_in_place():  # another process has discarded it
                    self._forget(name, version)
                    file = None
                if file is None:
                    path = self._path(name, version)
                    file = _ViewFile(path, self._durability, self._timeout, create, self._database)
                    self._files[name, version] = file
        return file

    def _forget(self, name: str, version: int) -> None:
        """Closes the file of a version of a view, and forgets what is known of it."""
        file = self._files.pop((name, version), None)
        if file is not None:
            file.close()
            for files in [files for files in self._several if file in files]:
                self._several.pop(files).close()
        self._trust = {of: trust for of, trust in self._trust.items() if of[:2] != (name, version)}

    def _attached(self, files: tuple[_ViewFile, ...], names: Sequence[str]) -> sqlite3.Connection:
        """A connection that sees the tables of several views."""
        first, *others = [f"{file.path.as_uri()}?mode=rw" for file in files]
        connection = sqlite3.connect(
            first, uri=True, isolation_level=None, check_same_thread=False, timeout=self._timeout
        )
        try:
            for name, path in zip(names[1:], others, strict=True):
                connection.execute("ATTACH ? AS " + quoted(name), (path,))
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


class _Several(Pool):
    """Connections that see the tables of several views."""

    def __init__(self, files: tuple[_ViewFile, ...], connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect)
        self._files = files
        _forks.watch(self)

    def identities(self) -> list[tuple[int, int] | None]:
        """The device of each file, and its number there."""
        return [identity for file in self._files for identity in file.identities()]


class _ViewFile(SqliteFile):
    """The file of a version of a view."""

    _connection_class = GuardedConnection

    def __init__(
        self,
        path: Path,
        durability: Durability,
        timeout: float,
        create: bool,
        database: type[Database],
    ) -> None:
        super().__init__(path, VIEW_SCHEMA, durability=durability, timeout=timeout, create=create)
        assert isinstance(self._writer, GuardedConnection)
        # one for all transactions: to make one compiles all statements of the connection anew
        self.database: Final = database(self._writer)  # which changes settings
        self.rule: Final = Rule(self._writer, settings_of(self._writer))
        self._writer.rule = self.rule
        self._writer.set_authorizer(self.rule)


class SqliteLedger(Ledger):
    """A version of a view in a SQLite file."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        database: object = None,
        rule: Rule | None = None,
    ) -> None:
        super().__init__(database)
        self._connection = connection
        self._path = path
        self._rule = rule or Rule(connection)

    def is_made(self, view: View[Any]) -> bool:
        """True if the view's tables are there. Raises ViewError if it has other partitions."""
        ((partitions,),) = self._asked(_IS_MADE)
        view.check_partitions(partitions)
        return bool(partitions)

    @contextlib.contextmanager
    def handling(self, view: View[Any]) -> Iterator[None]:
        """While a view's handlers run, which must not end the transaction."""
        rule = self._rule
        rule.is_in_force, rule.was_broken = True, False
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
            raise
        finally:
            rule.is_in_force = False
            rule.restore()
            if rule.was_broken or (error is None and self.has_ended()):
                raise bad_handler() from error

    def check_handled(self) -> None:
        """Raises BadHandler if a handler tried to begin or end a transaction, or did."""
        self._rule.restore()
        if self._rule.was_broken or self.has_ended():
            self._rule.was_broken = False
            raise bad_handler()

    def blamed(self, error: Exception) -> Exception:
        """The fault of a handler that raised an error: SQLite's for a statement that is denied
        says little."""
        if self.is_infrastructure(error) and not self._rule.was_broken:
            return error  # SQLite ends a transaction by itself where the disk is full
        try:
            self.check_handled()
        except BadHandler as bad:
            bad.__cause__ = error
            return bad
        return error

    def has_ended(self) -> bool:
        """True if the transaction is over."""
        return not self._connection.in_transaction

    def is_open(self) -> bool:
        """True while the transaction goes on."""
        self._rule.restore()
        return self._connection.in_transaction and not self._rule.was_broken

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Executes a statement."""
        return self._asked(statement.replace("{s}.", ""), parameters)

    def copy(self) -> Copy:
        """A copy of the rows of the view's tables."""
        return SqliteCopy(self.ask)

    def lock_partition(
        self, partition: int, lease: Lease | None, *, applies: bool = False
    ) -> PartitionState:
        """A partition as it is kept."""
        return PartitionState(*row_of(partition, self.ask(PLACE, partition)))

    def described(self) -> tuple[Sequence[str] | None, str]:
        """The statements that made what is there, which sqlite-utils mostly writes."""
        return [sql for (sql,) in self.ask(_DESCRIBED)], f"sqlite-utils {version('sqlite-utils')}"

    def clear(self) -> None:
        """Removes the view's own tables and all that is kept of it."""
        self._connection.execute("PRAGMA defer_foreign_keys = ON")
        for kind, name in self.ask(_MADE):
            if self.ask(_IS_STILL_THERE, kind, name) == [(1,)]:  # a table takes its triggers along
                self.ask(f"DROP {kind} {quoted(name)}")
        for statement in _FORGET:
            self.ask(statement)

    def guards(self, streams: Sequence[str]) -> tuple[dict[str, int], set[str]]:
        """The versions that were applied of some streams, and those of them that are parked."""
        named = {"streams": json.dumps(list(streams))}
        rows = self._asked(_GUARDS, named)
        return (
            {stream: version for is_parked, stream, version in rows if not is_parked},
            {stream for is_parked, stream, _ in rows if is_parked},
        )

    def move_guards(self, versions: Mapping[str, int]) -> None:
        """Keeps the versions that are applied now."""
        known, _ = self.guards(list(versions))
        self._add_guards({stream: at for stream, at in versions.items() if stream not in known})
        moved = [(versions[stream], stream) for stream in known]
        self._changed(_MOVE_GUARD, moved)

    def advance(self, moves: Moves) -> bool:
        """Moves guards, if each is where it must be and none of the streams is parked."""
        after = moves.after
        ((parked,),) = self._asked(_ARE_PARKED, (json.dumps(list(after)),))
        if parked:
            return False
        moved = [(after[stream], stream, at) for stream, at in moves.before.items() if at]
        if self._changed(_ADVANCE_GUARD, moved) < len(moved):
            return False
        return self._add_guards(
            {stream: after[stream] for stream, at in moves.before.items() if not at}
        )

    def _add_guards(self, versions: Mapping[str, int]) -> bool:
        """Adds the guards of new streams; answers False if one of them was there."""
        if not versions:
            return True
        ((last,),) = self._asked(_LAST_GUARD)
        ids = range(last + 1, last + 1 + len(versions))
        added = self._changed(_NUMBER, zip(versions, ids, strict=True))
        self._changed(_ADD_GUARD, zip(ids, versions.values(), strict=True))
        return added == len(versions)

    def lockable(self, partitions: Sequence[int]) -> set[int]:
        """All of them: there is no other writer now."""
        return set(partitions)

    def now(self) -> float:
        """The time by this machine's clock: nobody else's is there to compare it with."""
        return time.time()

    def is_infrastructure(self, error: Exception) -> bool:
        """True if SQLite reports that the file cannot be written, and not a fault of a row."""
        cause = error.__cause__ if isinstance(error, StoreError) else error
        return isinstance(cause, sqlite3.Error) and is_of_the_machine(cause)

    def _asked(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        with typed(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def _changed(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """The number of rows that a statement, executed for each of some rows, has changed."""
        with typed(self._path):
            return self._connection.executemany(sql, rows).rowcount


def _entered(file: _ViewFile, until: contextlib.ExitStack) -> sqlite3.Connection | None:
    """A connection to read a file with, for a while; None if it was discarded."""
    try:
        return until.enter_context(file.reading())
    except StoreError:
        if file.is_in_place():
            raise
        return None


def _folded(name: str) -> str:
    """A name as SQLite compares them."""
    return name.translate(_LOWER)
