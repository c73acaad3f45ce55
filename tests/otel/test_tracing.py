"""Spans: which there are, whose children they are, and what they never say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from eventsrc import (
    Append,
    Conflict,
    Do,
    MemoryStore,
    Query,
    Recorded,
    SqliteStore,
    StoreOp,
    Streams,
    View,
    event,
    gather,
    program,
    synchronise,
    world,
)
from eventsrc.errors import StoreError
from eventsrc.otel import traced
from eventsrc.programs.interpreter import on
from eventsrc.programs.trace import trace
from eventsrc.stores.metadata import with_metadata
from eventsrc.views.memory import MemoryViews


@event("otel.named")
class Named:
    name: str


SECRET = "homer@springfield.example"
profiles = Streams("users/{id}/profile", key=int, events=Named)


@program
def rename(user: int, name: str) -> Do[StoreOp, int]:
    yield from profiles[user].history()
    done = yield from profiles[user].append(Named(name))
    return done.version


@program
def rename_all(*users: int) -> Do[StoreOp, int]:
    yield from gather(*(rename(user, SECRET) for user in users))
    return (yield from rename(users[0], SECRET))


class Ask(Query[int]):
    """An operation of somebody else."""


class Collected:
    """An SDK whose spans are kept in memory."""

    def __init__(self, *processors: SpanProcessor) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        for processor in (SimpleSpanProcessor(self.exporter), *processors):
            provider.add_span_processor(processor)
        self.tracer = provider.get_tracer("tests")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def tree(self) -> list[Any]:
        """The names of the spans, each with those of its children, in the order of their starts."""
        spans = sorted(self.spans, key=lambda span: span.start_time or 0)

        def below(parent: int | None) -> list[Any]:
            return [
                (span.name, below(span.context.span_id if span.context else None))
                for span in spans
                if (span.parent.span_id if span.parent else None) == parent
            ]

        return below(None)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


def by_run(app: Any, effect: Any) -> Any:
    return app.run(effect)


def by_run_async(app: Any, effect: Any) -> Any:
    return asyncio.run(app.run_async(effect))


READ: Any = ("read users/{id}/profile", [])
APPENDED: Any = ("append users/{id}/profile", [])
RENAME = ("rename", [("history", [READ]), APPENDED])


@pytest.mark.parametrize("run", [by_run, by_run_async])
def test_a_run_is_a_tree_of_programs_with_what_they_ask_of_the_store(run: Callable[..., Any]) -> None:
    collected = Collected()
    app = traced(MemoryStore(), tracer=collected.tracer, streams=[profiles])
    assert run(app, rename_all(1, 2)) == 2
    (root,) = collected.tree()
    name, children = root
    assert name == "rename_all"
    assert [child[0] for child in children] == ["rename", "rename", "rename"]
    assert all(_without_history(child) == _without_history(RENAME) for child in children)


def _without_history(node: Any) -> Any:
    """Without the names of the library's own programs, which may change."""
    name, children = node
    flat = [each for child in children for each in (child[1] if child[0] not in KNOWN else [child])]
    return name, flat


KNOWN = {READ[0], APPENDED[0]}


def test_an_operation_by_itself_is_a_span_of_the_trace_that_is_open() -> None:
    collected = Collected()
    app = traced(MemoryStore(), tracer=collected.tracer)
    with collected.tracer.start_as_current_span("request"):
        app.run(Append(profiles[1].id, (Named("ann"),)))
    assert collected.tree() == [("request", [("append", [])])]


def test_what_others_trace_within_a_run_is_part_of_it() -> None:
    collected = Collected()

    def ask(_: Any) -> int:
        with collected.tracer.start_as_current_span("driver"):
            return 1

    @program
    def asking() -> Do[Any, int]:
        return (yield from Ask())

    traced(MemoryStore() | on(Ask).run(ask), tracer=collected.tracer).run(asking())
    assert collected.tree() == [("asking", [("driver", [])])]
    assert not api.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("with_ids", [False, True])
def test_a_span_says_no_event_no_argument_and_no_stream_unless_asked(with_ids: bool) -> None:
    collected = Collected()
    app = traced(MemoryStore(), tracer=collected.tracer, streams=[profiles], with_ids=with_ids)
    app.run(rename(12345, SECRET))
    text = "".join(span.to_json() for span in collected.spans)
    assert SECRET not in text
    assert ("users/12345/profile" in text) is with_ids


