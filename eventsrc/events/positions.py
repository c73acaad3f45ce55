"""Positions: how far something has read or written, of the feed (Cursor) and of streams (Token).

Both name the store they belong to, so that one that is taken to another store is an error at once
instead of a wrong answer or a wait for something that never comes.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from functools import total_ordering
from typing import Any, Final

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
    """A position in a store's feed: after some event, or before the first (`START`).

    Cursors of one store are ordered. `str(cursor)` is the text to keep, `Cursor.parse` reads it; what
    is inside is the store's affair.
    epoch: of the store, in which it was issued: see eventsrc.events.epochs.
    """

    store_id: str
    position: int
    epoch: int = 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cursor):
            return NotImplemented
        is_same = not self.position or (self.store_id, self.epoch) == (other.store_id, other.epoch)
        return self.position == other.position and is_same

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Cursor):
            return NotImplemented
        if other.position:
            self.check(other.store_id)
        if self.position == other.position and self.position:
            return self.epoch < other.epoch
        return self.position < other.position

    def __hash__(self) -> int:
        return hash(self.position)

    def __str__(self) -> str:
        text = f"{self.store_id}.{self.position}"
        return text if self.epoch == 1 or not self.position else f"{text}-{self.epoch}"

    def check(self, store_id: str) -> int:
        """The position; raises WrongStore unless the cursor is this store's, or the start of any."""
        if self.store_id != store_id and self.position:
            raise WrongStore(
                f"cursor {self} is of store {self.store_id!r}, not of {store_id!r}: start from START, "
                "or open the store that it came from"
            )
        return self.position

    @staticmethod
    def parse(text: str) -> Cursor:
        """The cursor that `str` made the text of. Raises BadCursor for another text."""
        if not isinstance(text, str):
            raise BadCursor(f"{text!r:.100} is no cursor: keep what str(cursor) gives as it is")
        store_id, _, rest = text.rpartition(".")
        position, _, epoch = rest.partition("-")
        is_number = all(map(_is_number, (position, epoch or "1")))
        cursor = Cursor(store_id, int(position), int(epoch or 1)) if is_number else START
        is_place = 0 <= cursor.position < 2**63 and (store_id or not cursor.position)
        if str(cursor) != text or not is_place:
            raise BadCursor(f"{text[:100]!r} is no cursor: keep what str(cursor) gives as it is")
        return cursor


START: Final = Cursor("", 0)
"""The beginning of every store's feed."""


@attrs.frozen(hash=False)
class Token:
    """The versions of some streams of a store that a write or a read has seen.

    `Token(store, {"users": 100, "users/4/profile": 23})` reads "all users: 100; user 4's profile: 23".
    A stream that was seen to have no events is at 0; of one that is not named, nothing has been seen.
    Tokens of one store can be merged, and ordered by `covers`. `str(token)` is a text for an ETag or a
    cookie, `Token.parse` reads it.
    epoch: of the store, in which it was issued: see eventsrc.events.epochs.
    earlier: those of its streams that were seen in another epoch, where tokens of two were merged.
    """

    store_id: str
    versions: Mapping[StreamId, int]
    epoch: int = 1
    earlier: Mapping[StreamId, int] = attrs.field(factory=dict[StreamId, int])

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

    def epoch_of(self, stream: str) -> int:
        """The epoch in which a stream was seen."""
        return self.earlier.get(StreamId(stream), self.epoch) if self.earlier else self.epoch

    def only(self, streams: Iterable[StreamId]) -> Token:
        """The token of some of its streams alone."""
        versions = {stream: self.versions[stream] for stream in streams}
        earlier = {stream: epoch for stream, epoch in self.earlier.items() if stream in versions}
        return Token(self.store_id, versions, self.epoch, earlier)

    def __or__(self, other: Token) -> Token:
        """The token of all that both have seen. Raises WrongStore for tokens of two stores."""
        other.check(self.store_id)
        merged = dict(self.versions)
        epochs = {stream: self.epoch_of(stream) for stream in merged}
        for stream, version in other.versions.items():
            its = version, other.epoch_of(stream)
            merged[stream], epochs[stream] = max(its, (merged.get(stream, 0), epochs.get(stream, 0)))
        epoch = max(epochs.values(), default=max(self.epoch, other.epoch))
        earlier = {stream: its for stream, its in epochs.items() if its != epoch}
        return Token(self.store_id, merged, epoch, earlier)

    def covers(self, other: Token) -> bool:
        """Whether this token has seen all that the other has. Raises WrongStore for two stores."""
        other.check(self.store_id)
        return all(
            self[stream] >= version and self.epoch_of(stream) >= other.epoch_of(stream)
            for stream, version in other.versions.items()
        )

    def check(self, store_id: str) -> None:
        """Raises WrongStore unless the token is of this store."""
        if self.store_id != store_id:
            raise WrongStore(
                f"the token is of store {self.store_id!r}, not of {store_id!r}: "
                "read anew and use that token"
            )

    def __hash__(self) -> int:
        return hash((self.store_id, self.epoch, frozenset(self.versions.items())))

    def __str__(self) -> str:
        told: list[Any] = [self.store_id, dict(sorted(self.versions.items()))]
        if self.earlier:
            told += [self.epoch, dict(sorted(self.earlier.items()))]
        elif self.epoch != 1:
            told += [self.epoch]
        data = json.dumps(told, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_sum(data) + data).decode().rstrip("=")

    @staticmethod
    def parse(text: str) -> Token:
        """The token that `str` made the text of. Raises BadToken for another text."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            data = base64.b64decode(padded, altchars=b"-_", validate=True)
            if data[:4] != _sum(data[4:]):
                raise ValueError("a letter of it was changed")
            told: Any = json.loads(data[4:])
            epochs: list[Any] = [1, {}]
            store_id, versions, epoch, earlier = told + epochs[len(told) - 2 :]
            numbers = (*versions.values(), epoch, *earlier.values())
            if type(store_id) is not str or not all(map(_is_version, numbers)):
                raise ValueError("it names what is no store, no version or no epoch")
            if not earlier.keys() <= versions.keys():
                raise ValueError("it names an epoch of a stream that it has not seen")
            token = Token(store_id, _of_streams(versions), epoch, _of_streams(earlier))
            if str(token) != text:
                raise ValueError("it is written in another way than tokens are")
            return token
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise BadToken(f"{text!r:.100} is no token: pass it on as it was received") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _of_streams(numbers: Mapping[str, int]) -> dict[StreamId, int]:
    return {StreamId(stream): number for stream, number in numbers.items()}


def _is_version(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _sum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")
