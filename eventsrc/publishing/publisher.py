"""Publishers: they send what a transformer makes of the feed to a broker, for as long as they run.

The store is the outbox. A publisher reads the feed, which never skips an event, and notes behind each
batch how far it has come; so nothing is written when events are appended, and nothing can be forgotten.
It is kept as a view is, in a database of views: with progress, leases, parked streams and lag, and it
builds nothing. An event counts as applied when the broker has it, or when it is not for others.

If its process ends between the two, the batch is sent again, under the same ids. All else that looks
like publishing does not: a view that is built anew, a follower of the publisher's own view.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc._pickling import ByName
from eventsrc.events.event import own_event
from eventsrc.events.positions import START, Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.follow import FollowOp, follow
from eventsrc.following.outages import Outage
from eventsrc.following.parking import RetryOp, SkipOp
from eventsrc.following.parking import retry as retry_view
from eventsrc.following.parking import skip as skip_view
from eventsrc.following.synchroniser import PAGE, ROUNDS, Synchronised, SyncOp, synchronise
from eventsrc.following.waiting import EVERY
from eventsrc.programs.program import Do, Program, intercept, program
from eventsrc.programs.world import Elapsed
from eventsrc.publishing._tries import Tries
from eventsrc.publishing.cloud_event import CloudEvent
from eventsrc.publishing.operations import Publish, Published
from eventsrc.publishing.transformer import Transformer
from eventsrc.publishing.verbatim import Verbatim
from eventsrc.stores.operations import (
    NO_STREAM,
    Append,
    Conflict,
    LoadSnapshot,
    Page,
    Read,
    ReadFeed,
    SaveSnapshot,
    StoreBusy,
    StoreError,
    Unknown,
)
from eventsrc.streams.decide import AppendFailed
from eventsrc.views.guard import sort_out
from eventsrc.views.operations import (
    Applied,
    Apply,
    Failed,
    GetApplied,
    GetParked,
    Park,
    Parked,
    StartedOver,
    Unpark,
)
from eventsrc.views.view import View

BATCH: Final = 100
"""Events of the feed that are published at a time."""

_log = logging.getLogger("eventsrc")

_Key: TypeAlias = tuple[str, int]
"""An event's stream and version."""

_Verdicts: TypeAlias = dict[_Key, Exception | None]
"""Of events that are done with None, of those that cannot be the reason."""

LONG: Final = 1.0
"""Seconds after which a publisher lets its lease be renewed; a third of a shorter lease."""

SendOp: TypeAlias = (
    Publish
    | Append
    | Read
    | ReadFeed
    | LoadSnapshot
    | SaveSnapshot
    | GetApplied
    | GetParked
    | Apply
    | Park
)
"""The operations of publishing some events."""

PublishOp: TypeAlias = FollowOp | SendOp | Elapsed
"""The operations of a publisher: on the store, the database of views, the broker and the clock."""


class NotPublished(EventsrcError):
    """A broker does not take an event: its stream is parked."""


@own_event("publisher.began")
class Began:
    """A publisher began, behind this place in the feed: what is before it is never published.

    cursor: as text.
    """

    cursor: str


class Publisher(ByName):
    """A stream of external events, which is sent to one broker.

    name: under which its progress is kept; letters, digits and `._-`, at most 80.
    public: what leaves; Verbatim for all events as they are, which is for the service's own views.
    prefix: only events of the streams below it; all if empty.
    partitions: the number of shares of the streams, which several processes can have.
    begin: where it begins when it runs for the first time: behind the last event of then, before the
        first event of all, or behind a place in the feed.
    batch: how many events of the feed are published at a time, and so come again at most if a process
        ends meanwhile.
    Raises ValueError for a bad name, or a batch of none.
    """

    def __init__(
        self,
        name: str,
        public: Transformer | Verbatim,
        *,
        prefix: str = "",
        partitions: int = 1,
        begin: Literal["end", "start"] | Cursor = "end",
        batch: int = BATCH,
    ) -> None:
        if not isinstance(name, str) or not name or len(name) > 80 or not _LETTERS.issuperset(name):
            raise ValueError(
                f"{name!r:.100} cannot name a publisher: use 1 to 80 letters, digits and ._-"
            )
        if not isinstance(begin, Cursor) and begin not in ("end", "start"):
            raise ValueError(f"begin is {begin!r:.100}: choose 'end' or 'start', or give a cursor")
        if type(batch) is not int or not 1 <= batch <= PAGE:
            raise ValueError(f"a batch is of 1 to {PAGE} events, not of {batch!r:.100}")
        self.name: Final = name
        self.public: Final[Transformer | Verbatim] = public
        self.begin: Final = begin
        self.batch: Final = batch
        self.view: Final = _Sink(name, prefix, partitions)
        """By which `status` tells its lag, and `GetParked` what is parked."""

    def __repr__(self) -> str:
        return f"Publisher({self.name!r})"


