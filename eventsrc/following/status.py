"""Watching views: their progress and pace, their parked streams, and their owners.

All of it is plain values, to print, to export or to draw; `eventsrc.following.progress` draws them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import attrs

from eventsrc.events.positions import START, Cursor
from eventsrc.following.outages import Follower, followers
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed
from eventsrc.stores.operations import ReadFeed, StoreError
from eventsrc.views.operations import GetLive, GetParked, GetProgress, Parked, PartitionProgress
from eventsrc.views.view import View

WatchOp: TypeAlias = ReadFeed | GetProgress | GetParked | GetLive | Elapsed
"""The operations of watching."""


@attrs.frozen
class Status:
    """A view at a moment."""

    view: View[Any]
    partitions: tuple[PartitionProgress, ...]
    """The progress of each partition, and its owner; none if the view's database is away."""
    end: Cursor
    """The end of the feed."""
    parked: tuple[Parked, ...]
    live: int
    """The version that queries read; 0 if there is none."""
    elapsed: float
    """The time of that moment, in seconds: see Elapsed."""
    followers: tuple[Follower, ...] = ()
    """The followers that run in this process, and how they are doing: see `followers`."""
    away: str | None = None
    """Why the view's database did not answer; None if it did."""
    waiting_since: datetime | None = None
    """When the first event that it has not looked at yet was recorded; None if it has looked at all."""

    @property
    def lag(self) -> int:
        """The number of events of the store that it has not looked at yet: of its last partition, if it
        has several. While the view's database is away, as far as the followers here know."""
        return self.end.position - min(self._positions)

    @property
    def _positions(self) -> list[int]:
        """The positions that its partitions, or else its followers, have reached."""
        known = [its.cursor.position for its in self.followers if its.cursor is not None]
        return [each.cursor.position for each in self.partitions] or known or [0]

    @property
    def done(self) -> float:
        """The share of the feed that it has looked at: 0 to 1."""
        end, positions = self.end.position, self._positions
        return sum(positions) / len(positions) / end if end else 1.0

    def pace_since(self, earlier: Status) -> float:
        """The events per second that it has applied since an earlier status; 0 for the same moment,
        and where one of them knows nothing of it."""
        if not (self.partitions and earlier.partitions):
            return 0.0
        seconds = self.elapsed - earlier.elapsed
        applied = sum(partition.applied for partition in self.partitions) - sum(
            partition.applied for partition in earlier.partitions
        )
        return applied / seconds if seconds > 0 else 0.0


@program
def status(view: View[Any]) -> Do[WatchOp, Status]:
    """Reports the progress of a view at this moment, its lag, what is parked, and its followers here.

    It answers also while the view's database is away, if the store is not: see Status.away.
    """
    elapsed = yield from Elapsed()
    try:
        progress = yield from GetProgress(view)
        parked = yield from GetParked(view)
        live = yield from GetLive(view)
    except StoreError as error:
        if not error.may_pass:
            raise
        end = (yield from ReadFeed(START, 1)).end
        return Status(view, (), end, (), 0, elapsed, followers(view), str(error))
    page = yield from ReadFeed(progress.cursor, 1)
    since = page.events[0].recorded_at if page.events else None
    return Status(
        *(view, progress.partitions, page.end, parked, live, elapsed, followers(view)),
        waiting_since=since,
    )
