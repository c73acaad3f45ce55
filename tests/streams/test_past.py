"""The past: queries as of a place, a token or a time, as a store would answer that holds no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure

from eventsrc import (
    START,
    Append,
    AppendAll,
    Codec,
    Cursor,
    Fold,
    Head,
    Interpreter,
    MemoryStore,
    Operation,
    Read,
    ReadFeed,
    Snapshots,
    SqliteStore,
    StoreOp,
    Stream,
    StreamAppend,
    StreamId,
    Token,
    attempt,
    event,
    gather,
    trace,
    world,
)
from eventsrc.errors import NotInToken, PastIsReadOnly
from eventsrc.events.event import EventTypes
from eventsrc.events.positions import BadCursor, WrongStore
from eventsrc.events.tags import about
from eventsrc.stores.operations import FindAppend, LoadSnapshot, SaveSnapshot, Snapshot
from eventsrc.stores.tags import IndexTags, ReadTagged
from eventsrc.streams.fold import LATEST_SNAPSHOT, NoSuchVersion, load, load_as_of, load_at
from eventsrc.streams.past import as_of
from eventsrc.streams.remembering import remembering
from examples.courses.events import CourseId, Joined, StudentId, course
from examples.courses.service import define, join
from tests.kits.counting import Counted, Counting, counter, total

START_OF_TIME = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("a", "b", "c")
streams = {name: Stream[Counting](name, events=Counted) for name in NAMES}
kept: Fold[int, Counting] = attrs.evolve(total, snapshots=Snapshots("total", of=int, every=2))

Appends: TypeAlias = list[list[tuple[str, int]]]

appends: st.SearchStrategy[Appends] = st.lists(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(1, 3)),
        min_size=1,
        max_size=2,
        unique_by=lambda part: part[0],
    ),
    min_size=1,
    max_size=12,
)
queries: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        Read,
        st.sampled_from([s.id for s in streams.values()]),
        st.integers(0, 12),
        st.integers(1, 12),
        st.booleans(),
    ),
    st.builds(Head, st.sampled_from([s.id for s in streams.values()])),
    st.builds(
        ReadFeed,
        st.integers(0, 30).map(lambda position: Cursor("here", position)),
        st.integers(1, 12),
        st.sampled_from(["", "none/"]),
        st.none() | st.just(frozenset({"test.counted"})) | st.just(frozenset({"test.reset"})),
    ),
    st.builds(FindAppend, st.integers(0, 12).map(lambda number: UUID(int=number))),
    st.builds(
        lambda name, fold: streams[name].get(fold),
        st.sampled_from(NAMES),
        st.sampled_from([total, kept]),
    ),
    st.builds(lambda name: streams[name].get(kept, LATEST_SNAPSHOT).map(_state_at), st.just("a")),
    st.builds(lambda name, at: streams[name].at(kept, at), st.sampled_from(NAMES), st.integers(0, 9)),
    st.builds(lambda name: streams[name].history(), st.sampled_from(NAMES)),
    st.builds(
        lambda name, s: streams[name].as_of(total, START_OF_TIME + timedelta(seconds=s)),
        st.sampled_from(NAMES),
        st.integers(0, 12),
    ),
)


def _state_at(folded: Any) -> bool:
    """Whether a count is that of its version: the newest snapshot may be of another version here."""
    return bool(folded.state == folded.version)


class Clock:
    """A second later at each append."""

    def __init__(self) -> None:
        self.time = START_OF_TIME.timestamp() - 1

    def __call__(self) -> float:
        self.time += 1
        return self.time


def fill(store: Interpreter[StoreOp], history: Appends, first: int = 0) -> list[Any]:
    """Appends with ids counted from 0; answers what became of each, loading with snapshots between."""
    done = []
    for number, parts in enumerate(history, first):
        items = tuple(StreamAppend(streams[name].id, (Counted(),) * n) for name, n in parts)
        done.append(store.run(AppendAll(items, append_id=UUID(int=number))).unwrap())
        for name, _ in parts:
            store.run(streams[name].get(kept))
    return done


def answer(store: Interpreter[StoreOp], query: Any) -> Any:
    """The answer of a query, or the type of its error."""
    outcome = store.run(attempt(query, Exception))
    return type(outcome.failure()) if isinstance(outcome, Failure) else outcome


@given(appends, st.data(), st.lists(queries, min_size=1, max_size=8), st.booleans())
def test_the_past_answers_as_a_store_that_holds_the_events_up_to_then(
    history: Appends, data: st.DataObject, asked: list[Any], by_time: bool
) -> None:
    length = data.draw(st.integers(0, len(history)))
    store, prefix = (MemoryStore(clock=Clock(), store_id="here") for _ in range(2))
    done = fill(store, history)
    fill(prefix, history[:length])
    at: Any = done[length - 1].cursor if length else START
    if by_time:
        at = START_OF_TIME + timedelta(seconds=length - 1)
    past = as_of(store, at)
    for query in asked:
        assert answer(past, query) == answer(prefix, query)
        assert answer(remembering(past), query) == answer(prefix, query)


@given(appends, st.data())
def test_as_of_a_token_its_streams_are_at_the_versions_seen(
    history: Appends, data: st.DataObject
) -> None:
    store = MemoryStore(store_id="here")
    fill(store, history)
    seen = {
        stream.id: data.draw(st.integers(1, head))
        for stream in streams.values()
        if (head := store.run(stream.head()))
    }
    past = as_of(store, Token("here", seen))
    for stream in streams.values():
        if stream.id in seen:
            assert past.run(stream.get(kept)) == store.run(stream.at(total, seen[stream.id]))
            assert past.run(stream.head()) == seen[stream.id]
        else:
            with pytest.raises(NotInToken, match=f"and not {stream.id}"):
                past.run(stream.get(total))


def test_a_token_tells_no_position_in_the_feed_and_says_so() -> None:
    store = MemoryStore()
    token = store.run(counter.append(Counted())).token
    with pytest.raises(NotInToken, match="no position in the feed"):
        as_of(store, token).run(ReadFeed())
    append_id = store.run(counter.append(Counted())).append_id
    assert as_of(store, token).run(FindAppend(append_id)) is None


def test_the_past_stays_as_it_was_while_others_append(tmp_path: object) -> None:
    with SqliteStore(f"{tmp_path}/log.db") as store:
        place = store.run(counter.append(Counted(1), Counted(2))).cursor
        past = as_of(store, place)
        before = past.run(gather(counter.get(total), counter.history()))
        store.run(counter.append(Counted(4)))
        assert past.run(gather(counter.get(total), counter.history())) == before
        assert as_of(store, place).run(gather(counter.get(total), counter.history())) == before
        assert before[0].state == 3


WRITES: list[Callable[[], Operation[Any]]] = [
    lambda: Append(counter.id, (Counted(),)),
    lambda: AppendAll((StreamAppend(counter.id, (Counted(),)),)),
    lambda: SaveSnapshot(Snapshot(counter.id, "total", 1, 1, b"")),
]


@pytest.mark.parametrize("write", WRITES)
def test_the_past_cannot_be_written(write: Callable[[], Any]) -> None:
    store = MemoryStore()
    store.run(counter.append(Counted()))
    with pytest.raises(PastIsReadOnly, match="run it on the store"):
        as_of(store, START).run(write())
    assert store.run(counter.head()) == 1
    assert store.run(LoadSnapshot(counter.id, "total", 1)) is None


def test_a_query_in_the_past_saves_no_snapshot_and_uses_an_older_one() -> None:
    store = MemoryStore()
    store.run(counter.append(*[Counted()] * 5))
    store.run(counter.get(kept))
    place = store.run(counter.append(*[Counted()] * 4)).cursor
    store.run(counter.append(Counted()))
    traced = trace(as_of(store, place), counter.get(kept))
    assert traced.outcome.unwrap().state == 9
    assert not [op for op in traced.operations() if isinstance(op, SaveSnapshot)]
    assert [op.after for op in traced.operations() if isinstance(op, Read) and op.limit > 1] == [5]


def test_finding_a_version_takes_few_reads() -> None:
    store = MemoryStore()
    place = store.run(counter.append(*[Counted()] * 5_000)).cursor
    store.run(counter.append(*[Counted()] * 5_000))
    past = as_of(store, place)
    assert len(trace(past, counter.head()).operations()) <= 20
    assert past.run(counter.head()) == 5_000


def test_a_place_that_the_store_never_had_is_refused() -> None:
    store = MemoryStore(store_id="here")
    store.run(counter.append(Counted()))
    with pytest.raises(BadCursor, match="beyond the end of the feed"):
        as_of(store, Cursor("here", 9)).run(counter.head())
    with pytest.raises(WrongStore):
        as_of(store, Cursor("elsewhere", 1)).run(counter.head())
    with pytest.raises(WrongStore):
        as_of(store, Token("elsewhere", {counter.id: 1})).run(counter.head())
    with pytest.raises(NoSuchVersion, match="has not reached 3"):
        as_of(store, Token("here", {counter.id: 3})).run(counter.head())
    with pytest.raises(ValueError, match="has no time zone"):
        as_of(store, datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("past", ["2024", 3, None])
def test_what_is_no_past_is_refused_and_says_what_would_be(past: Any) -> None:
    with pytest.raises(TypeError, match="is no past: give a Cursor, a Token, or a time"):
        as_of(MemoryStore(), past)
    if past != 3:
        with pytest.raises(TypeError, match="is no version and no token"):
            MemoryStore().run(counter.at(total, past))
    with pytest.raises(TypeError, match="is no time"):
        MemoryStore().run(counter.as_of(total, past))
    with pytest.raises(TypeError, match="is no consistency: LATEST_EVENT or LATEST_SNAPSHOT is"):
        counter.get(total, past)


def test_a_time_before_all_events_and_one_to_come() -> None:
    store = MemoryStore()
    store.run(counter.append(Counted()))
    assert as_of(store, START_OF_TIME).run(counter.head()) == 0
    assert as_of(store, datetime.now(UTC) + timedelta(days=1)).run(counter.head()) == 1


def test_in_an_event_loop_too() -> None:
    store = MemoryStore()
    place = store.run(counter.append(Counted(5))).cursor
    store.run(counter.append(Counted(6)))
    assert asyncio.run(as_of(store, place).run_async(counter.get(total))).state == 5


def test_a_snapshot_newer_than_the_past_is_not_there() -> None:
    store = MemoryStore()
    place = store.run(counter.append(Counted())).cursor
    store.run(counter.append(Counted()))
    store.run(counter.get(kept))
    loading = LoadSnapshot(counter.id, "total", 1)
    assert store.run(loading) is not None
    assert as_of(store, place).run(loading) is None


TYPES = EventTypes()


@event("test.past.text", types=TYPES)
class Text:
    text: str


joined: Fold[str, Text] = Fold("", lambda text, event: text + event.text)


def test_pages_of_large_events_are_bounded_in_the_past_too() -> None:
    store = MemoryStore(Codec(TYPES))
    stream = StreamId("large")
    for _ in range(4):
        cursor = store.run(Append(stream, (Text("x" * 3 * 2**20),))).unwrap().cursor
    store.run(Append(stream, (Text("later"),))).unwrap()
    past = as_of(store, cursor)
    for backwards, wanted in ((False, [1, 2, 3, 4]), (True, [4, 3, 2, 1])):
        first = past.run(Read(stream, backwards=backwards))
        last = past.run(Read(stream, first.events[-1].version, backwards=backwards))
        assert [event.version for page in (first, last) for event in page.events] == wanted
        assert (len(first.events), first.is_last, last.is_last) == (2, False, True)
    pages = [past.run(ReadFeed())]
    pages.append(past.run(ReadFeed(pages[0].next)))
    assert [len(page.events) for page in pages] == [2, 2]
    assert pages[1].next == pages[1].end == cursor
    for loaded in (load(stream, joined), load_at(stream, joined, 4)):
        assert past.run(loaded).state == "x" * 12 * 2**20
    assert store.run(load_as_of(stream, joined, datetime.now(UTC))).state == "x" * 12 * 2**20 + "later"


def test_a_boundary_is_read_as_it_was() -> None:
    store = MemoryStore()
    app: Any = store | world
    app.run(define(CourseId("rust"), 9))
    app.run(join(StudentId("marge"), CourseId("rust")))
    at = app.run(ReadFeed()).end
    app.run(join(StudentId("homer"), CourseId("rust")))
    past: Any = as_of(store, at)
    page = past.run(ReadTagged(about(course[CourseId("rust")], of=Joined)))
    assert ([event.data.who for event in page.events], page.next, page.end) == (["marge"], at, at)
    token = app.run(Read(StreamId("courses/rust"))).token
    with pytest.raises(NotInToken):
        as_of(store, token).run(ReadTagged(about(course[CourseId("rust")])))
    with pytest.raises(PastIsReadOnly):
        past.run(IndexTags())