@program
def publish(
    out: Publisher, every: float = EVERY, *, owner: str | None = None, lease: float = 10.0
) -> Do[PublishOp, None]:
    """Publishes for ever, alone or sharing the streams with other processes: as `follow` follows.

    every: seconds between two looks at the feed, at its end.
    owner: a name of its own for each of the processes that share the publisher; None for one alone.
    lease: seconds for which the others leave an owner's share alone if it is not heard of: more than a
        Publish takes.

    An event whose rule fails, or that the broker refuses, holds back its stream: it is tried five
    times, in about half a minute, and then stays parked until `retry` or `skip`. While the broker, the
    store or the database of views is away, it waits, however long that is: `status(out.view)` tells.
    """
    sending = _Sending(out)
    outage = Outage(f"the publisher {out.name}", every)
    while True:
        try:
            yield from sending.began()
            break
        except StoreError as error:
            if not error.may_pass:
                raise
            yield from outage.wait(error)
    yield from outage.end()
    yield from sending.around(follow(out.view, every, owner=owner, lease=lease))


@program
def publish_once(out: Publisher) -> Do[SyncOp | SendOp | Elapsed, Synchronised]:
    """Publishes what is new, and ends: for scripts, timers and tests.

    Raises what is wrong with the broker, such as Unreachable; what was sent by then is noted.
    """
    sending = _Sending(out)
    yield from sending.began()
    done: Synchronised = yield from sending.around(synchronise(out.view))
    return done


@program
def retry(out: Publisher, *streams: StreamId) -> Do[RetryOp | SendOp | Elapsed, tuple[Parked, ...]]:
    """Publishes parked streams, all if none are named; answers those that are still parked."""
    left: tuple[Parked, ...] = yield from _Sending(out).around(retry_view(out.view, *streams))
    return left


@program
def skip(
    out: Publisher, stream: StreamId, why: str
) -> Do[SkipOp | SendOp | Elapsed, tuple[Parked, ...]]:
    """Goes past the event at which a stream is parked, which is never published, and on behind it.

    why: is kept, with the event, in the stream `eventsrc/operators`.
    Answers the stream if it is parked again. Raises as `eventsrc.following.parking.skip`.
    """
    left: tuple[Parked, ...] = yield from _Sending(out).around(skip_view(out.view, stream, why))
    return left


