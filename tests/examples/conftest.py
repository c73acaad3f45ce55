"""The examples run on Postgres too: on a private server of the preferred version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventsrc.testing.postgres import ADDRESS, FAST, NoPostgres, PostgresServer, available
from tests.postgres.databases import Databases


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server that is started for the first test that asks for it."""
    server = PostgresServer(settings={} if os.environ.get(ADDRESS) else FAST)
    try:
        server.start()
    except NoPostgres as error:
        if available():
            raise
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.close()


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


@pytest.fixture(scope="session")
def shared_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of one database for many tests, which use schemas of their own."""
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


def own_schema(dsn: str) -> tuple[str, str]:
    """A new schema, and the address of the database with it as the place of new tables."""
    schema = f"s{uuid4().hex}"
    return schema, make_conninfo(dsn, options=f"-c search_path={schema}")


def url(dsn: str) -> str:
    """An address as users write it on a command line."""
    of = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(dsn).items()}
    return f"postgresql://{of['user']}@/{of['dbname']}?host={of['host']}&port={of['port']}"
