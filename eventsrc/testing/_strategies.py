"""Hypothesis strategies for what stores are given: stream ids, values, events, appends.

They make what is right, hostile names and values at the limits included. What a store must refuse is
made by `unstorable_values` alone.
"""

from __future__ import annotations

import datetime as dt
import enum
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

import attrs
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from eventsrc.events._sealed import SEALED
from eventsrc.events.record import REQUEST
from eventsrc.events.stream_id import MAX_ID_BYTES, StreamId
from eventsrc.stores.metadata import STANDARD
from eventsrc.stores.operations import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Condition,
    Expected,
    StreamAppend,
)
from eventsrc.testing._contract.samples import HOSTILE_NAMES, UNKNOWN, AnyValue, Counted, Noted, Renamed

E = TypeVar("E")

# --- stream ids -----------------------------------------------------------------------------------

_letters: Final = st.characters(
    exclude_categories=["Cc", "Cs", "Zl", "Zp"],
    exclude_characters="/\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    codec="utf-8",
)
_segments: Final = (
    st.text("abc", min_size=1, max_size=2)
    | st.sampled_from(HOSTILE_NAMES)
    | st.text(_letters, min_size=1, max_size=20)
)


def stream_ids() -> SearchStrategy[StreamId]:
    """Stream ids of up to four segments, some of which look like code or like one another."""
    joined = st.lists(_segments, min_size=1, max_size=4).map("/".join)
    return joined.filter(lambda text: len(text.encode()) <= MAX_ID_BYTES).map(StreamId)


# --- values ---------------------------------------------------------------------------------------

_TAKEN: Final = frozenset({SEALED, REQUEST, *STANDARD})
"""Keys that data or metadata must not have, or not with just any value."""

_texts: Final = st.text() | st.sampled_from(["\0", "e\u0301", "👩‍👩‍👧", "\u2028", "__proto__", '"\\/'])
_keys: Final = _texts.filter(lambda key: key not in _TAKEN)
_ints: Final = st.integers(-(2**63), 2**63 - 1)
_floats: Final = st.floats(allow_nan=False, allow_infinity=False)


def json_values() -> SearchStrategy[Any]:
    """Values for a field of type Any that are stored exactly: JSON's own, with ints of 64 bits."""
    return st.recursive(
        st.none() | st.booleans() | _ints | _floats | _texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
        max_leaves=8,
    )


def unstorable_values() -> SearchStrategy[Any]:
    """Values for a field of type Any that must be refused, because they would not come back equal."""
    return st.recursive(
        _culprits,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=2)
            | st.dictionaries(_texts, inner, min_size=1, max_size=2)
            | st.tuples(json_values(), inner, json_values()).map(list)
        ),
        max_leaves=2,
    )


def _nested(depth: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    return nest


_culprits: Final[SearchStrategy[Any]] = (
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 2**63, -(2**63) - 1, 2**70])
    | st.integers(min_value=2**63)
    | st.sampled_from(["\ud800", "half of a pair: \udfff", {"\ud800": 1}])
    | st.lists(st.integers(0, 9), max_size=3).map(tuple)
    | st.binary()
    | st.sets(st.integers(0, 9))
    | st.dictionaries(st.integers(0, 9) | st.none() | st.booleans(), st.none(), min_size=1)
    | st.decimals()
    | st.uuids()
    | st.datetimes()
    | st.sampled_from([object(), 1j, ..., int, Noted("an event"), b"", bytearray(b"x"), range(3)])
    | st.integers(101, 150).map(_nested)
)


# --- events ---------------------------------------------------------------------------------------


def events(*kinds: type[E]) -> SearchStrategy[E]:
    """Events of these classes, with values for their fields that can be stored: by the fields' types.

    kinds: event classes; if none are given, those that the testing kit brings, and events of unknown
        types. Values that a class refuses are left out. If it refuses nearly all, write a strategy of
        your own beside this one: `events(SetName) | st.builds(SetEmail, email=st.emails())`.
    """
    if not kinds:
        return st.one_of(*map(values, (Noted, Counted, AnyValue, Renamed)), st.sampled_from(UNKNOWN))
    return st.one_of([values(kind) for kind in kinds])


def values(kind: Any) -> SearchStrategy[Any]:
    """Values of a type that are stored exactly: what `events` uses for fields.

    Hypothesis' own from_type would give NaN for a float; registering other strategies with it would
    change it for everybody else.
    """
    if isinstance(kind, NewType):
        return values(kind.__supertype__)
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return values(args[0])
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of([values(arg) for arg in args])
    if origin is tuple and args[-1:] != (...,):
        return st.tuples(*map(values, args))
    if origin in _CONTAINERS:
        return _CONTAINERS[origin](*[values(arg) for arg in args if arg is not ...])
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and attrs.has(kind):
        return _objects(kind)
    return st.from_type(kind)


@cache
def _objects(kind: type) -> SearchStrategy[Any]:
    """Objects of an attrs class, which may contain itself: hence one deferred strategy for each."""

    def build() -> SearchStrategy[Any]:
        attrs.resolve_types(kind)
        fields = {
            field.alias or field.name: values(field.type) for field in attrs.fields(kind) if field.init
        }
        return _accepted(kind, fields)

    return st.deferred(build)