class _Sending:
    """Publishes events before they are applied to the view of a publisher."""

    def __init__(self, out: Publisher) -> None:
        self._out = out
        self._place: Cursor | None = None
        self._stream = StreamId(f"eventsrc/publishing/{out.name}")
        self._tries = Tries(self._stream, out.batch)
        self._held: dict[int, tuple[int, set[str]]] = {}
        """The parked streams of each partition, and the token of the lease under which they are known:
        whoever has the lease is the one who parks more."""

    def around(self, source: Program[Any, Any]) -> Program[Any, Any]:
        """A program that applies events to the publisher's view, which publishes them first."""
        return intercept(source, self, only=(Apply, Unpark))

    def __call__(self, op: Apply | Unpark) -> Do[SendOp | Unpark | Elapsed, Any]:
        if isinstance(op, Apply):
            return (yield from self._apply(op))
        is_free = yield from op
        if is_free:
            for _, held in self._held.values():
                held.discard(op.stream)
        return is_free

    def _apply(self, op: Apply) -> Do[SendOp | Elapsed, Applied]:
        out = self._out
        is_fill = op.cursor is None and not op.parked_too
        is_first = op.after is not None and not op.after.position
        began = START
        if is_fill or is_first:
            began = yield from self.began()
        if is_first and began.position:  # the feed is read anew, from there
            yield from Apply(op.view, (), began, op.partition, op.lease, after=op.after)
            raise StartedOver(f"{out!r} begins at {began}")
        events = [event for event in op.events if op.view.sees(event.record.stream)]
        if is_fill and all(event.position <= began.position for event in events):
            return (yield from self._note(op, events, op.cursor, _all_well(events)))
        until = (yield from Elapsed()) + (LONG if op.lease is None else min(LONG, op.lease.seconds / 3))
        done = Applied(0, 0)
        for first in range(0, max(len(events), 1), out.batch):
            some = events[first : first + out.batch]
            after = len(events) - first - len(some)
            cursor = _behind(op.cursor, some) if after else op.cursor
            done = _together(done, (yield from self._send(op, some, cursor, began)))
            if done.gaps:
                return attrs.evolve(done, left=0)
            if done.left or (after and (yield from Elapsed()) > until):
                return attrs.evolve(done, left=done.left + after)
        return done

    def _send(
        self, op: Apply, events: Sequence[Recorded[Any]], cursor: Cursor | None, began: Cursor
    ) -> Do[SendOp, Applied]:
        """Publishes those of some events whose turn it is, and notes that.

        began: the place that they must be behind, or are not published.
        """
        if not events:
            return (yield from self._note(op, events, cursor, {}))
        out = self._out
        store_id, epoch = op.store_id, op.epoch
        if op.cursor is not None:
            store_id, epoch = op.cursor.store_id, op.cursor.epoch
        streams = tuple(sorted({event.stream for event in events}))
        rounds, ended = 0, list[Failed]()
        while True:
            applied = yield from GetApplied(op.view, streams, store_id, epoch)
            guards = {str(stream): version for stream, version in applied.items()}
            held = set[str]() if op.parked_too else (yield from self._parked(op))
            work = sort_out(guards, events, held)
            coming = work.to_apply
            if coming and op.cursor is not None and not self._tries.is_over(op.partition):
                deadly = yield from self._tries.begin(op.partition, coming[0])
                if deadly is not None:
                    yield from Park(op.view, deadly)
                    _log.error("%r parks %s: %s", out, deadly.stream, deadly.error)
                    held.add(deadly.stream)
                    ended.append(deadly)
                    continue
                if self._tries.is_one_by_one(op.partition):
                    coming = coming[:1]
                try:
                    made = self._transform(coming, began.position)
                except StoreBusy:
                    yield from self._tries.survived(op.partition)
                    raise
                yield from self._tries.end(op.partition)
            else:
                made = self._transform(coming, began.position)
            verdicts, left = yield from self._publish(*made)
            if left is None and len(coming) < len(work.to_apply):
                left = work.to_apply[len(coming)]
            some, place = events, cursor
            if left is not None:
                some = events[: [event is left for event in events].index(True)]
                if not some:
                    raise StoreBusy(f"the broker of {out!r} took nothing, and says that it may")
                place = _behind(op.cursor, some)
            try:
                done = yield from self._note(op, some, place, verdicts)
            except _Unpublished:  # somebody else let a stream go on meanwhile
                self._held.clear()
                rounds += 1
                if rounds == ROUNDS:
                    raise
            else:
                held.update(each.stream for each in done.failed)
                left_over = done.left + len(events) - len(some)
                return attrs.evolve(done, failed=(*ended, *done.failed), left=left_over)

    def _parked(self, op: Apply) -> Do[GetParked, set[str]]:
        """The parked streams of a partition."""
        token = 0 if op.lease is None else op.lease.token
        known = self._held.get(op.partition)
        if known is None or known[0] != token:
            parked = yield from GetParked(op.view)
            mine = {its.stream for its in parked if op.view.partition_of(its.stream) == op.partition}
            known = self._held[op.partition] = token, set[str](mine)
        return known[1]

    def _transform(
        self, events: Iterable[Recorded[Any]], after: int
    ) -> tuple[list[tuple[Recorded[Any], CloudEvent]], _Verdicts]:
        """The external events of those after a position, and which of all are done with by that, or why
        they cannot be. Behind one that cannot, there are none of its stream."""
        verdicts: dict[_Key, Exception | None] = {}
        made: list[tuple[Recorded[Any], CloudEvent]] = []
        failed: set[str] = set()
        for event in events:
            if event.stream in failed:
                continue
            try:
                external = None if event.position <= after else self._out.public.transform(event)
            except StoreBusy:  # by which a rule waits for what it needs
                raise
            except Exception as error:
                verdicts[_key(event)] = error
                failed.add(event.stream)
                continue
            if external is None:
                verdicts[_key(event)] = None
            else:
                made.append((event, external))
        return made, verdicts

    def _publish(
        self, made: Sequence[tuple[Recorded[Any], CloudEvent]], verdicts: _Verdicts
    ) -> Do[Publish, tuple[_Verdicts, Recorded[Any] | None]]:
        """Publishes external events; answers the verdicts with theirs, and the first event that is
        left."""
        if not made:
            return verdicts, None
        answer: Published = yield from Publish(tuple(external for _, external in made))
        count = len(made) - answer.left
        whys = {each.id: each.why for each in answer.refused}
        stopped: set[str] = set()
        for event, external in made[:count]:
            if external.id in whys:
                verdicts[_key(event)] = NotPublished(whys[external.id])
                stopped.add(event.stream)
            elif event.stream not in stopped:
                verdicts[_key(event)] = None
        return verdicts, made[count][0] if answer.left else None

    def _note(
        self,
        op: Apply,
        events: Sequence[Recorded[Any]],
        cursor: Cursor | None,
        verdicts: Mapping[_Key, Exception | None],
    ) -> Do[Apply, Applied]:
        """Notes that some events are done with, and parks those that cannot be."""
        beside = op.partition, op.lease, op.parked_too, op.store_id, op.within, op.epoch, op.after
        with self._out.view.knowing(verdicts):
            return (yield from Apply(op.view, tuple(events), cursor, *beside))

    def began(self) -> Do[SendOp, Cursor]:
        """The place where the publisher began, which is this one if it never did."""
        if self._place is None:
            page: Page[Began] = yield from Read(self._stream, backwards=True, limit=1)
            if page.events:
                self._place = Cursor.parse(page.events[0].data.cursor)
            else:
                self._place = yield from self._begin()
        return self._place

    def _begin(self) -> Do[SendOp, Cursor]:
        place = self._out.begin
        if place == "end":
            place = (yield from ReadFeed(START, 1)).end
        elif place == "start":
            place = START
        match (yield from Append(self._stream, (Began(str(place)),), NO_STREAM)):
            case Success():
                return place
            case Failure(Conflict() | Unknown()):
                raise StoreBusy(f"{self._out!r} begins in another process too: look where")
            case Failure(why):
                raise AppendFailed(why)


