"""The SQLite store keeps the contract."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from eventsrc import Interpreter, SqliteStore, StoreOp
from eventsrc.testing import StoreContract, store_machine


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        with SqliteStore(tmp_path / "store.db", timeout=30) as store:
            yield store

    @pytest.fixture
    def reopen(self, store: SqliteStore, tmp_path: Path) -> Iterator[Callable[[], SqliteStore]]:
        opened: list[SqliteStore] = []

        def again() -> SqliteStore:
            store.close()
            opened.append(SqliteStore(tmp_path / "store.db"))
            return opened[-1]

        yield again
        for other in opened:
            other.close()


@contextmanager
def empty_store() -> Iterator[Interpreter[StoreOp]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        SqliteStore(Path(folder) / "store.db", durability="process") as store,
    ):
        yield store


TestMachine = store_machine(empty_store).TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
