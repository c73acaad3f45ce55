"""Real outages of Postgres: see tests/contracts; and of the REST example on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventsrc import View, world
from eventsrc.errors import StoreBusy
from eventsrc.following.follow import _Follower
from eventsrc.postgres import PostgresListener, PostgresStore, PostgresViews
from eventsrc.testing.postgres import PostgresServer
from examples.identity import rest as application
from examples.identity.views import VIEWS
from tests.contracts.outages import check_lives_through, until
from tests.examples.test_rest import asking, serving
from tests.kits.library import CODEC, Noted, books
from tests.kits.views import Kit

TIMEOUT = 1.0
LONG = 2.5


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@contextlib.contextmanager
def stopped(server: PostgresServer, _: str) -> Iterator[None]:
    server.stop_immediately()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def dropped(_: PostgresServer, dsn: str) -> Iterator[None]:
    """A table of the store is away, as while it is restored."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("ALTER TABLE eventsrc.event RENAME TO elsewhere")
    yield
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("ALTER TABLE eventsrc.elsewhere RENAME TO event")


def check(
    server: PostgresServer, outage: Any, caplog: pytest.LogCaptureFixture, **options: Any
) -> None:
    dsn = server.create_database()
    kit = Kit(dsn)
    view: View[Any] = kit.notes()
    with (
        PostgresStore(dsn, codec=CODEC, timeout=TIMEOUT) as store,
        PostgresViews(dsn, [view], timeout=TIMEOUT) as views,
        PostgresListener(dsn, timeout=TIMEOUT) as listener,
    ):
        numbers = iter(range(9))

        def applied() -> int:
            rows = kit.rows(views, view)
            return len(",".join(rows.values()).split(",")) if rows else 0

        check_lives_through(
            store | views | listener | world,
            view,
            lambda: store.run(books[1].append(Noted(next(numbers)))),
            applied,
            outage(server, dsn),
            caplog,
            long=LONG,
            **options,
        )


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("owner", [None, "me"])
@pytest.mark.parametrize("outage", [stopped, dropped])
def test_a_follower_lives_through_it(
    own_server: PostgresServer,
    outage: Any,
    owner: str | None,
    is_async: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if owner is not None and is_async:
        pytest.skip("sharing is the same in both")
    check(own_server, outage, caplog, is_async=is_async, owner=owner)


@pytest.fixture
def outlives_busy_stores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that takes each other error for one that no waiting mends."""
    survive = _Follower.survive

    def busy_alone(follower: Any, error: Any) -> Any:
        if not isinstance(error, StoreBusy):
            raise error
        yield from survive(follower, error)

    monkeypatch.setattr(_Follower, "survive", busy_alone)


@pytest.mark.usefixtures("outlives_busy_stores_alone")
def test_control_a_follower_that_outlives_busy_stores_alone_is_caught(
    own_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError):
        check(own_server, stopped, caplog, is_async=False)


def test_the_rest_example_serves_again_without_a_restart(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_serves_again(own_server, monkeypatch, 20)


@pytest.mark.usefixtures("outlives_busy_stores_alone")
def test_control_a_rest_example_whose_followers_have_ended_is_caught(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((AssertionError, OSError, HTTPException, pytest.fail.Exception)):
        check_serves_again(own_server, monkeypatch, 3)


def check_serves_again(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Fails unless the service stores and finds users within so many seconds after an outage."""
    dsn = own_server.create_database()

    @contextlib.contextmanager
    def opened(_where: str, _views: object) -> Iterator[tuple[Any, Any]]:
        with (
            PostgresStore(dsn, timeout=TIMEOUT) as store,
            PostgresViews(dsn, VIEWS, timeout=TIMEOUT) as views,
        ):
            yield store, views

    monkeypatch.setattr(application, "opened", opened)
    with serving(Path("of postgres")) as address:
        with asking(address) as ask:
            assert ask("POST", "/users", {"name": "Homer"}).status == 201
        with stopped(own_server, dsn), asking(address) as ask:
            threading.Event().wait(LONG)
            assert ask("POST", "/users", {"name": "Marge"}).status == 503
        with asking(address) as ask:

            def works(method: str, *rest: Any) -> Callable[[], bool]:
                return lambda: ask(method, *rest).status < 300

            until(works("POST", "/users", {"name": "Bart"}), "it stores", seconds)

            def finds() -> bool:
                told = ask("GET", "/users?search=Bart")
                return told.status == 200 and [user["name"] for user in told.body] == ["Bart"]

            until(finds, "its views follow", seconds)
