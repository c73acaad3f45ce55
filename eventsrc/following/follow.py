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

from math import inf
from typing import Any, TypeAlias

from eventsrc.events.positions import Cursor
from eventsrc.following._retries import Retries
from eventsrc.following.outages import Outage, OutageOp, Seat, seated
from eventsrc.following.synchroniser import ROUNDS, SyncOp, synchronise_partition
from eventsrc.following.waiting import EVERY, check_every, wait_for_events
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.operations import StoreError
from eventsrc.views.operations import Claim, Failed, Lease, LostLease, StartedOver, Unpark, check_lease
from eventsrc.views.view import View, ViewError

FollowOp: TypeAlias = SyncOp | Unpark | Claim | OutageOp
"""The operations of following, on the store, the database of the view, and the clock."""


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
    that its stream stays parked until `retry`. While the store or the view is away, or busy, it waits,
    however long that is: the log says once that it does and once that it goes on, and `status` tells of
    it meanwhile.
    Run it in a thread, task or process of its own. It ends by being cancelled, by an error that no
    waiting mends, such as that of a store that was closed, a role that is refused, an event that cannot
    be decoded where the view stops at that (see `StoreError.may_pass`), or if it loses its lease again
    and again; then `Leave` hands an owner's partitions over at once. Raises ValueError for no time.
    """
    check_every(every)
    check_lease(lease)
    with seated(view, owner) as seat:
        follower = _Follower(view, every, owner, lease, seat)
        while True:
            try:
                has_more = yield from follower.go_on()
                if has_more or not follower.is_resting:
                    yield from follower.goes_on()
                if not has_more:
                    yield from follower.rest()
                    yield from follower.goes_on()
            except (StoreError, ViewError) as error:
                yield from follower.survive(error)


class _Follower:
    """One follower: its partitions, when it is to do what, and the errors that it has met."""

    def __init__(
        self, view: View[Any], every: float, owner: str | None, lease: float, seat: Seat
    ) -> None:
        self._view = view
        self._every = every
        self._owner = owner
        self._lease = lease
        self._retries = Retries(view)
        self._partitions: dict[int, Lease | None] = {}
        self._claim_at = -inf
        self._cursor: Cursor | None = None
        self._losses = 0
        self._seat = seat
        self._outage = Outage(f"the follower of {view!r}", every, seat)
        self.is_resting = False
        """Whether it rests, or met its last error as it did."""

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
        self._seat.tell(cursor=self._cursor)
        yield from self._retries.of(failed, self._partitions)
        return has_more

    def rest(self) -> Do[FollowOp, None]:
        """Waits for new events, until something else is to be done."""
        self.is_resting = True
        yield from Sleep(self._every)
        left = min(self._retries.due, self._claim_at) - (yield from Elapsed())
        if left > 0 and self._cursor is None:
            yield from Sleep(left)
        elif left > 0 and self._cursor is not None:
            yield from wait_for_events(self._cursor, left, self._every)

    def goes_on(self) -> Do[Elapsed, None]:
        """Notes that all is well."""
        self.is_resting = False
        yield from self._outage.end()

    def survive(self, error: StoreError | ViewError) -> Do[OutageOp, None]:
        """Judges an error, here and nowhere else: waits, or raises it if that mends nothing."""
        match error:
            case StoreError() if error.may_pass:
                yield from self._outage.wait(error)
            case LostLease() | StartedOver() if self._losses < ROUNDS:
                self._claim_at = -inf
                self._losses += 1
                yield from Sleep(self._every)
            case _:
                raise error

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
