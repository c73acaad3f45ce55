"""Deciding over several streams: commit only if nothing that was read has changed.

`serializable(program)` remembers which streams the program reads, and at which versions. Its append
then holds only if they are all still there. If one has changed, the program is run again and reads
anew: if it comes to the same outcome, that is committed, and if not, the other one. So commands behave
as if they were run one after the other, and none has to say which streams its decision depends on.

(Optimistic concurrency with a validated read set: Kung and Robinson, On optimistic methods for
concurrency control, 1981.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID

import attrs
from returns.result import Failure

from eventsrc._errors import EventsrcError
from eventsrc.events.positions import Token
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do, Effect, intercept, program
from eventsrc.programs.world import Chance, Elapsed, Sleep
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    Append,
    AppendAll,
    AppendOutcome,
    Condition,
    Conflict,
    Expected,
    Head,
    Read,
    ReadFeed,
    StreamAppend,
    Unknown,
    is_met,
)
from eventsrc.streams.decide import WITHIN, pause
from eventsrc.streams.fold import Load

O = TypeVar("O")
R = TypeVar("R")

SerializableOp: TypeAlias = Read | Head | AppendAll | Elapsed | Chance | Sleep
"""The operations that `serializable` performs besides the program's own."""

_SEEN: Final = (Load, Read, Head, ReadFeed, Append, AppendAll)
"""The operations that read or write streams."""


class NotSerialized(EventsrcError):
    """Others kept changing what the program read until the deadline: `conflict` has their events."""

    def __init__(self, conflict: Conflict, attempts: int) -> None:
        events = ", ".join(f"{event.version}: {event.type}" for event in conflict.events)
        super().__init__(
            f"gave up after {attempts} attempts: {conflict.stream} was read at version "
            f"{conflict.expected} and is at {conflict.actual} ({events}): give it more time (within=), "
            "or read fewer streams that others write to"
        )
        self.conflict = conflict
        self.attempts = attempts


class NotSerializable(EventsrcError):
    """The program does what cannot be made conditional on its reads."""


class _Changed(BaseException):
    """A stream that was read has changed. No Exception: the program's own handlers let it pass."""

    def __init__(self, reads: _Reads, conflict: Conflict) -> None:
        super().__init__(conflict)
        self.reads = reads
        self.conflict = conflict


@program
def serializable(source: Effect[O, R], *, within: float = WITHIN) -> Do[O | SerializableOp, R]:
    """The program, with its append conditional on every stream that it has read; again if one changed.

    source: a program over store operations, run once or several times: its reads are Read, Head and
        Load, its write is one Append or AppendAll, that of a decision included. Those of operations
        that the interpreter has a program for, such as the commands of a service, are among them. A
        program that writes nothing and reads several streams is run until it has seen them as they were
        at one moment.
    within: for how many seconds to run it again.
    A conflict at a version that the program expects, and has not read, is its own, answered as ever.
    Raises NotSerialized at the deadline, and NotSerializable for a second write, or a read of the feed.
    """
    deadline = (yield from Elapsed()) + within
    attempt = 0
    while True:
        reads = _Reads()
        try:
            result = yield from intercept(source, reads.handle, taking=(Load,), only=_SEEN)
            yield from reads.confirm()
            return result
        except _Changed as changed:
            if changed.reads is not reads:  # of a serializable program around this one
                raise
            conflict = changed.conflict
        attempt += 1
        if not (yield from pause(attempt - 1, deadline)):
            raise NotSerialized((yield from _with_events(conflict)), attempt)


def _with_events(conflict: Conflict) -> Do[Read, Conflict]:
    if conflict.events:
        return conflict
    page = yield from Read(conflict.stream, cast("int", conflict.expected), CONFLICT_EVENTS)
    return attrs.evolve(conflict, actual=page.head, events=page.events)


