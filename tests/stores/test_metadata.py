"""The standard keys of metadata, metadata for whole runs, and the key that nobody may use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    ANY,
    Append,
    AppendAll,
    Codec,
    Command,
    Do,
    Fold,
    MemoryStore,
    Read,
    ReadFeed,
    Snapshots,
    StreamAppend,
    StreamId,
    Translation,
    gather,
    on,
    program,
)
from eventsrc.events.codec import NotStorable
from eventsrc.events.event import Opaque, event
from eventsrc.events.json_converter import json_converter
from eventsrc.stores.metadata import LONGEST, STANDARD, with_metadata
from eventsrc.streams.serializable import serializable
from tests.kits.counting import Counted, SimulatedWorld, counter, total

A, B = StreamId("a"), StreamId("b")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class CountUp(Command[None]):
    """Counts, in whatever way the service does."""


class Service(Translation[CountUp, Any]):
    @on(CountUp).program
    def up(self, op: CountUp) -> Do[Any, None]:
        yield from counter.append(Counted())


@program
def everything() -> Do[Any, None]:
    """Appends in all the ways that there are."""
    yield from Append(A, (Counted(),))
    yield from AppendAll((StreamAppend(A, (Counted(), Counted())), StreamAppend(B, (Counted(),))))
    yield from gather(counter.append(Counted()), Append(B, (Counted(),)))
    yield from counter.change(total, lambda _: [Counted()])
    yield from serializable(counter.append(Counted()))
    yield from CountUp()


def said(store: MemoryStore) -> list[Mapping[str, Any]]:
    return [recorded.metadata for recorded in store.run(ReadFeed()).events]


def test_every_append_of_a_run_has_its_metadata_however_deep_it_is_made() -> None:
    store = MemoryStore()
    below = store | SimulatedWorld()
    app = below | Service().into(below)
    app.run(with_metadata(everything(), actor="homer", correlation_id="c", others={"tenant": "t"}))
    assert said(store) == [{"tenant": "t", "correlation_id": "c", "actor": "homer"}] * 9
    app.run(everything())
    assert said(store)[9:] == [{}] * 9, "the control"


def test_asynchronously_it_does_the_same() -> None:
    store = MemoryStore()
    below = store | SimulatedWorld()
    app = Service().into(below) | below
    asyncio.run(app.run_async(with_metadata(everything(), actor="homer")))
    assert said(store) == [{"actor": "homer"}] * 9


def test_what_is_said_nearest_to_the_append_goes_before() -> None:
    store = MemoryStore()
    asked = Append(A, (Counted(),), metadata={"actor": "marge"})
    store.run(with_metadata(asked, actor="homer", origin="o"))
    store.run(with_metadata(with_metadata(counter.append(Counted()), actor="lisa"), actor="homer"))
    assert said(store) == [{"actor": "marge", "origin": "o"}, {"actor": "lisa"}]


def test_other_operations_and_the_result_stay_as_they_are() -> None:
    store = MemoryStore()
    appended = store.run(with_metadata(counter.append(Counted()), actor="homer"))
    assert appended.version == 1
    assert store.run(with_metadata(Read(counter.id), actor="homer")).head == 1


@pytest.mark.parametrize("key", STANDARD)
@pytest.mark.parametrize("bad", [1, b"x", None, "", "x" * (LONGEST + 1), ["x"]])
def test_the_value_of_a_standard_key_is_a_text(key: str, bad: Any) -> None:
    store = MemoryStore()
    with pytest.raises((TypeError, ValueError), match=key):
        store.run(Append(A, (Counted(),), ANY, None, {key: bad}))
    with pytest.raises((TypeError, ValueError), match=key):
        store.run(AppendAll((StreamAppend(A, (Counted(),)),), (), None, {key: bad}))
    if bad is not None:
        with pytest.raises((TypeError, ValueError), match=key):
            with_metadata(counter.append(Counted()), others={key: bad})
    assert store.run(ReadFeed()).events == ()


@pytest.mark.parametrize(
    "bad",
    [
        "x",
        TRACE.upper(),
        TRACE + "-",
        TRACE[:-1],
        "ff" + TRACE[2:],
        f"00-{'0' * 32}{TRACE[35:]}",
        f"{TRACE[:36]}{'0' * 16}-01",
    ],
)
def test_a_traceparent_is_as_w3c_has_it(bad: str) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="traceparent"):
        store.run(Append(A, (Counted(),), metadata={"traceparent": bad}))
    store.run(with_metadata(counter.append(Counted()), traceparent=TRACE))
    assert said(store) == [{"traceparent": TRACE}]


# --- the reserved key -----------------------------------------------------------------------------


@event("test.metadata.anything")
class Anything:
    value: Any


@event("test.metadata.texts")
class Texts:
    texts: dict[str, str]


nested = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["$sealed", '"$sealed":', "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$sealed", 'x"$sealed', "$sealed ", "a"]), inner, max_size=3)
    ),
)


def has_key(value: Any) -> bool:
    """Whether the reserved key is anywhere in a value; written down here again on purpose."""
    if isinstance(value, dict):
        return "$sealed" in value or any(map(has_key, value.values()))
    return isinstance(value, list) and any(map(has_key, value))


@given(value=nested)
def test_a_value_is_refused_just_if_the_reserved_key_is_in_it(value: Any) -> None:
    store, codecs = MemoryStore(), (Codec(), Codec(fast=False), Codec(converter=json_converter()))
    asked: list[tuple[MemoryStore, Any]] = [
        *[(MemoryStore(codec), Append(A, (Anything(value),))) for codec in codecs],
        (store, Append(A, (Anything(1), Anything(value)))),
        (store, Append(A, (Counted(),), metadata={"x": value})),
        (store, AppendAll((StreamAppend(A, (Anything(value),)),))),
    ]
    for one, op in asked:
        if not has_key(value):
            assert one.run(op).unwrap()
            continue
        with pytest.raises(NotStorable, match=r"the key '\$sealed'"):
            one.run(op)
        assert one.run(ReadFeed()).events == ()


@pytest.mark.parametrize("fast", [True, False])
def test_the_path_leads_to_the_reserved_key(fast: bool) -> None:
    store = MemoryStore(Codec(fast=fast))
    texts = [Texts({"a": "b"}), Texts({"$sealed": "b"})]
    with pytest.raises(NotStorable) as refused:
        store.run(Append(A, tuple(texts)))
    assert refused.value.path == "events[1].texts['$sealed']"
    with pytest.raises(NotStorable) as refused:
        store.run(Append(A, (Texts({}),), metadata={"a": [{"$sealed": 1}]}))
    assert refused.value.path == "metadata.a[0]['$sealed']"


def test_a_state_with_the_reserved_key_is_not_kept() -> None:
    kept = Snapshots("state", of=dict[str, int])
    with pytest.raises(NotStorable, match="library's own"):
        kept.encode({"$sealed": 1})
    assert kept.encode({"sealed": 1})
    assert Fold({}, lambda state, _: state, snapshots=kept)


def test_what_has_the_reserved_key_already_can_be_read_and_passed_on() -> None:
    stored = b'{"value":{"$sealed":[1]}}'
    store = MemoryStore()
    store.run(Append(A, (Opaque("test.metadata.anything", 1, "json", stored),))).unwrap()
    (recorded,) = store.run(Read(A)).events
    assert recorded.data == Anything({"$sealed": [1]})
    assert store.run(Append(B, (recorded.opaque(),))).unwrap()
    assert store.run(Read(B, whole=False)).data == [recorded.data]
