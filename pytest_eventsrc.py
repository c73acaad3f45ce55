"""The pytest plugin of eventsrc: fixtures, and `--eventsrc-seed`.

It is a module beside the package, so that pytest can load it without importing the package: test runs
that do not use it pay nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eventsrc import MemoryStore
    from eventsrc.testing import SimulatedStore
    from eventsrc.testing.postgres import PostgresServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--eventsrc-seed`."""
    parser.getgroup("eventsrc").addoption(
        "--eventsrc-seed",
        default="0",
        metavar="N",
        help="the seed of what is drawn by chance (fixture eventsrc_seed): a number, or `random`",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Reads the seed. Raises UsageError if it is none."""
    given = str(config.getoption("--eventsrc-seed"))
    if given == "random":
        config.option.eventsrc_seed = str(secrets.randbelow(2**32))
    elif not given.isdecimal():
        raise pytest.UsageError(f"--eventsrc-seed={given}: give a number, or `random`")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Names the seed, if it is not the usual one."""
    seed = config.getoption("--eventsrc-seed")
    return None if seed == "0" else f"eventsrc: --eventsrc-seed={seed}"


@pytest.fixture
def eventsrc_seed(request: pytest.FixtureRequest) -> int:
    """The seed that was given, for `Scenario.sample(seed=...)`."""
    return int(str(request.config.getoption("--eventsrc-seed")))


@pytest.fixture
def eventsrc_store() -> MemoryStore:
    """An empty memory store."""
    from eventsrc import MemoryStore

    return MemoryStore()


@pytest.fixture
def eventsrc_simulated_store() -> SimulatedStore:
    """An empty store with nothing left to chance."""
    from eventsrc.testing import SimulatedStore

    return SimulatedStore()


@pytest.fixture(scope="session")
def eventsrc_postgres_server() -> Iterator[PostgresServer]:
    """A Postgres for all tests of a run; it does not wait for the disk. Skips where there is none."""
    from eventsrc.testing.postgres import FAST, NoPostgres, PostgresServer

    server = PostgresServer(settings=FAST)
    try:
        server.start()
    except NoPostgres as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def eventsrc_postgres(eventsrc_postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database, which is dropped after the test."""
    dsn = eventsrc_postgres_server.create_database()
    yield dsn
    eventsrc_postgres_server.drop_database(dsn)
