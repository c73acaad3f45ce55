"""Values for the tests of the codec: of every kind that a field can have, and of none of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Optional
from uuid import UUID

import attrs
from hypothesis import strategies as st

from eventsrc import Codec, event
from eventsrc.errors import NotStorable
from eventsrc.events.event import EventTypes


class Colour(enum.Enum):
    """An enum with values of several types."""

    RED = "red"
    GREEN = 2
    BLUE = 2.5
    NO = False


class Right(enum.Flag):
    """An enum whose members can be joined."""

    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    """An enum whose members are ints."""

    LOW = 1


class Word(str):
    """A str, and not of type str."""

    __slots__ = ()


class Number(int):
    """An int, and not of type int."""


class Real(float):
    """A float, and not of type float, as NumPy's are."""


@attrs.frozen
class Money:
    """A class inside of events."""

    amount: Decimal
    currency: Literal["EUR", "CHF"]


@attrs.frozen
class Circle:
    """One of two shapes."""

    radius: float


@attrs.frozen
class Square:
    """The other shape."""

    side: float
    name: str | None = None


@attrs.frozen
class Tree:
    """A class that contains itself."""

    leaf: int
    left: Tree | None = None
    others: tuple[Tree, ...] = ()


UserId = NewType("UserId", str)
Count = NewType("Count", int)


@attrs.frozen
class Kind:
    """A type that a field can have, and the values that belong in such a field."""

    annotation: Any
    values: st.SearchStrategy[Any] = attrs.field(repr=False)


# --- right values ---------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=()))
"""Lone surrogates included."""

texts = st.text() | st.sampled_from(
    ["\0", "é", "e\u0301", "👩‍👩‍👧", "\u2028", "__proto__", '"\\/', "\ufeff"]
)
ints = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1])
floats = st.floats(allow_nan=False, allow_infinity=False)
offsets = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
datetimes = st.datetimes(timezones=st.none() | offsets).map(
    lambda time: time.replace(fold=0) if time.tzinfo is None else time
)
times = st.times(timezones=st.none() | offsets).map(lambda time: time.replace(fold=0))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | ints | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
monies = st.builds(
    Money, st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["EUR", "CHF"])
)
shapes = st.builds(Circle, floats) | st.builds(Square, floats, st.none() | texts)
trees: st.SearchStrategy[Tree] = st.recursive(
    st.builds(Tree, ints),
    lambda inner: st.builds(Tree, ints, st.none() | inner, st.lists(inner, max_size=3).map(tuple)),
    max_leaves=6,
)

hashable_kinds = [
    Kind(str, texts),
    Kind(int, ints),
    Kind(float, floats),
    Kind(bool, st.booleans()),
    Kind(UUID, st.uuids()),
    Kind(dt.date, st.dates()),
    Kind(dt.time, times),
    Kind(dt.timedelta, st.timedeltas()),
    Kind(bytes, st.binary()),
    Kind(Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    Kind(Colour, st.sampled_from(Colour)),
    Kind(Right, st.sampled_from([Right(0), Right.READ, Right.WRITE, Right.READ | Right.WRITE])),
    Kind(Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    Kind(Literal[Colour.RED, Colour.GREEN], st.sampled_from([Colour.RED, Colour.GREEN])),
    Kind(UserId, texts),
    Kind(Count, ints),
    Kind(Annotated[int, "how many"], ints),
    Kind(str | int, texts | ints),
    Kind(bool | int | None, st.booleans() | ints | st.none()),
    Kind(Money, monies),
    Kind(Circle | Square, shapes),
    Kind(Circle | Square | None, st.none() | shapes),
    Kind(frozenset[str], st.frozensets(texts, max_size=4)),
]
leaf_kinds = [
    *hashable_kinds,
    Kind(dt.datetime, datetimes),
    Kind(Any, json_values),
    Kind(Tree, trees),
]


sole_kinds = [kind for kind in leaf_kinds if typing.get_origin(kind.annotation) is not types.UnionType]
"""A union in a union would be another union."""


def _list_of(kind: Kind) -> Kind:
    return Kind(types.GenericAlias(list, kind.annotation), st.lists(kind.values, max_size=3))


def _tuple_of(kind: Kind) -> Kind:
    values = st.lists(kind.values, max_size=3).map(tuple)
    return Kind(types.GenericAlias(tuple, (kind.annotation, ...)), values)


def _pair_of(one: Kind, other: Kind) -> Kind:
    annotation = types.GenericAlias(tuple, (one.annotation, other.annotation))
    return Kind(annotation, st.tuples(one.values, other.values))


def _dict_of(kind: Kind) -> Kind:
    values = st.dictionaries(texts, kind.values, max_size=3)
    return Kind(types.GenericAlias(dict, (str, kind.annotation)), values)


def _optional(kind: Kind) -> Kind:
    return Kind(Optional[kind.annotation], st.none() | kind.values)  # noqa: UP045


def _set_of(kind: Kind) -> Kind:
    return Kind(types.GenericAlias(set, kind.annotation), st.sets(kind.values, max_size=3))


def _frozenset_of(kind: Kind) -> Kind:
    return Kind(types.GenericAlias(frozenset, kind.annotation), st.frozensets(kind.values, max_size=3))


def _containers(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    return (
        st.builds(_list_of, inner)
        | st.builds(_tuple_of, inner)
        | st.builds(_pair_of, inner, inner)
        | st.builds(_dict_of, inner)
        | st.builds(_optional, st.sampled_from(sole_kinds))
    )


kinds: st.SearchStrategy[Kind] = st.recursive(
    st.sampled_from(leaf_kinds)
    | st.builds(_set_of, st.sampled_from(hashable_kinds))
    | st.builds(_frozenset_of, st.sampled_from(hashable_kinds)),
    _containers,
    max_leaves=4,
)
"""Types of fields, with which the codec can do without comparing."""


# --- any values at all ----------------------------------------------------------------------------

_odd = st.sampled_from(
    [
        Word("word"),
        Number(5),
        Real(0.5),
        Level.LOW,
        bytearray(b"x"),
        range(3),
        object(),
        int,
        len,
        1j,
        ...,
        Circle(1),
        Circle("wide"),  # type: ignore[arg-type]
        Tree(True),
        Tree(1, Tree("leaf")),  # type: ignore[arg-type]
        Money(Decimal("NaN"), "EUR"),
        Money(Decimal(1), "USD"),  # type: ignore[arg-type]
    ]
)
_keys = any_text | st.integers() | st.floats() | st.booleans() | st.none() | st.uuids()
anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | any_text
    | st.binary()
    | st.decimals()
    | st.uuids()
    | datetimes
    | times
    | st.dates()
    | st.timedeltas()
    | st.sampled_from(Colour)
    | st.sampled_from(Right)
    | _odd,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_keys, inner, max_size=3)
        | st.sets(_keys, max_size=3)
        | st.frozensets(_keys, max_size=3)
    ),
    max_leaves=5,
)
"""Values of any type, also of those that no field has."""


