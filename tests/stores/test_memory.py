"""The memory store keeps the contract that it is the specification of."""

from __future__ import annotations

import datetime as dt
import enum
import random
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NewType
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import (
    START,
    Append,
    AppendAll,
    Codec,
    Head,
    MemoryStore,
    Read,
    ReadFeed,
    StreamAppend,
    StreamId,
    Success,
    event,
)
from eventsrc.events.event import EventTypes
from eventsrc.stores.operations import MAX_PAGE, FindAppend
from eventsrc.testing import StoreContract, StoreMachine, appends, appends_to_several, events
from eventsrc.testing._contract.samples import Noted
from tests.faults import scaled
from tests.faults.test_interruption import Soft, interrupt
from tests.kits.events import CODEC, Tick

HERE = StreamId("here")
TYPES = EventTypes()
UserId = NewType("UserId", UUID)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@attrs.frozen
class Tree:
    leaf: float
    branches: tuple[Tree, ...] = ()
    _hidden: int = attrs.field(default=0)


@event("test.memory.everything", types=TYPES)
class Everything:
    """A field of each type that there is a strategy for, and of some made of those."""

    user: UserId
    colour: Colour
    size: Literal["S", "M"]
    tree: Tree
    amounts: list[float]
    prices: dict[str, Decimal]
    pair: tuple[int, str]
    count: int | None
    when: dt.datetime
    day: dt.date
    hour: dt.time
    took: dt.timedelta
    raw: bytes
    tags: frozenset[str]
    rest: Any
    is_last: bool = False


class TestMemoryStore(StoreContract):
    tags = True

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


TestMemoryStoreAgainstAnother = StoreMachine.for_store(lambda _: nullcontext(MemoryStore())).TestCase


def test_the_order_of_events_does_not_depend_on_the_clock() -> None:
    times: Iterator[float] = iter([1e9, 0.0, 2e9, -1e9, 1e9])
    store = MemoryStore(clock=lambda: next(times))
    for number in range(5):
        assert isinstance(store.run(Append(HERE, (Noted(f"{number}"),), number)), Success)
    came = store.run(Read(HERE)).events
    assert [recorded.data.text for recorded in came] == ["0", "1", "2", "3", "4"]
    assert [recorded.recorded_at.timestamp() for recorded in came] == [1e9, 0.0, 2e9, -1e9, 1e9]


@settings(deadline=None)
@given(events(Everything))
def test_events_that_are_made_of_their_fields_types_can_be_stored(made: Everything) -> None:
    codec = Codec(TYPES)
    assert codec.decode(codec.encode(made)) == made


@settings(deadline=None)
@given(appends() | appends_to_several())
def test_appends_that_are_drawn_make_sense_to_a_store(op: Any) -> None:
    MemoryStore().run(op)


@settings(deadline=None)
@given(appends(streams=st.just(HERE), of=events(Noted)))
def test_appends_can_be_drawn_for_some_streams_and_events(op: Append) -> None:
    assert op.stream == HERE
    assert all(isinstance(brought, Noted) for brought in op.events)


STREAMS = [StreamId(f"streams/{number}") for number in range(100)]


def torn(store: MemoryStore, rounds: int) -> int | None:
    """After how many interruptions an append to many streams is stored in part; None if it never is."""
    noted: list[UUID] = []

    def append(number: int) -> None:
        noted.append(uuid4())
        parts = tuple(StreamAppend(stream, (Tick(number, 0, 1),)) for stream in STREAMS)
        store.run(AppendAll(parts, append_id=noted[-1])).unwrap()

    append(0)  # of a class that the codec knows: what makes encoders may swallow what is raised
    for number in range(rounds):
        interrupt(partial(append, number), Soft, random.Random(number).uniform(0.0002, 0.003))
        stored, left = divmod(store.run(ReadFeed(START, 1)).end.position, len(STREAMS))
        found = [append_id for append_id in noted if store.run(FindAppend(append_id)) is not None]
        if left or len(found) != stored or {store.run(Head(stream)) for stream in STREAMS} != {stored}:
            return number
    return None


def test_an_append_that_a_signal_interrupts_is_stored_whole_or_not_at_all() -> None:
    assert torn(MemoryStore(CODEC), scaled(60)) is None


def test_control_a_store_that_takes_nothing_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "_take_back", lambda *_: None)
    assert torn(MemoryStore(CODEC), 10_000) is not None


def test_a_page_of_a_few_events_looks_at_no_more_than_there_are_in_a_page() -> None:
    store = MemoryStore(CODEC)
    for _ in range(MAX_PAGE // 1000 + 1):
        store.run(Append(HERE, tuple(Tick(0, n, 1000) for n in range(1000)))).unwrap()
    last = store.run(Append(StreamId("rare/1"), (Tick(1, 0, 1),))).unwrap().cursor
    first = store.run(ReadFeed(prefix="rare/"))
    assert not first.events
    assert first.next.position == MAX_PAGE
    second = store.run(ReadFeed(first.next, prefix="rare/"))
    assert [event.stream for event in second.events] == ["rare/1"]
    assert second.next == second.end == last
