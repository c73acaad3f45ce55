"""The ledger of a view: its bookkeeping beside its own tables, and the statements for it.

Each version of a view has a database of its own, a file or a schema, and in it, beside the tables of
its handlers: the progress of each of its partitions, and its owner; the guard, which is the version
that it has applied of each stream; the parked streams; and the owners, who share the partitions.

The statements are the same for every SQL database but for a few; `{s}.` stands for the schema and `?`
for a parameter. A Ledger is that database in a transaction.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeVar

import attrs

from eventsrc.events.epochs import Epochs, OtherEpoch
from eventsrc.events.positions import START, Cursor, WrongStore
from eventsrc.events.stream_id import StreamId, stored_id
from eventsrc.views._definition import Definition
from eventsrc.views.guard import Moves
from eventsrc.views.operations import (
    Failed,
    Lease,
    LostLease,
    OtherDefinition,
    Parked,
    PartitionProgress,
    StartedOver,
)
from eventsrc.views.rows import Copy
from eventsrc.views.view import View

T = TypeVar("T")

_log = logging.getLogger("eventsrc")

# all of these by the primary keys
PARTS: Final = """
    SELECT store, position, epoch, applied, owner, last, last_sum FROM {s}.eventsrc_part ORDER BY part
"""
ADD_PART: Final = """
    INSERT INTO {s}.eventsrc_part
        (part, store, position, applied, token, until, seconds, starts, trying, tries)
    VALUES (?, '', 0, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING
"""
PLACE: Final = "SELECT store, epoch, token, position, defined FROM {s}.eventsrc_part WHERE part = ?"
DEFINITION: Final = "SELECT definition FROM {s}.eventsrc_definition"
FIRST_DEFINITION: Final = """
    INSERT INTO {s}.eventsrc_definition (one, definition) VALUES (1, ?) ON CONFLICT DO NOTHING
"""
DEFINE: Final = "UPDATE {s}.eventsrc_definition SET definition = ?"
DEFINED: Final = "UPDATE {s}.eventsrc_part SET defined = ? WHERE part = ?"
STORES: Final = "SELECT DISTINCT store, epoch FROM {s}.eventsrc_part WHERE store <> ''"
COUNT: Final = """
    UPDATE {s}.eventsrc_part
    SET applied = applied + ?, reached = CASE WHEN reached < ? THEN ? ELSE reached END,
        store = CASE WHEN store = '' THEN ? ELSE store END,
        epoch = CASE WHEN store = '' THEN ? ELSE epoch END
    WHERE part = ?
"""
MOVE: Final = """
    UPDATE {s}.eventsrc_part
    SET applied = applied + ?, store = ?, epoch = ?,
        position = CASE WHEN position < ? THEN ? ELSE position END,
        reached = CASE WHEN reached < ? THEN ? ELSE reached END,
        last_sum = CASE WHEN last < ? THEN ? ELSE last_sum END,
        last = CASE WHEN last < ? THEN ? ELSE last END
    WHERE part = ?
"""
REACHED: Final = "SELECT epoch, reached FROM {s}.eventsrc_part"
CARRY_OVER: Final = "UPDATE {s}.eventsrc_part SET epoch = ?"
START_UP: Final = """
    UPDATE {s}.eventsrc_part SET starts = starts + 1 WHERE part = ? RETURNING starts
"""
STARTED: Final = """
    UPDATE {s}.eventsrc_part SET starts = 0, trying = 0, tries = 0 WHERE part = ? AND starts > 0
"""
SURVIVED: Final = "UPDATE {s}.eventsrc_part SET starts = starts - 1 WHERE part = ? AND starts > 0"
UNTRIED: Final = "UPDATE {s}.eventsrc_part SET tries = tries - 1 WHERE part = ? AND tries > 0"
TRY: Final = """
    UPDATE {s}.eventsrc_part
    SET tries = CASE WHEN trying = ? THEN tries + 1 ELSE 1 END, trying = ?
    WHERE part = ? RETURNING tries
"""
# while an event is applied that may fail; of a name that no handler comes upon
_EVENT: Final = f"eventsrc_event_{os.urandom(6).hex()}"
SAVEPOINT: Final = f"SAVEPOINT {_EVENT}"
RELEASE: Final = f"RELEASE SAVEPOINT {_EVENT}"
ROLL_BACK: Final = f"ROLLBACK TO SAVEPOINT {_EVENT}"
PARK: Final = """
    INSERT INTO {s}.eventsrc_parked
        (stream, version, position, type, error, attempts, held, since, is_deadly, is_undecodable)
    VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)
    ON CONFLICT (stream) DO UPDATE SET
        version = excluded.version, position = excluded.position, type = excluded.type,
        error = excluded.error, attempts = eventsrc_parked.attempts + 1, is_deadly = excluded.is_deadly,
        is_undecodable = excluded.is_undecodable
