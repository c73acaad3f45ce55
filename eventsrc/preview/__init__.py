"""Previews: what a program would do to a store and its views, with nothing written.

`preview(store, program)` runs the program over the store with its appends kept aside, and answers what
it would have written, and its result:

    previewed = preview(store, close_account(homer))
    print(previewed)              # the events, by stream, and the result
    store.run(previewed.apply())  # just these events, if nothing that was seen has changed

The program reads its own appends; conditions are held against both together, so that a conflict, a
refusal or an exception is the one that a real run would end with. What else it performs is done for
real: give `app` interpreters that may be. The ids and times that it draws are not those of a later run,
which is why `apply` appends the events that were previewed and does not run the program again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, NoReturn, TypeVar, overload
from uuid import UUID, uuid5

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec, Json
from eventsrc.events.positions import Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.preview.changes import Changes, changes_of
from eventsrc.preview.overlay import Overlay, over, over_async
from eventsrc.programs import _loop
from eventsrc.programs._rewiring import rewired
from eventsrc.programs._scope import Scope
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, scope_for
from eventsrc.programs.program import Do, Effect, Outcome, program
from eventsrc.programs.world import World, world
from eventsrc.stores.operations import (
    ANY,
    AppendAll,
    Appended,
    Condition,
    NotAppended,
    StoreOp,
    StreamAppend,
)
from eventsrc.views._applying import LedgerViews
from eventsrc.views.operations import (
    Apply,
    Claim,
    Discard,
    GoLive,
    Leave,
    Park,
    Skip,
    StartOver,
    Unpark,
)
from eventsrc.views.view import View

O = TypeVar("O")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_SEVERAL: Final = UUID("0c9f0f0e-0c0a-5d0e-8a47-3f6b7b1e2d59")
"""The namespace of ids that stand for those of several appends."""


class PreviewError(EventsrcError):
    """A preview cannot be made, or cannot be applied."""


class PreviewIsDry(PreviewError):
    """A program that is previewed was about to write to a view."""


@attrs.frozen
class Previewed(Generic[R_co]):
    """The effects that a program would have; printed: events by stream, rows and the outcome."""

    outcome: Success[R_co] | Failure[Exception]
    """Success of the program's result, or Failure of the exception that ended it."""
    events: Sequence[Recorded[Any]]
    """The events that it would append, with the versions and positions that they would get."""
    seen: Mapping[StreamId, int]
    """The versions in the store of the streams that the run has read, or has set a condition on."""
    token: Token
    """Their versions as a token, for services that take one: they then conflict if these changed."""
    changes: tuple[Changes, ...] = ()
    """The rows that would change, for each view that was asked for."""
    has_read_feed: bool = False
    """Whether the run has read the feed or a boundary, whose ends are in no token."""
    has_chosen_ids: bool = False
    """Whether the run has chosen the append_id of an append that it made."""
    request: bytes | None = None
    """The request that its one append was made for, if it was: see the operation Append."""

    @property
    def result(self) -> R_co:
        """The program's result. Raises the exception that ended it."""
        if isinstance(self.outcome, Failure):
            raise self.outcome.failure()
        return self.outcome.unwrap()

    @property
    def streams(self) -> Mapping[StreamId, Sequence[Recorded[Any]]]:
        """The events that it would append, by stream."""
        found: dict[StreamId, list[Recorded[Any]]] = {}
        for recorded in self.events:
            found.setdefault(recorded.stream, []).append(recorded)
        return found

    def apply(
        self, append_id: UUID | None = None
    ) -> Effect[AppendAll, Outcome[Appended, NotAppended] | None]:
        """A program that appends just these events, all or none, or answers None if there are none.

        It ends with a Conflict if a stream that the run has seen has changed since. The program that
        was previewed is not run again, and what it did besides is not repeated. However often it is
        run, it stores the events once.
        append_id: of the append; that which the program chose for its own, or a new one, if not given.
        Raises PreviewError for a run that has ended with an exception, that has read the feed, or whose
        appends had different metadata or ids of the program's own.
        """
        if isinstance(self.outcome, Failure):
            raise PreviewError(
                f"the program ended with {self.outcome.failure()!r:.200}: previews are applied of "
                "programs that end well"
            )
        if self.has_read_feed:
            raise PreviewError(
                "the program read the feed or a boundary, and no condition can be set on that: run it "
                "on the store, or have it read streams"
            )
        given = self._append_id() if append_id is None else append_id
        return _applied(self._appends(), self._conditions(), given, self._metadata(), self.request)

    def _appends(self) -> tuple[StreamAppend, ...]:
        return tuple(
            StreamAppend(stream, tuple(_as_appended(event) for event in events), self._expected(stream))
            for stream, events in self.streams.items()
        )

    def _conditions(self) -> tuple[Condition, ...]:
        streams = self.streams
        return tuple(Condition(*seen) for seen in self.seen.items() if seen[0] not in streams)

    def _expected(self, stream: StreamId) -> Any:
        return self.seen.get(stream, ANY)

    def _append_id(self) -> UUID:
        """The id of the one append, or one that stands for several."""
        ids = sorted({recorded.append_id for recorded in self.events})
        if len(ids) == 1:
            return ids[0]
        if self.has_chosen_ids:
            raise PreviewError(
                "the program chose ids for several appends, and one append has one: name that "
                "(append_id=), or run the program itself"
            )
        return uuid5(_SEVERAL, " ".join(map(str, ids)))

    def _metadata(self) -> Json:
        several = [recorded.metadata for recorded in self.events]
        if any(each != several[0] for each in several):
            raise PreviewError(
                "the appends had different metadata, and one append has one: run the program itself"
            )
        return several[0] if several else {}

    def __str__(self) -> str:
        lines: list[str] = []
        for stream, events in self.streams.items():
            lines.append(f"{stream}:")
            lines += [f"  {event.version}: {_shown(event)}" for event in events]
        for changes in self.changes:
            lines += str(changes).splitlines()
        if isinstance(self.outcome, Failure):
            lines.append(f"raises {self.outcome.failure()!r}")
        else:
            lines.append(f"answers {self.outcome.unwrap()!r}")
        return "\n".join(lines)


