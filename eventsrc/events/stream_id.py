"""Stream ids: hierarchical names such as `users/4/profile`."""

from __future__ import annotations

import re
from typing import Any, Final

from eventsrc._errors import EventsrcError, with_article

MAX_ID_BYTES: Final = 512
"""The longest id, in bytes of UTF-8."""


RESERVED: Final = "eventsrc/"
"""The beginning of the ids of the library's own streams, and the names of its own event types."""


CONTROLS: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)
"""Control characters, line separators, and those that change the direction of writing."""


class BadStreamId(EventsrcError, ValueError):
    """A text that cannot be a stream id, or no id of the family that it is looked for in."""


class StreamId(str):
    """The id of a stream: segments that are not empty, with `/` between them.

    A `str` in all respects; making one raises BadStreamId for a text with an empty segment, a control
    character, one that changes the direction of writing, or a lone surrogate, and for one of more than
    512 bytes. Ids are compared as they are written: upper and lower case, and different Unicode forms
    of one letter, are different ids.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> StreamId:
        if type(text) is cls:
            return text
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is {with_article(type(text))}: a stream id is made of a str")
        if not text or text[0] == "/" or text[-1] == "/" or "//" in text:
            raise BadStreamId(
                f"{text[:100]!r} is no stream id: write non-empty segments with / between them"
            )
        if not text.isprintable() and (found := CONTROLS.search(text)):
            raise BadStreamId(
                f"{text[:100]!r} is no stream id: remove {found[0]!r}, which a terminal or a log would "
                "take for more than a character; the key of a family of streams may have it"
            )
        if len(text) > MAX_ID_BYTES or not text.isascii():
            check_length(text)
        return str.__new__(cls, text)

    def __reduce__(self) -> tuple[Any, ...]:
        return stored_id, (str(self),)


def stored_id(text: str) -> StreamId:
    """The id of a stream that is stored, unchecked: older ones may have control characters."""
    return str.__new__(StreamId, text)


def check_length(text: str) -> None:
    """Raises BadStreamId for a text that UTF-8 cannot hold in 512 bytes."""
    try:
        length = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise BadStreamId(f"{text[:100]!r} is no stream id: it has a lone surrogate") from error
    if length > MAX_ID_BYTES:
        raise BadStreamId(
            f"{text[:60]!r}... is no stream id: it has {length} bytes, and {MAX_ID_BYTES} is the most"
        )


def checked_prefix(prefix: str) -> str:
    """A prefix of stream ids; it must be empty or end with `/`, so that it names a whole family.

    Raises BadStreamId for any other text.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise BadStreamId(f"{prefix[:100]!r} is no prefix: write {prefix[:100] + '/'!r}")
        StreamId(prefix[:-1])
    return prefix
