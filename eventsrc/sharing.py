"""Sharing a view among several synchronisers, for pace and for one to take over from another.

A view's streams are divided into partitions (`View(partitions=8)`), and a synchroniser claims its share
of them for a while, again and again. If it is not heard of for that long, the others take its
partitions over. That a partition has one owner is only for pace: what keeps each event from taking
effect twice is the guard, and an owner that wakes up late is refused by the token of its lease, which
is compared in the transaction that applies. (Fencing tokens: Kleppmann, How to do distributed locking.)
"""

from __future__ import annotations

from typing import Any, TypeAlias

from eventsrc.parking import Retries
from eventsrc.program import Do, program
from eventsrc.synchroniser import SyncOp, synchronise_part
from eventsrc.view import Claim, Leave, LostLease, Unpark, View
from eventsrc.world import Elapsed, Sleep

ShareOp: TypeAlias = SyncOp | Unpark | Claim | Elapsed | Sleep
"""What sharing the work on a view performs."""


@program
def share(view: View[Any], owner: str, lease: float = 10.0, every: float = 0.05) -> Do[ShareOp, None]:
    """Follows a share of a view's partitions for ever, together with others who do the same.

    owner: a name of its own for each synchroniser, such as the host's and the process's.
    lease: for how many seconds others leave its partitions alone if it is not heard of.
    every: how often it looks for new events, in seconds.
    It retries what is parked as `follow` does, and ends as `follow` does; then `leave` hands over its
    partitions at once.
    """
    retries = Retries(view)
    while True:
        leases = yield from Claim(view, owner, lease)
        again = (yield from Elapsed()) + lease / 3
        while (yield from Elapsed()) < again and leases is not None:
            is_idle, is_more_parked = True, False
            for each in leases:
                try:
                    done = yield from synchronise_part(view, each.part, 1, each)
                except LostLease:
                    again = 0.0  # at once
                    break
                is_idle = is_idle and not done.lag
                is_more_parked = is_more_parked or bool(done.parked)
            yield from retries.of(is_more_parked)
            if is_idle:
                yield from Sleep(every)


@program
def leave(view: View[Any], owner: str) -> Do[Leave, None]:
    """Gives an owner's partitions to the others, at once."""
    yield from Leave(view, owner)
