"""Publishing some events: between what reads them and what notes that they are done with.

Programs that bring a view forward, such as `follow` and `retry`, apply events to it. Around such a
program, each Apply to a publisher's view is preceded by the transformer and a Publish: of those events
alone whose turn it is, and a batch at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
from returns.result import Failure, Success

from eventsrc.events.event import own_event
from eventsrc.events.positions import START, Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.synchroniser import ROUNDS
from eventsrc.programs.program import Do, Program, intercept
from eventsrc.programs.world import Elapsed
from eventsrc.publishing._sink import Key, Verdicts, _Unpublished, all_well, key_of
from eventsrc.publishing._tries import Tries
from eventsrc.publishing.cloud_event import CloudEvent
from eventsrc.publishing.operations import NotPublished, Publish, Published
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
    StartedOver,
    Unpark,
)

if TYPE_CHECKING:
    from eventsrc.publishing.publisher import Publisher

_log = logging.getLogger("eventsrc")

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


@own_event("publisher.began")
class Began:
    """A publisher began, behind this position in the feed: what is before it is never published.

    cursor: as text.
    """

    cursor: str


class Sending:
    """Publishes events before they are applied to the view of a publisher."""

    def __init__(self, out: Publisher) -> None:
        self._out = out
        self._began: Cursor | None = None
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
            return (yield from self._note(op, events, op.cursor, all_well(events)))
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

        began: the cursor that they must be behind, or are not published.
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
            some, moved = events, cursor
            if left is not None:
                some = events[: [event is left for event in events].index(True)]
                if not some:
                    raise StoreBusy(f"the broker of {out!r} took nothing, and says that it may")
                moved = _behind(op.cursor, some)
            try:
                done = yield from self._note(op, some, moved, verdicts)
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
    ) -> tuple[list[tuple[Recorded[Any], CloudEvent]], Verdicts]:
        """The external events of those after a position, and which of all are done with by that, or why
        they cannot be. Behind one that cannot, there are none of its stream."""
        verdicts: dict[Key, Exception | None] = {}
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
                verdicts[key_of(event)] = error
                failed.add(event.stream)
                continue
            if external is None:
                verdicts[key_of(event)] = None
            else:
                made.append((event, external))
        return made, verdicts

    def _publish(
        self, made: Sequence[tuple[Recorded[Any], CloudEvent]], verdicts: Verdicts
    ) -> Do[Publish, tuple[Verdicts, Recorded[Any] | None]]:
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
                verdicts[key_of(event)] = NotPublished(whys[external.id])
                stopped.add(event.stream)
            elif event.stream not in stopped:
                verdicts[key_of(event)] = None
        return verdicts, made[count][0] if answer.left else None

    def _note(
        self,
        op: Apply,
        events: Sequence[Recorded[Any]],
        cursor: Cursor | None,
        verdicts: Mapping[Key, Exception | None],
    ) -> Do[Apply, Applied]:
        """Notes that some events are done with, and parks those that cannot be."""
        beside = op.partition, op.lease, op.parked_too, op.store_id, op.within, op.epoch, op.after
        with self._out.view.knowing(verdicts):
            return (yield from Apply(op.view, tuple(events), cursor, *beside))

    def began(self) -> Do[SendOp, Cursor]:
        """The cursor at which the publisher began, the store's now if it never did."""
        if self._began is None:
            page: Page[Began] = yield from Read(self._stream, backwards=True, limit=1)
            if page.events:
                self._began = Cursor.parse(page.events[0].data.cursor)
            else:
                self._began = yield from self._begin()
        return self._began

    def _begin(self) -> Do[SendOp, Cursor]:
        cursor = self._out.begin
        if cursor == "end":
            cursor = (yield from ReadFeed(START, 1)).end
        elif cursor == "start":
            cursor = START
        match (yield from Append(self._stream, (Began(str(cursor)),), NO_STREAM)):
            case Success():
                return cursor
            case Failure(Conflict() | Unknown()):
                raise StoreBusy(f"{self._out!r} begins in another process too: look where")
            case Failure(why):
                raise AppendFailed(why)


def _behind(cursor: Cursor | None, events: Sequence[Recorded[Any]]) -> Cursor | None:
    """The cursor behind some events of the feed."""
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
