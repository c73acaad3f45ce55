"""Rebuilding a view without downtime: a new version is built beside the one that queries read.

Give the view a higher version, and run `rebuild`: it applies the feed from its beginning to a database
of the new version's own, while queries go on reading the old one and writers go on writing. When it has
caught up, queries read the new version from one transaction to the next: follow that one from then on.
The old one is kept, and can be removed (`Discard`) or gone back to: by `rebuild` of it, which brings it
up to date first.

A rebuild that is killed or cancelled goes on where it was when it is run again; `status` tells how
far it is; it is cancelled by ending it.

`rebuild(view, in_place=True)` builds a version anew where it is, with no other beside it: after its
definition has changed and its version has not, or after its store was restored. Queries then read what
there is meanwhile, which is nothing at first.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
from returns.result import Failure, Success

from eventsrc.events.positions import Cursor
from eventsrc.following.synchroniser import PAGE, Synchronised, SyncOp, synchronise
from eventsrc.programs.program import Try, program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.views.operations import Apply, GetParked, GoLive, Parked, StartOver
from eventsrc.views.view import View

RebuildOp: TypeAlias = SyncOp | StartOver | GoLive | Elapsed | Sleep
"""The operations of rebuilding."""


@attrs.frozen
class Unsound:
    """A view was built and does not go live: events of it failed, see `retry`."""

    view: View[Any]
    parked: tuple[Parked, ...]


@program
def rebuild(
    view: View[Any], pace: float | None = None, *, in_place: bool = False
) -> Try[RebuildOp, Synchronised, Unsound]:
    """Builds a version of a view, and has queries read it when it has caught up.

    pace: at most so many events per second of those that were there when it began, so that others are
        not disturbed; None for no limit. What has come since is applied without one, so that it ends
        also if more comes in a second than that.
    in_place: whether to remove first what this version has built, and make its tables anew. If it ends
        before it has caught up, go on with `synchronise`, or without this.
    Answers Failure of Unsound, with the old version live, if streams of the new one are parked.
    """
    if pace is not None and not pace > 0:
        raise ValueError(f"a pace of {pace} events per second never ends: give more, or None")
    began = yield from Elapsed()
    if in_place:
        yield from StartOver(view)
    yield from Apply(view, ())  # which makes its tables, if there is nothing to apply yet
    applied = ignored = 0
    size = PAGE if pace is None else max(1, int(min(PAGE, pace)))
    paced_to: Cursor | None = None
    last_end: Cursor | None = None
    while True:
        done = yield from synchronise(view, 1, size)
        applied += done.applied
        ignored += done.ignored
        # Several partitions may never be found at the end at once, while others write: it is enough to
        # be where the end was a page ago.
        if not done.lag or (last_end is not None and done.cursor >= last_end):
            break
        paced_to = paced_to or done.end
        if pace is None or done.cursor >= paced_to:
            size, last_end = PAGE, done.end
            continue
        ahead = (applied + ignored) / pace - ((yield from Elapsed()) - began)
        if ahead > 0:
            yield from Sleep(ahead)
    parked = yield from GetParked(view)
    if parked:
        return Failure(Unsound(view, parked))
    yield from GoLive(view)
    return Success(attrs.evolve(done, applied=applied, ignored=ignored))
