"""The SQLite store keeps the contract. What is particular to it is in test_sqlite_file.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventsrc import SqliteStore
from eventsrc.testing import StoreContract, StoreMachine


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        with SqliteStore(tmp_path / "store.db") as store:
            yield store

    @pytest.fixture
    def reopen(self, store: SqliteStore, tmp_path: Path) -> Iterator[Callable[[], SqliteStore]]:
        with ExitStack() as opened:

            def reopen() -> SqliteStore:
                store.close()
                return opened.enter_context(SqliteStore(tmp_path / "store.db"))

            yield reopen


TestSqliteStoreAgainstMemory = StoreMachine.for_store(
    lambda folder: SqliteStore(folder / "store.db"), durable=True
).TestCase
