"""Watching views: how far they have come and how fast, what is parked, and who works on them.

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
"""What watching performs."""


@attrs.frozen
class Status:
    """A view at a moment."""

    view: View[Any]
    partitions: tuple[PartitionProgress, ...]
    """How far each partition has come, and who has it."""
    end: Cursor
    """The end of the feed."""
    parked: tuple[Parked, ...]
    live: int
    """The version that queries read; 0 if there is none."""
    elapsed: float
    """When that was, in seconds: see Elapsed."""

    @property
    def lag(self) -> int:
        """How many events of the store it has not looked at yet: of its last partition, if there are
        several."""
        return self.end.position - min(partition.cursor.position for partition in self.partitions)

    @property
    def done(self) -> float:
        """How much of the feed it has looked at: 0 to 1."""
        end = self.end.position
        return (
            sum(partition.cursor.position for partition in self.partitions) / len(self.partitions) / end
            if end
            else 1.0
        )

    def pace_since(self, earlier: Status) -> float:
        """How many events per second it has applied since an earlier status; 0 for the same moment."""
        seconds = self.elapsed - earlier.elapsed
        applied = sum(partition.applied for partition in self.partitions) - sum(
            partition.applied for partition in earlier.partitions
        )
        return applied / seconds if seconds > 0 else 0.0


@program
def status(view: View[Any]) -> Do[WatchOp, Status]:
    """How a view is doing at this moment."""
    elapsed = yield from Elapsed()
    progress = yield from GetProgress(view)
    end = (yield from ReadFeed(progress.cursor, 1)).end
    parked = yield from GetParked(view)
    live = yield from GetLive(view)
    return Status(view, progress.partitions, end, parked, live, elapsed)
