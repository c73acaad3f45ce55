"""Masks: what is written in place of values that others must not see.

A value is masked where it is declared, by its class and field, and the same text is then masked all
over what is written, so that programs that are replayed find it again wherever they look for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

from eventsrc._errors import EventsrcError, with_article
from eventsrc.recording._names import NotPortable
from eventsrc.recording.portable import Mask

Masks: TypeAlias = Mapping[tuple[Any, str], Any] | Mask | None
"""By (class, field) or (program, parameter), a function of the value or a replacement; or a Mask."""


class BadMask(EventsrcError, ValueError):
    """A mask is for a field or parameter that is not there, and would hide nothing."""


def pseudonyms(secret: bytes) -> Callable[[Any], Any]:
    """A mask that gives equal values equal replacements, which tell nothing without the secret.

    For a str, an int (which becomes a large one), a UUID, None, which stays, and lists and tuples of
    these. A pseudonym is its own
    pseudonym, so that it may be masked again. Raises NotPortable for other values.
    """

    def digest(salt: bytes, text: str, size: int) -> bytes:
        return hmac.new(secret, salt + text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()[
            :size
        ]

    def made(text: str, half: int) -> bytes:
        """A pseudonym in bytes: half of it is of the value, and half shows what the first half is."""
        first = digest(b"value", text, half)
        return first + digest(b"shown", first.hex(), half)

    def is_made(data: bytes) -> bool:
        half = len(data) // 2
        return data[half:] == digest(b"shown", data[:half].hex(), half)

    def replace(value: Any) -> Any:
        if isinstance(value, str):
            is_one = len(value) == 24 and set(value) <= _HEX and is_made(bytes.fromhex(value))
            return value if is_one else made(value, 6).hex()
        if type(value) is int:
            is_one = 0 <= value < 2**48 and is_made(value.to_bytes(6, "big"))
            return value if is_one else int.from_bytes(made(str(value), 3), "big")
        if isinstance(value, UUID):
            return value if is_made(value.bytes) else UUID(bytes=made(str(value), 8))
        if value is None:
            return None
        if type(value) in (list, tuple):
            return type(value)(map(replace, value))
        raise NotPortable(
            f"{with_article(type(value))} has no pseudonym: mask it by a function of your own, or "
            "with a constant"
        )

    return replace


_HEX: Final = frozenset("0123456789abcdef")


def mask_of(masks: Masks) -> Mask:
    """Masks by field as one function. A mask for a class is for those that are derived from it, too.

    Raises BadMask for one that names no field of a class and no parameter of a program.
    """
    if masks is None or callable(masks):
        return masks or (lambda _owner, _field, value: value)
    for key in masks:
        _check(key)

    def mask(owner: Any, field: str, value: Any) -> Any:
        for its in getattr(owner, "__mro__", (owner,)):
            if (its, field) in masks:
                found = masks[its, field]
                return found(value) if callable(found) else found
        return value

    return mask


def _check(key: Any) -> None:
    """Raises BadMask unless a key of masks names something."""
    if not (isinstance(key, tuple) and len(key) == 2):
        raise BadMask(f"{key!r} is no key of a mask: write (class, field) or (program, parameter)")
    owner, field = key
    if isinstance(owner, type) and attrs.has(owner):
        has, what = [each.name for each in attrs.fields(owner)], "fields"
    elif getattr(owner, "__program__", False):
        parameters = inspect.signature(owner).parameters.values()
        if any(each.kind is each.VAR_KEYWORD for each in parameters):
            return
        has, what = [each.name for each in parameters], "parameters"
    else:
        raise BadMask(
            f"({owner!r}, {field!r}) masks nothing: name the class of an operation, an event or "
            "another attrs class, or a program, and not its name"
        )
    if field not in has:
        name = getattr(owner, "__qualname__", owner)
        raise BadMask(f"{name} has no {field!r}, to be masked: its {what} are {', '.join(has)}")


class Hiding:
    """Gives a text without the texts in it that are masked: a whole text of any length, and longer ones
    in others.
    """

    def __init__(self, masked: Mapping[str, str]) -> None:
        self._masked = masked
        longer = sorted((text for text in masked if len(text) >= SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longer))) if longer else None

    def __call__(self, text: str) -> str:
        masked = self._masked
        if text in masked:
            return masked[text]
        pattern = self._pattern
        return text if pattern is None else pattern.sub(lambda match: masked[match[0]], text)

    def check_bytes(self, written: str) -> None:
        """Raises NotPortable for bytes, as they are written, that hold a text that is masked."""
        data = base64.b64decode(written)
        for text in self._masked:
            if text.encode() == data or (len(text) >= SHORTEST and text.encode() in data):
                raise NotPortable(
                    "bytes hold a text that is masked elsewhere: mask the field that they are of, or "
                    "leave such runs out by `wanted`"
                )


Hide: TypeAlias = Hiding | None
"""Hides what is masked; None if nothing is."""


def hiding(masked: Mapping[str, str]) -> Hide:
    """Hides what was masked."""
    return Hiding(masked) if masked else None


SHORTEST: Final = 4
"""The shortest text that is hidden in others: shorter ones would be found everywhere."""


def replaced(plain: Any, hide: Hide) -> Any:
    """The values to be written, with those that were masked anywhere hidden everywhere."""
    if hide is None:
        return plain
    if isinstance(plain, str):
        return hide(plain)
    if isinstance(plain, list):
        return [replaced(item, hide) for item in plain]
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"$bytes": data}:
            hide.check_bytes(data)
            return plain
        case {"$stream": stream}:
            return {"$stream": _in_stream(stream, hide)}
        case {"$recorded": about, "event": event}:
            about = {**within(about, hide), "stream": _in_stream(about["stream"], hide)}
            return {"$recorded": about, "event": replaced(event, hide)}
        case {"$event": _, "data": data}:
            return {**plain, "data": _in_data(data, hide)}
        case {"$event": _, "bytes": data}:
            hide.check_bytes(data)
            return plain
        case {"$error": name}:
            return {"$error": name, **within({k: v for k, v in plain.items() if k != "$error"}, hide)}
        case {"$attrs": _, "fields": fields}:
            return {**plain, "fields": within(fields, hide)}
        case {"args": args, "kwargs": kwargs}:  # of a program, or a function
            return {**plain, "args": replaced(args, hide), "kwargs": within(kwargs, hide)}
    tag = next(iter(plain), "")
    if tag.startswith("$"):
        return within(plain, hide) if tag in _CONTAINERS else plain
    return {hide(key): replaced(item, hide) for key, item in plain.items()}


_CONTAINERS: Final = frozenset(
    {"$tuple", "$dict", "$set", "$frozenset", "$success", "$failure", "$events", "$then"}
)


def within(plain: dict[str, Any], hide: Hide) -> dict[str, Any]:
    """As `replaced`, of a dict whose keys are names in a program."""
    return {key: replaced(item, hide) for key, item in plain.items()}


def _in_data(data: Any, hide: Hiding) -> Any:
    """As `replaced`, of an event's data, in which keys are mostly the names of fields."""
    if isinstance(data, dict):
        return {key: _in_data(item, hide) for key, item in data.items()}
    if isinstance(data, list):
        return [_in_data(item, hide) for item in data]
    return hide(data) if isinstance(data, str) else data


def _in_stream(stream: str, hide: Hiding) -> str:
    return "/".join(map(hide, stream.split("/")))
