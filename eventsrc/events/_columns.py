"""Whether many values of a type can be stored exactly, told at once: a column of fields at a time.

Loops in C go over the columns, which takes a fraction of what checking each value does. They know the
types that events have most, and are only ever sure that values pass; where they are not, exact.py looks
at each value, and says what is wrong.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import types
import typing
import uuid
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeAlias, Union, get_args, get_origin

import attrs

Glance: TypeAlias = Callable[[Sequence[Any]], bool]


def glance_for(kind: Any) -> Glance:
    """Tells of values of a type, at least one, whether all of them surely pass `check_for(kind)`."""
    return _glance(kind, ())


def _glance(kind: Any, around: tuple[type, ...]) -> Glance:
    """around: the classes that it is part of."""
    while isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    origin, args = get_origin(kind), get_args(kind)
    if origin is Union or origin is types.UnionType:
        some = [member for member in args if member is not type(None)]
        return _optional(_glance(some[0], around)) if len(some) == 1 else _unsure
    if origin is list and args:
        return _lists(_glance(args[0], around))
    if kind in _LEAVES:
        return _of_type(kind, _LEAVES[kind])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _of_type(kind, _sure)
    if isinstance(kind, type) and attrs.has(kind) and kind not in around:
        attrs.resolve_types(kind)
        return _objects(kind, (*around, kind))
    return _unsure


def _of_type(kind: type, glance: Glance) -> Glance:
    only = {kind}
    return lambda values: {*map(type, values)} == only and glance(values)


def _optional(glance: Glance) -> Glance:
    def glance_at_some(values: Sequence[Any]) -> bool:
        some = [value for value in values if value is not None]
        return not some or glance(some)

    return glance_at_some


def _lists(glance: Glance) -> Glance:
    def glance_inside(values: Sequence[Any]) -> bool:
        items = [*chain.from_iterable(values)]
        return not items or glance(items)

    return _of_type(list, glance_inside)


def _objects(kind: type, around: tuple[type, ...]) -> Glance:
    fields = attrs.fields(kind)
    columns = [(attrgetter(field.name), _glance(field.type, around)) for field in fields]

    def glance_at_fields(values: Sequence[Any]) -> bool:
        return all(glance([*map(column, values)]) for column, glance in columns)

    return _of_type(kind, glance_at_fields)


def _sure(_: Sequence[Any]) -> bool:
    return True


def _unsure(_: Sequence[Any]) -> bool:
    return False


def _texts(values: Sequence[str]) -> bool:
    return all(map(str.isascii, values))


def _ints(values: Sequence[int]) -> bool:
    return min(values) >= -(2**63) and max(values) < 2**63


def _floats(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _decimals(values: Sequence[decimal.Decimal]) -> bool:
    return all(map(decimal.Decimal.is_finite, values))


def _datetimes(values: Sequence[datetime.datetime]) -> bool:
    zones = {*map(attrgetter("tzinfo"), values)}
    return zones <= {None, datetime.UTC} and not any(map(attrgetter("fold"), values))


_LEAVES: Final[dict[Any, Glance]] = {
    str: _texts,
    int: _ints,
    float: _floats,
    bool: _sure,
    uuid.UUID: _sure,
    decimal.Decimal: _decimals,
    datetime.datetime: _datetimes,
    datetime.date: _sure,
    datetime.timedelta: _sure,
    bytes: _sure,
}
