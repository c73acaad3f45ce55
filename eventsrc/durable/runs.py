"""Runs: durable executions of a program, each with an id and a journal of its own.

    fulfilment = Runs("fulfilment", fulfil, id=lambda order, amount: str(order))

    app.run(fulfilment.start(order, 30))           # once, whoever asks and however often
    app.run(work(fulfilment))                      # a worker, which brings the runs forward for ever

`Runs` declares them; its methods make programs. Who brings them forward is in work.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, cast

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError, harmless
from eventsrc.durable._attempt import Attempt, HasEnded, IsParked, IsWaiting, Left
from eventsrc.durable._known import known_by
from eventsrc.durable._steps import Forms, Journal, until_of
from eventsrc.durable._waiting import check_gathers
from eventsrc.durable.journal import (
    Begun,
    CancelAsked,
    Ended,
    Entry,
    Retried,
    RunKey,
    Signalled,
    journals,
)
from eventsrc.durable.operations import EVERY, Changed, Next, Signal, StepId, TimedOut
from eventsrc.events.codec import Codec, Undecodable, UnknownEvent
from eventsrc.events.positions import Token
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.waiting import check_every
from eventsrc.programs.program import Call, Do, Outcome, Program, program
from eventsrc.programs.world import Elapsed, Now, Sleep
from eventsrc.recording.portable import Names, Portable
from eventsrc.stores.operations import (
    NO_STREAM,
    Append,
    AppendAll,
    Conflict,
    FindAppend,
    Head,
    Page,
    Read,
)
from eventsrc.streams.stream import Stream

E = TypeVar("E")
O = TypeVar("O")
P = ParamSpec("P")
R = TypeVar("R")

GoOnOp: TypeAlias = Read | Append | AppendAll | FindAppend | Head | Now
"""The operations of a run itself, beside those of its program."""

PAGE = 1000


_log = logging.getLogger("eventsrc")


class NoSuchRun(EventsrcError):
    """There is no run of an id."""


class OtherRun(EventsrcError):
    """A run of this id was begun with other arguments."""


class RunCancelled(EventsrcError):
    """A run whose result is asked for was cancelled, and has none."""


@attrs.frozen
class Started:
    """A run that was started. is_new: whether it was by this call."""

    id: str
    is_new: bool


State: TypeAlias = Literal["ready", "waiting", "parked", "ended", "cancelled"]


@attrs.frozen
class RunStatus(Generic[R]):
    """A run at a moment.

    state: "ready" means that a worker has it, or is to have it.
    result: of its program, if it has ended. why: it is parked, or is being cancelled.
    until, waits_for: when its waiting is over, and the stream with an event that ends it before.
    is_cancelling: whether it was asked to end, and has not yet.
    """

    id: str
    state: State
    begun: datetime
    since: datetime
    version: int
    """Of its journal."""
    result: R | None = None
    why: str = ""
    until: datetime | None = None
    waits_for: str | None = None
    is_cancelling: bool = False


@attrs.frozen
class Line:
    """A line of a run's history."""

    at: datetime
    what: str
    answer: str

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}  {self.what}" + (self.answer and f" -> {self.answer}")


