"""Rebuilding a view without downtime: a new version is built beside the one that queries read.

Give the view a higher version, and run `rebuild`: it applies the feed from its beginning to a database
of the new version's own, while queries go on reading the old one and writers go on writing. When it has
caught up, queries read the new version from one transaction to the next. The old one is kept, and can
be followed, gone back to (`GoLive`), or removed (`Discard`).

A rebuild that is killed goes on where it was when it is run again; `status` (watching.py) tells how far
it is; it is cancelled by ending it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
from returns.result import Failure, Success

from eventsrc.program import Try, program
from eventsrc.synchroniser import Synchronised, SyncOp, synchronise
from eventsrc.view import Apply, GetParked, GoLive, Parked, View
from eventsrc.world import Elapsed, Sleep

RebuildOp: TypeAlias = SyncOp | GoLive | Elapsed | Sleep
"""What rebuilding performs."""


@attrs.frozen
class NotSound:
    """A view was built and does not go live: events of it failed, see `retry`."""

    view: View[Any]
    parked: tuple[Parked, ...]


@program
def rebuild(view: View[Any], pace: float | None = None) -> Try[RebuildOp, NotSound, Synchronised]:
    """Builds a version of a view, and has queries read it when it has caught up.

    pace: at most so many events per second, so that others are not disturbed; None for no limit.
    Answers Failure of NotSound, with the old version live, if streams of the new one are parked.
    """
    if pace is not None and pace <= 0:
        raise ValueError(f"a pace of {pace} events per second never ends: give more, or None")
    began = yield from Elapsed()
    yield from Apply(view, ())  # which makes its tables, if there is nothing to apply yet
    applied = ignored = 0
    while True:
        done = yield from synchronise(view, 1)
        applied += done.applied
        ignored += done.ignored
        if not done.lag:
            break
        if pace is not None:
            ahead = (applied + ignored) / pace - ((yield from Elapsed()) - began)
            if ahead > 0:
                yield from Sleep(ahead)
    parked = yield from GetParked(view)
    if parked:
        return Failure(NotSound(view, parked))
    yield from GoLive(view)
    return Success(attrs.evolve(done, applied=applied, ignored=ignored))
