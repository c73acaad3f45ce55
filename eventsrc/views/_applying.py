"""Applying events to views, over any database that has transactions.

Events are applied a page at a time, together with the guard and the cursor: first as if all of them
were next, and if that is not so, in another transaction after a look at the guards. If a handler
raises, the page is gone through once more, each event in a savepoint: those that fail are undone and
park their streams in the same transaction, and the others go on (`_Way` is the table of these). If a
page takes long, what is done of it is committed, so that others need not wait, and leases do not end
meanwhile.

A view can be in an external system that has no part in the transaction, its *target*: handlers are
given the target, and the cursor is committed after the effects. So after a crash, events of at most one
page come again, in the order of their streams. A guard in the target makes that harmless: it stores the
version of the event with what it made of it, and refuses one that is not newer (as Elasticsearch does
with `version_type=external`), which also keeps out a writer that wakes up late.

An event can also end the process. So each process sets a start marker, until it has brought the view
forward or has found that it cannot; if one began in vain, the next applies each event by itself and
announces it before, which shows which event it is.
"""

from __future__ import annotations

import enum
import logging
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary
from zlib import crc32

import attrs

from eventsrc._clock import monotonic
from eventsrc._errors import harmless
from eventsrc.events.codec import Undecodable, UnknownEvent
from eventsrc.events.pages import Events, of_streams
from eventsrc.events.positions import START, Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import on
from eventsrc.stores.operations import StoreBusy, StoreError
from eventsrc.views._definition import Definition
from eventsrc.views._ledger import Ledger, Unsettled
from eventsrc.views.guard import Moves, moves_of, sort_out
from eventsrc.views.operations import (
    Applied,
    Apply,
    CarryOver,
    Claim,
    Discard,
    Failed,
    GetApplied,
    GetLive,
    GetParked,
    GetProgress,
    GoLive,
    Lease,
    Leave,
    OpenedViews,
    Park,
    Parked,
    PartitionProgress,
    Progress,
    Skip,
    StartOver,
    Unpark,
    ViewOp,
    check_lease,
    checksum_of,
)
from eventsrc.views.view import BadHandler, View

T = TypeVar("T")

VAIN_STARTS: Final = 1
"""Processes in a row that must have begun in vain before events are tried one by one."""

VAIN_TRIES: Final = 2
"""Processes in a row that must have ended while they applied an event before it is parked."""

LONG: Final = 1.0
"""Seconds after which the finished part of a page is committed; a third of a shorter lease."""

_SOON: Final = 0.1
"""Seconds to wait for others in order to clear a start marker."""

_log = logging.getLogger("eventsrc")


