"""Spans of programs, and of the operations on stores and views that they perform."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar, Token
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs
from opentelemetry import context as contexts
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace import (
    NoOpTracer,
    ProxyTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from returns.result import Failure, Success

from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.otel import _names
from eventsrc.programs.interpreter import AsyncInterpreter, Wrappable
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Call, Do, name_of
from eventsrc.programs.trace import Observer, observed
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
    Conflict,
    Page,
    Read,
    ReadFeed,
)
from eventsrc.stores.tags import APPENDS, AnyAppend, AppendIf, ReadTagged
from eventsrc.streams.stream import Stream, Streams
from eventsrc.views.operations import Applied, Apply, Park

K = TypeVar("K")

AnyStream: TypeAlias = Stream[Any] | Streams[Any, Any]

TRACED: Final = (*APPENDS, Read, ReadFeed, ReadTagged, Apply, Park)
"""The operations that have a span, unless one says otherwise."""

ENDLESS: Final = frozenset({"follow", "work"})
"""The programs that run for as long as a process does: each of their steps is a trace of its own."""

MOST_LINKS: Final = 32
"""The most links that the span of a page has to the traces which its events came from."""


def traced(
    app: Wrappable[K],
    *,
    tracer: Tracer | None = None,
    streams: Iterable[AnyStream] = (),
    only: tuple[type, ...] = TRACED,
    with_ids: bool = False,
) -> K:
    """The application, with a span for each program and for each operation of some types.

    A span of a program has the program's name; that of an append is "append users/{id}/profile", by the
    pattern of its stream. The trace goes into the metadata of what is appended as `traceparent`, if an
    append has none of its own. A page that is applied to a view is a trace of its own, "process names",
    with links to those of its events: a view that is rebuilt extends no trace of years ago. Spans hold
    no event, no argument and no text of an error.

    tracer: one of the global provider if not given.
    streams: those whose patterns name spans; the span of an append to another one is "append".
    only: the types of the operations. Raises MissingHandlers if the application performs none of them.
    with_ids: whether spans name the stream itself too, which may be personal.
    """
    tracing = _Tracing(tracer or api.get_tracer(_names.SCOPE), tuple(streams), only, with_ids)
    inner = cast("AsyncInterpreter[Any]", app).around(tracing.around, only=only)
    return observed(cast("Wrappable[K]", inner), tracing.observer)


@attrs.frozen
class _Tracing:
    tracer: Tracer
    streams: tuple[AnyStream, ...]
    only: tuple[type, ...]
    with_ids: bool

    @property
    def is_idle(self) -> bool:
        """Whether there is nobody to trace for: no SDK is installed."""
        kind = type(self.tracer)
        return kind is NoOpTracer or (kind is ProxyTracer and type(api.get_tracer_provider()) is _PROXY)

    def observer(self) -> Observer | None:
        return None if self.is_idle else _Run(self)

    def around(self, op: Operation[Any]) -> Do[Any, Any]:
        """Performs an operation within a span."""
        if self.is_idle:
            return (yield from op)
        span = self.begin(op)
        try:
            answer = yield from _carrying(span, op) if isinstance(op, AnyAppend) else op
        except BaseException as error:
            _end(span, _of_error(error), error)
            raise
        _end(span, _of_answer(answer) if span.is_recording() else {}, None)
        return answer

    def begin(self, op: Operation[Any]) -> Span:
        parent = _PARENT.get()
        _PARENT.set(None)
        if not isinstance(op, Apply):
            return self.start(*self.described(op), parent)
        span = self.start(*self.described(op), _NOTHING)
        if span.is_recording():
            for each in _linked(op.events, parent):
                span.add_link(each)
        return span

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: Context | None,
    ) -> Span:
        try:
            return self.tracer.start_span(name, parent, kind, attributes)
        except Exception:  # tracing fails no run
            _LOG.exception("no span could be started")
            return api.INVALID_SPAN

    def described(self, op: Any) -> tuple[str, SpanKind, Mapping[str, Any]]:
        """The name, kind and attributes of an operation's span."""
        its: dict[str, Any] = {_names.SYSTEM: "eventsrc"}
        match op:
            case Append(stream=stream, events=events, expected=expected):
                its |= {_names.OPERATION_TYPE: "send", _names.COUNT: len(events)}
                its[_names.EXPECTED] = _shown(expected)
                return self.named("append", stream, its), SpanKind.PRODUCER, its
            case AppendAll() | AppendIf():
                its |= {_names.OPERATION_TYPE: "send"}
                its[_names.COUNT] = sum(len(each.events) for each in op.appends)
                if isinstance(op, AppendIf) and len(op.appends) == 1:
                    return self.named("append", op.appends[0].stream, its), SpanKind.PRODUCER, its
                return "append to several", SpanKind.PRODUCER, its
            case Read(stream=stream):
                return self.named("read", stream, its), SpanKind.CLIENT, its
            case ReadFeed():
                return "read feed", SpanKind.CLIENT, its
            case ReadTagged():
                return "read boundary", SpanKind.CLIENT, its
            case Apply(view=view, events=events):
                its |= {_names.OPERATION_TYPE: "process", _names.COUNT: len(events)}
                its |= {_names.VIEW: view.name, _names.VIEW_VERSION: view.version}
                return f"process {view.name}", SpanKind.CONSUMER, its
            case Park(view=view):
                its |= {_names.VIEW: view.name, _names.VIEW_VERSION: view.version}
                return f"park {view.name}", SpanKind.INTERNAL, its
            case _:
                return type(op).__name__, SpanKind.INTERNAL, {}

    def named(self, what: str, stream: StreamId, its: dict[str, Any]) -> str:
        """The name of a span for a stream, whose attributes it adds."""
        if self.with_ids:
            its[_names.DESTINATION] = stream
        for each in self.streams:
            if isinstance(each, Streams):
                if stream.startswith(each.prefix) and stream in each:
                    its[_names.TEMPLATE] = each.pattern
                    return f"{what} {each.pattern}"
            elif stream == each.id:
                its[_names.TEMPLATE] = stream
                return f"{what} {stream}"
        return what


