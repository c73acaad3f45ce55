"""UUIDs made quickly: what `UUID` checks and looks up takes twice as long as what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID, SafeUUID


def uuid_of(number: int) -> UUID:
    """UUID(int=number), for a number of at most 128 bits."""
    made = _new(UUID)
    _set_int(made, number)
    _set_is_safe(made, _SAFETY)
    return made


def parsed(text: str) -> UUID:
    """UUID(text). Raises ValueError for a text that is none."""
    digits = text.replace("-", "")
    return uuid_of(int(digits, 16)) if len(digits) == 32 else UUID(text)


_new: Final = object.__new__
_set_int: Final[Callable[[UUID, int], None]] = vars(UUID)["int"].__set__
_set_is_safe: Final[Callable[[UUID, SafeUUID], None]] = vars(UUID)["is_safe"].__set__
_SAFETY: Final = SafeUUID.unknown
