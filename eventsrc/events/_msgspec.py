"""The extra `fast`: msgspec, where it is installed, reads and writes JSON in place of Python's own.

msgspec makes attrs objects of JSON several times as fast as json and cattrs do. It reads classes all of
whose fields have types that it takes for what cattrs takes them, if a codec has written them; what it
refuses is left to cattrs. It writes those that come out the same to the byte, which numbers with a
point and sets do not. So a store can be used with and without it in turn.
"""

from __future__ import annotations

import datetime
import enum
import types
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import attrs

from eventsrc._errors import REFUSALS

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

_WRITTEN_ALIKE: Final[frozenset[Any]] = frozenset(
    {str, int, bool, type(None), UUID, Decimal, datetime.datetime, datetime.date, enum.Enum}
)
_READ_ALIKE: Final = _WRITTEN_ALIKE | {float, frozenset}


def reader(cls: type[T]) -> Callable[[bytes], T] | None:
    """What makes objects of an attrs class of JSON by msgspec, if it is there and can.

    It may raise for JSON that cattrs takes.
    """
    msgspec = _msgspec()
    if msgspec is None or not _consists_of(cls, _READ_ALIKE):
        return None
    decode: Callable[[bytes], T] = msgspec.json.Decoder(cls).decode
    return decode


def either(swiftly: Callable[[A], B], plainly: Callable[[A], B]) -> Callable[[A], B]:
    """What answers swiftly or, if that raises, plainly."""

    def answer(asked: A) -> B:
        try:
            return swiftly(asked)
        except REFUSALS:
            return plainly(asked)

    return answer


def writer(cls: type) -> Callable[[Any], bytes] | None:
    """What makes JSON of objects of an attrs class by msgspec, if it is there and does as cattrs does.

    It may raise for objects that cattrs takes.
    """
    msgspec = _msgspec()
    if msgspec is None or not _consists_of(cls, _WRITTEN_ALIKE):
        return None
    encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
    return encode


def _msgspec() -> Any:
    """The module, or None where it is not installed."""
    try:
        import msgspec
    except ImportError:
        return None
    return msgspec


def _consists_of(cls: type, leaves: frozenset[Any]) -> bool:
    """Whether the fields of a class, and of the classes in it, are of these types in the end."""
    try:
        return all(leaf in leaves for leaf in _leaves(cls, set()))
    except (NameError, *REFUSALS):  # a type that cannot be resolved
        return False


def _leaves(kind: Any, seen: set[type]) -> Iterator[Any]:
    """What a type is made of. What msgspec and cattrs may see differently is a leaf."""
    while isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    origin, args = get_origin(kind), get_args(kind)
    is_optional = (origin is Union or origin is types.UnionType) and type(None) in args
    if (is_optional and len(args) == 2) or origin is list:
        parts: tuple[Any, ...] = args
    elif origin is frozenset:
        yield frozenset
        parts = args
    elif origin is tuple and args[1:] == (...,):
        parts = args[:1]
    elif origin is dict and args[0] is str:
        parts = args[1:]
    elif origin is Literal:
        parts = tuple(type(arg) for arg in args if type(arg) not in (str, int))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        is_plain = all(type(member.value) in (str, int) for member in kind)
        yield enum.Enum if is_plain else kind
        return
    elif isinstance(kind, type) and attrs.has(kind):
        if kind in seen:
            return
        seen.add(kind)
        attrs.resolve_types(kind)
        fields = attrs.fields(kind)
        if not all(f.init and f.converter is None and f.alias == f.name for f in fields):
            yield kind
        parts = tuple(field.type for field in fields)
    else:
        yield type(None) if kind is None else kind
        return
    for part in parts:
        yield from _leaves(part, seen)
