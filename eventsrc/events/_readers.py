"""Readers: a function for each class of events that makes it of parsed JSON, from its types.

A reader takes what fits the types exactly, and coerces nothing: `null` is no text, 1.9 no integer. What
it does not know itself it leaves to a hook of cattrs, and takes the answer if it is written again as
what was read.
"""

from __future__ import annotations

import base64
import datetime
import enum
import json
import math
import re
import types
from collections.abc import Callable
from decimal import Decimal
from textwrap import indent
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias, cast
from uuid import UUID

import attrs

from eventsrc._errors import REFUSALS, with_article
from eventsrc.events._exact import inside, shown
from eventsrc.events._json import dumps
from eventsrc.events._shapes import (
    REAL,
    Choice,
    Either,
    Items,
    Members,
    Object,
    Optional,
    Other,
    Row,
    Table,
)
from eventsrc.events._source import Source
from eventsrc.events._uuids import parsed

Reader: TypeAlias = Callable[[Any], Any]
"""The event that parsed JSON is of; it raises Misfit, or anything, for what does not fit."""


class Misfit(ValueError):
    """Stored data does not fit its type; `path` leads to what does not."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


Structure: TypeAlias = Callable[[Any, Any], Any]


class Hooks(NamedTuple):
    """The hooks of a converter for the types that readers leave to it."""

    structure: Callable[[Any], Structure]
    unstructure: Callable[[Any], Callable[[Any], Any]]


_CONVERTED: Final[dict[Any, tuple[str, type, str]]] = {
    UUID: ("a UUID in a str", str, "uuid($v)"),
    Decimal: ("a number in a str", str, "decimal($v)"),
    REAL.datetime: ("a datetime in a str", str, "datetime_of($v)"),
    REAL.date: ("a date in a str", str, "date($v)"),
    datetime.time: ("a time in a str", str, "time($v)"),
    datetime.timedelta: ("a number of microseconds", int, "timedelta(0, 0, $v)"),
    bytes: ("bytes in a str", str, "bytes_of($v)"),
}
"""For each way to write a leaf: the JSON type that it is of, and the function that makes it of that."""

_PLAIN: Final = {str: "a str", int: "an int", bool: "a bool", types.NoneType: "null"}


class _Reading:
    """Puts a reader together, of a function for each class."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._names: dict[type, str] = {}
        self._source = Source(
            ABSENT=object(),
            REFUSALS=REFUSALS,
            bytes_of=_bytes,
            date=REAL.date.fromisoformat,
            datetime_of=_datetime,
            decimal=_finite,
            NoneType=types.NoneType,
            isfinite=math.isfinite,
            make=object.__new__,
            misfit=_misfit,
            missing=_missing,
            placed=_placed,
            set_of=_set_of,
            time=datetime.time.fromisoformat,
            timedelta=datetime.timedelta,
            uuid=_uuid,
        )

    def made(self, cls: type) -> Reader:
        return cast("Reader", self._source.compiled(self._function(Object(cls)), cls))

    def _function(self, shape: Object) -> str:
        name = self._names.get(shape.cls)
        if name is None:
            name = self._names[shape.cls] = f"read_{len(self._names)}"
            fields = [*shape.fields()]
            made = is_set_field_by_field(shape.cls)
            self._source.function(
                name, self._set(shape.cls, fields) if made else self._called(shape.cls, fields)
            )
        return name

    def _set(self, cls: type, fields: list[Any]) -> str:
        """As attrs' own `__init__`, for classes that do no more than that when they are made."""
        lines = ["if type(v) is not dict: misfit(v, 'an object')", "get = v.get"]
        sets = [f"made = make({self._source.name(cls)})"]
        for index, (field, shape) in enumerate(fields):
            default = field.default
            if default is attrs.NOTHING:
                absent = f"missing({field.name!r})"
            elif isinstance(default, attrs.Factory):  # type: ignore[arg-type]
                absent = f"f{index} = {self._source.name(default.factory)}()"
            else:
                absent = f"f{index} = {self._source.name(default)}"
            inner = self._field(field.name, shape, f"f{index}")
            lines.append(f"f{index} = get({field.name!r}, ABSENT)\nif f{index} is ABSENT: {absent}")
            if inner:
                lines.append(f"else:\n{indent(inner, '    ')}")
            slot = vars(cls).get(field.name) or getattr(cls, field.name, None)
            if type(slot) is types.MemberDescriptorType:
                sets.append(f"{self._source.name(slot.__set__)}(made, f{index})")
            else:
                sets.append(f"made.__dict__[{field.name!r}] = f{index}")
        return "\n".join([*lines, *sets, "return made"])

    def _called(self, cls: type, fields: list[Any]) -> str:
        lines = ["if type(v) is not dict: misfit(v, 'an object')", "given = {}"]
        for index, (field, shape) in enumerate(fields):
            if not field.init:
                continue
            inner = self._field(field.name, shape, f"f{index}")
            take = f"{inner}\ngiven[{field.alias!r}] = f{index}"
            lines.append(
                f"f{index} = v.get({field.name!r}, ABSENT)\n"
                f"if f{index} is not ABSENT:\n{indent(take.strip(), '    ')}"
            )
        return "\n".join([*lines, f"return {self._source.name(cls)}(**given)"])

    def _field(self, name: str, shape: Any, v: str) -> str:
        """The lines that convert a field, which say where it is if it does not fit."""
        lines = self._value(shape, v)
        if not lines:
            return ""
        return f"try:\n{indent(lines, '    ')}\nexcept REFUSALS as error: placed(error, {name!r})"

    def _value(self, shape: Any, v: str) -> str:
        """The lines that make `v`, parsed JSON, a value of a shape."""
        match shape:
            case Optional(some):
                inner = self._value(some, v)
                return f"if {v} is not None:\n{indent(inner, '    ')}" if inner else ""
            case Items(container, item):
                return self._items(container, item, v)
            case Row(items):
                return self._row(items, v)
            case Table(item):
                return self._table(item, v)
            case Object():
                return f"{v} = {self._function(shape)}({v})"
            case Members(cls) if {type(member.value) for member in cls} <= {str, int, bool, float}:
                members = self._source.name(_members(cls))
                return f"{v} = {members}({v})"
            case Choice(options, _) if all(
                type(one) in (str, int, bool, types.NoneType) for one in options
            ):
                known = self._source.name({(type(one), one) for one in options})
                wanted = f"one of {options}"
                hashable = f"type({v}) in (list, dict) or (type({v}), {v}) not in {known}"
                return f"if {hashable}: misfit({v}, {wanted!r})"
            case Either(members, _) if {*members} <= _PLAIN.keys() | {float} and not (
                {int, float} <= {*members}
            ):
                allowed = self._source.name(frozenset(members))
                wanted = f"one of {', '.join(member.__name__ for member in members)}"
                return (
                    f"if type({v}) not in {allowed} or type({v}) is float and not isfinite({v}): "
                    f"misfit({v}, {wanted!r})"
                )
            case Members(cls):
                return self._left(cls, v)
            case Either() | Choice() | Other():
                return self._left(shape.annotation, v)
            case _:
                return self._leaf(shape, v)

    def _leaf(self, shape: Any, v: str) -> str:
        if shape is Any:
            return ""
        if shape in _PLAIN:
            return f"if type({v}) is not {shape.__name__}: misfit({v}, {_PLAIN[shape]!r})"
        if shape is float:
            return (
                f"if type({v}) is int and -0x20000000000000 <= {v} <= 0x20000000000000: "
                f"{v} = float({v})\n"
                f"elif type({v}) is not float or not isfinite({v}): misfit({v}, 'a float')"
            )
        wanted, kind, made = _CONVERTED[shape]
        return (
            f"if type({v}) is not {kind.__name__}: misfit({v}, {wanted!r})\n"
            f"{v} = {made.replace('$v', v)}"
        )

    def _items(self, container: type, item: Any, v: str) -> str:
        lines = f"if type({v}) is not list: misfit({v}, 'a list')"
        inner = self._value(item, f"{v}i")
        if inner:
            lines += (
                f"\n{v}s = []\nfor {v}i in {v}:\n    try:\n{indent(inner, ' ' * 8)}\n"
                f"    except REFUSALS as error: placed(error, f'[{{len({v}s)}}]')\n"
                f"    {v}s.append({v}i)\n{v} = {v}s"
            )
        if container is tuple:
            return f"{lines}\n{v} = tuple({v})"
        return lines if container is list else f"{lines}\n{v} = set_of({container.__name__}, {v})"

    def _row(self, items: tuple[Any, ...], v: str) -> str:
        count = len(items)
        lines = [
            f"if type({v}) is not list or len({v}) != {count}: misfit({v}, 'a list of {count}')",
        ]
        for index, item in enumerate(items):
            lines += [f"{v}_{index} = {v}[{index}]", self._field(f"[{index}]", item, f"{v}_{index}")]
        inside = "".join(f"{v}_{index}, " for index in range(count))
        return "\n".join(line for line in [*lines, f"{v} = ({inside})"] if line)

    def _table(self, item: Any, v: str) -> str:
        lines = f"if type({v}) is not dict: misfit({v}, 'an object')"
        inner = self._value(item, f"{v}i")
        if not inner:
            return lines
        return (
            f"{lines}\n{v}s = {{}}\nfor {v}k, {v}i in {v}.items():\n    try:\n"
            f"{indent(inner, ' ' * 8)}\n"
            f"    except REFUSALS as error: placed(error, f'[{{{v}k!r}}]')\n"
            f"    {v}s[{v}k] = {v}i\n{v} = {v}s"
        )

    def _left(self, kind: Any, v: str) -> str:
        """The line that leaves a type to a hook of cattrs."""
        structure, unstructure = self._hooks.structure(kind), self._hooks.unstructure(kind)

        def take(stored: Any) -> Any:
            value = structure(stored, kind)
            if not _is_same(stored, json.loads(dumps(unstructure(value))), value):
                raise Misfit(f"{shown(stored)} would be read as {shown(value)}")
            return value

        return f"{v} = {self._source.name(take)}({v})"


