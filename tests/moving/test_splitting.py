"""Streams are split and merged: no event is lost, doubled or out of its order, and the old ones end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Failure,
    Head,
    MemoryStore,
    Read,
    Recorded,
    StreamId,
)
from eventsrc.moving import merge, refusing_ended, split
from eventsrc.moving.splitting import Ended
from eventsrc.stores.operations import Conflict, Rejected, StreamAppend
from tests.kits.moved_shop import Sold

HERE = StreamId("sales")
PARTS = [StreamId(f"sales/{number}") for number in range(3)]
TOTALS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def by_total(event: Recorded[Any]) -> StreamId:
    total: int = event.data.total
    return PARTS[total % 3]


def data_of(store: Any, stream: StreamId) -> list[Any]:
    return [event.data for event in store.run(Read(stream, limit=1000)).events]


@given(TOTALS)
def test_a_split_puts_each_event_where_it_belongs_in_its_order(totals: list[int]) -> None:
    store = MemoryStore()
    events = [Sold(f"{number}", total) for number, total in enumerate(totals)]
    store.run(Append(HERE, tuple(events)))
    store.run(split(HERE, by_total)).unwrap()
    for part in PARTS:
        assert data_of(store, part) == [each for each in events if PARTS[each.total] == part]
    *old, ended = store.run(Read(HERE, limit=1000)).events
    assert [each.data for each in old] == events, "the old ones stay"
    assert {*ended.data.into} == {PARTS[each.total] for each in events}
    origins = {each.metadata["origin"] for part in PARTS for each in store.run(Read(part)).events}
    assert origins == {HERE}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=12))
def test_a_merge_has_all_events_in_the_order_of_the_feed(said: list[tuple[int, int]]) -> None:
    store = MemoryStore()
    for number, total in said:
        store.run(Append(PARTS[number], (Sold(f"{number}", total),)))
    some = [part for part in PARTS if store.run(Head(part))]
    store.run(merge(some, HERE)).unwrap()
    assert data_of(store, HERE) == [Sold(f"{number}", total) for number, total in said]
    for part in some:
        assert store.run(Read(part, limit=1000)).events[-1].data.into == (HERE,)


@given(TOTALS)
def test_a_split_that_is_merged_again_has_the_same_events_each_part_in_its_order(
    totals: list[int],
) -> None:
    store, again = MemoryStore(), StreamId("again")
    events = [Sold(f"{number}", total) for number, total in enumerate(totals)]
    store.run(Append(HERE, tuple(events)))
    store.run(split(HERE, by_total)).unwrap()
    store.run(merge([part for part in PARTS if store.run(Head(part))], again)).unwrap()
    merged = data_of(store, again)
    assert sorted(merged, key=lambda each: int(each.item)) == events
    for total in range(3):
        assert [each for each in merged if each.total == total] == [
            each for each in events if each.total == total
        ]


@given(TOTALS)
def test_a_split_into_one_stream_is_that_stream(totals: list[int]) -> None:
    store, other = MemoryStore(), StreamId("other")
    store.run(Append(HERE, tuple(Sold("x", total) for total in totals)))
    before = data_of(store, HERE)
    store.run(split(HERE, lambda _: other)).unwrap()
    assert data_of(store, other) == before


def ended(store: Any) -> None:
    store.run(Append(HERE, (Sold("x", 0), Sold("y", 1))))
    store.run(split(HERE, by_total)).unwrap()


@pytest.mark.parametrize("expected", [ANY, EXISTS])
def test_later_appends_to_what_has_ended_are_refused_and_told_where_it_went(expected: Any) -> None:
    store = MemoryStore()
    first = Append(HERE, (Sold("first"),), append_id=UUID(int=7))
    store.run(first)
    ended(store)
    app = refusing_ended(store)
    for op in (
        Append(HERE, (Sold("z"),), expected),
        AppendAll(
            (StreamAppend(StreamId("new"), (Sold("z"),)), StreamAppend(HERE, (Sold("z"),), expected))
        ),
    ):
        refused = app.run(op).failure()
        assert isinstance(refused, Rejected)
        assert f"{HERE} has ended: its events are in sales/0, sales/1" in refused.reason
    stale = app.run(Append(HERE, (Sold("z"),), 2))
    assert isinstance(stale, Failure)
    assert app.run(first) == store.run(first), "what was stored before is answered again"
    assert app.run(Append(StreamId("new"), (Sold("z"),), NO_STREAM)).unwrap().version == 1
    assert isinstance(app.run(Append(StreamId("new"), (Sold("z"),), NO_STREAM)).failure(), Conflict)


def interposed(store: MemoryStore, check: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The answer to an append to a stream that is split just before it, and the last event there."""
    store.run(Append(HERE, (Sold("x", 0), Sold("y", 1))))
    splits = iter([split(HERE, by_total)])

    def late(op: Append) -> Any:
        asked = next(splits, None)
        if asked is not None:
            store.run(asked).unwrap()
        return (yield from op)

    answer = check(store.around(late, only=Append)).run(Append(HERE, (Sold("late", 0),)))
    return answer, store.run(Read(HERE, backwards=True)).events[0].data


def test_an_append_that_a_split_overtakes_is_refused() -> None:
    answer, last = interposed(MemoryStore(), refusing_ended)
    assert isinstance(answer.failure(), Rejected)
    assert isinstance(last, Ended)


def test_control_an_append_that_only_looks_first_is_stored_after_the_end() -> None:
    def looking(store: Any) -> Any:
        def look(op: Append) -> Any:
            page = yield from Read(op.stream, 0, 1, True)
            if page.events and isinstance(page.events[0].data, Ended):
                return Failure(Rejected("it has ended"))
            return (yield from op)

        return store.around(look, only=Append)

    _, last = interposed(MemoryStore(), looking)
    assert last == Sold("late", 0)


def test_what_cannot_be_split_or_merged_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="no events"):
        store.run(split(HERE, by_total))
    ended(store)
    with pytest.raises(ValueError, match="has ended"):
        store.run(split(HERE, by_total))
    store.run(Append(StreamId("other"), (Sold("x", 0),)))
    with pytest.raises(ValueError, match="into itself"):
        store.run(split(StreamId("other"), lambda event: event.stream))
    assert isinstance(store.run(split(StreamId("other"), by_total)).failure(), Conflict), "it is there"
    for streams in ([], [PARTS[0], PARTS[0]], [StreamId("into")]):
        with pytest.raises(ValueError, match="each once"):
            store.run(merge(streams, StreamId("into")))
