"""Tests of what talks to AWS or NATS, on servers that run here: one of each for a process of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from eventsrc.testing.servers import NoServer, Server, ministack, nats, roto, skip
from tests.servers.tables import Tables

SORTS: dict[str, Callable[[], Server]] = {"ministack": ministack, "roto": roto}


def _server(name: str) -> Iterator[str]:
    try:
        if find_spec("boto3") is None:
            raise NoServer("boto3 is not installed: pip install 'eventsrc[test-servers]'")
        server = SORTS[name]()
    except NoServer as missing:
        skip(missing)
    with server:
        yield server.url


@pytest.fixture(scope="session")
def ministack_url() -> Iterator[str]:
    """Where ministack is, which is the more exact."""
    yield from _server("ministack")


@pytest.fixture(scope="session")
def roto_url() -> Iterator[str]:
    """Where roto is, which is the faster."""
    yield from _server("roto")


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """Where NATS is."""
    try:
        server = nats()
    except NoServer as missing:
        skip(missing, "nats")
    with server:
        yield server.url


@pytest.fixture(scope="session", params=SORTS)
def url(request: pytest.FixtureRequest) -> str:
    """Where each of the emulators is."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(scope="session")
def tables(url: str) -> Tables:
    """Tables on each of the emulators."""
    return Tables(url)


@pytest.fixture(scope="session")
def exact(ministack_url: str) -> Tables:
    """Tables on ministack."""
    return Tables(ministack_url)


@pytest.fixture(scope="session")
def quick(roto_url: str) -> Tables:
    """Tables on roto."""
    return Tables(roto_url)
