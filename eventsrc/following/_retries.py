"""The times at which a follower tries parked streams again.

What it does in a round is bounded, however many streams are parked, so that those that are sound do not
wait: it tries a few whose time has come, and each second it looks at a page of what others have parked,
going on from there the next time.

An event that a process could not decode has all attempts again in each process: after a rolling deploy,
the new one may know its type.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from math import inf
from typing import Any, Final

from eventsrc.events.stream_id import StreamId
from eventsrc.following.parking import RetryOp, retry_stream
from eventsrc.programs.program import Do
from eventsrc.programs.world import Elapsed
from eventsrc.views.operations import Failed, GetParked, Parked
from eventsrc.views.view import View

ATTEMPTS: Final = 5
"""Attempts of `follow` to apply an event before it leaves it parked."""

LOOK: Final = 1.0
"""Seconds between two looks of `follow` for streams that others have parked."""

SEEN: Final = 100
"""Parked streams that it looks at then, at most."""

FIRST_RETRY: Final = 0.1
"""Seconds until `follow` first tries a parked stream again; it waits four times as long for each
further attempt."""

TRIED: Final = 20
"""Parked streams that it tries again in a round, at most."""


class Retries:
    """The parked streams of a view that are to be tried again, whoever has parked them."""

    def __init__(self, view: View[Any]) -> None:
        self._view = view
        self._queue: list[tuple[float, StreamId]] = []
        self._attempts: dict[StreamId, tuple[int, int]] = {}
        """Of each stream in the queue the version that failed, and how often."""
        self._left: dict[StreamId, int] = {}
        """The versions that were tried often enough, of the streams that are left parked."""
        self._look = -inf
        self._seen = ""

    @property
    def due(self) -> float:
        """The time at which there is something to do next, by `Elapsed`."""
        return min(self._look, self._queue[0][0] if self._queue else inf)

    def of(self, failed: Iterable[Failed], partitions: Collection[int]) -> Do[RetryOp | Elapsed, None]:
        """Tries some of the streams of some partitions whose time has come.

        failed: the events that have failed since, and are parked.
        """
        now = yield from Elapsed()
        for each in failed:
            if not each.is_deadly:
                self._plan(each.stream, each.version, 1, now)
        if now >= self._look:
            yield from self._look_around(now, partitions)
        for _ in range(TRIED):
            if not self._queue or self._queue[0][0] > now:
                return
            _, stream = heapq.heappop(self._queue)
            version, attempts = self._attempts.pop(stream)
            if self._view.partition_of(stream) not in partitions:
                continue
            again = yield from retry_stream(self._view, stream)
            if again is None:
                self._left.pop(stream, None)
            elif not again.is_deadly:
                number = attempts + 1 if again.version == version else 1
                self._plan(stream, again.version, number, (yield from Elapsed()))

    def _look_around(self, now: float, partitions: Collection[int]) -> Do[GetParked, None]:
        """Plans retries of some streams, which others may have parked."""
        self._look = now + LOOK
        rows = yield from GetParked(self._view, SEEN, self._seen)
        self._seen = rows[-1].stream if len(rows) == SEEN else ""
        for row in rows:
            if row.stream not in self._attempts and self._view.partition_of(row.stream) in partitions:
                self._plan_row(row, now)

    def _plan_row(self, row: Parked, now: float) -> None:
        if row.is_deadly or self._left.get(row.stream) == row.version:
            return
        if row.is_undecodable:
            self._plan(row.stream, row.version, 1, now)
        elif row.attempts < ATTEMPTS:
            self._plan(row.stream, row.version, row.attempts, now)

    def _plan(self, stream: StreamId, version: int, attempts: int, now: float) -> None:
        """Plans the next attempt, after so many, if there is to be one."""
        if attempts >= ATTEMPTS:
            self._left[stream] = version
        elif stream not in self._attempts:
            self._attempts[stream] = version, attempts
            heapq.heappush(self._queue, (now + FIRST_RETRY * 4.0 ** (attempts - 1), stream))