def reader(cls: type, hooks: Hooks) -> Reader:
    """The function that makes events of a class of parsed JSON."""
    return _Reading(hooks).made(cls)


def is_set_field_by_field(cls: type) -> bool:
    """Whether attrs' `__init__` does no more for a class than set its fields."""
    fields = attrs.fields(cls)
    is_plain = all(
        field.init
        and field.converter is None
        and field.validator is None
        and not (isinstance(field.default, attrs.Factory) and field.default.takes_self)  # type: ignore[arg-type]
        for field in fields
    )
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    has_slots = [type(getattr(cls, f.name, None)) is types.MemberDescriptorType for f in fields]
    has_dict = bool(getattr(cls, "__dictoffset__", 0))
    return (
        is_plain
        and not any(
            hasattr(cls, name)
            for name in (
                "__attrs_pre_init__",
                "__attrs_post_init__",
                "__attrs_init__",
                "_attrs_cached_hash",
            )
        )
        and code is not None
        and code.co_filename.startswith("<attrs generated")
        and cls.__new__ is object.__new__  # type: ignore[comparison-overlap]
        and not issubclass(cls, BaseException)
        and (all(has_slots) or (has_dict and not any(hasattr(cls, f.name) for f in fields)))
    )


# --- what the functions call ----------------------------------------------------------------------


