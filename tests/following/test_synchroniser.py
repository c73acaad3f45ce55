"""The synchroniser brings views up to date: each event once, in order, whatever delivers it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from eventsrc import (
    START,
    Append,
    Failure,
    Fold,
    MemoryStore,
    ReadFeed,
    Recorded,
    SqliteStore,
    SqliteViews,
    StreamId,
    Success,
    Token,
    View,
    follow,
    force,
    on,
    synchronise,
    world,
)
from eventsrc.errors import UnknownEvent
from eventsrc.events.event import Opaque
from eventsrc.events.positions import BadToken, WrongStore
from eventsrc.following.synchroniser import GapRemains, Stale, deliver
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.operations import NotAStore
from eventsrc.views.guard import Gap
from eventsrc.views.operations import Applied, Apply, GetApplied, GetProgress
from eventsrc.views.view import ViewError
from tests.kits.library import (
    CODEC,
    TYPES,
    Closed,
    Noted,
    books,
    filled,
    folded,
    notes_view,
    other,
    rows_of,
)


@pytest.fixture
def views() -> Iterator[SqliteViews]:
    with SqliteViews.temporary() as made:
        yield made


def in_view(views: SqliteViews, version: int = 1) -> dict[str, str]:
    with views.reading(notes_view(version=version), live=False) as db:
        return rows_of(db)


# --- following the feed


def test_sqlite_utils_takes_the_names_of_streams_for_texts() -> None:
    view: View[Database] = View("streams", types=TYPES)

    @view.on(Noted)
    def noted(db: Database, event: Recorded[Noted]) -> None:
        db.table("streams").insert({"stream": event.stream}, pk="stream", replace=True)

    with SqliteViews.temporary([view]) as views:
        assert (filled(1, 2) | views).run(synchronise(view)).parked == ()
        with views.reading(view) as db:
            assert [row["stream"] for row in db.table("streams").rows] == [books[0].id]


def test_a_view_is_what_folding_the_feed_gives(views: SqliteViews) -> None:
    store, view = filled(7, 2500), notes_view()
    done = (store | views).run(synchronise(view))
    assert (done.applied, done.ignored, done.lag) == (2500, 0, 0)
    assert in_view(views) == folded(store)


def test_synchronising_again_applies_only_what_is_new(views: SqliteViews) -> None:
    store, view = filled(2, 10), notes_view()
    (store | views).run(synchronise(view))
    assert (store | views).run(synchronise(view)).applied == 0
    store.run(books[1].append(Noted(99)))
    assert (store | views).run(synchronise(view)).applied == 1
    assert in_view(views) == folded(store)


def test_progress_can_be_watched_page_by_page(views: SqliteViews) -> None:
    app, view = filled(3, 2500) | views, notes_view()
    lags = [app.run(synchronise(view, pages=1)).lag for _ in range(3)]
    assert lags == [1500, 500, 0]


def test_a_view_with_a_prefix_sees_the_streams_below_it(views: SqliteViews) -> None:
    store, view = filled(2, 4), notes_view(prefix="books/")
    store.run(other.append(Noted(7)))
    (store | views).run(synchronise(view))
    assert in_view(views) == folded(store, "books/")
    assert "other" not in in_view(views)


def test_a_new_version_is_built_beside_the_old_one(views: SqliteViews) -> None:
    store, old, new = filled(2, 10), notes_view(version=1), notes_view(version=2)
    app = store | views
    app.run(synchronise(old))
    store.run(books[0].append(Noted(10)))
    app.run(synchronise(new))
    assert in_view(views, version=2) == folded(store)
    assert in_view(views, version=1) != in_view(views, version=2)


def test_a_view_can_be_queried_before_the_first_event() -> None:
    with SqliteViews.temporary([notes_view()]) as views:
        assert in_view(views) == {}


def test_views_survive_reopening(tmp_path: Path) -> None:
    store, view = filled(2, 10), notes_view()
    with SqliteViews(tmp_path / "views.db") as views:
        (store | views).run(synchronise(view))
    with SqliteViews(tmp_path / "views.db") as views:
        assert (store | views).run(synchronise(view)).applied == 0
        assert views.run(GetProgress(view)).applied == 10


def test_views_may_live_in_the_file_of_the_store(tmp_path: Path) -> None:
    view = notes_view()
    with SqliteStore(tmp_path / "all.db", CODEC) as store, SqliteViews(tmp_path / "all.db") as views:
        for number in range(5):
            store.run(books[1].append(Noted(number)))
        (store | views).run(synchronise(view))
        assert in_view(views) == folded(store)


def test_views_may_be_there_before_the_store(tmp_path: Path) -> None:
    view = notes_view()
    with SqliteViews(tmp_path / "all.db", [view]), SqliteStore(tmp_path / "all.db", CODEC) as store:
        assert store.run(books[1].append(Noted(1))).version == 1


def test_asynchronously_it_does_the_same(views: SqliteViews) -> None:
    store, view = filled(3, 1200), notes_view()
    done = asyncio.run((store | views).run_async(synchronise(view)))
    assert done.applied == 1200
    assert in_view(views) == folded(store)


def test_following_goes_on_until_it_is_cancelled(views: SqliteViews) -> None:
    store, view = filled(1, 3), notes_view()

    async def until_new_events_are_seen() -> None:
        app = store | views | world
        following = asyncio.create_task(app.run_async(follow(view, every=0.001)))
        store.run(books[5].append(Noted(5)))
        async with asyncio.timeout(10):
            while views.run(GetApplied(view, (books[5].id,)))[books[5].id] == 0:
                await asyncio.sleep(0.001)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    asyncio.run(until_new_events_are_seen())
    assert in_view(views) == folded(store)


# --- other deliveries


@given(st.data())
def test_any_delivery_of_all_events_gives_the_same_view(data: st.DataObject) -> None:
    store, view = filled(3, data.draw(st.integers(1, 20))), notes_view()
    feed = store.run(ReadFeed(limit=1000)).events
    delivered = data.draw(st.permutations(feed)) + data.draw(st.lists(st.sampled_from(feed)))
    with SqliteViews.temporary() as views:
        app = store | views
        while delivered:
            cut = data.draw(st.integers(1, len(delivered)))
            app.run(deliver(view, delivered[:cut]))
            delivered = delivered[cut:]
            if data.draw(st.booleans()):
                app.run(synchronise(view, pages=1))
        assert in_view(views) == folded(store)


def test_a_gap_is_filled_from_the_store(views: SqliteViews) -> None:
    store, view = filled(1, 2600), notes_view()
    last = store.run(ReadFeed(limit=10_000)).events[-1]
    done = (store | views).run(deliver(view, [last]))
    assert (done.applied, done.gaps) == (2600, ())
    assert in_view(views) == folded(store)


def test_events_that_are_not_of_the_store_are_refused(views: SqliteViews) -> None:
    elsewhere = filled(1, 5).run(ReadFeed()).events
    with pytest.raises(GapRemains, match="event 5 of books/0 was delivered"):
        (MemoryStore(CODEC) | views).run(deliver(notes_view(), elsewhere[4:]))


def test_two_synchronisers_at_once_apply_each_event_once(tmp_path: Path) -> None:
    store, view = filled(5, 4000), notes_view()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with SqliteViews(tmp_path / "views.db", durability="process", timeout=30) as views:
                (store | views).run(synchronise(view))
        except BaseException as error:
            errors.append(error)

    with SqliteViews(tmp_path / "views.db", [view]):
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not errors
    with SqliteViews(tmp_path / "views.db") as views:
        assert in_view(views) == folded(store)


def test_a_view_that_is_broken_off_anywhere_comes_out_right() -> None:
    """A handler that raises now and then stands for any failure between events."""
    chance = random.Random(4)
    store, view = filled(4, 60), notes_view()
    flaky: View[Database] = View("notes", types=TYPES, failing="stop")
    flaky.schema(view.create)

    @flaky.on(Noted)
    def noted(db: Database, event: Recorded[Noted]) -> None:
        view.apply(db, event)
        if chance.random() < 0.02:
            raise ConnectionError("broken off")

    with SqliteViews.temporary() as views:
        for _ in range(1000):
            try:
                (store | views).run(synchronise(flaky))
                break
            except ConnectionError:
                continue
        assert in_view(views) == folded(store)


# --- forcing


def test_forcing_applies_just_the_streams_of_the_token(views: SqliteViews) -> None:
    store, view = filled(2, 10), notes_view()
    token = store.run(books[1].append(Noted(10))).token
    outcome = (store | views | world).run(force(view, token))
    assert outcome == Success(Token(store.store_id, {books[1].id: 6}))
    assert in_view(views) == {"books/1": folded(store)["books/1"]}


def test_forcing_reads_as_many_pages_as_it_takes(views: SqliteViews) -> None:
    store, view = filled(1, 2300), notes_view()
    token = store.run(books[0].get(_nothing())).token
    (store | views | world).run(force(view, token))
    assert in_view(views) == folded(store)


def test_a_feed_that_comes_later_is_ignored_where_the_view_was_forced(views: SqliteViews) -> None:
    store, view = filled(2, 10), notes_view()
    app = store | views | world
    app.run(force(view, store.run(books[1].get(_nothing())).token))
    assert app.run(synchronise(view)).ignored == 5
    assert in_view(views) == folded(store)


def test_a_view_that_does_not_become_new_in_time_says_what_is_missing(views: SqliteViews) -> None:
    store, view = filled(1, 2300), notes_view()
    token = store.run(books[0].get(_nothing())).token
    ticks = iter(range(1000))
    slow = on(Elapsed).run(lambda _: float(next(ticks))) | on(Sleep).always(None)
    outcome = (store | views | slow).run(force(view, token, within=1.0))
    assert outcome == Failure(Stale(view, token))


def test_a_token_of_another_store_is_refused(views: SqliteViews) -> None:
    token = filled(1, 5).run(books[0].get(_nothing())).token
    with pytest.raises(WrongStore, match="the token is of store"):
        (filled(1, 5) | views | world).run(force(notes_view(), token))


def test_a_token_of_another_store_is_refused_by_a_view_that_is_new_enough(views: SqliteViews) -> None:
    store, view = filled(1, 5), notes_view()
    (store | views).run(synchronise(view))
    app = store | views | world
    with pytest.raises(WrongStore, match="the token is of store"):
        app.run(force(view, Token("elsewhere", {books[0].id: 5})))


@pytest.mark.parametrize("streams", [{}, {other.id: 9}])
def test_a_token_of_another_store_is_refused_whatever_streams_it_names(
    views: SqliteViews, streams: dict[StreamId, int]
) -> None:
    view = notes_view(prefix="books/")
    app = filled(2, 6) | views | world
    with pytest.raises(WrongStore, match="elsewhere"):
        app.run(force(view, Token("elsewhere", streams)))
    assert app.run(GetProgress(view)).applied == 0


def test_a_token_that_names_nothing_of_a_view_is_no_demand_on_it(views: SqliteViews) -> None:
    store = filled(2, 6)
    token = Token(store.store_id, {other.id: 9})
    done = (store | views | world).run(force(notes_view(prefix="books/"), token))
    assert done == Success(Token(store.store_id, {}))


@pytest.mark.parametrize("token", ["abc", None, START])
def test_what_is_no_token_is_refused(views: SqliteViews, token: Any) -> None:
    with pytest.raises(TypeError, match="is no token: give what a write or a read answers"):
        (filled(2, 6) | views | world).run(force(notes_view(), token))


def test_a_token_that_is_ahead_of_the_store_is_refused_at_once(views: SqliteViews) -> None:
    store = filled(1, 5)
    app = store | views | world
    with pytest.raises(BadToken, match="version 9 of books/0, which is at 5"):
        app.run(force(notes_view(), Token(store.store_id, {StreamId("books/0"): 9})))


def test_a_view_is_not_moved_to_another_store(views: SqliteViews) -> None:
    view = notes_view()
    (filled(1, 5) | views).run(synchronise(view))
    with pytest.raises(WrongStore):
        (filled(1, 5) | views).run(synchronise(view))


# --- handlers


def test_a_handler_that_raises_leaves_the_view_as_it_was_and_says_where() -> None:
    store = filled(1, 3)
    view = notes_view(failing="stop")

    @view.on(Closed)
    def closed(db: Database, event: Recorded[Closed]) -> None:
        raise ZeroDivisionError("a bug")

    store.run(books[0].append(Closed("tired")))
    with SqliteViews.temporary([view]) as views:
        with pytest.raises(ZeroDivisionError) as raised:
            (store | views).run(synchronise(view))
        assert "View('notes', version=1)" in raised.value.__notes__[0]
        assert "books/0@4" in raised.value.__notes__[0]
        assert in_view(views) == {}
        assert views.run(GetProgress(view)).applied == 0


def test_an_event_of_a_newer_version_fails_in_a_view_that_wants_it(views: SqliteViews) -> None:
    store = MemoryStore(CODEC)
    store.run(Append(StreamId("books/1"), (Opaque("test.view.noted", 2, "json", b'{"number":1}'),)))
    with pytest.raises(UnknownEvent, match="stored in version 2"):
        (store | views).run(synchronise(notes_view(failing="stop")))


def test_an_event_of_an_unknown_type_passes_by_a_view_without_a_handler_for_it(
    views: SqliteViews,
) -> None:
    store = filled(1, 2)
    store.run(Append(StreamId("books/1"), (Opaque("test.view.never-heard-of", 1, "json", b"{}"),)))
    assert (store | views).run(synchronise(notes_view())).lag == 0


def test_a_view_may_skip_what_it_cannot_decode(views: SqliteViews) -> None:
    store = filled(1, 2)
    store.run(Append(StreamId("books/0"), (Opaque("test.view.noted", 2, "json", b'{"number":1}'),)))
    view = notes_view()
    tolerant: View[Database] = View("notes", types=TYPES, unknown="skip")
    tolerant.schema(view.create)
    tolerant.on(Noted)(view.apply)
    (store | views).run(synchronise(tolerant))
    assert in_view(views) == {"books/0": "0,1"}


def test_a_handler_of_opaque_events_gets_what_cannot_be_decoded(views: SqliteViews) -> None:
    store = filled(1, 2)
    store.run(Append(StreamId("x"), (Opaque("test.view.never-heard-of", 1, "json", b"[1]"),)))
    view = notes_view()
    seen: list[Opaque] = []

    @view.on(Opaque)
    def opaque(db: Database, event: Recorded[Opaque]) -> None:
        seen.append(event.opaque())

    (store | views).run(synchronise(view))
    assert seen == [Opaque("test.view.never-heard-of", 1, "json", b"[1]")]


def test_two_handlers_for_one_event_are_refused() -> None:
    view = notes_view()
    with pytest.raises(ViewError, match="handles Noted already"):
        view.on(Noted)(view.apply)


def test_views_of_a_newer_library_are_refused(tmp_path: Path) -> None:
    view = notes_view()
    with SqliteViews(tmp_path / "views.db", [view]) as views:
        paths = {"view": views.path(view), "views": tmp_path / "views.db"}
    for part, path in paths.items():
        database = Database(path)
        database.execute("UPDATE eventsrc_schema SET applied = 9")
        database.close()
        with pytest.raises(NotAStore, match=f"version 9 of the {part}"):
            SqliteViews(tmp_path / "views.db", [view])


def test_applying_is_one_transaction_with_the_progress(views: SqliteViews) -> None:
    store, view = filled(1, 3), notes_view()
    page = store.run(ReadFeed())
    views.run(Apply(view, page.events, page.next))
    assert views.run(GetProgress(view)).cursor == page.next
    assert views.run(GetApplied(view, (books[0].id,))) == {books[0].id: 3}


def _nothing() -> Fold[int, Noted | Closed]:
    return Fold(0, lambda count, _: count + 1)


def test_a_view_that_does_not_keep_what_it_applied_is_given_up(views: SqliteViews) -> None:
    store = filled(1, 3)
    late = store.run(ReadFeed()).events[2:]

    def forget(op: Apply) -> Applied:
        return Applied(0, 0, (Gap(books[0].id, 0, 3),))

    app = (store | views).but(on(Apply).run(forget))
    with pytest.raises(GapRemains, match="is not kept"):
        app.run(deliver(notes_view(), late))
