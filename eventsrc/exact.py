"""What can be stored exactly: checks made from types, run before anything is written.

JSON has fewer values than Python. `check_for(type)` makes a function that raises NotStorable, with the
path to the culprit, for a value that would not come back equal: NaN, a lone surrogate, an integer of
more than 64 bits, a tuple where the type says Any. Where a type is not known here (a user's own hook
says how it is stored), the answer is None and the codec compares what comes back instead.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias, Union, get_args, get_origin

import attrs

from eventsrc.errors import EventsrcError

Check: TypeAlias = Callable[[Any], None]

MAX_DEPTH: Final = 100
"""How deeply JSON-able values may nest."""

_INT64: Final = 2**63
_FLOAT_INT: Final = 2**53
_CONTAINERS: Final = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}


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
        dot = "" if not self.path or self.path.startswith("[") else "."
        return NotStorable(self.reason, f"{place}{dot}{self.path}")


class _Unknown(Exception):
    """Nothing is known here about how values of some type are stored."""


def check_for(kind: Any) -> Check | None:
    """The check for values of a type, or None where comparing what comes back is the only way."""
    try:
        return _check(kind, {})
    except _Unknown:
        return None


def check_json(value: Any) -> None:
    """Raises NotStorable unless a value of unknown type is JSON-able and would come back equal."""
    _json(value, MAX_DEPTH)


# --- leaves ---------------------------------------------------------------------------------------


def _refuse(value: Any, wanted: str) -> NoReturn:
    raise NotStorable(f"{value!r:.80} is a {type(value).__qualname__}, not {wanted}")


def _str(value: Any) -> None:
    if not isinstance(value, str):
        _refuse(value, "a str")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise NotStorable(f"{value!r:.80} has a lone surrogate, which UTF-8 cannot hold") from error


def _int(value: Any) -> None:
    if type(value) is not int:
        _refuse(value, "an int")
    if not -_INT64 <= value < _INT64:
        raise NotStorable(f"{value} needs more than 64 bits: use a str or a Decimal")


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
        raise NotStorable(f"{value!r:.80} would come back as a list: store a list")
    else:
        raise NotStorable(
            f"{value!r:.80} is a {kind.__qualname__}, which JSON does not have: give the field its type"
        )


def _key(key: Any) -> None:
    if type(key) is not str:
        raise NotStorable(f"the key {key!r:.80} would come back as a str: use a str")
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
        if type(value) is not kind:
            _refuse(value, f"a {kind.__qualname__}")

    return check


_LEAVES: Final[dict[Any, Check]] = {
    **_JSON_LEAVES,
    None: _none,
    Any: check_json,
    object: check_json,
    decimal.Decimal: _decimal,
    **{
        kind: _instance(kind)
        for kind in (
            uuid.UUID,
            datetime.datetime,
            datetime.date,
            datetime.time,
            datetime.timedelta,
            bytes,
        )
    },
}


# --- types ----------------------------------------------------------------------------------------


def _check(kind: Any, seen: dict[Any, list[Check]]) -> Check:
    while isinstance(kind, typing.NewType) or hasattr(kind, "__value__"):
        kind = kind.__supertype__ if isinstance(kind, typing.NewType) else kind.__value__
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return _check(args[0], seen)
    if origin is Literal:
        return _literal(args)
    if origin is Union or origin is types.UnionType:
        return _union(args, seen)
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum(kind)
    if origin in _CONTAINERS:
        return _container(origin, args, seen)
    if origin in (dict, Mapping) or origin is typing.get_origin(Mapping[str, int]):
        return _dict(args, seen)
    if isinstance(kind, type) and attrs.has(kind):
        return _attrs(kind, seen)
    raise _Unknown


def _literal(options: tuple[Any, ...]) -> Check:
    allowed = {(type(option), option) for option in options}

    def check(value: Any) -> None:
        if (type(value), value) not in allowed:
            _refuse(value, f"one of {options}")

    return check


def _enum(kind: type[enum.Enum]) -> Check:
    for member in kind:
        check_json(member.value)
    return _instance(kind)


def _union(members: tuple[Any, ...], seen: dict[Any, list[Check]]) -> Check:
    some = [member for member in members if member is not type(None)]
    optional = len(some) < len(members)
    if len(some) == 1:
        one = _check(some[0], seen)

        def check_optional(value: Any) -> None:
            if value is not None:
                one(value)

        return check_optional
    if all(isinstance(member, type) and attrs.has(member) for member in some):
        by_type = {member: _check(member, seen) for member in some}

        def check_classes(value: Any) -> None:
            check = by_type.get(type(value))
            if check is not None:
                check(value)
            elif value is not None or not optional:
                _refuse(value, f"one of {', '.join(member.__qualname__ for member in some)}")

        return check_classes
    if all(member in _JSON_LEAVES for member in some) and not {int, float} <= set(some):
        leaves = {member: _JSON_LEAVES[member] for member in members}

        def check_leaves(value: Any) -> None:
            check = leaves.get(type(value))
            if check is None:
                _refuse(value, f"one of {', '.join(member.__qualname__ for member in members)}")
            check(value)

        return check_leaves
    raise _Unknown


def _container(origin: Any, args: tuple[Any, ...], seen: dict[Any, list[Check]]) -> Check:
    if origin is tuple and not (len(args) == 2 and args[1] is ...):
        return _tuple([_check(arg, seen) for arg in args])
    item_check = _check(args[0], seen)

    def check(value: Any) -> None:
        if type(value) is not origin:
            _refuse(value, f"a {_CONTAINERS[origin]}")
        for index, item in enumerate(value):
            try:
                item_check(item)
            except NotStorable as bad:
                raise bad.within(f"[{index}]") from None

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


def _dict(args: tuple[Any, ...], seen: dict[Any, list[Check]]) -> Check:
    if args[0] is not str:
        raise _Unknown
    item_check = _check(args[1], seen)

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


def _attrs(kind: type, seen: dict[Any, list[Check]]) -> Check:
    if kind in seen:  # a class that contains itself: its check is being made, and is there when used
        holder = seen[kind]
        return lambda value: holder[0](value)
    holder = seen[kind] = []
    attrs.resolve_types(kind)
    fields = []
    for field in attrs.fields(kind):
        if not field.init:
            raise _Unknown
        fields.append((field.name, _check(field.type, seen)))

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
