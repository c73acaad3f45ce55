"""JSON schemas of classes, as JSON Schema 2020-12 has it, of what the library's JSON makes of them."""

from __future__ import annotations

import datetime
import enum
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

import attrs

from eventsrc.events.event import EventTypeError

Schema = dict[str, Any]
"""A JSON schema."""


def schema_of(kind: type) -> Schema:
    """The schema of an attrs class of plain values. Raises EventTypeError for a field that has none."""
    found: dict[type, Schema] = {}
    schema = _of(kind, kind.__qualname__, found)
    names = [each.__name__ for each in found]
    if len({*names}) < len(names):
        raise EventTypeError(
            f"{kind.__qualname__} is made of two classes of one name, of {', '.join(sorted(names))}: "
            "others could not tell them apart, so give one another name"
        )
    classes = {each.__name__: its for each, its in found.items()}
    its = classes.pop(kind.__name__)
    if kind.__name__ in _named_in([its, *classes.values()]):  # it has itself in it
        return {**schema, "$defs": {kind.__name__: its, **classes}}
    return {**its, "$defs": classes} if classes else its


def _of(kind: Any, where: str, classes: dict[type, Schema]) -> Schema:
    """where: the class and field that it is of."""
    if isinstance(kind, typing.NewType):
        return _of(kind.__supertype__, where, classes)
    if hasattr(kind, "__value__"):
        return _of(kind.__value__, where, classes)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _of(args[0], where, classes)
    if origin is Literal:
        return {"enum": [*args]}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_of(arg, where, classes) for arg in args]}
    maker = _CONTAINERS.get(origin or kind)
    if maker is not None:
        return maker([_of(arg, where, classes) for arg in args if arg is not ...], ... in args)
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [each.value for each in kind]}
    if isinstance(kind, type) and attrs.has(kind):
        return _of_class(kind, classes)
    raise EventTypeError(
        f"{where} is {kind!r:.100}, of which no JSON schema is known: use plain values, lists, dicts, "
        "unions, enums and attrs classes of these"
    )


def _of_class(kind: type, classes: dict[type, Schema]) -> Schema:
    if kind not in classes:
        its = classes[kind] = {"type": "object"}
        hints = typing.get_type_hints(kind, include_extras=True)
        names = [field.name for field in attrs.fields(kind)]  # pyright: ignore
        its["properties"] = {
            name: _of(hints[name], f"{kind.__qualname__}.{name}", classes) for name in names
        }
        its["required"] = names
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _named_in(schemas: Any) -> set[str]:
    """The classes that schemas refer to."""
    if isinstance(schemas, list):
        return {name for each in schemas for name in _named_in(each)}
    if isinstance(schemas, dict):
        found = {name for each in schemas.values() for name in _named_in(each)}
        its = schemas.get("$ref")
        return found | {its.rpartition("/")[2]} if isinstance(its, str) else found
    return set()


def _array(items: list[Schema], _is_open: bool) -> Schema:
    return {"type": "array", "items": items[0]} if items else {"type": "array"}


def _set(items: list[Schema], _is_open: bool) -> Schema:
    return {**_array(items, _is_open), "uniqueItems": True}


def _tuple(items: list[Schema], is_open: bool) -> Schema:
    if is_open or not items:
        return _array(items, is_open)
    size = len(items)
    return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}


def _object(items: list[Schema], _is_open: bool) -> Schema:
    return {"type": "object", "additionalProperties": items[1]} if items else {"type": "object"}


_CONTAINERS: Final[dict[Any, Callable[[list[Schema], bool], Schema]]] = {
    list: _array,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    dict: _object,
}
_PLAIN: Final[dict[Any, Schema]] = {
    Any: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    UUID: {"type": "string", "format": "uuid"},
    Decimal: {"type": "string", "pattern": "^-?[0-9.E+-]+$"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.timedelta: {"type": "integer", "description": "microseconds"},
}
