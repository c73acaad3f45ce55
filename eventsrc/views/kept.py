"""How views are kept in a database that has transactions, whichever it is.

Events are applied a page at a time, together with the guard and the place in the feed: first as if
all of them were next, and if that is not so, in another transaction after a look at each. If a handler
raises, nothing of its event is kept: the events before it are applied in another transaction, and the
answer says which event failed, for the synchroniser to park it.

A view can be kept in a system that has no part in the transaction, a *sink*: handlers are given the
sink, and the place in the feed is committed after the effects. So after a crash, events of at most one
page come again, in the order of their streams. What makes that harmless is a guard in the sink: it
keeps the version of the event with what it made of it, and refuses what is not newer (as Elasticsearch
does with `version_type=external`), which also keeps out a writer that wakes up late.

An event can also end the process. So each process says that it begins, until it has brought the view
forward; if one began in vain, the next applies each event by itself and says so before, which shows
which event it is.
"""

from __future__ import annotations

import enum
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from eventsrc.guard import Moves, in_turn, sort_out
from eventsrc.interpreter import Interpreter, on
from eventsrc.positions import START, Cursor
from eventsrc.recorded import Recorded
from eventsrc.recorded_events import Events
from eventsrc.store import StoreError
from eventsrc.stream_id import StreamId
from eventsrc.view import (
    Applied,
    Apply,
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
    Park,
    Parked,
    Part,
    Progress,
    Unpark,
    View,
    ViewOp,
)
from eventsrc.views.ledger import Ledger

T = TypeVar("T")

VAIN_STARTS: Final = 1
"""How many processes in a row must have begun in vain before events are tried one by one."""

VAIN_TRIES: Final = 2
"""How many processes in a row must have ended while they applied an event before it is parked."""

_log = logging.getLogger("eventsrc")


