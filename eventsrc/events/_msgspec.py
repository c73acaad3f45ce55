"""The extra `fast`: msgspec, where it is installed, parses and writes JSON in place of `json`.

It writes dicts that `_writers` makes. It makes objects only of classes, and of data, that it takes for
exactly what `_readers` takes them. So what is installed decides the speed, and neither the bytes that
are written nor the events that are read.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from eventsrc._errors import REFUSALS
from eventsrc.events._readers import is_set_field_by_field
from eventsrc.events._shapes import REAL, Choice, Items, Members, Object, Optional, Table


class Functions(NamedTuple):
    """The functions that msgspec offers; they raise for what it does not take."""

    parse: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    reader: Callable[[type], PageReader | None]


PageReader = Callable[[Sequence[bytes]], list[Any]]
"""The events of data of a class; it raises for data that others must look at."""


@cache
def functions() -> Functions | None:
    """The functions of msgspec, if it is installed."""
    try:
        import msgspec
    except ImportError:
        return None

    def reader(cls: type) -> PageReader | None:
        try:
            leaves = {*_leaves(Object(cls), set())}
        except (NameError, *REFUSALS):
            return None
        if not leaves <= _READ_ALIKE:
            return None
        decode: Callable[[bytes], Any] = msgspec.json.Decoder(cls).decode
        odd = [_ODD[leaf] for leaf in leaves if leaf in _ODD]
        if not odd:
            return lambda datas: [*map(decode, datas)]
        search = re.compile(b"|".join(odd)).search

        def read(datas: Sequence[bytes]) -> list[Any]:
            if search(b"\n".join(datas)):
                raise ValueError("msgspec may read this otherwise")
            return [*map(decode, datas)]

        return read

    return Functions(msgspec.json.Decoder().decode, msgspec.json.Encoder().encode, reader)


_ODD: Final[dict[Any, bytes]] = {
    REAL.datetime: rb"\.\d{7}",  # it rounds what is shorter than a microsecond
    float: rb"\d{16}|-0[^.\de]",  # it rounds long integers, and makes -0.0 of the integer -0
}
_READ_ALIKE: Final[frozenset[Any]] = frozenset(
    {bool, REAL.date, REAL.datetime, enum.Enum, float, int, str, type(None), UUID}
)


def _leaves(shape: Any, seen: set[type]) -> Iterator[Any]:
    """The leaves of a shape. Whatever msgspec may take for something else is one."""
    match shape:
        case Optional(inner) | Table(inner):
            yield from _leaves(inner, seen)
        case Items(container, inner) if container in (list, tuple):
            yield from _leaves(inner, seen)
        case Choice(options, _) if {*map(type, options)} in ({str}, {int}):
            pass
        case Members(cls) if {type(member.value) for member in cls} in ({str}, {int}):
            is_plain = not issubclass(cls, enum.Flag) and cls._missing_ == enum.Enum._missing_
            yield enum.Enum if is_plain else cls
        case Object(cls) if cls not in seen:
            seen.add(cls)
            if not is_set_field_by_field(cls):
                yield cls
            for field, inner in shape.fields():
                if field.alias != field.name or field.name.startswith("_"):
                    yield cls
                yield from _leaves(inner, seen)
        case Object():
            pass
        case _:
            yield shape
