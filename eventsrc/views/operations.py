"""The operations on views, which synchronisers and status reports ask of a database of views.

Every database of views interprets them all: see `ViewOp`, at the end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf
from typing import Any, TypeAlias, TypeVar

import attrs

from eventsrc.events.epochs import Epochs
from eventsrc.events.positions import Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.opened import Opened
from eventsrc.programs.operation import Command, Query
from eventsrc.views.guard import Gap
from eventsrc.views.view import View, ViewError

O_contra = TypeVar("O_contra", contravariant=True)


@attrs.frozen
class Lease:
    """The right of one owner to a partition of a view, for a while.

    token: goes up with each owner; by it, an owner that has lost the partition is refused.
    seconds: how long the partition is kept for an owner that is not heard of.
    """

    partition: int
    token: int
    seconds: float


def checksum_of(event: Recorded[Any]) -> int:
    """A number that no other event has at that position: of its two checksums, in 63 bits."""
    record = event.record
    return record.data_crc << 31 ^ int.from_bytes(record.rest[20:24], "little")


def check_lease(seconds: float) -> None:
    """Raises ValueError for what is no time that a lease can have."""
    if not 0 < seconds < inf:
        raise ValueError(
            f"a lease of {seconds} seconds keeps nothing for its owner: give more, in seconds"
        )


@attrs.frozen
class PartitionProgress:
    """The progress of one partition of a view in the feed of its store."""

    cursor: Cursor
    """After the last event of the feed that it has dealt with."""
    applied: int
    """The number of events that it has dealt with, one way or another."""
    owner: str | None = None
    """The synchroniser that has it, if several share the view."""
    last: int = 0
    """The position of the last event that it has applied of the feed; 0 if that is not known."""
    last_sum: int = 0
    """That event's checksum: see `checksum_of`."""


@attrs.frozen
class Progress:
    """The progress of a view."""

    partitions: tuple[PartitionProgress, ...]

    @property
    def cursor(self) -> Cursor:
        """The cursor of the partition that is furthest behind."""
        return min(
            (partition.cursor for partition in self.partitions), key=lambda cursor: cursor.position
        )

    @property
    def applied(self) -> int:
        """The number of events that it has dealt with, one way or another."""
        return sum(partition.applied for partition in self.partitions)


@attrs.frozen
class Failed:
    """An event that a view's handler could not apply; the view is as if it had not come."""

    stream: StreamId
    version: int
    position: int
    type: str
    error: str
    is_deadly: bool = False
    """True if it seems to have ended the process, again and again."""
    is_undecodable: bool = False
    """True if this process could not decode it, as another may: one of a newer release, say."""


@attrs.frozen
class Parked:
    """A stream of which a view applies nothing, because an event of it failed: see `retry`."""

    stream: StreamId
    version: int
    """The event's version; those after it are held back."""
    position: int
    type: str
    error: str
    attempts: int
    held: int
    """The version of the last event that came and was held back."""
    since: str
    """The time at which it was first parked, UTC."""
    is_deadly: bool
    is_undecodable: bool = False
    """True if the process that tried it last could not decode it, as another may."""


@attrs.frozen
class Applied:
    """The result of delivering some events to a view."""

    applied: int
    ignored: int
    """The number that it had dealt with before."""
    gaps: tuple[Gap, ...] = ()
    """The gaps where events are missing; if there are any, the view's cursor was not moved."""
    held: int = 0
    """The number of streams of these events that are parked."""
    failed: tuple[Failed, ...] = ()
    """The events that could not be applied: their streams are parked, and the others went on."""
    left: int = 0
    """The number of these events that were left, since applying took long: apply them again. The
    view's cursor is before them."""


class LostLease(ViewError):
    """A partition has another owner by now: nothing was applied."""


class StartedOver(ViewError):
    """A view is not where it was any more: it was started over, or its progress lost or restored."""


class OtherDefinition(ViewError):
    """A view is defined otherwise than what is kept under its name and version: nothing was applied.

    kept, given: both definitions, as JSON.
    """

    def __init__(self, message: str, kept: str, given: str) -> None:
        super().__init__(message)
        self.kept = kept
        self.given = given


class GetProgress(Query[Progress]):
    """The progress of a view."""

    view: View[Any]