class _Unpublished(StoreBusy):
    """A publisher's view is brought forward by somebody who has not published its events."""


class _Sink(View[Any]):
    """The view of a publisher: it builds nothing, and takes events that are done with alone.

    So nobody who brings it forward without publishing can have it pass over an event.
    """

    def __init__(self, name: str, prefix: str, partitions: int) -> None:
        super().__init__(f"eventsrc.publishing.{name}", prefix=prefix, partitions=partitions)
        self._known: list[Mapping[_Key, Exception | None]] = []
        self._lock = threading.Lock()

    @contextmanager
    def knowing(self, verdicts: Mapping[_Key, Exception | None]) -> Iterator[None]:
        """While it is brought forward by somebody who knows which events are done with, or why not."""
        with self._lock:
            self._known = [*self._known, verdicts]
        try:
            yield
        finally:
            with self._lock:
                self._known = [each for each in self._known if each is not verdicts]

    def apply(self, database: Any, event: Recorded[Any]) -> None:
        """Raises why an event cannot be published, and _Unpublished if nobody has published it."""
        verdicts = [each[_key(event)] for each in self._known if _key(event) in each]
        if not verdicts:
            raise _Unpublished(
                f"{event.stream}@{event.version} was not published: bring {self!r} forward by the "
                "programs of eventsrc.publishing alone"
            )
        if None not in verdicts:
            error = verdicts[0]
            assert error is not None
            self.tell(error, event)
            raise error


def _key(event: Recorded[Any]) -> _Key:
    return event.record.stream, event.record.version


def _all_well(events: Iterable[Recorded[Any]]) -> dict[_Key, Exception | None]:
    return {_key(event): None for event in events}


def _behind(cursor: Cursor | None, events: Sequence[Recorded[Any]]) -> Cursor | None:
    """The place behind some events of the feed."""
    return None if cursor is None else Cursor(cursor.store_id, events[-1].position, cursor.epoch)


def _together(one: Applied, other: Applied) -> Applied:
    return Applied(
        one.applied + other.applied,
        one.ignored + other.ignored,
        other.gaps,
        one.held + other.held,
        one.failed + other.failed,
        other.left,
    )


_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
