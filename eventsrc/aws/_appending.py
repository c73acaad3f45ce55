"""Appending: those who wait share a transaction, and each is judged as of the position it begins at.

A transaction stores a commit at the position after the end of the feed that is known, if there is none,
and the parts of up to 99 appends. If it is stored nobody has stored anything since that end, so every
condition that was judged as of it held.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.aws._feed import REPAIR, Feed
from eventsrc.aws._ids import NEAR
from eventsrc.aws._items import BUCKET, Body, Commit, Entry, append_key
from eventsrc.aws._line import ToRaise
from eventsrc.aws._reading import Reading
from eventsrc.aws._talk import Canceled, Item, Table, Talk, Throttled, UnderWay, Undone, Unsent, key
from eventsrc.aws._turns import Turns
from eventsrc.events.codec import Codec
from eventsrc.events.epochs import Epochs, WrongEpoch
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.record import Corrupted
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Outcome
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Conflict,
    Lost,
    NotAppended,
    Read,
    Rejected,
    StoreError,
    Unknown,
)
from eventsrc.stores.prepare import Prepared, microseconds, prepare

Answer: TypeAlias = Outcome[Appended, NotAppended]

ACTIONS: Final = 100
"""The most actions that DynamoDB takes in a transaction; one of them is the commit."""

_BYTES: Final = 3_500_000
"""The most bytes of a transaction of several appends; DynamoDB takes 4 MiB."""

_COMMIT: Final = 390_000
"""The most bytes of a commit; DynamoDB takes 409 600, names and keys among them."""

_MISFITS: Final = 8
"""The most times that a head may turn out to be another than the stream's newest part says."""

_CONDITION: Final = "ConditionalCheckFailed"


@attrs.define
class Job:
    """An append in line."""

    asked: Prepared
    bodies: list[Body]
    now: int
    """Microseconds since 1970."""
    searched: int = 0
    """The position up to which it is known not to be stored."""
    misfits: int = 0

    @property
    def is_too_wide(self) -> bool:
        """Whether it has more parts than a transaction takes."""
        return len(self.bodies) + self.asked.is_keyed > ACTIONS - 1

    @property
    def size(self) -> int:
        """The most bytes of what it adds to a transaction."""
        return sum([body.size for body in self.bodies])


