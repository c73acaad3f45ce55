"""Judgements that hold after every run on a store and its views, whatever the programs are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar
from uuid import UUID

from returns.result import Failure, Success

from eventsrc.events.codec import Kind
from eventsrc.events.positions import START
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs._scope import MissingHandlers
from eventsrc.programs.program import Do, Effect, program
from eventsrc.stores.operations import Appended, Head, Page, Read, ReadFeed, Unknown
from eventsrc.stores.tags import AnyAppend, parts_of
from eventsrc.testing._contract.history import Attempt, Look, check_feed, check_reads, check_stream
from eventsrc.testing._scenarios.running import BadScenario, Step
from eventsrc.testing._scenarios.simulation import Rows
from eventsrc.views.memory import Tables
from eventsrc.views.view import View

R = TypeVar("R")


class Ended(Protocol):
    """The end of a run, as `holds` of a scenario is given it."""

    @property
    def before(self) -> tuple[Step, ...]: ...
    @property
    def steps(self) -> tuple[Step, ...]: ...
    def streams(self) -> Mapping[StreamId, Sequence[Recorded[Any]]]: ...
    def run(self, program: Effect[Any, R], /) -> R: ...


@program
def whole_feed() -> Do[ReadFeed, list[Recorded[Any]]]:
    """All events of the store, in the order of the feed."""
    events: list[Recorded[Any]] = []
    cursor = START
    while True:
        page = yield from ReadFeed(cursor, all_streams=True)
        events += page.events
        if page.next == page.end:
            return events
        cursor = page.next


def check_history(after: Ended) -> list[str]:
    """Whether the store kept what it said: what is wrong, as sentences, and none if it is right.

    Each append took effect at one moment of those in which it was performed, or not at all if it was
    refused; each event is in its stream and in the feed once, in its place; who read saw a beginning of
    the stream as it is now. It goes by the steps: ask it before `holds` appends anything, and not
    where handlers append by themselves, whose appends nobody is seen to have made.
    """
    events = after.streams()
    streams = {
        stream: [(event.append_id, event.record.offset) for event in its]
        for stream, its in events.items()
    }
    steps = (*after.before, *after.steps)
    attempts: dict[StreamId, list[Attempt]] = {}
    for step in steps:
        for stream, attempt in _attempts(step):
            attempts.setdefault(stream, []).append(attempt)
    wrong = check_feed(
        [*chain(*events.values())], {stream: (1, len(found)) for stream, found in streams.items()}
    )
    for stream in sorted({*streams, *attempts}):
        tried = [*_joined(attempts.get(stream, ()))]
        wrong += check_stream(stream, tried, streams.get(stream, ()), _looks(steps, stream))
    for stream in streams:
        final = _seen(events[stream])
        for pages in _reads(steps, stream).values():
            wrong += check_reads(pages, final)
    return wrong


def check_view(after: Ended, view: View[Tables]) -> list[str]:
    """Whether a view holds what its handlers make of the feed's events, each once and in its order.

    Only of events that it has applied, if it has not been synchronised to the end.
    Raises BadScenario for a view that is not kept by SimulatedViews.
    """
    try:
        found = after.run(Rows(view))
    except MissingHandlers as error:
        raise BadScenario(
            f"check_view is for a View[Tables] that SimulatedViews keep, and {view!r} is not kept "
            "there: ask a view of SQL by queries of your own"
        ) from error
    tables = Tables()
    view.create(tables)
    for event in after.run(whole_feed()):
        if view.sees(event.stream):
            view.apply(tables, event)
    wanted = tables.copied()
    return [*_differences(view.name, found, wanted)] if found != wanted else []


def _differences(
    name: str, found: Mapping[str, Mapping[Any, Any]], wanted: Mapping[str, Mapping[Any, Any]]
) -> Iterator[str]:
    for table in {**wanted, **found}:
        its, due = found.get(table, {}), wanted.get(table, {})
        for key in {**due, **its}:
            if its.get(key) != due.get(key):
                yield f"view {name} has {its.get(key)!r} for {key!r} in {table}, not {due.get(key)!r}"


def _attempts(step: Step) -> Iterator[tuple[StreamId, Attempt]]:
    """The appends to each stream that a step tried."""
    op = step.op
    if step.is_again or not isinstance(op, AnyAppend):
        return
    match step.answer:
        case Success(answer) | Failure(answer):
            pass
        case _:
            return
    append_id = op.append_id
    if isinstance(answer, Appended | Unknown):
        append_id = answer.append_id
    offset = 0
    for part in parts_of(op):
        brought: Iterable[tuple[UUID, int]] = ()
        if append_id is not None:
            brought = [(append_id, offset + index) for index in range(len(part.events))]
        offset += len(part.events)
        yield part.stream, Attempt(step.began, step.ended, tuple(brought), answer)


def _joined(attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """The attempts, with one in place of those that tried the same again: it lasted until the first of
    them was acknowledged."""
    tries: dict[tuple[Hashable, ...], list[Attempt]] = {}
    for attempt in attempts:
        if attempt.brought:
            tries.setdefault(attempt.brought, []).append(attempt)
        else:
            yield attempt
    for brought, group in tries.items():
        first = next((its for its in group if isinstance(its.answer, Appended)), None)
        last = first or next((its for its in group if isinstance(its.answer, Unknown)), group[-1])
        yield Attempt(group[0].began, last.ended, brought, last.answer)


def _looks(steps: Iterable[Step], stream: StreamId) -> Iterator[Look]:
    """When somebody saw a stream's version."""
    for step in steps:
        op, answer = step.op, step.answer
        if isinstance(op, Read) and op.stream == stream and isinstance(answer, Page):
            yield Look(step.began, step.ended, answer.head)
        elif isinstance(op, Head) and op.stream == stream and isinstance(answer, int):
            yield Look(step.began, step.ended, answer)


def _reads(steps: Iterable[Step], stream: StreamId) -> dict[str, list[list[tuple[Kind, bytes]]]]:
    """The events that each program saw of a stream, when it read it from the start."""
    found: dict[str, list[list[tuple[Kind, bytes]]]] = {}
    for step in steps:
        op, answer = step.op, step.answer
        if not isinstance(op, Read) or not isinstance(answer, Page):
            continue
        if op.stream == stream and op.after == 0 and not op.backwards:
            found.setdefault(step.process, []).append(_seen(answer.events))
    return found


def _seen(events: Iterable[Recorded[Any]]) -> list[tuple[Kind, bytes]]:
    """The parts of events that every reader sees."""
    return [(event.record.kind, event.record.data) for event in events]