class _Reads:
    """The versions that one run of a program has read, and what became of its write."""

    def __init__(self) -> None:
        self._versions: dict[StreamId, int] = {}
        self._is_written = False
        self._unknown: UUID | None = None

    def handle(self, op: Any) -> Do[Any, Any]:
        """Performs one of the program's reads and writes."""
        match op:
            case Load(stream=stream, fold=fold, known=known):
                folded = yield from Load(stream, fold, known)  # the latest event: a state that is
                self._see(stream, folded.version)  # older by choice would never be found unchanged
                return folded
            case Read(stream=stream):
                page = yield from op
                self._see(stream, page.head)
                return page
            case Head(stream=stream):
                version = yield from op
                self._see(stream, version)
                return version
            case ReadFeed():
                raise NotSerializable(
                    f"{op!r} reads all streams, and every append would change it: read the streams "
                    "that the decision depends on"
                )
            case _:
                return (yield from self._write(op))

    def confirm(self) -> Do[Head, None]:
        """Makes sure that what was read was so at one moment, if no write has made sure already."""
        if self._is_written or self._unknown is not None or len(self._versions) < 2:
            return
        # Versions only grow: those that are now as they were read, were so when the last was read.
        for stream in list(self._versions):
            self._see(stream, (yield from Head(stream)))

    def _see(self, stream: StreamId, version: int) -> None:
        if not self._is_written and self._unknown is None:  # or it might be its own write that it sees
            before = self._versions.setdefault(stream, version)
            if before != version:
                raise _Changed(self, Conflict(stream, before, version))

    def _write(self, op: Append | AppendAll) -> Do[Append | AppendAll, AppendOutcome]:
        if self._is_written or self._unknown not in (None, op.append_id):
            raise NotSerializable(
                f"{op!r:.200} is a second write: make it one AppendAll with the first, so that both "
                "are stored or neither"
            )
        parts = _parts(op)
        unmet = self._unmet(parts)
        if unmet is not None:
            return Failure(unmet)
        outcome: AppendOutcome = yield from self._conditional(op, parts)
        if not isinstance(outcome, Failure):
            self._is_written = True
            return outcome
        why = outcome.failure()
        if isinstance(why, Unknown):
            self._unknown = why.append_id
        elif isinstance(why, Conflict):
            if self._versions.get(why.stream) == why.expected:
                raise _Changed(self, why)
            self._see(why.stream, why.actual)  # which the program is told
        return outcome

    def _unmet(self, parts: Sequence[StreamAppend | Condition]) -> Conflict | None:
        """The version that a program expects of a stream, if what it read of it may have changed."""
        for part in parts:
            version = self._versions.get(part.stream)
            expected = _wanted(part.expected, part.stream)
            # A lower one than was read cannot come true: the store answers that, with the events.
            if version is not None and not is_met(expected, version) and version <= _least(expected):
                return Conflict(part.stream, expected, version)
        return None

    def _conditional(
        self, op: Append | AppendAll, parts: Sequence[StreamAppend | Condition]
    ) -> Append | AppendAll:
        """The write with a condition on every stream that was read."""
        named = {part.stream for part in parts}
        read = [Condition(*seen) for seen in self._versions.items() if seen[0] not in named]
        if isinstance(op, Append) and not read:
            expected = self._expected(parts[0])
            return Append(op.stream, op.events, expected, op.append_id, op.metadata)
        appends: list[StreamAppend] = []
        for part in parts:
            expected = self._expected(part)
            if isinstance(part, StreamAppend):
                appends.append(StreamAppend(part.stream, part.events, expected))
            else:
                read.append(Condition(part.stream, expected))
        return AppendAll(tuple(appends), tuple(read), op.append_id, op.metadata)

    def _expected(self, part: StreamAppend | Condition) -> Expected:
        version = self._versions.get(part.stream)
        if version is None or isinstance(part.expected, Token):
            return part.expected
        return version if is_met(part.expected, version) else part.expected


def _parts(op: Append | AppendAll) -> tuple[StreamAppend | Condition, ...]:
    if isinstance(op, Append):
        return (StreamAppend(op.stream, op.events, op.expected),)
    return (*op.appends, *op.conditions)


def _wanted(expected: Expected, stream: StreamId) -> Any:
    return expected[stream] if isinstance(expected, Token) else expected


def _least(expected: Any) -> int:
    """The lowest version that fulfils a condition which one that was read does not."""
    return expected if isinstance(expected, int) else int(is_met(expected, 1))
