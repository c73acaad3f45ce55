"""Writers: a function for each class of events that makes JSON of it, from its types.

A writer is only ever *sure* or not: it answers None, or raises, for what it was not made for, and
`_exact` and cattrs then do the work or say what is wrong. So they stay the meaning of a codec, and the
oracle that writers are tested against: where a writer answers, it answers the same to the byte.
"""

from __future__ import annotations

import base64
import datetime
import json.encoder
import math
import types
from collections.abc import Callable
from decimal import Decimal
from textwrap import indent
from typing import Any, Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from eventsrc._errors import REFUSALS
from eventsrc.events._shapes import REAL, Choice, Items, Members, Object, Optional, Row, Table
from eventsrc.events._source import Source

Writer: TypeAlias = Callable[[Any], bytes | None]
"""The JSON of an event that is sure to come back equal, else None; it may also raise."""


class _NotMade(Exception):
    """There is no such function for a type."""


class _Leaf(NamedTuple):
    """The lines for a value `$v`: one answers None unless it is sure, others make JSON of it, `$t`."""

    guard: str
    text: str
    as_it_is: bool = True
    """Whether msgspec writes the value as the text is."""


_MICROSECOND: Final = datetime.timedelta(microseconds=1)

_WRITTEN: Final[dict[Any, _Leaf]] = {
    str: _Leaf("if type($v) is not str: return None", "$t = quote($v)"),
    int: _Leaf(
        "if type($v) is not int or not -0x8000000000000000 <= $v < 0x8000000000000000: return None",
        "$t = str($v)",
    ),
    float: _Leaf(
        "if type($v) is not float or not isfinite($v): return None", "$t = repr($v)", as_it_is=False
    ),
    bool: _Leaf("if type($v) is not bool: return None", "$t = 'true' if $v else 'false'"),
    UUID: _Leaf(
        "if type($v) is not UUID: return None",
        "$t = '%032x' % $v.int\n"
        """$t = f'"{$t[:8]}-{$t[8:12]}-{$t[12:16]}-{$t[16:20]}-{$t[20:]}"'""",
    ),
    Decimal: _Leaf(
        "if type($v) is not Decimal or not $v.is_finite(): return None", """$t = f'"{$v!s}"'"""
    ),
    REAL.datetime: _Leaf(  # isoformat takes three times as long
        "if type($v) is not datetime or $v.tzinfo is not UTC or $v.fold or $v.year < 1000: return None",
        "$t = $v.microsecond\n"
        "$t = f'.{three[$t // 1000]}{three[$t % 1000]}' if $t else ''\n"
        """$t = f'"{$v.year}-{two[$v.month]}-{two[$v.day]}"""
        """T{two[$v.hour]}:{two[$v.minute]}:{two[$v.second]}{$t}Z"'""",
    ),
    REAL.date: _Leaf("if type($v) is not date: return None", """$t = f'"{$v.isoformat()}"'"""),
    datetime.timedelta: _Leaf(
        "if type($v) is not timedelta: return None", "$t = str($v // microsecond)", as_it_is=False
    ),
    bytes: _Leaf(
        "if type($v) is not bytes: return None",
        """$t = f'"{b85encode($v).decode()}"'""",
        as_it_is=False,
    ),
}


