"""Checks, made from types, that a value can be stored exactly; they run before anything is written.

JSON has fewer values than Python. `check_for(type)` makes a function that raises NotStorable, with the
path to the culprit, for a value that would not come back equal: NaN, a lone surrogate, an integer of
more than 64 bits, a tuple where the type says Any. For a type of which more would have to be known (a
union of classes, a field with a converter) the checks are incomplete, and what comes back is compared.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import threading
import types
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias, get_origin

import attrs

from eventsrc._errors import EventsrcError, with_article
from eventsrc.events._shapes import (
    REAL,
    Choice,
    Either,
    Items,
    Members,
    Object,
    Optional,
    Row,
    Table,
    real,
    shape_of,
)

Check: TypeAlias = Callable[[Any], None]

MAX_DEPTH: Final = 100
"""The deepest nesting of JSON-able values."""

_INT64: Final = 2**63
_FLOAT_INT: Final = 2**53


class NotStorable(EventsrcError, ValueError):
    """A value that would not come back as it was; `path` leads to it, `reason` says why."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path or 'the value'} cannot be stored: {self.reason}"

    def within(self, place: str) -> NotStorable:
        """The same, seen from the container."""
        return NotStorable(self.reason, inside(place, self.path))


def inside(place: str, path: str) -> str:
    """The path to a part of a value, seen from the container in which the value is at a place."""
    return f"{place}{path}" if not path or path.startswith("[") else f"{place}.{path}"


class Checks(NamedTuple):
    """The checks of the values of a type."""

    check: Check
    is_complete: bool
    """Whether all that passes the check comes back equal."""


def check_for(kind: Any) -> Checks:
    """The checks for values of a type."""
    reading = _Reading()
    check = reading.check(kind)
    return Checks(check, reading.is_complete)


def check_json(value: Any) -> None:
    """Raises NotStorable unless a value of unknown type is JSON-able and would come back equal."""
    _json(value, MAX_DEPTH)


def is_alike(one: Any, other: Any) -> bool:
    """Whether two values are equal, where an hour that comes twice equals itself in another zone.

    By `==` a time in such an hour equals none that has another zone (PEP 495).
    """
    if one == other:
        return True
    kind = real(type(one))
    if kind is not real(type(other)):
        return False
    if kind is REAL.datetime:
        return bool(one.isoformat() == other.isoformat())
    if attrs.has(kind):
        names = [field.name for field in attrs.fields(kind) if field.eq]
        return all(is_alike(getattr(one, name), getattr(other, name)) for name in names)
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(is_alike, one, other))
    if kind is dict:
        return one.keys() == other.keys() and all(is_alike(one[key], other[key]) for key in one)
    return False


# --- leaves ---------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value for a message: at most 80 characters, whatever its repr does."""
    try:
        text = repr(value)
    except Exception:  # a repr of the user's that raises, or an int too long to print
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse(value: Any, wanted: str) -> NoReturn:
    raise NotStorable(f"{shown(value)} is {with_article(type(value))}, not {wanted}")


def _str(value: Any) -> None:
    if not isinstance(value, str):
        _refuse(value, "a str")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise NotStorable(
                f"{shown(value)} has a lone surrogate, which UTF-8 cannot hold"
            ) from error


def _int(value: Any) -> None:
    if type(value) is not int:
        _refuse(value, "an int")
    if not -_INT64 <= value < _INT64:
        raise NotStorable(f"{shown(value)} needs more than 64 bits: use a str or a Decimal")


def _float(value: Any) -> None:
    if type(value) is int and -_FLOAT_INT <= value <= _FLOAT_INT:
        return
    if type(value) is not float:
        _refuse(value, "a float")
    if value != value or value in (float("inf"), float("-inf")):
        raise NotStorable(f"JSON has no {value}: use None or a str")


def _bool(value: Any) -> None:
    if type(value) is not bool:
        _refuse(value, "a bool")


def _none(value: Any) -> None:
    if value is not None:
        _refuse(value, "None")


