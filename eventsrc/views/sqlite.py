"""Views in a SQLite file, which handlers and queries use through sqlite-utils."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Self

from eventsrc.guard import sort_out
from eventsrc.interpreter import Interpreter, on
from eventsrc.positions import START, Cursor
from eventsrc.recorded import Events
from eventsrc.sqlite_file import Durability, Schema, SqliteFile
from eventsrc.stream_id import StreamId
from eventsrc.view import Applied, Apply, GetApplied, GetProgress, Progress, View, ViewOp

if TYPE_CHECKING:
    from sqlite_utils import Database

_SCRIPTS: Final = (
    """
    CREATE TABLE eventsrc_view (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        store TEXT NOT NULL,
        position INTEGER NOT NULL,
        applied INTEGER NOT NULL,
        UNIQUE (name, version)
    );
    CREATE TABLE eventsrc_view_guard (
        view INTEGER NOT NULL REFERENCES eventsrc_view,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (view, stream)
    ) WITHOUT ROWID;
    """,
)

SCHEMA: Final = Schema("views", _SCRIPTS)

# by the unique (name, version)
_VIEW: Final = """
    SELECT id, store, position, applied FROM eventsrc_view WHERE name = ? AND version = ?
"""
_ADD_VIEW: Final = "INSERT INTO eventsrc_view VALUES (NULL, ?, ?, '', 0, 0)"

# by the primary keys
_MOVE: Final = """
    UPDATE eventsrc_view SET store = :store, position = max(position, :position)
    WHERE id = :view
"""
_COUNT: Final = "UPDATE eventsrc_view SET applied = applied + ? WHERE id = ?"
_GUARDS: Final = """
    SELECT stream, version FROM eventsrc_view_guard
    WHERE view = ? AND stream IN (SELECT value FROM json_each(?))
"""
_MOVE_GUARD: Final = """
    INSERT INTO eventsrc_view_guard VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET version = excluded.version
"""


class SqliteViews(Interpreter[ViewOp]):
    """Views in a SQLite file: the store's own, an application's, or one that holds nothing else.

    path: of the file; it is made if it is not there.
    views: whose tables are to be there at once, so that they can be queried before the first event.
    durability, timeout: as for SqliteStore.

    What a view's handlers write and how far the view has come are committed in one transaction.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        views: Iterable[View[Database]] = (),
        *,
        durability: Durability = "os",
        timeout: float = 5.0,
    ) -> None:
        # sqlite-utils takes longer to import than all the rest: only who has views pays for it.
        from sqlite_utils import Database

        self._database = Database
        self._folder: TemporaryDirectory[str] | None = None
        self._file = SqliteFile(path, SCHEMA, durability=durability, timeout=timeout)
        try:
            for view in views:
                self._prepare(view)
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def temporary(cls, views: Iterable[View[Database]] = ()) -> Self:
        """Views in a file of their own that is removed when they are closed: for tests and trials."""
        folder = TemporaryDirectory(prefix="eventsrc-views-")
        made = cls(Path(folder.name) / "views.db", views, durability="process")
        made._folder = folder
        return made

    @contextlib.contextmanager
    def reading(self) -> Iterator[Database]:
        """The database, to query it: fetch all rows before the end of the `with` block."""
        with self._file.reading() as connection:
            yield self._database(connection)

    @on(GetProgress)
    def get_progress(self, op: GetProgress) -> Progress:
        """How far a view has come."""
        with self._file.reading() as connection:
            row = _find(connection, op.view)
        if row is None:
            return Progress(START, 0)
        _, store, position, applied = row
        return Progress(Cursor(store, position) if position else START, applied)

    @on(GetApplied)
    def get_applied(self, op: GetApplied) -> Mapping[StreamId, int]:
        """The versions that a view has applied of some streams."""
        with self._file.reading() as connection:
            row = _find(connection, op.view)
            found = {} if row is None else _guards(connection, row[0], op.streams)
        return {stream: found.get(stream, 0) for stream in op.streams}

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        """Applies events to a view."""
        with self._file.writing() as connection:
            database = self._database(connection)
            number, store, _, _ = self._found(connection, database, op.view)
            if op.cursor is not None and store:
                op.cursor.check(store)
            streams = {event.record.stream for event in op.events}
            work = sort_out(_guards(connection, number, streams), op.events)
            if isinstance(op.events, Events):
                op.events.prefetch()
            for event in work.to_apply:
                op.view.apply(database, event)
            moved = [(number, stream, version) for stream, version in work.applied.items()]
            connection.executemany(_MOVE_GUARD, moved)
            connection.execute(_COUNT, (len(work.to_apply), number))
            if op.cursor is not None and not work.gaps:
                place = {"view": number, "store": op.cursor.store, "position": op.cursor.position}
                connection.execute(_MOVE, place)
        return Applied(len(work.to_apply), work.ignored, work.gaps)

    @on(Apply).coroutine
    async def apply_async(self, op: Apply) -> Applied:
        """Applies events to a view, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.apply, op)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self, view: View[Database]) -> None:
        with self._file.writing() as connection:
            self._found(connection, self._database(connection), view)

    def _found(
        self, connection: sqlite3.Connection, database: Database, view: View[Any]
    ) -> tuple[int, str, int, int]:
        """A view's row; the first time, the view's tables are made."""
        row = _find(connection, view)
        if row is None:
            view.create(database)
            connection.execute(_ADD_VIEW, (view.name, view.version))
            row = _find(connection, view)
            assert row is not None
        return row


def _find(connection: sqlite3.Connection, view: View[Any]) -> tuple[int, str, int, int] | None:
    row: tuple[int, str, int, int] | None = connection.execute(
        _VIEW, (view.name, view.version)
    ).fetchone()
    return row


def _guards(connection: sqlite3.Connection, view: int, streams: Iterable[str]) -> dict[str, int]:
    return dict(connection.execute(_GUARDS, (view, json.dumps(list(streams)))).fetchall())
