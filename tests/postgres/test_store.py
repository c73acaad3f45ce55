"""The Postgres store keeps the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from eventsrc.stores.postgres import PostgresStore
from eventsrc.testing import StoreContract


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, postgres_dsn: str) -> Iterator[PostgresStore]:
        with PostgresStore(postgres_dsn) as store:
            yield store

    @pytest.fixture
    def reopen(self, store: PostgresStore, postgres_dsn: str) -> Iterator[Callable[[], PostgresStore]]:
        with ExitStack() as opened:

            def reopen() -> PostgresStore:
                store.close()
                return opened.enter_context(PostgresStore(postgres_dsn))

            yield reopen
