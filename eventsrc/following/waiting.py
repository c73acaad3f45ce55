"""Waiting for news: a follower rests until the feed may have grown, and then reads it.

`WaitForEvents` is the operation, and its answer is only a hint: who follows reads the feed after it in
any case, so that no call can be missed for longer than the operation waits. `Polling` makes of it a
program over any store; where a database can call, as Postgres can, an interpreter listens instead (see
stores/postgres_listening.py). `keep_up` is the follower::

    app = store | views | world | Polling().into(store | world)
    app.run(keep_up(view))
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from eventsrc.events.positions import Cursor
from eventsrc.following.parking import FIRST_RETRY, Retries
from eventsrc.following.synchroniser import SyncOp, synchronise
from eventsrc.programs.interpreter import Translation, on
from eventsrc.programs.operation import Query
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.operations import ReadFeed
from eventsrc.views.view import Unpark, View

EVERY: Final = 0.025
"""How many seconds are between two looks at a feed."""


class WaitForEvents(Query[bool]):
    """Waits until the feed may go beyond a cursor.

    within: for at most so many seconds.
    Answers whether there may be news; False is no promise either that there are none.
    """

    after: Cursor
    within: float


Looking: TypeAlias = ReadFeed | Elapsed | Sleep
"""What polling performs."""


class Polling(Translation[WaitForEvents, Looking]):
    """Looks at the end of the feed again and again: one cheap query each time, on any store.

    every: how many seconds are between two looks.
    """

    def __init__(self, every: float = EVERY) -> None:
        if not every > 0:
            raise ValueError(f"every is {every!r}: give the seconds between two looks at the feed")
        self.every: Final = every

    @on(WaitForEvents).program
    def wait(self, op: WaitForEvents) -> Do[Looking, bool]:
        """Waits by looking."""
        deadline = (yield from Elapsed()) + op.within
        while True:
            page = yield from ReadFeed(op.after, 1)
            if page.end > op.after:
                return True
            left = deadline - (yield from Elapsed())
            if left <= 0:
                return False
            yield from Sleep(min(self.every, left))


@program
def keep_up(
    view: View[Any], within: float = 5.0
) -> Do[SyncOp | Unpark | WaitForEvents | Elapsed, None]:
    """Synchronises a view for ever, whenever there are new events.

    within: look at the feed after so many seconds in any case, in which all wake-ups may be lost.
    It retries what is parked, is run and ends as `follow` does.
    """
    retries = Retries(view)
    while True:
        done = yield from synchronise(view)
        yield from retries.of(bool(done.parked))
        rest = min(within, FIRST_RETRY) if retries.are_planned else within
        yield from WaitForEvents(done.cursor, rest)
