"""Tables in SQLite or Postgres: what the views of the examples are written with.

A view's handlers get the database that it is kept in: a sqlite-utils Database, or a psycopg Connection.
`tables(db)` is the same few verbs on either, so that each view is written once. Where your views stay
in one database, use that database as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import sqlite_utils

from examples.tables.sqlite import SqliteTables

if TYPE_CHECKING:
    import psycopg

Database: TypeAlias = "sqlite_utils.Database | psycopg.Connection[Any]"
Row: TypeAlias = Mapping[str, "str | int | None"]


class Tables(Protocol):
    """The tables of a database. Names come from the examples' own code; values from anywhere."""

    def create(self, table: str, columns: Mapping[str, type], *key: str) -> None:
        """Makes a table of texts (`str`) and numbers (`int`) with a primary key."""
        ...

    def index(self, table: str, column: str) -> None:
        """Makes an index."""
        ...

    def enable_search(self, table: str, *columns: str) -> None:
        """Makes an index of the words in some columns."""
        ...

    def insert(self, table: str, row: Row) -> None:
        """Adds a row; it is an error if its key is there."""
        ...

    def put(self, table: str, row: Row, *key: str) -> None:
        """Adds a row or, if its key is there, sets these columns and leaves the others."""
        ...

    def remove(self, table: str, row: Row) -> None:
        """Removes the rows that have these values."""
        ...

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a query, whose parameters are marked `?`."""
        ...

    def search(self, table: str, columns: Sequence[str], words: Sequence[str]) -> list[tuple[Any, ...]]:
        """These columns of the rows in which each word is, or begins, one; the best first."""
        ...


def tables(database: Database) -> Tables:
    """The tables of a database."""
    if isinstance(database, sqlite_utils.Database):
        return SqliteTables(database)
    from examples.tables.postgres import PostgresTables  # only who has psycopg gets here

    return PostgresTables(database)
