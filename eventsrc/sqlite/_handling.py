"""The rule for what handlers of views in SQLite do with the connection, which the ledger uses too."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from eventsrc.views.view import BadHandler

_SETTINGS: Final = (
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "case_sensitive_like",
    "cell_size_check",
    "defer_foreign_keys",
    "full_column_names",
    "ignore_check_constraints",
    "legacy_alter_table",
    "query_only",
    "recursive_triggers",
    "reverse_unordered_selects",
    "secure_delete",
    "short_column_names",
    "trusted_schema",
    "writable_schema",
)
"""Pragmas that would hold for the events after the one at which a handler sets them."""


class Rule:
    """The rule for what a handler does with its connection: no statement begins or ends a transaction,
    and settings are for its event alone.

    settings: what they are to be: see settings_of.
    """

    def __init__(
        self, connection: sqlite3.Connection, settings: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self.is_in_force = False
        self.was_broken = False
        self._connection = connection
        self._pragmas = settings
        self._factories = connection.row_factory, connection.text_factory
        self._changed: set[str] = set()

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if not self.is_in_force:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_TRANSACTION:
            self.was_broken = True
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_PRAGMA and first is not None and second is not None:
            self._changed.add(first.lower())
        return sqlite3.SQLITE_OK

    def restore(self) -> None:
        """Puts back the settings that a handler has changed."""
        connection = self._connection
        row_factory, text_factory = self._factories
        if connection.row_factory is not row_factory or connection.text_factory is not text_factory:
            connection.row_factory, connection.text_factory = row_factory, text_factory
        while self._changed:
            name = self._changed.pop()
            if name in self._pragmas:
                is_in_force, self.is_in_force = self.is_in_force, False
                try:
                    connection.execute(f"PRAGMA {name} = {self._pragmas[name]}")
                finally:
                    self.is_in_force = is_in_force


class GuardedConnection(sqlite3.Connection):
    """A connection that no handler closes, or has begin transactions by itself."""

    rule: Rule | None = None

    def close(self) -> None:
        """Closes the connection. Raises BadHandler in a handler."""
        self._check_rule()
        super().close()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "isolation_level":
            self._check_rule()
        super().__setattr__(name, value)

    def _check_rule(self) -> None:
        if self.rule is not None and self.rule.is_in_force:
            self.rule.was_broken = True
            raise bad_handler()


def settings_of(connection: sqlite3.Connection) -> dict[str, int]:
    """The settings of a connection that handlers find, by name."""
    found = {name: connection.execute(f"PRAGMA {name}").fetchone() for name in _SETTINGS}
    return {name: int(row[0]) if row else 0 for name, row in found.items()}  # 0: it cannot be read


def bad_handler() -> BadHandler:
    """The error for a handler that broke the rule."""
    return BadHandler(
        "a handler began, committed or rolled back a transaction, or closed the connection, and so "
        "nothing of it is applied: what handlers write is committed together with the view's progress. "
        "Use `with db.atomic():` for what is to be undone by itself, not commit(), rollback(), "
        "executescript() or `with db.conn:`"
    )
