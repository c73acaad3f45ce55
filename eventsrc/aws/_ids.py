"""Ids of appends whose callers chose none: each names a position in the feed, to its store alone.

Hardly anybody asks for such an append again, only after its answer was Unknown. So there is no item for
its id, which spares each append two write units. Its id names a position that it is stored after, from
which on it is looked for. The position is hidden by a key that the store keeps for itself, so that ids
do not tell clients how much others store.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final
from uuid import UUID

NEAR: Final = 1000
"""The most positions between the one that its id names and an append that has no item."""


class OwnIds:
    """The ids that a store makes, as UUIDs of version 8. key: the store's secret, of 1 to 64 bytes."""

    def __init__(self, key: bytes) -> None:
        self.key: Final = key
        self._hash = blake2b(key=key, digest_size=6)

    def new(self, end: int) -> UUID:
        """An id for an append that will be stored after a position."""
        rest = int.from_bytes(os.urandom(10), "big") & ~(0xF << 76 | 0x3 << 62) | 0x8 << 76 | 0x2 << 62
        return UUID(int=(end & _PLACE ^ self._mask(rest)) << 80 | rest)

    def end(self, append_id: UUID) -> int | None:
        """The position that an id names; None if no store made it. Any, if another or a caller did."""
        if append_id.int >> 76 & 0xF != 8:
            return None
        return append_id.int >> 80 ^ self._mask(append_id.int & _REST)

    def _mask(self, rest: int) -> int:
        digest = self._hash.copy()
        digest.update(rest.to_bytes(10, "big"))
        return int.from_bytes(digest.digest(), "big")


_PLACE: Final = 2**48 - 1
_REST: Final = 2**80 - 1
