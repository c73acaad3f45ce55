"""Views in SQLite or Postgres, whichever an address names, with the same handlers and the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs

from eventsrc import Recorded, SqliteStore, SqliteViews, View
from eventsrc.views.memory import MemoryViews, Table
from tests.kits.library import CODEC, TYPES, Noted

Views: TypeAlias = Any
"""SqliteViews or PostgresViews: what both have is what these tests are about."""

NOTES: Final = "SELECT stream, numbers FROM note"


@attrs.frozen
class Kit:
    """A database for views.

    address: a path, the connection string of a Postgres, or "memory".
    """

    address: str
    memory: MemoryViews | None = None

    @property
    def is_memory(self) -> bool:
        return self.memory is not None

    @property
    def is_postgres(self) -> bool:
        return "=" in self.address or "://" in self.address

    def open(self, *views: View[Any], **options: Any) -> Views:
        """Opens the views that are kept there."""
        if self.memory is not None:
            for view in views:
                with self.memory.writing(view):
                    pass
            return self.memory
        if self.is_postgres:
            from eventsrc.postgres import PostgresViews

            return PostgresViews(self.address, views, **options)
        options.setdefault("durability", "process")
        return SqliteViews(f"{self.address}-views", views, **options)

    def open_store(self, **options: Any) -> Any:
        """Opens the store that is kept there."""
        if self.is_postgres:
            from eventsrc.postgres import PostgresStore

            return PostgresStore(self.address, codec=CODEC, **options)
        return SqliteStore(self.address, CODEC, durability="process", **options)

    def execute(self, db: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Executes a statement in which each parameter is a question mark."""
        found = db.execute(sql.replace("?", "%s") if self.is_postgres else sql, parameters)
        return list(found.fetchall()) if sql.lstrip().startswith("SELECT") else []

    def notes(
        self, also: Callable[[Any, Recorded[Noted]], None] | None = None, **options: Any
    ) -> View[Any]:
        """A view that appends each number to a text: an event applied twice or out of order shows.

        also: is called after each event was handled, and may raise.
        """
        view: View[Any] = View("notes", types=TYPES, **options)

        @view.schema
        def create(db: Any) -> None:
            if not self.is_memory:
                db.execute("CREATE TABLE note (stream TEXT PRIMARY KEY, numbers TEXT NOT NULL)")

        @view.on(Noted)
        def noted(db: Any, event: Recorded[Noted]) -> None:
            self.note(db, event.stream, str(event.data.number))
            if also is not None:
                also(db, event)

        return view

    def note(self, db: Any, stream: str, number: str) -> None:
        """Appends a number to the text of a stream."""
        if self.is_memory:
            notes: Table[str, str] = db["note"]
            notes[stream] = f"{notes[stream]},{number}" if stream in notes else number
            return
        self.execute(
            db,
            "INSERT INTO note VALUES (?, ?) ON CONFLICT (stream) DO UPDATE "
            "SET numbers = note.numbers || ',' || excluded.numbers",
            str(stream),
            number,
        )

    def rows(self, views: Views, view: View[Any], live: bool = True) -> dict[str, str]:
        """What a view of notes holds: for each stream its numbers, in the order applied."""
        with views.reading(view, live=live) as db:
            if self.is_memory:
                return dict(db["note"])
            return dict(self.execute(db, NOTES))
