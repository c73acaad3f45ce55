"""Metrics of what stores and views do, and of how far views are behind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from eventsrc._errors import EventsrcError
from eventsrc.following.status import Status, WatchOp, status
from eventsrc.metering import Measured, Tell
from eventsrc.otel import _names
from eventsrc.programs.interpreter import Interpreter
from eventsrc.views.view import View


def measured(meter: Meter) -> Tell:
    """Counts what `eventsrc.metering.metered` tells of.

    `eventsrc.operation.duration` is a histogram of seconds, and `eventsrc.events` the number of events
    that were appended or applied; both by operation, outcome ("conflict", "unknown", "raised", …) and
    view, never by stream.
    """
    duration = meter.create_histogram(
        _names.DURATION, "s", "The time that an operation on a store or view took."
    )
    events = meter.create_counter(_names.EVENTS, "{event}", "The events appended, or applied to views.")

    def tell(done: Measured) -> None:
        try:
            duration.record(done.seconds, done.labels)
            if done.events:
                events.add(done.events, done.labels)
        except Exception:  # a metric fails no run
            _LOG.exception("%s could not be measured", done.name)

    return tell


def watch(
    meter: Meter,
    app: Interpreter[WatchOp],
    views: Iterable[View[Any]],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Reports the state of views whenever metrics are collected, by asking `status`.

    `eventsrc.view.lag` is the number of events that a view has not looked at, `eventsrc.view.behind`
    the seconds since the first of those was recorded, `eventsrc.view.parked` the number of parked
    streams, and `eventsrc.view.away` is 1 while the view's database does not answer. A store that does
    not answer is logged, and reports nothing: alarm on figures that are missing, too.

    now: the clock that the events' times are compared with, UTC.
    """
    watched = tuple(views)

    def report(read: Callable[[Status], float]) -> Callable[[CallbackOptions], Sequence[Observation]]:
        def observe(_: CallbackOptions) -> Sequence[Observation]:
            return [*_observed(app, watched, read)]

        return observe

    def behind(its: Status) -> float:
        return max(0.0, (now() - its.waiting_since).total_seconds()) if its.waiting_since else 0.0

    gauge = meter.create_observable_gauge
    gauge(_names.LAG, [report(lambda its: its.lag)], "{event}", "Events not looked at.")
    gauge(_names.BEHIND, [report(behind)], "s", "The age of the first event not looked at.")
    gauge(_names.PARKED, [report(lambda its: len(its.parked))], "{stream}", "Parked streams.")
    gauge(_names.AWAY, [report(lambda its: its.away is not None)], "1", "The database does not answer.")


def _observed(
    app: Interpreter[WatchOp], views: Iterable[View[Any]], read: Callable[[Status], float]
) -> Iterable[Observation]:
    for view in views:
        try:
            value = read(app.run(status(view)))
        except EventsrcError:
            _LOG.exception("the status of %s is not known", view.name)
            continue
        yield Observation(value, {"view": view.name, "version": str(view.version)})


_LOG: Final = logging.getLogger(__name__)
