"""A session reads its own writes, without code in the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from eventsrc import (
    Failure,
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    Query,
    SqliteViews,
    Success,
    Token,
    on,
    synchronise,
    world,
)
from eventsrc.events.positions import WrongStore
from eventsrc.following.session import NotNewEnough, Session
from eventsrc.streams.remembering import remembering
from eventsrc.views.operations import GoLive
from tests.kits.library import CODEC, Noted, books, filled, folded, notes_view, rows_of


class AllNotes(Query[dict[str, str]]):
    """What the view holds."""


VIEW = notes_view()


class Notes(Interpreter[AllNotes]):
    def __init__(self, views: SqliteViews) -> None:
        self.views = views

    @on(AllNotes)
    def all_notes(self, op: AllNotes) -> dict[str, str]:
        with self.views.reading(VIEW) as db:
            return rows_of(db)


@pytest.fixture
def views() -> Iterator[SqliteViews]:
    with SqliteViews.temporary([VIEW]) as made:
        yield made


def test_a_query_sees_what_was_written_in_the_session(views: SqliteViews) -> None:
    store, session = filled(2, 6), Session()
    noted = session.noting(store)
    app = noted | session.forcing(Notes(views), VIEW, using=store | views | world)
    assert app.run(AllNotes()) == {}, "nothing was written in it"
    app.run(books[1].append(Noted(9)))
    assert app.run(AllNotes()) == {"books/1": "1,3,5,9"}
    assert session.token is not None
    assert dict(session.token.versions) == {books[1].id: 4}


def test_asynchronously_it_does_so_too(views: SqliteViews) -> None:
    store, session = filled(2, 6), Session()
    app = session.noting(store) | session.forcing(Notes(views), VIEW, using=store | views | world)

    async def both() -> dict[str, str]:
        await app.run_async(books[0].append(Noted(9)))
        return await app.run_async(AllNotes())

    assert asyncio.run(both()) == {"books/0": "0,2,4,9"}


def test_control_without_a_session_a_query_sees_what_the_view_has(views: SqliteViews) -> None:
    store = filled(2, 6)
    app = store | Notes(views)
    app.run(books[1].append(Noted(9)))
    assert app.run(AllNotes()) == {}


def test_what_was_only_read_counts_where_that_is_asked_for(views: SqliteViews) -> None:
    store = filled(2, 6)
    for reads, wanted in ((False, {}), (True, {"books/1": "1,3,5"})):
        session = Session()
        noted = session.noting(store, reads=reads)
        app = noted | session.forcing(Notes(views), VIEW, using=store | views | world)
        app.run(books[1].read())
        assert app.run(AllNotes()) == wanted


def test_what_a_retry_finds_written_is_seen(views: SqliteViews) -> None:
    """The first answer was lost with its process, and so was its session."""
    store, session = filled(1, 2), Session()
    count: Fold[int, Any] = Fold(0, lambda so_far, _: so_far + 1)

    def decider(so_far: int) -> Outcome[list[Noted], str]:
        return Success([Noted(so_far)])

    note = books[0].decide(count, decider, append_id=uuid4())
    (store | world).run(note)
    app = session.noting(store) | world
    app |= session.forcing(Notes(views), VIEW, using=store | views | world)
    assert app.run(note).unwrap().version == 3
    assert app.run(AllNotes()) == folded(store)


@pytest.mark.parametrize(
    "around",
    [
        lambda session, store: session.noting(remembering(store), reads=True),
        lambda session, store: remembering(session.noting(store, reads=True)),
        lambda session, store: session.noting(store, reads=True),
    ],
)
def test_a_state_that_is_remembered_was_read_too(
    around: Callable[[Session, Interpreter[Any]], Interpreter[Any]],
) -> None:
    store, session = filled(1, 2), Session()
    app = around(session, store)
    count: Fold[int, Any] = Fold(0, lambda so_far, _: so_far + 1)
    for _ in range(2):
        assert app.run(books[0].get(count)).state == 2
        assert session.token == Token(store.store_id, {books[0].id: 2})


def test_a_version_that_was_read_was_seen() -> None:
    store, session = filled(1, 2), Session()
    session.noting(store, reads=True).run(books[0].head())
    assert session.token == Token(store.store_id, {books[0].id: 2})


def test_a_session_goes_on_with_the_token_of_another(views: SqliteViews) -> None:
    store, first = filled(1, 2), Session()
    first.noting(store).run(books[0].append(Noted(9)))
    second = Session(first.token)
    app = second.forcing(Notes(views), VIEW, using=store | views | world)
    assert app.run(AllNotes()) == folded(store)


def test_a_view_that_cannot_be_made_so_new_is_an_error(views: SqliteViews) -> None:
    store, broken = filled(1, 1), notes_view(version=2)

    @broken.schema
    def create(db: object) -> None:
        """It has no table, so that its handler fails."""

    (store | views).run(synchronise(broken))
    views.run(GoLive(broken))
    session = Session()
    app = session.noting(store) | session.forcing(Notes(views), broken, using=store | views | world)
    app.run(books[0].append(Noted(9)))
    with pytest.raises(NotNewEnough, match="parked: books/0") as late:
        app.run(AllNotes())
    assert late.value.stale.missing[books[0].id] == 2


def test_a_conflict_was_not_seen(views: SqliteViews) -> None:
    store, session = filled(1, 2), Session()
    assert isinstance(session.noting(store).run(books[0].append_at(0, Noted(9))), Failure)
    assert session.token is None


def test_tokens_of_two_stores_do_not_mix() -> None:
    session, store = Session(Token("elsewhere", {books[0].id: 1})), MemoryStore(CODEC)
    for _ in range(2):
        with pytest.raises(WrongStore):
            session.noting(store).run(books[0].append(Noted(1)))
    assert store.run(books[0].head()) == 0, "nothing was stored"


def test_a_query_asks_the_version_that_is_live(views: SqliteViews) -> None:
    store, session, new = filled(1, 2), Session(), notes_view(version=2)
    below = store | views | world
    app = session.noting(store) | session.forcing(Notes(views), VIEW, new, using=below)
    app.run(books[0].append(Noted(9)))
    assert app.run(AllNotes()) == folded(store)
    below.run(synchronise(new, 1))
    app.run(books[0].append(Noted(10)))
    views.run(GoLive(new))
    assert app.run(AllNotes()) == folded(store)
