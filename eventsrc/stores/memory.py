"""The memory store: the store contract in its plainest form, and a fast one for tests.

Everything is a list or a dictionary under one lock. It encodes and decodes events as other stores do,
so that what cannot be stored there cannot be stored here.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from returns.result import Failure, Success

from eventsrc.events.codec import Codec
from eventsrc.events.epochs import FIRST, Epochs
from eventsrc.events.pages import Events
from eventsrc.events.positions import Cursor
from eventsrc.events.record import Record
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import on
from eventsrc.programs.opened import Opened
from eventsrc.programs.program import Outcome
from eventsrc.stores._forking import guarded_across_forks
from eventsrc.stores._ids import new_append_id
from eventsrc.stores._memory_tags import MemoryTags
from eventsrc.stores._tagging import check_indexing, items_of
from eventsrc.stores.copying import (
    CopyOp,
    EndCopy,
    GetIdentity,
    Identity,
    KeepRecords,
    check_keeping,
    check_versions,
    keeping,
    refuse_append,
)
from eventsrc.stores.operations import (
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
    check_tagged,
    microseconds,
    of_one_page,
    page_of,
    prepare,
)
from eventsrc.stores.requests import check_request
from eventsrc.stores.tags import AppendIf, Indexed, IndexTags, ReadTagged, TagOp


class MemoryStore(Opened[StoreOp | EpochOp | CopyOp | TagOp]):
    """A store that lives and dies with the process. It may be used from threads and tasks.

    codec: what it encodes with; one for all registered events if not given.
    clock: gives `recorded_at`, in seconds since 1970.
    store_id: names the store in cursors and tokens; a random one if not given.
    """

    durability = "none"

    def __init__(
        self,
        codec: Codec | None = None,
        *,
        clock: Callable[[], float] = time.time,
        store_id: str | None = None,
    ) -> None:
        self.codec = Codec() if codec is None else codec
        self.store_id = secrets.token_hex(8) if store_id is None else store_id
        self._key = self.store_id.encode()[:64]  # nobody reads it but through the store
        self._clock = clock
        self._new_id: Callable[[], UUID] = new_append_id
        self._lock = guarded_across_forks(threading.Lock())
        self._feed: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self._appends: dict[UUID, list[Record]] = {}
        self._snapshots: dict[tuple[str, str, int], Snapshot] = {}
        self._epochs = FIRST
        self._tags = MemoryTags()

    def close(self) -> None:
        """Does nothing: there is nothing to close."""

    @on(Append)
    def append(self, op: Append) -> Outcome[Appended, NotAppended]:
        """Appends to one stream."""
        return self._append(self._prepared(op))

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> Outcome[Appended, NotAppended]:
        """Appends to several streams."""
        return self._append(self._prepared(op))

    @on(AppendIf)
    def append_if(self, op: AppendIf) -> Outcome[Appended, NotAppended]:
        """Appends if boundaries are unchanged."""
        return self._append(self._prepared(op))

    @on(Read)
    def read(self, op: Read) -> Page[object]:
        """A page of a stream."""
        check(op)
        with self._lock:
            records = self._streams.get(op.stream, [])
            head = len(records)
            epoch = self._epochs.current
            if op.backwards:
                end = head if op.after == 0 else min(op.after - 1, head)
                found = records[max(end - op.limit, 0) : end][::-1]
            else:
                found = records[op.after : op.after + op.limit]
        return page_of(op, self._events(of_one_page(found)), self.store_id, head, epoch)

    @on(Head)
    def head(self, op: Head) -> int:
        """The version of a stream."""
        check(op)
        with self._lock:
            return self._version(op.stream)

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        check(op)
        position = op.after.check(self.store_id)
        with self._lock:
            end = len(self._feed)
            epochs = self._epochs
        epochs.check(op.after)
        check_end(op, end)
        found: list[Record] = []
        until = min(position + MAX_PAGE, end)
        while position < until and len(found) < op.limit:  # up to there, the feed never changes
            some = self._feed[position : min(position + op.limit - len(found), until)]
            position += len(some)
            found += asked_for(op, some)
        held = of_one_page(found)
        if len(held) < len(found):
            position = held[-1].position
        at = partial(Cursor, self.store_id, epoch=epochs.current)
        return FeedPage(self._events(held), at(position), at(end))

    @on(ReadTagged)
    def read_tagged(self, op: ReadTagged) -> FeedPage[object]:
        """A page of a boundary's events."""
        check_tagged(op)
        position = op.after.check(self.store_id)
        items = items_of(op.boundary, self.codec, self._key)
        with self._lock:
            end = len(self._feed)
            self._epochs.check(op.after)
            check_end(op, end)
            self._tags.check_indexed(items)
            found = self._tags.find(items, self._feed, position, op.limit)
            shown = of_one_page(found)
            is_full = len(found) == op.limit or len(shown) < len(found)
            last = shown[-1].position if is_full else end
            at = partial(Cursor, self.store_id, epoch=self._epochs.current)
        return FeedPage(self._events(shown), at(last), at(end))

    @on(IndexTags)
    def index_tags(self, op: IndexTags) -> Indexed:
        """Gives stored events the tags of their types."""
        types = check_indexing(op, self.codec)
        with self._lock:
            self._tags.index(types, self._feed, self.codec, self._key)
            return Indexed(len(self._feed), True)

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        check(op)
        with self._lock:
            return self._snapshots.get((op.stream, op.fold, op.fold_version))

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        check(op)
        key = op.snapshot.stream, op.snapshot.fold, op.snapshot.fold_version
        with self._lock:
            kept = self._snapshots.get(key)
            if kept is None or kept.version < op.snapshot.version:
                self._snapshots[key] = op.snapshot

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        check(op)
        with self._lock:
            stored = self._appends.get(op.append_id)
            if stored is None:
                return None
            check_request(op.request, op.append_id, stored[0].metadata, self._key)
            return appended(op.append_id, stored, self.store_id, self._epochs.current)

    @on(GetEpochs)
    def get_epochs(self, op: GetEpochs) -> Epochs:
        """The epochs of the store."""
        return self._epochs

    @on(RaiseEpoch)
    def raise_epoch(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        with self._lock:
            refuse_append(self._epochs)
            begun = self._epochs.next(len(self._feed), microseconds(self._clock))
            self._epochs = Epochs((*self._epochs.begins, begun))
        return begun[0]

    # --- copies

    @on(GetIdentity)
    def get_identity(self, op: GetIdentity) -> Identity:
        """The store's id, its secret and its epochs."""
        with self._lock:
            return Identity(self.store_id, self._key, Epochs(self._epochs.begins))

    @on(KeepRecords)
    def keep_records(self, op: KeepRecords) -> int:
        """Keeps records as another store has them."""
        check_keeping(op)
        with self._lock:
            own = Identity(self.store_id, self._key, self._epochs)
            todo = keeping(op, own, len(self._feed), lambda one, last: self._feed[one - 1 : last])
            check_versions(todo.records, lambda stream: len(self._streams.get(stream, ())))
            if todo.is_new:
                self.store_id, self._key = op.identity.store_id, op.identity.secret
            self._epochs = todo.epochs
            for record in todo.records:
                self._streams.setdefault(record.stream, []).append(record)
                self._appends.setdefault(UUID(bytes=record.append_id), []).append(record)
            self._tags.add(todo.records, None)
            self._feed += todo.records
            return len(self._feed)

    @on(EndCopy)
    def end_copy(self, op: EndCopy) -> int:
        """Makes a copy a store that takes appends."""
        with self._lock:
            if self._epochs.is_copy:
                begins = self._epochs.begins
                if op.raise_epoch:
                    now = microseconds(self._clock)
                    begins = (*begins, self._epochs.next(len(self._feed), now))
                self._epochs = Epochs(begins)
            return self._epochs.current

    def _append(self, asked: Prepared) -> Outcome[Appended, NotAppended]:
        with self._lock:
            stored = self._appends.get(asked.append_id) if asked.is_keyed else None
            if stored is not None:
                return asked.again(stored, self.store_id, self._epochs.current)
            refuse_append(self._epochs)
            asked.check_epochs(self._epochs, self._position)
            unmet = asked.unmet(self._version)
            if unmet is not None:
                return Failure(self._conflict(*unmet))
            now = microseconds(self._clock)
            end = len(self._feed)
            for bound in asked.bounds:
                bound.check(self._epochs, end)
                self._tags.check_indexed(bound.items)
                found = self._tags.find(bound.items, self._feed, bound.cursor.position, CONFLICT_EVENTS)
                if found:
                    return Failure(changed(bound.boundary, self._events(of_one_page(found))))
            records = asked.records(end, self._version, now)
            try:
                self._tags.add(records, asked.tagging)
                for record in records:
                    self._streams.setdefault(record.stream, []).append(record)
                self._appends[asked.append_id] = records
                self._feed += records  # by this step, and no other, they are stored
            except BaseException:  # a signal's handler raised
                if len(self._feed) == end:
                    self._take_back(asked.append_id, records)
                raise
            return Success(appended(asked.append_id, records, self.store_id, self._epochs.current))

    def _prepared(self, op: Append | AppendAll | AppendIf) -> Prepared:
        return prepare(op, self.codec, self.store_id, self._new_id, self._key, keeps_tags=True)

    def _take_back(self, append_id: UUID, records: Sequence[Record]) -> None:
        self._tags.remove(records)
        for record in records:
            del self._streams.get(record.stream, [])[record.version - 1 :]
        self._appends.pop(append_id, None)

    def _position(self, stream: StreamId, version: int) -> int | None:
        records = self._streams.get(stream, ())
        return records[version - 1].position if version <= len(records) else None

    def _version(self, stream: StreamId) -> int:
        return len(self._streams.get(stream, ()))

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        since: Sequence[Record] = ()
        if isinstance(expected, int):
            since = self._streams.get(stream, [])[expected : expected + CONFLICT_EVENTS]
        return Conflict(stream, expected, actual, self._events(of_one_page(since)))

    def _events(self, records: Sequence[Record]) -> Events[object]:
        return Events(records, self.codec)
