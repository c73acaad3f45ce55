"""Views in Postgres: exactly once, together with what their handlers write."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventsrc import (
    START,
    Append,
    Fold,
    MemoryStore,
    ReadFeed,
    Recorded,
    StreamId,
    Success,
    View,
    force,
    synchronise,
    world,
)
from eventsrc.events.codec import Codec
from eventsrc.events.positions import WrongStore
from eventsrc.following.synchroniser import deliver
from eventsrc.postgres.store import PostgresStore
from eventsrc.postgres.views import PostgresViews
from eventsrc.stores.operations import Lost, NotAStore, Unreachable
from eventsrc.views.operations import Apply, GetApplied, GetParked, GetProgress
from eventsrc.views.view import ViewError
from tests.kits.library import TYPES, Closed, Noted, books

Connection = psycopg.Connection[Any]


def notes_view(
    name: str = "notes",
    version: int = 1,
    prefix: str = "",
    failing: Literal["park", "stop"] = "park",
    partitions: int = 1,
) -> View[Connection]:
    """A view that appends each number to a text: an event applied twice or out of order shows."""
    view: View[Connection] = View(
        name, version=version, prefix=prefix, types=TYPES, failing=failing, partitions=partitions
    )

    @view.schema
    def create(db: Connection) -> None:
        db.execute("CREATE TABLE notes (stream text PRIMARY KEY, numbers text NOT NULL)")

    @view.on(Noted)
    def noted(db: Connection, event: Recorded[Noted]) -> None:
        db.execute(
            "INSERT INTO notes AS old VALUES (%s, %s) ON CONFLICT (stream) DO UPDATE "
            "SET numbers = old.numbers || ',' || excluded.numbers",
            (str(event.stream), str(event.data.number)),
        )

    return view


@pytest.fixture
def views(postgres_dsn: str) -> Iterator[PostgresViews]:
    with PostgresViews(postgres_dsn, [notes_view()]) as views:
        yield views


def rows_of(views: PostgresViews) -> dict[str, str]:
    with views.reading(notes_view()) as db:
        return dict(db.execute("SELECT stream, numbers FROM notes").fetchall())


def filled(*counts: int) -> MemoryStore:
    """A store with a stream of so many notes for each count, appended in turn."""
    store = MemoryStore(Codec(TYPES))
    for number in range(max(counts)):
        for book, count in enumerate(counts):
            if number < count:
                store.run(books[book].append(Noted(number)))
    return store


def wanted(*counts: int) -> dict[str, str]:
    texts = {book: ",".join(map(str, range(count))) for book, count in enumerate(counts)}
    return {books[book].id: text for book, text in texts.items() if text}


def test_a_view_is_what_folding_the_feed_gives(views: PostgresViews) -> None:
    app = filled(5, 3, 1) | views
    assert app.run(synchronise(notes_view())).applied == 9
    assert rows_of(views) == wanted(5, 3, 1)
    assert app.run(synchronise(notes_view())).applied == 0


def test_what_is_delivered_twice_and_out_of_order_is_applied_once_and_in_order(
    views: PostgresViews,
) -> None:
    store = filled(4, 4)
    events = store.run(ReadFeed()).events
    (store | views).run(deliver(notes_view(), [*events[::-1], *events]))
    assert rows_of(views) == wanted(4, 4)


def test_synchronisers_at_once_apply_each_event_once(postgres_dsn: str, views: PostgresViews) -> None:
    store = filled(1000, 500)
    errors: list[BaseException] = []

    def synchronise_it() -> None:
        try:
            with PostgresViews(postgres_dsn, timeout=60) as mine:
                (store | mine).run(synchronise(notes_view()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=synchronise_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert rows_of(views) == wanted(1000, 500)


def test_a_handler_that_raises_leaves_nothing_behind(postgres_dsn: str, views: PostgresViews) -> None:
    broken = notes_view(failing="stop")

    @broken.on(Closed)
    def closed(db: Connection, event: Recorded[Closed]) -> None:
        raise ValueError(event.data.why)

    store = filled(3)
    store.run(books[0].append(Closed("no reason")))
    with pytest.raises(ValueError, match="no reason") as caught:
        (store | views).run(synchronise(broken))
    assert "position 4" in caught.value.__notes__[0]
    assert rows_of(views) == {}
    assert views.run(GetProgress(broken)).cursor == START
    (store | views).run(synchronise(notes_view()))
    assert rows_of(views) == wanted(3)


def test_a_mistake_in_sql_is_the_users_own_error(views: PostgresViews) -> None:
    broken: View[Connection] = View("broken", types=TYPES, failing="stop")

    @broken.on(Noted)
    def noted(db: Connection, event: Recorded[Noted]) -> None:
        db.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
        (filled(1) | views).run(synchronise(broken))
    assert views.run(synchronise_nothing(notes_view())) == 0


def synchronise_nothing(view: View[Any]) -> Any:
    """A program that applies nothing."""
    return Apply(view, ()).map(lambda applied: applied.applied)


def test_a_view_is_forced_to_be_as_new_as_a_token(views: PostgresViews) -> None:
    store = filled(2, 2)
    token = store.run(books[1].append(Noted(2))).token
    app = store | views | world
    assert isinstance(app.run(force(notes_view(), token)), Success)
    assert rows_of(views) == {books[1].id: "0,1,2"}
    assert views.run(GetApplied(notes_view(), (books[0].id, books[1].id))) == {
        books[0].id: 0,
        books[1].id: 3,
    }


def test_a_view_is_not_moved_to_another_store(views: PostgresViews) -> None:
    (filled(1) | views).run(synchronise(notes_view()))
    with pytest.raises(WrongStore):
        (filled(2) | views).run(synchronise(notes_view()))


def test_store_and_views_may_share_a_database_and_an_event_loop(postgres_dsn: str) -> None:
    codec = Codec(TYPES)
    with PostgresStore(postgres_dsn, codec=codec) as store, PostgresViews(postgres_dsn) as views:
        store.run(Append(StreamId("books/0"), (Noted(0), Noted(1))))
        done = asyncio.run((store | views).run_async(synchronise(notes_view())))
        assert done.applied == 2
        assert rows_of(views) == wanted(2)
        assert store.run(books[0].get(Fold(0, lambda n, _: n + 1))).state == 2


def test_a_page_may_take_longer_than_a_statement(postgres_dsn: str) -> None:
    slow = notes_view()

    @slow.on(Closed)
    def closed(db: Connection, event: Recorded[Closed]) -> None:
        db.execute("SELECT pg_sleep(0.4)")

    store = filled(1)
    for _ in range(4):
        store.run(books[0].append(Closed("slowly")))
    with PostgresViews(postgres_dsn, [slow], timeout=0.8) as views:
        assert (store | views).run(synchronise(slow)).applied == 5


def test_a_handler_may_compute_for_longer_than_a_statement_may_take(postgres_dsn: str) -> None:
    slow = notes_view()

    @slow.on(Closed)
    def closed(db: Connection, event: Recorded[Closed]) -> None:
        time.sleep(0.6)
        db.execute("SELECT 1")

    store = filled(1)
    store.run(books[0].append(Closed("slowly")))
    with PostgresViews(postgres_dsn, [slow], timeout=0.3) as views:
        done = (store | views).run(synchronise(slow))
        assert (done.applied, done.parked) == (2, ())
        with views.reading(slow) as db:
            time.sleep(0.6)
            assert db.execute("SELECT count(*) FROM notes").fetchone() == (1,)


def test_a_transaction_that_the_server_ends_is_not_the_fault_of_an_event(
    postgres_dsn: str, views: PostgresViews
) -> None:
    slow = notes_view()

    @slow.on(Closed)
    def closed(db: Connection, event: Recorded[Closed]) -> None:
        db.execute("SET idle_in_transaction_session_timeout = 100")
        time.sleep(0.4)
        db.execute("SELECT 1")

    store = filled(1)
    store.run(books[0].append(Closed("too slowly")))
    with pytest.raises(Lost):
        (store | views).run(synchronise(slow))
    assert views.run(GetParked(slow)) == ()


def test_a_view_that_was_never_made_cannot_be_read(views: PostgresViews) -> None:
    with (
        pytest.raises(ViewError, match="never made: synchronise it"),
        views.reading(notes_view(), notes_view("other")),
    ):
        pass


def test_the_path_of_a_user_may_be_empty(postgres_dsn: str) -> None:
    empty = make_conninfo(postgres_dsn, options="-c search_path=")
    with PostgresViews(empty, [notes_view()]) as views:
        (filled(2) | views).run(synchronise(notes_view()))
        assert rows_of(views) == wanted(2)


def test_what_may_only_be_read_cannot_be_written(views: PostgresViews) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), views.reading(notes_view()) as db:
        db.execute("DELETE FROM notes")


def test_views_of_a_newer_library_are_refused(postgres_dsn: str) -> None:
    PostgresViews(postgres_dsn).close()
    with psycopg.connect(postgres_dsn) as db:
        db.execute("UPDATE eventsrc_views.eventsrc_applied SET scripts = 9")
    with pytest.raises(NotAStore, match="version 9"):
        PostgresViews(postgres_dsn)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="connect"):
        PostgresViews("host=/nowhere dbname=nothing", timeout=0.2)


@pytest.mark.parametrize("said", ["in the address", "in PGOPTIONS"])
def test_what_users_say_of_their_sessions_is_kept(
    said: str, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres_dsn) as db:
        db.execute("CREATE SCHEMA shop")
    options = "-c search_path=shop"
    if said == "in PGOPTIONS":
        monkeypatch.setenv("PGOPTIONS", options)
    else:
        postgres_dsn = make_conninfo(postgres_dsn, options=options)
    with (
        PostgresViews(postgres_dsn, [notes_view()], timeout=7) as views,
        views.reading(notes_view()) as db,
    ):
        assert db.execute("SHOW search_path").fetchone() == ('"eventsrc_views_notes_1", shop',)
        assert db.execute("SHOW statement_timeout").fetchone() == ("7s",), "and ours are kept too"
