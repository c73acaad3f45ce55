"""Reading streams and the feed, of which a transaction becomes visible item by item.

DynamoDB shows readers of several items half a transaction, for a moment. So a page of a stream is read
again until it has no hole, a part of an append to several streams is shown once all its parts are
there, and the feed ends before the first part that is not there yet: it never passes over one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

from eventsrc._clock import monotonic
from eventsrc.aws._feed import PATIENCE, REPAIR, Feed
from eventsrc.aws._ids import NEAR
from eventsrc.aws._items import (
    CHUNK,
    Commit,
    Entry,
    StreamPart,
    append_key,
    part_of,
    read_chunks,
    snapshot_item,
    snapshot_key,
    stream_key,
    unpack,
    write_chunks,
)
from eventsrc.aws._talk import LAST, Item, Talk, Unmet, number
from eventsrc.events.codec import Codec
from eventsrc.events.pages import Events
from eventsrc.events.positions import Cursor
from eventsrc.events.record import Corrupted, Record
from eventsrc.events.stream_id import RESERVED, StreamId
from eventsrc.stores.operations import (
    MAX_PAGE,
    MAX_PAGE_BYTES,
    Appended,
    Blocked,
    FeedPage,
    FindAppend,
    LoadSnapshot,
    Page,
    Read,
    ReadFeed,
    Snapshot,
)
from eventsrc.stores.prepare import appended, asked_for, check_end, of_one_page, page_of, size_of
from eventsrc.stores.requests import check_request

_BODIES: Final = 32 * 1024 * 1024
"""The bytes of those bodies, kept apart, that are remembered: a page seldom has all of one."""

_WHOLE: Final = 10_000
"""The most appends to several streams that are remembered to be visible."""

_PARTS: Final = 100
"""The most parts of the feed that are asked for at once."""


class Bodies:
    """The bodies that are kept apart and were read last. They never change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, talk: Talk, name: str, chunks: int) -> bytes:
        """A body."""
        with self._lock:
            found = self._kept.get(name)
        if found is None:
            found = read_chunks(talk, name, chunks)
            with self._lock:
                if name not in self._kept and len(found) <= _BODIES:
                    self._kept[name] = found
                    self._size += len(found)
                while self._size > _BODIES:
                    self._size -= len(self._kept.popitem(last=False)[1])
        return found


