"""The SQLite store: streams in a file, for one process or several.

What is stored can be read with SQL through the view `eventsrc_events`, which shows data as text.

An append takes one of two ways. One event, to a stream whose head is known, by a thread that nobody
waits beside: `append` takes the lead of the line (`GroupCommit.alone`), has the event checked and
encoded (`lone_event`, `Codec.glance`), makes its id and its checksums (`OwnIds.new`,
`columns_of_one`), and stores it in one statement (`_insert`, `SqliteFile.write`). Any other waits in
line, and is stored with its group in one transaction (`GroupCommit.perform`, `_commit`, `_transact`,
`Appending.append`).
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._clock import monotonic
from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec, Encoded
from eventsrc.events.epochs import COPY, Epochs
from eventsrc.events.pages import Events, EventsData
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.record import Corrupted, columns_of_one
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import on
from eventsrc.programs.opened import Opened
from eventsrc.programs.program import Outcome
from eventsrc.sqlite import _sql as sql
from eventsrc.sqlite._appending import Appending
from eventsrc.sqlite._copying import end_copy, identity_of, keep
from eventsrc.sqlite._errors import CommitFailed
from eventsrc.sqlite._file import Durability, SqliteFile
from eventsrc.sqlite._rows import (
    check_complete,
    check_count,
    check_positions,
    check_streams,
    columns,
    end_of,
    epochs_of,
    head_of,
    kinds_of,
    of_one_page,
    records_of,
    records_of_append,
)
from eventsrc.sqlite._tags import index, is_changed, known_types, last_to_look_at, page, positions
from eventsrc.stores._group_commit import GroupCommit, ToRaise
from eventsrc.stores._ids import OwnIds
from eventsrc.stores._known import NOT_KNOWN, Heads, Kinds
from eventsrc.stores._tagging import UNDECLARED, check_indexing, items_of
from eventsrc.stores.copying import (
    CopyOp,
    EndCopy,
    GetIdentity,
    Identity,
    KeepRecords,
    check_keeping,
    refuse_append,
)
from eventsrc.stores.operations import (
    ANY,
    EXISTS,
    MAX_PAGE,
    Append,
    AppendAll,
    Appended,
    EpochOp,
    Expected,
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
    StoreClosed,
    StoreOp,
    Unknown,
    is_met,
)
from eventsrc.stores.prepare import (
    Part,
    Prepared,
    appended,
    check,
    check_end,
    check_tagged,
    lone_event,
    microseconds,
    page_of,
    prepare,
    shown_of,
)
from eventsrc.stores.requests import check_request
from eventsrc.stores.tags import AppendIf, Indexed, IndexTags, ReadTagged, TagOp

GROUP: Final = 512
"""The most appends that share a commit."""

_Answer: TypeAlias = Outcome[Appended, NotAppended]


@attrs.define
class _Job:
    """An append in line."""

    asked: Prepared
    deadline: float
    """When its turn to write must have come, by _clock.monotonic()."""


class SqliteStore(Opened[StoreOp | EpochOp | CopyOp | TagOp]):
    """A store in a SQLite file. It may be used from threads, tasks and several processes at once.

    path: of the file; it is made if it is not there.
    codec: what it encodes with; one for all registered events if not given.
    durability: what an acknowledged append survives: "os", a power cut; "process", only a crash of the
        process, which is faster.
    timeout: how many seconds an append may wait for other writers, before StoreBusy.
    read_only: refuses appends with StoreReadOnly, and does not make the file.
    clock: gives `recorded_at`, in seconds since 1970.

    Raises NotAStore for a file of another application, or of a newer version of this library.
    Appends that wait together, in threads or tasks, share one commit. In `run_async`, appending does
    not hold up the event loop; reading does, for as long as SQLite takes to find a page.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        durability: Durability = "os",
        timeout: float = 5.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.codec = Codec() if codec is None else codec
        self._clock = clock
        self._kinds = Kinds()
        self._heads = Heads()
        self._file = SqliteFile(
            path, sql.SCHEMA, durability=durability, timeout=timeout, read_only=read_only
        )
        self._line: GroupCommit[_Job, _Answer] = GroupCommit(
            self._commit, interrupted=_interrupted, too_late=self._file.busy, most=GROUP
        )
        try:
            self.store_id, self._ids = self._find_identity()
            self._end, self._epochs = self._find_end()
            self._number = COPY if self._epochs.is_copy else self._epochs.current
        except BaseException:
            self._file.close()
            raise

    @property
    def durability(self) -> Durability:
        """The accident that an acknowledged append survives."""
        return self._file.durability

    def close(self) -> None:
        """Finishes the appends that are under way and closes the file."""
        self._line.close()
        self._file.close()

    # --- appending

    @on(Append)
    def append(self, op: Append) -> _Answer:
        """Appends to one stream."""
        answer = self._line.alone(self._append_at_once, op)
        return self._line.perform(self._job(op), self._file.timeout) if answer is None else answer

    @on(Append).coroutine
    async def append_async(self, op: Append) -> _Answer:
        """Appends to one stream."""
        return await self._line.perform_async(self._job(op), self._file.timeout)

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return self._line.perform(self._job(op), self._file.timeout)

    @on(AppendAll).coroutine
    async def append_all_async(self, op: AppendAll) -> _Answer:
        """Appends to several streams."""
        return await self._line.perform_async(self._job(op), self._file.timeout)

    @on(AppendIf)
    def append_if(self, op: AppendIf) -> _Answer:
        """Appends if boundaries are unchanged."""
        return self._line.perform(self._job(op), self._file.timeout)

    @on(AppendIf).coroutine
    async def append_if_async(self, op: AppendIf) -> _Answer:
        """Appends if boundaries are unchanged."""
        return await self._line.perform_async(self._job(op), self._file.timeout)

    def _job(self, op: Append | AppendAll | AppendIf) -> _Job:
        self._file.check_usable()
        asked = prepare(op, self.codec, self.store_id, key=self._ids.key, keeps_tags=True)
        return _Job(asked, monotonic() + self._file.timeout)

    def _commit(self, group: Sequence[_Job]) -> list[_Answer | ToRaise]:
        """Stores a group in one transaction; if that fails, each of it in one of its own.

        What is no error of this library, such as what a signal's handler raises, concerns only the
        first, whose thread this is.
        """
        answers: list[_Answer | ToRaise] = []
        try:
            return self._transact(group)
        except CommitFailed as failed:
            return [Failure(Unknown(job.asked.append_id, str(failed))) for job in group]
        except EventsrcError as error:
            if len(group) == 1:
                return [ToRaise(error)]
        except Exception as error:
            if len(group) == 1:
                raise
            answers.append(ToRaise(error))
        for job in group[len(answers) :]:
            answers += self._commit([job])
        return answers

    def _transact(self, group: Sequence[_Job]) -> list[_Answer | ToRaise]:
        """Stores a group in one transaction. If it raises, but for CommitFailed, nothing is stored."""
        if len(group) == 1:
            answer = self._append_alone(group[0])
            if answer is not None:
                return [answer]
        answers: list[_Answer | ToRaise] = []

        def store(connection: sqlite3.Connection) -> Appending:
            about = self.store_id, self._ids, self.codec, self._kinds, self._epochs
            writing = Appending(connection, *about, self._now())
            if not self._end:  # it may have become a copy of another since it was opened
                self._check_identity(connection)
            answers.extend([writing.append(job.asked) for job in group])
            return writing

        transaction = self._file.writing(group[0].deadline)
        try:
            self._remember(transaction.run(store))
        except BaseException as error:
            if not transaction.is_committed:
                raise
            answers[0] = ToRaise(error)
        return answers

    def _check_identity(self, connection: sqlite3.Connection) -> None:
        store_id = identity_of(connection).store_id
        if store_id != self.store_id:
            raise StoreClosed(
                f"the store was {self.store_id!r}, and is a copy of {store_id!r} now: open it again"
            )

    def _remember(self, writing: Appending) -> None:
        """Keeps what has been learnt of the file in a transaction that is committed."""
        self._notice(writing.epochs)
        self._end = max(self._end, writing.end)
        self._kinds.add(writing.kind_numbers)
        for stream, version in writing.versions.items():
            if version:
                self._heads.move(stream, writing.numbers[stream], version)

    def _append_at_once(self, op: Append) -> _Answer | None:
        """Appends as `_insert` does; None if there is more to it, or something wrong with it."""
        encoded = lone_event(op, self.codec)
        if encoded is None:
            return None
        return self._insert(op.stream, op.expected, encoded, b"", monotonic() + self._file.timeout)

    def _append_alone(self, job: _Job) -> _Answer | None:
        """Appends as `_insert` does; None if there is more to it."""
        asked = job.asked
        part = asked.parts[0]
        if asked.is_keyed or asked.demands or len(asked.parts) > 1 or len(part.events) > 1:
            return None
        if part.epoch not in (0, self._epochs.current):
            return None
        if asked.tagging is not None or asked.bounds:
            return self._insert_tagged(part, asked, job.deadline)
        return self._insert(part.stream, part.expected, part.events[0], asked.metadata, job.deadline)

    def _insert(
        self, stream: StreamId, expected: Expected, encoded: Encoded, metadata: bytes, deadline: float
    ) -> _Answer | None:
        """Appends one event to a stream whose head is known, in one statement; None if that won't do.

        A head that others have moved is no danger: the index of streams and versions refuses the event.
        In an epoch that others have begun the statement stores nothing, nor where others have appended.
        """
        number, version = self._heads.get(stream, NOT_KNOWN)
        kind = self._kinds.numbers.get(encoded.kind)
        if not version or kind is None:
            return None
        if expected is not ANY and expected is not EXISTS and expected != version:
            return None
        end, epoch, version = self._end + 1, self._epochs.current, version + 1
        own_id = self._ids.new(end)
        last = columns_of_one(stream, version, own_id, encoded, metadata, microseconds(self._clock))
        try:
            position = self._file.write(
                sql.ADD_EVENT_IN, (end, number, version, kind, *last, epoch, stream), deadline
            )
        except sqlite3.IntegrityError:
            return None
        except CommitFailed as failed:
            return Failure(Unknown(UUID(bytes=own_id), str(failed)))
        if not position:
            return None
        self._end = position
        self._heads[stream] = number, version
        token = Token(self.store_id, {stream: version}, epoch)
        return Success(Appended(UUID(bytes=own_id), token, Cursor(self.store_id, position, epoch)))

    def _now(self) -> int:
        return microseconds(self._clock)

    def _insert_tagged(self, part: Part, asked: Prepared, deadline: float) -> _Answer | None:
        """As `_insert`, of an event with tags, or with boundaries that are seen to be unchanged."""
        number, version = self._heads.get(part.stream, NOT_KNOWN)
        (encoded,) = part.events
        kind, epoch = self._kinds.numbers.get(encoded.kind), self._epochs.current
        if not version or kind is None or not is_met(part.expected, version):
            return None
        if any(bound.cursor.epoch != epoch for bound in asked.bounds):
            return None
        end, version = self._end + 1, version + 1
        own_id = self._ids.new(end)
        asked.append_id = UUID(bytes=own_id)
        now = microseconds(self._clock)
        last = columns_of_one(part.stream, version, own_id, encoded, asked.metadata, now)
        declared = UNDECLARED if asked.tagging is None else asked.tagging.declared[0]
        row = end, number, version, kind, *last, epoch, part.stream, declared
        tags = () if asked.tagging is None else [(tag, end, kind) for _, tag in asked.tagging.tags]

        def store(connection: sqlite3.Connection) -> bool:
            if any(is_changed(connection, bound, end - 1) for bound in asked.bounds):
                return False
            try:
                if not connection.execute(sql.ADD_TAGGED_EVENT_IN, row).rowcount:
                    return False
            except sqlite3.IntegrityError:  # the head was moved by others
                return False
            connection.executemany(sql.ADD_TAG, tags)
            return True

        if not self._file.writing(deadline).run(store):
            return None
        self._end = end
        self._heads[part.stream] = number, version
        token = Token(self.store_id, {part.stream: version}, epoch)
        return Success(Appended(asked.append_id, token, Cursor(self.store_id, end, epoch)))

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        check(op)
        with self._file.reading() as connection:
            stored = records_of_append(connection, self._kinds, self._ids, op.append_id)
            if not stored:
                return None
            self._notice(epochs_of(connection))
        check_request(op.request, op.append_id, stored[0].metadata, self._ids.key)
        return appended(op.append_id, stored, self.store_id, self._epochs.current)

    # --- epochs

    @on(GetEpochs)
    def get_epochs(self, op: GetEpochs) -> Epochs:
        """The epochs of the store."""
        with self._file.reading() as connection:
            self._notice(epochs_of(connection))
        return self._epochs

    @on(RaiseEpoch)
    def raise_epoch(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        return self._raise_epoch()

    @on(RaiseEpoch).coroutine
    async def raise_epoch_async(self, op: RaiseEpoch) -> int:
        """Begins another epoch."""
        from asyncio import to_thread

        return await to_thread(self._raise_epoch)

    def _raise_epoch(self) -> int:
        def begin(connection: sqlite3.Connection) -> Epochs:
            epochs, (end, _) = epochs_of(connection), end_of(connection)
            refuse_append(epochs)
            begun = epochs.next(end, self._now())
            connection.execute(sql.ADD_EPOCH, begun)
            return Epochs((*epochs.begins, begun))

        self._notice(self._file.writing().run(begin))
        return self._epochs.current

    # --- copies

    @on(GetIdentity)
    def get_identity(self, op: GetIdentity) -> Identity:
        """The store's id, its secret and its epochs."""
        with self._file.reading() as connection:
            own = identity_of(connection)
        return attrs.evolve(own, epochs=Epochs(own.epochs.begins))

    @on(KeepRecords)
    def keep_records(self, op: KeepRecords) -> int:
        """Keeps records as another store has them."""
        check_keeping(op)
        return self._copying(partial(keep, op=op))

    @on(KeepRecords).coroutine
    async def keep_records_async(self, op: KeepRecords) -> int:
        """Keeps records as another store has them."""
        from asyncio import to_thread

        return await to_thread(self.keep_records, op)

    @on(EndCopy)
    def end_copy(self, op: EndCopy) -> int:
        """Makes a copy a store that takes appends."""
        self._copying(partial(end_copy, op=op, now=self._now()))
        return self._epochs.current

    @on(EndCopy).coroutine
    async def end_copy_async(self, op: EndCopy) -> int:
        """Makes a copy a store that takes appends."""
        from asyncio import to_thread

        return await to_thread(self.end_copy, op)

    def _copying(self, work: Callable[[sqlite3.Connection], int]) -> int:
        """Does the work of a copy in a transaction, and goes by what the store is then."""

        def done(connection: sqlite3.Connection) -> tuple[int, Identity]:
            return work(connection), identity_of(connection)

        answer, own = self._file.writing().run(done)
        self.store_id, self._ids = own.store_id, OwnIds(own.secret)
        self._notice(own.epochs)
        self._heads.clear()
        self._kinds = Kinds()
        return answer

    def _epoch(self, connection: sqlite3.Connection, number: int) -> Epochs:
        """The epochs of the store, which was just seen to be in the one of a number."""
        if number != self._number:
            self._notice(epochs_of(connection))
        return self._epochs

    def _notice(self, epochs: Epochs) -> None:
        """Keeps the epochs; in another than before, what is known of the tables counts no more."""
        if epochs.current != self._epochs.current:
            self._kinds = Kinds()
            self._heads.clear()
            self._end = 0
        self._epochs = epochs
        self._number = COPY if epochs.is_copy else epochs.current

    # --- reading

    @on(Read)
    def read(self, op: Read) -> Page[Any]:
        """A page of a stream."""
        check(op)
        with self._file.reading() as connection:
            number, found, epoch = head_of(connection, op.stream)
            epoch = self._epoch(connection, epoch).current
            head = found
            if op.backwards or op.whole:
                events, head = self._events(connection, op, number, head)
                if head > found:  # others have appended meanwhile, perhaps more than the page shows
                    connection.execute("BEGIN")
                    number, found, _ = head_of(connection, op.stream)
                    events, head = self._events(connection, op, number, found)
            else:
                events = self._data(connection, op, number, head)
        if number is not None:
            self._heads.move(op.stream, number, head)
        return page_of(op, events, self.store_id, head, epoch)

    def _events(
        self, connection: sqlite3.Connection, op: Read, number: int | None, head: int
    ) -> tuple[Events[Any], int]:
        """The events asked for of a stream, and its version, which others may have moved on."""
        statement = sql.READ_BACKWARDS if op.backwards else sql.READ
        after = (op.after or head + 1) if op.backwards else op.after
        cursor = connection.execute(statement, (number, after, op.limit))
        rows, is_cut = of_one_page(cursor, data=4, rest=6)
        versions = [row[0] for row in rows]
        check_positions([row[2] for row in rows])
        if op.backwards:
            newest = max([min(after - 1, head), *versions[:1]])
            first = newest - (len(rows) if is_cut else min(op.limit, newest)) + 1
            check_complete(op.stream, versions[::-1], first, newest)
        else:
            check_complete(op.stream, versions, op.after + 1, head)
        kinds = kinds_of(connection, self._kinds, [row[1] for row in rows])
        events: Events[Any] = Events(records_of(op.stream, rows), self.codec, kinds)
        return events, max([head, *versions[:1], *versions[-1:]])

    def _data(
        self, connection: sqlite3.Connection, op: Read, number: int | None, head: int
    ) -> Events[Any]:
        """The data of those that are asked for of a stream that is at a version."""
        count = max(min(op.limit, head - op.after), 0)
        cursor = connection.execute(sql.READ_DATA, (number, op.after, op.after + count))
        rows, is_cut = of_one_page(cursor, data=1)
        if is_cut:  # a hole among them is found by their checksums, as each has its version in it
            count = len(rows)
        check_count(op.stream, len(rows), op.after + 1, count)
        kind_ids, datas, data_crcs = columns(rows, 3)
        kinds = kinds_of(connection, self._kinds, kind_ids)
        versions = range(op.after + 1, op.after + count + 1)
        streams = [op.stream] * count
        return EventsData((streams, versions, kind_ids, datas, data_crcs), kinds, self.codec)

    @on(Head)
    def head(self, op: Head) -> int:
        """The version of a stream."""
        check(op)
        with self._file.reading() as connection:
            return head_of(connection, op.stream)[1]

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        """A page of the feed."""
        check(op)
        after = op.after.check(self.store_id)
        is_all = not op.prefix and op.types is None
        with self._file.reading() as connection:
            end, epoch = end_of(connection)
            epochs = self._epoch(connection, epoch)
            epoch = epochs.current
            if epoch != op.after.epoch:
                epochs.check(op.after)
            check_end(op, end)
            if is_all and not op.whole:
                events, last = self._feed_data(connection, op, after, min(after + op.limit, end))
            else:
                events, last = self._feed(connection, op, after, min(after + MAX_PAGE, end))
        at = partial(Cursor, self.store_id, epoch=epoch)
        return FeedPage(events, at(last), at(end))

    def _feed(
        self, connection: sqlite3.Connection, op: ReadFeed, after: int, until: int
    ) -> tuple[Events[Any], int]:
        """The events that are asked for of the feed, and the last position that was looked at."""
        wanted = {
            "after": after,
            "until": until,
            "limit": op.limit,
            "prefix": op.prefix,
            "beyond": op.prefix[:-1] + chr(ord("/") + 1),
            "types": None if op.types is None else json.dumps(sorted(op.types)),
        }
        rows, is_full = of_one_page(connection.execute(sql.FEED, wanted), data=5, rest=7)
        check_streams([row[1] for row in rows])
        check_positions([row[0] for row in rows])
        if not op.prefix and op.types is None:
            check_complete("the feed", [row[0] for row in rows], after + 1, until)
        kinds = kinds_of(connection, self._kinds, [row[3] for row in rows])
        last = rows[-1][0] if is_full or len(rows) == op.limit else max(after, until)
        shown = shown_of(op, [row[1] for row in rows])
        if shown is not None:
            rows = [*compress(rows, shown)]
        return Events(rows, self.codec, kinds), last

    def _feed_data(
        self, connection: sqlite3.Connection, op: ReadFeed, after: int, last: int
    ) -> tuple[Events[Any], int]:
        """The data of the events of the feed from one position to another, and the last of those."""
        rows, is_cut = of_one_page(connection.execute(sql.FEED_DATA, (after, last)), data=3)
        count = len(rows)
        if is_cut:
            last = after + count
            ((count,),) = connection.execute(sql.COUNT, (after, last)).fetchall()
        check_count("the feed", count, after + 1, last - after)
        found = columns(rows, 5)
        check_streams(found[0])
        shown = shown_of(op, found[0])
        if shown is not None:
            found = tuple(tuple(compress(column, shown)) for column in found)
        return EventsData(found, kinds_of(connection, self._kinds, found[2]), self.codec), last

    # --- tags

    @on(ReadTagged)
    def read_tagged(self, op: ReadTagged) -> FeedPage[Any]:
        """A page of a boundary's events."""
        check_tagged(op)
        after = op.after.check(self.store_id)
        items = items_of(op.boundary, self.codec, self._ids.key)
        with self._file.reading() as connection:
            connection.execute("BEGIN")  # all that is looked at is of one moment
            end, epoch = end_of(connection)
            epochs = self._epoch(connection, epoch)
            epochs.check(op.after)
            check_end(op, end)
            last = last_to_look_at(items, after, end)
            found = positions(connection, known_types(connection, items), items, after, last)
            rows, is_full = page(connection, found, op.limit)
            kinds = kinds_of(connection, self._kinds, [row[3] for row in rows])
        at = partial(Cursor, self.store_id, epoch=epochs.current)
        return FeedPage(Events(rows, self.codec, kinds), at(rows[-1][0] if is_full else last), at(end))

    @on(IndexTags)
    def index_tags(self, op: IndexTags) -> Indexed:
        """Gives stored events the tags of their types, some at a time."""
        types = check_indexing(op, self.codec)

        def work(connection: sqlite3.Connection) -> Indexed:
            return index(connection, op, types, self.codec, self._kinds.copy(), self._ids.key)

        return self._file.writing().run(work)

    @on(IndexTags).coroutine
    async def index_tags_async(self, op: IndexTags) -> Indexed:
        """Gives stored events the tags of their types, some at a time."""
        from asyncio import to_thread

        return await to_thread(self.index_tags, op)

    # --- snapshots

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        check(op)
        with self._file.reading() as connection:
            key = op.stream, op.fold, op.fold_version
            row = connection.execute(sql.LOAD_SNAPSHOT, key).fetchone()
        if row is None:
            return None
        if [*map(type, row)] != [int, bytes]:
            raise Corrupted(f"the snapshot of {op.stream} for {op.fold} is damaged")
        return Snapshot(*key, *row)

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        self._save(op)

    @on(SaveSnapshot).coroutine
    async def save_snapshot_async(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot unless there is a newer one."""
        from asyncio import to_thread

        await to_thread(self._save, op)

    def _save(self, op: SaveSnapshot) -> None:
        check(op)
        kept = op.snapshot
        row = {
            "stream": kept.stream,
            "fold": kept.fold,
            "fold_version": kept.fold_version,
            "version": kept.version,
            "data": kept.data,
        }
        self._file.writing().run(lambda connection: connection.execute(sql.SAVE_SNAPSHOT, row))

    def _find_end(self) -> tuple[int, Epochs]:
        with self._file.reading() as connection:
            return end_of(connection)[0], epochs_of(connection)

    def _find_identity(self) -> tuple[str, OwnIds]:
        """The store's id, which its first opening makes up, and what makes the ids of appends."""
        with self._file.reading() as connection:
            row = connection.execute(sql.STORE).fetchone()
        if row is None:
            row = self._file.writing().run(_named)
        store_id, key = row
        if type(store_id) is not str:
            raise Corrupted(f"the store's id is {store_id!r:.100}: the file is damaged")
        if type(key) is not bytes or not 1 <= len(key) <= 64:
            raise Corrupted("the store's key is no bytes: the file is damaged")
        return store_id, OwnIds(key)


def _named(connection: sqlite3.Connection) -> tuple[Any, Any]:
    """The store's id and key, made up unless others have done so meanwhile."""
    if connection.execute(sql.STORE).fetchone() is None:
        connection.execute(sql.ADD_STORE, (secrets.token_hex(8),))
    return connection.execute(sql.STORE).fetchone()  # type: ignore[no-any-return]


def _interrupted(job: _Job) -> _Answer:
    return Failure(Unknown(job.asked.append_id, "the thread that was committing it was interrupted"))
