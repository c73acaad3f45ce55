"""Rows of views before and after: copies that a view's database compares with what there is now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from eventsrc.sqlite.views import SqliteLedger
from eventsrc.views._ledger import Ledger
from eventsrc.views.memory import MemoryLedger, Tables
from eventsrc.views.view import ViewError

Ask: TypeAlias = Callable[..., list[tuple[Any, ...]]]
"""Executes a statement with parameters."""


@attrs.frozen
class RowChange:
    """A row of a view before and after: None where there is no such row."""

    table: str
    key: Any
    """The values of its primary key by column; of a view in memory, its key."""
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.table} {self.after!r}"
        if self.after is None:
            return f"- {self.table} {self.before!r}"
        return f"~ {self.table} {self.key!r}: {_difference(self.before, self.after)}"


def _difference(before: Any, after: Any) -> str:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return f"{before!r} -> {after!r}"
    names = [name for name in after if before.get(name) != after[name]]
    return ", ".join(f"{name} {before.get(name)!r} -> {after[name]!r}" for name in names)


class Copy(ABC):
    """The rows of a view at one moment, kept by its database where that can."""

    @abstractmethod
    def differences(self) -> Iterator[RowChange]:
        """The rows that are different now."""


def copy_of(ledger: Ledger) -> Copy:
    """A copy of the rows of a view in its transaction. Raises ViewError where none can be made."""
    if isinstance(ledger, MemoryLedger):
        return _MemoryCopy(ledger.tables)
    if isinstance(ledger, SqliteLedger):
        return _SqliteCopy(ledger.ask)
    if type(ledger).__module__ == "eventsrc.postgres.views":  # which imports a driver
        return _PostgresCopy(_asking(ledger.database))
    raise ViewError(f"of views in a {type(ledger).__qualname__}, rows cannot be compared: leave it out")


def _asking(connection: Any) -> Ask:
    """Executes statements on a connection to Postgres."""

    def ask(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        from psycopg.rows import tuple_row  # whoever has such a connection has the driver

        cursor = connection.cursor(row_factory=tuple_row)
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description is not None else []

    return ask


class _MemoryCopy(Copy):
    def __init__(self, tables: Tables) -> None:
        self._now = tables
        self._before = _rows_in(tables)

    def differences(self) -> Iterator[RowChange]:
        now = _rows_in(self._now)
        for table in {**self._before, **now}:
            gone, come = self._before.get(table, {}), now.get(table, {})
            same = {key for key in gone.keys() & come.keys() if gone[key] == come[key]}
            yield from _paired(
                table,
                [(key, row) for key, row in gone.items() if key not in same],
                [(key, row) for key, row in come.items() if key not in same],
            )


def _rows_in(tables: Tables) -> dict[str, dict[Any, Any]]:
    return tables.copied()


class _SqlCopy(Copy):
    """Copies in temporary tables, so that as many rows as there are can be compared."""

    create: ClassVar[str] = "CREATE TEMP TABLE {copy} AS {rows}"
    without: ClassVar[str] = "{these} EXCEPT {those}"

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._copies: dict[str, str] = {}
        for number, table in enumerate(self._tables()):
            copy = self._copies[table] = f"eventsrc_before_{number}"
            self._ask(self.create.format(copy=copy, rows=self._rows(table)))

    def differences(self) -> Iterator[RowChange]:
        for table in sorted({*self._copies, *self._tables()}):
            now = self._rows(table)
            copy = self._copies.get(table)
            before = f"{now} WHERE false" if copy is None else _ALL.format(copy)
            gone = self.without.format(these=before, those=now)
            come = self.without.format(these=now, those=before)
            yield from _paired(table, self._keyed(table, gone), self._keyed(table, come))

    @abstractmethod
    def _tables(self) -> list[str]:
        """The view's own tables."""

    @abstractmethod
    def _rows(self, table: str) -> str:
        """The query for the rows of a table."""

    @abstractmethod
    def _keyed(self, table: str, query: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The rows that a query answers, with their keys."""


_ALL: Final = "SELECT * FROM {}"


class _SqliteCopy(_SqlCopy):
    def _tables(self) -> list[str]:
        # without those that belong to a virtual table, which are its own affair
        rows = self._ask("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        return [name for (name,) in rows if not name.startswith(("eventsrc_", "sqlite_"))]

    def _rows(self, table: str) -> str:
        columns, key = self._columns(table)
        names = [_quoted(name) for name in columns]
        if not key:
            names.append("rowid AS eventsrc_rowid")
        return _SELECT.format(", ".join(names), _quoted(table))

    def _keyed(self, table: str, query: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        columns, key = self._columns(table)
        for row in self._ask(query):
            named = dict(zip(columns, row, strict=False))  # a rowid is no column
            yield {name: named[name] for name in key} or {"rowid": row[-1]}, named

    def _columns(self, table: str) -> tuple[list[str], list[str]]:
        """The columns of a table, and those of them that are its primary key."""
        rows = self._ask("SELECT name, pk FROM pragma_table_info(?)", table)
        return [name for name, _ in rows], [name for name, pk in rows if pk]


class _PostgresCopy(_SqlCopy):
    """Rows as jsonb, which can be compared whatever they are made of."""

    create = "CREATE TEMP TABLE {copy} ON COMMIT DROP AS {rows}"
    without = "{these} EXCEPT ALL {those}"

    def _tables(self) -> list[str]:
        return [name for (name,) in self._ask(_POSTGRES_TABLES)]

    def _rows(self, table: str) -> str:
        return _JSON.format(_quoted(table))

    def _keyed(self, table: str, query: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        key = [name for (name,) in self._ask(_POSTGRES_KEY, _quoted(table))]
        for number, (row,) in enumerate(self._ask(query)):
            yield {name: row[name] for name in key} or {"row": number}, row


_POSTGRES_TABLES: Final = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
        AND relname NOT LIKE 'eventsrc\\_%%'
"""
_POSTGRES_KEY: Final = """
    SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
    WHERE indrelid = %s::regclass AND indisprimary
"""
_JSON: Final = "SELECT to_jsonb(its) FROM {} AS its"
_SELECT: Final = "SELECT {} FROM main.{}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _paired(
    table: str,
    gone: Iterable[tuple[Any, Any]],
    come: Iterable[tuple[Any, Any]],
) -> Iterator[RowChange]:
    """The changes of a table's rows: rows with the same key are one before and after."""
    after = {_hashable(key): (key, row) for key, row in come}
    for key, row in gone:
        _, now = after.pop(_hashable(key), (key, None))
        yield RowChange(table, key, row, now)
    for key, row in after.values():
        yield RowChange(table, key, None, row)


def _hashable(key: Any) -> Any:
    return repr(sorted(key.items())) if isinstance(key, dict) else key
