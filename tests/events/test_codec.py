"""The codec: every value comes back as it was, or is refused before it is stored."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import json
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Dict, Generic, List, Literal, TypeVar  # noqa: UP035
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from eventsrc import (
    Append,
    Codec,
    Head,
    Interpreter,
    MemoryStore,
    Read,
    SqliteStore,
    StreamId,
    event,
)
from eventsrc.errors import NotStorable
from eventsrc.events._exact import MAX_DEPTH
from eventsrc.events.codec import MAX_DATA_BYTES, Encoded, Undecodable
from eventsrc.events.codec import Kind as StoredKind
from eventsrc.events.event import EventTypeError, EventTypes, Opaque
from eventsrc.events.json_converter import json_converter
from eventsrc.events.stream_id import CONTROLS
from tests.faults import scaled
from tests.kits.counting import Counted
from tests.kits.values import (
    Circle,
    Colour,
    Kind,
    Level,
    Money,
    Number,
    Real,
    Square,
    Tree,
    UserId,
    Word,
    any_text,
    anything,
    came_back,
    event_class,
    floats,
    ints,
    json_values,
    kinds,
    own_codec,
    stored_and_read,
    texts,
)

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = dt.datetime(2023, 10, 29, 2, 30, tzinfo=BERLIN)
"""An hour that Berlin had twice."""
SPRING = dt.datetime(2023, 3, 26, 2, 30, tzinfo=BERLIN)
"""An hour that Berlin did not have."""


# --- exactly or not at all ------------------------------------------------------------------------


def _has_no_literal(kind: Kind) -> bool:
    return "Literal" not in str(kind.annotation)  # see "a list as a literal", a break


@settings(max_examples=100)
@given(st.data())
def test_every_value_that_belongs_in_a_field_comes_back_as_it_was(data: st.DataObject) -> None:
    kind: Kind = data.draw(kinds)
    codec = own_codec()
    sent = event_class(kind.annotation, codec)(data.draw(kind.values))
    back = stored_and_read(sent, codec)
    assert back == sent
    assert came_back(sent, back)


@settings(max_examples=200)
@given(kinds.filter(_has_no_literal), anything)
def test_any_other_value_comes_back_as_it_was_or_is_refused_with_its_path(
    kind: Kind, value: Any
) -> None:
    codec = own_codec()
    sent = event_class(kind.annotation, codec)(value)
    back = stored_and_read(sent, codec)
    if isinstance(back, NotStorable):
        assert back.path.startswith("value")
    else:
        assert back == sent
        assert came_back(sent, back)


@given(
    st.sampled_from(
        [
            Kind(list, st.lists(json_values)),
            Kind(dict, st.dictionaries(texts, json_values)),
            Kind(dict[UUID, str], st.dictionaries(st.uuids(), texts)),
            Kind(dict[int, str], st.dictionaries(ints, texts)),
            Kind(dict[dt.date, Circle], st.dictionaries(st.dates(), st.builds(Circle, floats))),
            Kind(dict[UserId, int], st.dictionaries(texts, ints)),
            Kind(Sequence[int], st.lists(ints).map(tuple)),
            Kind(Mapping[str, int], st.dictionaries(texts, ints)),
            Kind(deque[int], st.lists(ints).map(deque)),
            Kind(int | float, ints | floats),
            Kind(int | Decimal, ints | st.decimals(allow_nan=False, allow_infinity=False)),
            Kind(list[int] | str, st.lists(ints) | texts),
            Kind(Literal["a"] | int, st.just("a") | ints),
        ]
    ).flatmap(lambda kind: st.tuples(st.just(kind), kind.values))
)
def test_values_of_types_that_only_comparing_can_tell_about_come_back_too(
    kind_and_value: tuple[Kind, Any],
) -> None:
    kind, value = kind_and_value
    codec = own_codec()
    sent = event_class(kind.annotation, codec)(value)
    assert came_back(sent, stored_and_read(sent, codec))


@pytest.mark.parametrize(
    ("annotation", "value", "path", "reason"),
    [
        (str, 5, "value", "5 is an int, not a str"),
        (str, None, "value", "not a str"),
        (str, b"x", "value", "not a str"),
        (str, "\ud83d", "value", "lone surrogate"),
        (str, "\ud83d\ude00", "value", "lone surrogate"),
        (int, True, "value", "True is a bool, not an int"),
        (int, 1.0, "value", "not an int"),
        (int, "1", "value", "not an int"),
        (int, Number(1), "value", "not an int"),
        (int, Level.LOW, "value", "not an int"),
        (int, 2**63, "value", "more than 64 bits"),
        (int, -(2**63) - 1, "value", "more than 64 bits"),
        (float, True, "value", "not a float"),
        (float, Real(1.5), "value", "not a float"),
        (float, 2**53 + 1, "value", "not a float"),
        (float, Decimal(1), "value", "not a float"),
        (float, float("nan"), "value", "JSON has no nan"),
        (float, float("-inf"), "value", "JSON has no -inf"),
        (bool, 1, "value", "not a bool"),
        (Decimal, 1, "value", "not a Decimal"),
        (Decimal, Decimal("sNaN"), "value", "not a number"),
        (Decimal, Decimal("Infinity"), "value", "not a number"),
        (bytes, bytearray(b"x"), "value", "not a bytes"),
        (dt.date, dt.datetime(2024, 1, 1), "value", "not a date"),  # noqa: DTZ001
        (dt.datetime, "2024-01-01", "value", "not a datetime"),
        (UUID, "00000000-0000-0000-0000-000000000000", "value", "not a UUID"),
        (Colour, "red", "value", "not a Colour"),
        (Literal[1], True, "value", "not one of"),
        (Literal[Colour.RED], "red", "value", "not one of"),
        (int | None, True, "value", "not an int"),
        (str | int, True, "value", "not one of str, int"),
        (list[int], (1,), "value", "not a list"),
        (list[int], [1, "2"], "value[1]", "not an int"),
        (tuple[int, ...], [1], "value", "not a tuple"),
        (tuple[int, str], (1, "a", "b"), "value", "not a tuple of 2"),
        (tuple[int, str], (1, 2), "value[1]", "not a str"),
        (set[int], frozenset({1}), "value", "not a set"),
        (dict[str, int], {"a": {"b": 1}}, "value['a']", "not an int"),
        (dict[str, int], {1: 1}, "value", "the key 1 would come back as a str"),
        (dict[str, int], {Word("a"): 1}, "value", "the key 'a' would come back as a str"),
        (dict[str, list[Circle]], {"a": [Circle("wide")]}, "value['a'][0].radius", "not a float"),  # type: ignore[arg-type]
        (Money, Money(Decimal("NaN"), "EUR"), "value.amount", "not a number"),
        (Tree, Tree(1, Tree(2, None, (Tree(True),))), "value.left.others[0].leaf", "not an int"),
        (Circle | Square, 1.0, "value", "not one of Circle, Square"),
        (Any, (1,), "value", "would come back as a list"),
        (Any, {"a": [(1,)]}, "value['a'][0]", "would come back as a list"),
        (Any, [Circle(1)], "value[0]", "give the field its type"),
        (Any, {1: "a"}, "value", "the key 1 would come back as a str"),
        (Any, {float("nan"): "a"}, "value", "the key nan would come back as a str"),
        (Any, {"\ud800": 1}, "value", "lone surrogate"),
        (Any, Word("a"), "value", "which JSON does not have"),
        (Any, 2**63, "value", "more than 64 bits"),
    ],
    ids=repr,
)
def test_a_value_that_would_be_altered_is_refused_with_the_path_to_it(
    annotation: Any, value: Any, path: str, reason: str
) -> None:
    codec = own_codec()
    with pytest.raises(NotStorable) as refused:
        codec.encode(event_class(annotation, codec)(value))
    assert refused.value.path == path
    assert reason in refused.value.reason
    assert str(refused.value).startswith(f"{path} cannot be stored: ")


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "", "a.b", "a/b", "$ref", "\0", "👾", "'"]
)
def test_keys_that_mean_something_elsewhere_are_only_keys_here(name: str) -> None:
    codec = own_codec()
    sent = event_class(dict[str, Any], codec)({name: {name: [name]}})
    assert came_back(sent, stored_and_read(sent, codec))


def test_an_int_in_a_float_field_comes_back_as_the_float_that_it_equals() -> None:
    codec = own_codec()
    back = stored_and_read(event_class(float, codec)(3), codec)
    assert back.value == 3
    assert type(back.value) is float


def test_a_stream_id_in_a_str_field_comes_back_as_the_str_that_it_equals() -> None:
    codec = own_codec()
    back = stored_and_read(event_class(str, codec)(StreamId("users/4")), codec)
    assert back.value == "users/4"
    assert type(back.value) is str


def test_an_event_that_is_too_big_is_refused() -> None:
    codec = own_codec()
    with pytest.raises(NotStorable, match="is the most: store a reference to it"):
        codec.encode(event_class(str, codec)("x" * MAX_DATA_BYTES))


def test_the_path_tells_which_of_several_events_is_meant() -> None:
    codec = own_codec()
    holder = event_class(list[int], codec)
    with pytest.raises(NotStorable) as refused:
        codec.encode_all([holder([1]), holder([1, None])])
    assert refused.value.path == "events[1].value[1]"


@pytest.mark.parametrize("fast", [True, False])
@given(data=st.data())
def test_several_events_are_encoded_as_each_would_be(data: st.DataObject, fast: bool) -> None:
    kind: Kind = data.draw(kinds)
    codec = own_codec(fast=fast)
    make = event_class(kind.annotation, codec)
    events = data.draw(st.lists(st.builds(make, kind.values), min_size=2, max_size=5))
    one_by_one = [codec.encode(event) for event in events]
    assert codec.encode_all(events) == one_by_one
    assert codec.encode_all([*events, Opaque("other", 1, "json", b"1")])[:-1] == one_by_one


@pytest.mark.parametrize("fast", [True, False])
def test_one_bad_event_among_many_is_refused_by_its_place(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsrc.events.codec.MAX_DATA_BYTES", 1_000)
    codec = own_codec(fast=fast)
    make = event_class(str, codec)
    good = [make(f"é{number}") for number in range(5)]
    assert len(codec.encode_all(good)) == 5
    for bad in ("\ud800", 5, "x" * 1_000):
        with pytest.raises(NotStorable) as refused:
            codec.encode_all([*good, make(bad), *good])
        assert refused.value.path.startswith("events[5]")


def test_only_events_are_encoded() -> None:
    with pytest.raises(EventTypeError, match="int is not an event type: decorate it"):
        Codec().encode(5)


# --- breaks: values that are altered, or stored and never read again ------------------------------
# Each is a bug that is known; the mark goes when the bug goes.


@attrs.frozen
class OneOfTwo:
    """A class whose fields another class has too."""

    x: int


@attrs.frozen
class OtherOfTwo:
    """The other class."""

    x: int


@attrs.frozen
class Defaulted:
    """A class that has nothing but a field with a default more."""

    x: int
    y: int = 0


@attrs.frozen
class Red:
    """A class that is told apart by an enum."""

    colour: Literal[Colour.RED]


@attrs.frozen
class Green:
    """Another."""

    colour: Literal[Colour.GREEN]


class Answer(enum.Enum):
    """An enum that has a name for None."""

    YES = True
    NONE = None


def _one_more(number: int) -> int:
    return number + 1


@attrs.frozen
class Counting:
    """A class whose field grows whenever an object is made."""

    x: int = attrs.field(converter=_one_more)


@attrs.frozen
class Growing:
    """A class that changes what it is given."""

    x: int

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "x", self.x + 1)


UNREADABLE = [
    pytest.param(type(None), None, id="a field of type NoneType"),
    pytest.param(object, {"a": 1}, id="a field of type object"),
    pytest.param(TypeAliasType("Numbers", list[int]), [1], id="an alias of a type statement"),
    pytest.param(OneOfTwo | OtherOfTwo, OneOfTwo(1), id="classes with the same fields"),
    pytest.param(OneOfTwo | Defaulted, Defaulted(1, 2), id="classes that a default tells apart"),
    pytest.param(list[OneOfTwo | Defaulted], [OneOfTwo(1)], id="a list of such classes"),
    pytest.param(Red | Green, Red(Colour.RED), id="classes that an enum tells apart"),
]


@pytest.mark.parametrize(("annotation", "value"), UNREADABLE)
def test_what_cannot_be_read_is_not_stored(annotation: Any, value: Any) -> None:
    codec = own_codec()
    sent = event_class(annotation, codec)(value)
    back = stored_and_read(sent, codec)
    assert isinstance(back, NotStorable) or came_back(sent, back)


@pytest.mark.parametrize("annotation", [dt.datetime, dict[int, dt.datetime]])
@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("time", [AUTUMN, SPRING], ids=["a double hour", "a missing hour"])
def test_a_time_at_any_hour_of_the_year_is_stored(
    annotation: Any, fold: Literal[0, 1], time: dt.datetime
) -> None:
    codec = own_codec()
    sent = time.replace(fold=fold)
    value: Any = sent if annotation is dt.datetime else {1: sent}
    back = stored_and_read(event_class(annotation, codec)(value), codec).value
    assert (back if annotation is dt.datetime else back[1]).isoformat() == sent.isoformat()


ALTERED = [
    pytest.param(dt.datetime, AUTUMN.replace(tzinfo=None, fold=1), id="the second of two hours"),
    pytest.param(
        dt.datetime,
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(microseconds=-1))),
        id="an offset of microseconds",
    ),
    pytest.param(dt.time, dt.time(2, 30, fold=1), id="a time with fold"),
    pytest.param(dt.time, dt.time(2, 30, tzinfo=BERLIN), id="a time of day in a zone"),
    pytest.param(Literal[Colour.RED, "red"], Colour.RED, id="a literal and an enum with its value"),
    pytest.param(Answer | None, Answer.NONE, id="an optional enum, one member of which means None"),
    pytest.param(Counting, Counting(1), id="a converter that is not idempotent"),
    pytest.param(Growing, Growing(1), id="a class that changes what it is given"),
]


@pytest.mark.parametrize(("annotation", "value"), ALTERED)
def test_what_would_come_back_otherwise_is_not_stored(annotation: Any, value: Any) -> None:
    codec = own_codec()
    sent = event_class(annotation, codec)(value)
    back = stored_and_read(sent, codec)
    assert isinstance(back, NotStorable) or came_back(sent, back)


@attrs.frozen
class Labelled:
    """A class that compares without its labels."""

    labels: dict[int, bool] = attrs.field(eq=False)


@dataclasses.dataclass(frozen=True)
class Data:
    """A class that attrs did not make."""

    x: int


T = TypeVar("T")


@attrs.frozen
class Box(Generic[T]):
    """A class whose field has the type that it is told."""

    x: T


ALTERED_THOUGH_COMPARED = [
    pytest.param(dict[UserId, int], {"homer": True}, id="True among ints, under keys of a NewType"),
    pytest.param(tuple[int | float, int], (1.5, True), id="True as an int, beside an int or float"),
    pytest.param(Box[int], Box(True), id="True in a generic class"),
    pytest.param(Data, Data(True), id="True in a dataclass"),
    pytest.param(Labelled, Labelled({1: 5}), id="5 as a bool, in a field that is not compared"),  # type: ignore[dict-item]
]


@pytest.mark.parametrize(("annotation", "value"), ALTERED_THOUGH_COMPARED)
def test_what_only_compares_equal_is_not_stored(annotation: Any, value: Any) -> None:
    codec = own_codec()
    sent = event_class(annotation, codec)(value)
    back = stored_and_read(sent, codec)
    assert isinstance(back, NotStorable) or came_back(sent, back)


OTHERWISE_REFUSED = [
    pytest.param(int, 10**5000, id="an int of 5000 digits"),
    pytest.param(str, 10**5000, id="such an int as a str"),
    pytest.param(Any, {10**5000: 1}, id="such an int as a key"),
    pytest.param(Literal["a"], ["a"], id="a list as a literal"),
    pytest.param(List, [1], id="typing.List"),  # noqa: UP006
    pytest.param(Dict, {"a": 1}, id="typing.Dict"),  # noqa: UP006
    pytest.param(UUID | dt.datetime, UUID(int=1), id="a union that the converter does not know"),
    pytest.param(complex, 1j, id="a type that the converter does not know"),
]


@pytest.mark.parametrize(("annotation", "value"), OTHERWISE_REFUSED)
def test_a_value_is_refused_with_not_storable_and_nothing_else(annotation: Any, value: Any) -> None:
    codec = own_codec()
    sent = event_class(annotation, codec)(value)
    back = stored_and_read(sent, codec)
    assert isinstance(back, NotStorable) or came_back(sent, back)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list, [(1,)]),
        (dict[int, str], {1: None}),
        (int | float, float("nan")),
        (UserId | UUID, UUID(int=1)),
    ],
    ids=repr,
)
def test_a_refusal_by_comparing_has_a_path_too(annotation: Any, value: Any) -> None:
    codec = own_codec()
    with pytest.raises(NotStorable) as refused:
        codec.encode(event_class(tuple[annotation], codec)((value,)))
    assert refused.value.path.startswith("value[0]")


# --- hooks of one's own ---------------------------------------------------------------------------


class Point:
    """A class that only its user knows how to store."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x = x
        self.y = y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))


