"""Views in memory: dicts, for small read models and for tests.

A view's handlers are given `Tables`, whose tables are dicts of values by key. What a handler writes
before it fails is undone, as a database would. Rows are values: put a new one in the place of an old
one, and change none that you were given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from eventsrc._clock import monotonic
from eventsrc.events.positions import START, Cursor
from eventsrc.events.stream_id import StreamId
from eventsrc.stores._forking import guarded_across_forks
from eventsrc.stores.operations import StoreBusy
from eventsrc.views._applying import LedgerViews
from eventsrc.views._definition import Definition
from eventsrc.views._ledger import Ledger, Ownership, PartitionState
from eventsrc.views.guard import Moves
from eventsrc.views.operations import Failed, Lease, Parked, PartitionProgress
from eventsrc.views.rows import Copy, RowChange, paired
from eventsrc.views.view import View, ViewError, distinct

K = TypeVar("K")
V = TypeVar("V")


class Table(MutableMapping[K, V], Generic[K, V]):
    """A dict that notes how to undo what is done to it."""

    def __init__(self, undo: list[Callable[[], None]]) -> None:
        self._rows: dict[K, V] = {}
        self._undo = undo

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def __setitem__(self, key: K, value: V) -> None:
        rows = self._rows
        if key in rows:
            self._undo.append(partial(rows.__setitem__, key, rows[key]))
        else:
            self._undo.append(partial(rows.__delitem__, key))
        rows[key] = value

    def __delitem__(self, key: K) -> None:
        self._undo.append(partial(self._rows.__setitem__, key, self._rows[key]))
        del self._rows[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Table({self._rows!r})"

    @property
    def rows(self) -> dict[K, V]:
        """Its rows now."""
        return self._rows


class ReadTables(Mapping[str, Mapping[Any, Any]]):
    """The tables of a view, to read: those that were never made are empty."""

    def __init__(self, tables: Tables | None = None) -> None:
        self._tables: Mapping[str, Table[Any, Any]] = {} if tables is None else tables.by_name

    def __getitem__(self, name: str) -> Mapping[Any, Any]:
        table = self._tables.get(name)
        return MappingProxyType({} if table is None else table.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def copied(self) -> dict[str, dict[Any, Any]]:
        """Copies of the rows of the tables, by name."""
        return {name: dict(table) for name, table in self._tables.items()}


class Tables:
    """The tables of a view, each made when it is first asked for: `tables["users"][id] = user`."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._depth = 0
        self._tables: dict[str, Table[Any, Any]] = {}

    def __getitem__(self, name: str) -> Table[Any, Any]:
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = Table(self._undo)
        return table

    @property
    def by_name(self) -> Mapping[str, Table[Any, Any]]:
        """The tables that were made, by name."""
        return self._tables

    def copied(self) -> dict[str, dict[Any, Any]]:
        """Copies of the rows of the tables, by name."""
        return {name: dict(table) for name, table in self._tables.items()}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: all changes in it are undone if it raises. One in another is a part of it."""
        before = len(self._undo)
        self._depth += 1
        try:
            yield
        except BaseException:
            self._undo_to(before)
            raise
        finally:
            self._depth -= 1
            if not self._depth:
                self._undo.clear()

    def _undo_to(self, before: int) -> None:
        """Undoes the changes in the transaction but for so many."""
        while len(self._undo) > before:
            self._undo.pop()()


@attrs.frozen
class _Row:
    """A partition's progress and owner."""

    cursor: Cursor = START
    applied: int = 0
    reached: int = 0
    owner: str | None = None
    token: int = 0
    until: float = 0.0
    seconds: float = 0.0
    defined: int = 0
    last: tuple[int, int] = (0, 0)