class LedgerViews(OpenedViews[ViewOp]):
    """The view operations, over what is particular to a database."""

    def __init__(self, clock: Callable[[], float] = time.time, *, target: object = None) -> None:
        self._clock = clock
        self.target: Final = target
        """The external system, if any, that handlers are given; nothing in it is rolled back."""
        self._trust: dict[tuple[str, int, int], _Trust] = {}
        self._compared: WeakKeyDictionary[View[Any], tuple[str, ...]] = WeakKeyDictionary()
        self._definitions: WeakKeyDictionary[View[Any], tuple[tuple[str, ...], Definition]] = (
            WeakKeyDictionary()
        )
        self._applying: set[tuple[str, int, int]] = set()

    # Particular to a database:

    @abstractmethod
    def writing(self, view: View[Any], within: float | None = None) -> AbstractContextManager[Ledger]:
        """A transaction that may write, with the view's tables made.

        within: for how many seconds to wait for others, if not for as long as for anything.
        """

    @abstractmethod
    def looking(self, view: View[Any]) -> AbstractContextManager[Ledger | None]:
        """A ledger for reading only; None if the view was never made."""

    @abstractmethod
    def _live(self, view: View[Any]) -> int: ...

    @abstractmethod
    def _go_live(self, view: View[Any]) -> None: ...

    @abstractmethod
    def _discard(self, view: View[Any]) -> None: ...

    @abstractmethod
    def _start_over(self, view: View[Any]) -> None: ...

    @abstractmethod
    def _scratch(self, view: View[Any]) -> AbstractContextManager[Ledger]:
        """A place for the view's tables that is thrown away with all that is made in it."""

    # The same everywhere:

    @on(GetProgress)
    def get_progress(self, op: GetProgress) -> Progress:
        """The progress of a view. The first time, what the view sees and handles is compared with what
        was built; one without handlers, here, is only looked at."""
        view, handled = op.view, op.view.handled
        unmade = (PartitionProgress(START, 0),) * view.partitions

        def look(ledger: Ledger) -> tuple[PartitionProgress, ...]:
            if handled and self._compared.get(view) != handled:
                ledger.compare(view, Definition.of(view, None, ""), ledger.definition())
                self._compared[view] = handled
            found = ledger.partitions()
            view.check_partitions(len(found))
            return found

        return Progress(self._seen(view, look, unmade) or unmade)

    @on(GetApplied)
    def get_applied(self, op: GetApplied) -> Mapping[StreamId, int]:
        """The versions that a view has applied of some streams."""

        def look(ledger: Ledger) -> dict[str, int]:
            ledger.check_store(op.view, op.store_id, op.epoch)
            return ledger.guards(op.streams)[0]

        nothing: dict[str, int] = {}
        found = self._seen(op.view, look, nothing)
        return {stream: found.get(stream, 0) for stream in op.streams}

    @on(GetParked)
    def get_parked(self, op: GetParked) -> tuple[Parked, ...]:
        """The parked streams of a view."""
        if op.limit is not None and op.limit < 1:
            raise ValueError(f"a limit of {op.limit} parked streams shows none: give 1 at least")
        return self._seen(op.view, lambda ledger: ledger.parked(op.limit, op.after), ())

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        """Applies events to a view."""
        op = _seen_by_view(op)
        self._definition(op.view)  # found before the transaction, and kept
        mine = op.view.name, op.view.version, threading.get_ident()
        if mine in self._applying:
            raise BadHandler(
                f"a handler of {op.view!r} had its own view brought forward, which waits for it"
            )
        self._applying.add(mine)
        try:
            if op.events and not op.parked_too and self._is_careful(op):
                return self._apply_each(op)
            return self._apply(op)
        except SystemExit:  # the process ends, and the next one is to know at which event
            raise
        except BaseException:
            self._take_back(op)
            raise
        finally:
            self._applying.discard(mine)

    @on(Apply).coroutine
    async def apply_async(self, op: Apply) -> Applied:
        """Applies events to a view, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.apply, op)

    @on(CarryOver)
    def carry_over(self, op: CarryOver) -> None:
        """Takes a view to the current epoch of its store."""
        with self.writing(op.view) as ledger:
            ledger.carry_over(op.view, op.epochs)

    @on(Park)
    def park(self, op: Park) -> None:
        """Holds back a stream, unless another synchroniser has applied the event meanwhile."""
        with self._at_stream(op.view, op.failed.stream) as ledger:
            ledger.park(op.failed, self._now())

    @on(Unpark)
    def unpark(self, op: Unpark) -> bool:
        """Lets a parked stream go on."""
        with self._at_stream(op.view, op.stream) as ledger:
            return ledger.unpark(op.stream)

    @on(Skip)
    def skip(self, op: Skip) -> bool:
        """Goes past the event at which a stream is parked."""
        with self._at_stream(op.view, op.stream) as ledger:
            return ledger.skip(op.stream, op.version)

    @on(Claim)
    def claim(self, op: Claim) -> tuple[Lease, ...]:
        """Takes or keeps an owner's share of the partitions of a view."""
        check_lease(op.seconds)
        with self.writing(op.view) as ledger:
            return ledger.claim(op.owner, op.seconds)

    @on(Leave)
    def leave(self, op: Leave) -> None:
        """Gives an owner's partitions to the others."""
        with self.writing(op.view) as ledger:
            ledger.leave(op.owner)

    @on(GetLive)
    def get_live(self, op: GetLive) -> int:
        """The version of a view that queries read."""
        return self._live(op.view)

    @on(GoLive)
    def go_live(self, op: GoLive) -> None:
        """Has queries read this version of a view."""
        self._go_live(op.view)

    @on(Discard)
    def discard(self, op: Discard) -> None:
        """Removes what a version of a view has built."""
        self._discard(op.view)

    @on(StartOver)
    def start_over(self, op: StartOver) -> None:
        """Removes what a version of a view has built, and makes its tables anew."""
        self._start_over(op.view)

    def _definition(self, view: View[Any]) -> Definition:
        """The definition of a view as it is now."""
        handled = view.handled
        known = self._definitions.get(view)
        if known is None or known[0] != handled:
            known = handled, Definition.of(view, *self._tables_of(view))
            self._definitions[view] = known
        return known[1]

    def _tables_of(self, view: View[Any]) -> tuple[Sequence[str] | None, str]:
        """The tables that a view's schema function makes, found by running it where nothing is kept."""
        if self.target is not None:
            return None, ""
        ledger: Ledger | None = None
        try:
            with self._scratch(view) as ledger:
                with ledger.handling(view):
                    view.create(ledger.database)
                return ledger.described()
        except Exception as error:
            if isinstance(error, StoreError) and type(error) is not StoreError:
                raise  # it is about the database, and not about what is asked of it
            if ledger is not None and ledger.is_infrastructure(error):
                raise
            _log.warning(
                "whether the schema function of %r has changed is not known: it cannot be run once "
                "more, in a place where nothing is kept",
                view,
                exc_info=error,
            )
            return None, ""

    def _check_place(self, view: View[Any]) -> None:
        """Raises OtherDefinition if a view of another name is kept where this one would be."""
        with self.looking(view) as ledger:
            kept = None if ledger is None else ledger.definition()
        if ledger is not None and kept is not None and kept.view != view.name:
            ledger.compare(view, Definition.of(view, None, ""), kept)

    def _seen(self, view: View[Any], look: Callable[[Ledger], T], nothing: T) -> T:
        """Looks into the ledger of a view; answers `nothing` if it was never made."""
        with self.looking(view) as ledger:
            return nothing if ledger is None else look(ledger)

    @contextmanager
    def _at_stream(self, view: View[Any], stream: StreamId) -> Iterator[Ledger]:
        """A transaction that excludes others from applying or holding back events of a stream."""
        with self.writing(view) as ledger:
            ledger.begin(view, [stream], view.partition_of(stream), None, None, 1)
            yield ledger

    def _now(self) -> str:
        return f"{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%dT%H:%M:%SZ}"

    # Applying:

    def _apply(self, op: Apply, *, is_safe: bool = True) -> Applied:
        """Applies a page; events that fail park their streams.

        is_safe: whether success proves that these events do not end the process.
        """
        moves = None if op.parked_too else moves_of(op.events)
        way = _Way.SORTED if moves is None else _Way.IN_TURN
        proves = is_safe and self._trust.get(_key(op), _Trust.PROVED) is not _Trust.PROVED
        first: Exception | None = None
        ended: list[Failed] = []
        applied = 0
        while True:
            failures: list[_Failing] = []
            ledger: Ledger | None = None
            try:
                with self.writing(op.view, op.within) as ledger:
                    if way is _Way.IN_TURN and moves is not None:
                        done = self._apply_in_turn(ledger, op, moves)
                    else:
                        done = self._apply_sorted(ledger, op, way, failures)
                    if proves:
                        ledger.started(op.partition)
            except _Ended as why:
                if op.view.failing == "stop":
                    raise why.error from None
                before = op.events[: [*op.events].index(why.event)]  # which went with the transaction
                if before:
                    done = self._apply(_with_events(op, before, None), is_safe=is_safe)
                    applied += done.applied
                    ended += done.failed
                ended.append(why.described())
                self.park(Park(op.view, ended[-1]))
                _log.error("%r parks %s", op.view, ended[-1].stream, exc_info=why.error)
                if op.parked_too:
                    return Applied(applied, 0, failed=tuple(ended))
                way = _Way.SORTED
            except (_OutOfTurn, Unsettled, _Failing) as why:
                if isinstance(why, _Failing):
                    if why.event is not None and op.view.failing == "stop":
                        raise why.error from None
                    first = why.error
                way = _NEXT[way, type(why)]
            except Exception as error:
                if ledger is None or not ledger.has_handled:
                    raise
                _check_blame(ledger, error)
                if way is not _Way.ONE_BY_ONE:
                    first, way = error, _Way.ONE_BY_ONE  # what one of the events did
                elif op.view.failing == "stop":
                    raise
                elif op.parked_too or len(op.events) == 1:
                    event = op.events[0]
                    op.view.tell(error, event)
                    ended.append(_Ended(event, error).described())
                    self.park(Park(op.view, ended[-1]))
                    _log.error("%r parks %s", op.view, ended[-1].stream, exc_info=error)
                    return Applied(applied, 0, failed=tuple(ended))
                else:  # each in a transaction of its own: what one does shows as that is committed
                    for event in op.events:
                        done = self._apply(_with_events(op, (event,), None), is_safe=is_safe)
                        applied += done.applied
                        ended += done.failed
                    way = _Way.SORTED
            else:
                if proves:
                    self._trust[_key(op)] = _Trust.PROVED
                if first is not None and not failures:
                    _log.warning("%r met an error that did not come again", op.view, exc_info=first)
                for each in failures:
                    assert each.event is not None
                    _log.error("%r parks %s", op.view, each.event.record.stream, exc_info=each.error)
                if ended:
                    failed = *ended, *done.failed
                    return attrs.evolve(done, applied=applied + done.applied, failed=failed)
                return done

    def _apply_in_turn(self, ledger: Ledger, op: Apply, moves: Moves) -> Applied:
        """Applies the events if all of them are next, as mostly they are. Raises _OutOfTurn if not."""
        self._begin(ledger, op, moves.after, applies=True)
        if moves.after and not ledger.advance(moves):
            raise _OutOfTurn
        events = op.events
        if isinstance(events, Events):
            events.prefetch()
        count = self._handle(ledger, op, events)
        left = events[count:]
        if left:
            ledger.move_guards({e.record.stream: e.record.version - 1 for e in reversed(left)})
        cursor, last = _cursor(op, events, count), _last(op, events[:count][-1:])
        ledger.move(op.partition, {}, count, cursor, *_source(op, count), last)
        return Applied(count, 0, left=len(left))

    def _apply_sorted(self, ledger: Ledger, op: Apply, way: _Way, failures: list[_Failing]) -> Applied:
        """Applies those of the events that are next.

        failures: what failed is added to it, if that is to be found out.
        """
        guards, parked = self._guards(ledger, op, applies=True)
        work = sort_out(guards, op.events, () if op.parked_too else parked)
        if isinstance(op.events, Events):
            op.events.prefetch()
        events = work.to_apply
        held = dict(work.held)
        failed: dict[str, Failed] = {}
        if way is _Way.ONE_BY_ONE:
            count = self._sift(ledger, op, events, failures)
            failed = {each.stream: each for each in map(_Failing.described, failures)}
            for failure in failed.values():
                ledger.park(failure, self._now())
            came = [(e.record.stream, e.record.version) for e in events if e.record.stream in failed]
            came += [(gap.stream, gap.came) for gap in work.gaps if gap.stream in failed]
            for stream, version in came:
                held[stream] = max(version, held.get(stream, 0))
        else:
            count = self._handle(ledger, op, events)
        gaps = tuple([gap for gap in work.gaps if gap.stream not in failed])
        applied = [event for event in events[:count] if _is_before(event, failed)]
        ledger.hold_back(held)
        moved = {event.record.stream: event.record.version for event in applied}
        cursor = None if gaps else _cursor(op, events, count)
        last = _last(op, applied[-1:])
        ledger.move(op.partition, moved, len(applied), cursor, *_source(op, len(applied)), last)
        left = len(events) - count
        return Applied(len(applied), work.ignored, gaps, len(held), tuple(failed.values()), left)

    def _guards(
        self, ledger: Ledger, op: Apply, *, applies: bool = False
    ) -> tuple[dict[str, int], set[str]]:
        """The versions that were applied of the events' streams, and which of them are parked."""
        streams = sorted({event.record.stream for event in op.events})
        self._begin(ledger, op, streams, applies=applies)
        return ledger.guards(streams)

    def _begin(self, ledger: Ledger, op: Apply, streams: Iterable[str], *, applies: bool) -> None:
        """Locks what events of some streams are to be applied to."""
        source = op.lease, _store(op), _epoch(op)
        its = self._definition(op.view)
        ledger.begin(
            op.view,
            streams,
            op.partition,
            *source,
            applies=applies,
            definition=its,
            after=op.after,
        )

    def _handle(self, ledger: Ledger, op: Apply, events: Sequence[Recorded[Any]]) -> int:
        """Has the view's handlers apply these events; answers how many, as they may take too long.

        Raises _Failing for one that cannot be applied.
        """
        view, database = op.view, ledger.database
        clock, end, is_open = monotonic, _end(op), ledger.is_open
        is_one = not view.takes_many
        apply: Callable[[Any, Any], None] = view.apply if is_one else view.apply_run
        steps = cast("Iterable[Any]", events if is_one else view.runs(events))
        count = 0
        try:
            with ledger.handling(view):
                ledger.has_handled = True
                for step in steps:
                    try:
                        apply(database, step)
                    except BaseException as error:
                        what = blamed(ledger, view, step if is_one else None, error)
                        raise _Failing(step if is_one else None, what) from error
                    count += 1 if is_one else len(step)
                    if not is_open() or clock() > end:
                        break
        except BadHandler as error:
            raise _Failing(None, error) from error
        return count

    def _sift(
        self, ledger: Ledger, op: Apply, events: Sequence[Recorded[Any]], failures: list[_Failing]
    ) -> int:
        """As `_handle`, each event by itself: those that fail are undone and become failures, and what
        follows of their streams is left out."""
        view, end = op.view, _end(op)
        failed: set[str] = set()
        count = 0
        with ledger.handling(view):
            ledger.has_handled = True
            for event in events:
                count += 1
                stream = event.record.stream
                if stream in failed:
                    continue
                ledger.savepoint()
                try:
                    view.apply(ledger.database, event)
                    ledger.check_handled()
                    ledger.settle()
                    ledger.release()
                except BaseException as error:
                    what = blamed(ledger, view, event, error)
                    if ledger.has_ended():
                        raise _Ended(event, what) from error
                    failing = _Failing(event, what)
                    if view.failing == "stop":
                        raise failing from error
                    try:
                        ledger.roll_back()
                    except Exception as other:  # it is another transaction, which has failed as well
                        _check_blame(ledger, other)
                        raise _Ended(event, what) from error
                    failed.add(stream)
                    failures.append(failing)
                if not ledger.is_open() or monotonic() > end:
                    break
        return count

    # Finding the event that ends the process:

    def _is_careful(self, op: Apply) -> bool:
        """True if earlier processes seem to have ended because of one of the events."""
        if op.view.failing == "stop":  # which parks nothing, and applies a page or nothing of it
            return False
        trust = self._trust.get(_key(op))
        if trust is None:
            with self.writing(op.view, op.within) as ledger:
                is_vain = ledger.start_up(op.partition) > VAIN_STARTS
            trust = self._trust[_key(op)] = _Trust.NONE if is_vain else _Trust.SOME
        return trust is _Trust.NONE

    def _take_back(self, op: Apply) -> None:
        """Clears the start marker: this process survived and reported the error."""
        key = _key(op)
        if self._trust.get(key, _Trust.PROVED) is _Trust.PROVED:
            return
        with suppress(Exception), self.writing(op.view, _SOON) as ledger:
            ledger.survived(op.partition)
            del self._trust[key]  # to begin once more

    def _apply_each(self, op: Apply) -> Applied:
        """Applies the events of a page each by itself, counting how often each was tried."""
        with self.writing(op.view, op.within) as ledger:
            guards, parked = self._guards(ledger, op)
        work = sort_out(guards, op.events, parked)
        applied = 0
        failed: dict[str, Failed] = {}
        for event in work.to_apply:
            stream = event.record.stream
            if stream in failed:
                continue
            with self.writing(op.view, op.within) as ledger:
                tries = ledger.attempt(op.partition, _number(event))
            if tries > VAIN_TRIES:
                why = f"{tries - 1} processes in a row ended while they applied this event"
                failed[stream] = _failed(event, why, is_deadly=True)
                self.park(Park(op.view, failed[stream]))
                _log.error("%r parks %s: %s", op.view, stream, harmless(str(why)))
                continue
            cursor = None
            if op.cursor is not None and not work.gaps and not failed:
                cursor = Cursor(op.cursor.store_id, event.position, op.cursor.epoch)
            alone = _with_events(op, (event,), cursor)
            try:
                done = self._apply(alone, is_safe=False)
            except SystemExit:
                raise
            except BaseException:
                with suppress(Exception), self.writing(op.view, _SOON) as ledger:
                    ledger.untried(op.partition)
                raise
            applied += done.applied
            failed |= {each.stream: each for each in done.failed}
        rest = self._apply(op)
        return attrs.evolve(
            rest,
            applied=applied + rest.applied,
            ignored=work.ignored,
            failed=(*failed.values(), *rest.failed),
        )