def codec_of_points() -> Codec:
    converter = json_converter()
    converter.register_unstructure_hook(Point, lambda point: f"{point.x},{point.y}")
    converter.register_structure_hook(Point, lambda text, _: Point(*map(int, text.split(","))))
    return own_codec(converter=converter)


@given(st.lists(st.builds(Point, ints, ints)))
def test_a_class_with_hooks_of_its_users_comes_back_equal(points: list[Point]) -> None:
    codec = codec_of_points()
    sent = event_class(list[Point], codec)(points)
    assert codec.decode(codec.encode(sent)) == sent


@pytest.mark.parametrize("point", [Point("1", 2), Point(1.0, 2), Point(None, None), Point("a,b", 1)])
def test_what_a_users_hooks_would_alter_is_refused(point: Point) -> None:
    codec = codec_of_points()
    with pytest.raises(NotStorable, match=r"would come back as|could not be read back"):
        codec.encode(event_class(Point, codec)(point))


def codec_of_seconds() -> Codec:
    """It stores times by the second."""
    converter = json_converter()
    converter.register_unstructure_hook(dt.datetime, lambda time: int(time.timestamp()))
    converter.register_structure_hook(dt.datetime, lambda n, _: dt.datetime.fromtimestamp(n, dt.UTC))
    return own_codec(converter=converter)


