"""Stores within a store: a program addresses the streams below a prefix, and cannot address others."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import compress
from typing import Any, Final, Never, overload
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc.events.codec import Codec, Encoded
from eventsrc.events.epochs import Epochs
from eventsrc.events.pages import Events
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.events.record import Record, make_record
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import RESERVED, StreamId, checked_prefix
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Translation, on
from eventsrc.programs.program import Do, Outcome
from eventsrc.stores.epochs import get_epochs
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    Expected,
    FeedPage,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    NotAppended,
    Page,
    Read,
    ReadFeed,
    Rejected,
    SaveSnapshot,
    Snapshot,
    StoreOp,
    StreamAppend,
    Unknown,
)
from eventsrc.stores.prepare import check, prepare, shown_of
from eventsrc.stores.requests import OtherRequest, other_request


@overload
def rekeyed(
    store: Interpreter[StoreOp], prefix: str, codec: Codec | None = None
) -> Interpreter[StoreOp]: ...
@overload
def rekeyed(
    store: AsyncInterpreter[StoreOp], prefix: str, codec: Codec | None = None
) -> AsyncInterpreter[StoreOp]: ...
def rekeyed(
    store: AsyncInterpreter[StoreOp], prefix: str, codec: Codec | None = None
) -> AsyncInterpreter[StoreOp]:
    """The streams of a store below a prefix, as a store of its own in which they have no prefix.

    prefix: such as `tenants/7/`. codec: that of the store; taken from it, or one for all registered
        events, if not given.
    Whatever a program asks, it names streams below the prefix: in reads, appends, conditions, feeds,
    snapshots, and the streams that are the library's own in a store, below `eventsrc/`. Cursors and
    tokens are of a store with another id, so those of another prefix, or of the whole store, are
    WrongStore. An `append_id` is one of the prefix alone. What is visible of others is how much they
    append: positions and cursors are those of the whole store.
    It cannot be told that it was restored, nor be copied: the whole store can.
    Raises BadStreamId for a prefix that is none, and ValueError for one of the library's own streams.
    """
    checked_prefix(prefix)
    if not prefix or prefix.startswith(RESERVED):
        raise ValueError(
            f"{prefix!r} is no prefix for streams of others: give one such as 'tenants/7/'"
        )
    found = codec or getattr(store, "codec", None) or Codec()
    return _Rekeyed(prefix, found).into(store)


class _Rekeyed(Translation[StoreOp | GetEpochs, StoreOp]):
    def __init__(self, prefix: str, codec: Codec) -> None:
        self._prefix: Final = prefix
        self._codec: Final = codec
        mask = int.from_bytes(blake2b(prefix.encode(), digest_size=16).digest(), "big")
        self._mask: Final = mask & ~(0xF << 76 | 0x3 << 62)
        self._ids: Final[dict[None, tuple[str, str]]] = {}
        """The id of the store, and that of this one, once they are known."""

    # --- appending

    @on(Append).program
    def append(self, op: Append) -> Do[Append | ReadFeed, Outcome[Appended, NotAppended]]:
        yield from self._check(op)
        expected = yield from self._expected(op.expected, op.stream)
        append_id = None if op.append_id is None else self._id(op.append_id)
        lower = Append(self._to(op.stream), op.events, expected, append_id, op.metadata, op.request)
        return (yield from self._outcome(op.append_id, (yield from lower)))

    @on(AppendAll).program
    def append_all(self, op: AppendAll) -> Do[AppendAll | ReadFeed, Outcome[Appended, NotAppended]]:
        yield from self._check(op)
        appends: list[StreamAppend] = []
        for part in op.appends:
            expected = yield from self._expected(part.expected, part.stream)
            appends.append(StreamAppend(self._to(part.stream), part.events, expected))
        conditions: list[Condition] = []
        for condition in op.conditions:
            expected = yield from self._expected(condition.expected, condition.stream)
            conditions.append(Condition(self._to(condition.stream), expected))
        append_id = None if op.append_id is None else self._id(op.append_id)
        lower = AppendAll(tuple(appends), tuple(conditions), append_id, op.metadata, op.request)
        return (yield from self._outcome(op.append_id, (yield from lower)))

    @on(FindAppend).program
    def find_append(self, op: FindAppend) -> Do[FindAppend | ReadFeed, Appended | None]:
        check(op)
        yield from self._both_ids()
        append_id = self._id(op.append_id)
        found = yield from FindAppend(append_id)
        if found is None or not all(map(self._is_ours, found.token.versions)):
            return None
        if op.request is not None:
            try:
                yield from FindAppend(append_id, op.request)
            except OtherRequest:
                raise other_request(op.append_id) from None
        return self._appended(found)

    # --- reading

    @on(Read).program
    def read(self, op: Read) -> Do[Read, Page[Any]]:
        check(op)
        page: Page[Any] = yield from Read(self._to(op.stream), op.after, op.limit, op.backwards)
        self._learn(page.token.store_id)
        return Page(self._events(page.events), page.head, self._token(page.token), page.is_last)

    @on(Head).program
    def head(self, op: Head) -> Do[Head, int]:
        check(op)
        return (yield from Head(self._to(op.stream)))

    @on(ReadFeed).program
    def read_feed(self, op: ReadFeed) -> Do[ReadFeed, FeedPage[Any]]:
        check(op)
        after = yield from self._after(op.after)
        prefix = self._prefix + op.prefix
        page: FeedPage[Any] = yield from ReadFeed(after, op.limit, prefix, op.types)
        self._learn(page.end.store_id)
        events: Sequence[Recorded[Any]] = self._events(page.events)
        shown = shown_of(op, [event.stream for event in events])
        if shown is not None:
            events = Events([event.record for event in compress(events, shown)], self._codec)
        return FeedPage(events, self._cursor(page.next), self._cursor(page.end), page.blocked)

    @on(GetEpochs).program
    def get_epochs(self, op: GetEpochs) -> Do[Never, Epochs]:
        return (yield from get_epochs())

    # --- snapshots

    @on(LoadSnapshot).program
    def load_snapshot(self, op: LoadSnapshot) -> Do[LoadSnapshot, Snapshot | None]:
        check(op)
        found = yield from LoadSnapshot(self._to(op.stream), self._named(op.fold), op.fold_version)
        return None if found is None else attrs.evolve(found, stream=op.stream, fold=op.fold)

    @on(SaveSnapshot).program
    def save_snapshot(self, op: SaveSnapshot) -> Do[SaveSnapshot, None]:
        check(op)
        stream, fold = op.snapshot.stream, op.snapshot.fold
        named = attrs.evolve(op.snapshot, stream=self._to(stream), fold=self._named(fold))
        yield from SaveSnapshot(named)

    def _named(self, fold: str) -> str:
        """The name of a fold's snapshots, which hold by a checksum what stream they are of."""
        return f"{fold}@{blake2b(self._prefix.encode(), digest_size=8).hexdigest()}"

    # --- names, there and here

    def _to(self, stream: str) -> StreamId:
        return StreamId(self._prefix + stream)

    def _is_ours(self, stream: str) -> bool:
        return stream.startswith(self._prefix)

    def _from(self, stream: str) -> StreamId:
        return StreamId(stream[len(self._prefix) :])

    def _id(self, append_id: UUID) -> UUID:
        """The id in the whole store of an append that has one here, where others may choose the same.

        It is its own inverse, and leaves the version and the variant as they are.
        """
        return UUID(int=append_id.int ^ self._mask)

    def _learn(self, store_id: str) -> tuple[str, str]:
        digest = blake2b(f"{store_id}/{self._prefix}".encode(), digest_size=8)
        return self._ids.setdefault(None, (store_id, digest.hexdigest()))

    def _both_ids(self) -> Do[ReadFeed, tuple[str, str]]:
        if None not in self._ids:
            self._learn((yield from ReadFeed(START, 1)).end.store_id)
        return self._ids[None]

    def _check(self, op: Append | AppendAll) -> Do[ReadFeed, None]:
        """Raises for what a store refuses by the names that it has here."""
        streams: Iterable[object] = (
            [op.stream]
            if isinstance(op, Append)
            else [part.stream for part in op.appends if isinstance(part, StreamAppend)]
        )
        is_plain = all(type(stream) is StreamId and stream[:9] != RESERVED for stream in streams)
        if not is_plain or isinstance(op, AppendAll) or not isinstance(op.append_id, UUID | None):
            prepare(op, self._codec, (yield from self._both_ids())[1])

    def _after(self, after: Cursor) -> Do[ReadFeed, Cursor]:
        if not after.position:
            return START
        real, own = yield from self._both_ids()
        return Cursor(real, after.check(own), after.epoch)

    def _cursor(self, cursor: Cursor) -> Cursor:
        return attrs.evolve(cursor, store_id=self._ids[None][1]) if cursor.position else cursor

    def _expected(self, expected: Expected, stream: StreamId) -> Do[ReadFeed, Expected]:
        if not isinstance(expected, Token):
            return expected
        real, own = yield from self._both_ids()
        expected.check(own)
        expected.of(stream)
        return Token(
            real, self._renamed(expected.versions), expected.epoch, self._renamed(expected.earlier)
        )

    def _renamed(self, numbers: Mapping[StreamId, int]) -> dict[StreamId, int]:
        return {self._to(stream): number for stream, number in numbers.items()}

    def _token(self, token: Token) -> Token:
        versions = {self._from(stream): number for stream, number in token.versions.items()}
        return Token(self._ids[None][1], versions, token.epoch)

    def _appended(self, stored: Appended) -> Appended:
        token, cursor = self._token(stored.token), self._cursor(stored.cursor)
        return Appended(self._id(stored.append_id), token, cursor)

    def _outcome(
        self, append_id: UUID | None, outcome: Outcome[Appended, NotAppended]
    ) -> Do[ReadFeed, Outcome[Appended, NotAppended]]:
        yield from self._both_ids()
        if isinstance(outcome, Success):
            return Success(self._appended(outcome.unwrap()))
        match outcome.failure():
            case Conflict() as conflict:
                stream = self._from(conflict.stream)
                events = self._events(conflict.events)
                return Failure(Conflict(stream, conflict.expected, conflict.actual, events))
            case Unknown(its, reason):
                return Failure(Unknown(self._id(its), self._said(reason, append_id)))
            case Rejected(reason):
                return Failure(Rejected(self._said(reason, append_id)))

    def _said(self, reason: str, append_id: UUID | None) -> str:
        """A reason, in the words of this store."""
        if append_id is not None:
            reason = reason.replace(str(self._id(append_id)), str(append_id))
        return reason.replace(self._prefix, "")

    def _events(self, events: Sequence[Recorded[Any]]) -> Events[Any]:
        return Events([self._record(event.record) for event in events], self._codec)

    def _record(self, record: Record) -> Record:
        """The record as it would be if the stream had no prefix; damaged if it is."""
        stream = self._from(record.stream)
        try:
            it_was, it_is = self._made(record, record.stream), self._made(record, stream)
        except (TypeError, ValueError, struct.error):  # damage can change a value's type as well
            return record._replace(stream=stream, data_crc=-1)
        if (it_was.data_crc, it_was.rest) == (record.data_crc, record.rest):
            own_id = UUID(bytes=record.append_id)
            return self._made(record, stream, self._id(own_id).bytes)
        wrong = bytearray(it_is.rest)
        if it_was.rest != record.rest:
            wrong[20] ^= 1
        crc = it_is.data_crc ^ (it_was.data_crc != record.data_crc)
        return it_is._replace(data_crc=crc, rest=bytes(wrong))

    def _made(self, record: Record, stream: str, append_id: bytes | None = None) -> Record:
        return make_record(
            record.position,
            stream,
            record.version,
            append_id or record.append_id,
            record.offset,
            Encoded(record.kind, record.data),
            record.metadata,
            record.recorded_at,
        )
