"""Parking: an event that a view's handler cannot apply holds back its stream.

The stream is parked: nothing more of it is applied, so that its order holds, and all other streams go
on. `GetParked` lists what is parked, with the error; after a fix, `retry` applies the event and all
that was held back behind it, of one stream or of all; `skip` goes on without the event, for good. (A
sequenced dead-letter queue, as in Axon Framework.)

A follower retries what is parked a few times by itself, since an error can pass: see follow.py.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from eventsrc.events.epochs import OtherEpoch
from eventsrc.events.event import own_event
from eventsrc.events.stream_id import StreamId
from eventsrc.following.synchroniser import PAGE, ROUNDS, GapRemains
from eventsrc.programs.program import Do, program
from eventsrc.stores.epochs import get_epochs
from eventsrc.stores.operations import Append, Page, Read
from eventsrc.streams.stream import Stream
from eventsrc.views.guard import Gap
from eventsrc.views.operations import (
    Apply,
    CarryOver,
    Failed,
    GetApplied,
    GetParked,
    Parked,
    Skip,
    Unpark,
)
from eventsrc.views.view import View, ViewError

SkipOp: TypeAlias = Read | GetApplied | GetParked | Apply | CarryOver | Unpark | Append | Skip
"""The operations of skipping."""

RetryOp: TypeAlias = Read | GetApplied | GetParked | Apply | CarryOver | Unpark
"""The operations of retrying."""

PUT_ASIDE: Final = "eventsrc/put-aside/"
"""The beginning of the ids under which deliveries that are no events are parked, each as a stream of
its own with one event. `skip` removes one, with a reason; `retry` leaves it."""

OPERATORS: Final = StreamId("eventsrc/operators")
"""The stream of what operators have decided by hand."""


@own_event("operators.event-skipped")
class EventSkipped:
    """An operator has a view go on without an event.

    view, view_version: the view. stream, version: of the event. error: the reason why it was parked.
    """

    view: str
    view_version: int
    stream: str
    version: int
    type: str
    error: str
    why: str


_operators: Final = Stream(OPERATORS, events=EventSkipped)


@program
def retry(view: View[Any], *streams: StreamId) -> Do[RetryOp, tuple[Parked, ...]]:
    """Tries parked streams again: the event that failed, and then what was held back behind it.

    streams: those to try; all that are parked if none are named.
    Answers those of them that are still parked.
    """
    parked = yield from GetParked(view)
    chosen = {each.stream for each in parked if not streams or each.stream in streams}
    for stream in chosen:
        yield from retry_stream(view, stream)
    left = yield from GetParked(view)
    return tuple([each for each in left if each.stream in chosen])


@program
def skip(view: View[Any], stream: StreamId, why: str) -> Do[SkipOp, tuple[Parked, ...]]:
    """Goes past the event at which a stream is parked, for good, and applies what was held back.

    why: is kept in the stream `eventsrc/operators`, before it is done, with the event and its error;
        `with_metadata` says who does it.
    Answers the stream if it is parked again, by a later event. Raises ValueError for no reason, and
    ViewError for a stream that is not parked.
    """
    if not why.strip():
        raise ValueError("an event is skipped for a reason: say why, for those who look for it later")
    found = [each for each in (yield from GetParked(view)) if each.stream == stream]
    if not found:
        raise ViewError(f"{stream} is not parked in {view!r}: GetParked lists the streams that are")
    (its,) = found
    which = view.name, view.version, str(stream), its.version
    yield from _operators.append(EventSkipped(*which, its.type, its.error, why))
    yield from Skip(view, stream, its.version)
    yield from retry_stream(view, stream)
    return tuple([each for each in (yield from GetParked(view)) if each.stream == stream])


def retry_stream(view: View[Any], stream: StreamId) -> Do[RetryOp, Failed | None]:
    """Applies what is missing of a parked stream; answers the event of it that fails again, if any."""
    if stream.startswith(PUT_ASIDE):  # which no store has
        yield from Unpark(view, stream)
        return None
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
                store_id=source.store_id,
                epoch=source.epoch,
            )
            try:
                done = yield from op
            except OtherEpoch:
                yield from CarryOver(view, (yield from get_epochs()))
                continue
            if done.failed:
                return done.failed[0]
            if done.left:
                continue
            at += len(page.events)
            if page.is_last:
                break
        if (yield from Unpark(view, stream)):
            return None
        rounds += 1  # more of it came meanwhile
        if rounds > ROUNDS and not page.events:
            raise GapRemains(Gap(stream, at, at + 1))