def codec_of_cents() -> Codec:
    """It stores amounts to the hundredth."""
    converter = json_converter()
    converter.register_unstructure_hook(Money, lambda money: f"{money.amount:.2f} {money.currency}")
    converter.register_structure_hook(
        Money, lambda text, _: Money(Decimal(text.split()[0]), text.split()[1])
    )
    return own_codec(converter=converter)


@pytest.mark.parametrize(
    ("codec", "annotation", "value"),
    [
        (codec_of_seconds(), dt.datetime, dt.datetime(2024, 1, 1, 0, 0, 0, 5, dt.UTC)),
        (codec_of_cents(), Money, Money(Decimal("1.255"), "EUR")),
    ],
    ids=["datetime", "a class of attrs"],
)
def test_a_hook_for_a_type_that_is_known_anyway_may_not_alter_values_either(
    codec: Codec, annotation: Any, value: Any
) -> None:
    sent = event_class(annotation, codec)(value)
    back = stored_and_read(sent, codec)
    assert isinstance(back, NotStorable) or came_back(sent, back)


# --- depth ----------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth - 1):
        inner = [inner]
    return inner


def high(height: int) -> Tree:
    tree = Tree(0)
    for leaf in range(1, height):
        tree = Tree(leaf, tree)
    return tree


def test_json_may_nest_to_the_limit_and_no_deeper() -> None:
    codec = own_codec()
    holder = event_class(Any, codec)
    assert codec.decode(codec.encode(holder(nested(MAX_DEPTH)))) == holder(nested(MAX_DEPTH))
    with pytest.raises(NotStorable, match="nests more than 100 levels deep"):
        codec.encode(holder(nested(MAX_DEPTH + 1)))


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for annotation in (Any, list):
        codec = own_codec()
        with pytest.raises(NotStorable):
            codec.encode(event_class(annotation, codec)(endless))
    with pytest.raises(NotStorable):
        Codec().encode_metadata({"endless": endless})


