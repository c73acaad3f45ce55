"""Events of a later version, read by a program that was told how to bring them back."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Append, Fold, MemoryStore, Stream, StreamId, event
from eventsrc.errors import EventTypeError, Undecodable, UnknownEvent
from eventsrc.events.codec import Codec, Encoded, Kind
from eventsrc.events.event import EventTypes

OLD, NEW, NEWER = EventTypes(), EventTypes(), EventTypes()


@event(
    "test.named",
    downcast={2: lambda new: {"name": f"{new['first']} {new['last']}"}, 3: lambda new: new["whole"]},
    types=OLD,
)
class Named:
    name: str


def split(old: dict[str, Any]) -> dict[str, Any]:
    first, _, last = old["name"].partition(" ")
    return {"first": first, "last": last}


@event("test.named", version=2, upcast={1: split}, downcast={3: lambda new: new["whole"]}, types=NEW)
class NamedInTwo:
    first: str
    last: str


@event("test.named", version=3, upcast={1: split, 2: lambda old: {"whole": old}}, types=NEWER)
class NamedInside:
    whole: dict[str, str]


words = st.text("abcäß ", min_size=0, max_size=5).map(lambda text: text.replace(" ", ""))
fast = pytest.mark.parametrize("fast", [True, False])


@fast
@given(first=words, last=words)
def test_a_later_event_is_read_as_this_program_has_it(fast: bool, first: str, last: str) -> None:
    old, new, newer = (Codec(types, fast=fast) for types in (OLD, NEW, NEWER))
    whole = newer.encode(NamedInside({"first": first, "last": last}))
    two = new.encode(NamedInTwo(first, last))
    assert new.decode(whole) == new.decode(two) == NamedInTwo(first, last)
    for encoded in (whole, two):
        assert old.decode(encoded) == Named(f"{first} {last}")
        assert (
            old.page_decoder(encoded.kind)([encoded.data, encoded.data])
            == [Named(f"{first} {last}")] * 2
        )


@fast
def test_programs_of_both_versions_append_to_one_stream(fast: bool) -> None:
    store = MemoryStore(Codec(OLD, fast=fast))
    stream = StreamId("people/1")
    store.run(Append(stream, (Named("a b"),)))
    store.codec = Codec(NEW, fast=fast)
    store.run(Append(stream, (NamedInTwo("c", "d"),)))
    names: Fold[str, NamedInTwo] = Fold("", lambda so_far, each: so_far + each.first + each.last)
    assert store.run(Stream(stream, events=NamedInTwo).get(names)).state == "abcd"
    store.codec = Codec(OLD, fast=fast)
    store.run(Append(stream, (Named("e f"),)))
    assert [each.data for each in store.run(Stream(stream, events=Named).history())] == [
        Named("a b"),
        Named("c d"),
        Named("e f"),
    ]
    store.codec = Codec(NEW, fast=fast)
    kinds = [each.record.kind.schema for each in store.run(Stream(stream, events=NamedInTwo).history())]
    assert kinds == [1, 2, 1]


@fast
def test_what_is_later_still_is_unknown(fast: bool) -> None:
    codec = Codec(OLD, fast=fast)
    with pytest.raises(UnknownEvent, match="version 4, and the newest known here is 3: update"):
        codec.decode(Encoded(Kind("test.named", 4, "json"), b"{}"))


@fast
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{}", "KeyError: 'first'; raised by the downcaster of 'test.named' from version 2"),
        (b'{"first":1}', "KeyError: 'last'"),
    ],
)
def test_a_downcaster_that_fails_is_named(fast: bool, data: bytes, told: str) -> None:
    codec = Codec(OLD, fast=fast)
    with pytest.raises(Undecodable, match=told):
        codec.decode(Encoded(Kind("test.named", 2, "json"), data))


@fast
def test_what_a_downcaster_answers_must_fit(fast: bool) -> None:
    types = EventTypes()

    @event("test.named", downcast={2: lambda new: {"name": 1}}, types=types)
    class Wrong:
        name: str

    assert attrs.has(Wrong)
    with pytest.raises(Undecodable, match="brought back from version 2 by its downcasters"):
        Codec(types, fast=fast).decode(Encoded(Kind("test.named", 2, "json"), b"{}"))


@pytest.mark.parametrize("versions", [{1}, {3}, {2, 4}, {0}])
def test_downcasters_follow_the_version_without_a_hole(versions: set[int]) -> None:
    downcast = dict.fromkeys(versions, dict[str, Any])

    with pytest.raises(EventTypeError, match="needs a downcaster for each version from 2 on"):

        @event("test.holes", downcast=downcast, types=EventTypes())
        class Holes:
            name: str
