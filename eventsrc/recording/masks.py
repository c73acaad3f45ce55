"""Masks: what is written in place of values that others must not see.

A value is masked where it is declared, by its class and field. The same value, whatever its type, is
then masked all over what is written (in texts, in the ids of streams, as a number or a key), so that it
is nowhere in the file, and programs that are replayed find it again wherever they look for it. Numbers
and texts of fewer than four characters are found only where they stand by themselves, numbers of fewer
only where they are declared.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote
from uuid import UUID

import attrs

from eventsrc._errors import EventsrcError, with_article
from eventsrc.recording._library import PREFIX
from eventsrc.recording._names import NotPortable
from eventsrc.recording.portable import Mask

Masks: TypeAlias = Mapping[tuple[Any, str], Any] | Mask | None
"""By (class, field) or (program, parameter), a function of the value or a replacement; or a Mask."""


class BadMask(EventsrcError, ValueError):
    """A mask is for a field or parameter that is not there, and would hide nothing."""


def pseudonyms(secret: bytes) -> Callable[[Any], Any]:
    """A mask that gives equal values equal replacements, which tell nothing without the secret.

    For a str, an int (which becomes a large one), a UUID, None, which stays, and lists and tuples of
    these. An id or number that is written as a text has the text of its pseudonym. A pseudonym is its
    own pseudonym, so that it may be masked again. Raises NotPortable for other values.
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
            if (meant := _meant(value)) is not None:
                return str(replace(meant))
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


def _meant(text: str) -> UUID | int | None:
    """The id or number that a text is the usual form of."""
    for read in (int, UUID):
        with contextlib.suppress(ValueError):
            if len(text) >= SHORTEST and str(value := read(text)) == text:
                return value
    return None


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
    """Gives texts and numbers without those that are masked: a whole text of any length, and longer
    ones in others; numbers of as many digits.

    masked: by the text, what it is replaced by. fields: names of fields, which stay as keys.
    """

    def __init__(self, masked: Mapping[str, str], fields: Collection[str] = ()) -> None:
        self._masked = masked
        self._fields = fields
        longer = sorted((text for text in masked if len(text) >= SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longer))) if longer else None

    def __call__(self, text: str) -> str:
        masked = self._masked
        if text in masked:
            return masked[text]
        pattern = self._pattern
        return text if pattern is None else pattern.sub(lambda match: masked[match[0]], text)

    def key(self, text: str) -> str:
        """A key without what is masked, unless it is the name of a field."""
        return text if text in self._fields else self(text)

    def scalar(self, value: Any) -> Any:
        """A text or number without what is masked."""
        if type(value) is str:
            return self(value)
        if type(value) not in (int, float) or len(text := str(value)) < SHORTEST:
            return value
        new = self._masked.get(text)
        if new is None:
            return value
        try:
            return type(value)(new)
        except ValueError:
            return new

    def segment(self, text: str) -> str:
        """A segment of a stream's id without what is masked, also where that is percent-encoded."""
        if "%" not in text:
            return self(text)
        plain = unquote(text)
        hidden = self(plain)
        return text if hidden == plain else quote(hidden)

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


def hiding(masked: Mapping[str, str], fields: Collection[str] = ()) -> Hide:
    """Hides what was masked. fields: names of fields, which stay as keys."""
    return Hiding(masked, fields) if masked else None


SHORTEST: Final = 4
"""The shortest text that is hidden in others: shorter ones would be found everywhere."""


def replaced(plain: Any, hide: Hide) -> Any:
    """The values to be written, with those that were masked anywhere hidden everywhere."""
    if hide is None:
        return plain
    if isinstance(plain, list):
        return [replaced(item, hide) for item in plain]
    if not isinstance(plain, dict):
        return hide.scalar(plain)
    tag = next(iter(plain), "")
    if not tag.startswith("$"):
        return {hide.key(key): replaced(item, hide) for key, item in plain.items()}
    match plain:
        case {"$bytes": data}:
            if (hidden := hide(data)) != data:
                return {"$unwritten": hidden}
            hide.check_bytes(data)
            return plain
        case {"$stream": stream}:
            return {"$stream": _in_stream(stream, hide)}
        case {"$recorded": about, "event": event}:
            about = {**_records(about, hide), "stream": _in_stream(about["stream"], hide)}
            return {"$recorded": about, "event": replaced(event, hide)}
        case {"$event": _, "data": data}:
            return {**plain, "data": _in_data(data, hide)}
        case {"$event": _, "bytes": data}:
            hide.check_bytes(data)
            return plain
        case {"$error": name}:
            return {"$error": name, **within({k: v for k, v in plain.items() if k != "$error"}, hide)}
        case {"$attrs": str(name), "fields": fields}:
            is_ours = name.startswith(PREFIX)
            return {**plain, "fields": _records(fields, hide) if is_ours else within(fields, hide)}
        case {"$call": _, "args": args, "kwargs": kwargs}:
            return {**plain, "args": replaced(args, hide), "kwargs": within(kwargs, hide)}
    if tag in _CONTAINERS:
        return within(plain, hide)
    if tag in _SCALARS and (hidden := hide(str(plain[tag]))) != str(plain[tag]):
        return {tag: hidden} if _is_alike(tag, hidden) else {"$unwritten": hidden}
    return plain


_CONTAINERS: Final = frozenset(
    {"$tuple", "$dict", "$set", "$frozenset", "$success", "$failure", "$events", "$then"}
)

_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    "$uuid": UUID,
    "$decimal": Decimal,
    "$float": float,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
}
"""Readers of the values that are written as texts, by their tags."""


def _is_alike(tag: str, text: str) -> bool:
    """Whether a replacement is a value of the same sort, and so can be read in its place."""
    try:
        _SCALARS[tag](text)
    except (ValueError, ArithmeticError):
        return False
    return True


def within(plain: dict[str, Any], hide: Hide) -> dict[str, Any]:
    """As `replaced`, of a dict whose keys are names in a program."""
    return {key: replaced(item, hide) for key, item in plain.items()}


def _records(plain: dict[str, Any], hide: Hiding) -> dict[str, Any]:
    """As `within`, of the library's own, whose numbers are versions, places and times."""
    return {key: item if type(item) is int else replaced(item, hide) for key, item in plain.items()}


def _in_data(data: Any, hide: Hiding) -> Any:
    """As `replaced`, of an event's data, in which keys are mostly the names of fields."""
    if isinstance(data, dict):
        return {hide.key(key): _in_data(item, hide) for key, item in data.items()}
    if isinstance(data, list):
        return [_in_data(item, hide) for item in data]
    return hide.scalar(data)


def _in_stream(stream: str, hide: Hiding) -> str:
    return "/".join(map(hide.segment, stream.split("/")))