def _seen_by_view(op: Apply) -> Apply:
    """Without the events of streams that the view does not see."""
    sees = op.view.sees
    if all(sees(event.record.stream) for event in op.events):
        return op
    return _with_events(op, of_streams(op.events, sees), op.cursor)


def _with_events(op: Apply, events: Sequence[Recorded[Any]], cursor: Cursor | None) -> Apply:
    """The same for other events."""
    beside = op.partition, op.lease, op.parked_too, _store(op), op.within, _epoch(op), op.after
    return Apply(op.view, events, cursor, *beside)


def _end(op: Apply) -> float:
    """The time by which to commit, by _clock.monotonic()."""
    seconds = LONG if op.lease is None else min(LONG, op.lease.seconds / 3)
    if op.within is not None:
        seconds = min(seconds, op.within)
    return monotonic() + seconds


def _cursor(op: Apply, events: Sequence[Recorded[Any]], count: int) -> Cursor | None:
    """The cursor of the view after so many of the events."""
    if op.cursor is None or count == len(events):
        return op.cursor
    return Cursor(op.cursor.store_id, events[count - 1].position, op.cursor.epoch)


def _number(event: Recorded[Any]) -> int:
    """A number of an event by itself: its position, if that was read."""
    record = event.record
    return record.position or -1 - crc32(f"{record.stream}@{record.version}".encode())


