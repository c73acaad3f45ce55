"""Handlers in Postgres that end their transaction, leave it aborted, or fail where nobody looks.

Passed if that is the failure of the event at hand: its stream is parked, with the event and the view in
the error, all other events are applied once, and after a fix the parked one is too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from eventsrc import Recorded, View, synchronise
from eventsrc.following.parking import retry
from eventsrc.postgres import PostgresViews
from eventsrc.postgres.views import PostgresLedger
from eventsrc.views.operations import GetParked
from tests.views.library import TYPES, Noted, books, filled

Connection = psycopg.Connection[Any]

TABLES = """
    CREATE TABLE known (number int PRIMARY KEY);
    INSERT INTO known VALUES (0), (1), (2), (4), (5);
    CREATE TABLE row (
        number int PRIMARY KEY,
        other int REFERENCES known DEFERRABLE INITIALLY DEFERRED,
        once int UNIQUE DEFERRABLE INITIALLY DEFERRED,
        long text,
        words tsvector GENERATED ALWAYS AS (to_tsvector('english', long)) STORED
    );
    CREATE INDEX ON row (long)
"""
INSERT = "INSERT INTO row (number, other) VALUES (33, 1)"


def swallowed(db: Connection) -> None:
    with suppress(psycopg.Error):
        db.execute("INSERT INTO row VALUES (3)")


def too_late(_: Connection) -> None:
    raise TimeoutError("a service did not answer")


MEDDLING: dict[str, Callable[[Connection], object]] = {
    "COMMIT": lambda db: db.execute("COMMIT"),
    "commit()": lambda db: db.commit(),
    "COMMIT AND CHAIN": lambda db: db.execute(f"{INSERT}; COMMIT AND CHAIN"),
    "a script that commits": lambda db: db.execute(f"BEGIN; {INSERT}; COMMIT"),
    "ROLLBACK": lambda db: db.execute("ROLLBACK"),
    "rollback()": lambda db: db.rollback(),
    "ROLLBACK AND CHAIN": lambda db: db.execute("ROLLBACK AND CHAIN"),
    "an error that is swallowed": swallowed,
    "a foreign key, at commit": lambda db: db.execute("INSERT INTO row VALUES (33, 77)"),
    "a unique key, at commit": lambda db: db.execute("INSERT INTO row VALUES (33, 1, 5), (34, 1, 5)"),
    "the limit of an index": lambda db: db.execute(
        "INSERT INTO row (number, long) SELECT 33, string_agg(md5(n::text), '') "
        "FROM generate_series(1, 1000) AS n"
    ),
    "the limit of a tsvector": lambda db: db.execute(
        "INSERT INTO row (number, long) SELECT 33, string_agg(md5(n::text), ' ') "
        "FROM generate_series(1, 200000) AS n"
    ),
    "its own TimeoutError": too_late,
}


def rows(meddle: Callable[[Connection], object]) -> View[Connection]:
    """A view of a row for each event, whose handler meddles at number 3."""
    view: View[Connection] = View("rows", types=TYPES)

    @view.schema
    def create(db: Connection) -> None:
        db.execute(TABLES)

    @view.on(Noted)
    def noted(db: Connection, event: Recorded[Noted]) -> None:
        db.execute("INSERT INTO row (number) VALUES (%s)", (event.data.number,))
        if event.data.number == 3:
            meddle(db)

    return view


@pytest.fixture
def views(postgres_dsn: str) -> Iterator[PostgresViews]:
    with PostgresViews(postgres_dsn) as views:
        yield views


def numbers(views: PostgresViews, view: View[Connection]) -> list[int]:
    with views.reading(view) as db:
        return [number for (number,) in db.execute("SELECT number FROM row ORDER BY number")]


@pytest.mark.parametrize("how", MEDDLING)
def test_what_a_handler_does_to_its_transaction_is_the_failure_of_its_event(
    views: PostgresViews, how: str
) -> None:
    store, view = filled(2, 6), rows(MEDDLING[how])
    for _ in range(2):
        (store | views).run(synchronise(view))
    (parked,) = views.run(GetParked(view))
    assert (parked.stream, parked.version) == (books[1].id, 2)
    assert how == "its own TimeoutError" or len(parked.error) > 30
    assert numbers(views, view) == [0, 1, 2, 4]
    assert [each.stream for each in (store | views).run(retry(view))] == [books[1].id]
    assert numbers(views, view) == [0, 1, 2, 4]
    assert (store | views).run(retry(rows(lambda _: None))) == ()
    assert numbers(views, view) == [0, 1, 2, 3, 4, 5]


def test_control_a_handler_that_may_commit_is_caught(
    views: PostgresViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_begin_handling", "_end_handling", "check_handled"):
        monkeypatch.setattr(PostgresLedger, name, lambda _: None)
    with pytest.raises((AssertionError, ValueError)):
        test_what_a_handler_does_to_its_transaction_is_the_failure_of_its_event(
            views, "COMMIT AND CHAIN"
        )


class Unprintable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error",
    [ValueError("bad '\0'"), ValueError("half \ud800"), Unprintable(), ValueError("x" * 10**6)],
    ids=["a NUL", "half a letter", "no text", "a long one"],
)
def test_a_stream_is_parked_whatever_the_text_of_its_error_is(
    views: PostgresViews, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)  # what is captured goes through a pipe, as UTF-8

    def fail(_: Connection) -> None:
        raise error

    store, view = filled(2, 6), rows(fail)
    (store | views).run(synchronise(view))
    (parked,) = views.run(GetParked(view))
    assert parked.stream == books[1].id
    assert parked.error.startswith(type(error).__name__)
    assert len(parked.error) < 20_000
    assert numbers(views, view) == [0, 1, 2, 4]


def test_a_key_that_may_be_deferred_and_is_not_is_checked_at_once_also_after_a_failure(
    views: PostgresViews,
) -> None:
    view: View[Connection] = View("rows", types=TYPES)

    @view.schema
    def create(db: Connection) -> None:
        db.execute(
            "CREATE TABLE once (key int UNIQUE DEFERRABLE INITIALLY IMMEDIATE);"
            "CREATE TABLE row (number int, late int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )

    @view.on(Noted)
    def noted(db: Connection, event: Recorded[Noted]) -> None:
        if event.data.number == 1:
            raise ValueError
        with suppress(psycopg.errors.UniqueViolation), db.transaction():
            db.execute("INSERT INTO once VALUES (1)")
        db.execute("INSERT INTO row VALUES (%s, 7)", (event.data.number,))
        db.execute("UPDATE row SET late = number")  # what is checked late may be wrong for a while

    store = filled(2, 6)
    (store | views).run(synchronise(view))
    assert [each.stream for each in views.run(GetParked(view))] == [books[1].id]
    assert numbers(views, view) == [0, 2, 4]
