"""Stores of each kind for durable runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Interpreter, MemoryStore, SqliteStore
from eventsrc.postgres import PostgresStore
from tests.durable.service import CODEC

MakeStore = Callable[[], Interpreter[Any]]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Makes a new store of a kind, in place of the one before, which is closed."""
    kind: str = request.param
    dsn = request.getfixturevalue("postgres_dsn") if kind == "postgres" else ""
    names = (f"s{number}" for number in count())
    with ExitStack() as stack:

        def make() -> Interpreter[Any]:
            stack.close()
            name = next(names)
            if kind == "memory":
                return MemoryStore(CODEC)
            if kind == "sqlite":
                return stack.enter_context(SqliteStore(tmp_path / name, CODEC))
            return stack.enter_context(PostgresStore(dsn, codec=CODEC, schema=name))

        yield make