def _is_before(event: Recorded[Any], failed: Mapping[str, Failed]) -> bool:
    """True if an event has not failed, nor is held back behind one that has."""
    failure = failed.get(event.record.stream)
    return failure is None or event.record.version < failure.version


def blamed(
    ledger: Ledger, view: View[Any], event: Recorded[Any] | None, error: BaseException
) -> Exception:
    """The fault of a handler that raised an error. Raises it again if no event is to blame."""
    if not isinstance(error, Exception):
        if not _is_cancellation(error):
            raise error
        told = BadHandler(
            "a handler was cancelled in the middle, by what it runs itself: nobody else can cancel it"
        )
        told.__cause__ = error
        error = told
    what = ledger.blamed(error)
    _check_blame(ledger, what)
    if event is not None:
        view.tell(what, event)
    return what


def _check_blame(ledger: Ledger, error: Exception) -> None:
    """Raises an error again that no event is to blame for.

    Whatever a handler does or raises is the failure of its event, except where the database of the view
    itself is away or crowded, and for StoreBusy: by that a handler has its view wait for what it needs.
    """
    if isinstance(error, StoreBusy) or ledger.is_infrastructure(error):
        raise error


def _is_cancellation(error: BaseException) -> bool:
    """True for what asyncio raises in a task that is cancelled.

    No task in which events are applied can be cancelled inside a handler, which awaits nothing.
    """
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _store(op: Apply) -> str | None:
    """Whose events they are, if that is known."""
    return op.store_id if op.cursor is None else op.cursor.store_id