"""
PARKED: Final = """
    SELECT stream, version, position, type, error, attempts, held, since, is_deadly, is_undecodable
    FROM {s}.eventsrc_parked ORDER BY position
"""
SOME_PARKED: Final = """
    SELECT stream, version, position, type, error, attempts, held, since, is_deadly, is_undecodable
    FROM {s}.eventsrc_parked WHERE stream > ? ORDER BY stream LIMIT ?
"""
PARKED_AT: Final = "SELECT version FROM {s}.eventsrc_parked WHERE stream = ?"
HOLD: Final = "UPDATE {s}.eventsrc_parked SET held = ? WHERE stream = ? AND held < ?"
UNPARK: Final = """
    DELETE FROM {s}.eventsrc_parked WHERE stream = ? AND held <= ? RETURNING stream
"""
KEEP_TOKEN: Final = "UPDATE {s}.eventsrc_part SET token = ? WHERE part = ?"
FORGET_OWNERS: Final = "DELETE FROM {s}.eventsrc_owner WHERE until < ? OR until > ? + seconds"
KEEP_OWNER: Final = """
    INSERT INTO {s}.eventsrc_owner VALUES (?, ?, ?)
    ON CONFLICT (owner) DO UPDATE SET until = excluded.until, seconds = excluded.seconds
"""
FORGET_OWNER: Final = "DELETE FROM {s}.eventsrc_owner WHERE owner = ?"
OWNERS: Final = "SELECT owner FROM {s}.eventsrc_owner"
LEASES: Final = "SELECT part, owner, token, until, seconds FROM {s}.eventsrc_part ORDER BY part"
RENEW: Final = "UPDATE {s}.eventsrc_part SET until = ?, seconds = ? WHERE part = ? AND token = ?"
TAKE: Final = """
    UPDATE {s}.eventsrc_part SET owner = ?, token = token + 1, until = ?, seconds = ?
    WHERE part = ? AND token = ?
    RETURNING token
