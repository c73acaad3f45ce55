"""The line of those who wait to write: who gives up leaves it at once, however long it is."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from eventsrc.stores.operations import StoreBusy

W = TypeVar("W")

LONGEST: Final = 10_000
"""The most that wait in a line; whoever comes then is told at once that the store is busy."""


class Line(OrderedDict[W, None]):
    """The waiting, in the order in which they came."""

    def join(self, waiter: W) -> None:
        """Stands at the end. Raises StoreBusy if the line is full."""
        if len(self) >= LONGEST:
            raise line_is_full()
        self[waiter] = None

    def leave(self, waiter: W) -> None:
        """Goes away, if it is there."""
        self.pop(waiter, None)

    @property
    def first(self) -> W:
        """The one that has waited for the longest."""
        return next(iter(self))

    def take(self) -> W:
        """Takes the first out of the line."""
        return self.popitem(last=False)[0]


def line_is_full() -> StoreBusy:
    """The error for one who comes to a full line."""
    return StoreBusy(
        f"{LONGEST} appends wait for this store already: have fewer at a time, or try again later"
    )