def _decimal(value: Any) -> None:
    if type(value) is not decimal.Decimal:
        _refuse(value, "a Decimal")
    if not value.is_finite():
        raise NotStorable(f"{value} is not a number: use None")


def _datetime(value: Any) -> None:
    if real(type(value)) is not REAL.datetime:
        _refuse(value, "a datetime")
    if value.fold or value.tzinfo not in (None, datetime.UTC):
        text = value.isoformat()
        back, offset = REAL.datetime.fromisoformat(text), value.utcoffset()
        if offset is None or offset % datetime.timedelta(minutes=1):  # no JSON date has such an offset
            is_same = back == value and not value.fold and offset is None
        else:  # not by ==, by which an hour that comes twice equals nothing that has another zone
            is_same = back.utcoffset() == offset and back.isoformat() == text
        if not is_same:
            raise NotStorable(f"{value!r} is ambiguous or has an odd offset: convert it to UTC")


def _time(value: Any) -> None:
    if type(value) is not datetime.time:
        _refuse(value, "a time")
    back = datetime.time.fromisoformat(value.isoformat())
    if value.fold or back != value or (back.tzinfo is None) != (value.tzinfo is None):
        raise NotStorable(f"{value!r} would come back as {back!r}: store a time without a time zone")


def _json(value: Any, depth: int) -> None:
    kind = type(value)
    leaf = _JSON_LEAVES.get(kind)
    if leaf is not None:
        leaf(value)
    elif not depth:
        raise NotStorable(f"it nests more than {MAX_DEPTH} levels deep")
    elif kind is list:
        for index, item in enumerate(value):
            try:
                _json(item, depth - 1)
            except NotStorable as bad:
                raise bad.within(f"[{index}]") from None
    elif kind is dict:
        for key, item in value.items():
            _key(key)
            try:
                _json(item, depth - 1)
            except NotStorable as bad:
                raise bad.within(f"[{key!r}]") from None
    elif kind is tuple:
        raise NotStorable(f"{shown(value)} would come back as a list: store a list")
    else:
        raise NotStorable(
            f"{shown(value)} is {with_article(kind)}, which JSON does not have: give the field its type"
        )


def _key(key: Any) -> None:
    if type(key) is not str:
        raise NotStorable(f"the key {shown(key)} would come back as a str: use a str")
    try:
        _str(key)
    except NotStorable as bad:
        raise NotStorable(f"the key {bad.reason}") from None


_JSON_LEAVES: Final[dict[type, Check]] = {
    str: _str,
    int: _int,
    float: _float,
    bool: _bool,
    type(None): _none,
}


def _instance(kind: type) -> Check:
    def check(value: Any) -> None:
        if type(value) is not kind and real(type(value)) is not kind:
            _refuse(value, f"a {kind.__qualname__}")

    return check


_LEAVES: Final[dict[Any, Check]] = {
    **_JSON_LEAVES,
    Any: check_json,
    decimal.Decimal: _decimal,
    REAL.datetime: _datetime,
    datetime.time: _time,
    **{
        kind: _instance(kind)
        for kind in (
            uuid.UUID,
            REAL.date,
            datetime.timedelta,
            bytes,
        )
    },
}


# --- types ----------------------------------------------------------------------------------------