@pytest.mark.parametrize("height", [MAX_DEPTH + 1, 10_000])
def test_a_class_that_contains_itself_may_nest_no_deeper_either(height: int) -> None:
    codec = own_codec()
    with pytest.raises(NotStorable, match="nests more than 100 levels deep"):
        codec.encode(event_class(Tree, codec)(high(height)))


# --- bytes ----------------------------------------------------------------------------------------


@given(st.sets(texts | ints | st.binary().map(lambda b: b.hex())), st.randoms())
def test_equal_sets_have_equal_bytes(items: set[str | int], random: Any) -> None:
    codec = own_codec()
    holder = event_class(frozenset[str | int], codec)
    shuffled = list(items)
    random.shuffle(shuffled)
    assert codec.encode(holder(frozenset(items))) == codec.encode(holder(frozenset(shuffled)))


@given(st.frozensets(st.frozensets(st.builds(Circle, floats))))
def test_so_have_equal_sets_of_sets_of_objects(items: frozenset[frozenset[Circle]]) -> None:
    codec = own_codec()
    holder = event_class(frozenset[frozenset[Circle]], codec)
    again = frozenset(frozenset(list(inner)[::-1]) for inner in reversed(list(items)))
    assert codec.encode(holder(items)) == codec.encode(holder(again))