# --- the law --------------------------------------------------------------------------------------


def came_back(sent: Any, back: Any) -> bool:
    """Whether nothing was altered on the way.

    What came back must be equal and of the same type, in all its parts. Two changes are allowed: an int
    may become the float that it equals, and a str of a subclass the plain str.
    """
    if isinstance(sent, str) and not isinstance(sent, enum.Enum):
        return type(back) is str and bool(str.__eq__(sent, back))
    if type(sent) is int and type(back) is float:
        return bool(sent == back)
    if type(sent) is not type(back):
        return False
    if attrs.has(type(sent)):
        fields = [field.name for field in attrs.fields(type(sent))]
        return all(came_back(getattr(sent, name), getattr(back, name)) for name in fields)
    if dataclasses.is_dataclass(sent):
        return came_back(vars(sent), vars(back))
    if isinstance(sent, list | tuple):
        return len(sent) == len(back) and all(map(came_back, sent, back))
    if isinstance(sent, dict):
        return came_back(list(sent.items()), list(back.items()))
    if isinstance(sent, set | frozenset):
        return sent == back and all(any(came_back(one, other) for other in back) for one in sent)
    if isinstance(sent, float | Decimal):
        return repr(sent) == repr(back)  # -0.0 is not 0.0, and 1.0 not 1.00
    if isinstance(sent, dt.datetime | dt.time):
        offsets = sent.utcoffset(), back.utcoffset()
        naive = sent.tzinfo is None, back.tzinfo is None
        if naive == (False, False) and isinstance(
            sent, dt.datetime
        ):  # an hour that comes twice: PEP 495
            return bool(offsets[0] == offsets[1] and sent.isoformat() == back.isoformat())
        same = offsets[0] == offsets[1] and naive[0] == naive[1] and sent.fold == back.fold
        return bool(sent == back) and same
    return bool(sent == back)


def event_class(annotation: Any, codec: Codec, **options: Any) -> Callable[[Any], Any]:
    """An event class of the codec's own with one field, `value`, of this type."""
    made = attrs.make_class("Holder", {"value": attrs.field(type=annotation, **options)}, frozen=True)
    return event("test.holder", types=codec.types)(made)


def stored_and_read(event: Any, codec: Codec) -> Any:
    """The event as it comes back, or the NotStorable that refuses it. Raises anything else."""
    try:
        encoded = codec.encode(event)
    except NotStorable as refused:
        return refused
    return codec.decode(encoded)


def own_codec(**options: Any) -> Codec:
    """A codec with event types of its own."""
    return Codec(EventTypes(), **options)
