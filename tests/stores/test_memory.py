"""The memory store keeps the contract that it is the specification of."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Any, Literal, NewType
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import Append, Codec, EventTypes, MemoryStore, Read, StreamId, Success, event
from eventsrc.testing import StoreContract, StoreMachine, appends, appends_to_several, events
from eventsrc.testing.samples import Noted

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
