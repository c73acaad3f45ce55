"""Parking: an event that a view's handler cannot apply holds back its stream.

The stream is parked: nothing more of it is applied, so that its order holds, and all other streams go
on. `GetParked` lists what is parked, with the error; after a fix, `retry` applies the event and all
that was held back behind it. (A sequenced dead-letter queue, as in Axon Framework.)

A follower retries what is parked a few times by itself, since an error can pass: see follow.py.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Any, Final, TypeAlias

from eventsrc.events.epochs import OtherEpoch
from eventsrc.events.stream_id import StreamId
from eventsrc.following.synchroniser import PAGE, ROUNDS, GapRemains
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed
from eventsrc.stores.epochs import get_epochs
from eventsrc.stores.operations import Page, Read
from eventsrc.views.guard import Gap
from eventsrc.views.operations import Apply, CarryOver, GetApplied, GetParked, Parked, Unpark
from eventsrc.views.view import View

RetryOp: TypeAlias = Read | GetApplied | GetParked | Apply | CarryOver | Unpark
"""The operations of retrying."""

ATTEMPTS: Final = 5
"""Attempts of `follow` to apply an event before it leaves it parked."""

LOOK: Final = 1.0
"""Seconds between two looks of `follow` for streams that others have parked."""

FIRST_RETRY: Final = 0.1
"""Seconds until `follow` first tries a parked stream again; it waits four times as long for each
further attempt."""


@program
def retry(view: View[Any], *streams: StreamId) -> Do[RetryOp, tuple[Parked, ...]]:
    """Tries parked streams again: the event that failed, and then what was held back behind it.

    streams: those to try; all that are parked if none are named.
    Answers those of them that are still parked.
    """
    parked = yield from GetParked(view)
    chosen = {each.stream for each in parked if not streams or each.stream in streams}
    for stream in chosen:
        yield from _retry(view, stream)
    left = yield from GetParked(view)
    return tuple([each for each in left if each.stream in chosen])


class Retries:
    """The times at which the parked streams of a view are tried again, whoever has parked them."""

    def __init__(self, view: View[Any]) -> None:
        self._view = view
        self._due: dict[StreamId, float] = {}
        self._look = -inf

    @property
    def due(self) -> float:
        """The time at which there is something to do next, by `Elapsed`."""
        return min([self._look, *self._due.values()])

    def of(self, is_more_parked: bool, partitions: Collection[int]) -> Do[RetryOp | Elapsed, None]:
        """Tries the streams of some partitions whose time has come."""
        now = yield from Elapsed()
        if is_more_parked or now >= self._look:
            yield from self._plan(now, partitions)
        for stream in [stream for stream, due in self._due.items() if due <= now]:
            yield from _retry(self._view, stream)
            self._due.pop(stream, None)
            yield from self._plan((yield from Elapsed()), partitions)

    def _plan(self, now: float, partitions: Collection[int]) -> Do[GetParked, None]:
        """Plans retries of parked streams; those planned before keep their time."""
        self._look = now + LOOK
        self._due = {
            each.stream: self._due.get(each.stream, now + FIRST_RETRY * 4.0 ** (each.attempts - 1))
            for each in (yield from GetParked(self._view))
            if each.attempts < ATTEMPTS
            and not each.is_deadly
            and self._view.partition_of(each.stream) in partitions
        }


def _retry(view: View[Any], stream: StreamId) -> Do[RetryOp, None]:
    """Applies what is missing of a parked stream, unless an event of it fails again."""
    rounds = 0
    while True:
        at = (yield from GetApplied(view, (stream,)))[stream]
        while True:
            page: Page[Any] = yield from Read(stream, at, PAGE)
            partition = view.partition_of(stream)
            source = page.token
            op = Apply(
                view,
                page.events,
                partition=partition,
                parked_too=True,
                store=source.store,
                epoch=source.epoch,
            )
            try:
                done = yield from op
            except OtherEpoch:
                yield from CarryOver(view, (yield from get_epochs()))
                continue
            if done.failed:
                return
            if done.left:
                continue
            at += len(page.events)
            if page.is_last:
                break
        if (yield from Unpark(view, stream)):
            return
        rounds += 1  # more of it came meanwhile
        if rounds > ROUNDS and not page.events:
            raise GapRemains(Gap(stream, at, at + 1))
