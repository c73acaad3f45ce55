"""The questions that a Postgres store asks, and what the answers mean."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress, takewhile
from typing import Any, Final
from uuid import UUID

from returns.result import Failure, Success

from eventsrc._clock import monotonic
from eventsrc.events.codec import Codec, Kind
from eventsrc.events.epochs import COPY, FIRST, Epochs, WrongEpoch
from eventsrc.events.event import EventType
from eventsrc.events.pages import Events, EventsData, decoded
from eventsrc.events.positions import BadCursor, Cursor, Token, WrongStore
from eventsrc.events.record import LOST_KIND, Corrupted, Record, make_records
from eventsrc.events.stream_id import StreamId
from eventsrc.postgres import _sql as sql
from eventsrc.postgres._conversation import Conversation, Rows, Statement, StoreIdentity, array
from eventsrc.postgres._errors import before_storing
from eventsrc.postgres._group import PlainAppends, Recent, StreamHeads
from eventsrc.postgres._schema import Tables
from eventsrc.postgres._tagging import (
    Conditions,
    TaggedKinds,
    is_tagged,
    of_group,
    of_items,
    of_one,
    texts,
)
from eventsrc.stores._group_commit import ToRaise
from eventsrc.stores._ids import OwnIds
from eventsrc.stores._known import Heads, Kinds
from eventsrc.stores._tagging import check_indexing, items_of, stored_tags
from eventsrc.stores.copying import (
    EndCopy,
    GetIdentity,
    Identity,
    KeepRecords,
    NotACopy,
    check_versions,
    keeping,
    refuse_append,
)
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    MAX_PAGE,
    MAX_PAGE_BYTES,
    Appended,
    AppendOutcome,
    Conflict,
    Expect,
    FeedPage,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    Lost,
    Page,
    RaiseEpoch,
    Read,
    ReadFeed,
    Refused,
    SaveSnapshot,
    Snapshot,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreReadOnly,
    Unknown,
    Unreachable,
    is_met,
    passing,
)
from eventsrc.stores.prepare import (
    Part,
    Prepared,
    appended,
    changed,
    check_end,
    check_seen,
    microseconds,
    page_of,
    shown_of,
)
from eventsrc.stores.requests import check_request
from eventsrc.stores.tags import Indexed, IndexTags, NotIndexed, ReadTagged

LARGEST: Final = 16 * 1024 * 1024
"""The most bytes of data that appends may have together to travel in one statement."""

LIGHT: Final = 1024 * 1024
"""The most bytes of data of an append that travels with others; heavier ones go alone, last."""

WINDOW: Final = 20_000
"""The positions of the feed that one statement looks at when it searches for some of the events."""

_WINDOWS: Final = 5
"""The most such statements that a page of the feed takes."""

_LEISURE: Final = 0.25
"""For how many seconds a page of the feed is searched for at most; another goes on from there."""

_FOR_ALL: Final = (StoreBusy, StoreClosed, StoreReadOnly, Unreachable)
"""Errors of all appends of a statement; another StoreError may be that of one of them."""

_EXPECT: Final = {Expect.ANY: -1, Expect.EXISTS: -2, Expect.NO_STREAM: 0}


class Questions:
    """The questions of one store, and what it has learnt of its tables.

    timeout: how many seconds an operation may take.
    is_lean: whether the sessions say how long to wait for others, so that statements need not.
    """

    def __init__(
        self,
        schema: str,
        codec: Codec,
        clock: Callable[[], float],
        timeout: float = math.inf,
        *,
        is_lean: bool = True,
    ) -> None:
        self._tables = Tables(schema, sql.SCRIPTS, mark="event")
        self._ask = self._tables.ask
        self.codec: Final = codec
        self.store_id = ""
        self._ids = OwnIds(b"-")  # until it is opened
        self.end = 0
        """The last position that is known; less than the store's, unless that went back unseen."""
        self._clock = clock
        self._timeout = timeout
        self._is_lean = is_lean
        self._outside: Questions | None = None
        """The store's own, of those in a user's transaction."""
        self._kinds = Kinds()
        self._tagged = TaggedKinds()
        self._heads = Heads()
        self._recent = Recent()
        self._losses = 0
        self._are_large = False
        """Whether the events of the last page were too large for the statement that is faster."""
        self._epochs = FIRST
        self._number = FIRST.current
        """The greatest number in the table of epochs, when it was looked at last."""

    def in_transaction(self) -> Questions:
        """The questions in a user's transaction: nothing that is seen there is committed yet."""
        questions = Questions(
            self._tables.schema, self.codec, self._clock, self._timeout, is_lean=False
        )
        questions.store_id, questions._ids = self.store_id, self._ids
        questions._outside = self
        questions._forget_uncommitted()
        return questions

    def _forget_uncommitted(self) -> None:
        """Goes by what is committed: the user may have rolled back to a savepoint since."""
        if self._outside is not None:
            self.end, self._epochs = self._outside.end, self._outside._epochs
            self._number = self._outside._number
            self._kinds = self._outside._kinds.copy()
            self._tagged = self._outside._tagged.copy()

    def identity(self) -> StoreIdentity:
        """The store to which a user's connection must lead."""
        return StoreIdentity(self._ask(sql.HOME, ()), self.store_id)

    @property
    def key(self) -> bytes:
        """The store's secret."""
        return self._ids.key

    def holders(self) -> Statement:
        """Asks who has the order lock: see who_holds."""
        return self._tables.holders()

    def forget_heads(self) -> None:
        """Forgets what is known of streams: a server that comes back may have lost what it had told."""
        self._losses += 1
        self.end = 0
        self._heads.clear()
        self._recent.forget_all()

    # --- opening

    def opening(self) -> Conversation[bool]:
        """Finds the store and what is in it; answers whether its tables are there and up to date."""
        if not (yield from self._tables.are_current()):
            return False
        ((self.store_id, key, self.end),) = yield self._ask(sql.STORE)
        self._ids = OwnIds(key)
        yield from self._learn_kinds()
        yield from self.learning_epochs()
        return True

    def migrating(self) -> Conversation[None]:
        """Makes the tables, or brings them up to date, in one transaction."""
        if not (yield from self._tables.migrate()):
            yield self._ask(sql.ADD_STORE, (secrets.token_hex(8),))

    # --- epochs

    def learning_epochs(self) -> Conversation[Epochs]:
        """The epochs of the store."""
        rows = yield self._ask(sql.EPOCHS)
        epochs = Epochs.stored((number, position) for number, position in rows)
        if epochs.current != self._epochs.current:  # restored or emptied: its rows may be others
            self._kinds = Kinds()  # a new one: pages that were read keep theirs
            yield from self._learn_kinds()
            self.forget_heads()
        self._epochs = epochs
        self._number = COPY if epochs.is_copy else epochs.current
        return epochs

    def getting_epochs(self, _: GetEpochs) -> Conversation[Epochs]:
        """The epochs of the store."""
        return self.learning_epochs()

    def raising_epoch(self, _: RaiseEpoch) -> Conversation[int]:
        """Begins another epoch; answers its number."""
        refuse_append((yield from self.learning_epochs()))
        least = microseconds(self._clock) // 1000
        ((number,),) = yield self._ask(sql.RAISE_EPOCH, (0, least), takes_lock_timeout=True)
        yield from self.learning_epochs()
        return int(number)

    # --- copies

    def getting_identity(self, _: GetIdentity) -> Conversation[Identity]:
        """The store's id, its secret and its epochs."""
        own = yield from self._identity()
        return Identity(own.store_id, own.secret, Epochs(own.epochs.begins))

    def _identity(self) -> Conversation[Identity]:
        ((store_id, key, self.end),) = yield self._ask(sql.STORE, ())
        if store_id != self.store_id:  # it has become a copy since it was opened
            self.store_id, self._ids = store_id, OwnIds(key)
            self.forget_heads()
        return Identity(store_id, key, (yield from self.learning_epochs()))

    def _check_identity(self) -> Conversation[None]:
        """Raises StoreClosed if a store that was empty has become a copy of another since."""
        ((store_id, _, _),) = yield self._ask(sql.STORE, ())
        if store_id != self.store_id:
            raise StoreClosed(
                f"the store was {self.store_id!r}, and is a copy of {store_id!r} now: open it again"
            )

    def keeping(self, op: KeepRecords) -> Conversation[int]:
        """Keeps records as another store has them, in one transaction."""
        yield self._ask(sql.WAIT_IN_TRANSACTION, (0,), takes_lock_timeout=True)
        own = yield from self._identity()
        end = self.end
        first = op.records[0].position if op.records else end + 1
        kept: list[Record] = []
        if first <= end:
            last = min(end, op.records[-1].position)
            rows = yield self._ask(sql.RECORDS, (first, last))
            kept = [Record._make(record) for record in (yield from self._records(rows, None))]
        todo = keeping(op, own, end, lambda _first, _last: kept)
        if todo.is_new:
            yield self._ask(sql.SET_STORE, (op.identity.store_id, op.identity.secret))
        if todo.epochs != own.epochs:
            yield from self._set_epochs(todo.epochs)
        if todo.records:
            yield from self._insert(todo.records, OwnIds(op.identity.secret))
        yield from self._identity()
        return end + len(todo.records)

    def ending_copy(self, op: EndCopy) -> Conversation[int]:
        """Makes a copy a store that takes appends, in one transaction."""
        yield self._ask(sql.WAIT_IN_TRANSACTION, (0,), takes_lock_timeout=True)
        epochs = (yield from self._identity()).epochs
        if epochs.is_copy:
            begins = epochs.begins
            if op.raise_epoch:
                begins = (*begins, epochs.next(self.end, microseconds(self._clock)))
            yield from self._set_epochs(Epochs(begins))
            epochs = yield from self.learning_epochs()
        return epochs.current

    def _set_epochs(self, epochs: Epochs) -> Conversation[None]:
        begins = [*epochs.begins, (COPY, 0)] if epochs.is_copy else epochs.begins
        yield self._ask(sql.CLEAR_EPOCHS, ())
        yield self._ask(sql.ADD_EPOCHS, tuple(map(array, zip(*begins, strict=True))))

    def _insert(self, records: Sequence[Record], ids: OwnIds) -> Conversation[None]:
        streams = [*dict.fromkeys(record.stream for record in records)]
        rows = yield self._ask(sql.HEADS, (streams,))
        heads = {name: version for name, _, version in rows}
        check_versions(records, lambda stream: heads.get(stream, 0))
        yield self._ask(sql.ADD_STREAMS, ([name for name in streams if name not in heads],))
        kinds = {record.kind for record in records}
        types, schemas, codecs = zip(*sorted(kinds), strict=True)
        columns = list(types), array(schemas), list(codecs)
        yield self._ask(sql.ADD_KINDS, (0, *columns), takes_lock_timeout=True)
        rows = yield self._ask(sql.HEADS, (streams,))
        numbers = {name: number for name, number, _ in rows}
        yield from self._learn_kinds()
        # they come without their tags
        yield self._ask(sql.OPEN, (array({self._kinds.numbers[kind] for kind in kinds}),))
        for portion in _by_size(records):
            positions, names, versions, of, times, datas, crcs, rests = zip(*portion, strict=True)
            yield self._ask(
                sql.ADD_EVENTS,
                (
                    array(positions),
                    array(numbers[name] for name in names),
                    array(versions),
                    array(self._kinds.numbers[kind] for kind in of),
                    array(times),
                    list(datas),
                    array(crcs),
                    list(rests),
                ),
            )
        firsts = [record for record in records if not record.offset]
        indexed = [record for record in firsts if not _is_near(record, ids)]
        ids_of = [record.append_id for record in indexed]
        try:
            yield self._ask(sql.ADD_APPENDS, (ids_of, array(record.position for record in indexed)))
        except Refused:
            raise NotACopy("two appends of the records have one id: the store is damaged") from None

    def _of_this_epoch(
        self,
        group: Sequence[Prepared],
        indexes: Sequence[int],
        answers: dict[int, AppendOutcome | ToRaise],
    ) -> Conversation[Sequence[int]]:
        """The appends that expect no token which saw what the store does not have any more.

        The others are answered with WrongEpoch.
        """
        left: list[int] = []
        for index in indexes:
            try:
                for stream, version, epoch in group[index].of_other_epochs(self._epochs.current):
                    rows = yield self._ask(sql.POSITION, (stream, version))
                    check_seen(self._epochs, epoch, stream, version, rows[0][0] if rows else None)
                left.append(index)
            except WrongEpoch as error:
                answers[index] = ToRaise(error)
        return left

    # --- appending

    def appending(self, group: Sequence[Prepared]) -> Conversation[list[AppendOutcome | ToRaise]]:
        """Stores appends that came together, each for itself, and answers them in their order."""
        self._forget_uncommitted()
        if not self.end and self._outside is None:
            yield from self._check_identity()
        now = microseconds(self._clock)
        if len(group) == 1 and self._is_lean:
            answer = yield from self._append_alone(group[0], now)
            if answer is not None:
                return [answer]
        answers: dict[int, AppendOutcome | ToRaise] = {}
        try:
            with before_storing():
                yield from self._number_kinds(group)
            for portion in _portions(group):
                yield from self._append_portion(group, portion, now, answers)
        except StoreError as error:  # those that have no answer are not stored
            if not answers:
                raise
            answers |= {each: ToRaise(error) for each in range(len(group)) if each not in answers}
        except Exception as error:  # of a signal's handler, say: what was sent may be stored
            _break_off(group, answers, error)
        return [answers[index] for index in range(len(group))]

    def _append_portion(
        self,
        group: Sequence[Prepared],
        portion: Sequence[int],
        now: int,
        answers: dict[int, AppendOutcome | ToRaise],
    ) -> Conversation[None]:
        """Stores those appends of a group that travel in one statement, and answers them."""
        if self._is_lean:  # an index that refuses an event would end a joined transaction
            yield from self._append_known(group, portion, now, answers)
        left = [index for index in portion if index not in answers]
        if left:
            yield from self._append(group, left, now, answers)

    def _append_alone(self, asked: Prepared, now: int) -> Conversation[AppendOutcome | ToRaise | None]:
        """Appends one event to a stream whose head is known, in one statement; None if that won't do.

        If others have moved the head, the index of streams and versions refuses the event.
        """
        part = asked.parts[0]
        if asked.is_keyed or asked.demands or len(asked.parts) > 1 or len(part.events) > 1:
            return None
        more: tuple[Any, ...] = ()
        if is_tagged(asked):
            conditions = self._known_conditions(asked)
            if conditions is None:
                return None
            more = of_one(asked, conditions, self._tagged.seen)
        number, version = self._heads.of(part.stream)
        kind = self._kinds.numbers.get(part.events[0].kind)
        epoch = self._epochs.current
        if not version or kind is None or not is_met(part.expected, version):
            return None
        if part.epoch not in (0, epoch):
            return None
        position = self.end + 1
        asked.append_id = self._ids.naming(asked.append_id, position)
        (record,) = make_records(
            0, part.stream, version + 1, asked.append_id.bytes, 0, part.events, asked.metadata, now
        )
        row = number, version + 1, kind, *record[4:], epoch, position, position + sql.REACH
        try:
            statement = sql.APPEND_TAGGED_ONE if more else sql.APPEND_ONE
            rows = yield self._ask(statement, row + more, uses_cached_heads=True)
        except Refused:
            self._heads.forget(part.stream)
            return None
        except Lost as lost:
            self._heads.forget(part.stream)
            return Failure(Unknown(asked.append_id, str(lost)))
        if not rows:  # others have begun another epoch
            return None
        ((position,),) = rows
        if position < 0:
            return (yield from self._changed(asked, -position - 1))
        self.end = max(self.end, position)
        self._heads.move(part.stream, number, version + 1)
        self._recent.add(position, (record,))
        token = Token(self.store_id, {part.stream: version + 1}, epoch)
        return Success(Appended(asked.append_id, token, Cursor(self.store_id, position, epoch)))

    def _append_known(
        self,
        group: Sequence[Prepared],
        portion: Sequence[int],
        now: int,
        answers: dict[int, AppendOutcome | ToRaise],
    ) -> Conversation[None]:
        """Stores those appends whose streams have heads that are known, and answers them.

        If others have moved a head, the indexes refuse all; they are then left. Those who expect a
        version that their stream has left are told what has come since.
        """
        losses = self._losses
        epoch = self._epochs.current
        simple = [(index, group[index]) for index in portion if _is_simple(group[index], epoch)]
        heads = yield from self._heads_of([asked.parts[0].stream for _, asked in simple])
        together = PlainAppends(simple, heads, now, self._ids, self.end)
        moved: set[StreamId] = set()
        if together.records and losses == self._losses:
            moved = yield from self._append_together(together, epoch, answers)
        conflicts: dict[tuple[StreamId, int], Conflict | None] = {}
        for index, stream, expected in together.outdated:
            if (stream, expected) not in conflicts:
                conflict = self._overtaken(stream, expected) if stream in moved else None
                conflicts[stream, expected] = conflict or (yield from self._outdated(stream, expected))
            if (conflict := conflicts[stream, expected]) is not None:
                answers[index] = Failure(conflict)

    def _heads_of(self, streams: Sequence[StreamId]) -> Conversation[StreamHeads]:
        """The heads of streams, as far as they are known or, for several streams, can be asked for."""
        heads: StreamHeads = {}
        unknown: StreamHeads = {}
        for stream in streams:
            number, version = self._heads.of(stream)
            (heads if version else unknown)[stream] = number, version
        if unknown and len(streams) > 1:
            with contextlib.suppress(StoreError):  # they can be stored without
                rows = yield self._ask(sql.HEADS, ([str(stream) for stream in unknown],))
                heads |= unknown
                heads |= {StreamId(name): (number, version) for name, number, version in rows}
        return heads

    def _append_together(
        self, together: PlainAppends, epoch: int, answers: dict[int, AppendOutcome | ToRaise]
    ) -> Conversation[set[StreamId]]:
        """Stores appends by one statement and answers them, unless it fails for one of them.

        Answers which streams were appended to.
        """
        streams = together.streams()
        try:
            parameters = epoch, together.foretold, *together.parameters(self._kinds.numbers)
            ((numbers,),) = yield self._ask(sql.APPEND_KNOWN, parameters, uses_cached_heads=True)
        except Refused:
            for stream in streams:
                self._heads.forget(stream)
        except Lost as lost:
            for stream in streams:
                self._heads.forget(stream)
            answers |= together.unknown(str(lost))
        except StoreError as error:
            indexes = together.indexes()
            if len(indexes) == 1 or isinstance(error, _FOR_ALL):
                answers |= dict.fromkeys(indexes, ToRaise(error))
            # or else the other statement tells whose error it is
        else:
            if not numbers:  # others have begun another epoch
                return set()
            position, *new = numbers
            self.end = max(self.end, position + len(together.records))
            for stream, head in together.heads(new).items():
                self._heads.move(stream, *head)
            self._recent.add(position, together.records)
            answers |= together.answers(self.store_id, epoch, position)
            return streams
        return set()

    def _overtaken(self, stream: StreamId, expected: int) -> Conflict | None:
        """The conflict of an append to a stream that was just brought further, if that is known."""
        _, head = self._heads.of(stream)
        seen = self._recent.between(stream, expected, head)
        if not seen:
            return None
        events: Events[Any] = Events(seen[:CONFLICT_EVENTS], self.codec)
        return Conflict(stream, expected, head, events)

    def _outdated(self, stream: StreamId, expected: int) -> Conversation[Conflict | None]:
        """The conflict of an append that expects a version; None if it may be none after all.

        One query tells all who expect the same what has come since, and nobody waits for the lock.
        """
        with contextlib.suppress(StoreError):
            page = yield from self.reading(Read(stream, expected, CONFLICT_EVENTS))
            if page.head > expected and page.token.epoch == self._epochs.current:
                return Conflict(stream, expected, page.head, page.events)
        return None

    def _append(
        self,
        group: Sequence[Prepared],
        indexes: Sequence[int],
        now: int,
        answers: dict[int, AppendOutcome | ToRaise],
    ) -> Conversation[None]:
        """Stores any appends, whose conditions Postgres decides, and answers them."""
        asked: list[Prepared] = []
        try:
            with before_storing():
                indexes = yield from self._of_this_epoch(group, indexes, answers)
                indexes = yield from self._indexed(group, indexes, answers)
                asked = [group[index] for index in indexes]
                if not asked:
                    return
                yield from self._number_kinds(asked)  # which another epoch may have made unknown
            statement, parameters = sql.APPEND, self._arrays(asked, now)
            if any(map(is_tagged, asked)):
                conditions = [self._conditions(one) for one in asked]
                parameters += of_group(asked, conditions, self._tagged.seen)
                statement = sql.APPEND_TAGGED
            rows = yield self._ask(statement, parameters, takes_lock_timeout=True)
        except Lost as lost:
            answers |= {i: Failure(Unknown(group[i].append_id, str(lost))) for i in indexes}
            return
        except StoreError as error:  # nothing is stored; what is no StoreError does not say that
            if len(indexes) == 1 or isinstance(error, _FOR_ALL):
                answers |= {index: ToRaise(error) for index in indexes}
                return
            half = len(indexes) // 2
            yield from self._append(group, indexes[:half], now, answers)
            yield from self._append(group, indexes[half:], now, answers)
            return
        if rows and rows[0][1] == "epoch":  # others have begun another, or it is a copy
            with before_storing():
                epochs = yield from self.learning_epochs()
            if epochs.is_copy:
                for index in indexes:
                    answers[index] = yield from self._again_or_refused(group[index])
                return
            yield from self._append(group, indexes, now, answers)
            return
        if rows and rows[0][1] == "kinds":  # others have numbered some, or given some their tags
            with before_storing():
                yield from self._learn_kinds()
            yield from self._append(group, indexes, now, answers)
            return
        rows_of: dict[int, Rows] = defaultdict(list)
        for row in rows:
            rows_of[row[0]].append(row[1:])
        for offset, index in enumerate(indexes):
            answers[index] = yield from self._answer(asked[offset], rows_of[offset])

    def _again_or_refused(self, asked: Prepared) -> Conversation[AppendOutcome | ToRaise]:
        """The answer to an append to a copy, which takes none but knows those that it has."""
        try:
            refuse_append(self._epochs)
        except StoreError as error:
            return (yield from self._again_or(asked, error))
        raise AssertionError("a copy took an append")

    def _again_or(
        self, asked: Prepared, error: StoreError | WrongEpoch
    ) -> Conversation[AppendOutcome | ToRaise]:
        """The answer to an append that is refused, unless it is stored already."""
        try:
            if asked.is_keyed:
                with before_storing():
                    stored = yield from self._stored_of(asked.append_id)
                if stored:
                    return asked.again(stored, self.store_id, self._epochs.current)
        except StoreError as other:
            return ToRaise(other)
        return ToRaise(error)

    def _arrays(self, group: Sequence[Prepared], now: int) -> tuple[Any, ...]:
        """The parameters of the function `append`."""
        positions: list[int | None] = []
        records: list[Record] = []
        for asked in group:
            if asked.is_keyed:
                positions.append(self._ids.position(asked.append_id))
            else:
                positions.append(position := self.end + len(records) + 1)
                asked.append_id = self._ids.naming(asked.append_id, position)
            records += asked.records(0, lambda _: 0, now)
        parts = [part for asked in group for part in asked.streams]
        return (
            0,  # for how long to wait: see Statement
            self._epochs.current,
            now,
            [asked.append_id.bytes for asked in group],
            [asked.is_keyed for asked in group],
            array(positions),
            array(len(asked.streams) for asked in group),
            [str(part.stream) for part in parts],
            array(e if isinstance(e := part.expected, int) else _EXPECT[e] for part in parts),
            array(len(part.events) if isinstance(part, Part) else 0 for part in parts),
            array(self._kinds.numbers[record.kind] for record in records),
            [record.data for record in records],
            array(record.data_crc ^ record.version for record in records),
            [record.rest for record in records],
        )

    def _answer(self, asked: Prepared, rows: Rows) -> Conversation[AppendOutcome | ToRaise]:
        """The answer to one append, from its rows of the function `append`."""
        outcome, index, _, version, position = rows[0]
        if outcome == "again":
            try:
                stored = yield from self._records_of(asked.append_id.bytes, position)
            except StoreError as error:  # others of its statement are stored, and must be told so
                return Failure(Unknown(asked.append_id, str(error)))
            return asked.again(stored, self.store_id, self._epochs.current)
        if outcome == "conflict":
            unmet = asked.streams[index]
            return Failure((yield from self._conflict(unmet.stream, unmet.expected, version)))
        if outcome in ("changed", "beyond"):
            return (yield from self._changed(asked, index))
        versions: dict[StreamId, int] = {}
        for _, index, number, version, position in rows:  # noqa: B007 - the last is used
            stream = asked.parts[index].stream
            versions[stream] = version
            self._heads.move(stream, number, version)
        self.end = max(self.end, position)
        epoch = self._epochs.current
        cursor = Cursor(self.store_id, position, epoch)
        return Success(Appended(asked.append_id, Token(self.store_id, versions, epoch), cursor))

    def _conflict(
        self, stream: StreamId, expected: int | Expect, actual: int
    ) -> Conversation[Conflict]:
        events: Sequence[Any] = ()
        if isinstance(expected, int) and expected < actual:
            wanted = min(CONFLICT_EVENTS, actual - expected)
            with contextlib.suppress(StoreError):  # a conflict without its events is one as well
                events = (yield from self.reading(Read(stream, expected, wanted))).events
        return Conflict(stream, expected, actual, events)

    def finding(self, op: FindAppend) -> Conversation[Appended | None]:
        """Finds an append. One that waits in the server to be stored is waited for."""
        append_id = op.append_id
        wait = sql.WAIT_IN_TRANSACTION if self._outside is not None else sql.WAIT
        yield self._ask(wait, (0,), takes_lock_timeout=True)
        stored = yield from self._stored_of(append_id)
        if not stored:
            return None
        epochs = yield from self.learning_epochs()
        check_request(op.request, append_id, stored[0].metadata, self.key)
        return appended(append_id, stored, self.store_id, epochs.current)

    def _stored_of(self, append_id: UUID) -> Conversation[list[Record]]:
        """The records of an append; none if it is not stored."""
        key = append_id.bytes
        rows = yield self._ask(sql.FIND_KEYED, (key,))
        if not rows and (position := self._ids.position(append_id)) is not None:
            rows = yield self._ask(sql.FIND_OWN, (position, position + sql.REACH, key + bytes(4)))
        return (yield from self._records_of(key, rows[0][0])) if rows else []

    def _records_of(self, append_id: bytes, position: int) -> Conversation[list[Record]]:
        """The records of an append that begins at a position, and at most nine times as many rows."""
        found: list[Record] = []
        while True:
            limit = min(8 * len(found) + 4, 1000)
            rows = yield self._ask(sql.OF_APPEND, (position + len(found), limit))
            page = yield from self._records(rows, None)
            part = [Record._make(record) for record in page]
            part = list(takewhile(lambda record: record.append_id == append_id, part))
            found += part
            if len(part) < limit:
                return found

    # --- tags

    def _known_conditions(self, asked: Prepared) -> Conditions | None:
        """The boundaries of an append, if they can be told by what is known here."""
        current = self._epochs.current
        try:
            for bound in asked.bounds:
                if bound.cursor.epoch != current and bound.cursor.position:
                    return None
            return self._conditions(asked)
        except NotIndexed:
            return None

    def _conditions(self, asked: Prepared) -> Conditions:
        """The boundaries of an append. Raises NotIndexed."""
        kinds = self._kinds.kinds
        return [
            (bound.cursor.position, self._tagged.choose(bound.items, kinds)) for bound in asked.bounds
        ]

    def _indexed(
        self,
        group: Sequence[Prepared],
        indexes: Sequence[int],
        answers: dict[int, AppendOutcome | ToRaise],
    ) -> Conversation[Sequence[int]]:
        """The appends whose boundaries can be told; the others are answered with why not."""
        with_bounds = [group[index] for index in indexes if group[index].bounds]
        if not with_bounds:
            return indexes
        if any(self._known_conditions(asked) is None for asked in with_bounds):
            yield from self._learn_kinds()
        left: list[int] = []
        for index in indexes:
            try:
                for bound in group[index].bounds:
                    self._epochs.check(bound.cursor)
                self._conditions(group[index])
                left.append(index)
            except (NotIndexed, WrongEpoch) as error:
                answers[index] = yield from self._again_or(group[index], error)
        return left

    def _changed(self, asked: Prepared, nth: int) -> Conversation[AppendOutcome | ToRaise]:
        """The answer to an append for which one of its boundaries has changed: nothing is stored."""
        bound = asked.bounds[nth]
        op = ReadTagged(bound.boundary, bound.cursor, CONFLICT_EVENTS)
        try:
            while True:
                page = yield from self.reading_tagged(op)
                if page.events:
                    return Failure(changed(bound.boundary, page.events))
                if page.next == page.end:  # there was one: others have emptied the store
                    return ToRaise(passing(StoreError("what was in the way is gone: try again")))
                op = ReadTagged(bound.boundary, page.next, CONFLICT_EVENTS)
        except (StoreError, WrongStore, BadCursor) as error:
            return ToRaise(error)

    def reading_tagged(self, op: ReadTagged) -> Conversation[FeedPage[Any]]:
        """A page of the events of a boundary."""
        after = op.after.check(self.store_id)
        items = items_of(op.boundary, self.codec, self.key)
        # without tags it looks at so many positions and no more
        until = after + (MAX_PAGE if any(not item.tags for item in items) else 2**62)
        wanted: dict[str, Any] = {"after": after, "until": until}
        is_learnt = False
        while True:
            try:
                chosen = self._tagged.choose(items, self._kinds.kinds)
            except NotIndexed:
                if is_learnt:
                    raise
                yield from self._learn_kinds()
                is_learnt = True
                continue
            wanted |= zip(("tags", "of", "prefixes"), of_items(chosen), strict=True)
            rows, is_cut = yield from self._page(sql.TAGGED, wanted, op.limit)
            if rows[0][0] == self._tagged.seen:
                break
            yield from self._learn_kinds()
            is_learnt = True
        rows = [row[1:] for row in rows]
        end, epoch = yield from self._end(op, rows)
        records = yield from self._records(rows, None)
        is_full = is_cut or len(records) == op.limit
        last = records[-1][0] if is_full else max(min(until, end), after)
        at = partial(Cursor, self.store_id, epoch=epoch)
        return FeedPage(Events(records, self.codec), at(last), at(end))

    def indexing(self, op: IndexTags) -> Conversation[Indexed]:
        """Gives events of a part of the feed the tags of their types, in one transaction."""
        types = check_indexing(op, self.codec)
        yield self._ask(sql.WAIT_IN_TRANSACTION, (0,), takes_lock_timeout=True)
        yield from self._identity()  # so that what is known is of this moment
        yield from self._learn_kinds()
        numbers = [number for number, kind in self._kinds.kinds.items() if kind.type in types]
        declared = [types[self._kinds.kinds[number].type].declared for number in numbers]
        rows = yield self._ask(sql.REDECLARE, (array(numbers), texts(declared)))
        others = [number for number, before in rows if before]
        if others:
            yield self._ask(sql.UNTAG, (array(others),))
        rows = yield self._ask(sql.UNFINISHED, (array(numbers),))
        until = end = self.end
        if rows:
            kinds = array(number for number, _ in rows)
            after = min(indexed for _, indexed in rows)
            until = min(after + op.limit, end)
            wanted = {"after": after, "until": until, "kinds": kinds}
            found, is_cut = yield from self._page(sql.TO_INDEX, wanted, min(op.limit, MAX_PAGE))
            found = [row[2:] for row in found if row[2] is not None]
            if is_cut or len(found) == MAX_PAGE:
                until = found[-1][0]
            yield from self._index(found, types)
            yield self._ask(sql.SET_INDEXED, (until, until == end, kinds))
        yield from self._learn_kinds()
        return Indexed(until, until == end)

    def _index(self, rows: Rows, types: Mapping[str, EventType]) -> Conversation[None]:
        if not rows:
            return
        positions, streams, versions, numbers, *columns = zip(*rows, strict=True)
        events = yield from self._data(streams, versions, numbers, *columns)
        tags = [
            (tag, position, number)
            for position, number, event in zip(positions, numbers, decoded(events), strict=True)
            for tag in stored_tags(types[self._kinds.kinds[number].type], event, self.key)
        ]
        if tags:
            of_tag, at, of_kind = zip(*tags, strict=True)
            yield self._ask(sql.ADD_TAGS, (texts(of_tag), array(at), array(of_kind)))

    # --- reading

    def reading(self, op: Read) -> Conversation[Page[Any]]:
        """A page of a stream."""
        after = op.after
        if op.backwards:
            page, after = sql.READ_BACKWARDS, op.after or 2**63 - 1
        else:
            page = sql.READ if op.whole else sql.READ_DATA
        wanted = {"stream": op.stream, "after": after, "until": min(after + op.limit, 2**63 - 1)}
        rows, is_cut = yield from self._page(page, wanted, op.limit)
        head, epoch = 0, self._epochs.current
        if rows:
            number, head, epoch = rows[0][:3]
            if epoch != self._number:
                yield from self.learning_epochs()
            epoch = self._epochs.current
            self._heads.move(op.stream, number, head)
        found = [row[3:] for row in rows if row[3] is not None]
        last = min(after - 1, head)
        count = min(op.limit, last) if op.backwards else max(min(op.limit, head - op.after), 0)
        if is_cut:
            count = min(count, len(found))
        events: Events[Any]
        if page is sql.READ_DATA:
            if len(found) != count:
                raise _missing(op.stream, op.after + 1)
            versions = range(op.after + 1, op.after + count + 1)
            columns = [*zip(*found, strict=True)] or [()] * 3
            events = yield from self._data([op.stream] * count, versions, *columns)
        else:
            records = yield from self._records(rows, op.stream)
            found_versions = [record[2] for record in records]
            if op.backwards:
                _check_complete(op.stream, found_versions[::-1], last - count + 1, last)
            else:
                _check_complete(op.stream, found_versions, op.after + 1, op.after + count)
            events = Events(records, self.codec)
        return page_of(op, events, self.store_id, head, epoch)

    def _page(
        self,
        page: sql.PageOf,
        wanted: dict[str, Any],
        limit: int,
        room: int = MAX_PAGE_BYTES,
        least: int = 1,
    ) -> Conversation[tuple[Rows, bool]]:
        """The rows of a page, and whether more of them were asked for than it holds.

        limit, room: the most events, and bytes of them. least: so many come, however large.
        """
        wanted |= {"limit": limit, "room": room, "least": least}
        share = room // limit if limit > least else 2**62
        if not self._are_large:
            rows = yield self._ask(page.of_small, wanted | {"share": share})
            if not any(map(_lacks_data, rows)):
                return rows, False
        rows = yield self._ask(page.of_any, wanted)
        self._are_large = any(len(row[-1] or b"") > share // 2 for row in rows)
        is_cut = any(map(_lacks_data, rows[-1:]))
        return (rows[:-1] if is_cut else rows), is_cut

    def reading_several(self, ops: Sequence[Read]) -> Conversation[list[Page[Any]]]:
        """Pages of streams: as many by one statement as have room in it."""
        pages: dict[int, Page[Any]] = {}
        for portion in _together(ops):
            some = [ops[index] for index in portion]
            wanted: tuple[Any, ...] = [op.stream for op in some], array(op.after for op in some)
            wanted += array(op.limit for op in some), MAX_PAGE_BYTES
            rows = yield self._ask(sql.READ_SEVERAL, wanted)
            if rows[0][3] != self._number:
                yield from self.learning_epochs()
            rows_of: dict[int, Rows] = defaultdict(list)
            for row in rows:
                rows_of[row[0]].append(row[1:])
            for nth, index in enumerate(portion, 1):
                page = yield from self._page_of(ops[index], rows_of[nth])
                if page is not None:
                    pages[index] = page
        for index, op in enumerate(ops):
            if index not in pages:
                pages[index] = yield from self.reading(op)
        return [pages[index] for index in range(len(ops))]

    def _page_of(self, op: Read, rows: Rows) -> Conversation[Page[Any] | None]:
        """The page of one of several streams; None if not all of it had room."""
        number, head = rows[0][:2]
        records = yield from self._records(rows, op.stream)
        if len(records) < min(op.limit, head - op.after):
            return None
        _check_complete(
            op.stream, [record[2] for record in records], op.after + 1, op.after + len(records)
        )
        if number is not None:
            self._heads.move(op.stream, number, head)
        epoch = self._epochs.current
        return page_of(op, Events(records, self.codec), self.store_id, head, epoch)

    def finding_head(self, op: Head) -> Conversation[int]:
        """The version of a stream."""
        rows = yield self._ask(sql.HEADS, ([op.stream],))
        return rows[0][2] if rows else 0

    def reading_feed(self, op: ReadFeed) -> Conversation[FeedPage[Any]]:
        """A page of the feed."""
        after = op.after.check(self.store_id)
        events: Events[Any]
        if op.prefix or op.types is not None:
            events, last, end, epoch = yield from self._search(op, after)
        else:
            wanted = {"after": after, "until": after + op.limit}
            page = (sql.FEED if op.whole else sql.FEED_DATA).filtered("")
            rows, is_cut = yield from self._page(page, wanted, op.limit)
            end, epoch = yield from self._end(op, rows)
            rows = [row for row in rows if row[2] is not None]
            last = after + len(rows) if is_cut else min(after + op.limit, end)
            _check_complete("the feed", [row[2] for row in rows], after + 1, last)
            if op.whole:
                records = yield from self._records(rows, None)
                events = Events(_shown(op, records), self.codec)
            else:
                _, _, _, *columns = zip(*rows, strict=True) if rows else ((),) * 8
                shown = shown_of(op, columns[0])
                if shown is not None:
                    columns = [tuple(compress(column, shown)) for column in columns]
                events = yield from self._data(*columns)
        at = partial(Cursor, self.store_id, epoch=epoch)
        return FeedPage(events, at(last), at(end))

    def _end(self, op: ReadFeed | ReadTagged, rows: Rows) -> Conversation[tuple[int, int]]:
        """The end of the feed and the epoch of the store, once it is seen that the cursor is theirs."""
        end, number = rows[0][:2]
        if number != self._number:
            yield from self.learning_epochs()
        epoch = self._epochs.current
        if epoch != op.after.epoch and op.after.position:
            self._epochs.check(op.after)
        check_end(op, end)
        return end, epoch

    def _search(self, op: ReadFeed, after: int) -> Conversation[tuple[Events[Any], int, int, int]]:
        """Some of the feed: with the last position that was looked at, that of the feed, and the epoch.

        Each statement looks at so many positions and no more, and all of them together take a moment:
        the rarest events are reached in the end, however long the feed.
        """
        wanted: dict[str, Any] = {}
        filters = ""
        if op.prefix:
            filters += sql.OF_PREFIX
            wanted |= {"prefix": op.prefix, "beyond": op.prefix[:-1] + chr(ord("/") + 1)}
        if op.types is not None:
            filters += sql.OF_TYPES
            yield from self._learn_kinds()
            kinds = self._kinds.numbers.items()
            wanted["kinds"] = array(number for kind, number in kinds if kind.type in op.types)
        page = sql.FEED.filtered(filters)
        records: list[tuple[Any, ...]] = []
        room = MAX_PAGE_BYTES
        began, last, most = monotonic(), after, after + _WINDOWS * WINDOW
        leisure = min(self._timeout / 4, _LEISURE)
        while True:
            until, left = last + WINDOW, op.limit - len(records)
            wanted |= {"after": last, "until": until}
            rows, is_full = yield from self._page(page, wanted, left, room, 0 if records else 1)
            end, epoch = yield from self._end(op, rows)
            found = yield from self._records(rows, None)
            records += found
            room -= sum(len(record[5]) + len(record[7]) for record in found)
            is_full = is_full or len(found) == left
            last = (found[-1][0] if found else last) if is_full else min(until, end)
            if is_full or last == end or last >= most or monotonic() - began > leisure:
                return Events(_shown(op, records), self.codec), last, end, epoch

    def _data(
        self,
        streams: Sequence[str],
        versions: Sequence[int],
        kind_ids: Sequence[int],
        data_crcs: Sequence[int],
        datas: Sequence[bytes],
    ) -> Conversation[EventsData[Any]]:
        """Events of which only these columns were read. kind_ids: those of their kinds."""
        if not {*kind_ids} <= self._kinds.kinds.keys():
            yield from self._learn_kinds()
        columns = streams, versions, kind_ids, datas, data_crcs
        return EventsData(columns, self._kinds.kinds, self.codec)

    def _records(self, rows: Rows, stream: str | None) -> Conversation[list[tuple[Any, ...]]]:
        """The records of rows as FEED or OF_APPEND have them or, of a stream, as READ."""
        try:
            return _records(rows, self._kinds.kinds, stream)
        except KeyError:
            yield from self._learn_kinds()
            return _records(rows, defaultdict(lambda: LOST_KIND, self._kinds.kinds), stream)

    # --- snapshots

    def loading_snapshot(self, op: LoadSnapshot) -> Conversation[Snapshot | None]:
        """The newest snapshot of a stream."""
        key = op.stream, op.fold, op.fold_version
        rows = yield self._ask(sql.LOAD_SNAPSHOT, key)
        return Snapshot(*key, *rows[0]) if rows else None

    def saving_snapshot(self, op: SaveSnapshot) -> Conversation[None]:
        """Keeps a snapshot unless there is a newer one."""
        kept = op.snapshot
        row = kept.stream, kept.fold, kept.fold_version, kept.version, kept.data
        yield self._ask(sql.SAVE_SNAPSHOT, (0, *row), takes_lock_timeout=True)

    # --- kinds

    def _number_kinds(self, group: Sequence[Prepared]) -> Conversation[None]:
        """Sees to it that the kinds of all events have numbers."""
        while new := self._unnumbered(group):
            if self._outside is not None:
                # Before any row of kinds: or another transaction that has the lock might wait for it.
                yield self._ask(sql.WAIT_IN_TRANSACTION, (0,), takes_lock_timeout=True)
            types, schemas, codecs = zip(*sorted(new), strict=True)
            columns: tuple[Any, ...] = list(types), array(schemas), list(codecs)
            statement = sql.ADD_KINDS
            if any(new.values()):
                statement = sql.ADD_TAGGED_KINDS
                columns = *columns, texts([new[kind] for kind in sorted(new)])
            yield self._ask(statement, (0, *columns), takes_lock_timeout=True)
            yield from self._learn_kinds()  # by which others may turn out to be no more

    def _unnumbered(self, group: Sequence[Prepared]) -> dict[Kind, str]:
        """The kinds of events that have no number yet, and how their tags are declared."""
        numbers = self._kinds.numbers
        new: dict[Kind, str] = {}
        for asked in group:
            kinds = [event.kind for part in asked.parts for event in part.events]
            if not numbers.keys() >= {*kinds}:
                declared = asked.tagging.declared if asked.tagging is not None else [""] * len(kinds)
                for kind, its in zip(kinds, declared, strict=True):
                    if kind not in numbers:
                        new[kind] = max(new.get(kind, ""), its)
        return new

    def _learn_kinds(self) -> Conversation[None]:
        rows = yield self._ask(sql.KINDS)
        known = [row for row in rows if row[1] is not None]
        self._kinds.add({Kind(*row[2:5]): row[1] for row in known})
        self._tagged.learn(rows[0][0], {row[1]: row[5] for row in known if row[6]})


def _together(ops: Sequence[Read]) -> list[list[int]]:
    """The indexes of those that one statement reads, which ask for a page of events at most."""
    portions: list[list[int]] = []
    room = 0
    for index, op in enumerate(ops):
        if not op.backwards and op.limit <= MAX_PAGE // 2:
            if op.limit > room:
                portions.append([])
                room = MAX_PAGE
            portions[-1].append(index)
            room -= op.limit
    return [portion for portion in portions if len(portion) > 1]


def _is_simple(asked: Prepared, epoch: int) -> bool:
    """Whether an append demands nothing but to be the next of one stream."""
    is_of_one = len(asked.parts) == 1 and not asked.demands and not asked.is_keyed
    return is_of_one and not is_tagged(asked) and asked.parts[0].epoch in (0, epoch)


def _portions(group: Sequence[Prepared]) -> list[list[int]]:
    """The appends, by their indexes, in portions that travel together: small ones first."""
    together: list[list[int]] = []
    alone: list[list[int]] = []
    room = 0
    for index, asked in enumerate(group):
        size = sum([len(event.data) for part in asked.parts for event in part.events])
        if size > LIGHT:
            alone.append([index])
            continue
        if size > room or not together:
            together.append([])
            room = LARGEST
        together[-1].append(index)
        room -= size
    return together + alone


def _by_size(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records in portions that travel together."""
    first, room = 0, LARGEST
    for index, record in enumerate(records):
        size = len(record.data) + len(record.rest)
        if size > room and index > first:
            yield records[first:index]
            first, room = index, LARGEST
        room -= size
    yield records[first:]


def _is_near(record: Record, ids: OwnIds) -> bool:
    """Whether the first record of an append is found by the position that its id names."""
    position = ids.position(UUID(bytes=record.append_id))
    return position is not None and position <= record.position <= position + sql.REACH


def _break_off(
    group: Sequence[Prepared], answers: dict[int, AppendOutcome | ToRaise], error: Exception
) -> None:
    """Answers a group in which something was raised that does not tell what is stored.

    The first of it is the one whose thread it was raised in; the others had nothing to do with it.
    """
    for index, asked in enumerate(group):
        if index not in answers:
            why = f"the append was interrupted by {type(error).__name__}"
            answers[index] = Failure(Unknown(asked.append_id, why))
    answers[0] = ToRaise(error)


def _records(rows: Rows, kinds: Any, stream: str | None) -> list[tuple[Any, ...]]:
    match len(rows[0]) if rows else 0:
        case 10 if stream is not None:
            return [
                (position, stream, version, kinds[kind], recorded_at, data, data_crc, rest)
                for _, _, _, position, version, kind, recorded_at, rest, data_crc, data in rows
                if version is not None
            ]
        case 8:
            return [
                (position, stream, version, kinds[kind], recorded_at, data, data_crc, rest)
                for position, stream, version, kind, recorded_at, data, data_crc, rest in rows
            ]
        case _:
            return [
                (position, stream, version, kinds[kind], recorded_at, data, data_crc, rest)
                for _, _, position, stream, version, kind, recorded_at, rest, data_crc, data in rows
                if version is not None
            ]


def _shown(op: ReadFeed, records: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The records that the asker is shown."""
    shown = shown_of(op, [record[1] for record in records])
    return records if shown is None else [*compress(records, shown)]


def _lacks_data(row: Sequence[Any]) -> bool:
    """Whether a row of a page has an event whose data did not come."""
    return row[-1] is None and row[-2] is not None


def _check_complete(what: str, numbers: Sequence[int], first: int, last: int) -> None:
    """Raises Corrupted unless the numbers are those from the first to the last."""
    if [*numbers] != [*range(first, last + 1)]:
        raise _missing(what, first)


def _missing(what: str, first: int) -> Corrupted:
    return Corrupted(f"events of {what} from {first} on are missing: the tables were changed")
