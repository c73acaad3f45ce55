"""Postgres for tests: one server for all of a process, and an empty database for each that wants one.

A directory in EVENTSRC_TEST_POSTGRES_BIN adds its version to those found. Tests that stop or kill a
server start one of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from eventsrc.testing.postgres import ADDRESS, FAST, NoPostgres, PostgresServer, available
from tests.kits.databases import Databases


class Servers:
    """Servers for many tests, which none of them stops: they do not wait for the disk."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[int | None, PostgresServer] = {}

    def of(self, major: int | None) -> PostgresServer:
        """The server of a version, or of the preferred one; it skips the test if there is none."""
        if major not in self._started:
            settings = {} if os.environ.get(ADDRESS) else {**FAST, "max_prepared_transactions": "5"}
            server = PostgresServer(major, settings=settings)
            try:
                server.start()
            except NoPostgres as error:
                if major is not None or available():
                    raise
                pytest.skip(str(error))
            self._stack.callback(server.close)
            self._started[major] = server
        return self._started[major]


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Servers]:
    """Servers, each started for the first test that asks for it."""
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(scope="session")
def postgres_server(postgres_servers: Servers) -> PostgresServer:
    """A server of the preferred version."""
    return postgres_servers.of(None)


@pytest.fixture(scope="session")
def shared_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of one database for many tests, which use schemas of their own."""
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="session")
def databases(postgres_server: PostgresServer) -> Iterator[Databases]:
    """Databases that tests take one after the other."""
    with closing(Databases(postgres_server)) as databases:
        yield databases


@pytest.fixture
def postgres_dsn(databases: Databases) -> Iterator[str]:
    """The address of a database that is empty, and nobody else's."""
    dsn = databases.take()
    yield dsn
    databases.give_back(dsn)
