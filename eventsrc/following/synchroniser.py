"""The synchroniser: programs that bring views up to date.

`synchronise` follows the store's feed; `deliver` takes recorded events from anywhere else, such as a
queue or a file; `force` makes a view at least as new as a token, now. The guard (guard.py) makes all
of them safe to repeat, to mix and to run at the same time.

An event that fails parks its stream, and the others go on: `retry` (parking.py) tries it again. A page
that takes long is committed in parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.epochs import OtherEpoch, WrongEpoch
from eventsrc.events.pages import of_streams
from eventsrc.events.positions import BadToken, Cursor, Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do, Effect, Try, for_each, gather_all, program
from eventsrc.programs.world import Elapsed, Sleep
from eventsrc.stores.epochs import check_token, get_epochs
from eventsrc.stores.operations import MAX_PAGE_BYTES, Page, Read, ReadFeed, StoreBusy
from eventsrc.stores.prepare import size_of
from eventsrc.views.guard import Gap
from eventsrc.views.operations import (
    Applied,
    Apply,
    CarryOver,
    Failed,
    GetApplied,
    GetLive,
    GetParked,
    GetProgress,
    Lease,
    PartitionProgress,
    StartedOver,
    checksum_of,
)
from eventsrc.views.view import View

O = TypeVar("O")
R = TypeVar("R")

PAGE: Final = 1000
"""Events that are read, and applied in one transaction, at a time."""

ROUNDS: Final = 3
"""Times that a gap is filled before it is believed to remain."""

_ANY_STREAM: Final = StreamId("any")

SyncOp: TypeAlias = ReadFeed | Read | GetProgress | GetApplied | GetParked | Apply | CarryOver
"""The operations of synchronising, on the store and on the database of the view."""

ForceOp: TypeAlias = SyncOp | GetLive | Elapsed | Sleep
"""The operations of forcing."""


@attrs.frozen
class Synchronised:
    """The progress of a view, after synchronising it."""

    applied: int
    """The number of events given to it that it had not applied before."""
    ignored: int
    """The number of events that it was given again."""
    cursor: Cursor
    end: Cursor
    """The end of the feed when it was last read."""
    parked: tuple[Failed, ...] = ()
    """The events that failed, and whose streams are parked since."""

    @property
    def lag(self) -> int:
        """The number of events of the store that it has not looked at yet."""
        return self.end.position - self.cursor.position


class GapRemains(EventsrcError):
    """Events were delivered whose predecessors the store does not have, or the view does not keep."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(
            f"event {gap.came} of {gap.stream} was delivered, the view has applied {gap.applied}, and "
            "what is in between is not in the store, or is not kept: deliver events of the store that "
            "the view follows"
        )
        self.gap = gap


@attrs.frozen
class Stale:
    """A view did not become as new as a token in time."""

    view: View[Any]
    missing: Token
    """The versions that it should have applied and has not."""
    parked: tuple[StreamId, ...] = ()
    """The streams of these that are parked, so that more time would not have helped."""


@program
def synchronise(
    view: View[Any], pages: int | None = None, size: int = PAGE
) -> Do[SyncOp, Synchronised]:
    """Applies the store's feed to a view, from where it stopped to the end.

    pages: stop after so many pages, to report progress; until the end if not given.
    size: how many events a page has.
    """
    done: Synchronised | None = None
    for partition in range(view.partitions):
        its = yield from synchronise_partition(view, partition, pages, size=size)
        done = its if done is None else _together(done, its)
    assert done is not None
    return done


