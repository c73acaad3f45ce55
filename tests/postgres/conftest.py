"""A Postgres for the tests in here: one server for all of them, and an empty database for each.

EVENTSRC_TEST_POSTGRES_MAJORS is `all`, for every version found, or versions such as `16,18`; a
directory in EVENTSRC_TEST_POSTGRES_BIN adds its version to those found. Tests that stop or kill a
server start one of their own. A PgBouncer that is not on the path is named in EVENTSRC_TEST_PGBOUNCER.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from eventsrc.testing.postgres import ADDRESS, FAST, NoPostgres, PostgresServer, available
from tests.faults.conftest import figure, pytest_terminal_summary
from tests.postgres.databases import Databases

__all__ = ["figure", "pytest_terminal_summary"]


def _majors() -> list[int | None]:
    asked = os.environ.get("EVENTSRC_TEST_POSTGRES_MAJORS", "")
    if asked == "all":
        return [installed.major for installed in available()]
    return [int(major) for major in asked.split(",")] if asked else [None]


@pytest.fixture(scope="session", params=_majors(), ids=lambda major: f"postgres{major or ''}")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server for many tests, which none of them stops: it does not wait for the disk."""
    settings = {} if os.environ.get(ADDRESS) else {**FAST, "max_prepared_transactions": "5"}
    server = PostgresServer(request.param, settings=settings)
    try:
        server.start()
    except NoPostgres as error:
        if request.param is not None or available():
            raise
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.close()


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