class Appending:
    """The appending operations of one store. One thread at a time stores a group."""

    def __init__(
        self, table: Table, reading: Reading, codec: Codec, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._reading = reading
        self._feed = reading.feed
        self._codec = codec
        self._clock = clock
        self._turns = Turns(self._feed)
        self.commits = 0
        """The transactions that were stored."""
        self.lost_races = 0
        """The transactions that were not, since others were faster."""

    # --- before the line

    def job(self, op: Append | AppendAll) -> Job:
        """An append, checked and encoded. Raises as `prepare` does."""
        feed = self._feed
        asked = prepare(op, self._codec, feed.store_id, lambda: feed.ids.new(feed.end), feed.ids.key)
        now = microseconds(self._clock)
        bodies: list[Body] = []
        offset = 0
        for part in asked.parts:
            bodies.append(
                Body.of(part.stream, part.events, asked.append_id, offset, asked.metadata, now)
            )
            offset += len(part.events)
        return Job(asked, bodies, now)

    def needs_preparing(self, job: Job) -> bool:
        """Whether there is something to ask or write before the job can be stored."""
        return any(body.name for body in job.bodies) or bool(self._unknown(job))

    def prepare(self, talk: Talk, job: Job) -> None:
        """Learns the heads of a job's streams, and writes the bodies that are kept apart."""
        self._learn_heads(talk, job)
        if not job.is_too_wide:
            for body in job.bodies:
                body.write_apart(talk, job.now)

    def _unknown(self, job: Job) -> list[StreamId]:
        streams = [asked.stream for asked in job.asked.streams]
        return _unknown(job.asked, self._feed.known(streams)[2])

    def _learn_heads(self, talk: Talk, job: Job) -> None:
        for stream in self._unknown(job):
            self._feed.learn_head(talk, stream)

    # --- a group

    def store(self, jobs: Sequence[Job], more: Callable[[], Sequence[Job]]) -> list[Answer | ToRaise]:
        """Stores appends that wait together, and answers them in their order.

        more: takes those that have come meanwhile into the group.
        """
        group = _Group(jobs)
        talk = self._table.talk()
        try:
            while group.left:
                if talk.is_over:
                    raise talk.busy()
                self._turns.take(talk)
                if talk.has_time:
                    group.join(more())
                self._round(talk, group)
        except EventsrcError as error:  # nobody's in particular; those that are left are not stored
            group.fail(group.left, error)
        finally:
            self._turns.give(talk)
        return group.answers()

    def _round(self, talk: Talk, group: _Group) -> None:
        """Stores, or answers, some of a group."""
        plan = self._plan(talk, group)
        if plan.taken:
            self._send(talk, group, plan)
        elif group.left and not self._feed.refresh(talk):  # so what was judged is so
            for index in plan.unmet:
                answer = self._unmet(talk, group.jobs[index])
                if answer is not None:
                    group.answer(index, answer)

    def _plan(self, talk: Talk, group: _Group) -> _Plan:
        """As many of a group as are in turn and fit into a transaction."""
        for index in group.left:
            self._judge(talk, group, index)
        streams = [asked.stream for index in group.left for asked in group.jobs[index].asked.streams]
        end, epochs, heads = self._feed.known(streams)
        token = self._feed.me + secrets.token_bytes(8)
        plan = _Plan(self._feed, end, epochs, heads, token, group.most, self._turns.ticket)
        for index in group.left:
            plan.take(index, group.jobs[index])
        return plan

    def _judge(self, talk: Talk, group: _Group, index: int) -> None:
        """Answers a job that can be answered without a transaction; learns what another needs."""
        job = group.jobs[index]
        asked = job.asked
        if job.is_too_wide:
            most = ACTIONS - 1 - asked.is_keyed
            group.answer(
                index,
                Failure(
                    Rejected(
                        f"it is to {len(job.bodies)} streams, and {most} is the most that one "
                        "transaction of DynamoDB takes" + " with a chosen append_id" * asked.is_keyed
                    )
                ),
            )
            return
        try:
            if asked.is_keyed and self._feed.ids.end(asked.append_id) is not None:
                end = self._feed.end  # its id may be one that a store made, which has no item
                if end > job.searched or not job.searched:
                    records = self._reading.stored(talk, asked.append_id, job.searched)
                    if records:
                        group.answer(index, asked.again(records, self._feed.store_id, self._epoch))
                        return
                    job.searched = max(end, 1)
            if asked.of_other_epochs(self._epoch):
                self._check_epochs(talk, group, index)
            self._learn_heads(talk, job)
        except (WrongEpoch, Corrupted) as error:  # of this one alone
            group.fail([index], error)

    @property
    def _epoch(self) -> int:
        return self._feed.epochs.current

    def _check_epochs(self, talk: Talk, group: _Group, index: int) -> None:
        asked = group.jobs[index].asked
        records = self._reading.stored(talk, asked.append_id) if asked.is_keyed else []
        if records:
            group.answer(index, asked.again(records, self._feed.store_id, self._epoch))
            return
        for _, _, epoch in asked.of_other_epochs(self._epoch):
            self._feed.notice(talk, epoch)
        asked.check_epochs(self._feed.epochs, lambda *event: self._reading.position(talk, *event))

    def _unmet(self, talk: Talk, job: Job) -> Answer | ToRaise | None:
        """The answer to an append of which a condition does not hold; None if they all do after all."""
        asked = job.asked
        try:
            if asked.is_keyed:
                records = self._reading.stored(talk, asked.append_id)
                if records:
                    return asked.again(records, self._feed.store_id, self._epoch)
            _, _, heads = self._feed.known([demand.stream for demand in asked.streams])
            unmet = asked.unmet(lambda stream: heads.get(stream, 0))
            if unmet is None or _unknown(asked, heads):
                return None  # another thread has learnt more meanwhile: it is judged again
            stream, expected, actual = unmet
            events: Sequence[Any] = ()
            if isinstance(expected, int) and expected < actual:
                wanted = Read(stream, expected, min(CONFLICT_EVENTS, actual - expected))
                events = self._reading.read(talk, wanted).events
        except EventsrcError as error:
            return ToRaise(error)
        return Failure(Conflict(stream, expected, actual, events))

    # --- a transaction

    def _send(self, talk: Talk, group: _Group, plan: _Plan) -> None:
        """Sends a transaction, until it is known what became of it."""
        commit = plan.commit()
        item = commit.item(plan.epochs.current)
        if len(item["w"]["B"]) > _COMMIT:
            self._too_large(group, plan, f"what a commit says of it takes {len(item['w']['B'])} bytes")
            return
        actions = [talk.new(item), *map(talk.new, plan.items)]
        token = plan.token.hex()
        sent, pause = False, 0.01
        while True:
            try:
                talk.transact(actions, token)
                break
            except (EventsrcError, Undone) as error:
                if not sent:
                    match error:
                        case Canceled():
                            self._canceled(talk, group, plan, error)
                            return
                        case StoreError() if type(error) is StoreError:
                            self._denied(group, plan, error)
                            return
                        case Throttled() | Unsent():
                            if talk.is_over:
                                raise talk.busy() from error
                        case Lost() | UnderWay():
                            sent = True
                        case _:
                            raise
                why = str(error)
            if sent:
                stored = self._settle(talk, commit)
                if stored:
                    break
                if stored is False:  # others have the position, so that it cannot be stored any more
                    self._feed.refresh(talk)
                    return
                if talk.is_over:
                    for index in plan.taken:
                        append_id = group.jobs[index].asked.append_id
                        group.answer(index, Failure(Unknown(append_id, why)))
                    return
            talk.pause(pause)
            pause = min(pause * 2, 0.5)
        self._stored(talk, group, plan, commit)

    def _stored(self, talk: Talk, group: _Group, plan: _Plan, commit: Commit) -> None:
        self.commits += 1
        self._turns.committed()
        self._feed.add(commit)
        for index, answer in plan.answers.items():
            group.answer(index, answer)
        if commit.first // BUCKET != commit.last // BUCKET or not commit.last % BUCKET:
            self._feed.keep_hint(talk, commit.last)

    def _settle(self, talk: Talk, commit: Commit) -> bool | None:
        """Whether a transaction is stored whose answer got lost; None if it may be yet."""
        try:
            item = talk.get(self._feed.key_at(commit.first), commit.first)
        except StoreError:
            return None
        if item is None:  # it may be on its way
            return None
        return "k" in item and bytes(item["k"]["B"]) == commit.token

    def _canceled(self, talk: Talk, group: _Group, plan: _Plan, no: Canceled) -> None:
        """Learns why a transaction was refused."""
        if not no.codes or no.is_throttled:
            self.lost_races += "TransactionConflict" in no.codes
            talk.pause(group.pause())
            self._feed.refresh(talk)
            return
        if no.codes[0] == _CONDITION:
            self.lost_races += 1
            if not self._feed.refresh(talk):  # the commit is there, and not yet visible to queries
                talk.pause(group.pause())
            return
        refused = {
            plan.owners[nth - 1] for nth, code in enumerate(no.codes) if nth and code == _CONDITION
        }
        if not refused:
            self._denied(group, plan, StoreError(str(no)))
            return
        for index in refused:
            self._refused(talk, group, index)

    def _refused(self, talk: Talk, group: _Group, index: int) -> None:
        """Learns why the parts of one append were refused, and not the commit."""
        job = group.jobs[index]
        try:
            if job.asked.is_keyed:
                records = self._reading.stored(talk, job.asked.append_id)
                if records:
                    group.answer(index, job.asked.again(records, self._feed.store_id, self._epoch))
                    return
            job.misfits += 1
            if job.misfits > _MISFITS:
                raise Corrupted(
                    f"{job.asked.parts[0].stream}, or another stream of the append, goes on beyond the "
                    f"end of the feed: the table was changed, or {REPAIR}"
                )
            self._feed.forget([part.stream for part in job.asked.parts])
            for part in job.asked.parts:  # also one that should not exist
                self._feed.learn_head(talk, part.stream)
            if job.misfits > 1:
                talk.pause(group.pause())
        except EventsrcError as error:
            group.fail([index], error)

    def _denied(self, group: _Group, plan: _Plan, error: StoreError) -> None:
        """DynamoDB will never store it: that may be one append's fault, which is then found."""
        if len(plan.taken) > 1:
            group.most = len(plan.taken) // 2
            return
        group.most = ACTIONS
        if "size" in str(error).lower():  # as all say that DynamoDB refuses for their size
            group.answer(plan.taken[0], Failure(Rejected(str(error))))
        else:
            group.fail(plan.taken, error)

    def _too_large(self, group: _Group, plan: _Plan, why: str) -> None:
        if len(plan.taken) > 1:
            group.most = len(plan.taken) // 2
            return
        group.most = ACTIONS
        group.answer(plan.taken[0], Failure(Rejected(f"{why}, and {_COMMIT} is the most")))


class _Group:
    """Appends that are stored together, and what became of each."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs: list[Job] = []
        self.left: list[int] = []
        self.most = ACTIONS
        """The most of them that may share a transaction."""
        self._answers: dict[int, Answer | ToRaise] = {}
        self._pause = 0.005
        self.join(jobs)

    def join(self, jobs: Sequence[Job]) -> None:
        """Takes more of them in."""
        self.left += range(len(self.jobs), len(self.jobs) + len(jobs))
        self.jobs += jobs

    def answer(self, index: int, answer: Answer | ToRaise) -> None:
        """Answers one."""
        self._answers[index] = answer
        self.left = [each for each in self.left if each != index]

    def fail(self, indexes: Sequence[int], error: Exception) -> None:
        """Answers some with an error."""
        for index in list(indexes):
            self.answer(index, ToRaise(error))

    def pause(self) -> float:
        """The seconds to wait before it is tried again: more each time."""
        self._pause = min(self._pause * 2, 0.5)
        return self._pause

    def answers(self) -> list[Answer | ToRaise]:
        """The answers, in the order of the jobs."""
        return [self._answers[index] for index in range(len(self.jobs))]


class _Plan:
    """The appends that one transaction is to store."""

    def __init__(
        self,
        feed: Feed,
        end: int,
        epochs: Epochs,
        heads: dict[str, int],
        token: bytes,
        most: int,
        turn: int,
    ) -> None:
        self._feed = feed
        self._most = most
        self._turn = turn
        self._heads = heads
        self._entries: list[Entry] = []
        self._ids: set[UUID] = set()
        self._bytes = 10_000
        self._end = self._last = end
        self.epochs = epochs
        self.token = token
        self.taken: list[int] = []
        self.unmet: list[int] = []
        self.items: list[Item] = []
        self.owners: list[int] = []
        """The append that each of the items is of."""
        self.answers: dict[int, Answer] = {}

    def commit(self) -> Commit:
        """The commit."""
        return Commit(self._end + 1, self._last, self.token, self._entries, self._turn)

    def take(self, index: int, job: Job) -> None:
        """Adds an append, if its conditions hold and there is room."""
        asked = job.asked
        if _unknown(asked, self._heads):
            return  # its heads were forgotten meanwhile
        if asked.unmet(lambda stream: self._heads.get(stream, 0)) is not None:
            self.unmet.append(index)
            return
        is_indexed = self._is_indexed(asked)
        count = len(job.bodies) + is_indexed
        has_room = (
            len(self.taken) < self._most
            and len(self.items) + count <= ACTIONS - 1
            and self._bytes + job.size <= _BYTES
        )
        if asked.append_id in self._ids or (self.taken and not has_room):
            return  # in the next transaction
        self._ids.add(asked.append_id)
        self._bytes += job.size
        self.taken.append(index)
        epoch = self.epochs.current
        began = self._last + 1
        versions: dict[StreamId, int] = {}
        for part, body in zip(asked.parts, job.bodies, strict=True):
            first = self._heads.get(part.stream, 0) + 1
            several = len(job.bodies) > 1
            self.items.append(
                body.item(first, self._last + 1, epoch, asked.append_id, job.now, several)
            )
            entry = Entry(part.stream, first, body.count, asked.append_id.hex, body.offset, body.types)
            self._entries.append(entry)
            self._last += body.count
            self._heads[part.stream] = versions[part.stream] = first + body.count - 1
        if is_indexed:
            item = {**key(append_key(asked.append_id), 0), "f": {"N": str(began)}}
            self.items.append(item | ({"e": {"N": str(epoch)}} if epoch != 1 else {}))
        self.owners += [index] * count
        token = Token(self._feed.store_id, versions, epoch)
        cursor = Cursor(self._feed.store_id, self._last, epoch)
        self.answers[index] = Success(Appended(asked.append_id, token, cursor))

    def _is_indexed(self, asked: Prepared) -> bool:
        """Whether the id has an item: if its caller chose it, or it does not name a position nearby."""
        if asked.is_keyed:
            return True
        named = self._feed.ids.end(asked.append_id)
        return named is None or not 0 <= self._last - named <= NEAR


def _unknown(asked: Prepared, heads: Mapping[str, int]) -> list[StreamId]:
    """The streams of an append whose heads are not known, but for those that must not exist.

    A stream that exists has a part at version 1, which refuses another; so nobody need look before.
    """
    needed = [part.stream for part in asked.parts if not _demands_none(part.expected)]
    needed += [demand.stream for demand in asked.demands]
    return [stream for stream in needed if stream not in heads]


def _demands_none(expected: object) -> bool:
    """Whether a stream is expected not to exist."""
    return expected is NO_STREAM or expected == 0