class MemoryViews(LedgerViews):
    """Views in the memory of this process: everything is forgotten when it ends.

    views: whose tables are to be there at once. It may be used from several threads and tasks, each
        version of a view by one at a time.
    timeout: how many seconds to wait for others, before StoreBusy.
    clock: gives the time of leases and of what is parked, in seconds since 1970; the machine's clocks
        if not given.
    """

    def __init__(
        self,
        views: Iterable[View[Tables]] = (),
        *,
        timeout: float = 5.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(time.time if clock is None else clock)
        self._monotonic = monotonic if clock is None else clock
        self._lock = guarded_across_forks(threading.Lock())  # held for a moment only
        self._turns: dict[tuple[str, int], threading.Lock] = {}
        self._timeout = timeout
        self._at_work: dict[tuple[str, int], int] = {}  # the threads that have a turn
        self._ledgers: dict[tuple[str, int], MemoryLedger] = {}
        self._live_versions: dict[str, int] = {}
        for view in distinct(views):
            with self.writing(view):
                pass

    @contextmanager
    def reading(self, view: View[Tables], *, live: bool = True) -> Iterator[ReadTables]:
        """The tables of a view, to read; they do not change meanwhile.

        live: of the version that is live (see GoLive), or else the very version that is named.
        """
        version = (live and self._live(view)) or view.version
        with self._alone(view.name, version):
            ledger = self._ledgers.get((view.name, version))
            yield ReadTables(None if ledger is None else ledger.tables)

    @contextmanager
    def writing(self, view: View[Any], within: float | None = None) -> Iterator[Ledger]:
        """A transaction that may write, with the view's tables made."""
        key = view.name, view.version
        with self._alone(*key, within):
            ledger = self._found(view) or MemoryLedger(self._monotonic)
            ledger.has_handled = False
            with ledger.bookkeeping.transaction(), ledger.tables.transaction():
                if key not in self._ledgers:
                    ledger.make(view)
                yield ledger
            with self._lock:
                self._ledgers[key] = ledger
                self._live_versions.setdefault(view.name, view.version)

    @contextmanager
    def looking(self, view: View[Any]) -> Iterator[Ledger | None]:
        """A ledger for reading only; None if the view was never made."""
        with self._alone(view.name, view.version):
            yield self._found(view)

    def close(self) -> None:
        """Does nothing: there is nothing to close."""

    @contextmanager
    def _alone(self, name: str, version: int, within: float | None = None) -> Iterator[None]:
        """Excludes all others from a version of a view."""
        timeout = self._timeout if within is None else max(min(within, self._timeout), 0.0)
        with self._lock:
            turn = self._turns.get((name, version))
            if turn is None:
                turn = self._turns[name, version] = guarded_across_forks(threading.Lock())
        if self._at_work.get((name, version)) == threading.get_ident():
            raise ViewError(
                f"view {name!r} is in use in this very thread: a handler, or who reads, has its tables "
                "already, and uses those"
            )
        if not turn.acquire(timeout=timeout):
            raise StoreBusy(f"others used view {name!r} for {timeout} seconds")
        self._at_work[name, version] = threading.get_ident()
        try:
            yield
        finally:
            del self._at_work[name, version]
            turn.release()

    def _found(self, view: View[Any]) -> MemoryLedger | None:
        """The ledger of a version of a view. Raises ViewError if it has other partitions."""
        ledger = self._ledgers.get((view.name, view.version))
        if ledger is not None:
            view.check_partitions(len(ledger.partitions()))
        return ledger

    def _live(self, view: View[Any]) -> int:
        return self._live_versions.get(view.name, 0)

    def _go_live(self, view: View[Any]) -> None:
        with self._lock:
            if (view.name, view.version) not in self._ledgers:
                raise ViewError(f"{view!r} was never built: synchronise it first")
            self._live_versions[view.name] = view.version

    def _discard(self, view: View[Any]) -> None:
        with self._alone(view.name, view.version), self._lock:
            if self._live(view) == view.version:
                raise ViewError(f"{view!r} is what queries read: have another version go live first")
            self._ledgers.pop((view.name, view.version), None)

    def _start_over(self, view: View[Any]) -> None:
        with self._alone(view.name, view.version):
            ledger = MemoryLedger(self._monotonic)
            before = self._ledgers.get((view.name, view.version))
            with ledger.bookkeeping.transaction(), ledger.tables.transaction():
                ledger.make(view)
                if before is not None:
                    ledger.keep_tokens(before.leases())
            with self._lock:
                self._ledgers[view.name, view.version] = ledger
                self._live_versions.setdefault(view.name, view.version)

    @contextmanager
    def _scratch(self, view: View[Any]) -> Iterator[Ledger]:
        yield MemoryLedger(self._monotonic)


class MemoryLedger(Ledger):
    """A version of a view in memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.tables = Tables()
        self._clock = clock
        self.bookkeeping = Tables()
        self._savepoint = 0
        super().__init__(self.tables)
        self._partitions: Table[int, _Row] = self.bookkeeping["partition"]
        self._guard: Table[str, int] = self.bookkeeping["guard"]
        self._parked: Table[str, Parked] = self.bookkeeping["parked"]
        self._owners: Table[str, Ownership] = self.bookkeeping["owner"]
        self._definition: Table[int, Definition] = self.bookkeeping["definition"]

    def copy(self) -> Copy:
        """A copy of the rows."""
        return _MemoryCopy(self.tables)

    def savepoint(self) -> None:
        """Sets a savepoint."""
        self._savepoint = len(self.tables._undo)

    def release(self) -> None:
        """Nothing is to be released."""

    def roll_back(self) -> None:
        """Undoes all changes since the savepoint."""
        self.tables._undo_to(self._savepoint)

    def make(self, view: View[Any]) -> None:
        """Makes the view's tables, the first time."""
        view.create(self.tables)
        for partition in range(view.partitions):
            self._partitions[partition] = _Row()
        self.define_first(Definition.of(view, *self.described()))

    def described(self) -> tuple[Sequence[str] | None, str]:
        """The names of the tables that there are."""
        return sorted(self.tables.by_name), "names"

    def definition(self, *, locks: bool = False) -> Definition | None:
        """The definition that is kept, if there is one."""
        return self._definition.get(1)

    def define_first(self, definition: Definition) -> None:
        """Keeps a definition, unless one is kept."""
        self._definition.setdefault(1, definition)

    def define(self, definition: Definition) -> None:
        """Keeps a definition in the place of the one that is kept."""
        self._definition[1] = definition

    def set_defined(self, partition: int, number: int) -> None:
        """Notes the definition by which a partition is built from now on."""
        self._partitions[partition] = attrs.evolve(self._partitions[partition], defined=number)

    def keep_tokens(self, leases: Iterable[Ownership]) -> None:
        """Has no lease go on that was given before the view was started over."""
        for lease in leases:
            if lease.partition in self._partitions:
                row = self._partitions[lease.partition]
                self._partitions[lease.partition] = attrs.evolve(row, token=lease.token + 1)

    def partitions(self) -> tuple[PartitionProgress, ...]:
        """The progress of the partitions."""
        return tuple(
            PartitionProgress(row.cursor, row.applied, row.owner, *row.last)
            for row in self._partitions.values()
        )

    def lock_partition(
        self, partition: int, lease: Lease | None, *, applies: bool = False
    ) -> PartitionState:
        """A partition as it is kept."""
        row, at = self._partitions[partition], self._partitions[partition].cursor
        return PartitionState(at.store_id, at.epoch, row.token, at.position, row.defined)

    def guards(self, streams: Sequence[str]) -> tuple[dict[str, int], set[str]]:
        """The versions that were applied of some streams, and those of them that are parked."""
        applied = {stream: self._guard[stream] for stream in streams if stream in self._guard}
        return applied, {stream for stream in streams if stream in self._parked}

    def stores(self) -> set[tuple[str, int]]:
        """The store that events were applied of, and its epoch; none if that is not known yet."""
        cursors = [row.cursor for row in self._partitions.values()]
        return {(cursor.store_id, cursor.epoch) for cursor in cursors if cursor.store_id}

    def reached(self) -> Sequence[tuple[int, int]]:
        """Of each partition the epoch, and the position of the last event that it has applied."""
        return [(row.cursor.epoch, row.reached) for row in self._partitions.values()]

    def set_epoch(self, epoch: int) -> None:
        """Stores the epoch of all partitions."""
        for partition, row in [*self._partitions.items()]:
            cursor = attrs.evolve(row.cursor, epoch=epoch)
            self._partitions[partition] = attrs.evolve(row, cursor=cursor)

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
        """Stores the progress of a partition, and its store, if that is known."""
        self.move_guards(versions)
        row = self._partitions[partition]
        at = row.cursor if cursor is None else max(row.cursor, cursor)
        if not at.store_id and store_id:
            at = Cursor(store_id, at.position, epoch)
        far = max(row.reached, reached, at.position)
        seen = row.last if cursor is None else max(row.last, last, key=lambda its: its[0])
        self._partitions[partition] = attrs.evolve(
            row, applied=row.applied + applied, cursor=at, reached=far, last=seen
        )

    def move_guards(self, versions: Mapping[str, int]) -> None:
        """Stores the versions that are applied now."""
        self._guard.update(versions)

    def advance(self, moves: Moves) -> bool:
        """Moves guards, if each is where it must be and none of the streams is parked."""
        guard, parked = self._guard, self._parked
        for stream, version in moves.before.items():
            if stream in parked or guard.get(stream, 0) != version:
                return False
        self.move_guards(moves.after)
        return True

    def start_up(self, partition: int) -> int:
        """Counts the processes that began: it is this one, always."""
        return 1

    def started(self, partition: int) -> None:
        """Nothing is to be forgotten."""

    def survived(self, partition: int) -> None:
        """Nothing is to be taken back."""

    def hold_back(self, versions: Mapping[str, int]) -> None:
        """Keeps the last versions that came of parked streams."""
        for stream, version in versions.items():
            parked = self._parked[stream]
            self._parked[stream] = attrs.evolve(parked, held=max(parked.held, version))

    def park(self, failed: Failed, since: str) -> None:
        """Holds back a stream, unless the event is applied by now."""
        if self._guard.get(failed.stream, 0) >= failed.version:
            return
        before = self._parked.get(failed.stream)
        self._parked[failed.stream] = Parked(
            failed.stream,
            failed.version,
            failed.position,
            failed.type,
            failed.error,
            1 if before is None else before.attempts + 1,
            failed.version if before is None else before.held,
            since if before is None else before.since,
            failed.is_deadly,
            failed.is_undecodable,
        )

    def parked(self, limit: int | None = None, after: str = "") -> tuple[Parked, ...]:
        """The parked streams, in the order of their events; or some, in the order of their ids."""
        if limit is None:
            return tuple(sorted(self._parked.values(), key=lambda parked: parked.position))
        return tuple(self._parked[s] for s in sorted(self._parked) if s > after)[:limit]

    def skip(self, stream: StreamId, version: int) -> bool:
        """Goes past the event at which a stream is parked, if it is this one; answers whether."""
        parked = self._parked.get(stream)
        if parked is None or not parked.version == version == self._guard.get(stream, 0) + 1:
            return False
        self.move_guards({stream: version})
        return True

    def unpark(self, stream: StreamId) -> bool:
        """Lets a stream go on if nothing of it is held back; answers whether it is parked no more."""
        parked = self._parked.get(stream)
        if parked is not None and self._guard.get(stream, 0) < parked.held:
            return False
        self._parked.pop(stream, None)
        return True

    def forget_owners(self, now: float) -> None:
        """Forgets the owners who were not heard of."""
        for owner in [owner for owner, its in self._owners.items() if its.is_over(now)]:
            del self._owners[owner]

    def keep_owner(self, owner: str, until: float, seconds: float) -> Sequence[str]:
        """Keeps an owner; answers all there are."""
        self._owners[owner] = Ownership(0, owner, 0, until, seconds)
        return list(self._owners)

    def leases(self) -> Sequence[Ownership]:
        """The partitions, and who has them."""
        return [
            Ownership(partition, r.owner, r.token, r.until, r.seconds)
            for partition, r in self._partitions.items()
        ]

    def renew(self, partition: int, token: int, until: float, seconds: float) -> None:
        """Keeps a partition for its owner."""
        self._partitions[partition] = attrs.evolve(
            self._partitions[partition], until=until, seconds=seconds
        )

    def take(self, partition: int, token: int, owner: str, until: float, seconds: float) -> int | None:
        """Gives a partition to an owner; answers its token then."""
        row = self._partitions[partition]
        taken = attrs.evolve(row, owner=owner, token=token + 1, until=until, seconds=seconds)
        self._partitions[partition] = taken
        return token + 1

    def give(self, partition: int, owner: str) -> None:
        """Takes a partition from its owner."""
        self._partitions[partition] = attrs.evolve(self._partitions[partition], owner=None, until=0.0)

    def leave(self, owner: str) -> None:
        """Gives an owner's partitions to the others."""
        for partition, row in self._partitions.items():
            if row.owner == owner:
                self.give(partition, owner)
        self._owners.pop(owner, None)

    def lockable(self, partitions: Sequence[int]) -> set[int]:
        """All of them: there is no other writer now."""
        return set(partitions)

    def now(self) -> float:
        """The time of this process."""
        return self._clock()

    def is_infrastructure(self, error: Exception) -> bool:
        """Never: there are none."""
        return False

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """There is no SQL here."""
        raise NotImplementedError(statement)


class _MemoryCopy(Copy):
    def __init__(self, tables: Tables) -> None:
        self._now = tables
        self._before = tables.copied()

    def differences(self) -> Iterator[RowChange]:
        now = self._now.copied()
        for table in {**self._before, **now}:
            gone, come = self._before.get(table, {}), now.get(table, {})
            same = {key for key in gone.keys() & come.keys() if gone[key] == come[key]}
            yield from paired(
                table,
                [(key, row) for key, row in gone.items() if key not in same],
                [(key, row) for key, row in come.items() if key not in same],
            )