class _Run(Observer):
    """Makes the spans of the programs of a run, and says whose child the span of an operation is."""

    def __init__(self, tracing: _Tracing, within: Context | None = None) -> None:
        self._tracing = tracing
        self._path: list[tuple[Span | None, Context | None]] = [(None, within)]
        """The programs and operations that have begun, and the context in which each begins others."""
        self._is_branch = within is not None
        self._attached: Token[Context] | None = None

    def enter(self, node: Any) -> None:
        within = self._path[-1][1]
        if type(node) is not Call:
            if isinstance(node, self._tracing.only):
                _PARENT.set(within)
            self._path.append((None, within))
            return
        name = name_of(node.function)
        if name in ENDLESS:
            self._path.append((None, within))
            return
        span = self._tracing.start(name, SpanKind.INTERNAL, {}, within)
        inner = api.set_span_in_context(span, within)
        self._path.append((span, inner))
        if self._attached is None and within is None:
            # for spans and log lines that drivers and others make within the run
            self._attached = contexts.attach(inner)

    def leave(self, value: Any, error: BaseException | None) -> None:
        span, _ = self._path.pop()
        if span is None:
            return
        if self._attached is not None and self._path[-1][1] is None:
            contexts.detach(self._attached)
            self._attached = None
        _end(span, _of_error(error) if error is not None else _of_result(value), error)

    def performed(self, op: Any, value: Any, error: BaseException | None) -> None:
        """Operations have their spans by `around`."""

    def branch(self) -> _Run:
        return _Run(self._tracing, self._path[-1][1] or contexts.get_current())


def _end(span: Span, attributes: Mapping[str, Any], error: BaseException | None) -> None:
    try:
        if span.is_recording():
            span.set_attributes(attributes)
            if isinstance(error, Exception):
                span.set_status(Status(StatusCode.ERROR))
        span.end()
    except Exception:  # tracing fails no run
        _LOG.exception("a span could not be ended")


def _carrying(span: Span, op: Any) -> Any:
    """The append with the trace in its metadata, unless it is in one already, or there is none."""
    its: Any = op.metadata
    if not isinstance(its, Mapping) or "traceparent" in its:
        return op
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, api.set_span_in_context(span, _NOTHING))
    carrier.pop("tracestate", None)
    if not carrier:
        return op
    return attrs.evolve(op, metadata={**its, **carrier})


def _linked(events: Iterable[Recorded[Any]], parent: Context | None) -> Iterator[SpanContext]:
    """The traces that events came from, and the run that applies them."""
    for text in islice(_traceparents(events), MOST_LINKS):
        found = _PROPAGATOR.extract({"traceparent": text}, _NOTHING)
        yield api.get_current_span(found).get_span_context()
    yield api.get_current_span(parent).get_span_context()


def _traceparents(events: Iterable[Recorded[Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for event in events:
        try:
            text = event.metadata.get("traceparent")
        except Corrupted:  # whoever applies it is told
            continue
        if isinstance(text, str) and text not in seen:
            seen.add(text)
            yield text


def _of_answer(answer: Any) -> dict[str, Any]:
    """The attributes of an operation's answer."""
    match answer:
        case Success():
            return _of_answer(answer.unwrap())
        case Failure():
            return {_names.OUTCOME: _kind(answer.failure()), **_of_answer(answer.failure())}
        case Appended(token=token):
            its: dict[str, Any] = {_names.OUTCOME: "appended", _names.STORE: token.store_id}
            if len(token.versions) == 1:
                its[_names.VERSION] = answer.version
            return its
        case Conflict(actual=actual):
            return {_names.ACTUAL: actual}
        case Page(events=events, head=head):
            return {_names.COUNT: len(events), _names.VERSION: head}
        case Applied(failed=failed, gaps=gaps):
            return {_names.OUTCOME: "failed" if failed else "gap" if gaps else "applied"}
        case _:
            return {}


def _of_result(value: Any) -> dict[str, Any]:
    return {_names.OUTCOME: _kind(value.failure())} if isinstance(value, Failure) else {}


def _of_error(error: BaseException) -> dict[str, Any]:
    return {_names.ERROR_TYPE: type(error).__qualname__}


def _kind(failure: object) -> str:
    """The failure's kind, never its text."""
    if isinstance(failure, Conflict):
        return "conflict"
    return type(failure).__name__.lower()


def _shown(expected: Any) -> int | str:
    return expected if isinstance(expected, int) else expected.name.lower()


_LOG: Final = logging.getLogger(__name__)
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NOTHING: Final = Context()
_PROXY: Final = api.ProxyTracerProvider
_PARENT: Final[ContextVar[Context | None]] = ContextVar("eventsrc_otel_parent", default=None)
"""The context of the operation that a run has just begun, which `around` takes at its first step."""
