"""Functions made for a class of events: they do as cattrs and json do, and make nothing fit."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import json
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Codec, MemoryStore, Stream, event
from eventsrc.events._exact import NotStorable, check_for
from eventsrc.events._json import dumps
from eventsrc.events._msgspec import functions
from eventsrc.events._writers import writer
from eventsrc.events.codec import Encoded, Undecodable
from eventsrc.events.codec import Kind as StoredKind
from eventsrc.events.event import EventTypes
from eventsrc.events.json_converter import json_converter
from tests.kits.values import Colour, Kind, Money, Square, anything, came_back, json_values, kinds

CONVERTER = json_converter()


# --- classes of every sort ------------------------------------------------------------------------


@attrs.frozen
class Drawn:
    """A class of events that was drawn, and a strategy for events of it."""

    types: EventTypes
    cls: type
    values: st.SearchStrategy[Any]


def _the(value: Any) -> Any:
    return value


def _of_self(value: Any, _: Any) -> Any:
    return value


@st.composite
def drawn_classes(draw: st.DrawFn) -> Drawn:
    """Classes with fields of all types: in any order, private, with aliases, defaults, slots or not."""
    names = draw(
        st.lists(
            st.sampled_from(["zeta", "alpha", "_id", "_Own", "self_", "of", "Kind"]),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    fields, given = {}, {}
    has_default = False
    for name in names:
        kind: Kind = draw(kinds)
        options: dict[str, Any] = {"type": kind.annotation}
        if draw(st.booleans()):
            options["alias"] = f"given_{name.strip('_')}"
        has_default = has_default or draw(st.integers(0, 3)) == 0
        if has_default:
            default = draw(kind.values)
            options["default"] = draw(
                st.sampled_from(
                    [
                        attrs.Factory(functools.partial(_the, default)),
                        attrs.Factory(functools.partial(_of_self, default), takes_self=True),
                    ]
                )
            )
        if draw(st.integers(0, 5)) == 0:
            options["validator"] = lambda *_: None
        fields[name] = attrs.field(**options)
        given[options.get("alias", name.lstrip("_"))] = kind.values
    types = EventTypes()
    made = attrs.make_class(
        "Holder",
        fields,
        frozen=True,
        slots=draw(st.booleans()),
        class_body={"twice": functools.cached_property(lambda self: [self] * 2)},
    )
    cls: type = event("test.holder", types=types)(made)
    return Drawn(types, cls, st.builds(cls, **given))


def codecs(types: EventTypes) -> list[Codec]:
    """With msgspec, if it is installed, and without it."""
    return [Codec(types), Codec(types, fast=False)]


def encoded_by(codec: Codec, value: Any) -> Encoded | str:
    try:
        return codec.encode(value)
    except NotStorable as bad:
        return str(bad)


def decoded_by(codec: Codec, encoded: Encoded) -> str:
    """What decoding answers, with the types of all parts, or that it fails."""
    try:
        return repr(codec.decode(encoded))
    except Undecodable as bad:
        return str(bad)


def page_by(codec: Codec, page: list[Encoded]) -> list[str]:
    """What decoding several of a kind answers: of each alone, if they cannot be decoded together."""
    try:
        return [*map(repr, codec.page_decoder(page[0].kind)([one.data for one in page]))]
    except ValueError:
        return [decoded_by(codec, one) for one in page]


@given(st.data())
def test_the_same_bytes_are_written_and_events_read_with_msgspec_and_without(
    data: st.DataObject,
) -> None:
    drawn: Drawn = data.draw(drawn_classes())
    values = data.draw(st.lists(drawn.values, min_size=1, max_size=3))
    for value in values:
        value.twice  # noqa: B018  a cached property that was looked at is no field
    fast, plain = codecs(drawn.types)
    each = [encoded_by(plain, value) for value in values]
    assert [encoded_by(fast, value) for value in values] == each
    if all(isinstance(one, Encoded) for one in each):
        assert fast.encode_all(values) == plain.encode_all(values) == each
    for value, one in zip(values, each, strict=True):
        if isinstance(one, Encoded):
            assert one.data == dumps(CONVERTER.unstructure(value)).encode()
            assert came_back(value, plain.decode(one))
            assert decoded_by(fast, one) == decoded_by(plain, one)
            assert page_by(fast, [one] * 2) == [decoded_by(plain, one)] * 2


@given(st.data())
def test_data_of_another_class_is_read_alike_with_msgspec_and_without(data: st.DataObject) -> None:
    drawn: Drawn = data.draw(drawn_classes())
    names = [field.name for field in attrs.fields(drawn.cls)]
    value = data.draw(st.dictionaries(st.sampled_from([*names, "more"]), json_values) | json_values)
    stored = Encoded(StoredKind("test.holder", 1, "json"), json.dumps(value).encode())
    fast, plain = codecs(drawn.types)
    assert decoded_by(fast, stored) == decoded_by(plain, stored)


@given(st.data())
def test_what_is_read_is_written_again_as_what_was_stored(data: st.DataObject) -> None:
    kind: Kind = data.draw(kinds)
    types = EventTypes()
    cls: type = event("test.holder", types=types)(
        attrs.make_class("Holder", {"value": attrs.field(type=kind.annotation)}, frozen=True)
    )
    stored = data.draw(json_values)
    text = json.dumps({"value": stored}).encode()
    try:
        read = Codec(types).decode(Encoded(StoredKind("test.holder", 1, "json"), text))
    except Undecodable:
        return
    again = CONVERTER.unstructure(read, cls)["value"]
    assert spelled(again) == spelled(stored)


def spelled(value: Any) -> Any:
    """A JSON value, whatever way its texts, numbers and sets are spelled, as far as that may differ."""
    if isinstance(value, dict):
        return {key: spelled(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return sorted((spelled(part) for part in value), key=repr)
    return value if isinstance(value, bool) or value is None else str(value).replace(".0", "")


@pytest.mark.parametrize("encode", [None, *(found.write for found in [functions()] if found)])
@given(st.data())
def test_a_writer_is_sure_only_of_what_cattrs_writes_and_comes_back(
    encode: Any, data: st.DataObject
) -> None:
    kind: Kind = data.draw(kinds)
    cls: type = attrs.make_class("Holder", {"value": attrs.field(type=kind.annotation)}, frozen=True)
    write = writer(cls, encode)
    if write is None or not check_for(cls).is_complete:
        return
    value = cls(data.draw(kind.values | anything))
    try:
        written = write(value)
    except Exception:
        return
    if written is not None:
        check_for(cls).check(value)
        assert written == dumps(CONVERTER.unstructure(value)).encode()
        assert CONVERTER.structure(json.loads(written), cls) == value


@attrs.frozen
class Usual:
    """A class of what events mostly are."""

    id: UUID
    name: str
    count: int
    price: Decimal
    tags: list[str]
    colour: Colour
    ratio: float
    notes: dict[str, int]
    nick: str | None = None
    paid: Money | None = None


USUAL = Usual(UUID(int=1), "Homer", 3, Decimal("1.50"), ["a"], Colour.RED, 0.5, {"b": 1})


def test_a_writer_is_sure_of_what_events_mostly_are() -> None:
    write = writer(Usual)
    assert write is not None
    assert write(USUAL) == dumps(CONVERTER.unstructure(USUAL)).encode()


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "1"},
        {"name": "\ud800"},
        {"count": True},
        {"count": 2**63},
        {"price": Decimal("NaN")},
        {"tags": ("a",)},
        {"colour": "red"},
        {"ratio": float("nan")},
        {"notes": {1: 1}},
        {"nick": 1},
        {"paid": Square(1)},
    ],
    ids=repr,
)
def test_a_writer_is_not_sure_of_what_cannot_be_stored(bad: dict[str, Any]) -> None:
    write = writer(Usual)
    assert write is not None
    try:
        assert write(attrs.evolve(USUAL, **bad)) is None
    except UnicodeEncodeError:
        assert "name" in bad


# --- nothing is made to fit -----------------------------------------------------------------------


class Mixed(enum.Enum):
    """An enum of values of two types."""

    ONE = 1
    TWO = "two"


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (str, "null"),
        (str, '["a"]'),
        (str, "true"),
        (int, "1.9"),
        (int, "1.0"),
        (int, "true"),
        (int, '"1"'),
        (float, "true"),
        (float, '"1"'),
        (float, "1e400"),
        (float, "9007199254740993"),
        (bool, '"no"'),
        (bool, "1"),
        (bool, "null"),
        (UUID, "5"),
        (UUID, f'"{"1_" * 16}"'),
        (Decimal, "0.1"),
        (Decimal, '"NaN"'),
        (bytes, "null"),
        (bytes, '"0"'),
        (Mixed, "1.0"),
        (Mixed, "true"),
        (Literal[1], "true"),
        (Literal["a"], '["a"]'),
        (list[str], '"abc"'),
        (list[str], '{"a":1}'),
        (list[int], "[1.9]"),
        (tuple[str, ...], '"abc"'),
        (tuple[int, int], "[1]"),
        (set[str], '"abc"'),
        (frozenset[str], '["a","a"]'),
        (dict[str, int], '[["a",1]]'),
        (dict[int, int], '{"1":2,"01":3}'),
        (dict[int, int], '{"01":3}'),
        (str | int, "1.5"),
        (Money | None, '{"amount":1,"currency":"EUR"}'),
        (list[Money], '[{"amount":"1","currency":"EUR"},null]'),
    ],
    ids=str,
)
def test_stored_data_that_does_not_fit_is_undecodable(is_fast: bool, kind: Any, stored: str) -> None:
    types = EventTypes()
    event("test.holder", types=types, version=2, upcast={1: lambda before: before})(
        attrs.make_class("Holder", {"value": attrs.field(type=kind)}, frozen=True)
    )
    data = b'{"value":%b}' % stored.encode()
    for version in (1, 2):  # through an upcaster, and as it is
        with pytest.raises(Undecodable, match="value"):
            Codec(types, fast=is_fast).decode(Encoded(StoredKind("test.holder", version, "json"), data))


def test_an_error_leads_to_the_part_that_does_not_fit() -> None:
    types = EventTypes()
    event("test.usual", types=types)(Usual)
    stored = CONVERTER.unstructure(attrs.evolve(USUAL, paid=Money(Decimal(1), "EUR")))
    stored["paid"]["amount"] = 1
    with pytest.raises(Undecodable, match=r"paid\.amount: 1 is not a number in a str"):
        Codec(types).decode(Encoded(StoredKind("test.usual", 1, "json"), json.dumps(stored).encode()))


def test_fields_that_are_gone_or_new_are_no_misfit() -> None:
    types = EventTypes()
    event("test.usual", types=types)(Usual)
    stored = CONVERTER.unstructure(USUAL) | {"gone": 1}
    del stored["nick"]
    data = json.dumps(stored).encode()
    assert Codec(types).decode(Encoded(StoredKind("test.usual", 1, "json"), data)) == USUAL


@attrs.frozen
class Exact:
    """A class of leaves whose texts can be spelled in many ways."""

    at: dt.datetime
    day: dt.date | None = None
    id: UUID | None = None
    ratio: float = 0.0
    count: int = 0


spellings = (
    st.from_regex(
        r"20[0-3][0-9]-?[01][0-9]-?[0-3][0-9]"
        r"([tT ][012][0-9]:?[0-6][0-9](:?[0-6][0-9]([.,][0-9]{0,9})?)?"
        r"([zZ]|[+-][012][0-9](:?[0-6][0-9]){0,2})?)?",
        fullmatch=True,
    ).map(json.dumps)
    | st.from_regex(r"[0-9a-fA-F]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", fullmatch=True).map(json.dumps)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)


@given(st.dictionaries(st.sampled_from(["at", "day", "id", "ratio", "count"]), spellings, min_size=1))
def test_however_a_value_is_spelled_it_is_read_alike(parts: dict[str, str]) -> None:
    types = EventTypes()
    event("test.exact", types=types)(Exact)
    parts.setdefault("at", '"2026-12-31T12:00:00Z"')
    data = "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"
    stored = Encoded(StoredKind("test.exact", 1, "json"), data.encode())
    fast, plain = codecs(types)
    assert decoded_by(fast, stored) == decoded_by(plain, stored)


# --- what is installed does not matter ------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_an_append_is_stored_once_whether_tried_again_with_msgspec_or_without(first: bool) -> None:
    types = EventTypes()

    @event("test.unsorted", types=types)
    class Unsorted:
        zeta: int
        alpha: int

    here = Stream("here", events=Unsorted)
    again = here.append(Unsorted(1, 2), append_id=UUID(int=5))
    store = MemoryStore(Codec(types, fast=first))
    answer = store.run(again)
    store.codec = Codec(types, fast=not first)
    assert store.run(again) == answer
