"""JSON as it is stored: written without spaces, and read one by one or a whole page at once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, cast


def dumps(value: Any) -> str:
    """JSON without spaces, as it is stored."""
    return "".join(_encode(value, 0)) if _encode else _ENCODER.encode(value)


def _prepared(encoder: json.JSONEncoder) -> Callable[[Any, int], Sequence[str]] | None:
    """The parts that CPython's encoder makes anew for each value, which takes as long as an event."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return None
    quote = json.encoder.encode_basestring
    prepared: Callable[[Any, int], Sequence[str]] = make(
        None, encoder.default, quote, None, ":", ",", False, False, False
    )
    return prepared


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_encode: Final = _prepared(_ENCODER)


def loads(data: bytes) -> Any:
    """Parses as json.loads does, in two thirds of the time."""
    text = data.decode()
    try:
        value, end = _parse(text)
    except ValueError:  # what it is too strict for, such as a space before it, and what is no JSON
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


def loads_all(datas: Sequence[bytes]) -> Sequence[Any]:
    """Parses texts together, each as json.loads does, in a third of the time.

    Between them stands a number that nobody knew when they were written: so data that are no JSON are
    never taken for JSON because of what stands beside them.
    """
    if sum(map(len, datas)) > _TOGETHER:
        return [*map(loads, datas)]
    text = (b"[%b]" % _BETWEEN.join(datas)).decode()
    values, end = _parse(text)
    is_one_each = len(values) == 2 * len(datas) - 1 and values[1::2] == [_NUMBER] * (len(datas) - 1)
    if not is_one_each or end != len(text):
        raise ValueError("some of the data are no JSON")
    return cast("Sequence[Any]", values[::2])


_parse: Final = json.JSONDecoder().raw_decode

_TOGETHER: Final = 16 * 1024 * 1024
"""The most bytes that are parsed together."""

_NUMBER: Final = secrets.randbits(60)
_BETWEEN: Final = b",%d," % _NUMBER