def _epoch(op: Apply) -> int:
    """The epoch of that store."""
    return op.epoch if op.cursor is None else op.cursor.epoch


def _source(op: Apply, applied: int) -> tuple[str | None, int, int]:
    """The store and epoch of the events, and the last position of those that came out of their turn."""
    is_ahead = applied and op.cursor is None
    reached = max((e.record.position for e in op.events), default=0) if is_ahead else 0
    return _store(op), _epoch(op), reached


def _last(op: Apply, events: Sequence[Recorded[Any]]) -> tuple[int, int]:
    """The position and the checksum of the last event, if it is of the feed."""
    if op.cursor is None or not events:
        return 0, 0
    return events[-1].record.position, checksum_of(events[-1])


def _key(op: Apply) -> tuple[str, int, int]:
    """Which view and partition."""
    return op.view.name, op.view.version, op.partition


class _Trust(enum.Enum):
    """The evidence that events leave this process alive."""

    NONE = "processes before it ended at this place"
    SOME = "it has not applied any yet"
    PROVED = "it has applied some"


class _OutOfTurn(Exception):
    """Some events are not next, or their streams are parked: it ends the transaction."""


class _Failing(Exception):
    """A handler raised: it ends the transaction. event: None if it may have been any."""

    def __init__(self, event: Recorded[Any] | None, error: Exception) -> None:
        super().__init__(event, error)
        self.event = event
        self.error = error

    def described(self) -> Failed:
        """The event that failed, as views answer it."""
        assert self.event is not None
        is_undecodable = isinstance(self.error, UnknownEvent | Undecodable)
        return _failed(self.event, described(self.error), is_undecodable=is_undecodable)


