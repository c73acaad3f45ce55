"""Views of a store that was restored: those that have applied what was lost are to be rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from eventsrc import (
    Append,
    MemoryStore,
    Read,
    SqliteViews,
    StreamId,
    Success,
    Token,
    View,
    force,
    rebuild,
    synchronise,
    world,
)
from eventsrc.events.epochs import WrongEpoch
from eventsrc.postgres import PostgresViews
from eventsrc.stores.epochs import restored
from eventsrc.testing._contract.samples import Noted
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import GetApplied, GetProgress

A, B = StreamId("notes/a"), StreamId("notes/b")


def counting(name: str = "counting") -> View[Any]:
    view: View[Any] = View(name, version=1, prefix="notes/")
    view.on(Noted)(lambda _db, _event: None)
    return view


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def views(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryViews()
    elif request.param == "sqlite":
        with SqliteViews.temporary() as opened:
            yield opened
    else:
        with PostgresViews(request.getfixturevalue("postgres_dsn")) as opened:
            yield opened


def store_of(*streams: StreamId) -> MemoryStore:
    """A store with the same id and time each time, as the copies of a backup have."""
    store = MemoryStore(store_id="it", clock=lambda: 1_700_000_000.0)
    for stream in streams:
        store.run(Append(stream, (Noted("x"),)))
    return store


def test_a_view_that_saw_no_more_than_was_saved_goes_on(views: Any) -> None:
    view, store = counting(), store_of(A, B)
    (store | views).run(synchronise(view))
    store.run(restored())
    for _ in range(3):
        store.run(Append(A, (Noted("y"),)))
        done = (store | views).run(synchronise(view))
        assert (done.applied, done.lag) == (1, 0)
    assert views.run(GetProgress(view)).cursor == done.end
    store.run(restored())
    assert (store | views).run(synchronise(view)).applied == 0


def test_a_view_that_saw_what_was_lost_says_that_it_must_be_rebuilt(views: Any) -> None:
    view = counting()
    (store_of(A, A, A) | views).run(synchronise(view))
    store = store_of(A, A)
    store.run(restored())
    for _ in range(3):
        store.run(Append(B, (Noted("another"),)))
    token = store.run(Read(A)).token
    for program in (synchronise(view), force(view, token)):
        with pytest.raises(WrongEpoch, match=r"View\(.*rebuild"):
            (store | views | world).run(program)
    anew = counting("anew")
    assert (store | views).run(synchronise(anew)).applied == 5


def test_control_an_untold_store_leaves_the_view_with_what_was_lost(views: Any) -> None:
    view = counting()
    (store_of(A, A, A) | views).run(synchronise(view))
    store = store_of(A, A, B)
    (store | views).run(synchronise(view))
    assert views.run(GetApplied(view, (A, B))) == {A: 3, B: 0}, "where there are two, and one"


def test_a_view_that_was_forced_ahead_of_the_feed_has_seen_what_was_lost_too(views: Any) -> None:
    view = counting()
    before = store_of(B, B, A)
    (before | views | world).run(force(view, before.run(Read(A)).token))
    store = store_of(B, B)
    store.run(restored())
    store.run(Append(A, (Noted("another"),)))
    for program in (synchronise(view), force(view, store.run(Read(A)).token)):
        with pytest.raises(WrongEpoch, match="position 3"):
            (store | views | world).run(program)


def test_a_view_is_forced_in_a_new_epoch_by_what_was_saved_and_by_what_is_new(views: Any) -> None:
    view, store = counting(), store_of(A)
    saved = store.run(Read(A)).token
    (store | views | world).run(force(view, saved))
    store.run(restored())
    store.run(Append(A, (Noted("y"),)))
    for token in (saved, store.run(Read(A)).token):
        match (store | views | world).run(force(view, token)):
            case Success(applied):
                assert applied.covers(token)
                assert applied.epoch == store.run(Read(A)).token.epoch
    lost = attrs.evolve(saved, versions={A: 2})
    with pytest.raises(WrongEpoch, match="version 2"):
        (store | views | world).run(force(view, lost))
    assert isinstance(lost, Token)


# --- restored, and nobody was told ----------------------------------------------------------------


def test_a_view_notices_that_its_store_was_restored_and_has_grown_past_it(views: Any) -> None:
    view, store = counting(), store_of(A, B, A)
    (store | views).run(synchronise(view))
    restored_store = store_of(A, B, B, A, A)
    applied = views.run(GetApplied(view, (A, B)))
    for _ in range(2):
        with pytest.raises(WrongEpoch, match=r"position 3 .*rebuild\(view, in_place=True\)"):
            (restored_store | views).run(synchronise(view))
    assert views.run(GetApplied(view, (A, B))) == applied
    app = restored_store | views | world
    assert app.run(rebuild(view, in_place=True)).unwrap().applied == 5
    restored_store.run(Append(A, (Noted("y"),)))
    assert app.run(synchronise(view)).applied == 1


def test_a_follower_whose_store_was_not_restored_goes_on_past_what_it_does_not_see(
    views: Any,
) -> None:
    view, store = counting(), store_of(A, B)
    for _ in range(3):
        (store | views).run(synchronise(view))
        store.run(Append(StreamId("other/c"), (Noted("z"),)))
        (store | views).run(synchronise(view))
        store.run(Append(B, (Noted("y"),)))
    assert (store | views).run(synchronise(view)).applied == 1


def test_control_without_the_checksum_of_the_last_event_the_restore_is_not_noticed(
    views: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsrc.following.synchroniser._check_last", lambda *_: iter(()))
    view = counting()
    (store_of(A, B, A) | views).run(synchronise(view))
    assert (store_of(A, B, B, A, A) | views).run(synchronise(view)).lag == 0
