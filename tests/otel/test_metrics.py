"""Metrics of what stores and views do, and of how far views are behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from eventsrc import Append, MemoryStore, SqliteStore, StreamId, View, event, synchronise, world
from eventsrc.metering import metered
from eventsrc.otel import measured, watch
from eventsrc.stores.operations import ReadFeed
from eventsrc.views.memory import MemoryViews

HERE = StreamId("here")


@event("otel.said")
class Said:
    text: str


def names() -> View[Any]:
    view: View[Any] = View("names")

    @view.on(Said)
    def say(db: Any, event: Any) -> None:
        if event.data.text == "poison":
            raise ValueError("poison")
        db["said"][event.data.text] = True

    return view


class Collected:
    """An SDK whose metrics are kept in memory."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter("tests")

    def points(self) -> Mapping[str, list[Any]]:
        """The points of each metric that reports any."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        metrics = [
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        return {metric.name: list(metric.data.data_points) for metric in metrics}


def test_appends_are_counted_by_their_outcome() -> None:
    collected = Collected()
    app = metered(MemoryStore(), measured(collected.meter))
    for expected in (0, 1, 1):
        app.run(Append(HERE, (Said("a"), Said("b")), expected))
    points = collected.points()
    counts = {
        point.attributes["outcome"]: point.count for point in points["eventsrc.operation.duration"]
    }
    assert counts == {"appended": 1, "conflict": 2}
    (events,) = points["eventsrc.events"]
    assert events.value == 2
    assert events.attributes == {"operation": "Append", "outcome": "appended"}


def test_views_report_how_far_they_are_behind_in_events_and_seconds() -> None:
    collected = Collected()
    view = names()
    app = MemoryStore() | MemoryViews([view]) | world
    app.run(Append(HERE, (Said("a"), Said("b"), Said("c"))))
    first = app.run(ReadFeed()).events[0].recorded_at
    watch(collected.meter, app, [view], now=lambda: first + timedelta(seconds=90))

    def told() -> dict[str, float]:
        return {name: point.value for name, (point,) in collected.points().items() if "view" in name}

    behind = {"lag": 3, "behind": 90.0, "parked": 0, "away": False}
    assert told() == {f"eventsrc.view.{key}": value for key, value in behind.items()}
    app.run(synchronise(view))
    caught_up = {"lag": 0, "behind": 0.0, "parked": 0, "away": False}
    assert told() == {f"eventsrc.view.{key}": value for key, value in caught_up.items()}
    app.run(Append(HERE, (Said("poison"),)))
    app.run(synchronise(view))
    assert told()["eventsrc.view.parked"] == 1


def test_a_store_that_does_not_answer_reports_nothing_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    collected = Collected()
    view = names()
    store = SqliteStore(tmp_path / "store.db")
    app = store | MemoryViews([view]) | world
    watch(collected.meter, app, [view])
    assert len(collected.points()["eventsrc.view.lag"]) == 1
    store.close()
    with caplog.at_level(logging.ERROR):
        assert "eventsrc.view.lag" not in collected.points()
    assert "the status of names is not known" in caplog.text


def test_a_metric_that_cannot_be_counted_fails_no_append(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def create_histogram(self, *_: Any) -> Any:
            return self

        create_counter = create_histogram

        def record(self, *_: Any) -> None:
            raise RuntimeError("no exporter")

    broken: Any = Broken()
    app = metered(MemoryStore(), measured(broken))
    assert app.run(Append(HERE, (Said("a"),))).unwrap().version == 1
    assert "could not be measured" in caplog.text
