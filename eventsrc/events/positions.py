"""Positions: how far something has read or written, of the feed (Cursor) and of streams (Token).

Both name the store they belong to, so that one that is taken to another store is an error at once
instead of a wrong answer or a wait for something that never comes.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from functools import total_ordering
from typing import Final

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events.stream_id import StreamId


class WrongStore(EventsrcError):
    """A cursor or token belongs to another store than the one it was given to."""


class BadCursor(EventsrcError, ValueError):
    """A text that is no cursor, or a cursor that is beyond the end of its store's feed."""


class BadToken(EventsrcError, ValueError):
    """A text that is no token, or a token that claims what its store never had."""


class NotInToken(EventsrcError, LookupError):
    """A token does not tell what it is asked for."""


@total_ordering
@attrs.frozen(eq=False)
class Cursor:
    """A place in a store's feed: after some event, or before the first (`START`).

    Cursors of one store are ordered. `str(cursor)` is the text to keep, `Cursor.parse` reads it; what
    is inside is the store's affair.
    """

    store: str
    position: int

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cursor):
            return NotImplemented
        same_store = self.store == other.store or not self.position
        return self.position == other.position and same_store

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Cursor):
            return NotImplemented
        if other.position:
            self.check(other.store)
        return self.position < other.position

    def __hash__(self) -> int:
        return hash(self.position)

    def __str__(self) -> str:
        return f"{self.store}.{self.position}"

    def check(self, store_id: str) -> int:
        """The position; raises WrongStore unless the cursor is this store's, or the start of any."""
        if self.store != store_id and self.position:
            raise WrongStore(
                f"cursor {self} is of store {self.store!r}, not of {store_id!r}: start from START, "
                "or open the store that it came from"
            )
        return self.position

    @staticmethod
    def parse(text: str) -> Cursor:
        """The cursor that `str` made the text of. Raises BadCursor for another text."""
        if not isinstance(text, str):
            raise BadCursor(f"{text!r:.100} is no cursor: keep what str(cursor) gives as it is")
        store_id, _, position = text.rpartition(".")
        is_number = position.isascii() and position.isdigit() and len(position) < 20
        cursor = Cursor(store_id, int(position)) if is_number else START
        is_place = 0 <= cursor.position < 2**63 and (store_id or not cursor.position)
        if str(cursor) != text or not is_place:
            raise BadCursor(f"{text[:100]!r} is no cursor: keep what str(cursor) gives as it is")
        return cursor


START: Final = Cursor("", 0)
"""The beginning of every store's feed."""


@attrs.frozen(hash=False)
class Token:
    """What a write or a read has seen: the versions of some streams of a store.

    `Token(store, {"users": 100, "users/4/profile": 23})` reads "all users: 100; user 4's profile: 23".
    A stream that was seen to have no events is at 0; of one that is not named, nothing has been seen.
    Tokens of one store can be merged, and ordered by `covers`. `str(token)` is a text for an ETag or a
    cookie, `Token.parse` reads it.
    """

    store: str
    versions: Mapping[StreamId, int]

    def __getitem__(self, stream: str) -> int:
        """The version seen of a stream; 0 for one that the token does not name."""
        return self.versions.get(StreamId(stream), 0)

    def of(self, stream: str) -> int:
        """The version seen of a stream. Raises NotInToken for one that the token does not name."""
        version = self.versions.get(StreamId(stream))
        if version is None:
            names = ", ".join(sorted(self.versions)) or "no stream"
            raise NotInToken(
                f"the token names {names}, and not {stream}: merge it with one that has seen it"
            )
        return version

    def __or__(self, other: Token) -> Token:
        """What both have seen together. Raises WrongStore for tokens of two stores."""
        other.check(self.store)
        merged = dict(self.versions)
        for stream, version in other.versions.items():
            merged[stream] = max(version, merged.get(stream, 0))
        return Token(self.store, merged)

    def covers(self, other: Token) -> bool:
        """Whether this token has seen all that the other has. Raises WrongStore for two stores."""
        other.check(self.store)
        return all(self[stream] >= version for stream, version in other.versions.items())

    def check(self, store_id: str) -> None:
        """Raises WrongStore unless the token is of this store."""
        if self.store != store_id:
            raise WrongStore(
                f"the token is of store {self.store!r}, not of {store_id!r}: "
                "read anew and use that token"
            )

    def __hash__(self) -> int:
        return hash((self.store, frozenset(self.versions.items())))

    def __str__(self) -> str:
        text = json.dumps([self.store, dict(sorted(self.versions.items()))], separators=(",", ":"))
        data = text.encode()
        return base64.urlsafe_b64encode(_sum(data) + data).decode().rstrip("=")

    @staticmethod
    def parse(text: str) -> Token:
        """The token that `str` made the text of. Raises BadToken for another text."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            data = base64.b64decode(padded, altchars=b"-_", validate=True)
            if data[:4] != _sum(data[4:]):
                raise ValueError("a letter of it was changed")
            store_id, versions = json.loads(data[4:])
            if type(store_id) is not str or not all(map(_is_version, versions.values())):
                raise ValueError("it names what is no store, or no version")
            token = Token(store_id, {StreamId(stream): version for stream, version in versions.items()})
            if str(token) != text:
                raise ValueError("it is written in another way than tokens are")
            return token
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise BadToken(f"{text!r:.100} is no token: pass it on as it was received") from error


def _is_version(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _sum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")