class GetApplied(Query[Mapping[StreamId, int]]):
    """The versions that a view has applied of some streams: 0 for none.

    store_id: whose streams they are, if that is known; raises WrongStore if the view is of another.
    epoch: of that store; raises OtherEpoch, a WrongEpoch, if the view is of another: see CarryOver.
    """

    view: View[Any]
    streams: tuple[StreamId, ...]
    store_id: str | None = None
    epoch: int = 1


class GetParked(Query[tuple[Parked, ...]]):
    """The parked streams of a view, in the order of their events.

    limit: so many at most, in the order of their ids, to take a look that costs the same however many
        there are; None for all.
    after: of those, the ones after this id.
    """

    view: View[Any]
    limit: int | None = None
    after: str = ""


class Apply(Command[Applied]):
    """Applies those events that a view has not applied before and whose turn it is, in one transaction.

    The streams of events that fail are parked in it, and those that the view does not see are left out.

    cursor: where the view then is in the feed; None for events that came another way.
    partition: the partition of the view that the cursor is of.
    lease: what makes the partition the caller's; raises LostLease if it is another's.
    parked_too: whether to try events of parked streams.
    store_id: whose events they are, if that is known; raises WrongStore if the view is of another.
    within: for how many seconds to wait for others who apply, before StoreBusy, and then to leave what
        is not applied yet; None for as long as the views wait for anything.
    epoch: of the store, in which the events were read, if there is no cursor; raises OtherEpoch, a
        WrongEpoch, if the view is of another: see CarryOver.
    after: where the events follow in the feed; raises StartedOver if the partition is before that.

    Raises OtherDefinition if what the view is defined by has changed, and its version has not.
    """

    view: View[Any]
    events: Sequence[Recorded[Any]]
    cursor: Cursor | None = None
    partition: int = 0
    lease: Lease | None = None
    parked_too: bool = False
    store_id: str | None = None
    within: float | None = None
    epoch: int = 1
    after: Cursor | None = None


class CarryOver(Command[None]):
    """Takes a view to the current epoch of its store, which was restored.

    Raises WrongEpoch if it has applied what the store does not have any more: then rebuild it.
    """

    view: View[Any]
    epochs: Epochs


class Park(Command[None]):
    """Holds back a stream from an event on, until `Unpark`; the other streams go on.

    Nothing is done if another synchroniser has applied the event by now.
    """

    view: View[Any]
    failed: Failed


class Unpark(Command[bool]):
    """Lets a parked stream go on, if all that was held back of it is applied; answers whether it is."""

    view: View[Any]
    stream: StreamId


class Skip(Command[bool]):
    """Goes past the event at which a stream is parked, for good; what follows it is still held back.

    Answers whether it was parked there. See `eventsrc.following.parking.skip`, which keeps a record.
    """

    view: View[Any]
    stream: StreamId
    version: int


class Claim(Command[tuple[Lease, ...]]):
    """Takes or keeps an owner's share of the partitions of a view; answers those that it has.

    owner: a name of its own for each synchroniser.
    seconds: how long others leave them alone if the owner does not claim again. Raises ValueError for a
        lease of no time.
    """

    view: View[Any]
    owner: str
    seconds: float


class Leave(Command[None]):
    """Gives an owner's partitions to the others."""

    view: View[Any]
    owner: str


class GetLive(Query[int]):
    """The version of a view that queries read; 0 if there is none yet."""

    view: View[Any]


class GoLive(Command[None]):
    """Has queries read this version of a view from now on. Raises ViewError if it was never built."""

    view: View[Any]


class Discard(Command[None]):
    """Removes what a version of a view has built. Raises ViewError for the one that queries read."""

    view: View[Any]


class StartOver(Command[None]):
    """Removes what a version of a view has built, and makes its tables anew: by its definition now.

    Whoever synchronises it then builds it from the first event. Queries read what there is meanwhile.
    """

    view: View[Any]


ViewOp: TypeAlias = (
    GetProgress
    | GetApplied
    | GetParked
    | Apply
    | CarryOver
    | Park
    | Unpark
    | Skip
    | Claim
    | Leave
    | GetLive
    | GoLive
    | Discard
    | StartOver
)
"""The operations that every database of views interprets."""


# --- databases of views ---------------------------------------------------------------------------


class OpenedViews(Opened[O_contra]):
    """A database of views: the interpreter of the view operations, and what queries read."""

    @abstractmethod
    def reading(self, view: View[Any], *, live: bool = True) -> AbstractContextManager[Any]:
        """The view's tables, to read: of the version that is live (see GoLive), or else of this one."""
