"""The tests in here run on each version of Postgres that is asked for.

EVENTSRC_TEST_POSTGRES_MAJORS is `all`, for every version found, or versions such as `16,18`. A
PgBouncer that is not on the path is named in EVENTSRC_TEST_PGBOUNCER.
"""

from __future__ import annotations

import os

import pytest

from eventsrc.testing.postgres import PostgresServer, available
from tests.faults.conftest import figure, pytest_terminal_summary
from tests.kits.postgres import Servers

__all__ = ["figure", "pytest_terminal_summary"]


def _majors() -> list[int | None]:
    asked = os.environ.get("EVENTSRC_TEST_POSTGRES_MAJORS", "")
    if asked == "all":
        return [installed.major for installed in available()]
    return [int(major) for major in asked.split(",")] if asked else [None]


@pytest.fixture(scope="session", params=_majors(), ids=lambda major: f"postgres{major or ''}")
def postgres_server(request: pytest.FixtureRequest, postgres_servers: Servers) -> PostgresServer:
    """A server of a version that is asked for."""
    return postgres_servers.of(request.param)
