"""Masks: what is written in place of values that others must not see.

A value is masked where it is declared, by its class and field, and the same text is then masked all
over what is written, so that programs that are replayed find it again wherever they look for it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from eventsrc.portable import Mask, NotPortable

Masks: TypeAlias = Mapping[tuple[Any, str], Any] | Mask | None
"""By (class, field) or (program, parameter), a function of the value or a replacement; or a Mask."""


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
            f"a {type(value).__qualname__} has no pseudonym: mask it by a function of your own, or "
            "with a constant"
        )

    return replace


_HEX: Final = frozenset("0123456789abcdef")


def mask_of(masks: Masks) -> Mask:
    """Masks by field as one function."""
    if masks is None or callable(masks):
        return masks or (lambda _owner, _field, value: value)

    def mask(owner: Any, field: str, value: Any) -> Any:
        if (owner, field) not in masks:
            return value
        found = masks[owner, field]
        return found(value) if callable(found) else found

    return mask


def replaced(plain: Any, masked: Mapping[str, str]) -> Any:
    """What is to be written, with the texts replaced that were masked somewhere in it."""
    if isinstance(plain, str):
        return masked.get(plain, plain)
    if isinstance(plain, list):
        return [replaced(item, masked) for item in plain]
    if not isinstance(plain, dict) or not masked:
        return plain
    match plain:
        case {"$stream": stream}:
            return {"$stream": _in_stream(stream, masked)}
        case {"$recorded": about, "event": event}:
            about = {**within(about, masked), "stream": _in_stream(about["stream"], masked)}
            return {"$recorded": about, "event": replaced(event, masked)}
        case {"$event": _, "data": data}:
            return {**plain, "data": _in_data(data, masked)}
        case {"$error": name}:
            return {"$error": name, **_in_messages(plain, masked)}
        case {"$attrs": _, "fields": fields}:
            return {**plain, "fields": within(fields, masked)}
        case {"args": args, "kwargs": kwargs}:  # of a program, or a function
            return {**plain, "args": replaced(args, masked), "kwargs": within(kwargs, masked)}
    tag = next(iter(plain), "")
    if tag.startswith("$"):
        return within(plain, masked) if tag in _CONTAINERS else plain
    return {masked.get(key, key): replaced(item, masked) for key, item in plain.items()}


_CONTAINERS: Final = frozenset(
    {"$tuple", "$dict", "$set", "$frozenset", "$success", "$failure", "$events"}
)


def within(plain: dict[str, Any], masked: Mapping[str, str]) -> dict[str, Any]:
    """As `replaced`, of a dict whose keys are names in a program."""
    return {key: replaced(item, masked) for key, item in plain.items()}


def _in_data(data: Any, masked: Mapping[str, str]) -> Any:
    """As `replaced`, of an event's data, in which keys are mostly the names of fields."""
    if isinstance(data, dict):
        return {key: _in_data(item, masked) for key, item in data.items()}
    if isinstance(data, list):
        return [_in_data(item, masked) for item in data]
    return masked.get(data, data) if isinstance(data, str) else data


def _in_stream(stream: str, masked: Mapping[str, str]) -> str:
    return "/".join(masked.get(part, part) for part in stream.split("/"))


def _in_messages(plain: Any, masked: Mapping[str, str]) -> Any:
    def told(text: Any) -> Any:
        if isinstance(text, str):
            for secret in sorted(masked, key=len, reverse=True):
                text = text.replace(secret, masked[secret]) if secret else text
            return text
        return replaced(text, masked)

    if "text" in plain:
        return {"text": told(plain["text"])}
    return {"args": [told(arg) for arg in plain["args"]]}
