"""An overlay is a store: it keeps the contract, over an empty store and over one that is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eventsrc import (
    START,
    Append,
    AppendAll,
    Failure,
    Head,
    Interpreter,
    MemoryStore,
    Read,
    ReadFeed,
    Rejected,
    SqliteStore,
    StoreOp,
    StreamAppend,
    StreamId,
    Success,
    world,
)
from eventsrc.events.tags import about
from eventsrc.preview.overlay import over
from eventsrc.stores.operations import FindAppend
from eventsrc.stores.tags import AppendIf, ReadTagged, Unchanged
from eventsrc.testing import StoreContract, StoreMachine
from eventsrc.testing._contract.samples import Noted
from examples.courses.events import CourseId, Joined, StudentId, course
from examples.courses.service import No, define, join

A, B = StreamId("a"), StreamId("b")


class TestOverAStoreInUse(StoreContract):
    tags = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Interpreter[StoreOp]]:
        with SqliteStore(tmp_path / "store.db", durability="process") as below:
            for number in range(7):
                below.run(Append(StreamId(f"before/{number % 2}"), (Noted("x"), Noted("y"))))
            yield over(below)[1]

    @pytest.mark.skip(reason="to index is to write into the store below: an overlay does not")
    def test_a_boundary_is_refused_until_older_events_are_indexed(self, store: Any) -> None:
        """Of stores."""

    @pytest.mark.skip(reason="to index is to write into the store below: an overlay does not")
    def test_what_makes_no_sense_is_refused(self, store: Any) -> None:
        """Of stores."""


def test_what_is_below_and_what_came_here_are_one_boundary() -> None:
    below = MemoryStore()
    (below | world).run(define(CourseId("rust"), 2))
    (below | world).run(join(StudentId("marge"), CourseId("rust")))
    both: Any = over(below)[1]
    app: Any = both | world
    assert app.run(join(StudentId("homer"), CourseId("rust"))) == Success(1)
    assert app.run(join(StudentId("lisa"), CourseId("rust"))) == Failure(No.FULL)
    seats = about(course[CourseId("rust")], of=Joined)
    assert [event.data.who for event in both.run(ReadTagged(seats, limit=1)).events] == ["marge"]
    assert [event.data.who for event in both.run(ReadTagged(seats)).events] == ["marge", "homer"]
    assert len(below.run(ReadTagged(seats)).events) == 1
    changed = both.run(AppendIf((StreamAppend(A, (Noted("x"),)),), (Unchanged(seats, START),)))
    assert [event.data.who for event in changed.failure().events] == ["marge"]
    at = below.run(ReadTagged(seats)).end
    changed = both.run(AppendIf((StreamAppend(A, (Noted("x"),)),), (Unchanged(seats, at),)))
    assert [event.data.who for event in changed.failure().events] == ["homer"]


TestOverlayAgainstMemory = StoreMachine.for_store(
    lambda _: nullcontext(over(MemoryStore())[1])
).TestCase


@pytest.fixture
def below() -> MemoryStore:
    store = MemoryStore()
    store.run(AppendAll((StreamAppend(A, (Noted("1"), Noted("2"))), StreamAppend(B, (Noted("1"),)))))
    return store


def test_what_is_appended_goes_on_where_the_store_below_ends(below: MemoryStore) -> None:
    overlay, store = over(below)
    appended = store.run(Append(A, (Noted("3"),), 2)).unwrap()
    assert (appended.version, appended.cursor.position) == (3, 4)
    assert [event.data.text for event in store.run(Read(A)).events] == ["1", "2", "3"]
    assert [event.position for event in store.run(ReadFeed()).events] == [1, 2, 3, 4]
    assert [event.data for event in overlay.events] == [Noted("3")]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_page_may_lie_in_both_stores(
    below: MemoryStore, limit: int, after: int, backwards: bool
) -> None:
    store = over(below)[1]
    both = MemoryStore()
    for each in (store, both):
        each.run(Append(A, tuple(Noted(f"{n}") for n in range(1, 5 if each is both else 3))))
    read = Read(A, after, limit, backwards)
    found, wanted = store.run(read), both.run(read)
    assert [event.version for event in found.events] == [event.version for event in wanted.events]
    assert found.head == wanted.head == 4


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_the_feed_goes_through_both_stores(below: MemoryStore, limit: int) -> None:
    store = over(below)[1]
    store.run(Append(B, (Noted("2"), Noted("3"))))
    page = store.run(ReadFeed(limit=limit))
    events = list(page.events)
    while page.next < page.end:
        assert len(page.events) == limit
        page = store.run(ReadFeed(page.next, limit))
        events += page.events
    assert [(e.stream, e.version) for e in events] == [(A, 1), (A, 2), (B, 1), (B, 2), (B, 3)]


def test_nothing_is_appended_below(below: MemoryStore) -> None:
    store = over(below)[1]
    store.run(Append(A, (Noted("3"),)))
    assert below.run(Head(A)) == 2
    assert len(below.run(ReadFeed()).events) == 3


def test_what_others_append_below_is_not_seen(below: MemoryStore) -> None:
    store = over(below)[1]
    below.run(Append(A, (Noted("later"),)))
    below.run(Append(StreamId("new"), (Noted("later"),)))
    assert store.run(Head(A)) == 2
    assert store.run(Head(StreamId("new"))) == 0
    assert store.run(Append(A, (Noted("3"),), 2)).unwrap().version == 3
    assert [event.data.text for event in store.run(Read(A)).events] == ["1", "2", "3"]
    assert len(store.run(ReadFeed()).events) == 4


def test_an_append_that_is_stored_below_is_found_and_not_stored_again(below: MemoryStore) -> None:
    parts = (StreamAppend(B, (Noted("b"),)), StreamAppend(A, (Noted("a"), Noted("c"))))
    asked = AppendAll(parts, append_id=uuid4())
    stored = below.run(asked)
    overlay, store = over(below)
    assert store.run(asked) == stored
    assert asked.append_id is not None
    assert Success(store.run(FindAppend(asked.append_id))) == stored
    other = store.run(Append(A, (Noted("other"),), append_id=asked.append_id))
    assert isinstance(other, Failure)
    assert isinstance(other.failure(), Rejected)
    assert len(overlay.events) == 0


def test_it_knows_what_was_seen_of_the_store_below(below: MemoryStore) -> None:
    overlay, store = over(below)
    store.run(Append(StreamId("unseen"), (Noted("1"),)))
    assert overlay.seen == {}
    store.run(Append(A, (Noted("3"),), 2))
    store.run(Head(A))
    store.run(Read(StreamId("none")))
    assert overlay.seen == {A: 2, StreamId("none"): 0}