class _Reading:
    """Reads a type and what it is made of."""

    def __init__(self) -> None:
        self.is_complete = True
        self.seen: dict[type, list[Check]] = {}

    def check(self, kind: Any) -> Check:
        """The check for a type."""
        return self.of(shape_of(kind))

    def of(self, shape: Any) -> Check:
        """The check for a shape."""
        match shape:
            case Choice(options, _):
                return self.literal(options)
            case Optional(some):
                return self.optional(some)
            case Either(members, _):
                return self.union(members)
            case Members(cls):
                return self.enum(cls)
            case Items(container, item):
                return self.items(container, item)
            case Row(items):
                return _tuple([self.of(item) for item in items])
            case Table(item):
                return self.table(item)
            case Object():
                return self.attrs(shape)
            case _:
                leaf = None if shape is types.NoneType else _LEAVES.get(shape)
                return self.unknown() if leaf is None else leaf

    def unknown(self, check: Check = lambda _: None) -> Check:
        """The check for values of which something remains to be seen."""
        self.is_complete = False
        return check

    def literal(self, options: tuple[Any, ...]) -> Check:
        def check(value: Any) -> None:
            if not any(type(value) is type(option) and value == option for option in options):
                _refuse(value, f"one of {options}")

        is_plain = {type(option) for option in options} <= {str, int, bool, type(None)}
        return check if is_plain else self.unknown(check)

    def enum(self, kind: type[enum.Enum]) -> Check:
        is_plain = all(type(member.value) in (str, int, float, bool) for member in kind)
        return _instance(kind) if is_plain else self.unknown(_instance(kind))

    def optional(self, some: Any) -> Check:
        one = self.of(some)

        def check(value: Any) -> None:
            if value is not None:
                one(value)

        return self.unknown(check) if isinstance(some, Members) else check

    def union(self, members: tuple[Any, ...]) -> Check:
        if not all(member in _JSON_LEAVES or _is_class(member) for member in members):
            return self.unknown()
        by_type = {member: _LEAVES.get(member) or self.check(member) for member in members}
        wanted = f"one of {', '.join(member.__qualname__ for member in members)}"

        def check(value: Any) -> None:
            member = by_type.get(type(value))
            if member is None:
                _refuse(value, wanted)
            member(value)

        is_plain = {*members} <= _JSON_LEAVES.keys() and not {int, float} <= {*members}
        return check if is_plain else self.unknown(check)

    def items(self, origin: Any, item: Any) -> Check:
        item_check = self.of(item)

        def check(value: Any) -> None:
            if type(value) is not origin:
                _refuse(value, f"a {origin.__name__}")
            for index, item in enumerate(value):
                try:
                    item_check(item)
                except NotStorable as bad:
                    raise bad.within(f"[{index}]") from None

        return check

    def table(self, item: Any) -> Check:
        item_check = self.of(item)

        def check(value: Any) -> None:
            if type(value) is not dict:
                _refuse(value, "a dict")
            for key, item in value.items():
                _key(key)
                try:
                    item_check(item)
                except NotStorable as bad:
                    raise bad.within(f"[{key!r}]") from None

        return check

    def attrs(self, shape: Object) -> Check:
        kind = shape.cls
        if kind in self.seen:  # it contains itself: its check is being made, and is there when used
            return _nested(self.seen[kind])
        holder = self.seen[kind] = []
        if hasattr(kind, "__attrs_post_init__") or hasattr(kind, "__attrs_init__"):
            self.is_complete = False
        fields: list[tuple[str, Check]] = []
        for field, inner in shape.fields():
            if not field.init or field.converter is not None or not field.eq:
                self.is_complete = False
            fields.append((field.name, self.of(inner)))

        def check(value: Any) -> None:
            if type(value) is not kind:
                _refuse(value, f"a {kind.__qualname__}")
            for name, field_check in fields:
                try:
                    field_check(getattr(value, name))
                except NotStorable as bad:
                    raise bad.within(name) from None

        holder.append(check)
        return check


def _is_class(kind: Any) -> bool:
    return isinstance(kind, type) and get_origin(kind) is None and attrs.has(kind)


_depth = threading.local()


def _nested(holder: list[Check]) -> Check:
    """The check for a class inside itself, to a limit that every reader's stack can take."""

    def check(value: Any) -> None:
        _depth.now = getattr(_depth, "now", 0) + 1
        try:
            if _depth.now >= MAX_DEPTH:
                raise NotStorable(f"it nests more than {MAX_DEPTH} levels deep")
            holder[0](value)
        finally:
            _depth.now -= 1

    return check


def _tuple(checks: list[Check]) -> Check:
    def check(value: Any) -> None:
        if type(value) is not tuple or len(value) != len(checks):
            _refuse(value, f"a tuple of {len(checks)}")
        for index, (item, item_check) in enumerate(zip(value, checks, strict=True)):
            try:
                item_check(item)
            except NotStorable as bad:
                raise bad.within(f"[{index}]") from None

    return check