def test_equal_events_have_equal_bytes() -> None:
    codec = own_codec()
    holder = event_class(float, codec)
    assert holder(1) == holder(1.0)
    assert codec.encode(holder(1)) == codec.encode(holder(1.0))


@given(json_values)
def test_the_data_is_json_without_a_space_too_many(value: Any) -> None:
    codec = own_codec()
    data = codec.encode(event_class(Any, codec)(value)).data
    plain = json.dumps({"value": value}, ensure_ascii=False, separators=(",", ":"))
    assert data.decode() == plain


# --- decoding -------------------------------------------------------------------------------------


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_nobody_encoded_are_undecodable_or_an_event(data: bytes) -> None:
    codec = own_codec()
    holder = event_class(tuple[int, ...], codec)
    with contextlib.suppress(Undecodable):
        assert type(codec.decode(Encoded(StoredKind("test.holder", 1, "json"), data))) is holder


@given(st.binary())
def test_undecodable_data_does_not_hinder_its_neighbours(data: bytes) -> None:
    codec = Codec()
    broken = Encoded(StoredKind("test.counted", 1, "json"), data + b"{")
    with pytest.raises(Undecodable, match="stored data of 'test.counted' version 1 does not fit"):
        codec.decode(broken)
    assert codec.decode(codec.encode(Counted(2))) == Counted(2)


