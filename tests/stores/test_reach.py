"""Every operation of a store names the streams that it reaches."""

from __future__ import annotations

from typing import Any, get_args
from uuid import uuid4

import pytest

from eventsrc import (
    Append,
    AppendAll,
    Head,
    MemoryStore,
    Now,
    Operation,
    Read,
    ReadFeed,
    StoreOp,
    StreamAppend,
    StreamId,
    trace,
)
from eventsrc.events.epochs import FIRST
from eventsrc.stores.copying import CopyOp, EndCopy, GetIdentity, Identity, KeepRecords
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import (
    Condition,
    EpochOp,
    FindAppend,
    GetEpochs,
    LoadSnapshot,
    RaiseEpoch,
    SaveSnapshot,
    Snapshot,
)
from eventsrc.stores.reach import NOTHING, WHOLE_STORE, Reach, streams_of
from eventsrc.streams.fold import Fold, Load
from eventsrc.testing._contract.samples import Noted

A, B = StreamId("a/1"), StreamId("b/1")

REACHES: list[tuple[Operation[Any], Reach]] = [
    (Append(A, ()), Reach(frozenset({A}))),
    (AppendAll((StreamAppend(A, ()),), (Condition(B, 0),)), Reach(frozenset({A, B}))),
    (Read(A), Reach(frozenset({A}))),
    (Head(A), Reach(frozenset({A}))),
    (ReadFeed(), WHOLE_STORE),
    (ReadFeed(prefix="a/"), Reach(prefixes=frozenset({"a/"}))),
    (LoadSnapshot(A, "fold", 1), Reach(frozenset({A}))),
    (SaveSnapshot(Snapshot(A, "fold", 1, 1, b"")), Reach(frozenset({A}))),
    (FindAppend(uuid4()), WHOLE_STORE),
    (GetEpochs(), NOTHING),
    (RaiseEpoch(), WHOLE_STORE),
    (GetIdentity(), WHOLE_STORE),
    (KeepRecords(Identity("it", b"-", FIRST)), WHOLE_STORE),
    (EndCopy(), WHOLE_STORE),
]


@pytest.mark.parametrize(("op", "reach"), REACHES, ids=lambda value: type(value).__name__)
def test_an_operation_names_what_it_reaches(op: Operation[Any], reach: Reach) -> None:
    assert streams_of(op) == reach


def test_each_operation_of_a_store_is_known() -> None:
    assert {type(op) for op, _ in REACHES} == {
        *get_args(StoreOp),
        *get_args(EpochOp),
        *get_args(CopyOp),
    }


@pytest.mark.parametrize("op", [Now(), Load(A, Fold(0, lambda state, _: state))], ids=["Now", "Load"])
def test_an_operation_that_is_not_known_is_not_passed(op: Operation[Any]) -> None:
    with pytest.raises(TypeError, match="no operation of a store|means others"):
        streams_of(op)


def test_a_reach_is_below_a_prefix_with_all_of_its_streams() -> None:
    assert streams_of(Read(A)).is_below("a/")
    assert streams_of(ReadFeed(prefix="a/1/")).is_below("a/")
    assert not streams_of(AppendAll((StreamAppend(A, ()),), (Condition(B, 0),))).is_below("a/")
    assert not WHOLE_STORE.is_below("a/")
    assert NOTHING.is_below("a/")


def test_the_feed_backwards_is_of_its_prefix_alone() -> None:
    store = MemoryStore()
    end = store.run(Append(A, (Noted("1"),))).unwrap().cursor
    for place in (None, end):
        asked = trace(store, newest(place, prefix="b/")).operations()
        assert all(streams_of(op).is_below("b/") for op in asked)