def _misfit(value: Any, wanted: str) -> NoReturn:
    raise Misfit(f"{shown(value)} is not {wanted}")


def _missing(name: str) -> NoReturn:
    raise Misfit("it is missing, and has no default", name)


def _placed(error: Exception, place: str) -> NoReturn:
    """Raises a Misfit that leads to a part of a value."""
    bad = error if isinstance(error, Misfit) else Misfit(str(error) or type(error).__name__)
    raise Misfit(bad.reason, inside(place, bad.path)) from error.__cause__


def _uuid(text: str) -> UUID:
    if not (text.isascii() and text.replace("-", "").isalnum()):  # int takes spaces and underscores
        raise ValueError(f"{shown(text)} is no UUID")
    return parsed(text)


def _datetime(text: str) -> datetime.datetime:
    if len(text) > _SHORT and _TOO_EXACT.search(text):
        raise ValueError(f"{shown(text)} is more exact than a microsecond")
    try:
        return REAL.datetime.fromisoformat(text)
    except ValueError:
        return REAL.datetime.fromisoformat(text.upper())  # as RFC 3339 has it


_SHORT: Final = len("2026-12-31T12:00:00.000000")
_TOO_EXACT: Final = re.compile(r"[.,][0-9]{7}")


def _bytes(text: str) -> bytes:
    made = base64.b85decode(text)
    if base64.b85encode(made).decode() != text:
        raise ValueError(f"{shown(text)} is no base85")
    return made


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(f"{shown(text)} is no number")
    return number


def _set_of(container: type, items: list[Any]) -> Any:
    made = container(items)
    if len(made) != len(items):
        raise ValueError(f"{shown(items)} holds something twice")
    return made


def _members(cls: type[enum.Enum]) -> Callable[[Any], enum.Enum]:
    kinds = {type(member.value) for member in cls}
    known: dict[Any, enum.Enum] = {member.value: member for member in cls}

    def take(value: Any) -> enum.Enum:
        if type(value) in kinds:
            member = known.get(value)
            if member is None:
                member = cls(value)  # a combination of flags
            if type(member.value) is type(value) and member.value == value:
                return member
        raise Misfit(f"{shown(value)} is not {with_article(cls)}")

    return take


def _is_same(stored: Any, again: Any, value: Any) -> bool:
    """Whether a value that was read is written as what was stored.

    Fields may be missing, which have a default, and fields be left over, which a class had before.
    """
    if isinstance(stored, dict) and isinstance(again, dict):
        if attrs.has(type(value)) or hasattr(type(value), "__dataclass_fields__"):
            return all(
                _is_same(stored[name], again[name], getattr(value, name, None))
                for name in stored.keys() & again.keys()
            )
        inner: Any = value.values() if isinstance(value, dict) else (None,) * len(again)
        return stored.keys() == again.keys() and all(
            _is_same(stored[name], part, one)
            for (name, part), one in zip(again.items(), inner, strict=True)
        )
    if isinstance(stored, list) and isinstance(again, list):
        inner = value if isinstance(value, list | tuple) else (None,) * len(again)
        if len(inner) != len(again):
            inner = (None,) * len(again)
        return len(stored) == len(again) and all(map(_is_same, stored, again, inner))
    if type(stored) is int and type(again) is float:
        return stored == again
    return type(stored) is type(again) and bool(stored == again)
