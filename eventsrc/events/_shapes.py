"""Shapes: types as the codec sees them, told apart once for all who walk over them."""

from __future__ import annotations

import datetime
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias, Union, cast, get_args, get_origin

import attrs

Leaf: TypeAlias = type


class Optional(NamedTuple):
    """None, or a value of another shape."""

    some: Shape


class Items(NamedTuple):
    """Any number of items of one shape, in a list, tuple, set or frozenset."""

    container: type
    item: Shape


class Row(NamedTuple):
    """A tuple of so many items, each of its own shape."""

    items: tuple[Shape, ...]


class Table(NamedTuple):
    """A dict whose keys are texts."""

    item: Shape


class Choice(NamedTuple):
    """One of some values: the options of a Literal."""

    options: tuple[Any, ...]
    annotation: Any


class Members(NamedTuple):
    """A member of an enum."""

    cls: type[enum.Enum]


class Object(NamedTuple):
    """An attrs class. It may hold itself, so its fields have their shapes only when asked for."""

    cls: type

    def fields(self) -> Iterator[tuple[attrs.Attribute[Any], Shape]]:
        """Its fields, each with its shape. Raises NameError for a type that cannot be resolved."""
        attrs.resolve_types(self.cls)
        return ((field, shape_of(field.type)) for field in attrs.fields(self.cls))


class Either(NamedTuple):
    """A value of one of several types."""

    types: tuple[Any, ...]
    annotation: Any


class Other(NamedTuple):
    """A type of which nothing is known here."""

    annotation: Any


Shape: TypeAlias = Leaf | Optional | Items | Row | Table | Choice | Members | Object | Either | Other

_FAKES: Final = "freezegun.api"


def real(kind: Any) -> Any:
    """The class that one of freezegun's stands for, while tests freeze the time; others as given."""
    if getattr(kind, "__module__", None) != _FAKES or not isinstance(kind, type):
        return kind
    return next(base for base in kind.__mro__ if base.__module__ == "datetime")


class REAL:
    """The classes of dates as they are, in a place where freezegun does not replace them."""

    date: Final = cast("type[datetime.date]", real(datetime.date))
    datetime: Final = cast("type[datetime.datetime]", real(datetime.datetime))


LEAVES: Final[frozenset[Any]] = frozenset(
    {
        Any,
        bool,
        bytes,
        REAL.date,
        REAL.datetime,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        float,
        int,
        str,
        type(None),
        uuid.UUID,
    }
)


def shape_of(kind: Any) -> Any:
    """The Shape of a type as it is annotated."""
    while isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return shape_of(args[0])
    if origin is Literal:
        return Choice(args, kind)
    if origin is Union or origin is types.UnionType:
        some = [member for member in args if member is not type(None)]
        return Optional(shape_of(some[0])) if len(some) == 1 else Either(args, kind)
    if real(kind) in LEAVES:
        return real(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return Members(kind)
    if origin is tuple and args and args[1:] != (...,):
        return Row(tuple(map(shape_of, args)))
    if origin in (list, tuple, set, frozenset) and args:
        return Items(origin, shape_of(args[0]))
    if origin is dict and args and shape_of(args[0]) is str:
        return Table(shape_of(args[1]))
    if origin is None and isinstance(kind, type) and attrs.has(kind):
        return Object(kind)
    return Other(kind)
