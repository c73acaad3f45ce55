"""Streams that are parked: how followers try them again, and how an event is skipped for good."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Append,
    AppendAll,
    Codec,
    MemoryStore,
    Read,
    ReadFeed,
    Recorded,
    StreamAppend,
    StreamId,
    View,
    event,
    follow,
    synchronise,
)
from eventsrc.events.event import EventTypes
from eventsrc.following import _retries
from eventsrc.following.parking import OPERATORS, EventSkipped, retry, skip
from eventsrc.stores.metadata import with_metadata
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import Apply, GetApplied, GetParked, Skip
from eventsrc.views.view import ViewError
from tests.contracts.upkeep import Clock, Enough
from tests.kits.library import CODEC, Noted, books, filled, folded
from tests.kits.views import Kit, Views


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    if request.param == "memory":
        return Kit("memory", MemoryViews())
    if request.param == "sqlite":
        return Kit(str(tmp_path / "app.db"))
    return Kit(request.getfixturevalue("postgres_dsn"))


def failing(*numbers: int) -> Any:
    """A handler that fails on some numbers, or on all."""

    def fail(_: Any, event: Recorded[Noted]) -> None:
        if not numbers or event.data.number in numbers:
            raise ValueError(f"cannot take {event.data.number}")

    return fail


def followed(store: Any, views: Views, view: View[Any], seconds: float, before: Any = None) -> None:
    """Follows a view for a while, by a clock of its own."""
    app = store | views | Clock(seconds).world
    with pytest.raises(Enough):
        (app if before is None else app.around(before)).run(follow(view))


class Busiest:
    """The most that was done between two looks at the feed: operations, and parked rows."""

    def __init__(self) -> None:
        self.operations = self.most = self.rows = self.attempts = 0

    def __call__(self, op: Any) -> Generator[Any, Any, Any]:
        if isinstance(op, ReadFeed):
            self.most = max(self.most, self.operations)
            self.operations = 0
        self.operations += 1
        answer = yield op
        if isinstance(op, GetParked):
            self.rows = max(self.rows, len(answer))
        self.attempts += isinstance(op, Apply) and op.parked_too
        return answer


def busiest(kit: Kit, views: Views, many: int, seconds: float = 120.0) -> Busiest:
    store, view = MemoryStore(CODEC), kit.notes(failing(), version=many)
    store.run(AppendAll(tuple(StreamAppend(books[n].id, (Noted(n),)) for n in range(many))))
    found = Busiest()
    followed(store, views, view, seconds, found)
    return found


def test_what_a_follower_does_between_two_looks_is_bounded_however_many_streams_are_parked(
    kit: Kit,
) -> None:
    with kit.open() as views:
        few, many = busiest(kit, views, 40), busiest(kit, views, 250)
    assert many.most <= few.most + 5 <= 6 * _retries.TRIED
    assert many.rows <= _retries.SEEN
    assert (few.attempts, many.attempts) == (40 * 4, 250 * 4)


def test_control_a_follower_that_tries_all_at_once_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retries, "TRIED", 10**9)
    kit = Kit("memory", MemoryViews())
    with kit.open() as views:
        few, many = busiest(kit, views, 40), busiest(kit, views, 250)
    assert many.most > few.most + 500


def test_sound_events_are_applied_between_the_retries_of_many(kit: Kit) -> None:
    store, view = filled(150, 150), kit.notes(failing(*range(150)))
    came = iter(range(200, 210))

    def before(op: Any) -> Any:
        if isinstance(op, ReadFeed) and (number := next(came, None)) is not None:
            store.run(books[number].append(Noted(number)))
        return op

    with kit.open(view) as views:
        followed(store, views, view, 2.0, before)
        assert set(kit.rows(views, view)) == {books[number].id for number in range(200, 210)}
        assert len(views.run(GetParked(view))) == 150


def test_all_that_others_parked_is_tried_in_time_also_where_it_is_more_than_a_look_shows(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retries, "SEEN", 7)
    store, view = filled(30, 60), kit.notes(failing())
    with kit.open(view) as views:
        (store | views).run(synchronise(view))
        followed(store, views, kit.notes(), 60.0)
        assert views.run(GetParked(view)) == ()
        assert kit.rows(views, view) == folded(store)


def test_parked_streams_are_listed_in_pages(kit: Kit) -> None:
    store, view = filled(5, 5), kit.notes(failing())
    with kit.open(view) as views:
        (store | views).run(synchronise(view))
        every = views.run(GetParked(view))
        pages, after = [], ""
        while page := views.run(GetParked(view, 2, after)):
            pages.append(page)
            after = page[-1].stream
        assert [len(page) for page in pages] == [2, 2, 1]
        assert [row for page in pages for row in page] == sorted(every, key=lambda row: row.stream)
        with pytest.raises(ValueError, match="limit of 0"):
            views.run(GetParked(view, 0))


# --- a rolling deploy -----------------------------------------------------------------------------

OLD, NEW = EventTypes(), EventTypes()


@event("test.parked.set", types=OLD)
class Old:
    value: int


@event("test.parked.set", version=2, upcast={1: lambda old: {**old, "unit": "m"}}, types=NEW)
class New:
    value: int
    unit: str


def of(kit: Kit, types: EventTypes, kind: type[Any]) -> View[Any]:
    view: View[Any] = View("deployed", types=types)

    @view.schema
    def create(db: Any) -> None:
        if not kit.is_memory:
            db.execute("CREATE TABLE note (stream TEXT PRIMARY KEY, numbers TEXT NOT NULL)")

    view.on(kind)(lambda db, event: kit.note(db, event.stream, str(event.data.value)))
    return view


def test_what_an_old_process_could_not_decode_is_tried_again_by_a_new_one(
    kit: Kit, tmp_path: Path
) -> None:
    from eventsrc import SqliteStore

    path, thing = tmp_path / "store.db", StreamId("things/1")
    before, after = of(kit, OLD, Old), of(kit, NEW, New)
    with (
        SqliteStore(path, Codec(OLD)) as old,
        SqliteStore(path, Codec(NEW)) as new,
        kit.open(before) as views,
    ):
        new.run(Append(thing, (New(1, "m"), New(2, "cm"))))
        followed(old, views, before, 300.0)
        (parked,) = views.run(GetParked(before))
        assert (parked.attempts, parked.is_undecodable) == (_retries.ATTEMPTS, True)
        followed(old, views, before, 300.0)  # another old process gives up as well
        followed(new, views, after, 5.0)
        assert views.run(GetParked(after)) == ()
        assert kit.rows(views, after) == {thing: "1,2"}


def test_what_a_handler_cannot_take_is_not_tried_again_by_every_process(kit: Kit) -> None:
    store, view = filled(1, 1), kit.notes(failing())
    with kit.open(view) as views:
        for _ in range(3):
            followed(store, views, view, 300.0)
        (parked,) = views.run(GetParked(view))
        assert (parked.attempts, parked.is_undecodable) == (_retries.ATTEMPTS, False)


# --- skipping -------------------------------------------------------------------------------------


def test_a_parked_event_is_skipped_for_a_reason_that_is_kept(kit: Kit) -> None:
    store, view = filled(2, 8), kit.notes(failing(2))
    with kit.open(view) as views:
        app = store | views
        app.run(synchronise(view))
        (parked,) = views.run(GetParked(view))
        assert app.run(with_metadata(skip(view, parked.stream, "a typo"), actor="homer")) == ()
        assert kit.rows(views, view) == {books[0].id: "0,4,6", books[1].id: "1,3,5,7"}
        assert views.run(GetApplied(view, (parked.stream,))) == {parked.stream: 4}
        (kept,) = store.run(Read(OPERATORS)).events
        place = "notes", 1, parked.stream, 2, "test.view.noted"
        assert kept.data == EventSkipped(*place, parked.error, "a typo")
        assert kept.metadata["actor"] == "homer"
        assert app.run(synchronise(view)).lag == 0
        store.run(books[0].append(Noted(9)))
        assert app.run(synchronise(view)).applied == 1


def test_a_stream_is_parked_again_by_an_event_after_the_one_that_was_skipped(kit: Kit) -> None:
    store, view = filled(1, 5), kit.notes(failing(1, 3))
    with kit.open(view) as views:
        app = store | views
        app.run(synchronise(view))
        (again,) = app.run(skip(view, books[0].id, "once"))
        assert (again.version, kit.rows(views, view)) == (4, {books[0].id: "0,2"})
        assert app.run(skip(view, books[0].id, "twice")) == ()
        assert kit.rows(views, view) == {books[0].id: "0,2,4"}
        assert store.run(Read(OPERATORS)).head == 2


def test_nothing_is_skipped_without_a_reason_or_where_nothing_is_parked(kit: Kit) -> None:
    store, view = filled(1, 2), kit.notes(failing(0))
    with kit.open(view) as views:
        app = store | views
        app.run(synchronise(view))
        with pytest.raises(ValueError, match="say why"):
            app.run(skip(view, books[0].id, "  "))
        with pytest.raises(ViewError, match="books/7 is not parked"):
            app.run(skip(view, books[7].id, "a typo"))
        assert store.run(Read(OPERATORS)).head == 0
        assert not views.run(Skip(view, books[0].id, 2))
        app.run(retry(kit.notes()))
        assert not views.run(Skip(view, books[0].id, 1))
        assert kit.rows(views, view) == folded(store)


def test_what_was_skipped_in_one_view_is_there_in_a_rebuilt_one(kit: Kit) -> None:
    store, view = filled(1, 2), kit.notes(failing(0))
    with kit.open(view) as views:
        app = store | views
        app.run(synchronise(view))
        app.run(skip(view, books[0].id, "broken"))
        fixed = kit.notes(version=2)
        app.run(synchronise(fixed))
        assert kit.rows(views, fixed, live=False) == {books[0].id: "0,1"}


def test_all_parked_streams_are_tried_again_at_once(kit: Kit) -> None:
    store, view = filled(120, 240), kit.notes(failing())
    with kit.open(view) as views:
        (store | views).run(synchronise(view))
        assert len(views.run(GetParked(view))) == 120
        assert (store | views).run(retry(kit.notes())) == ()
        assert kit.rows(views, view) == folded(store)
