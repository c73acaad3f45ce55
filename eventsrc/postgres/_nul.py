"""U+0000, which texts of events may hold, and texts and JSON of Postgres may not: U+FFFD stands for it.

So one text with it fails no handler, wherever it goes as a parameter; who looks for it finds it, as the
view `events` shows it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from psycopg.adapt import AdaptersMap, PyFormat
from psycopg.types import string
from psycopg.types.json import Json, Jsonb

_NUL: Final = "\0"
_SHOWN: Final = "\ufffd"
_IN_JSON: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_PLAIN: Final = (int, float, bytes, type(None))


def may_have_nul(value: Any) -> bool:
    """True if a parameter, or several of them, may have U+0000 in a text."""
    if isinstance(value, str):
        return _NUL in value
    if isinstance(value, _PLAIN):
        return False
    if isinstance(value, Mapping):
        return any(map(may_have_nul, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(may_have_nul, value))
    return isinstance(value, Json | Jsonb) and _in_json(value.obj)


def _in_json(value: Any) -> bool:
    """True unless it is plain that there is no U+0000 in what JSON is made of."""
    if isinstance(value, str):
        return _NUL in value
    if isinstance(value, Mapping):
        return any(map(_in_json, value)) or any(map(_in_json, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_in_json, value))
    return not isinstance(value, _PLAIN)


def take_nul(adapters: AdaptersMap) -> None:
    """Has texts and JSON be sent with U+FFFD for U+0000."""
    for dumper in _DUMPERS:
        adapters.register_dumper(str, dumper)
    for kind in (Json, Jsonb):
        for form in (PyFormat.BINARY, PyFormat.TEXT):
            adapters.register_dumper(kind, _json(adapters.get_dumper(kind, form)))


def _text(dumper: type[Any]) -> type[Any]:
    """A dumper of texts like another one."""

    class Shown(dumper):  # type: ignore[misc]
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace(_NUL, _SHOWN))

    return Shown


_DUMPERS: Final = [
    _text(dumper)
    for dumper in (
        string.StrBinaryDumperName,
        string.StrDumperName,
        string.StrBinaryDumperVarchar,
        string.StrDumperVarchar,
        string.StrBinaryDumper,
        string.StrDumper,
        string.StrDumperUnknown,
    )
]
"""For all of psycopg's own, in its order: the last of a kind is taken where none is asked for."""


@functools.cache
def _json(dumper: type[Any]) -> type[Any]:
    """A dumper of JSON like another one, which a user may have made."""

    class Shown(dumper):  # type: ignore[misc]
        def dump(self, obj: Any) -> Any:
            data = super().dump(obj)
            return data if data is None else _IN_JSON.sub(rb"\1\\ufffd", bytes(data))

    return Shown


def rows_of(rows: Iterable[Any]) -> list[Any]:
    """Some rows of parameters, which can be gone through twice."""
    return rows if isinstance(rows, list) else [*rows]