class _Writing:
    """Puts a writer together.

    encode: writes JSON of dictionaries, if there is something faster than text that is put together.
    """

    def __init__(self, encode: Callable[[Any], bytes] | None) -> None:
        self._is_text = encode is None
        self._source = Source(
            Decimal=Decimal,
            UTC=datetime.UTC,
            UUID=UUID,
            b85encode=base64.b85encode,
            date=REAL.date,
            datetime=REAL.datetime,
            encode=str.encode if encode is None else encode,
            isfinite=math.isfinite,
            microsecond=_MICROSECOND,
            quote=json.encoder.encode_basestring,
            three=[f"{number:03}" for number in range(1000)],
            timedelta=datetime.timedelta,
            two=[f"{number:02}" for number in range(100)],
        )

    def made(self, cls: type) -> Writer:
        lines = self._value(Object(cls), "v", "t", ())
        name = self._source.function("write", f"{lines}\nreturn encode(t)")
        return cast("Writer", self._source.compiled(name, cls))

    def _value(self, shape: Any, v: str, t: str, around: tuple[type, ...]) -> str:
        """The lines that make `t` of `v`, or answer None."""
        match shape:
            case Optional(some):
                inner = indent(self._value(some, v, t, around), "    ")
                return f"if {v} is None: {t} = {'null' if self._is_text else None!r}\nelse:\n{inner}"
            case Items(container, item) if container in (list, tuple):
                return self._items(container, item, v, t, around)
            case Row(items):
                return self._row(items, v, t, around)
            case Table(item):
                return self._table(item, v, t, around)
            case Members(cls):
                return self._members({member: member.value for member in cls}, cls, v, t)
            case Choice(options, _):
                return self._choice(options, v, t)
            case Object(cls) if cls not in around:
                return self._object(shape, v, t, (*around, cls))
            case _ if shape in _WRITTEN:
                leaf = _WRITTEN[shape]
                if not (self._is_text or leaf.as_it_is):
                    raise _NotMade
                lines = f"{leaf.guard}\n{leaf.text if self._is_text else '$t = $v'}"
                return lines.replace("$v", v).replace("$t", t)
            case _:
                raise _NotMade

    def _object(self, shape: Object, v: str, t: str, around: tuple[type, ...]) -> str:
        if hasattr(shape.cls, "__attrs_post_init__") or hasattr(shape.cls, "__attrs_init__"):
            raise _NotMade
        lines, parts = [f"if type({v}) is not {self._source.name(shape.cls)}: return None"], []
        for index, (field, inner) in enumerate(shape.fields()):
            if not field.init or field.converter is not None or not field.eq:
                raise _NotMade
            lines.append(f"{v}_{index} = {v}.{field.name}")
            lines.append(self._value(inner, f"{v}_{index}", f"{t}_{index}", around))
            parts.append(f'"{field.name}":' + (f"{{{t}_{index}}}" if self._is_text else f"{t}_{index}"))
        inside = ",".join(parts)
        lines.append(f"{t} = f'{{{{{inside}}}}}'" if self._is_text else f"{t} = {{{inside}}}")
        return "\n".join(lines)

    def _items(self, container: type, item: Any, v: str, t: str, around: tuple[type, ...]) -> str:
        inner = indent(self._value(item, f"{v}i", f"{t}i", around), "    ")
        joined = f"\n{t} = '[' + ','.join({t}) + ']'" if self._is_text else ""
        return (
            f"if type({v}) is not {container.__name__}: return None\n{t} = []\n"
            f"for {v}i in {v}:\n{inner}\n    {t}.append({t}i){joined}"
        )

    def _row(self, items: tuple[Any, ...], v: str, t: str, around: tuple[type, ...]) -> str:
        lines = [f"if type({v}) is not tuple or len({v}) != {len(items)}: return None"]
        for index, item in enumerate(items):
            lines += [
                f"{v}_{index} = {v}[{index}]",
                self._value(item, f"{v}_{index}", f"{t}_{index}", around),
            ]
        parts = [f"{{{t}_{index}}}" if self._is_text else f"{t}_{index}" for index in range(len(items))]
        inside = ",".join(parts)
        lines.append(f"{t} = f'[{inside}]'" if self._is_text else f"{t} = [{inside}]")
        return "\n".join(lines)

    def _table(self, item: Any, v: str, t: str, around: tuple[type, ...]) -> str:
        inner = indent(self._value(item, f"{v}i", f"{t}i", around), "    ")
        start, add, end = (
            ("[]", f"{t}.append(f'{{quote({v}k)}}:{{{t}i}}')", f"\n{t} = '{{' + ','.join({t}) + '}}'")
            if self._is_text
            else ("{}", f"{t}[{v}k] = {t}i", "")
        )
        return (
            f"if type({v}) is not dict: return None\n{t} = {start}\nfor {v}k, {v}i in {v}.items():\n"
            # What begins so may have a meaning of its own.
            f"    if type({v}k) is not str or {v}k[:1] == '$': return None\n{inner}\n    {add}{end}"
        )

    def _members(self, written: dict[Any, Any], cls: type, v: str, t: str) -> str:
        kinds = {*map(type, written.values())}
        if not kinds <= {str, int, bool, float} or (float in kinds and not self._is_text):
            raise _NotMade
        texts = {member: self._constant(value) for member, value in written.items()}
        # A combination of flags is no key: KeyError, and so left to cattrs.
        return (
            f"if type({v}) is not {self._source.name(cls)}: return None\n"
            f"{t} = {self._source.name(texts)}[{v}]"
        )

    def _choice(self, options: tuple[Any, ...], v: str, t: str) -> str:
        if not all(type(option) in (str, int, bool, types.NoneType) for option in options):
            raise _NotMade
        texts = self._source.name({(type(one), one): self._constant(one) for one in options})
        return f"if (type({v}), {v}) not in {texts}: return None\n{t} = {texts}[(type({v}), {v})]"

    def _constant(self, value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False) if self._is_text else value


def writer(cls: type, encode: Callable[[Any], bytes] | None = None) -> Writer | None:
    """The function that writes events of a class as cattrs and json do, if one can be made.

    encode: of msgspec, say, which writes dictionaries faster than text can be put together.
    """
    for way in (encode, None):
        try:
            return _Writing(way).made(cls)
        except (_NotMade, NameError, *REFUSALS):
            pass
    return None