"""
LEAVE: Final = "UPDATE {s}.eventsrc_part SET owner = NULL, until = 0 WHERE part = ? AND owner = ?"
LEAVE_ALL: Final = "UPDATE {s}.eventsrc_part SET owner = NULL, until = 0 WHERE owner = ?"


class Unsettled(Exception):
    """A handler has changed settings, and which is not known: it ends the transaction."""


@attrs.frozen
class PartitionState:
    """A partition as it is kept: it decides whether events can be applied to it."""

    store_id: str
    epoch: int
    token: int
    position: int
    defined: int
    """The number of the definition by which it was built last; 0 if none was kept."""


class Ledger(ABC):
    """A version of a view, in a transaction of its database.

    database: given to the view's handlers.
    """

    def __init__(self, database: Any) -> None:
        self.database = database
        self.has_handled = False
        """True once handlers have run: an error that comes then may be of what they did."""

    # Particular to a database:

    @abstractmethod
    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Executes a statement."""

    @abstractmethod
    def lock_partition(
        self, partition: int, lease: Lease | None, *, applies: bool = False
    ) -> PartitionState:
        """Locks a partition until the end; answers it as it is kept.

        applies: whether handlers are to run, which must not commit before `move`.
        """

    @abstractmethod
    def guards(self, streams: Sequence[str]) -> tuple[dict[str, int], set[str]]:
        """The versions that were applied of some streams, and those of them that are parked."""

    @abstractmethod
    def move_guards(self, versions: Mapping[str, int]) -> None:
        """Stores the versions that are applied now."""

    @abstractmethod
    def advance(self, moves: Moves) -> bool:
        """Moves guards, if each is where it must be and none of the streams is parked.

        Answers whether; if not, whatever was done in this transaction is to be rolled back.
        """

    @abstractmethod
    def lockable(self, partitions: Sequence[int]) -> set[int]:
        """Locks until the end those of some partitions that are free now; answers them."""

    @abstractmethod
    def now(self) -> float:
        """The time by the database's clock, in seconds."""

    @abstractmethod
    def is_infrastructure(self, error: Exception) -> bool:
        """True if an error that a handler raised is of the database, and not of the event."""

    @abstractmethod
    def described(self) -> tuple[Sequence[str] | None, str]:
        """The view's own tables as texts, and by what these were made; None for what is not known."""

    @abstractmethod
    def copy(self) -> Copy:
        """A copy of the rows of the view's tables, to tell what is done to them."""

    # The same everywhere, or nearly:

    def handling(self, view: View[Any]) -> AbstractContextManager[object]:
        """While a view's handlers run. Raises BadHandler, where that shows, if one of them tried to
        end the transaction, or left it aborted."""
        return nullcontext()

    def is_open(self) -> bool:
        """True if more events can be applied, by a quick look: if not, what is done is to be committed,
        or the transaction has ended, and `handling` raises."""
        return True

    def check_handled(self) -> None:  # noqa: B027  most databases show nothing
        """Raises BadHandler if what a handler has just done shows that it is one."""

    def blamed(self, error: Exception) -> Exception:
        """The fault of a handler that raised an error: mostly that error."""
        return error

    def settle(self) -> None:  # noqa: B027  most databases check at once
        """After an event that was applied by itself: checks now what would only be checked at the end
        of the transaction, and puts back settings that its handler has changed."""

    def has_ended(self) -> bool:
        """True if a handler has ended the transaction, so that no savepoint in it is left."""
        return False

    def savepoint(self) -> None:
        """Sets a savepoint, until `release`."""
        self.ask(SAVEPOINT)

    def release(self) -> None:
        """Releases the savepoint, with all changes since."""
        self.ask(RELEASE)

    def roll_back(self) -> None:
        """Undoes all changes since the savepoint, and releases it."""
        self.ask(ROLL_BACK)
        self.ask(RELEASE)

    def make(self, view: View[Any]) -> None:
        """Makes the view's tables, the first time; of one that has lost its progress, that alone."""
        is_first = self.definition() is None
        if is_first:
            with self.handling(view):
                view.create(self.database)
        else:
            _log.warning(
                "%r has lost how far it had come: it goes through the feed from the beginning, and "
                "applies what it has not applied",
                view,
            )
        for partition in range(view.partitions):
            self.ask(ADD_PART, partition)
            if not is_first:  # beyond all that leases which were given before can have
                self.ask(KEEP_TOKEN, int(self.now() * 1000), partition)
        if is_first:
            self.define_first(Definition.of(view, *self.described()))

    def definition(self, *, locks: bool = False) -> Definition | None:
        """The definition that is kept, if there is one.

        locks: whether nobody else is to change it until the end.
        """
        rows = self.ask(DEFINITION)
        return Definition.parse(rows[0][0]) if rows else None

    def define_first(self, definition: Definition) -> None:
        """Keeps a definition, unless one is kept."""
        self.ask(FIRST_DEFINITION, definition.text)

    def define(self, definition: Definition) -> None:
        """Keeps a definition in the place of the one that is kept."""
        self.ask(DEFINE, definition.text)

    def set_defined(self, partition: int, number: int) -> None:
        """Notes the definition by which a partition is built from now on."""
        self.ask(DEFINED, number, partition)

    def agree(self, view: View[Any], partition: int, given: Definition) -> None:
        """Compares a definition with the one that is kept, and keeps it if it is the first, or if
        nothing was applied. Raises OtherDefinition if it is another."""
        kept = self.definition(locks=True)
        if kept is None:
            self.define_first(given)
            kept = self.definition(locks=True) or given
        self.compare(view, given, kept)
        if kept != given and (given.tables is not None or kept.tables is None):
            self.define(given)
        self.set_defined(partition, given.number)

    def compare(self, view: View[Any], given: Definition, kept: Definition | None) -> None:
        """Raises OtherDefinition for a definition other than the one that is kept, if there is one.

        A view that has applied nothing may see and handle other events than before.
        """
        if kept is None:
            return
        if kept.view != given.view:
            raise OtherDefinition(
                f"{view!r} would be kept where view {kept.view!r} is: their names and those of the "
                "databases of views run together, so give one of these, or one of the views, another",
                kept.text,
                given.text,
            )
        changes = [*given.differences(kept)]
        if changes and (given.makes_others_than(kept) or self._has_applied()):
            what = "; ".join(f"{what}: {then} then, {now} now" for what, then, now in changes)
            raise OtherDefinition(
                f"{view!r} is defined otherwise than what was built under its name and version "
                f"({what}). Give it a higher version, and rebuild that, or build this one anew in its "
                "place: rebuild(view, in_place=True)",
                kept.text,
                given.text,
            )

    def _has_applied(self) -> bool:
        return any(part.applied or part.cursor != START for part in self.partitions())

    def partitions(self) -> tuple[PartitionProgress, ...]:
        """The progress of the partitions; none if the view was never made."""
        return tuple(
            PartitionProgress(Cursor(store_id, position, epoch) if position else START, *beside)
            for store_id, position, epoch, *beside in self.ask(PARTS)
        )

    def begin(
        self,
        view: View[Any],
        streams: Iterable[str],
        partition: int,
        lease: Lease | None,
        store_id: str | None,
        epoch: int,
        *,
        applies: bool = False,
        definition: Definition | None = None,
        after: Cursor | None = None,
    ) -> None:
        """Before events are applied: locks the partitions of their streams until the end.

        applies: whether handlers are to run, which must not commit before `move`.
        definition: of the view, to compare with the one that is kept.
        after: where the events follow in the feed, if that is known.
        Raises LostLease, WrongStore for events of another store than those before them, OtherEpoch for
        those of another epoch of it, OtherDefinition, and StartedOver if the partition is before that.
        """
        partitions = (
            {partition} if view.partitions == 1 else {partition, *map(view.partition_of, streams)}
        )
        for each in sorted(partitions):
            is_applied = applies and each == partition
            state = self.lock_partition(each, lease, applies=is_applied)
            if each == partition and lease is not None and lease.token != state.token:
                raise LostLease(
                    f"partition {partition} was taken by another synchroniser: claim a share again"
                )
            if state.store_id:
                _check_store(view, state.store_id, state.epoch, store_id, epoch)
            if each == partition and definition is not None:
                if state.defined != definition.number:
                    self.agree(view, partition, definition)
                if after is not None and after.position > state.position:
                    raise StartedOver(
                        f"{view!r} was at position {after.position} and is at {state.position}: it was "
                        "started over meanwhile, or its database was restored. Synchronise it again"
                    )

    def check_store(self, view: View[Any], store_id: str | None, epoch: int) -> None:
        """Raises WrongStore if the view has applied events of another store, or OtherEpoch."""
        if store_id is not None:
            for known, its_epoch in self.stores():
                _check_store(view, known, its_epoch, store_id, epoch)

    def stores(self) -> set[tuple[str, int]]:
        """The store that events were applied of, and its epoch; none if that is not known yet."""
        return {(store_id, epoch) for store_id, epoch in self.ask(STORES)}

    def carry_over(self, view: View[Any], epochs: Epochs) -> None:
        """Takes the view to the current epoch. Raises WrongEpoch if it has applied what was lost."""
        for epoch, reached in self.reached():
            if reached:
                what = f"{view!r}, which has applied what is up to position {reached},"
                epochs.check_place(epoch, reached, what, "give it a new version, and rebuild that")
        self.set_epoch(epochs.current)

    def reached(self) -> Sequence[tuple[int, int]]:
        """Of each partition the epoch, and the position of the last event that it has applied."""
        return [(epoch, reached) for epoch, reached in self.ask(REACHED)]

    def set_epoch(self, epoch: int) -> None:
        """Stores the epoch of all partitions."""
        self.ask(CARRY_OVER, epoch)

    def move(
        self,
        partition: int,
        versions: Mapping[str, int],
        applied: int,
        cursor: Cursor | None,
        store_id: str | None,
        epoch: int,
        reached: int,
        last: tuple[int, int] = (0, 0),
    ) -> None:
        """Stores the progress of a partition, and its store, if that is known.

        reached: the position of the last event that was applied, if it is known, or 0.
        last: of the last event that was applied of the feed the position, or 0, and the checksum.
        Raises BadHandler, where that shows, if handlers have ended the transaction since it was locked,
        and Unsettled if what the database does was changed by one of them, and which is not known.
        """
        if versions:
            self.move_guards(versions)
        if cursor is not None:
            at = cursor.position
            far, position, checksum = max(at, reached), *last
            seen = position, checksum, position, position
            self.ask(MOVE, applied, cursor.store_id, cursor.epoch, at, at, far, far, *seen, partition)
        elif applied:
            self.ask(COUNT, applied, reached, reached, store_id or "", epoch, partition)

    def start_up(self, partition: int) -> int:
        """Counts the processes that began and have not brought the partition forward yet."""
        (starts,) = row_of(partition, self.ask(START_UP, partition))
        return int(starts)

    def started(self, partition: int) -> None:
        """Forgets the processes that began."""
        self.ask(STARTED, partition)

    def survived(self, partition: int) -> None:
        """Takes back that a process began."""
        self.ask(SURVIVED, partition)

    def untried(self, partition: int) -> None:
        """Takes back the last attempt."""
        self.ask(UNTRIED, partition)

    def attempt(self, partition: int, position: int) -> int:
        """Counts how often an event was tried, one after the other."""
        (tries,) = row_of(partition, self.ask(TRY, position, position, partition))
        return int(tries)

    def park(self, failed: Failed, since: str) -> None:
        """Holds back a stream, unless the event is applied by now."""
        stream, version, position = str(failed.stream), failed.version, failed.position
        applied, _ = self.guards([stream])
        if applied.get(stream, 0) >= version:
            return
        beside = failed.type, failed.error, version, since, failed.is_deadly, failed.is_undecodable
        self.ask(PARK, stream, version, position, *beside)

    def hold_back(self, versions: Mapping[str, int]) -> None:
        """Keeps the last versions that came of parked streams."""
        for stream, version in versions.items():
            self.ask(HOLD, version, stream, version)

    def parked(self, limit: int | None = None, after: str = "") -> tuple[Parked, ...]:
        """The parked streams, in the order of their events; or some, in the order of their ids."""
        rows = self.ask(PARKED) if limit is None else self.ask(SOME_PARKED, after, limit)
        return tuple(
            Parked(stored_id(name), at, position, kind, error, tries, held, since, bool(a), bool(b))
            for name, at, position, kind, error, tries, held, since, a, b in rows
        )

    def skip(self, stream: StreamId, version: int) -> bool:
        """Goes past the event at which a stream is parked, if it is this one; answers whether."""
        applied, _ = self.guards([stream])
        if self.ask(PARKED_AT, str(stream)) != [(version,)] or applied.get(stream, 0) != version - 1:
            return False
        self.move_guards({stream: version})
        return True

    def unpark(self, stream: StreamId) -> bool:
        """Lets a stream go on if nothing of it is held back; answers whether it is parked no more."""
        applied, parked = self.guards([stream])
        if stream not in parked:
            return True
        return bool(self.ask(UNPARK, str(stream), applied.get(stream, 0)))

    def claim(self, owner: str, seconds: float) -> tuple[Lease, ...]:
        """Takes or keeps an owner's share of the partitions."""
        now = self.now()
        until = now + seconds
        self.forget_owners(now)
        owners = self.keep_owner(owner, until, seconds)
        rows = self.leases()
        row_of(0, rows)
        mine = [row for row in rows if row.owner == owner]
        share = _share(owner, owners, len(rows))
        for row in mine[share:]:
            self.give(row.partition, owner)
        leases = [Lease(row.partition, row.token, seconds) for row in mine[:share]]
        for lease in leases:
            if lease.partition in self.lockable([lease.partition]):
                self.renew(lease.partition, lease.token, until, seconds)
        free = [row for row in rows if row.owner is None or (row.owner != owner and row.is_over(now))]
        for row in free:
            if len(leases) < share and row.partition in self.lockable([row.partition]):
                token = self.take(row.partition, row.token, owner, until, seconds)
                if token is not None:
                    leases.append(Lease(row.partition, token, seconds))
        return tuple(leases)

    def keep_tokens(self, leases: Iterable[Ownership]) -> None:
        """Has no lease go on that was given before the view was started over."""
        for lease in leases:
            self.ask(KEEP_TOKEN, lease.token + 1, lease.partition)

    def forget_owners(self, now: float) -> None:
        """Forgets the owners who were not heard of."""
        self.ask(FORGET_OWNERS, now, now)

    def keep_owner(self, owner: str, until: float, seconds: float) -> Sequence[str]:
        """Keeps an owner; answers all there are."""
        self.ask(KEEP_OWNER, owner, until, seconds)
        return [name for (name,) in self.ask(OWNERS)]

    def leases(self) -> Sequence[Ownership]:
        """The partitions, and who has them."""
        return [Ownership(*row) for row in self.ask(LEASES)]

    def renew(self, partition: int, token: int, until: float, seconds: float) -> None:
        """Keeps a partition for its owner."""
        self.ask(RENEW, until, seconds, partition, token)

    def take(self, partition: int, token: int, owner: str, until: float, seconds: float) -> int | None:
        """Gives a partition to an owner, unless another was faster; answers its token then."""
        rows = self.ask(TAKE, owner, until, seconds, partition, token)
        return int(rows[0][0]) if rows else None

    def give(self, partition: int, owner: str) -> None:
        """Takes a partition from its owner."""
        self.ask(LEAVE, partition, owner)

    def leave(self, owner: str) -> None:
        """Gives an owner's partitions to the others."""
        self.ask(LEAVE_ALL, owner)
        self.ask(FORGET_OWNER, owner)


