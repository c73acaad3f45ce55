"""Tables in a schema of a Postgres database: how they are made and brought up to date.

In SQL, every name is qualified with the schema, which stands as `{s}` and is put in, quoted, when a
statement is asked; `{lock}` is the number of the schema's advisory lock. This is the only place where
SQL is put together from names that users choose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from eventsrc.postgres_conversation import Ask, Conversation
from eventsrc.store import NotAStore

_LOCK: Final = "SELECT pg_advisory_xact_lock({lock})"
# to_regnamespace may remember what was before the lock; a look at the table does not
_IS_SCHEMA: Final = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
_MAKE_SCHEMA: Final = "CREATE SCHEMA {s}"
_IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"
_MAKE_APPLIED: Final = """
    CREATE TABLE {s}.eventsrc_applied (scripts integer NOT NULL, at timestamptz NOT NULL DEFAULT now())
"""
_APPLIED: Final = """
    SELECT coalesce(max(scripts), 0), to_regclass(%s) IS NULL FROM {s}.eventsrc_applied
"""
_SET_APPLIED: Final = "INSERT INTO {s}.eventsrc_applied (scripts) VALUES (%s)"


class Tables:
    """The tables of one schema, and the statements that ask for them.

    scripts: those that make the tables, one for each version.
    mark: one of the tables, by which they are told from other tables of this library.
    """

    def __init__(self, schema: str, scripts: Sequence[str], mark: str = "") -> None:
        self.schema: Final = schema
        self._scripts = scripts
        self._mark = mark
        self._quoted = quoted(schema)
        self._lock = str(_lock_number(schema))
        self._known: dict[str, bytes] = {}

    def ask(self, statement: str, parameters: Any = None, *, is_bold: bool = False) -> Ask:
        """A statement with the schema's name in it. is_bold: see Ask."""
        known = self._known.get(statement)
        if known is None:
            sql = statement.replace("{s}", self._quoted).replace("{lock}", self._lock)
            known = self._known[statement] = sql.encode()
        return Ask(known, parameters, is_bold)

    def are_current(self) -> Conversation[bool]:
        """Whether the tables are there and up to date."""
        return (yield from self._applied()) == len(self._scripts)

    def migrate(self) -> Conversation[int]:
        """Brings the tables up to date, in the transaction that this is held in.

        Answers how many scripts they had seen before. Raises NotAStore for tables of a newer version.
        """
        yield self.ask(_LOCK)
        ((exists,),) = yield self.ask(_IS_SCHEMA, (self.schema,))
        if not exists:
            yield self.ask(_MAKE_SCHEMA)
        applied = yield from self._applied()
        if not applied:
            yield self.ask(_MAKE_APPLIED)
        for script in self._scripts[applied:]:
            yield self.ask(script)
        if applied < len(self._scripts):
            yield self.ask(_SET_APPLIED, (len(self._scripts),))
        return applied

    def _applied(self) -> Conversation[int]:
        ((exists,),) = yield self.ask(_IS_THERE, (f"{self._quoted}.eventsrc_applied",))
        if not exists:
            return 0
        ((applied, is_another),) = yield self.ask(_APPLIED, (f"{self._quoted}.{self._mark}",))
        if applied and is_another:
            raise NotAStore(
                f"schema {self.schema!r} has other tables of eventsrc: a store and its views need a "
                "schema each"
            )
        if applied > len(self._scripts):
            raise NotAStore(
                f"schema {self.schema!r} has version {applied} of its tables, and the newest known "
                f"here is {len(self._scripts)}: update eventsrc"
            )
        return int(applied)


def quoted(name: str) -> str:
    """A name as SQL has it. Raises ValueError for one that cannot name a schema."""
    if not name or "\0" in name or len(name.encode()) > 63:
        raise ValueError(f"{name!r} cannot name a schema: use 1 to 63 bytes")
    return '"' + name.replace('"', '""') + '"'


def _lock_number(schema: str) -> int:
    """A number for the schema's advisory lock that nobody else in the database uses."""
    digest = hashlib.sha256(f"eventsrc {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