@program
def synchronise_partition(
    view: View[Any],
    partition: int,
    pages: int | None = None,
    lease: Lease | None = None,
    size: int = PAGE,
) -> Do[SyncOp, Synchronised]:
    """As `synchronise`, one partition of the view. Raises LostLease if it is another's by now."""
    began = (yield from GetProgress(view)).partitions[partition]
    at = began.cursor
    is_checked = began.last == 0 or not at.store_id  # of what was applied, nothing is known
    applied = ignored = read = 0
    parked: list[Failed] = []
    is_done = True
    while True:
        try:
            page = yield from ReadFeed(at, size, view.prefix, all_streams=view.all_streams)
        except WrongEpoch:
            yield from _carry_over(view)  # which says better what is wrong
            raise
        if page.next != at:
            if not is_checked:
                yield from _check_last(view, began)
                is_checked = True
            events = page.events
            if view.partitions > 1:
                events = of_streams(events, lambda stream: view.partition_of(stream) == partition)
            try:
                op = Apply(view, events, page.next, partition, lease, after=at)
                done = yield from _apply(op, parked)
            except OtherEpoch:
                yield from _carry_over(view)
                continue
            except StartedOver:
                at = (yield from GetProgress(view)).partitions[partition].cursor
                continue
            applied += done.applied
            ignored += done.ignored
            is_done = not done.left
        if is_done:
            at = page.next
        read += 1
        if at >= page.end or read == pages:
            return Synchronised(applied, ignored, at, page.end, tuple(parked))


def _check_last(view: View[Any], its: PartitionProgress) -> Do[SyncOp, None]:
    """Raises WrongEpoch if the store has another event where the view has applied its last one."""
    before = Cursor(its.cursor.store_id, its.last - 1, its.cursor.epoch)
    page = yield from ReadFeed(before, 1, view.prefix, all_streams=view.all_streams)
    found = page.events[0] if page.events else None
    if found is None or found.position != its.last or checksum_of(found) != its.last_sum:
        raise WrongEpoch(
            f"the store of {view!r} does not have the event at position {its.last} that it has "
            "applied: the store was restored from a backup, or changed by hand. Tell the store so "
            "(`restored`), if that was not done, and build the view anew: rebuild(view, in_place=True)"
        )


@program
def deliver(view: View[Any], events: Iterable[Recorded[Any]]) -> Do[SyncOp, Applied]:
    """Applies events to a view that come from elsewhere: in any order, any number of times.

    What is missing in between is read from the store.
    """
    applied = ignored = held = 0
    for batch in _batches(events):
        try:
            done = yield from _apply(Apply(view, batch), [])
        except OtherEpoch:  # of what was read to fill a gap
            yield from _carry_over(view)
            done = yield from _apply(Apply(view, batch), [])
        applied += done.applied
        ignored += done.ignored
        held += done.held
    return Applied(applied, ignored, held=held)


def _batches(events: Iterable[Recorded[Any]]) -> Iterator[tuple[Recorded[Any], ...]]:
    """The events, at a time as many, and as many bytes, as are applied in one transaction."""
    batch: list[Recorded[Any]] = []
    room = MAX_PAGE_BYTES
    for event in events:
        size = size_of([event.record])
        if batch and size > room:
            yield tuple(batch)
            batch, room = [], MAX_PAGE_BYTES
        batch.append(event)
        room -= size
        if len(batch) == PAGE:
            yield tuple(batch)
            batch, room = [], MAX_PAGE_BYTES
    if batch:
        yield tuple(batch)


