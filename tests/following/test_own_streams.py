"""Views and the library's own streams: seen by those that ask."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Append,
    Codec,
    MemoryStore,
    ReadFeed,
    Stream,
    StreamId,
    Streams,
    View,
    event,
    force,
    status,
    synchronise,
    world,
)
from eventsrc.events.event import EventTypeError, EventTypes, own_event
from eventsrc.events.stream_id import BadStreamId
from eventsrc.following.synchroniser import deliver
from eventsrc.streams.past import as_of
from eventsrc.testing._contract.samples import Kept, Noted
from eventsrc.views.memory import MemoryViews, Tables

OWN, OTHER = StreamId("eventsrc/test/1"), StreamId("users/1")


def seen_by(view: View[Tables], store: MemoryStore) -> Any:
    """The application that keeps the view."""
    return store | MemoryViews([view]) | world


def counting(name: str, **options: Any) -> tuple[View[Tables], Counter[str]]:
    """A view that counts the events that its handlers are given."""
    view: View[Tables] = View(name, **options)
    given: Counter[str] = Counter()
    view.on(Noted)(lambda _db, event: given.update([event.stream]))
    view.on(Kept)(lambda _db, event: given.update([event.stream]))
    return view, given


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {OTHER: 2}),
        ({"all_streams": True}, {OTHER: 2, OWN: 3}),
        ({"prefix": "eventsrc/"}, {OWN: 3}),
        ({"prefix": "users/", "all_streams": True}, {OTHER: 2}),
        ({"partitions": 3}, {OTHER: 2}),
    ],
)
def test_a_view_sees_the_librarys_own_streams_if_it_asks(
    options: dict[str, Any], wanted: dict[str, int]
) -> None:
    store = MemoryStore()
    store.run(Append(OTHER, (Noted("1"), Noted("2"))))
    token = store.run(Append(OWN, (Kept(1), Kept(2), Kept(3)))).unwrap().token
    events = store.run(ReadFeed(all_streams=True)).events

    view, given = counting("synchronised", **options)
    app = seen_by(view, store)
    done = app.run(synchronise(view, size=1))
    assert (dict(given), done.lag, done.applied) == (wanted, 0, sum(wanted.values()))
    assert app.run(status(view)).lag == 0
    assert app.run(force(view, token)).unwrap().versions == ({OWN: 3} if OWN in wanted else {})

    view, given = counting("delivered", **options)
    seen_by(view, store).run(deliver(view, events))
    assert dict(given) == wanted


def test_events_that_a_view_does_not_see_count_as_lag_until_they_are_passed() -> None:
    store = MemoryStore()
    view, given = counting("behind")
    app = seen_by(view, store)
    app.run(synchronise(view))
    store.run(Append(OWN, tuple(map(Kept, range(5)))))
    assert app.run(status(view)).lag == 5
    assert app.run(synchronise(view, size=2)).lag == app.run(status(view)).lag == 0
    assert not given


@given(batches=st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=8))
def test_the_past_has_the_same_places_and_hides_the_same(batches: list[tuple[bool, int]]) -> None:
    seconds = iter(range(1, 100))
    store = MemoryStore(clock=lambda: float(next(seconds)))
    cursors = []
    for is_own, count in batches:
        events = tuple(Kept(n) if is_own else Noted(f"{n}") for n in range(count))
        cursors.append(store.run(Append(OWN if is_own else OTHER, events)).unwrap().cursor)
    for number, cursor in enumerate(cursors, 1):
        for at in (cursor, datetime.fromtimestamp(number, UTC)):
            for all_streams in (False, True):
                page = as_of(store, at).run(ReadFeed(all_streams=all_streams))
                wanted = store.run(ReadFeed(limit=cursor.position, all_streams=True)).events
                shown = [event for event in wanted if all_streams or event.stream == OTHER]
                assert [*page.events] == shown
                assert page.next == page.end == cursor


# --- who appends ----------------------------------------------------------------------------------


def test_a_stream_of_the_librarys_own_cannot_be_declared_with_other_events() -> None:
    with pytest.raises(BadStreamId, match="library's own"):
        Stream(OWN, events=Noted)
    with pytest.raises(BadStreamId, match="library's own"):
        Streams("{tenant}/notes", key=str, events=Noted)["eventsrc"]
    assert Stream(OWN, events=Kept).id == OWN
    assert Stream("eventsrc", events=Noted).id == "eventsrc"


def test_no_event_takes_a_name_of_the_librarys_own() -> None:
    with pytest.raises(EventTypeError, match="library's own"):

        @event("eventsrc/run.begun")
        class Begun:
            pass


def test_the_librarys_own_events_are_known_to_every_codec() -> None:
    codec = Codec(EventTypes())
    encoded = codec.encode(Kept(1))
    assert encoded.kind.type == "eventsrc/testing.kept"
    assert codec.knows(encoded.kind)
    assert codec.decode(encoded) == Kept(1)


def test_two_events_of_the_librarys_own_cannot_share_a_name() -> None:
    with pytest.raises(EventTypeError, match="has that name"):

        @own_event("testing.kept")
        class Other:
            pass