def test_a_field_that_later_versions_add_with_a_default_is_filled_in() -> None:
    @event("test.holder", types=(types := own_codec().types))
    class Wider:
        value: int
        added: str = "default"

    decoded = Codec(types).decode(Encoded(StoredKind("test.holder", 1, "json"), b'{"value":1}'))
    assert decoded == Wider(1, "default")


def test_a_field_that_is_gone_is_ignored() -> None:
    codec = own_codec()
    holder = event_class(int, codec)
    assert codec.decode(
        Encoded(StoredKind("test.holder", 1, "json"), b'{"value":1,"gone":2}')
    ) == holder(1)


_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128).filter(
    lambda text: CONTROLS.search(text) is None
)


@given(
    names=_names,
    version=st.integers(1, 2**31 - 1),
    codec=_names,
    data=st.binary(),
)
def test_opaque_events_are_encoded_as_the_bytes_that_they_are(
    names: str, version: int, codec: str, data: bytes
) -> None:
    kind = StoredKind(names, version, codec)
    assert Codec().encode(Opaque(names, version, codec, data)) == Encoded(kind, data)


# --- metadata -------------------------------------------------------------------------------------


@given(st.dictionaries(texts, json_values))
def test_metadata_comes_back_as_it_was(metadata: dict[str, Any]) -> None:
    codec = Codec()
    assert came_back(metadata, codec.decode_metadata(codec.encode_metadata(metadata)))