@program
def force(
    view: View[Any], token: Token, within: float = 5.0, *, live: bool = True
) -> Try[ForceOp, Token, Stale]:
    """Makes a view at least as new as a token, by reading just the token's streams.

    These are then ahead of others that were recorded before them: a handler must not count on the order
    of events of different streams.

    within: for how many seconds to go on; then the answer is Failure of Stale, and at once if what is
        missing is parked.
    live: whether to bring forward the version that queries read. If that is another than the view's,
        whose handlers are elsewhere, it is waited for. If not live, it is the very version that is
        named.
    Answers what the view has applied of those streams. Raises WrongStore for a token or a view of
    another store, WrongEpoch for one of what the store had before it was restored, and BadToken for a
    token that is ahead of its store (which was restored and not told so, or did not make the token).
    """
    if not isinstance(token, Token):
        raise TypeError(f"{token!r:.100} is no token: give what a write or a read answers as its token")
    deadline = (yield from Elapsed()) + within
    streams = _seen_by(view, token)
    epoch = token.epoch
    if streams:
        epoch = yield from _check_token(token, streams)
    else:
        yield from check_store(token)
    version = ((yield from GetLive(view)) if live else 0) or view.version
    asked = view if version == view.version else view.beside(version)
    pause = 0.005
    while True:
        try:
            applied = yield from GetApplied(asked, streams, token.store_id, epoch)
        except OtherEpoch:
            epoch = yield from _carry_over(asked)
            continue
        behind = {stream: token[stream] for stream in streams if applied[stream] < token[stream]}
        if not behind:
            return Success(Token(token.store_id, dict(applied), epoch))
        left = deadline - (yield from Elapsed())
        if left <= 0:
            return Failure(Stale(asked, token.only(behind)))
        if asked is view:
            if not (yield from _pull(view, applied, behind, deadline)):
                continue
        else:
            yield from Sleep(min(pause, left))
            pause = min(2 * pause, 0.1)
        parked = yield from GetParked(asked)
        held = tuple([its.stream for its in parked if its.stream in behind])
        if held:
            return Failure(Stale(asked, token.only(behind), held))


@program
def at_least(
    view: View[Any],
    token: Token,
    query: Effect[O, R],
    *,
    within: float = 5.0,
    otherwise: Effect[O, R] | None = None,
) -> Try[ForceOp | O, tuple[R, Token], Stale]:
    """Asks a query of a view that is made at least as new as a token first.

    otherwise: what to ask if the view does not become as new in time: the same query again, to take
        what there is, or a program that folds the streams themselves. If None, that is a Failure.
    Answers the query's answer, and what the view had applied of the token's streams before: the answer
    has seen that at least. Raises as `force`.
    """
    match (yield from force(view, token, within)):
        case Success(applied):
            return Success(((yield from query), applied))
        case Failure(stale) as failed:
            if otherwise is None:
                return failed
            had = yield from _had(stale.view, _seen_by(view, token), token)
            return Success(((yield from otherwise), had))


def _pull(
    view: View[Any],
    applied: Mapping[StreamId, int],
    wanted: Mapping[StreamId, int],
    deadline: float,
) -> Do[ForceOp, bool]:
    """Applies what follows of some streams up to the versions that are wanted, until the deadline.

    As many streams are read together as fill a page. Answers whether any are parked.
    """
    held = 0
    reads = [Read(stream, at := applied[stream], min(PAGE, wanted[stream] - at)) for stream in wanted]
    for together in _pages_of(reads):
        if (yield from Elapsed()) >= deadline:
            break
        pages = yield from gather_all(together)
        try:
            held += yield from _apply_until(deadline, view, pages)
        except StoreBusy:
            break
        except OtherEpoch:
            yield from _carry_over(view)
            break
    return held > 0


def _pages_of(reads: Iterable[Read]) -> Iterator[list[Read]]:
    """Reads in their order, in portions that ask for a page of events together."""
    together: list[Read] = []
    room = PAGE
    for op in reads:
        if op.limit > room:
            yield together
            together, room = [], PAGE
        together.append(op)
        room -= op.limit
    yield together


def _apply_until(deadline: float, view: View[Any], pages: Sequence[Page[Any]]) -> Do[ForceOp, int]:
    """Applies events of some streams until the deadline; answers how many of these are parked."""
    source = pages[0].token
    held = 0
    for events in _batches(event for page in pages for event in page.events):
        while (left := deadline - (yield from Elapsed())) > 0:
            op = Apply(view, events, store_id=source.store_id, within=left, epoch=source.epoch)
            done = yield from op
            if done.gaps and not done.left:
                done = yield from _apply(op, [])
            if not done.left:
                held += done.held
                break
    return held