class KeptViews(Interpreter[ViewOp]):
    """The view operations, over what is particular to a database."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._trust: dict[tuple[str, int, int], _Trust] = {}

    # What is particular to a database:

    @abstractmethod
    def writing(self, view: View[Any], within: float | None = None) -> AbstractContextManager[Ledger]:
        """A transaction that may write, with the view's tables made.

        within: for how many seconds to wait for others, if not for as long as for anything.
        """

    @abstractmethod
    def looking(self, view: View[Any]) -> AbstractContextManager[Ledger | None]:
        """What only reads; None if the view was never made."""

    @abstractmethod
    def _live(self, view: View[Any]) -> int: ...

    @abstractmethod
    def _go_live(self, view: View[Any]) -> None: ...

    @abstractmethod
    def _discard(self, view: View[Any]) -> None: ...

    # What is the same everywhere:

    @on(GetProgress)
    def get_progress(self, op: GetProgress) -> Progress:
        """How far a view has come."""
        unmade = (Part(START, 0),) * op.view.partitions
        return Progress(self._seen(op.view, lambda ledger: ledger.parts(), unmade) or unmade)

    @on(GetApplied)
    def get_applied(self, op: GetApplied) -> Mapping[StreamId, int]:
        """The versions that a view has applied of some streams."""

        def look(ledger: Ledger) -> dict[str, int]:
            ledger.check_store(op.view, op.store)
            return ledger.guards(op.streams)[0]

        nothing: dict[str, int] = {}
        found = self._seen(op.view, look, nothing)
        return {stream: found.get(stream, 0) for stream in op.streams}

    @on(GetParked)
    def get_parked(self, op: GetParked) -> tuple[Parked, ...]:
        """The parked streams of a view."""
        return self._seen(op.view, lambda ledger: ledger.parked(), ())

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        """Applies events to a view."""
        if op.events and not op.parked_too and self._is_careful(op):
            return self._apply_each(op)
        return self._apply(op)

    @on(Apply).coroutine
    async def apply_async(self, op: Apply) -> Applied:
        """Applies events to a view, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.apply, op)

    @on(Park)
    def park(self, op: Park) -> None:
        """Holds back a stream, unless somebody else has applied the event meanwhile."""
        with self._at_stream(op.view, op.failed.stream) as ledger:
            ledger.park(op.failed, f"{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%dT%H:%M:%SZ}")

    @on(Unpark)
    def unpark(self, op: Unpark) -> bool:
        """Lets a parked stream go on."""
        with self._at_stream(op.view, op.stream) as ledger:
            return ledger.unpark(op.stream)

    @on(Claim)
    def claim(self, op: Claim) -> tuple[Lease, ...]:
        """Takes or keeps an owner's share of the partitions of a view."""
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

    def _seen(self, view: View[Any], look: Callable[[Ledger], T], nothing: T) -> T:
        """What is seen in the ledger of a view; nothing if it was never made."""
        with self.looking(view) as ledger:
            return nothing if ledger is None else look(ledger)

    @contextmanager
    def _at_stream(self, view: View[Any], stream: StreamId) -> Iterator[Ledger]:
        """A transaction in which nobody else applies events of a stream, or holds them back."""
        with self.writing(view) as ledger:
            ledger.begin(view, [stream], view.part_of(stream), None, None)
            yield ledger

    # Applying:

    def _apply(self, op: Apply, *, is_safe: bool = True) -> Applied:
        """Applies a page; if an event fails, those before it.

        is_safe: whether it is shown then that these events do not end the process.
        """
        before: Recorded[Any] | None = None
        failed: Failed | None = None
        together = op.view.takes_many
        moves = None if op.parked_too else in_turn(op.events)
        proves = is_safe and self._trust.get(_key(op), _Trust.PROVED) is not _Trust.PROVED
        while True:
            try:
                with self.writing(op.view, op.within) as ledger:
                    if moves is not None:
                        done = self._apply_in_turn(ledger, op, moves, together)
                    else:
                        done = self._apply_until(ledger, op, before, failed, together)
                    if proves:
                        ledger.started(op.part)
            except _OutOfTurn:
                moves = None
            except _Failing as failing:
                moves = None
                if failing.event is None:  # any of them: take them one by one
                    together = False
                    continue
                if op.view.failing == "stop":
                    raise failing.error from None
                before, failed = failing.event, _failed(failing.event, told(failing.error))
                _log.error("%r parks %s", op.view, failed.stream, exc_info=failing.error)
            else:
                if proves:
                    self._trust[_key(op)] = _Trust.PROVED
                return done

    def _apply_in_turn(self, ledger: Ledger, op: Apply, moves: Moves, together: bool) -> Applied:
        """Applies the events if all of them are next, as mostly they are. Raises _OutOfTurn if not."""
        ledger.begin(op.view, moves.after, op.part, op.lease, _store(op))
        if moves.after and not ledger.advance(moves):
            raise _OutOfTurn
        if isinstance(op.events, Events):
            op.events.prefetch()
        self._handle(ledger, op.view, op.events, together)
        ledger.move(op.part, {}, len(op.events), op.cursor, _store(op))
        return Applied(len(op.events), 0)

    def _apply_until(
        self,
        ledger: Ledger,
        op: Apply,
        before: Recorded[Any] | None,
        failed: Failed | None,
        together: bool,
    ) -> Applied:
        """Applies the events, or those before one that failed."""
        guards, parked = self._guards(ledger, op)
        work = sort_out(guards, op.events, () if op.parked_too else parked)
        if isinstance(op.events, Events):
            op.events.prefetch()
        if before is not None and before in work.to_apply:
            sound = work.to_apply[: work.to_apply.index(before)]
            self._handle(ledger, op.view, sound, together)
            moved = {event.record.stream: event.record.version for event in sound}
            ledger.move(op.part, moved, len(sound), None, _store(op))
            return Applied(len(sound), work.ignored, failed=failed)
        self._handle(ledger, op.view, work.to_apply, together)
        ledger.hold(work.held)
        count = len(work.to_apply)
        ledger.move(op.part, work.applied, count, None if work.gaps else op.cursor, _store(op))
        return Applied(count, work.ignored, work.gaps, len(work.held))

    def _guards(self, ledger: Ledger, op: Apply) -> tuple[dict[str, int], set[str]]:
        """The versions that were applied of the events' streams, and which of them are parked."""
        streams = sorted({event.record.stream for event in op.events})
        ledger.begin(op.view, streams, op.part, op.lease, _store(op))
        return ledger.guards(streams)

    def _handle(
        self, ledger: Ledger, view: View[Any], events: Sequence[Recorded[Any]], together: bool
    ) -> None:
        """Has the view's handlers apply these events. Raises _Failing for one that cannot be."""
        apply, database = view.apply, ledger.database
        event: Recorded[Any] | None = None
        try:
            if together:
                view.apply_all(database, events)
            else:
                for event in events:
                    apply(database, event)
        except StoreError:
            raise
        except Exception as error:
            if ledger.is_surroundings(error):
                raise
            raise _Failing(event, error) from error

    # Finding the event that ends the process:

    def _is_careful(self, op: Apply) -> bool:
        """Whether earlier processes seem to have ended because of one of the events."""
        trust = self._trust.get(_key(op))
        if trust is None:
            with self.writing(op.view, op.within) as ledger:
                is_vain = ledger.start_up(op.part) > VAIN_STARTS
            trust = self._trust[_key(op)] = _Trust.NONE if is_vain else _Trust.SOME
        return trust is _Trust.NONE

    def _apply_each(self, op: Apply) -> Applied:
        """Applies the events of a page each by itself, counting how often each was tried."""
        with self.writing(op.view, op.within) as ledger:
            guards, parked = self._guards(ledger, op)
        work = sort_out(guards, op.events, parked)
        applied = 0
        for event in work.to_apply:
            with self.writing(op.view, op.within) as ledger:
                tries = ledger.attempt(op.part, event.position)
            if tries > VAIN_TRIES:
                why = f"{tries - 1} processes in a row ended while they applied this event"
                failed = _failed(event, why, is_deadly=True)
                _log.error("%r parks %s: %s", op.view, failed.stream, why)
                return Applied(applied, work.ignored, failed=failed)
            cursor = None
            if op.cursor is not None and not work.gaps:
                cursor = Cursor(op.cursor.store, event.position)
            alone = Apply(op.view, (event,), cursor, op.part, op.lease, False, _store(op), op.within)
            done = self._apply(alone, is_safe=False)
            applied += done.applied
            if done.failed is not None:
                return Applied(applied, work.ignored, failed=done.failed)
        rest = self._apply(op)
        return Applied(applied + rest.applied, work.ignored, rest.gaps, rest.held, rest.failed)


def _store(op: Apply) -> str | None:
    """Whose events they are, if that is known."""
    return op.store if op.cursor is None else op.cursor.store


def _key(op: Apply) -> tuple[str, int, int]:
    """Which view and partition."""
    return op.view.name, op.view.version, op.part


class _Trust(enum.Enum):
    """Whether the events that come may be expected to leave this process alive."""

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


def _failed(event: Recorded[Any], error: str, *, is_deadly: bool = False) -> Failed:
    return Failed(event.stream, event.version, event.position, event.type, error, is_deadly)


def told(error: Exception) -> str:
    """An error in a line or a few, for those who look at what is parked."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
