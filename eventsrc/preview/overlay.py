"""A store over another: what is appended is kept aside, and what is read is both together.

The store below is asked as it was at one place in its feed, and nothing is written to it. What is
appended gets the versions and positions that it would have got there; reads, conditions, retries and
snapshots behave as in any store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Never, TypeVar, cast
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc.events.codec import Codec
from eventsrc.events.epochs import Epochs
from eventsrc.events.pages import Events
from eventsrc.events.positions import START, Cursor
from eventsrc.events.record import Record
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs._rewiring import surrounded_like
from eventsrc.programs.interpreter import (
    AsyncInterpreter,
    Interpreter,
    Translation,
    Wrappable,
    on,
    rescoped,
    scope_of,
)
from eventsrc.programs.program import Do, Outcome
from eventsrc.stores._tagging import Bound, BoundItem, items_of
from eventsrc.stores.epochs import get_epochs
from eventsrc.stores.operations import (
    ANY,
    CONFLICT_EVENTS,
    MAX_PAGE,
    Append,
    AppendAll,
    Appended,
    Conflict,
    EpochOp,
    Expect,
    FeedPage,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    NotAppended,
    Page,
    RaiseEpoch,
    Read,
    ReadFeed,
    Rejected,
    SaveSnapshot,
    Snapshot,
    StoreOp,
)
from eventsrc.stores.prepare import (
    Prepared,
    appended,
    asked_for,
    changed,
    check,
    check_end,
    check_seen,
    check_tagged,
    microseconds,
    of_one_page,
    page_of,
    prepare,
)
from eventsrc.stores.requests import OtherRequest, check_request
from eventsrc.stores.tags import APPENDS, AnyAppend, AppendIf, BoundaryChanged, ReadTagged
from eventsrc.streams.past import as_of, keeps_tags

K = TypeVar("K")

_WRITES: Final = (*APPENDS, SaveSnapshot)


class Overlay(Translation[StoreOp | EpochOp, StoreOp]):
    """Appends over a store that does not change.

    end: the cursor in the feed of the store below at which the overlay begins. Make it with `over`,
        which sees to it that the store below is asked as of that cursor.
    """

    def __init__(
        self, end: Cursor, codec: Codec | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.end = end
        self._epoch = end.epoch
        self._raised: Epochs | None = None
        self.codec = Codec() if codec is None else codec
        self._clock = clock
        self._lock = threading.Lock()
        self._below: dict[StreamId, int] = {}
        self._seen: dict[StreamId, int] = {}
        self._has_read_feed = False
        self._has_chosen_ids = False
        self._key = end.store_id.encode()[:64]
        self._requests: dict[UUID, bytes] = {}
        self._feed: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self._appends: dict[UUID, list[Record]] = {}
        self._tags: dict[int, frozenset[str]] = {}
        self._snapshots: dict[tuple[str, str, int], Snapshot] = {}

    @property
    def events(self) -> Sequence[Recorded[Any]]:
        """The events that were appended, in the order of the feed."""
        with self._lock:
            return Events(tuple(self._feed), self.codec)

    @property
    def seen(self) -> Mapping[StreamId, int]:
        """The streams that were read, or that a condition was on, at their versions below."""
        with self._lock:
            return dict(self._seen)

    @property
    def has_read_feed(self) -> bool:
        """Whether the feed was read, of which no version tells."""
        return self._has_read_feed

    @property
    def has_chosen_ids(self) -> bool:
        """Whether an append was kept whose id its caller chose."""
        return self._has_chosen_ids

    @property
    def request(self) -> bytes | None:
        """That of the appends that were kept, if there is one."""
        return next(iter(self._requests.values()), None) if len(self._appends) == 1 else None

    @on(Append).program
    def append(self, op: Append) -> Do[StoreOp, Outcome[Appended, NotAppended]]:
        """Appends to one stream."""
        return (yield from self.perform(op))

    @on(AppendAll).program
    def append_all(self, op: AppendAll) -> Do[StoreOp, Outcome[Appended, NotAppended]]:
        """Appends to several streams."""
        return (yield from self.perform(op))

    @on(Read).program
    def read(self, op: Read) -> Do[StoreOp, Page[Any]]:
        """A page of a stream."""
        check(op)
        below = yield from self._see(op.stream)
        with self._lock:
            own = tuple(self._streams.get(op.stream, ()))
        head = below + len(own)
        if op.backwards:
            last = head if op.after == 0 else min(op.after - 1, head)
            first = max(last - op.limit, 0)
        else:
            first = min(op.after, head)
            last = min(first + op.limit, head)
        events = self._events(own[max(first - below, 0) : max(last - below, 0)], op.backwards)
        if first < min(last, below):
            until = min(last, below)
            after = until + 1 if op.backwards else first
            page = yield from Read(op.stream, after, until - first, op.backwards, op.whole)
            if op.backwards or len(page.events) == until - first:
                events = _together(*((events, page.events) if op.backwards else (page.events, events)))
            else:  # it holds no more
                events = page.events
        events = _of_one_page(events)
        return page_of(op, events, self.end.store_id, head, self._epoch)

    @on(Head).program
    def head(self, op: Head) -> Do[StoreOp, int]:
        """The version of a stream."""
        check(op)
        yield from self._see(op.stream)
        with self._lock:
            return self._version(op.stream)

    @on(ReadFeed).program
    def read_feed(self, op: ReadFeed) -> Do[StoreOp, FeedPage[Any]]:
        """A page of the feed."""
        check(op)
        self._has_read_feed = True
        store, below = self.end.store_id, self.end.position
        position = op.after.check(store)
        if op.after.epoch != self._epoch:
            (yield from self._epochs()).check(op.after)
        with self._lock:
            own = tuple(self._feed)
        end = Cursor(store, below + len(own), self._epoch)
        check_end(op, end.position)
        events: tuple[Recorded[Any], ...] = ()
        if position < below:
            after = Cursor(store, position, self.end.epoch)
            page = yield from ReadFeed(after, op.limit, op.prefix, op.types, op.whole, op.all_streams)
            events, position = tuple(page.events), page.next.position
            if position < below:
                return FeedPage(events, Cursor(store, position, self._epoch), end, page.blocked)
        found: list[Record] = []
        while position < end.position and len(events) + len(found) < op.limit:
            room = op.limit - len(events) - len(found)
            some = own[position - below : position - below + room]
            position += len(some)
            found += asked_for(op, some)
        both = (*events, *self._events(found))
        held = _of_one_page(both)
        if len(held) < len(both):
            position = held[-1].position if len(held) > len(events) else below
        return FeedPage(held, Cursor(store, position, self._epoch), end)

    @on(LoadSnapshot).program
    def load_snapshot(self, op: LoadSnapshot) -> Do[StoreOp, Snapshot | None]:
        """The newest snapshot of a stream."""
        check(op)
        below = yield from op
        with self._lock:
            own = self._snapshots.get((op.stream, op.fold, op.fold_version))
        if own is None or (below is not None and below.version >= own.version):
            return below
        return own

    @on(SaveSnapshot).program
    def save_snapshot(self, op: SaveSnapshot) -> Do[StoreOp, None]:
        """Keeps a snapshot aside, unless there is a newer one."""
        check(op)
        key = op.snapshot.stream, op.snapshot.fold, op.snapshot.fold_version
        with self._lock:
            kept = self._snapshots.get(key)
            if kept is None or kept.version < op.snapshot.version:
                self._snapshots[key] = op.snapshot
        yield from ()

    @on(FindAppend).program
    def find_append(self, op: FindAppend) -> Do[StoreOp, Appended | None]:
        """Finds an append by its id."""
        check(op)
        with self._lock:
            own = self._appends.get(op.append_id)
        if own is not None:
            check_request(op.request, op.append_id, own[0].metadata, self._key)
            return appended(op.append_id, own, self.end.store_id, self._epoch)
        return (yield from op)

    @on(GetEpochs).program
    def get_epochs(self, op: GetEpochs) -> Do[Never, Epochs]:
        """The epochs of the store below, and those that were begun here."""
        return (yield from self._epochs())

    @on(RaiseEpoch).program
    def raise_epoch(self, op: RaiseEpoch) -> Do[Never, int]:
        """Begins another epoch, here and not below."""
        epochs = yield from self._epochs()
        with self._lock:
            begun = epochs.next(self.end.position + len(self._feed), microseconds(self._clock))
            self._raised, self._epoch = Epochs((*epochs.begins, begun)), begun[0]
        return self._epoch

    def _epochs(self) -> Do[Never, Epochs]:
        return self._raised or (yield from get_epochs())

    def read_tagged(self, op: ReadTagged) -> Do[Any, FeedPage[Any]]:
        """A page of a boundary."""
        check_tagged(op)
        self._has_read_feed = True
        store, below = self.end.store_id, self.end.position
        position = op.after.check(store)
        if op.after.epoch != self._epoch:
            (yield from self._epochs()).check(op.after)
        with self._lock:
            own = len(self._feed)
        end = Cursor(store, below + own, self._epoch)
        check_end(op, end.position)
        items = items_of(op.boundary, self.codec, self._key)
        events: tuple[Recorded[Any], ...] = ()
        if position < below:
            after = Cursor(store, position, self.end.epoch)
            page = yield from ReadTagged(op.boundary, after, op.limit)
            events, position = tuple(page.events), page.next.position
            if position < below:
                return FeedPage(events, Cursor(store, position, self._epoch), end)
        room = op.limit - len(events)
        found = self._matching(items, position, end.position)[:room]
        both = (*events, *self._events(found))
        held = _of_one_page(both)
        position = end.position
        if len(held) < len(both) or len(held) == op.limit:
            position = held[-1].position if len(held) > len(events) else below
        return FeedPage(held, Cursor(store, position, self._epoch), end)

    def _matching(self, items: Sequence[BoundItem], after: int, until: int) -> list[Record]:
        """The records here, after a position, that one of the items matches."""
        below = self.end.position
        return [
            record
            for record in self._feed[max(after - below, 0) : until - below]
            if any(
                item.matches(record.stream, record.kind.type, self._tags[record.position])
                for item in items
            )
        ]

    def _changed(self, bound: Bound) -> Do[Any, BoundaryChanged | None]:
        """The events of a boundary that came after it was read, below and here."""
        end = self.end.position + len(self._feed)
        bound.check((yield from self._epochs()), end)
        at = bound.cursor.position
        while at < self.end.position:
            after = Cursor(self.end.store_id, at, self.end.epoch)
            page = yield from ReadTagged(bound.boundary, after, CONFLICT_EVENTS)
            if page.events:
                return changed(bound.boundary, page.events)
            at = page.next.position
        found = self._matching(bound.items, at, end)[:CONFLICT_EVENTS]
        return changed(bound.boundary, self._events(of_one_page(found))) if found else None

    def perform(self, op: AnyAppend) -> Do[Any, Outcome[Appended, NotAppended]]:
        """Appends, whatever the operation."""
        asked = prepare(op, self.codec, self.end.store_id, key=self._key, keeps_tags=True)
        return (yield from self._append(asked, op.request))

    def _append(
        self, asked: Prepared, request: bytes | None
    ) -> Do[Any, Outcome[Appended, NotAppended]]:
        if asked.is_keyed and asked.append_id not in self._appends:
            try:
                found = yield from FindAppend(asked.append_id, request)
            except OtherRequest as other:
                return Failure(Rejected(str(other)))
            if found is not None:
                alike = attrs.evolve(asked, digest=None)  # it is the same request, as was told below
                return alike.again((yield from _records_of(found)), self.end.store_id, self._epoch)
        for stream, version, epoch in asked.of_other_epochs(self._epoch):
            seen = (yield from self.read(Read(stream, version - 1, 1))).events
            epochs = yield from self._epochs()
            check_seen(epochs, epoch, stream, version, seen[0].position if seen else None)
        for demand in asked.streams:
            if demand.expected is ANY:
                yield from self._version_below(demand.stream)
            else:
                yield from self._see(demand.stream)
        conflict: BoundaryChanged | None = None
        for bound in asked.bounds:
            conflict = conflict or (yield from self._changed(bound))
        with self._lock:
            stored = self._appends.get(asked.append_id)
            if stored is not None:
                return asked.again(stored, self.end.store_id, self._epoch)
            unmet = asked.unmet(self._version)
            if unmet is None and conflict is not None:
                return Failure(conflict)
            if unmet is None:
                if request is not None:
                    self._requests[asked.append_id] = request
                return Success(self._keep(asked))
        return Failure((yield from self._conflict(*unmet)))

    def _keep(self, asked: Prepared) -> Appended:
        end = self.end.position + len(self._feed)
        records = asked.records(end, self._version, microseconds(self._clock))
        for number, record in enumerate(records):
            self._streams.setdefault(record.stream, []).append(record)
            tags = () if asked.tagging is None else asked.tagging.of(number)
            self._tags[record.position] = frozenset(tags)
        self._feed += records
        self._appends[asked.append_id] = records
        self._has_chosen_ids = self._has_chosen_ids or asked.is_keyed
        return appended(asked.append_id, records, self.end.store_id, self._epoch)

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Do[StoreOp, Conflict]:
        events: Sequence[Recorded[Any]] = ()
        if isinstance(expected, int) and expected < actual:
            limit = min(actual - expected, CONFLICT_EVENTS)
            events = (yield from self.read(Read(stream, expected, limit))).events
        return Conflict(stream, expected, actual, events)

    def _see(self, stream: StreamId) -> Do[StoreOp, int]:
        version = yield from self._version_below(stream)
        with self._lock:
            self._seen[stream] = version
        return version

    def _version_below(self, stream: StreamId) -> Do[StoreOp, int]:
        """The version of a stream in the store below, which stays what it is."""
        version = self._below.get(stream)
        if version is None:
            version = self._below[stream] = yield from Head(stream)
        return version

    def _version(self, stream: StreamId) -> int:
        """The version of a stream, of which the version below is known."""
        return self._below[stream] + len(self._streams.get(stream, ()))

    def _events(self, records: Sequence[Record], backwards: bool = False) -> Sequence[Recorded[Any]]:
        return Events(records[::-1] if backwards else records, self.codec)


class OverlayOfTags(Translation[AppendIf | ReadTagged, StoreOp | ReadTagged]):
    """An overlay's part over a store that keeps tags."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    @on(AppendIf).program
    def append_if(self, op: AppendIf) -> Do[StoreOp | ReadTagged, Outcome[Appended, NotAppended]]:
        """Appends if boundaries are unchanged."""
        return (yield from self._overlay.perform(op))

    @on(ReadTagged).program
    def read_tagged(self, op: ReadTagged) -> Do[ReadTagged, FeedPage[Any]]:
        """A page of a boundary."""
        return (yield from self._overlay.read_tagged(op))


