"""Ids of appends whose callers chose none: each names a position in the feed, to the store alone.

Hardly anybody asks for such an append again, only after its answer was Unknown. So a store does without
an index of these ids, which spares each append a page: an id names the position at which its append
begins, and it is looked for there. That position must be foretold, before the append is on its way: an
append that got another is put into the index of the ids that callers chose.

The position is hidden by a key that the store keeps for itself. So ids do not tell clients how much
others store, and an id that somebody made up names a position that there is not.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final
from uuid import UUID

from eventsrc.events._uuids import uuid_of


class OwnIds:
    """The ids that one store makes. key: the store's secret, of 1 to 64 bytes."""

    def __init__(self, key: bytes) -> None:
        self.key: Final = key
        self._hash = blake2b(key=key, digest_size=6)

    def naming(self, append_id: UUID, position: int) -> UUID:
        """An id as `new_append_id` makes it, turned into one that names a position."""
        rest = append_id.int & _REST
        return uuid_of((position & _PLACE ^ self._mask(rest)) << 80 | rest)

    def new(self, position: int) -> bytes:
        """The bytes of a new id that names a position, as `naming` makes one of another id."""
        rest = _random_rest.pop() if _random_rest else _more_random()
        digest = self._hash.copy()
        digest.update(rest)
        mask = int.from_bytes(digest.digest(), "big")
        return (position & _PLACE ^ mask).to_bytes(6, "big") + rest

    def position(self, append_id: UUID) -> int | None:
        """The position that an id names; any number for one that is not of this store.

        None for an id that no store makes.
        """
        number = append_id.int
        if number >> 76 & 0xF != 8:
            return None
        return number >> 80 ^ self._mask(number & _REST)

    def _mask(self, rest: int) -> int:
        digest = self._hash.copy()
        digest.update(rest.to_bytes(10, "big"))
        return int.from_bytes(digest.digest(), "big")


_PLACE: Final = 2**48 - 1
_REST: Final = 2**80 - 1
_FIXED: Final = 0xF << 76 | 0x3 << 62
_VERSION: Final = 0x8 << 76 | 0x2 << 62
"""The bits of a UUID that tell its version and variant, and what they are in one of version 8."""

_AHEAD: Final = 128
_random_rest: Final[list[bytes]] = []
"""The random parts of ids to come: to ask the system for each takes longer than all else about it."""


def new_append_id() -> UUID:
    """An id at random, for an append whose caller did not choose one (UUID version 8, RFC 9562)."""
    return uuid_of(int.from_bytes(os.urandom(16), "big") & ~_FIXED | _VERSION)


def _more_random() -> bytes:
    some = os.urandom(10 * _AHEAD)
    numbers = (int.from_bytes(some[at : at + 10], "big") for at in range(0, len(some), 10))
    first, *others = [(number & ~_FIXED | _VERSION).to_bytes(10, "big") for number in numbers]
    _random_rest.extend(others)
    return first


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random_rest.clear)
