"""The rows of a view in a schema of a Postgres database at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from eventsrc.postgres._schema import quoted
from eventsrc.views.rows import Ask, SqlCopy


class PostgresCopy(SqlCopy):
    """Rows as jsonb, which can be compared whatever they are made of."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(_asking(connection))

    create = "CREATE TEMP TABLE {copy} ON COMMIT DROP AS {rows}"
    without = "{these} EXCEPT ALL {those}"

    def _tables(self) -> list[str]:
        return [name for (name,) in self._ask(_TABLES)]

    def _rows(self, table: str) -> str:
        return _JSON.format(quoted(table))

    def _keyed(self, table: str, query: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        key = [name for (name,) in self._ask(_KEY, quoted(table))]
        for number, (row,) in enumerate(self._ask(query)):
            yield {name: row[name] for name in key} or {"row": number}, row


_TABLES: Final = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
        AND relname NOT LIKE 'eventsrc\\_%%'
"""
_KEY: Final = """
    SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
    WHERE indrelid = %s::regclass AND indisprimary
"""
_JSON: Final = "SELECT to_jsonb(its) FROM {} AS its"


def _asking(connection: psycopg.Connection[Any]) -> Ask:
    """Executes statements on a connection to Postgres."""

    def ask(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = connection.cursor(row_factory=tuple_row)
        cursor.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description is not None else []

    return ask
