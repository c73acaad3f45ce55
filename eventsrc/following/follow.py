"""Following: a view is kept up to date for as long as the program runs.

A follower brings the view forward page by page; at the end of the feed it rests until there are new
events. It tries again what is parked, whoever parked it. Several followers can share a view, for pace
and for one to take over from another: each claims its share of the partitions (`View(partitions=8)`)
for a while, again and again, and if one is not heard of for that long, the others take its partitions
over. That a partition has one owner is only for pace: what keeps each event from taking effect twice is
the guard, and an owner that wakes up late is refused by the token of its lease, which is compared in
the transaction that applies. (Fencing tokens: Kleppmann, How to do distributed locking.)
"""

from __future__ import annotations

import logging
from math import inf
from typing import Any, TypeAlias

from eventsrc.events.positions import Cursor
from eventsrc.following._retries import Retries
from eventsrc.following.synchroniser import ROUNDS, SyncOp, synchronise_partition
from eventsrc.following.waiting import EVERY, check_every, wait_for_events
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.operations import StoreBusy, StoreError
from eventsrc.views.operations import Claim, Failed, Lease, LostLease, Unpark, check_lease
from eventsrc.views.view import View, ViewError

FollowOp: TypeAlias = SyncOp | Unpark | Claim | Elapsed | Sleep
"""The operations of following, on the store, the database of the view, and the clock."""

_log = logging.getLogger("eventsrc")


@program
def follow(
    view: View[Any], every: float = EVERY, *, owner: str | None = None, lease: float = 10.0
) -> Do[FollowOp, None]:
    """Synchronises a view for ever, alone or sharing its partitions with other followers.

    every: seconds between two looks at the feed, at its end. Where an interpreter calls (see
        `WaitForEvents`), the follower looks when it is called, but no more often than that.
    owner: a name of its own for each of the followers that share the view, such as the host's and the
        process's; None for one that follows all partitions.
    lease: seconds for which the others leave an owner's partitions alone if it is not heard of.

    An event that fails is tried five times, in about half a minute, unless it ended the process; after
    that its stream stays parked until `retry`. While the store or the view is busy, it tries again.
    Run it in a thread, task or process of its own. It ends by being cancelled, by an error that is not
    of an event, such as a store that cannot be reached, or if it loses its lease again and again; then
    `Leave` hands an owner's partitions over at once. Raises ValueError for no time.
    """
    check_every(every)
    check_lease(lease)
    follower = _Follower(view, every, owner, lease)
    while True:
        try:
            if not (yield from follower.go_on()):
                yield from follower.rest()
        except (StoreError, ViewError) as error:
            if not follower.survives(error):
                raise
            yield from Sleep(every)
        else:
            follower.is_busy = False


class _Follower:
    """One follower: its partitions, when it is to do what, and the errors that it has met."""

    def __init__(self, view: View[Any], every: float, owner: str | None, lease: float) -> None:
        self._view = view
        self._every = every
        self._owner = owner
        self._lease = lease
        self._retries = Retries(view)
        self._partitions: dict[int, Lease | None] = {}
        self._claim_at = -inf
        self._cursor: Cursor | None = None
        self._losses = 0
        self.is_busy = False

    def go_on(self) -> Do[FollowOp, bool]:
        """Applies a page to each of its partitions; answers whether there is more to apply."""
        yield from self._claim()
        ends: list[Cursor] = []
        has_more, failed = False, list[Failed]()
        for partition, lease in self._partitions.items():
            done = yield from synchronise_partition(self._view, partition, 1, lease)
            self._losses = 0
            ends.append(done.cursor)
            has_more = has_more or done.lag > 0
            failed += done.parked
        self._cursor = min(ends, default=None)
        yield from self._retries.of(failed, self._partitions)
        return has_more

    def rest(self) -> Do[FollowOp, None]:
        """Waits for new events, until something else is to be done."""
        yield from Sleep(self._every)
        left = min(self._retries.due, self._claim_at) - (yield from Elapsed())
        if left > 0 and self._cursor is None:
            yield from Sleep(left)
        elif left > 0 and self._cursor is not None:
            yield from wait_for_events(self._cursor, left, self._every)

    def survives(self, error: StoreError | ViewError) -> bool:
        """Judges an error, here and nowhere else: True if the follower goes on after it."""
        match error:
            case StoreBusy():
                if not self.is_busy:
                    _log.warning("the follower of %r waits: %s", self._view, error)
                self.is_busy = True
                return True
            case LostLease():
                self._claim_at = -inf
                self._losses += 1
                return self._losses <= ROUNDS
            case _:
                return False

    def _claim(self) -> Do[Claim | Elapsed, None]:
        """Takes or keeps its partitions, if it is time."""
        now = yield from Elapsed()
        if now < self._claim_at:
            return
        if self._owner is None:
            self._partitions = dict.fromkeys(range(self._view.partitions))
            self._claim_at = inf
        else:
            leases = yield from Claim(self._view, self._owner, self._lease)
            self._partitions = {each.partition: each for each in leases}
            self._claim_at = now + self._lease / 3