@attrs.frozen
class Ownership:
    """A partition and who has it."""

    partition: int
    owner: str | None
    token: int
    until: float
    seconds: float

    def is_over(self, now: float) -> bool:
        """True if its time is over, or the clock was set back since it was given."""
        return not now <= self.until <= now + self.seconds


def row_of(partition: int, rows: Sequence[T]) -> T:
    """The row that was found of a partition. Raises StartedOver if there is none."""
    if not rows:
        raise StartedOver(
            f"partition {partition} is not where it was: nothing says any more how far it had come, as "
            "its tables were emptied, or others have restored them. Synchronise the view again"
        )
    return rows[0]


def _share(owner: str, owners: Iterable[str], partitions: int) -> int:
    """The number of partitions in an owner's share: they are divided as evenly as can be."""
    names = sorted(owners)
    each, rest = divmod(partitions, len(names))
    return each + (names.index(owner) < rest)


def _check_store(view: View[Any], known: str, its_epoch: int, store_id: str | None, epoch: int) -> None:
    if store_id == known and epoch != its_epoch:
        raise OtherEpoch(
            f"{view!r} is of epoch {its_epoch} of its store, and has been given what is of {epoch}: "
            "synchronise it"
        )
    if store_id not in (None, known):
        raise WrongStore(
            f"{view!r} is of store {known}, and has been given what is of store {store_id}: it "
            "shows what one store says. Give it a new version, and rebuild that"
        )