def _accepted(kind: type, fields: dict[str, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    """Objects of a class, but for those that its validators refuse."""
    made = refused = 0

    @st.composite
    def build(draw: st.DrawFn) -> Any:
        nonlocal made, refused
        given = {name: draw(strategy) for name, strategy in fields.items()}
        try:
            value = kind(**given)
        except (TypeError, ValueError) as error:
            refused += 1
            if refused >= _MOST_REFUSED and not made:
                raise ValueError(
                    f"{kind.__qualname__} refused all of {_MOST_REFUSED} values that were made by the "
                    f"types of its fields, the last with {error!r}: write a strategy of your own, "
                    f"st.builds({kind.__qualname__}, ...)"
                ) from error
            reject()
        made += 1
        return value

    return build()


_MOST_REFUSED: Final = 40
"""After how many values it is said that a class refuses them all."""

_CONTAINERS: Final[Mapping[Any, Callable[..., SearchStrategy[Any]]]] = {
    list: lambda inner: st.lists(inner, max_size=4),
    tuple: lambda inner: st.lists(inner, max_size=4).map(tuple),
    set: lambda inner: st.sets(inner, max_size=4),
    frozenset: lambda inner: st.frozensets(inner, max_size=4),
    dict: lambda keys, inner: st.dictionaries(keys, inner, max_size=4),
}

_LEAVES: Final[Mapping[Any, SearchStrategy[Any]]] = {
    Any: json_values(),
    type(None): st.none(),
    bool: st.booleans(),
    int: _ints,
    float: _floats,
    str: _texts,
    bytes: st.binary(max_size=20),
    UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    dt.date: st.dates(),
    dt.time: st.times().map(lambda time: time.replace(fold=0)),
    dt.timedelta: st.timedeltas(),
    dt.datetime: st.datetimes(timezones=st.none() | st.just(dt.UTC)).map(
        lambda time: time.replace(fold=0)
    ),
}


# --- appends --------------------------------------------------------------------------------------


def conditions() -> SearchStrategy[Expected]:
    """Conditions that short streams fulfil often enough."""
    return st.just(ANY) | st.sampled_from([NO_STREAM, EXISTS]) | st.integers(0, 4)


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Metadata of appends."""
    return st.builds(dict[str, Any]) | st.dictionaries(_keys, json_values(), max_size=2)


def batches(of: SearchStrategy[Any] | None = None, most: int = 3) -> SearchStrategy[tuple[Any, ...]]:
    """The events of one append: from one to `most`."""
    return st.lists(events() if of is None else of, min_size=1, max_size=most).map(tuple)


def appends(
    streams: SearchStrategy[StreamId] | None = None,
    of: SearchStrategy[Any] | None = None,
    append_ids: SearchStrategy[UUID | None] | None = None,
    requests: SearchStrategy[bytes | None] | None = None,
) -> SearchStrategy[Append]:
    """Appends to one stream.

    streams: to which; any if not given. A few that are drawn again and again make for conflicts.
    of: the events; those of `events()` if not given.
    append_ids: chosen ids; None, and so left to the store, if not given.
    requests: of the appends with a chosen id; none if not given.
    """
    streams = stream_ids() if streams is None else streams

    @st.composite
    def make(draw: st.DrawFn) -> Append:
        stream, events, expected = draw(streams), draw(batches(of)), draw(conditions())
        append_id, request = draw(_keyed(append_ids, requests))
        return Append(stream, events, expected, append_id, draw(metadata()), request)

    return make()


def _keyed(
    append_ids: SearchStrategy[UUID | None] | None, requests: SearchStrategy[bytes | None] | None
) -> SearchStrategy[tuple[UUID | None, bytes | None]]:
    """An append_id, and a request if there is one."""
    request = st.none() if requests is None else requests
    ids = st.none() if append_ids is None else append_ids
    return ids.flatmap(lambda id: st.tuples(st.just(id), st.none() if id is None else request))


def appends_to_several(
    streams: SearchStrategy[StreamId] | None = None,
    of: SearchStrategy[Any] | None = None,
    append_ids: SearchStrategy[UUID | None] | None = None,
    requests: SearchStrategy[bytes | None] | None = None,
) -> SearchStrategy[AppendAll]:
    """Appends to up to three streams, on conditions for others; arguments as of `appends`."""
    streams = stream_ids() if streams is None else streams
    several = st.lists(streams, min_size=1, max_size=4, unique=True)

    @st.composite
    def make(draw: st.DrawFn) -> AppendAll:
        chosen = draw(several)
        count = draw(st.integers(1, min(3, len(chosen))))
        append_id, request = draw(_keyed(append_ids, requests))
        return AppendAll(
            tuple(StreamAppend(s, draw(batches(of)), draw(conditions())) for s in chosen[:count]),
            tuple(Condition(s, draw(conditions())) for s in chosen[count:]),
            append_id,
            draw(metadata()),
            request,
        )

    return make()
