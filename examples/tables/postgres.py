"""Tables in Postgres, by psycopg, which puts names into statements safely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier, Placeholder

_TYPES: Final = {str: SQL("text"), int: SQL("bigint")}

# `simple` leaves words as they are; an address such as homer@springfield.example is three words here
_ENABLE_SEARCH: Final = SQL("""
    ALTER TABLE {table} ADD COLUMN words tsvector GENERATED ALWAYS AS
        (to_tsvector('simple'::regconfig, translate({text}, '@.', '  '))) STORED;
    CREATE INDEX ON {table} USING gin (words)
""")
_SEARCH: Final = SQL("""
    SELECT {columns} FROM {table}, to_tsquery('simple', %s) AS wanted
    WHERE words @@ wanted ORDER BY ts_rank(words, wanted) DESC
""")


class PostgresTables:
    """The tables of a Postgres database."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    def create(self, table: str, columns: Mapping[str, type], *key: str) -> None:
        typed = [Identifier(name) + SQL(" ") + _TYPES[kind] for name, kind in columns.items()]
        made = SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))")
        self.connection.execute(made.format(Identifier(table), SQL(", ").join(typed), _names(key)))

    def index(self, table: str, column: str) -> None:
        made = SQL("CREATE INDEX ON {} ({})")
        self.connection.execute(made.format(Identifier(table), Identifier(column)))

    def enable_search(self, table: str, *columns: str) -> None:
        texts = [SQL("coalesce({}, '')").format(Identifier(column)) for column in columns]
        text = SQL(" || ' ' || ").join(texts)
        self.connection.execute(_ENABLE_SEARCH.format(table=Identifier(table), text=text))

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        self.connection.execute(_insert(table, row), dict(row))

    def put(self, table: str, row: Mapping[str, Any], *key: str) -> None:
        pairs = [(Identifier(name), Identifier("excluded", name)) for name in row if name not in key]
        new = SQL(", ").join(SQL("{} = {}").format(*pair) for pair in pairs)
        then = SQL("UPDATE SET ") + new if pairs else SQL("NOTHING")
        done = _insert(table, row) + SQL(" ON CONFLICT ({}) DO {}").format(_names(key), then)
        self.connection.execute(done, dict(row))

    def remove(self, table: str, row: Mapping[str, Any]) -> None:
        same = [SQL("{} = {}").format(Identifier(name), Placeholder(name)) for name in row]
        removed = SQL("DELETE FROM {} WHERE {}").format(Identifier(table), SQL(" AND ").join(same))
        self.connection.execute(removed, dict(row))

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.replace("?", "%s").encode(), parameters).fetchall()

    def search(self, table: str, columns: Sequence[str], words: Sequence[str]) -> list[tuple[Any, ...]]:
        wanted = " & ".join(f"'{word}':*" for word in words)
        search = _SEARCH.format(columns=_names(columns), table=Identifier(table))
        return self.connection.execute(search, [wanted]).fetchall()


def _names(names: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))


def _insert(table: str, row: Mapping[str, Any]) -> Composed:
    values = SQL(", ").join(map(Placeholder, row))
    return SQL("INSERT INTO {} ({}) VALUES ({})").format(Identifier(table), _names(row), values)
