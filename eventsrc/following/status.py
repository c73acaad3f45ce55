"""Watching views: their progress and pace, their parked streams, and their owners.

All of it is plain values, to print, to export or to draw; `eventsrc.following.progress` draws them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from eventsrc.events.positions import Cursor
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed
from eventsrc.stores.operations import ReadFeed
from eventsrc.views.operations import GetLive, GetParked, GetProgress, Parked, PartitionProgress
from eventsrc.views.view import View

WatchOp: TypeAlias = ReadFeed | GetProgress | GetParked | GetLive | Elapsed
"""The operations of watching."""


@attrs.frozen
class Status:
    """A view at a moment."""

    view: View[Any]
    partitions: tuple[PartitionProgress, ...]
    """The progress of each partition, and its owner."""
    end: Cursor
    """The end of the feed."""
    parked: tuple[Parked, ...]
    live: int
    """The version that queries read; 0 if there is none."""
    elapsed: float
    """The time of that moment, in seconds: see Elapsed."""

    @property
    def lag(self) -> int:
        """The number of events of the store that it has not looked at yet: of its last partition, if it
        has several."""
        return self.end.position - min(partition.cursor.position for partition in self.partitions)

    @property
    def done(self) -> float:
        """The share of the feed that it has looked at: 0 to 1."""
        end = self.end.position
        return (
            sum(partition.cursor.position for partition in self.partitions) / len(self.partitions) / end
            if end
            else 1.0
        )

    def pace_since(self, earlier: Status) -> float:
        """The events per second that it has applied since an earlier status; 0 for the same moment."""
        seconds = self.elapsed - earlier.elapsed
        applied = sum(partition.applied for partition in self.partitions) - sum(
            partition.applied for partition in earlier.partitions
        )
        return applied / seconds if seconds > 0 else 0.0


@program
def status(view: View[Any]) -> Do[WatchOp, Status]:
    """Reports the progress of a view at this moment, its lag, and what is parked."""
    elapsed = yield from Elapsed()
    progress = yield from GetProgress(view)
    end = (yield from ReadFeed(progress.cursor, 1)).end
    parked = yield from GetParked(view)
    live = yield from GetLive(view)
    return Status(view, progress.partitions, end, parked, live, elapsed)
