"""Handlers of views in SQLite cannot end the transaction in which the view's progress is committed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from sqlite_utils import Database

from eventsrc import Recorded, SqliteViews, View, synchronise
from eventsrc.following.parking import retry
from eventsrc.following.synchroniser import deliver
from eventsrc.views.operations import GetApplied, GetParked, GetProgress
from eventsrc.views.view import BadHandler, ViewError
from tests.kits.library import TYPES, Noted, books, filled

INSERT = "INSERT INTO row (number) VALUES (?)"


def with_connection(db: Database) -> None:
    with db.conn:
        db.execute(INSERT, (-1,))


def swallowed(db: Database) -> None:
    with suppress(Exception):
        db.conn.commit()


def trigger(db: Database) -> None:
    with suppress(Exception):
        db.execute("INSERT OR ROLLBACK INTO row (id, number) VALUES (1, 1), (1, 1)")


MEDDLING: dict[str, Callable[[Database], object]] = {
    "conn.commit()": lambda db: db.conn.commit(),
    "conn.rollback()": lambda db: db.conn.rollback(),
    "with conn": with_connection,
    "executescript()": lambda db: db.conn.executescript("SELECT 1"),
    "COMMIT": lambda db: db.conn.execute("COMMIT"),
    "ROLLBACK": lambda db: db.conn.execute("ROLLBACK"),
    "END": lambda db: db.conn.execute("end transaction"),
    "swallowed": swallowed,
    "OR ROLLBACK": trigger,
}


def rows(meddle: Callable[[Database], object], failing: Literal["park", "stop"]) -> View[Database]:
    """A view of a row for each event, whose handler meddles at number 3."""
    view: View[Database] = View("rows", types=TYPES, failing=failing)

    @view.schema
    def create(db: Database) -> None:
        db.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, number INTEGER)")

    @view.on(Noted)
    def noted(db: Database, event: Recorded[Noted]) -> None:
        db.execute(INSERT, (event.data.number,))
        if event.data.number == 3:
            meddle(db)

    return view


@pytest.mark.parametrize("how", MEDDLING)
def test_a_handler_that_ends_the_transaction_stops_a_view_that_stops(tmp_path: Path, how: str) -> None:
    store = filled(2, 6)
    view = rows(MEDDLING[how], "stop")
    with SqliteViews(tmp_path / "views.db", durability="process") as views:
        for delivering in (synchronise(view), deliver(view, []), synchronise(view)):
            with suppress(ViewError):
                (store | views).run(delivering)
        with pytest.raises(BadHandler, match=r"db\.atomic\(\)") as caught:
            (store | views).run(synchronise(view))
        assert "View('rows', version=1) applied <books/1@2" in caught.value.__notes__[0]
        assert views.run(GetProgress(view)).applied == 0
        assert views.run(GetApplied(view, (books[0].id,))) == {books[0].id: 0}
        assert views.run(GetParked(view)) == ()
        fixed = rows(lambda _: None, "stop")
        (store | views).run(synchronise(fixed))
        with views.reading(fixed) as db:
            numbers = [row["number"] for row in db.query("SELECT number FROM row ORDER BY id")]
        assert numbers == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("how", MEDDLING)
def test_a_handler_that_ends_the_transaction_fails_at_its_event_and_stops_no_other(
    tmp_path: Path, how: str
) -> None:
    store = filled(2, 6)
    view = rows(MEDDLING[how], "park")
    with SqliteViews(tmp_path / "views.db", durability="process") as views:
        for _ in range(2):
            (store | views).run(synchronise(view))
        (parked,) = views.run(GetParked(view))
        assert (parked.stream, parked.version) == (books[1].id, 2)
        assert "db.atomic()" in parked.error
        assert "View('rows', version=1) applied <books/1@2" in parked.error
        assert [each.stream for each in (store | views).run(retry(view))] == [books[1].id]
        fixed = rows(lambda _: None, "park")
        with views.reading(fixed) as db:
            assert [row["number"] for row in db.query("SELECT number FROM row")] == [0, 1, 2, 4]
        assert (store | views).run(retry(fixed)) == ()
        with views.reading(fixed) as db:
            numbers = [row["number"] for row in db.query("SELECT number FROM row ORDER BY number")]
        assert numbers == [0, 1, 2, 3, 4, 5]


def test_a_schema_that_commits_is_refused(tmp_path: Path) -> None:
    view: View[Database] = View("rows", types=TYPES)
    view.schema(lambda db: db.conn.commit())
    with pytest.raises(ViewError, match=r"db\.atomic\(\)"):
        SqliteViews(tmp_path / "views.db", [view], durability="process")


def test_what_a_handler_does_atomically_is_undone_by_itself() -> None:
    store = filled(2, 6)

    def atomic(db: Database) -> None:
        with suppress(ZeroDivisionError), db.atomic():
            db.execute(INSERT, (-1,))
            raise ZeroDivisionError
        with db.atomic():
            db.execute(INSERT, (33,))

    view = rows(atomic, "park")
    with SqliteViews.temporary([view]) as views:
        (store | views).run(synchronise(view))
        assert (store | views).run(retry(view)) == ()
        with views.reading(view) as db:
            numbers = [row["number"] for row in db.query("SELECT number FROM row ORDER BY id")]
        assert numbers == [0, 1, 2, 3, 33, 4, 5]
