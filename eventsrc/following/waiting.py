"""Waiting for events: a follower rests until the feed may have grown, and then reads it.

`WaitForEvents` means to look at the end of the feed again and again, which works on any store and needs
no handler. Where a database can call, as Postgres can, an interpreter that handles the operation
listens instead (see `eventsrc.postgres.PostgresListener`). Its answer is only a hint: a follower reads
the feed after it in any case, so that a lost call delays it no longer than it waits.
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

import attrs

from eventsrc.events.positions import Cursor
from eventsrc.programs.operation import Derived
from eventsrc.programs.program import Do, Program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.operations import ReadFeed

LookOp: TypeAlias = ReadFeed | Elapsed | Sleep
"""The operations of looking at the feed again and again."""

EVERY: Final = 0.05
"""Seconds between two looks at a feed."""


def check_every(seconds: float) -> None:
    """Raises ValueError for a time between two looks at the feed that is none."""
    if not seconds > 0:
        raise ValueError(f"every is {seconds!r}: give the seconds between two looks at the feed")


class WaitForEvents(Derived[bool]):
    """Waits until the feed may go beyond a cursor.

    within: at most so many seconds.
    every: seconds between two looks at the feed, where nothing calls.
    Answers whether there may be new events; False is no promise that there are none.
    """

    lower = (ReadFeed, Elapsed, Sleep)

    after: Cursor
    within: float
    every: float = attrs.field(default=EVERY, validator=lambda _op, _field, every: check_every(every))

    def meaning(self) -> Do[LookOp, bool]:
        """Looks at the end of the feed, one cheap query each time."""
        deadline = (yield from Elapsed()) + self.within
        while True:
            page = yield from ReadFeed(self.after, 1)
            if page.end > self.after:
                return True
            left = deadline - (yield from Elapsed())
            if left <= 0:
                return False
            yield from Sleep(min(self.every, left))


def wait_for_events(after: Cursor, within: float, every: float = EVERY) -> Program[LookOp, bool]:
    """WaitForEvents, typed as the operations that it means."""
    return cast("Program[LookOp, bool]", WaitForEvents(after, within, every))