class Reading:
    """The reading operations of one store."""

    def __init__(self, feed: Feed, codec: Codec) -> None:
        self.feed = feed
        self._codec = codec
        self._bodies = Bodies()
        self._whole: OrderedDict[bytes, None] = OrderedDict()

    # --- streams

    def head(self, talk: Talk, stream: StreamId) -> int:
        """The version of a stream."""
        items, _ = talk.query(stream_key(stream), 1, LAST, 1, newest=True)
        if not items:
            return 0
        part = part_of(items[0])
        self._await_others(talk, part)
        self.feed.notice(talk, part.epoch)
        self.feed.move(stream, part.last)
        return part.last

    def read(self, talk: Talk, op: Read) -> Page[Any]:
        """A page of a stream."""
        until = monotonic() + PATIENCE
        pause = 0.005
        while True:
            found, head = self._backwards(talk, op) if op.backwards else self._forwards(talk, op)
            records = of_one_page(found)
            limit = len(records) if len(records) < len(found) else op.limit
            if op.backwards:
                top = min(op.after - 1 if op.after else head, head)
                wanted = range(top, max(top - limit, 0), -1)
            else:
                wanted = range(op.after + 1, min(op.after + limit, head) + 1)
            if [record.version for record in records] == [*wanted]:
                break
            if monotonic() > until or talk.is_over:
                raise Corrupted(
                    f"events of {op.stream} after {op.after} are missing: the table was changed, or "
                    f"{REPAIR}"
                )
            talk.pause(pause)  # what a later append was built upon may become visible after it
            pause *= 2
        events: Events[Any] = Events(records, self._codec)
        return page_of(op, events, self.feed.store_id, head, self.feed.epochs.current)

    def _forwards(self, talk: Talk, op: Read) -> tuple[list[Record], int]:
        """Some events of a stream, oldest first, and its head when they were read.

        They are as many as were asked for, or more than a page holds.
        """
        asked, low = stream_key(op.stream), op.after + 1
        records: list[Record] = []
        head: int | None = None
        newest: StreamPart | None = None
        has_more, room = True, MAX_PAGE_BYTES
        while has_more and _is_wanting(records, room, op):
            items, has_more = talk.query(asked, low, LAST, op.limit - len(records))
            parts = [part_of(item) for item in items]
            if low == op.after + 1 and low > 1 and (not parts or parts[0].first > low):
                covering, _ = talk.query(
                    asked, 1, parts[0].first - 1 if parts else LAST, 1, newest=True
                )
                parts = [part_of(item) for item in covering] + parts
            for part in parts:
                if _is_wanting(records, room, op):
                    some = [r for r in self.records(talk, part) if r.version > op.after]
                    records += some
                    room -= size_of(some)
            if parts:
                newest = parts[-1]
                low = newest.last + 1
            if not has_more:
                head = newest.last if newest is not None else 0
        del records[op.limit :]
        if newest is not None:
            self._await_others(talk, newest)
            self.feed.notice(talk, newest.epoch)
        if head is None:
            head = self.head(talk, op.stream)
        self.feed.move(op.stream, head)
        return records, head

    def _backwards(self, talk: Talk, op: Read) -> tuple[list[Record], int]:
        """Some events of a stream, newest first, and its head before they were read.

        They are as many as were asked for, or more than a page holds.
        """
        asked = stream_key(op.stream)
        head = self.head(talk, op.stream)
        high = min(op.after - 1 if op.after else head, head)
        records: list[Record] = []
        at, room = high, MAX_PAGE_BYTES
        while at > 0 and _is_wanting(records, room, op):
            items, _ = talk.query(asked, 1, at, op.limit - len(records), newest=True)
            if not items:
                break
            for item in items:
                if _is_wanting(records, room, op):
                    part = part_of(item)
                    some = [r for r in self.records(talk, part)[::-1] if r.version <= high]
                    records += some
                    room -= size_of(some)
                    at = part.first - 1
        del records[op.limit :]
        return records, head

    def records(self, talk: Talk, part: StreamPart) -> list[Record]:
        """The records of a part."""
        data = self._bodies.get(talk, part.name, part.chunks) if part.name else part.data
        return unpack(part, data)

    def _await_others(self, talk: Talk, part: StreamPart) -> None:
        """Waits until all that came with a part is visible, if something came to other streams too.

        Only the newest parts need this: a reader who goes to another stream then finds it there.
        """
        if not part.is_of_several or part.append_id in self._whole:
            return
        self.feed.notice(talk, part.epoch)
        commit = self.feed.covering(talk, part.position)
        keys = [entry.key for entry in commit.entries if entry.append_id == part.append_id.hex()]
        missing = self.feed.awaited(talk, keys)
        if missing:
            raise Corrupted(f"item {missing[0]} is missing: the table was changed, or {REPAIR}")
        self._whole[part.append_id] = None
        if len(self._whole) > _WHOLE:
            self._whole.popitem(last=False)

    def position(self, talk: Talk, stream: StreamId, version: int) -> int | None:
        """The position of an event; None if there is none."""
        items, _ = talk.query(stream_key(stream), 1, version, 1, newest=True)
        if not items:
            return None
        part = part_of(items[0])
        return part.position + version - part.first if version <= part.last else None

    # --- the feed

    def read_feed(self, talk: Talk, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        feed = self.feed
        after = op.after.check(feed.store_id)
        feed.refresh(talk)
        if after and op.after.epoch != feed.epochs.current:
            feed.notice(talk, op.after.epoch)
            feed.epochs.check(op.after)
        end, epochs, _ = feed.known(())
        check_end(op, end)
        search = _Search(self, talk, op, after)
        blocked: Blocked | None = None
        until = min(monotonic() + PATIENCE, talk.deadline)
        pause = 0.005
        last = min(after + MAX_PAGE, end)
        while after < end and not search.advance(last):
            if search.at > after:
                break  # what is there is a page
            if monotonic() > until:
                blocked = Blocked(
                    f"{search.missing} is not visible yet, which has position {after + 1}"
                )
                break
            talk.pause(pause)
            pause *= 2
        at = partial(Cursor, feed.store_id, epoch=epochs.current)
        return FeedPage(Events(search.found, self._codec), at(search.at), at(end), blocked)

    # --- appends

    def stored(self, talk: Talk, append_id: UUID, searched: int = 0) -> list[Record]:
        """The records of an append; none if it is not stored, as of the end of the feed that is known.

        searched: up to which position it is known not to be.
        """
        feed = self.feed
        item = talk.get(append_key(append_id), 0)
        if item is not None:
            feed.notice(talk, number(item, "e", 1))
            return self._records_in(talk, append_id, [feed.covering(talk, number(item, "f"))])
        named = feed.ids.end(append_id)
        if named is None:
            return []
        end = min(feed.end, named + NEAR + 1)
        return self._records_in(talk, append_id, feed.commits(talk, max(named, searched), end))

    def _records_in(self, talk: Talk, append_id: UUID, commits: Iterable[Commit]) -> list[Record]:
        """The records of an append, if it is in one of some commits."""
        wanted = append_id.hex
        for commit in commits:
            entries = [entry for entry in commit.entries if entry.append_id == wanted]
            if entries:
                keys = [entry.key for entry in entries]
                missing = self.feed.awaited(talk, keys)
                if missing:
                    raise Corrupted(f"item {missing[0]} is missing: the table was changed, or {REPAIR}")
                items = talk.many(keys)
                return [record for one in keys for record in self.records(talk, part_of(items[one]))]
        return []

    def find(self, talk: Talk, op: FindAppend) -> Appended | None:
        """The original result of an append; None if nothing with this id is stored."""
        self.feed.refresh(talk)
        records = self.stored(talk, op.append_id)
        if not records:
            return None
        check_request(op.request, op.append_id, records[0].metadata, self.feed.ids.key)
        return appended(op.append_id, records, self.feed.store_id, self.feed.epochs.current)

    # --- snapshots

    def load_snapshot(self, talk: Talk, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        item = talk.get(snapshot_key(op.stream, op.fold, op.fold_version), 0)
        if item is None:
            return None
        if "b" in item:
            data = read_chunks(talk, item["b"]["S"], number(item, "k"))
        else:
            data = bytes(item["d"]["B"]) if "d" in item else b""
        return Snapshot(op.stream, op.fold, op.fold_version, number(item, "s"), data)

    def save_snapshot(self, talk: Talk, kept: Snapshot, now: int) -> None:
        """Keeps a snapshot unless there is a newer one."""
        name = uuid4().hex if len(kept.data) > CHUNK else ""
        write_chunks(talk, name, kept.data, now)
        item = snapshot_item(kept, name)
        with suppress(Unmet):  # a newer one is kept, or this one
            talk.put(item, "attribute_not_exists(p) OR s < :s", {":s": item["s"]})


def _is_wanting(records: Sequence[Record], room: int, op: Read) -> bool:
    """Whether a page needs more records than these. room: that they leave in it."""
    return len(records) < op.limit and (room >= 0 or len(records) < 2)


class _Search:
    """The page of the feed that is being looked for: what was found, and how far it has come."""

    def __init__(self, reading: Reading, talk: Talk, op: ReadFeed, after: int) -> None:
        self._reading = reading
        self._talk = talk
        self._op = op
        self._is_wanted = _wanted(op)
        left = talk.deadline - monotonic()
        self._is_filtered = bool(op.prefix) or op.types is not None
        self._until = monotonic() + left / 2
        self.found: list[Record] = []
        self.at = after
        self.missing = ""
        self._room = MAX_PAGE_BYTES

    def advance(self, end: int) -> bool:
        """Goes on to a position, or as far as a page goes; False if it meets a part that is missing."""
        after = scanned = self.at
        batch: list[tuple[Entry, int]] = []
        count = 0
        for commit in self._reading.feed.commits(self._talk, after, end, self._commits):
            position = commit.first
            for entry in commit.entries:
                scanned = max(scanned, position + entry.length - 1)
                if scanned > after and self._is_wanted(entry):
                    batch.append((entry, position))
                    count += entry.length
                position += entry.length
                if len(batch) == _PARTS or len(self.found) + count >= self._op.limit:
                    if not self._take(batch, scanned):
                        return False
                    if self._is_full:
                        return True
                    batch, count = [], 0
            if monotonic() > self._until:
                break
        return self._take(batch, scanned)

    @property
    def _commits(self) -> int:
        """The number of commits that have probably enough."""
        return LAST if self._is_filtered else self._op.limit - len(self.found)

    @property
    def _is_full(self) -> bool:
        return len(self.found) >= self._op.limit or self._room < 0

    def _take(self, batch: Sequence[tuple[Entry, int]], scanned: int) -> bool:
        """Takes the events of some parts, as far as they fit; False if one is not visible."""
        items = self._talk.many([entry.key for entry, _ in batch])
        for entry, first in batch:
            if self._is_full:
                return True
            item = items.get(entry.key)
            if item is None:
                self.at = max(self.at, first - 1)
                self.missing = f"item {entry.key}"
                return False
            for record in self._reading.records(self._talk, _placed(item, entry, first)):
                if self._is_full:
                    return True
                if record.position > self.at:
                    asked = asked_for(self._op, [record])
                    self._room -= size_of(asked)
                    if self._room < 0 and self.found:
                        return True
                    self.found += asked
                    self.at = record.position
        self.at = scanned
        return True


def _placed(item: Item, entry: Entry, position: int) -> StreamPart:
    """The part of an entry of a commit. Raises Corrupted if it is another's."""
    part = part_of(item)
    if (part.position, part.count, part.append_id.hex()) != (position, entry.length, entry.append_id):
        raise Corrupted(f"item {entry.key} is not of the commit that names it: the table was changed")
    return part


def _wanted(op: ReadFeed) -> Callable[[Entry], bool]:
    """Whether some of what an append brought to a stream may be asked for."""

    def is_wanted(entry: Entry) -> bool:
        if op.prefix:
            if not entry.stream.startswith(op.prefix):
                return False
        elif not op.all_streams and entry.stream.startswith(RESERVED):
            return False
        return op.types is None or not op.types.isdisjoint(entry.types)

    return is_wanted
