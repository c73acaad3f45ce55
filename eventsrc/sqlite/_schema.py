"""Tables in a SQLite file: how they are made and brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from eventsrc.sqlite._objects import check_objects
from eventsrc.stores.operations import NotAStore

_MAKE_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS eventsrc_schema (part TEXT PRIMARY KEY, applied INTEGER NOT NULL)
"""
_SET_APPLIED: Final = "INSERT OR REPLACE INTO eventsrc_schema VALUES (?, ?)"
_HAS_SCHEMA: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'eventsrc_schema'"
_GET_APPLIED: Final = "SELECT applied FROM eventsrc_schema WHERE part = ?"


@attrs.frozen
class Schema:
    """The tables of one part of a file, as the scripts that make them: those of one version each.

    part: what the tables are for; the table eventsrc_schema counts the applied scripts of each part.
    stamp: marks the whole file as this part's, as its application_id, with the count as user_version.
    """

    part: str
    scripts: Sequence[str]
    stamp: int | None = None


def applied_scripts(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """The number of a schema's scripts that a file has seen. Raises NotAStore for another's file."""
    part, stamp, newest = schema.part, schema.stamp, len(schema.scripts)
    ((application,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if stamp is not None and (application not in (0, stamp) or (application == 0 and version)):
        raise NotAStore(
            f"{path} belongs to another application (application_id {application}, user_version "
            f"{version}): give the {part} a file of its own"
        )
    ((has_schema,),) = connection.execute(_HAS_SCHEMA).fetchall()
    row = connection.execute(_GET_APPLIED, (part,)).fetchone() if has_schema else None
    applied = 0 if row is None else int(row[0])
    if stamp is not None and application == stamp:
        applied = max(applied, version)
    if applied > newest:
        raise NotAStore(
            f"{path} has version {applied} of the {part}, and the newest known here is {newest}: "
            "update eventsrc"
        )

    def made() -> list[str]:
        seen = schema.scripts[:applied]
        return [_MAKE_SCHEMA, *(each for script in seen for each in statements_of(script))]

    check_objects(connection, path, made)
    return applied


def apply_missing(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Applies the scripts that a file has not seen, in the transaction that a connection is in."""
    applied = applied_scripts(connection, path, schema)  # another process may have been faster
    for script in schema.scripts[applied:]:
        for statement in statements_of(script):
            connection.execute(statement)
    connection.execute(_MAKE_SCHEMA)
    connection.execute(_SET_APPLIED, (schema.part, len(schema.scripts)))
    if schema.stamp is not None:
        connection.execute(f"PRAGMA application_id = {schema.stamp:d}")
        connection.execute(f"PRAGMA user_version = {len(schema.scripts):d}")


def statements_of(script: str) -> Iterator[str]:
    """The statements of a script. Those of a trigger's body are a part of its own."""
    statement = ""
    for piece in script.split(";\n"):
        statement += f"{piece};\n"
        if sqlite3.complete_statement(statement):
            if piece.strip():
                yield statement
            statement = ""
