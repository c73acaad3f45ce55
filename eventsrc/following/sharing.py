"""Sharing a view among several synchronisers, for pace and for one to take over from another.

A view's streams are divided into partitions (`View(partitions=8)`), and a synchroniser claims its share
of them for a while, again and again. If it is not heard of for that long, the others take its
partitions over. That a partition has one owner is only for pace: what keeps each event from taking
effect twice is the guard, and an owner that wakes up late is refused by the token of its lease, which
is compared in the transaction that applies. (Fencing tokens: Kleppmann, How to do distributed locking.)
"""

from __future__ import annotations

from typing import Any, TypeAlias

from eventsrc.following.parking import Retries
from eventsrc.following.synchroniser import ROUNDS, SyncOp, synchronise_part
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.operations import StoreBusy
from eventsrc.views.view import Claim, Leave, LostLease, Unpark, View, check_lease

ShareOp: TypeAlias = SyncOp | Unpark | Claim | Elapsed | Sleep
"""What sharing the work on a view performs."""


@program
def share(view: View[Any], owner: str, lease: float = 10.0, every: float = 0.05) -> Do[ShareOp, None]:
    """Follows a share of a view's partitions for ever, together with others who do the same.

    owner: a name of its own for each synchroniser, such as the host's and the process's.
    lease: for how many seconds others leave its partitions alone if it is not heard of.
    every: how often it looks for new events, in seconds.
    It retries what is parked of its partitions as `follow` does, and waits while the view is busy. It
    ends as `follow` does, or if it loses its lease again and again; then `leave` hands over its
    partitions at once. Raises ValueError for a lease of no time.
    """
    check_lease(lease)
    retries = Retries(view)
    losses = 0
    while True:
        try:
            leases = yield from Claim(view, owner, lease)
        except StoreBusy:
            yield from Sleep(every)
            continue
        again = (yield from Elapsed()) + lease / 3
        while (yield from Elapsed()) < again:
            is_idle, is_more_parked = True, False
            try:
                for each in leases:
                    done = yield from synchronise_part(view, each.part, 1, each)
                    losses = 0
                    is_idle = is_idle and not done.lag
                    is_more_parked = is_more_parked or bool(done.parked)
                yield from retries.of(is_more_parked, {each.part for each in leases})
            except StoreBusy:
                is_idle = True  # for now
            except LostLease:
                losses += 1
                if losses > ROUNDS:
                    raise
                break
            if is_idle:
                yield from Sleep(every)


@program
def leave(view: View[Any], owner: str) -> Do[Leave, None]:
    """Gives an owner's partitions to the others, at once."""
    yield from Leave(view, owner)
