"""How much SQLite does for an operation: steps of its machine, which no other load changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from eventsrc.sqlite._file import SqliteFile

EVERY = 10
"""The steps of which one is counted."""


class Work:
    """What the connections of files that are opened from now on have done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._done = 0
        connect = SqliteFile._connect

        def counted(file: SqliteFile, timeout: float) -> sqlite3.Connection:
            connection = connect(file, timeout)
            connection.set_progress_handler(self._count, EVERY)
            return connection

        monkeypatch.setattr(SqliteFile, "_connect", counted)

    def _count(self) -> None:
        self._done += EVERY

    def of(self, act: Callable[[], object]) -> int:
        """About how many steps it takes."""
        before = self._done
        act()
        return self._done - before


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts what SQLite does."""
    return Work(monkeypatch)
