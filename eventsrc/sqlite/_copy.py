"""The rows of a view in a SQLite file at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from eventsrc.views.rows import SqlCopy


class SqliteCopy(SqlCopy):
    """Copies in the temporary tables of a connection."""

    def _tables(self) -> list[str]:
        # without those that belong to a virtual table, which are its own affair
        rows = self._ask("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        return [name for (name,) in rows if not name.startswith(("eventsrc_", "sqlite_"))]

    def _rows(self, table: str) -> str:
        columns, key = self._columns(table)
        names = [quoted(name) for name in columns]
        if not key:
            names.append("rowid AS eventsrc_rowid")
        return _SELECT.format(", ".join(names), quoted(table))

    def _keyed(self, table: str, query: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        columns, key = self._columns(table)
        for row in self._ask(query):
            named = dict(zip(columns, row, strict=False))  # a rowid is no column
            yield {name: named[name] for name in key} or {"rowid": row[-1]}, named

    def _columns(self, table: str) -> tuple[list[str], list[str]]:
        """The columns of a table, and those of them that are its primary key."""
        rows = self._ask("SELECT name, pk FROM pragma_table_info(?)", table)
        return [name for name, _ in rows], [name for name, pk in rows if pk]


_SELECT: Final = "SELECT {} FROM main.{}"


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'
