"""The stores of the library keep the store contract."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from eventsrc import Interpreter, MemoryStore, SqliteStore, StoreOp
from eventsrc.testing import NOTES, StoreContract, store_machine


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Interpreter[StoreOp]:
        return MemoryStore(NOTES)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Interpreter[StoreOp]]:
        self.path = tmp_path / "store.db"
        with SqliteStore(self.path, NOTES, timeout=30) as store:
            yield store

    def reopened(self, store: Interpreter[StoreOp]) -> Interpreter[StoreOp]:
        assert isinstance(store, SqliteStore)
        store.close()
        return SqliteStore(self.path, NOTES)


@contextmanager
def memory_store() -> Iterator[Interpreter[StoreOp]]:
    yield MemoryStore(NOTES)


@contextmanager
def sqlite_store() -> Iterator[Interpreter[StoreOp]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        SqliteStore(Path(folder) / "store.db", NOTES, durability="process") as store,
    ):
        yield store


TestMemoryMachine = store_machine(memory_store).TestCase
TestMemoryMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)

TestSqliteMachine = store_machine(sqlite_store).TestCase
TestSqliteMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