def test_names_stay_few_however_many_streams_there_are() -> None:
    collected = Collected()
    app = traced(MemoryStore(), tracer=collected.tracer, streams=[profiles])
    for user in range(200):
        app.run(rename(user, "ann"))
    assert len({span.name for span in collected.spans}) == 4


def test_an_append_says_how_it_ended() -> None:
    collected = Collected()
    app = traced(MemoryStore(), tracer=collected.tracer, streams=[profiles])
    app.run(Append(profiles[1].id, (Named("ann"), Named("bob"))))
    assert isinstance(app.run(Append(profiles[1].id, (Named("cy"),), 1)).failure(), Conflict)
    first, second = collected.spans
    assert first.kind is SpanKind.PRODUCER
    assert dict(first.attributes or {}) == {
        "messaging.system": "eventsrc",
        "messaging.operation.type": "send",
        "messaging.batch.message_count": 2,
        "messaging.destination.template": "users/{id}/profile",
        "eventsrc.expected": "any",
        "eventsrc.outcome": "appended",
        "eventsrc.store_id": app.run(profiles[1].read()).token.store_id,
        "eventsrc.version": 2,
    }
    assert (second.attributes or {})["eventsrc.outcome"] == "conflict"
    assert (second.attributes or {})["eventsrc.conflict.actual"] == 2
    assert second.status.status_code is StatusCode.UNSET


def test_an_error_marks_its_spans_and_keeps_its_text_to_itself(tmp_path: Path) -> None:
    collected = Collected()
    store = SqliteStore(tmp_path / "store.db")
    app = traced(store, tracer=collected.tracer)
    store.close()
    with pytest.raises(StoreError):
        app.run(rename(1, "ann"))
    assert {span.status.status_code for span in collected.spans} == {StatusCode.ERROR}
    assert {(span.attributes or {})["error.type"] for span in collected.spans} == {"StoreClosed"}
    assert not any(span.status.description or span.events for span in collected.spans)


def test_the_trace_is_in_the_metadata_of_what_is_appended() -> None:
    collected = Collected()
    app = traced(MemoryStore(), tracer=collected.tracer, streams=[profiles])
    app.run(rename(1, "ann"))
    (recorded,) = app.run(profiles[1].history())
    (span,) = collected.named("append users/{id}/profile")
    assert span.context is not None
    trace_id, span_id = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    assert recorded.metadata["traceparent"][:53] == f"00-{trace_id}-{span_id}-"


def test_a_trace_that_an_append_says_itself_stays() -> None:
    mine = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    app = traced(MemoryStore(), tracer=Collected().tracer)
    app.run(with_metadata(rename(1, "ann"), traceparent=mine))
    assert [each.metadata for each in app.run(profiles[1].history())] == [{"traceparent": mine}]


def test_without_an_sdk_nothing_is_added() -> None:
    store = MemoryStore()
    traced(store, tracer=api.NoOpTracer()).run(rename(1, "ann"))
    assert [each.metadata for each in store.run(profiles[1].history())] == [{}]


names: View[Any] = View("names")


@names.on(Named)
def _(db: Any, event: Recorded[Named]) -> None:
    db["names"][event.data.name] = True


def test_a_page_that_a_view_applies_is_a_trace_of_its_own_that_links_to_those_of_its_events() -> None:
    collected = Collected()
    app = traced(MemoryStore() | MemoryViews([names]) | world, tracer=collected.tracer)
    for user in range(40):
        app.run(Append(profiles[user].id, (Named("ann"),)))
    created = {span.context.span_id for span in collected.named("append") if span.context}
    collected.exporter.clear()
    app.run(synchronise(names))
    (page,) = [span for span in collected.named("process names") if span.links]
    assert page.kind is SpanKind.CONSUMER
    assert page.parent is None
    linked = {link.context.span_id for link in page.links}
    assert len(linked & created) == 32
    assert len(linked) == 33  # with the run that applied it
    assert (page.attributes or {})["messaging.batch.message_count"] == 40


class Broken(SpanProcessor):
    """A processor that fails whatever it is asked."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("no exporter")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("no exporter")


def test_a_failing_exporter_fails_no_run_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = traced(MemoryStore(), tracer=Collected(Broken()).tracer)
    assert app.run(rename(1, "ann")) == 1
    assert "no span could be started" in caplog.text


def test_a_printed_trace_is_as_it_is_without() -> None:
    plain = trace(MemoryStore(), rename(1, "ann"))
    within = trace(traced(MemoryStore(), tracer=api.NoOpTracer()), rename(1, "ann"))
    assert [type(op) for op in within.operations()] == [type(op) for op in plain.operations()]
