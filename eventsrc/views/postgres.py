"""Views in a Postgres database, which handlers and queries use through psycopg."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import psycopg
from psycopg_pool import ConnectionPool

from eventsrc.guard import sort_out
from eventsrc.interpreter import Interpreter, on
from eventsrc.positions import START, Cursor
from eventsrc.postgres_link import Conversation, Link, Rows, hold, hold_on, translated
from eventsrc.postgres_schema import Tables
from eventsrc.recorded import Events
from eventsrc.stream_id import StreamId
from eventsrc.view import Applied, Apply, GetApplied, GetProgress, Progress, View, ViewOp

_SCRIPTS: Final = (
    """
    CREATE TABLE {s}.view (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        store text NOT NULL,
        position bigint NOT NULL,
        applied bigint NOT NULL,
        UNIQUE (name, version)
    );
    CREATE TABLE {s}.guard (
        view integer NOT NULL,
        stream text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        PRIMARY KEY (view, stream)
    );
    """,
)

# by the unique (name, version); whoever applies keeps the row to itself until it commits
_VIEW: Final = "SELECT id, store, position, applied FROM {s}.view WHERE name = %s AND version = %s"
_VIEW_TO_APPLY: Final = _VIEW + " FOR UPDATE"
_ADD_VIEW: Final = """
    INSERT INTO {s}.view (name, version, store, position, applied) VALUES (%s, %s, '', 0, 0)
    ON CONFLICT DO NOTHING
    RETURNING id
"""

# by the primary keys
_GUARDS: Final = "SELECT stream, version FROM {s}.guard WHERE view = %s AND stream = ANY(%b)"
_MOVE_GUARDS: Final = """
    INSERT INTO {s}.guard SELECT %s, * FROM unnest(%b::text[], %b::bigint[])
    ON CONFLICT (view, stream) DO UPDATE SET version = excluded.version
"""
_COUNT: Final = "UPDATE {s}.view SET applied = applied + %s WHERE id = %s"
_MOVE: Final = """
    UPDATE {s}.view SET store = %s, position = greatest(position, %s) WHERE id = %s
"""


class PostgresViews(Interpreter[ViewOp]):
    """Views in a Postgres database: the store's own, or another.

    address: a connection string, or a psycopg_pool.ConnectionPool, whose connections are then borrowed.
    views: whose tables are to be there at once, so that they can be queried before the first event.
    schema: where the progress of the views is kept; their own tables are where their handlers say.
    timeout: how many seconds a statement may take.

    A view's handlers get the psycopg.Connection, in the transaction in which the view's progress is
    committed too: declare it as `View[psycopg.Connection](...)`.
    """

    def __init__(
        self,
        address: str | ConnectionPool[Any],
        views: Iterable[View[psycopg.Connection[Any]]] = (),
        *,
        schema: str = "eventsrc_views",
        timeout: float = 5.0,
    ) -> None:
        self._tables = Tables(schema, _SCRIPTS, mark="guard")
        self._ask = self._tables.ask
        self._link = Link(address, timeout)
        try:
            if not self._read(self._tables.are_current()):
                with self._link.transaction() as connection:
                    hold_on(self._tables.migrate(), connection)
            for view in views:
                with self._link.transaction() as connection:
                    self._found(connection, view)
        except BaseException:
            self._link.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection to query with, in a transaction that may only read."""
        with self._link.transaction() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            yield connection

    @on(GetProgress)
    def get_progress(self, op: GetProgress) -> Progress:
        """How far a view has come."""
        rows = self._read(self._find(op.view))
        if not rows:
            return Progress(START, 0)
        _, store, position, applied = rows[0]
        return Progress(Cursor(store, position) if position else START, applied)

    @on(GetApplied)
    def get_applied(self, op: GetApplied) -> Mapping[StreamId, int]:
        """The versions that a view has applied of some streams."""
        found = self._read(self._applied(op.view, op.streams))
        return {stream: found.get(stream, 0) for stream in op.streams}

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        """Applies events to a view."""
        with translated(), self._link.transaction() as connection:
            number, store, _, _ = self._found(connection, op.view)
            if op.cursor is not None and store:
                op.cursor.check(store)
            streams = sorted({event.record.stream for event in op.events})
            work = sort_out(hold_on(self._guards(number, streams), connection), op.events)
            if isinstance(op.events, Events):
                op.events.prefetch()
            for event in work.to_apply:
                op.view.apply(connection, event)
            cursor = None if work.gaps else op.cursor
            hold_on(self._moving(number, work.applied, len(work.to_apply), cursor), connection)
        return Applied(len(work.to_apply), work.ignored, work.gaps)

    @on(Apply).coroutine
    async def apply_async(self, op: Apply) -> Applied:
        """Applies events to a view, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.apply, op)

    def close(self) -> None:
        """Closes the connections."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _found(self, connection: psycopg.Connection[Any], view: View[Any]) -> tuple[int, str, int, int]:
        """A view's row, kept from others until the commit; the first time, its tables are made."""
        key = view.name, view.version
        rows = hold_on(self._asking(_VIEW_TO_APPLY, key), connection)
        if not rows:
            if hold_on(self._asking(_ADD_VIEW, key), connection):
                view.create(connection)
            rows = hold_on(self._asking(_VIEW_TO_APPLY, key), connection)
        ((number, store, position, applied),) = rows
        return number, store, position, applied

    def _find(self, view: View[Any]) -> Conversation[Rows]:
        return self._asking(_VIEW, (view.name, view.version))

    def _applied(self, view: View[Any], streams: Sequence[StreamId]) -> Conversation[dict[str, int]]:
        rows = yield from self._find(view)
        return (yield from self._guards(rows[0][0], streams)) if rows else {}

    def _guards(self, view: int, streams: Sequence[str]) -> Conversation[dict[str, int]]:
        rows = yield self._ask(_GUARDS, (view, [str(stream) for stream in streams]))
        return dict(rows)

    def _moving(
        self, view: int, versions: Mapping[str, int], count: int, cursor: Cursor | None
    ) -> Conversation[None]:
        """Keeps how far a view has come."""
        if versions:
            yield self._ask(_MOVE_GUARDS, (view, list(versions), list(versions.values())))
            yield self._ask(_COUNT, (count, view))
        if cursor is not None:
            yield self._ask(_MOVE, (cursor.store, cursor.position, view))

    def _asking(self, statement: str, parameters: tuple[Any, ...]) -> Conversation[Rows]:
        return (yield self._ask(statement, parameters))

    def _read(self, conversation: Conversation[Any]) -> Any:
        return hold(conversation, self._link.read)