class Runs(Generic[P, R]):
    """Durable executions of a program.

    name: of the runs; never change it. Journals are the streams `eventsrc/runs/{name}/{id}`.
    program: a function decorated with @program. Its operations, their answers, and its arguments must
        be what recordings can hold (see eventsrc.recording). Raises NotPortable if one cannot be, and
        TypeError if it gathers branches that wait.
    id: makes a run's id of the arguments.
    known: classes and programs that journals name and annotations do not: exceptions that handlers
        raise, subclasses of what is annotated.
    codec: of the store's events; one for all registered events if not given.
    """

    def __init__(
        self,
        name: str,
        program: Callable[P, Program[Any, R]],
        *,
        id: Callable[P, str],
        known: Iterable[Any] = (),
        codec: Codec | None = None,
    ) -> None:
        self.name = name
        self.program = program
        self._id = id
        self.codec = Codec() if codec is None else codec
        check_gathers(program)
        found = known_by(program, known, self.codec)
        names = Names([*found, Changed, Signal, StepId, TimedOut])
        self._portable = Portable(self.codec, names=names)
        self.forms = Forms(self._portable, self.codec)
        self.journal("x")  # refuses a bad name
        self._beginning: dict[str, Callable[[Recorded[Any]], Program[Any, R]]] = {}

    def __repr__(self) -> str:
        return f"Runs({self.name!r}, {self.program.__name__})"

    def journal(self, id: str) -> Stream[Entry]:
        """The journal of a run."""
        return journals[RunKey(self.name, id)]

    def id_of(self, journal: StreamId) -> str:
        """The id of the run that a journal is of. Raises BadStreamId for another stream."""
        return journals.key(journal).id

    def begins_on(self, event: type[E], make: Callable[[Recorded[E]], Program[Any, R]]) -> None:
        """Has workers begin a run for each event of a type, those that are there already included.

        make: of the event, the program with its arguments; runs of one id are begun once.
        """
        self._beginning[self.codec.types.of(event).name] = make

    # --- asking for something -----------------------------------------------------------------------

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Program[Append | Read, Started]:
        """Begins a run, unless there is one of this id. A worker then brings it forward.

        Answers its id, and whether it was begun now. Raises OtherRun if the one that is there was begun
        with other arguments.
        """
        return _start(self, self._id(*args, **kwargs), self.begun(args, kwargs))

    def signal(self, id: str, name: str, data: Any = None) -> Program[Append | Read, None]:
        """Tells a run something, which the operation Signal of this name answers.

        Raises NoSuchRun, and NotPortable for what cannot be written.
        """
        return tell(self.journal(id), Signalled(name, self._portable.plain(data)))

    def cancel(self, id: str, why: str = "") -> Program[Append | Read, None]:
        """Has a run undo what it did, and end: Cancelled is raised in it at its next operation.

        A run that has ended stays as it is. Raises NoSuchRun.
        """
        return tell(self.journal(id), CancelAsked(why))

    def retry(self, id: str) -> Program[Append | Read, None]:
        """Has a parked run go on from where it was. Raises NoSuchRun."""
        return tell(self.journal(id), Retried())

    # --- looking --------------------------------------------------------------------------------------

    def status(self, id: str) -> Program[Read, RunStatus[R]]:
        """The state that a run is in. Raises NoSuchRun."""
        return cast("Program[Read, RunStatus[R]]", _status(self, id))

    def history(self, id: str) -> Program[Read, tuple[Line, ...]]:
        """The history of a run, a line for each step. Raises NoSuchRun."""
        return _history(self, id)

    def result(
        self, id: str, within: float | None = None
    ) -> Program[Next[Ended] | Read | Elapsed | Sleep, Outcome[R, TimedOut]]:
        """The result of a run, once it has ended: also for a program that is a run itself.

        within: seconds to wait, after which it is a Failure of TimedOut; None for as long as it takes.
        Raises RunCancelled for a run that was cancelled.
        """
        return _result(self, id, within)

    # --- bringing it forward --------------------------------------------------------------------------

    def go_on(self, id: str, *, only_replays: bool = False) -> Program[Any, Left]:
        """Brings a run forward until it ends, waits or is parked, in this process.

        only_replays: performs nothing, and answers whether the run would go on with this code.
        Answers how it was left. Raises NoSuchRun.
        """
        return _go_on(self, id, only_replays)

    def finish(self, id: str, every: float = EVERY) -> Program[Any, RunStatus[R]]:
        """Brings a run forward in this process, until it has ended or is parked.

        every: seconds between two looks, while it waits or another worker has it.
        """
        check_every(every)
        return cast("Program[Any, RunStatus[R]]", _finish(self, id, every))

    # --- for work.py ----------------------------------------------------------------------------------

    def begun(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun:
        """The first entry of a run with these arguments. Raises NotPortable."""
        plain = self._portable.plain
        return Begun([plain(arg) for arg in args], {key: plain(arg) for key, arg in kwargs.items()})

    @property
    def beginning(self) -> frozenset[str]:
        """The stored names of the events that begin a run."""
        return frozenset(self._beginning)

    def start_by(self, event: Recorded[Any]) -> Do[Append | Read, Started]:
        """Begins the run of an event."""
        made = self._beginning[event.type](event)
        if not isinstance(made, Call) or made.function is not self.program:
            raise TypeError(f"{made!r:.200} is no {self.program.__name__}(...), which {self!r} are of")
        return (yield from self.start(*made.args, **made.kwargs))

    def source(self, begun: Begun) -> Program[Any, R]:
        """The program of a run."""
        value = self._portable.value
        args = [value(arg) for arg in begun.args]
        kwargs = {key: value(arg) for key, arg in begun.kwargs.items()}
        make: Callable[..., Program[Any, R]] = self.program
        return make(*args, **kwargs)

    def value(self, plain: Any) -> Any:
        """A value that the journal holds."""
        return self._portable.value(plain)


# --- programs -------------------------------------------------------------------------------------


@program
def _start(runs: Runs[..., Any], id: str, begun: Begun) -> Do[Append | Read, Started]:
    journal = runs.journal(id)
    match (yield from journal.append_at(NO_STREAM, begun)):
        case Success():
            return Started(id, True)
        case Failure(Conflict()):
            page = yield from Read(journal.id, limit=1)
            first = page.events[0].data
            if first != begun:
                raise OtherRun(
                    f"run {id!r} of {runs.name} was begun with {first.args} {first.kwargs or ''}, and "
                    f"is asked for with {begun.args} {begun.kwargs or ''}: its id must tell them apart"
                )
            return Started(id, False)


@program
def tell(journal: Stream[Entry], message: Entry) -> Do[Append | Read, None]:
    """Appends a message to the journal of a run. Raises NoSuchRun."""
    page: Page[Any] = yield from Read(journal.id, limit=1)
    if not page.events:
        raise _no_such_run(journal)
    yield from journal.append(message)


def _no_such_run(journal: Stream[Entry]) -> NoSuchRun:
    return NoSuchRun(f"{journal.id} does not exist: begin it by Runs.start")


def _entries(journal: Stream[Entry]) -> Do[Read, tuple[list[Recorded[Entry]], Token]]:
    """All entries of a journal, and a token of its store. Raises NoSuchRun."""
    entries: list[Recorded[Entry]] = []
    while True:
        page: Page[Any] = yield from Read(journal.id, len(entries), PAGE)
        entries += page.events
        if not entries:
            raise _no_such_run(journal)
        if len(entries) >= page.head or not page.events:
            return entries, page.token


def _journal_of(runs: Runs[..., Any], id: str, entries: list[Recorded[Entry]]) -> Journal:
    """The journal that the entries are. Raises Corrupted for what no worker has written."""
    try:
        _begun(entries)
        return Journal(entries, runs.forms)
    except EventsrcError:
        raise
    except Exception as error:  # of whatever its steps are
        raise Corrupted(f"{runs.journal(id).id} is no journal of a run: {error!r}") from error


def _begun(entries: list[Recorded[Entry]]) -> Begun:
    """The first entry. Raises Corrupted if it does not say what the program was begun with."""
    begun = entries[0].data
    if not isinstance(begun, Begun):
        raise Corrupted(f"{entries[0].stream} is no journal of a run: it begins with {begun!r:.200}")
    return begun


@program
def _status(runs: Runs[..., Any], id: str) -> Do[Read, RunStatus[Any]]:
    entries, _ = yield from _entries(runs.journal(id))
    journal = _journal_of(runs, id, entries)
    status: RunStatus[Any] = RunStatus(
        id, "ready", entries[0].recorded_at, entries[-1].recorded_at, len(entries)
    )
    if journal.ended is not None:
        if journal.ended.is_cancelled:
            return attrs.evolve(status, state="cancelled")
        return attrs.evolve(status, state="ended", result=runs.value(journal.ended.answer))
    if journal.cancel is not None:
        status = attrs.evolve(status, is_cancelling=True, why=journal.cancel.why)
    if journal.parked is not None:
        return attrs.evolve(status, state="parked", why=journal.parked.why)
    waits = journal.waits
    if waits is not None and waits is entries[-1].data:
        return attrs.evolve(status, state="waiting", until=until_of(waits), waits_for=waits.stream)
    return status


@program
def _history(runs: Runs[..., Any], id: str) -> Do[Read, tuple[Line, ...]]:
    entries, _ = yield from _entries(runs.journal(id))
    lines: list[Line] = []
    for entry in entries:
        its: Any = entry.data
        for step in getattr(its, "steps", ()):
            answers = {key: answer for key, answer in step.items() if key not in ("op", "query")}
            how, answer = next(iter(answers.items()), ("no answer", None))
            shown = runs.forms.shown(answer) if how == "answer" else f"{how} {runs.forms.shown(answer)}"
            lines.append(Line(entry.recorded_at, runs.forms.shown(step.get("op")), shown))
        asks = getattr(its, "asks", None)
        if asks is not None:
            lines.append(Line(entry.recorded_at, runs.forms.shown(asks), ""))
        elif not hasattr(its, "steps") or not its.steps:
            lines.append(Line(entry.recorded_at, f"{its!r:.200}", ""))
    return tuple(lines)


@program
def _result(runs: Runs[..., Any], id: str, within: float | None) -> Do[Any, Outcome[Any, TimedOut]]:
    journal: Stream[Any] = runs.journal(id)
    match (yield from Next(journal, Ended, within)):
        case Success(recorded):
            ended: Ended = recorded.data
            if ended.is_cancelled:
                raise RunCancelled(f"{journal.id} was cancelled")
            return Success(runs.value(ended.answer))
        case Failure() as failed:
            return failed


@program
def _go_on(runs: Runs[..., Any], id: str, only_replays: bool) -> Do[Any, Left]:
    stream = runs.journal(id)
    entries, token = yield from _entries(stream)
    try:
        journal, begun = _journal_of(runs, id, entries), _begun(entries)
    except (Corrupted, Undecodable, UnknownEvent) as error:  # newer code may know what it is
        _log.error("%s is left alone: %s", stream.id, harmless(str(error)))
        return IsParked(str(error))
    if journal.ended is not None:
        return HasEnded(journal.ended)
    if journal.parked is not None and not only_replays:
        return IsParked(journal.parked.why)
    attempt = Attempt(runs.name, stream, journal, runs.forms, token, only_replays=only_replays)
    return (yield from attempt.run(lambda: runs.source(begun)))


@program
def _finish(runs: Runs[..., Any], id: str, every: float) -> Do[Any, RunStatus[Any]]:
    while True:
        left = yield from _go_on(runs, id, False)
        if isinstance(left, HasEnded | IsParked):
            return (yield from _status(runs, id))
        seconds = every
        if isinstance(left, IsWaiting) and left.until is not None:
            seconds = min(every, max((left.until - (yield from Now())).total_seconds(), 0.0))
        yield from Sleep(seconds)
