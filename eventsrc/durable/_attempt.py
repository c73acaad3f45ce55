"""One attempt to bring a run forward: its program is run again, and goes on where the journal ends.

What the program asks is answered from the journal for as long as that has answers, and then performed:

* What only reads, clocks, ids and chance are answered at once. The answers are kept in memory and
  written with what is next written: until then nothing outside can depend on them.
* An append to streams goes into the store in one `AppendAll` with the journal's entry about it: both
  are there or neither, so it takes effect once.
* Before any other command the journal says that it will be performed. If the process dies then, nobody
  knows whether it was, and it is performed again: under the same StepId, and with the same append_ids.
* What waits, and is not over, leaves the program: nothing of it stays in memory.

Each write expects the journal's exact version. Whoever finds an entry of another worker there stops,
and performs nothing more. (Output commit: Elnozahy et al., A survey of rollback-recovery protocols in
message-passing systems, 2002.)
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final, NoReturn, TypeAlias
from uuid import UUID, uuid5

import attrs
from returns.result import Failure, Success

from eventsrc.durable._steps import (
    Forms,
    Journal,
    JournalStep,
    answer_of_world,
    digest_of,
    is_query,
    parts_of,
    together,
    until_of,
    without_what_failed,
)
from eventsrc.durable.journal import MESSAGES, Ended, Entry, Parked, Steps, Waits, WentOn
from eventsrc.durable.operations import Cancelled, Changed, Next, Signal, StepId, TimedOut, first_of
from eventsrc.events.codec import Json
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do, Effect, intercept
from eventsrc.programs.world import Chance, Elapsed, NewId, Now, Sleep
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    Expect,
    FeedPage,
    FindAppend,
    Head,
    LoadSnapshot,
    Lost,
    Page,
    Read,
    ReadFeed,
    Rejected,
    SaveSnapshot,
    StoreBusy,
    StreamAppend,
    Unknown,
    Unreachable,
)
from eventsrc.stores.tags import APPENDS, AnyAppend, AppendIf, BoundaryChanged, ReadTagged
from eventsrc.streams.fold import Folded, Load, load_at
from eventsrc.streams.past import as_it_was
from eventsrc.streams.stream import Stream

OUTAGES: Final = (StoreBusy, Unreachable, Lost)
"""Errors of a store that pass by themselves: the run goes on later, from its journal."""

SHORT: Final = 1.0
"""The seconds below which a run sleeps in its worker, and does not leave it."""

NAMES: Final = UUID("6d1e4f0c-6a2c-4f5b-9d38-2f4a3a9f7d10")
"""Of the ids that are made of the ids of runs."""

TAKEN: Final = (Load, StepId, Changed, Next, Signal)
"""The derived operations that a run answers itself."""

_IN_COMMANDS: Final = (*APPENDS, Read, Head, Load, ReadFeed, ReadTagged, StepId)

MOST_PARKED: Final = 10_000
"""The most characters of a traceback that are kept."""


# --- how an attempt ends --------------------------------------------------------------------------


@attrs.frozen
class HasEnded:
    """The run has ended."""

    entry: Ended


@attrs.frozen
class IsParked:
    """The run waits for somebody to look at it."""

    why: str


@attrs.frozen
class IsWaiting:
    """The run waits until a time, for an event of a stream, or both."""

    until: datetime | None
    stream: str | None
    types: frozenset[str]
    version: int
    """Of the journal."""


@attrs.frozen
class Again:
    """The attempt was given up: another worker has the run, or the store is away for the moment."""

    why: str


@attrs.frozen
class WouldGoOn:
    """The run was only to be replayed, and its program has come to the end of the journal."""


Left: TypeAlias = HasEnded | IsParked | IsWaiting | Again | WouldGoOn
"""The ends of an attempt."""


class Leaving(BaseException):
    """Raised in a program that is left. What it would perform on its way out is refused by another."""


class Differs(Exception):
    """The code asks for something else than what was recorded."""


# --- the attempt ----------------------------------------------------------------------------------


class Attempt:
    """An attempt to bring one run forward.

    journal: what it has recorded, of the stream. only_replays: performs nothing.
    """

    def __init__(
        self,
        name: str,
        stream: Stream[Any],
        journal: Journal,
        forms: Forms,
        source: Token,
        *,
        only_replays: bool = False,
    ) -> None:
        assert journal.begun is not None
        self.left: Left | None = None
        self._name = name
        self._stream = stream
        self._journal = journal
        self._forms = forms
        self._source = source
        self._only_replays = only_replays
        self._begun = journal.begun.recorded_at
        self._id = uuid5(NAMES, stream.id)
        self._pending: Steps = []
        self._elapsed = -inf
        self._seen: dict[str, int] = {}
        self._signals: dict[str, int] = {}
        self._changes: dict[str, bool] = {}
        self._is_cancelled = False
        self._differs: Differs | None = None

    def run(self, source: Callable[[], Effect[Any, Any]]) -> Do[Any, Left]:
        """Runs the program as far as it goes; answers how it was left."""
        with contextlib.suppress(Leaving):
            yield from self._run(source)
        if self._differs is not None and isinstance(self.left, WouldGoOn):
            self.left = None
            with contextlib.suppress(Leaving):
                yield from self._park(self._differs)
        assert self.left is not None
        return self.left

    def _run(self, source: Callable[[], Effect[Any, Any]]) -> Do[Any, None]:
        try:
            result = yield from intercept(source(), self.perform, taking=TAKEN, in_turn=True)
            if self.left is None:
                self._check_end(f"{result!r:.200}")
                yield from self._end(Ended(self._pending, self._forms.portable.plain(result)))
        except Cancelled:
            if self.left is None:
                self._check_end("being cancelled")
                yield from self._end(Ended(self._pending, None, is_cancelled=True))
        except OUTAGES as error:
            self.left = self.left or Again(repr(error))
        except Exception as error:
            if self.left is None:
                yield from self._park(error)

    def _end(self, entry: Ended) -> Do[Any, None]:
        yield from self._write(entry)
        self.left = HasEnded(entry)

    def perform(self, op: Any) -> Do[Any, Any]:
        """Answers an operation of the program: from the journal, or by performing it."""
        if self.left is not None:
            raise Leaving
        try:
            return (yield from self._performed(op))
        except Differs as differs:
            self._leave_differing(differs)
        except OUTAGES as error:
            self.left = Again(repr(error))
            raise Leaving from error
        except (Exception, Cancelled, Leaving):
            raise
        except BaseException as stopped:  # the worker is told to stop, in the midst of the operation
            self.left = Again(repr(stopped))
            raise

    def _performed(self, op: Any) -> Do[Any, Any]:
        kind = type(op)
        if kind is StepId:
            return self._step_id
        if kind is LoadSnapshot or kind is SaveSnapshot:
            return None  # snapshots come and go, and what a run has read must stay
        if isinstance(op, ReadFeed):
            raise TypeError(
                f"{op!r} in a run would have to keep what it answers: read a stream, ask a view, or "
                "wait for an event by Next"
            )
        form = self._forms.of(op)
        if kind is Changed:
            return self._changed(op.name, form)
        if is_query(op):
            known = self._journal.query(form, op)
            if known is not None:
                return (yield from self._recalled(known, op))
            if self._journal.has_more:
                return (yield from self._inserted(op))
            self._go_live(form)
            return (yield from self._ask(op, form))
        if self._journal.has_more:
            return (yield from self._recalled(self._matched(form, op), op))
        self._go_live(form)
        return (yield from self._do(op, form))

    def _go_live(self, form: Any) -> None:
        """The journal has no more answers: from here on the operations are performed."""
        if self._only_replays:
            self.left = WouldGoOn()
            raise Leaving
        if self._journal.cancel is not None and not self._is_cancelled:
            self._note({"op": form, "cancelled": True})
            self._is_cancelled = True
            raise Cancelled(self._journal.cancel.why)

    # --- what the journal says ----------------------------------------------------------------------

    def _matched(self, form: Any, op: Any) -> JournalStep:
        """The next command that was performed; raises Differs if it is another."""
        step = self._journal.next
        if not ("cancelled" in step.written or self._forms.are_equal(step.op, form, op)):
            recorded, asked = self._forms.shown(step.op), self._forms.shown(form)
            raise Differs(
                f"{self._where()}: recorded {recorded}, the code asks {asked}: bring the code back, or "
                "put what is new behind `if (yield from Changed(...))`, and retry"
            )
        self._journal.count += 1
        return step

    def _check_end(self, end: str) -> None:
        """Leaves a program that has ended where the journal has more, or that is only replayed."""
        if self._journal.has_more:
            recorded = self._forms.shown(self._journal.next.op)
            self._leave_differing(
                Differs(f"{self._where()}: recorded {recorded}, the code ends with {end}")
            )
        if self._only_replays:
            self.left = WouldGoOn()
            raise Leaving

    def _leave_differing(self, differs: Differs) -> NoReturn:
        self._differs = differs
        self.left = WouldGoOn()
        raise Leaving

    def _where(self) -> str:
        return f"{self._stream.id}, command {self._journal.count + 1}"

    def _recalled(self, step: JournalStep, op: Any) -> Do[Any, Any]:
        """The answer that a step had. Raises the error that it was; Differs for what is neither."""
        try:
            if "raises" not in step.written:
                return (yield from self._answer_again(step, op))
            error = self._forms.portable.value(step.written["raises"])
            if not isinstance(error, Exception):
                raise TypeError(f"{error!r:.200} is no exception")
        except (*OUTAGES, Differs):
            raise
        except Exception as bad:
            raise Differs(f"{self._where()}: what was recorded cannot be had again: {bad!r}") from bad
        raise error

    def _answer_again(self, step: JournalStep, op: Any) -> Do[Any, Any]:
        its = step.written
        match its:
            case {"answer": answer}:
                value = self._forms.portable.value(answer)
                if type(op) is Elapsed:
                    self._elapsed = value
                return value
            case {"page": kept}:
                return (yield from self._page_again(op, kept))
            case {"tagged": kept}:
                return (yield from self._tagged_again(op, kept))
            case {"folded": [version, epoch]}:
                folded = yield from load_at(op.stream, op.fold, version)
                token = Token(folded.token.store_id, {op.stream: version}, epoch)
                return Folded(folded.state, version, token)
            case {"appended": _}:
                found = yield from FindAppend(step.entry.append_id)
                if found is None:
                    raise Differs(f"{self._where()}: the store has lost the append {its['op']}")
                return Success(of_program(found, op))
            case {"conflict": kept}:
                return Failure((yield from self._conflict_again(*kept)))
            case {"event": version}:
                (event,) = (yield from Read(op.stream.id, version - 1, 1)).events
                self._seen[op.stream.id] = version
                return Success(event)
            case {"signal": version}:
                self._signals[op.name] = self._signals.get(op.name, 0) + 1
                data = next(told.data for at, told in self._journal.signals if at == version)
                return Success(self._forms.portable.value(data))
            case {"timeout": _}:
                return None if isinstance(op, Sleep) else Failure(TimedOut(op.within))
            case {"cancelled": _}:
                self._is_cancelled = True
                why = self._journal.cancel.why if self._journal.cancel else ""
                raise Cancelled(why)
            case _:
                raise Differs(f"{self._where()}: {its} is of a newer version of this library")

    def _page_again(self, op: Read, kept: Any) -> Do[Any, Page[Any]]:
        """The page that was read: events do not change, and the stream's head is what it was then."""
        number, head, store, epoch, digest = kept
        after = (op.after or head + 1) if op.backwards else op.after
        page = yield from Read(op.stream, after, number or 1, op.backwards)
        events = self._same(page.events[:number], number, digest, op.stream)
        is_last = not events or events[-1].version == (1 if op.backwards else head)
        return Page(events, head, Token(store, {op.stream: head}, epoch), is_last)

    def _tagged_again(self, op: ReadTagged, kept: Any) -> Do[Any, FeedPage[Any]]:
        """The page of a boundary that was read: up to where it went, its events are what they were."""
        number, at, end, store, epoch, digest = kept
        events: Sequence[Recorded[Any]] = ()
        if number:
            page = yield from ReadTagged(op.boundary, op.after, number)
            events = self._same(page.events, number, digest, op.boundary)
        return FeedPage(events, Cursor(store, at, epoch), Cursor(store, end, epoch))

    def _same(
        self, events: Sequence[Recorded[Any]], number: int, digest: str, what: object
    ) -> Sequence[Recorded[Any]]:
        if len(events) != number or digest_of(events) != digest:
            raise Differs(
                f"{self._where()}: the store does not have the {number} events of {what} any more "
                "that were read: was it restored from a backup?"
            )
        return events

    def _inserted(self, op: Any) -> Do[Any, Any]:
        """The answer to a query that is new in a part that has been run: as of then."""
        step = self._journal.next
        then = answer_of_world(op, step.entry.recorded_at, self._begun)
        if then is not None:
            return then
        if isinstance(op, Read | Head | Load | ReadTagged | FindAppend):
            position = step.entry.position - 1
            at = Cursor(self._source.store_id, position, self._source.epoch)
            return (yield from as_it_was(op, at))
        raise Differs(
            f"{self._where()}: recorded {self._forms.shown(step.op)}, the code asks "
            f"{self._forms.shown(self._forms.of(op))} before it, which only streams could answer about "
            "the past: put it behind `if (yield from Changed(...))`, and retry"
        )

    def _changed(self, name: str, form: Any) -> bool:
        """Whether the run takes the new way; once it has answered, it answers the same."""
        if name not in self._changes:
            known = any(step.op == form for step in self._journal.steps)
            is_new = known or not self._journal.was_further
            if is_new and not known and not self._only_replays:
                self._pending.append({"op": form, "query": True, "answer": True})
            self._changes[name] = is_new
        return self._changes[name]

    # --- performing -------------------------------------------------------------------------------

    @property
    def _step_id(self) -> UUID:
        return uuid5(self._id, str(self._journal.count + 1))

    def _note(self, step: dict[str, Any]) -> None:
        """Keeps a step until something is written."""
        self._pending.append(step)
        if not step.get("query"):
            self._journal.count += 1
            self._journal.waits = None

    def _ask(self, op: Any, form: Any) -> Do[Any, Any]:
        """Performs what only reads."""
        query = {"op": form, "query": True}
        if type(op) is Elapsed:
            # No two machines have this clock in common: a run's own goes by the time of day.
            now = yield from Now()
            self._elapsed = max(self._elapsed, (now - self._begun).total_seconds())
            self._note({**query, "answer": self._elapsed})
            return self._elapsed
        value = yield from self._attempted(op, query)
        if isinstance(op, Read):
            page: Page[Any] = value
            kept = [len(page.events), page.head, page.token.store_id, page.token.epoch]
            self._note({**query, "page": [*kept, digest_of(page.events)]})
        elif isinstance(op, ReadTagged):
            at, end = value.next, value.end
            kept = [len(value.events), at.position, end.position, end.store_id, end.epoch]
            self._note({**query, "tagged": [*kept, digest_of(value.events)]})
        elif isinstance(op, Load):
            self._note({**query, "folded": [value.version, value.token.epoch]})
        else:
            self._note({**query, "answer": self._forms.portable.plain(value)})
        return value

    def _do(self, op: Any, form: Any) -> Do[Any, Any]:
        """Performs a command, or waits."""
        match op:
            case NewId() | Chance():
                value = yield from op
                self._note({"op": form, "answer": self._forms.portable.plain(value)})
                return value
            case Sleep(seconds=seconds) if seconds < SHORT:
                yield from op
                self._note({"op": form, "answer": None})
                return None
            case Sleep(seconds=seconds):
                return (yield from self._wait(op, form, seconds, _nothing))
            case Next():
                return (yield from self._wait(op, form, op.within, self._next_event))
            case Signal():
                return (yield from self._wait(op, form, op.within, self._next_signal))
            case Append() | AppendAll() | AppendIf() if op.append_id is None:
                return (yield from self._append(op, form))
            case _:
                return (yield from self._command(op, form))

    def _attempted(self, op: Any, step: dict[str, Any]) -> Do[Any, Any]:
        """Performs an operation; an exception is noted as its answer."""
        try:
            return (yield op)
        except OUTAGES:
            raise
        except Exception as error:
            self._note({**step, "raises": self._forms.portable.plain(error)})
            raise

    def _append(self, op: AnyAppend, form: Any) -> Do[Any, Any]:
        """Appends events and the entry that says so, both or neither."""
        step = {"op": form, "appended": True}
        outcome = yield from self._written(WentOn([*self._pending, step]), op)
        match outcome:
            case Success(appended):
                self._pending.clear()
                self._journal.count += 1
                self._journal.waits = None
                return Success(of_program(appended, op))
            case Failure(Conflict() as conflict):
                self._note({"op": form, "conflict": self._kept_conflict(conflict)})
                return outcome
            case Failure(why):
                self._note({"op": form, "answer": self._forms.portable.plain(outcome)})
                assert isinstance(why, Rejected)
                return outcome

    def _command(self, op: Any, form: Any) -> Do[Any, Any]:
        """Performs what is outside of the journal's store, or is a program of the application."""
        is_doubtful = self._journal.asks == form and not self._pending
        within = _Within(self, self._step_id, is_doubtful)
        yield from self._write(WentOn([*self._pending], form))
        self._pending.clear()
        step = {"op": form}
        inside = intercept(op, within.perform, taking=(Load, StepId), only=_IN_COMMANDS, in_turn=True)
        value = yield from self._attempted(inside, step)
        match value:
            case Failure() as failed if isinstance(unknown := failed.failure(), Unknown):
                self.left = Again(unknown.reason)
                raise Leaving
            case Failure() as failed if isinstance(conflict := failed.failure(), Conflict):
                self._note({**step, "conflict": self._kept_conflict(conflict)})
            case _:
                self._note({**step, "answer": self._forms.portable.plain(value)})
        return value

    def _wait(
        self,
        op: Any,
        form: Any,
        seconds: float | None,
        look: Callable[[Any], Do[Any, tuple[dict[str, Any], Any] | None]],
    ) -> Do[Any, Any]:
        """Answers what has come, or that the time is over; else the program is left."""
        found = yield from look(op)
        if found is not None:
            self._note({"op": form, **found[0]})
            return Success(found[1])
        waits = self._journal.waits
        is_known = waits is not None and self._forms.are_equal(waits.asks, form, op)
        now: datetime = yield from Now()
        until: datetime | None
        if waits is not None and is_known:
            until = self._until(waits)
        else:
            until = None if seconds is None else now + timedelta(seconds=seconds)
        if until is not None and now >= until:
            self._note({"op": form, "timeout": True})
            return None if isinstance(op, Sleep) else Failure(TimedOut(op.within))
        stream, types = None, list[str]()
        if isinstance(op, Next):
            stream, types = str(op.stream.id), self._forms.types_of(op)
        if not is_known:
            text = None if until is None else until.isoformat()
            yield from self._write(Waits([*self._pending], form, text, stream, types))
            self._pending.clear()
        self.left = IsWaiting(until, stream, frozenset(types), self._journal.version)
        raise Leaving

    def _until(self, waits: Waits) -> datetime | None:
        try:
            return until_of(waits)
        except Corrupted as error:
            raise Differs(f"{self._where()}: {error}") from error

    def _next_event(self, op: Next[Any]) -> Do[Any, tuple[dict[str, Any], Any] | None]:
        after = self._seen.get(op.stream.id, 0) if op.after is None else op.after
        event: Recorded[Any] | None = yield from first_of(op.stream, op.wanted(), after)
        if event is None:
            return None
        self._seen[op.stream.id] = event.version
        return {"event": event.version}, event

    def _next_signal(self, op: Signal) -> Do[Any, tuple[dict[str, Any], Any] | None]:
        told = [(at, its.data) for at, its in self._journal.signals if its.name == op.name]
        taken = self._signals.get(op.name, 0)
        if taken >= len(told):
            return None
        yield from ()
        self._signals[op.name] = taken + 1
        at, data = told[taken]
        return {"signal": at}, self._forms.portable.value(data)

    def _kept_conflict(self, conflict: Conflict) -> list[Any]:
        expected = conflict.expected
        kept = expected.name if isinstance(expected, Expect) else expected
        its: list[Any] = [str(conflict.stream), kept, conflict.actual]
        if isinstance(conflict, BoundaryChanged):
            its.append(self._forms.portable.plain(conflict.boundary))
        return its

    def _conflict_again(
        self, stream: str, expected: int | str, actual: int, boundary: Any = None
    ) -> Do[Any, Conflict]:
        """A conflict as it was, with its events; of a boundary, the first."""
        name = StreamId(stream)
        if isinstance(expected, str):
            return Conflict(name, Expect[expected], actual)
        number = min(actual - expected, CONFLICT_EVENTS)
        events: Sequence[Recorded[Any]] = ()
        if number > 0:
            page: Page[Any] = yield from Read(name, expected, number)
            events = page.events
        if boundary is None:
            return Conflict(name, expected, actual, events)
        changed = self._forms.portable.value(boundary)
        return BoundaryChanged(name, expected, actual, events, changed)

    # --- writing ----------------------------------------------------------------------------------

    def _write(self, entry: Entry) -> Do[Any, None]:
        """Writes an entry, and nothing else."""
        outcome = yield from self._written(entry)
        if isinstance(outcome, Failure):
            raise ValueError(f"{self._stream.id} cannot be written: {outcome.failure()}")

    def _written(self, entry: Entry, op: AnyAppend | None = None) -> Do[Any, Any]:
        """Writes an entry, and appends with it: both or neither. Answers the outcome."""
        parts, conditions = ((), ()) if op is None else parts_of(op)
        metadata = self.metadata({} if op is None else op.metadata)

        # No append_id of ours: two workers that write the same entry would both be told that it is
        # stored. If the answer is lost, the journal tells.
        def made(version: int) -> AppendAll | AppendIf:
            part = StreamAppend(self._stream.id, (entry,), version)
            return together(op, (part, *parts), conditions, metadata=metadata)

        outcome = yield from self.owning(made)
        if isinstance(outcome, Success):
            self._journal.version += 1
        return outcome

    def owning(self, make: Callable[[int], AppendAll | AppendIf]) -> Do[Any, Any]:
        """Appends if the run is still this worker's. Answers the outcome.

        make: of the version at which the journal must be. What others tell the run meanwhile is taken
            in. If the run is another's, or nobody knows what became of the append, it is left, for its
            journal to be read again.
        """
        while True:
            version = self._journal.version
            try:
                outcome = yield from make(version)
            except OUTAGES as error:  # also where no operation of the program is under way
                self.left = Again(repr(error))
                raise Leaving from error
            match outcome:
                case Failure(Conflict(actual=actual) as conflict) if actual and self.is_of_journal(
                    conflict
                ):
                    told = conflict.events
                    if not told or not all(isinstance(each.data, MESSAGES) for each in told):
                        self._leave_to_others()
                    for each in told:
                        self._take(each)
                case Failure(Unknown(reason=reason)):
                    self.left = Again(reason)
                    raise Leaving
                case _:
                    return outcome

    def metadata(self, its: Json) -> Json:
        """The metadata of an append, which names the run unless it says something else."""
        return {"correlation_id": self._stream.id.removeprefix("eventsrc/"), **its}

    def owns(self, version: int) -> Condition:
        """The condition that the run is this worker's."""
        return Condition(self._stream.id, version)

    def is_of_journal(self, conflict: Conflict) -> bool:
        """Whether it is the journal that was not at the expected version."""
        return conflict.stream == self._stream.id and not isinstance(conflict, BoundaryChanged)

    def _take(self, told: Recorded[Any]) -> None:
        waits, asks = self._journal.waits, self._journal.asks
        self._journal.take(told)
        self._journal.waits, self._journal.asks = waits, asks

    def _leave_to_others(self) -> None:
        self.left = Again("another worker has gone on with it")
        raise Leaving

    def _park(self, error: Exception) -> Do[Any, None]:
        if self._only_replays:
            self.left = IsParked(str(error) or repr(error))
            return
        is_ours = isinstance(error, Differs)
        why = str(error) if is_ours else f"{self._where()}: {type(error).__qualname__}: {error}"
        details = "" if is_ours else "".join(traceback.format_exception(error))[-MOST_PARKED:]
        why = why.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
        details = details.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
        steps = [] if is_ours else without_what_failed(self._pending)
        yield from self._write(Parked(steps, why, details))
        self.left = IsParked(why)