def _had(view: View[Any], streams: tuple[StreamId, ...], token: Token) -> Do[SyncOp, Token]:
    """The versions that a view has applied of some streams."""
    epoch = (yield from get_epochs()).current
    try:
        had = yield from GetApplied(view, streams, token.store_id, epoch)
    except OtherEpoch:
        epoch = yield from _carry_over(view)
        had = yield from GetApplied(view, streams, token.store_id, epoch)
    return Token(token.store_id, dict(had), epoch)


def _carry_over(view: View[Any]) -> Do[SyncOp, int]:
    """Takes a view to the epoch of its store; answers that."""
    epochs = yield from get_epochs()
    yield from CarryOver(view, epochs)
    return epochs.current


def _together(one: Synchronised, other: Synchronised) -> Synchronised:
    """The combined progress of two partitions."""
    return Synchronised(
        one.applied + other.applied,
        one.ignored + other.ignored,
        min(one.cursor, other.cursor),
        max(one.end, other.end),
        one.parked + other.parked,
    )


def _seen_by(view: View[Any], token: Token) -> tuple[StreamId, ...]:
    """The token's streams that a view sees."""
    return tuple(stream for stream in token.versions if view.sees(stream))


def check_store(token: Token) -> Do[Read, None]:
    """Raises WrongStore for a token of another store, or of what the store had before it was restored.

    It asks no more than one page of a token of the store's epoch, whatever streams it names.
    """
    page: Page[Any] = yield from Read(next(iter(token.versions), _ANY_STREAM), limit=1)
    yield from check_token(token, page, *token.versions)


def _check_token(token: Token, streams: tuple[StreamId, ...]) -> Do[SyncOp, int]:
    """Raises WrongStore or BadToken for a token that the store cannot have made; answers the epoch."""
    pages = yield from for_each(streams, lambda stream: Read(stream, token[stream], 1, whole=False))
    yield from check_token(token, pages[-1], *streams)
    for stream, page in zip(streams, pages, strict=True):
        if page.head < token[stream]:
            raise BadToken(
                f"the token has seen version {token[stream]} of {stream}, which is at {page.head}: the "
                "store was restored from a backup, or the token was not made by it"
            )
    return pages[-1].token.epoch


def _apply(op: Apply, parked: list[Failed]) -> Do[SyncOp, Applied]:
    """Applies events, and fills gaps from the store first.

    With a lease, some may be left, for the lease to be renewed meanwhile.
    parked: the events that failed, and whose streams are parked since, are added to it.
    """
    applied, ignored = 0, -1
    gaps: tuple[Gap, ...] = ()
    rounds = 0
    while True:
        done = yield from op
        applied += done.applied
        if ignored < 0:  # later it comes to what was applied here
            ignored = done.ignored
        parked += done.failed
        if done.left and op.lease is None:
            continue
        if done.left or not done.gaps:
            return Applied(applied, ignored, held=done.held, left=done.left)
        rounds = rounds + 1 if done.gaps == gaps else 0
        if rounds == ROUNDS:
            raise GapRemains(done.gaps[0])
        gaps = done.gaps
        for gap in gaps:
            applied += yield from _fill(op, gap, parked)


def _fill(op: Apply, gap: Gap, parked: list[Failed]) -> Do[SyncOp, int]:
    """Applies what the store has of a gap's stream, up to the event that came too early."""
    applied, at = 0, gap.applied
    while at < gap.came - 1:
        page: Page[Any] = yield from Read(gap.stream, at, min(PAGE, gap.came - 1 - at))
        if not page.events:
            raise GapRemains(gap)
        store, epoch = page.token.store_id, page.token.epoch
        done = yield from Apply(
            op.view, page.events, None, op.partition, op.lease, False, store, op.within, epoch
        )
        applied += done.applied
        parked += done.failed
        if done.failed:
            break
        if not done.left:
            at = page.events[-1].version
    return applied