def _together(
    before: Sequence[Recorded[Any]], after: Sequence[Recorded[Any]]
) -> Sequence[Recorded[Any]]:
    return (*before, *after) if before and after else before or after


def _of_one_page(events: Sequence[Recorded[Any]]) -> Sequence[Recorded[Any]]:
    """The first of some events that one page holds."""
    return events[: len(of_one_page([event.record for event in events]))]


def _records_of(found: Appended) -> Do[StoreOp, list[Record]]:
    """The records that an append brought."""
    records: list[Record] = []
    for stream, version in found.token.versions.items():
        after = version + 1
        while after > 1:
            page: Page[Any] = yield from Read(stream, after, MAX_PAGE, backwards=True)
            its = [event for event in page.events if event.append_id == found.append_id]
            records += [event.record for event in its]
            if len(its) < len(page.events):
                break
            after = its[-1].version
    return sorted(records, key=lambda record: record.offset)


def over(
    store: Interpreter[StoreOp], codec: Codec | None = None
) -> tuple[Overlay, Interpreter[StoreOp]]:
    """An overlay that begins where a store's feed ends now, and the interpreter of both together.

    codec: what the overlay encodes with; the store's own, or one for all registered events.
    """
    end = store.run(ReadFeed(START, 1)).end
    overlay = Overlay(end, _codec_of(store, codec))
    below: Any = as_of(store, end)
    both: Any = overlay.into(below)
    if keeps_tags(store):
        both = both | OverlayOfTags(overlay).into(below)
    return overlay, _as_over(store, both)


async def over_async(
    store: AsyncInterpreter[StoreOp], codec: Codec | None = None
) -> tuple[Overlay, AsyncInterpreter[StoreOp]]:
    """As `over`, for a store that needs an event loop."""
    end = (await store.run_async(ReadFeed(START, 1))).end
    overlay = Overlay(end, _codec_of(store, codec))
    below: Any = as_of(store, end)
    both: Any = overlay.into(below)
    if keeps_tags(store):
        both = both | OverlayOfTags(overlay).into(below)
    return overlay, _as_over(store, both)


def _as_over(store: AsyncInterpreter[StoreOp], both: Wrappable[K]) -> K:
    """Both, with the middleware that the store has around writes, which the overlay performs."""
    scope = scope_of(cast("AsyncInterpreter[Any]", both))
    return rescoped(both, surrounded_like(scope, scope_of(store), _WRITES))


def _codec_of(store: object, codec: Codec | None) -> Codec:
    found = getattr(store, "codec", None) if codec is None else codec
    return found if isinstance(found, Codec) else Codec()
