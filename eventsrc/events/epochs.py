"""Epochs: what tells a store that was restored from the one that it was.

A store that is restored from a backup goes on from an earlier position, and gives the positions and
versions after it to other events. So it then goes on in another epoch (`restored`), and cursors and
tokens name the epoch that they were issued in. What they say of an earlier one is so up to the position
where the next began, and is refused beyond.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import attrs

from eventsrc.events.positions import Cursor, WrongStore


class WrongEpoch(WrongStore):
    """A cursor, a token or a view names what its store does not have any more: it was restored."""


class OtherEpoch(WrongEpoch):
    """A view and what it is given are of two epochs: it is carried over first, if that can be."""


@attrs.frozen
class Epochs:
    """The epochs of a store, as (number, position) in their order.

    The first is 1, from position 0; each other began after the event at its position, the last one that
    it has in common with those before it. Numbers go up, and not by one: two copies of a store that
    begin an epoch each must not give it the same number.
    """

    begins: tuple[tuple[int, int], ...] = ((1, 0),)
    is_copy: bool = False
    """Whether the store is a copy that takes no appends, as one that is being made is."""
    current: int = attrs.field(init=False, eq=False, repr=False)
    """The number of the last."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "current", self.begins[-1][0])

    @staticmethod
    def stored(rows: Iterable[tuple[int, int]]) -> Epochs:
        """The epochs of the rows that a store keeps, of which COPY says that it is a copy."""
        found = tuple(rows)
        begins = tuple(row for row in found if row[0] != COPY)
        return Epochs(begins or FIRST.begins, len(begins) < len(found))

    def next(self, end: int, now: int) -> tuple[int, int]:
        """The epoch that begins when the feed ends at a position. now: microseconds since 1970."""
        return max(self.current + 1, now // 1000), end

    def until(self, epoch: int) -> int | None:
        """The last position for which what an epoch says is so; None for one that never was."""
        for (number, _), (_, position) in pairwise(self.begins):
            if number == epoch:
                return position
        return 2**63 if epoch == self.current else None

    def check(self, cursor: Cursor) -> None:
        """Raises WrongEpoch for a cursor of an earlier epoch that is beyond where the next began."""
        if cursor.epoch != self.current and cursor.position:
            self.check_place(cursor.epoch, cursor.position, f"cursor {cursor}", "start from START")

    def check_place(self, epoch: int, position: int | None, what: str, remedy: str) -> None:
        """Raises WrongEpoch unless what an epoch says of an event is so.

        position: of the event; None for one that there is not. what: that says it.
        """
        if epoch == self.current:
            return
        until = self.until(epoch)
        if until is None:
            raise WrongEpoch(
                f"{what} is of epoch {epoch}, which the store does not have: it was restored from a "
                f"backup that is older than that epoch: {remedy}"
            )
        if position is None or position > until:
            raise WrongEpoch(
                f"{what} names what the store had in epoch {epoch} and has not any more: it was "
                f"restored, and has in common with that epoch what is up to position {until}: {remedy}"
            )


COPY: Final = 2**62
"""The number that a store keeps beside those of its epochs while it is a copy that takes no appends.

Being greater than any other it is found where the current epoch is looked for: so whoever appends
notices it as he notices a new epoch.
"""

FIRST: Final = Epochs()
"""The epochs of a store that was never restored."""
