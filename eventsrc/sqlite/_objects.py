"""The tables of a file, held to those that the library makes: a file may be somebody else's work.

A view in the place of a table can take for ever to read, and a trigger on a table can have appends
acknowledged that are not stored. So what stands under the library's names is to be what it makes there,
and its tables have no triggers but its own. Tables, indexes and views of the user's are left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import attrs

from eventsrc.stores.operations import NotAStore

_OBJECTS: Final = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master"


@attrs.frozen
class Known:
    """The objects that scripts make: by name the type, and the texts of triggers and views."""

    types: dict[str, str]
    texts: dict[str, str]

    @property
    def tables(self) -> frozenset[str]:
        """The names of the tables."""
        return frozenset(name for name, kind in self.types.items() if kind == "table")


@cache
def known_objects(statements: tuple[str, ...]) -> Known:
    """The objects that statements make in an empty database."""
    connection = sqlite3.connect(":memory:")
    try:
        for statement in statements:
            connection.execute(statement)
        rows = connection.execute(_OBJECTS).fetchall()
    finally:
        connection.close()
    types = {name: kind for kind, name, _, _ in rows}
    return Known(types, {name: sql for kind, name, _, sql in rows if kind in ("trigger", "view")})


def check_objects(
    connection: sqlite3.Connection, path: Path, statements: Callable[[], Sequence[str]]
) -> None:
    """Raises NotAStore for a file whose objects are not what the statements make."""
    for wrong in _wrong(connection, known_objects(tuple(statements()))):
        raise NotAStore(
            f"{path} has {wrong}, which this library has not made: the file may be somebody's trap, or "
            "was changed by hand: undo that, or restore a copy"
        )


def _wrong(connection: sqlite3.Connection, known: Known) -> Iterator[str]:
    tables = known.tables
    for kind, name, table, sql in connection.execute(_OBJECTS).fetchall():
        expected = known.types.get(name)
        if expected is not None and kind != expected:
            yield f"a {kind} in the place of the {expected} {name}"
        elif kind == "trigger" and table in tables and expected is None:
            yield f"a trigger {name!r:.100} on the table {table}"
        elif name in known.texts and sql != known.texts[name]:
            yield f"another {kind} {name}"
