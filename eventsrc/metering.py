"""Metering: what stores and views are asked to do, how it ended and how long it took.

`metered(app, tell)` is the application, which tells of every write as a `Measured`: appends, pages
applied to views, streams that were parked. `tell` is any function: count in it what your Prometheus or
OpenTelemetry collects, or have `logged()` write lines with stable keys. Services know nothing of it:

    store = metered(SqliteStore("app.db"), logged())
    views = metered(SqliteViews("views.db"), lambda measured: seconds.observe(measured.seconds))
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs
from returns.result import Failure, Success

from eventsrc.programs.interpreter import AsyncInterpreter, Wrappable, rescoped, scope_of
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Do
from eventsrc.programs.world import Elapsed, world
from eventsrc.stores.operations import Conflict, Rejected, Unknown
from eventsrc.stores.tags import APPENDS, AnyAppend, BoundaryChanged, parts_of
from eventsrc.views.operations import Applied, Apply, Park

K = TypeVar("K")

METERED: Final = (*APPENDS, Apply, Park)
"""The operations that are told of, unless one says otherwise."""


@attrs.frozen
class Measured:
    """An operation that was performed."""

    operation: Operation[Any]
    answer: Any
    """None if it raised."""
    error: BaseException | None
    seconds: float

    @property
    def name(self) -> str:
        """The operation's name: "Append", "Apply"."""
        return type(self.operation).__name__

    @property
    def outcome(self) -> str:
        """Its end: "appended", "conflict", "rejected", "unknown", "applied", "gap", "failed",
        "parked", "done", or "raised"."""
        if self.error is not None:
            return "raised"
        match self.answer:
            case Success():
                return "appended"
            case Failure():
                return _REFUSALS.get(type(self.answer.failure()), "refused")
            case Applied(failed=failed, gaps=gaps):
                return "failed" if failed else "gap" if gaps else "applied"
            case _:
                return "parked" if isinstance(self.operation, Park) else "done"

    @property
    def events(self) -> int:
        """The number of events that were appended or applied."""
        match self.answer:
            case Success() if isinstance(self.operation, AnyAppend):
                return sum(len(part.events) for part in parts_of(self.operation))
            case Applied(applied=applied):
                return applied
            case _:
                return 0

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that many share: the operation, the outcome, the view; never a stream."""
        found = {"operation": self.name, "outcome": self.outcome}
        match self.operation:
            case Apply(view=view) | Park(view=view):
                found |= {"view": view.name, "version": str(view.version)}
            case _:
                pass
        return found


Tell: TypeAlias = Callable[[Measured], None]


def metered(app: Wrappable[K], tell: Tell, *, only: tuple[type, ...] = METERED) -> K:
    """The application, which tells of operations as they end: an Interpreter or an AsyncInterpreter.

    tell: is called in the thread or task that performed the operation; what it raises ends the run.
    only: the types of operation; base classes such as Query too.
    """

    def around(op: Operation[Any]) -> Do[Any, Any]:
        began = yield from Elapsed()
        try:
            answer = yield from op
        except Exception as error:
            tell(Measured(op, None, error, (yield from Elapsed()) - began))
            raise
        tell(Measured(op, answer, None, (yield from Elapsed()) - began))
        return answer

    inner = cast("AsyncInterpreter[Any]", app)
    return rescoped(app, scope_of(inner.around(around, only=only, using=world)))


def logged(logger: logging.Logger | None = None) -> Tell:
    """Writes a line for each operation: DEBUG if it went well, INFO for a conflict, else WARNING.

    Each record has the keys eventsrc_operation, eventsrc_outcome, eventsrc_events, eventsrc_seconds,
    and for a view eventsrc_view and eventsrc_version.
    logger: "eventsrc.metering" if not given.
    """
    log = logger or logging.getLogger("eventsrc.metering")

    def tell(measured: Measured) -> None:
        level = _LEVELS.get(measured.outcome, logging.WARNING)
        if log.isEnabledFor(level):
            extra: dict[str, Any] = {f"eventsrc_{key}": text for key, text in measured.labels.items()}
            extra |= {"eventsrc_events": measured.events, "eventsrc_seconds": measured.seconds}
            words = measured.name, measured.outcome, measured.events, measured.seconds * 1000
            log.log(level, "%s %s: %d events, %.3f ms", *words, extra=extra, exc_info=measured.error)

    return tell


_REFUSALS: Final[Mapping[type, str]] = {
    Conflict: "conflict",
    BoundaryChanged: "conflict",
    Rejected: "rejected",
    Unknown: "unknown",
}
_LEVELS: Final = {
    "appended": logging.DEBUG,
    "applied": logging.DEBUG,
    "done": logging.DEBUG,
    "conflict": logging.INFO,
    "gap": logging.INFO,
}
