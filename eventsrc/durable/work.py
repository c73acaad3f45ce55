"""Workers: they bring runs forward, for as long as the program runs.

A worker reads the feed, and so learns which runs there are, what they wait for, and what has come. A
run that is ready is brought forward as far as it goes; when it waits, its worker keeps no more of it
than until when and for what. From time to time a worker notes which runs are open, so that the next one
need not read the feed from its beginning.

Several workers share runs by leases, as followers share a view (see eventsrc.following.follow): each
claims its share of the partitions, again and again, and one that is not heard of loses its share to the
others. That is only for pace. What keeps each step from being taken twice is the journal, each write of
which expects its exact version.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from math import inf
from typing import Any, Final, TypeAlias

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.durable._attempt import OUTAGES, HasEnded, IsParked, IsWaiting, Left
from eventsrc.durable._steps import until_of
from eventsrc.durable.journal import PREFIX, Ended, Entry, Parked, Waits, journals
from eventsrc.durable.operations import EVERY
from eventsrc.durable.runs import GoOnOp, Runs
from eventsrc.events.positions import START, Cursor, WrongStore
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.outages import Outage
from eventsrc.following.waiting import check_every, wait_for_events
from eventsrc.programs.program import Do, gather_all, program
from eventsrc.programs.world import Chance, Elapsed, Now, Sleep
from eventsrc.stores.operations import LoadSnapshot, ReadFeed, SaveSnapshot, Snapshot
from eventsrc.views.operations import Claim, Leave, check_lease
from eventsrc.views.view import View

WorkOp: TypeAlias = (
    GoOnOp | ReadFeed | LoadSnapshot | SaveSnapshot | Claim | Leave | Elapsed | Chance | Sleep
)
"""The operations of a worker, beside those of the programs. Those that share runs Claim and Leave."""

PARTITIONS: Final = 64
"""The shares that runs can be divided into."""

LONGEST_REST: Final = 1.0
"""The most seconds for which a worker looks at nothing; a clock that is set forward is noticed then."""

LONGEST_DELAY: Final = 5.0
"""The most seconds between two attempts of a run that another one has, or whose store is away."""

NOTED_EVERY: Final = 1_000
"""The events after which a worker notes again which runs are open."""

PAGE: Final = 1_000


@program
def work(
    *runs: Runs[..., Any],
    owner: str | None = None,
    lease: float = 10.0,
    every: float = EVERY,
    at_once: int = 16,
    until: Callable[[], bool] = lambda: False,
) -> Do[Any, None]:
    """Brings runs forward, for ever, alone or sharing them with other workers.

    owner: a name of its own for each of the workers that share the runs, such as the host's and the
        process's; None for one that has them all. With it, the interpreter needs a database of views.
    lease: seconds for which the others leave an owner's runs alone if it is not heard of: more than a
        handler takes.
    every: seconds between two looks at the feed, at its end.
    at_once: how many runs are brought forward side by side. Their operations are performed in rounds
        (see `gather`): with `run_async`, at once.
    until: tells whether to stop; it is asked before each run, and at least once a second.

    Runs of a program that fails are parked, and stop nobody else. While the store is away, it tries
    again. Raises ValueError for numbers that make no sense.
    """
    check_every(every)
    check_lease(lease)
    if at_once < 1 or not runs:
        raise ValueError(f"{at_once} of {runs} at once: give some runs, and at least one at once")
    worker = _Worker(runs, owner, lease, every, at_once)
    outage = Outage(f"a worker of {', '.join(each.name for each in runs)}", every)
    while not until():
        try:
            if not (yield from worker.go_on()):
                yield from worker.rest()
            yield from outage.end()
        except OUTAGES as error:
            yield from outage.wait(error)
    if owner is not None:
        yield from Leave(worker.leases, owner)


@program
def work_off(*runs: Runs[..., Any], at_once: int = 16) -> Do[Any, int]:
    """Brings forward all runs that can go on now, and all that become ready by that; then it ends.

    For tests and scripts. Answers how many attempts it took.
    """
    worker = _Worker(runs, None, inf, EVERY, at_once)
    attempts = 0
    while done := (yield from worker.go_on()):
        attempts += done
    return attempts


@attrs.frozen
class Checked:
    """The open runs, replayed against the code at hand.

    go_on: how many would go on. parked: the others, and why not. Printed, it is a summary.
    """

    go_on: int
    parked: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.go_on} would go on, {len(self.parked)} would park"]
        return "\n".join([*lines, *(f"  {name}: {why}" for name, why in self.parked.items())])


@program
def check(*runs: Runs[..., Any]) -> Do[Any, Checked]:
    """Replays all open runs against the code as it is now. Nothing is performed or written.

    For a deployment: run it with the new code on the store, and see what would park.
    """
    worker = _Worker(runs, None, inf, EVERY, 1)
    yield from worker.look()
    parked: dict[str, str] = {}
    go_on = 0
    for stream, its in sorted(worker.all_open()):
        left: Left = yield from its.go_on(journals.key(stream).id, only_replays=True)
        if isinstance(left, IsParked):
            parked[stream.removeprefix(PREFIX)] = left.why
        else:
            go_on += 1
    return Checked(go_on, parked)


@attrs.define(eq=False)
class _Open:
    """An open run, as a worker knows it."""

    runs: Runs[..., Any]
    version: int
    """Of its journal, up to which this is known."""
    until: datetime | None = None
    stream: str | None = None
    types: frozenset[str] = frozenset()
    is_parked: bool = False
    attempts: int = 0


class _Worker:
    """The knowledge of a worker about the runs: which are open, and what is to be done when."""

    def __init__(
        self,
        runs: tuple[Runs[..., Any], ...],
        owner: str | None,
        lease: float,
        every: float,
        at_once: int,
    ) -> None:
        self._runs = {its.name: its for its in runs}
        names = ",".join(sorted(self._runs))
        self._noted = f"open runs of {names}"
        self.leases: View[Any] = View(f"eventsrc.runs.{names}", version=1, partitions=PARTITIONS)
        self._owner = owner
        self._lease = lease
        self._every = every
        self._at_once = at_once
        self._mine: frozenset[int] = frozenset()
        self._claim_at = -inf
        self._cursor = START
        self._is_begun = False
        self._unnoted = 0
        self._open: dict[StreamId, _Open] = {}
        self._ready: dict[StreamId, None] = {}
        self._timers: list[tuple[datetime, StreamId]] = []
        self._delayed: list[tuple[float, StreamId]] = []
        self._waiting: dict[str, dict[StreamId, None]] = {}
        self._waited: Counter[str] = Counter()
        """The types of events that are waited for, and by how many."""
        codec = runs[0].codec
        its_types = Entry.__args__
        self._types = frozenset(codec.types.of(each).name for each in its_types)

    def all_open(self) -> list[tuple[StreamId, Runs[..., Any]]]:
        """The runs that have not ended."""
        return [(stream, its.runs) for stream, its in self._open.items()]

    # --- a round ------------------------------------------------------------------------------------

    def go_on(self) -> Do[Any, int]:
        """Looks what has come, and brings some runs forward; answers how many."""
        yield from self._claim()
        yield from self.look()
        now = yield from Now()
        elapsed = yield from Elapsed()
        while self._timers and self._timers[0][0] <= now:
            until, stream = heapq.heappop(self._timers)
            its = self._open.get(stream)
            if its is not None and its.until == until:
                self._ready[stream] = None
        while self._delayed and self._delayed[0][0] <= elapsed:
            self._ready[heapq.heappop(self._delayed)[1]] = None
        chosen: list[tuple[StreamId, _Open]] = []
        for stream in [*self._ready]:
            its = self._open.get(stream)
            if its is None or its.is_parked:
                del self._ready[stream]
            elif self._is_mine(stream):
                del self._ready[stream]
                chosen.append((stream, its))
                if len(chosen) == self._at_once:
                    break
        attempts = [its.runs.go_on(journals.key(stream).id) for stream, its in chosen]
        lefts: list[Left] = yield from gather_all(attempts)
        for (stream, its), left in zip(chosen, lefts, strict=True):
            self._leave(stream, its, left, elapsed)
        return len(chosen)

    def rest(self) -> Do[Any, None]:
        """Waits for something to come, until something else is to be done."""
        yield from self._note()
        elapsed = yield from Elapsed()
        left = min(LONGEST_REST, self._claim_at - elapsed)
        if self._timers:
            left = min(left, (self._timers[0][0] - (yield from Now())).total_seconds())
        if self._delayed:
            left = min(left, self._delayed[0][0] - elapsed)
        if left > 0:
            yield from wait_for_events(self._cursor, left, self._every)

    def _is_mine(self, stream: StreamId) -> bool:
        return self._owner is None or self.leases.partition_of(stream) in self._mine

    def _claim(self) -> Do[Any, None]:
        """Takes or keeps a share of the runs; those that come new to it are all looked at."""
        if self._owner is None:
            self._claim_at = inf
            return
        elapsed = yield from Elapsed()
        if elapsed < self._claim_at:
            return
        leases = yield from Claim(self.leases, self._owner, self._lease)
        self._claim_at = elapsed + self._lease / 3
        mine = frozenset(its.partition for its in leases)
        if mine - self._mine:
            gained = mine - self._mine
            for stream in self._open:
                if self.leases.partition_of(stream) in gained:
                    self._ready[stream] = None
        self._mine = mine

    def _leave(self, stream: StreamId, its: _Open, left: Left, elapsed: float) -> None:
        """Keeps how an attempt was left."""
        match left:
            case HasEnded():
                self._close(stream)
            case IsParked():
                its.is_parked = True
                self._forget_wait(stream, its)
            case IsWaiting(until, waits_for, types, version):
                its.attempts = 0
                its.version = max(its.version, version)
                self._wait(stream, its, until, waits_for, types)
            case _:
                its.attempts += 1
                delay = min(EVERY * 2 ** min(its.attempts - 1, 20), LONGEST_DELAY)
                heapq.heappush(self._delayed, (elapsed + delay, stream))

    # --- what it knows ------------------------------------------------------------------------------

    def look(self) -> Do[Any, None]:
        """Reads the feed to its end."""
        if not self._is_begun:
            yield from self._recall()
        while True:
            beginning = (its.beginning for its in self._runs.values())
            wanted = self._types.union(self._waited, *beginning)
            page = yield from ReadFeed(self._cursor, PAGE, types=wanted, all_streams=True)
            has_begun = False
            for event in page.events:
                has_begun = (yield from self._see(event)) or has_begun
            self._unnoted += len(page.events)
            self._cursor = page.next
            if page.blocked is not None or (page.next >= page.end and not has_begun):
                return

    def _see(self, event: Recorded[Any]) -> Do[Any, bool]:
        """Takes notice of an event; answers whether it has begun a run, which is an event itself."""
        stream = event.stream
        has_begun = False
        for run in self._waiting.get(stream, ()):
            if event.type in self._open[run].types:
                self._ready[run] = None
        if stream.startswith(PREFIX):
            runs = self._runs.get(stream.split("/")[2])
            if runs is not None and event.type in self._types and stream in journals:
                self._see_entry(stream, runs, event)
        else:
            for its in self._runs.values():
                if event.type in its.beginning:
                    has_begun = (yield from its.start_by(event)).is_new or has_begun
        return has_begun

    def _see_entry(self, stream: StreamId, runs: Runs[..., Any], event: Recorded[Any]) -> None:
        its = self._open.get(stream)
        if its is not None and event.version <= its.version:
            return
        entry, until = _read(event)
        if isinstance(entry, Ended):
            self._close(stream)
            return
        if its is None:
            its = self._open[stream] = _Open(runs, event.version)
        its.version = event.version
        its.is_parked = isinstance(entry, Parked)
        if until is not None:
            self._wait(stream, its, until, None, frozenset())
            self._ready.pop(stream, None)
        else:
            self._ready[stream] = None

    def _close(self, stream: StreamId) -> None:
        its = self._open.pop(stream, None)
        if its is not None:
            self._forget_wait(stream, its)
        self._ready.pop(stream, None)

    def _wait(
        self,
        stream: StreamId,
        its: _Open,
        until: datetime | None,
        waits_for: str | None,
        types: Iterable[str],
    ) -> None:
        self._forget_wait(stream, its)
        its.until, its.stream, its.types = until, waits_for, frozenset(types)
        if until is not None:
            heapq.heappush(self._timers, (until, stream))
        if waits_for is not None:
            self._waiting.setdefault(waits_for, {})[stream] = None
            self._waited.update(its.types)

    def _forget_wait(self, stream: StreamId, its: _Open) -> None:
        if its.stream is not None:
            waiting = self._waiting[its.stream]
            del waiting[stream]
            if not waiting:
                del self._waiting[its.stream]
            self._waited.subtract(its.types)
            self._waited += Counter()  # without those that nobody waits for any more
        its.until, its.stream, its.types = None, None, frozenset()

    # --- what it notes --------------------------------------------------------------------------------

    def _recall(self) -> Do[Any, None]:
        """Begins where a worker has noted which runs are open, if one has."""
        noted = yield from LoadSnapshot(_NOTED, self._noted, 1)
        self._is_begun = True
        if noted is None:
            return
        try:
            kept = json.loads(noted.data)
            cursor = Cursor.parse(kept["cursor"])
            found = {StreamId(text): self._runs[text.split("/")[2]] for text in kept["open"]}
            yield from ReadFeed(cursor, 1)
        except (WrongStore, ValueError, LookupError, TypeError, AttributeError):
            return  # the store was restored from a backup, or this is no note of a worker's
        self._cursor = cursor
        self._open |= {stream: _Open(runs, 0) for stream, runs in found.items() if stream in journals}
        self._ready |= dict.fromkeys(self._open)

    def _note(self) -> Do[Any, None]:
        """Notes which runs are open, if that has changed much."""
        if self._unnoted < NOTED_EVERY:
            return
        kept = {"cursor": str(self._cursor), "open": [*self._open]}
        data = json.dumps(kept).encode()
        yield from SaveSnapshot(Snapshot(_NOTED, self._noted, 1, self._cursor.position, data))
        self._unnoted = 0


def _read(event: Recorded[Any]) -> tuple[Entry | None, datetime | None]:
    """An entry, and the time that it waits for and nothing else; None where it cannot be read.

    An attempt then says why.
    """
    try:
        entry: Entry = event.data
        if isinstance(entry, Waits) and entry.stream is None:
            return entry, until_of(entry)
        return entry, None
    except EventsrcError:
        return None, None


_NOTED: Final = StreamId("eventsrc/runs")
"""Whose snapshots tell which runs are open: a stream that has no events."""
