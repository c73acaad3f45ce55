"""Tables in SQLite, by sqlite-utils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlite_utils import Database


class SqliteTables:
    """The tables of a SQLite file."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def create(self, table: str, columns: Mapping[str, type], *key: str) -> None:
        self.db.table(table).create(dict(columns), pk=key[0] if len(key) == 1 else key)

    def index(self, table: str, column: str) -> None:
        self.db.table(table).create_index([column])

    def enable_search(self, table: str, *columns: str) -> None:
        self.db.table(table).enable_fts(columns, create_triggers=True)

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        self.db.table(table).insert(dict(row))

    def put(self, table: str, row: Mapping[str, Any], *key: str) -> None:
        self.db.table(table).upsert(dict(row), pk=key[0] if len(key) == 1 else key)

    def remove(self, table: str, row: Mapping[str, Any]) -> None:
        same = " AND ".join(f"[{column}] = :{column}" for column in row)
        self.db.table(table).delete_where(same, dict(row))

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.db.conn.execute(query, parameters).fetchall()

    def search(self, table: str, columns: Sequence[str], words: Sequence[str]) -> list[tuple[Any, ...]]:
        wanted = " ".join(f'"{word}"*' for word in words)
        found = self.db.table(table).search(wanted, columns=columns)
        return [tuple(row[column] for column in columns) for row in found]