@program
def _applied(
    appends: tuple[StreamAppend, ...],
    conditions: tuple[Condition, ...],
    append_id: UUID | None,
    metadata: Json,
    request: bytes | None,
) -> Do[AppendAll, Outcome[Appended, NotAppended] | None]:
    if not appends:
        return None
    return (yield from AppendAll(appends, conditions, append_id, metadata, request))


def _as_appended(event: Recorded[Any]) -> object:
    return event.data if event.is_known else event.opaque()


def _shown(event: Recorded[Any]) -> str:
    return repr(_as_appended(event))


# --- previewing -----------------------------------------------------------------------------------


@overload
def preview(
    store: Interpreter[StoreOp],
    source: Effect[StoreOp | World, R],
    *,
    views: Mapping[View[Any], LedgerViews] | None = None,
    codec: Codec | None = None,
) -> Previewed[R]: ...
@overload
def preview(
    store: Interpreter[StoreOp],
    source: Effect[O, R],
    *,
    app: Callable[[Interpreter[StoreOp]], Interpreter[O]],
    views: Mapping[View[Any], LedgerViews] | None = None,
    codec: Codec | None = None,
) -> Previewed[R]: ...
def preview(
    store: Interpreter[StoreOp],
    source: Effect[Any, R],
    *,
    app: Callable[[Interpreter[StoreOp]], Interpreter[Any]] | None = None,
    views: Mapping[View[Any], LedgerViews] | None = None,
    codec: Codec | None = None,
) -> Previewed[R]:
    """Runs a program over a store as it is now, and writes nothing to it.

    app: makes the application's interpreter of a store's; if not given, the program is over a store
        and the world.
    views: of which the rows that would change are wanted, and where each is kept. Their handlers are
        run in a transaction that is rolled back, after those of all earlier events.
    codec: the store's, if `store` is not the store itself and its codec is one's own.
    An exception of the program becomes the outcome. It raises PreviewIsDry, there, if it would write to
    a view. Raises PreviewError for a view that was never built, or that is in an external target.
    """
    overlay, both = over(store, codec)
    running = both | world if app is None else app(both)
    scope = _dry(scope_for(running, source))
    try:
        outcome: Success[R] | Failure[Exception] = Success(_loop.run(source, scope))
    except Exception as error:
        outcome = Failure(error)
    previewed = _previewed(outcome, overlay)
    changes = (changes_of(view, kept, both, overlay.end) for view, kept in (views or {}).items())
    return attrs.evolve(previewed, changes=tuple(changes))


@overload
async def preview_async(
    store: AsyncInterpreter[StoreOp],
    source: Effect[StoreOp | World, R],
    *,
    codec: Codec | None = None,
) -> Previewed[R]: ...
@overload
async def preview_async(
    store: AsyncInterpreter[StoreOp],
    source: Effect[O, R],
    *,
    app: Callable[[AsyncInterpreter[StoreOp]], AsyncInterpreter[O]],
    codec: Codec | None = None,
) -> Previewed[R]: ...
async def preview_async(
    store: AsyncInterpreter[StoreOp],
    source: Effect[Any, R],
    *,
    app: Callable[[AsyncInterpreter[StoreOp]], AsyncInterpreter[Any]] | None = None,
    codec: Codec | None = None,
) -> Previewed[R]:
    """As `preview`, for a store that needs an event loop, and without the rows of views."""
    overlay, both = await over_async(store, codec)
    running = both | world if app is None else app(both)
    scope = _dry(scope_for(running, source))
    try:
        outcome: Success[R] | Failure[Exception] = Success(await _loop.run_async(source, scope))
    except Exception as error:
        outcome = Failure(error)
    return _previewed(outcome, overlay)


def _previewed(outcome: Success[R] | Failure[Exception], overlay: Overlay) -> Previewed[R]:
    seen = overlay.seen
    token = Token(overlay.end.store_id, seen, overlay.end.epoch)
    return Previewed(
        outcome,
        overlay.events,
        seen,
        token,
        has_read_feed=overlay.has_read_feed,
        has_chosen_ids=overlay.has_chosen_ids,
        request=overlay.request,
    )


# --- keeping views unwritten ----------------------------------------------------------------------


WRITES_TO_VIEWS: Final = (
    Apply,
    Park,
    Unpark,
    Skip,
    Claim,
    Leave,
    GoLive,
    Discard,
    StartOver,
)


def _refuse(op: Any) -> NoReturn:
    raise PreviewIsDry(
        f"{type(op).__qualname__} would write to {op.view!r}: preview a program that does not bring "
        "views up to date, and name the view in `views` to see its rows"
    )


def _dry(scope: Scope) -> Scope:
    """The application's handlers, but for those that write to views."""

    def change(op_type: type, _handler: Any) -> Callable[[Any], Any] | None:
        return _refuse if issubclass(op_type, WRITES_TO_VIEWS) else None

    return rewired(scope, change)