class _Ended(_Failing):
    """A handler ended the transaction, and with it the savepoint to which it would be undone."""

    event: Recorded[Any]


class _Way(enum.Enum):
    """The ways to apply a page, each in a transaction of its own, the fastest first."""

    IN_TURN = "as if every event were the next of its stream, and none of the streams parked"
    SORTED = "the events that are next, found by a look at the guards of their streams"
    ONE_BY_ONE = "the same, each in a savepoint: those that fail are undone and park their streams"


_NEXT: Final = {
    (_Way.IN_TURN, _OutOfTurn): _Way.SORTED,
    (_Way.IN_TURN, _Failing): _Way.ONE_BY_ONE,
    (_Way.SORTED, _Failing): _Way.ONE_BY_ONE,
    (_Way.IN_TURN, Unsettled): _Way.ONE_BY_ONE,
    (_Way.SORTED, Unsettled): _Way.ONE_BY_ONE,
}
"""Which way follows one that ended so. In the last, an event fails only of a view that stops at it."""


def _failed(
    event: Recorded[Any], error: str, *, is_deadly: bool = False, is_undecodable: bool = False
) -> Failed:
    position = event.record.position  # 0 if it was not read
    beside = event.type, error, is_deadly, is_undecodable
    return Failed(event.stream, event.version, position, *beside)


def described(error: Exception) -> str:
    """An error in a line or a few, with its notes, as it is kept of a parked stream.

    Whatever the error's text is, every database can keep this one: it has no NUL and no half of a
    surrogate pair, and is not too long.
    """
    try:
        texts = [f"{type(error).__name__}: {error}"]
    except Exception:  # of a `__str__` of the user's
        texts = [f"{type(error).__name__}, whose text cannot be had"]
    notes = getattr(error, "__notes__", ())
    texts += [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
    kept = [text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…" for text in texts]
    text = "\n".join(kept[:_MOST_NOTES])
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


_LONGEST_TEXT: Final = 5000
_MOST_NOTES: Final = 5