@given(st.dictionaries(any_text | ints, anything))
def test_any_other_metadata_comes_back_or_is_refused_with_its_path(metadata: dict[Any, Any]) -> None:
    codec = Codec()
    refused = None
    try:
        data = codec.encode_metadata(metadata)
    except NotStorable as error:
        refused = error
    if refused is None:
        assert came_back(metadata, codec.decode_metadata(data))
    else:
        assert refused.path.startswith("metadata")


def test_no_metadata_takes_no_bytes() -> None:
    assert Codec().encode_metadata({}) == b""
    assert Codec().decode_metadata(b"") == {}


def test_the_path_to_a_bad_value_of_metadata_begins_with_metadata() -> None:
    with pytest.raises(NotStorable) as refused:
        Codec().encode_metadata({"tags": ["a", float("nan")]})
    assert refused.value.path == "metadata['tags'][1]"


# --- stores agree


@attrs.frozen
class Taken:
    """What a store made of a value: bytes and what came back, or the path by which it was refused."""

    data: bytes | None = None
    back: Any = attrs.field(default=None, eq=False)
    path: str | None = None
    error: str | None = None


def taken_by(store: Interpreter[Any], holder: Any) -> Taken:
    """Appends an event to a stream of its own, and reads it."""
    stream = StreamId(f"x/{uuid4()}")
    try:
        store.run(Append(stream, (holder,)))
    except NotStorable as refused:
        assert store.run(Head(stream)) == 0
        return Taken(path=refused.path)
    except Exception as error:
        return Taken(error=repr(error))
    (recorded,) = store.run(Read(stream)).events
    return Taken(recorded.opaque().data, recorded.data)


def disagreements(
    value: Any, annotation: Any, codec_for_memory: Codec, codec_for_file: Codec, folder: Path
) -> list[str]:
    """Where the stores do otherwise with a value than the law says, or than one another."""
    in_memory = event_class(annotation, codec_for_memory)
    in_file = event_class(annotation, codec_for_file)
    memory = MemoryStore(codec_for_memory)
    with SqliteStore(folder / f"{uuid4()}.db", codec_for_file, durability="process") as file:
        one = taken_by(memory, in_memory(value))
        other = taken_by(file, in_file(value))
    wrong: list[str] = [] if one == other else [f"{one} in memory, and {other} in a file"]
    for taken in (one, other):
        if taken.error is not None:
            wrong.append(f"refused with {taken.error}")
        elif taken.path is not None and not taken.path.startswith("events[0].value"):
            wrong.append(f"refused by the path {taken.path!r}")
        elif taken.data is not None and not came_back(value, taken.back.value):
            wrong.append(f"{value!r} came back as {taken.back.value!r}")
    return wrong


@settings(max_examples=scaled(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=anything | json_values, kind=kinds.filter(_has_no_literal) | st.just(Kind(Any, st.none())))
def test_a_store_in_memory_and_one_in_a_file_do_the_same_with_any_value(
    tmp_path: Path, value: Any, kind: Kind
) -> None:
    assert disagreements(value, kind.annotation, own_codec(), own_codec(), tmp_path) == []


class Careless(Codec):
    """Writes what json.dumps makes of a value, and asks nothing."""

    def encode(self, event: Any) -> Encoded:
        data = json.dumps({"value": event.value}, default=str).encode()
        return Encoded(StoredKind("test.holder", 1, self.name), data)


@pytest.mark.parametrize("value", [(1, 2), {1: "x"}, float("nan"), "\ud800", Decimal(1)])
def test_control_a_codec_that_writes_what_json_dumps_makes_of_a_value_is_caught(
    tmp_path: Path, value: Any
) -> None:
    careless = Careless(EventTypes())
    assert disagreements(value, Any, own_codec(), careless, tmp_path) != []


def test_control_two_codecs_that_both_are_careless_are_caught(tmp_path: Path) -> None:
    one, other = Careless(EventTypes()), Careless(EventTypes())
    assert disagreements((1, 2), Any, one, other, tmp_path) == ["(1, 2) came back as [1, 2]"] * 2
