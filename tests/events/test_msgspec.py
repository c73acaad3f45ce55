"""The extra `fast`: what is stored and what is read is the same with msgspec and without it."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Codec, event
from eventsrc.events._exact import NotStorable
from eventsrc.events.codec import Encoded, Undecodable
from eventsrc.events.codec import Kind as StoredKind
from eventsrc.events.event import EventTypes
from tests.kits.values import Kind, Money, event_class, json_values, kinds, own_codec

pytest.importorskip("msgspec")

TYPES = EventTypes()
FAST, PLAIN = Codec(TYPES), Codec(TYPES, fast=False)


@event("test.plain", types=TYPES)
class Plain:
    """An event of the types that msgspec reads."""

    name: str
    count: int = 0
    tags: tuple[str, ...] = ()
    paid: Money | None = None
    notes: dict[str, float] = attrs.field(factory=dict[str, float])


def of_plain(data: bytes) -> Encoded:
    return Encoded(StoredKind("test.plain", 1, "json"), data)


PIECES = [b'{"name":"a"},{"name":"b"}', b'{"name":"c","tags":["d"', b'"e"]}']
"""No JSON, each of them."""


def page_outcome(codec: Codec, each: list[bytes]) -> list[str] | None:
    """As `outcome`, of several data together; None if they have to be looked at alone."""
    try:
        return list(map(repr, codec.page_decoder(of_plain(b"").kind)(each)))
    except Exception:
        return None


def outcome(codec: Codec, encoded: Encoded) -> str:
    """What decoding answers, with the types of all parts, or raises."""
    try:
        return repr(codec.decode(encoded))
    except Undecodable as error:
        return str(error)


@given(st.data())
def test_every_value_is_stored_and_read_alike(data: st.DataObject) -> None:
    kind: Kind = data.draw(kinds)
    codec = own_codec()
    try:
        holder = event_class(kind.annotation, codec)(data.draw(kind.values))
        encoded = Codec(codec.types, fast=False).encode(holder)
    except NotStorable:
        return
    assert codec.encode(holder) == encoded
    assert repr(codec.decode(encoded)) == repr(Codec(codec.types, fast=False).decode(encoded))


@given(
    st.dictionaries(st.sampled_from(["name", "count", "tags", "paid", "notes", "more"]), json_values)
    | json_values
)
def test_data_that_was_stored_otherwise_is_read_alike_or_refused_alike(value: Any) -> None:
    encoded = of_plain(json.dumps(value).encode())
    assert outcome(FAST, encoded) == outcome(PLAIN, encoded)


@given(st.binary())
def test_bytes_that_are_no_json_are_refused_alike(data: bytes) -> None:
    assert outcome(FAST, of_plain(data)) == outcome(PLAIN, of_plain(data))


@pytest.mark.parametrize("data", [b' {"name":"a"}', b'{"name":"a"} ', b'{"name":"a","name":"b"}'])
def test_json_that_a_codec_would_not_write_is_read_alike(data: bytes) -> None:
    assert outcome(FAST, of_plain(data)) == outcome(PLAIN, of_plain(data))


@given(st.lists(json_values | st.just({"name": "a"}), min_size=1))
def test_several_data_are_read_as_each_alone(values: list[Any]) -> None:
    each = [json.dumps(value).encode() for value in values]
    for codec in FAST, PLAIN:
        alone = [outcome(codec, of_plain(data)) for data in each]
        assert page_outcome(codec, each) in (alone, None)


@given(st.lists(st.binary() | st.sampled_from(PIECES), min_size=1))
def test_data_that_are_no_json_are_not_read_as_json_together(each: list[bytes]) -> None:
    for codec in FAST, PLAIN:
        alone = [outcome(codec, of_plain(data)) for data in each]
        assert page_outcome(codec, each) in (alone, None)


def test_the_pieces_would_be_read_together_were_there_just_commas_between_them() -> None:
    assert len(json.loads(b"[" + b",".join(PIECES) + b"]")) == len(PIECES)