def of_program(appended: Appended, op: AnyAppend) -> Appended:
    """The append as its program made it, without what was appended with it."""
    streams = {part.stream: None for part in parts_of(op)[0]}
    return attrs.evolve(appended, token=appended.token.only(streams))


class _Within:
    """A command of the application that is a program: its appends are made once, by the run's worker.

    They are made under ids of the step, and on the condition that the journal is where the worker left
    it. Where their store is another, which does not have the journal, the ids are all there is.

    step: the id of the step. is_doubtful: whether it may have been performed before, by a process that
        died: then what it read is read again as it was before its append, so that it decides the same.
    """

    def __init__(self, attempt: Attempt, step: UUID, is_doubtful: bool) -> None:
        self._attempt = attempt
        self._step = step
        self._is_doubtful = is_doubtful
        self._number = 0
        self._before: Appended | None = None
        self._is_looked_for = False

    def perform(self, op: Any) -> Do[Any, Any]:
        """Performs an operation of the store, or answers the id of the step."""
        if self._attempt.left is not None:
            raise Leaving
        if isinstance(op, StepId):
            return self._step
        if isinstance(op, AnyAppend):
            return (yield from self._append(op))
        before = yield from self._earlier()
        if before is None:
            return (yield op)
        first = yield from _first_position(before)
        at = Cursor(before.cursor.store_id, first - 1, before.cursor.epoch)
        return (yield from as_it_was(op, at))

    def _append(self, op: AnyAppend) -> Do[Any, Any]:
        metadata = self._attempt.metadata(op.metadata)
        if op.append_id is not None:
            return (yield attrs.evolve(op, metadata=metadata))  # type: ignore
        before = yield from self._earlier()
        append_id = self._append_id
        self._number += 1
        self._is_looked_for = False
        if before is not None:
            return Success(before)
        parts, conditions = parts_of(op)

        def made(version: int) -> AppendAll | AppendIf:
            owned = *conditions, self._attempt.owns(version)
            return together(op, parts, owned, append_id=append_id, metadata=metadata)

        outcome = yield from self._attempt.owning(made)
        match outcome:
            case Success(appended):
                return Success(of_program(appended, op))
            case Failure(Conflict() as conflict) if self._attempt.is_of_journal(conflict):
                again: Any = together(op, parts, conditions, append_id=append_id, metadata=metadata)
                return (yield again)  # of another store
            case _:
                return outcome

    @property
    def _append_id(self) -> UUID:
        return uuid5(self._step, str(self._number))

    def _earlier(self) -> Do[Any, Appended | None]:
        """The append that comes next, if it was made before."""
        if not self._is_doubtful:
            return None
        if not self._is_looked_for:
            self._before = yield from FindAppend(self._append_id)
            self._is_looked_for = True
        return self._before


def _first_position(appended: Appended) -> Do[Any, int]:
    """The position of the first event of an append."""
    first = appended.cursor.position
    for stream, version in appended.token.versions.items():
        after = version + 1
        while after > 1:
            page: Page[Any] = yield from Read(stream, after, 100, backwards=True)
            its = [each for each in page.events if each.append_id == appended.append_id]
            first = min([first, *(each.position for each in its)])
            after -= len(page.events)
            if len(its) < len(page.events) or not its:
                break
    return first


def _nothing(_op: Any) -> Do[Any, None]:
    yield from ()
