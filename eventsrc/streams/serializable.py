"""Deciding over several streams: commit only if nothing that was read has changed.

`serializable(program)` remembers which streams the program reads, and at which versions. Its append
then holds only if they are all still there, and if no event has come that a boundary or a part of the
feed would have had which it has read to its end. If one has changed, the program is run again and reads
anew: if it comes to the same outcome, that is committed, and if not, the other one. So commands behave
as if they were run one after the other, and none has to say which streams its decision depends on.

(Optimistic concurrency with a validated read set: Kung and Robinson, On optimistic methods for
concurrency control, 1981.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.stream_id import StreamId
from eventsrc.events.tags import Boundary, BoundaryItem
from eventsrc.programs.program import Do, Effect, intercept, program
from eventsrc.programs.world import Chance, Elapsed, Sleep
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    Append,
    AppendAll,
    Appended,
    AppendOutcome,
    Condition,
    Conflict,
    Expected,
    FeedPage,
    FindAppend,
    Head,
    Read,
    ReadFeed,
    StoreOp,
    StreamAppend,
    Unknown,
    is_met,
)
from eventsrc.stores.prepare import changed
from eventsrc.stores.tags import AppendIf, BoundaryChanged, ReadTagged, Unchanged
from eventsrc.streams.decide import WITHIN, key_of, pause
from eventsrc.streams.fold import Load
from eventsrc.streams.past import after, before

O = TypeVar("O")
R = TypeVar("R")

SerializableOp: TypeAlias = StoreOp | Elapsed | Chance | Sleep
"""The operations that `serializable` performs besides the program's own."""

_Write: TypeAlias = Append | AppendAll | AppendIf

_SEEN: Final = (Load, Read, Head, ReadFeed, ReadTagged, Append, AppendAll, AppendIf)
"""The operations that read or write streams."""


class NotSerialized(EventsrcError):
    """Others kept changing what the program read until the deadline: `conflict` has their events."""

    def __init__(self, conflict: Conflict, attempts: int) -> None:
        events = ", ".join(f"{event.version}: {event.type}" for event in conflict.events)
        read = f"{conflict.stream} was read at version {conflict.expected} and is at {conflict.actual}"
        if isinstance(conflict, BoundaryChanged):
            read = f"{conflict.boundary} was read, and {conflict.stream} has brought more of it"
        super().__init__(
            f"gave up after {attempts} attempts: {read} ({events}): give it more time (within=), or "
            "read less that others write to"
        )
        self.conflict = conflict
        self.attempts = attempts


class NotSerializable(EventsrcError):
    """The program does what cannot be made conditional on its reads."""


class _Stored(BaseException):
    """The write is stored already. No Exception, as _Changed."""

    def __init__(self, reads: _Reads, appended: Appended) -> None:
        super().__init__(appended)
        self.reads = reads
        self.appended = appended


class _Changed(BaseException):
    """A stream that was read has changed. No Exception: the program's own handlers let it pass."""

    def __init__(self, reads: _Reads, conflict: Conflict) -> None:
        super().__init__(conflict)
        self.reads = reads
        self.conflict = conflict


@program
def serializable(
    source: Effect[O, R],
    *,
    within: float = WITHIN,
    append_id: UUID | None = None,
    request: object = None,
) -> Do[O | SerializableOp, R]:
    """The program, with its append conditional on every stream that it has read; again if one changed.

    source: a program over store operations, run once or several times: its reads are Read, Head and
        Load, ReadTagged of a boundary, and ReadFeed with a prefix or types; its write is one Append,
        AppendAll or AppendIf, that of a decision included. Those of operations that the interpreter
        has a program for, such as the commands of a service, are among them. A program that writes
        nothing and reads several streams or boundaries is run until it has seen them as they were at
        one moment. Where boundaries or parts of the feed were read, the store must keep tags (TagOp).
    within: for how many seconds to run it again.
    append_id: that of its write, to make a retry safe: what was stored under it before is not stored
        again. The program is then run on what its streams were when that was stored, and its write is
        answered as it was then; so it answers as the first time, if it goes by nothing but its streams.
    request: what is asked for, as `eventsrc.stores.requests.request_of` takes it: it is answered again
        for this request alone. None: for any under this id.
    A conflict at a version that the program expects, and has not read, is its own, answered as ever.
    Raises NotSerialized at the deadline, OtherRequest if the append_id was used before and not for this
    request, and NotSerializable for a second write, a read of the whole feed, an append_id of the
    program's own beside the one that is given, or a program that does not append, to the same streams,
    what was stored under its id.
    """
    asked = key_of(append_id, request)
    if append_id is not None:
        found = yield from FindAppend(append_id, asked)
        if found is not None:
            return (yield from _replayed(source, found))
    deadline = (yield from Elapsed()) + within
    attempt = 0
    while True:
        reads = _Reads(append_id, asked)
        try:
            result = yield from intercept(source, reads.handle, taking=(Load,), only=_SEEN)
            yield from reads.confirm()
            return result
        except _Stored as stored:
            if stored.reads is not reads:
                raise
            return (yield from _replayed(source, stored.appended))
        except _Changed as changed:
            if changed.reads is not reads:  # of a serializable program around this one
                raise
            conflict = changed.conflict
        attempt += 1
        if not (yield from pause(attempt - 1, deadline)):
            raise NotSerialized((yield from _with_events(conflict)), attempt)


def _replayed(source: Effect[O, R], stored: Appended) -> Do[O | SerializableOp, R]:
    """The program once more, on what it read when its append was stored."""
    replay = _Replay(stored, (yield from before(stored)))
    result: R = yield from intercept(source, replay.handle, taking=(Load,), only=_SEEN)
    if not replay.is_written:
        raise NotSerializable(
            f"append_id {stored.append_id} has been used, and {source!r:.200} appends nothing where "
            "that was stored: use a new id for another program, and decide by nothing but the streams"
        )
    return result


class _Replay:
    """A run of a program whose write is stored already."""

    def __init__(self, stored: Appended, ask: Callable[[Any], Do[StoreOp | ReadTagged, Any]]) -> None:
        self._stored = stored
        self._ask = ask
        self.is_written = False

    def handle(self, op: Any) -> Do[Any, Any]:
        """Answers one of the program's reads and writes, as it was answered then."""
        match op:
            case Append() | AppendAll() | AppendIf():
                return self._write(op)
            case _:
                if isinstance(op, ReadFeed):
                    _boundary_of(op)
                return (yield from self._ask(op))

    def _write(self, op: _Write) -> AppendOutcome:
        if self.is_written:
            raise _second(op)
        appends = [op] if isinstance(op, Append) else op.appends
        if {part.stream for part in appends} != self._stored.token.versions.keys():
            others = ", ".join(self._stored.token.versions)
            raise NotSerializable(
                f"append_id {self._stored.append_id} was used for an append to {others}: use a new id "
                f"for {op!r:.200}"
            )
        self.is_written = True
        self._ask = after(self._stored)
        return Success(self._stored)


def _reads_feed(op: ReadFeed) -> NotSerializable:
    return NotSerializable(
        f"{op!r} reads all streams, and every append would change it: read the streams that the "
        "decision depends on, or events of some types, below a prefix, or of some tags"
    )


def _boundary_of(op: ReadFeed) -> Boundary:
    """The boundary of a part of the feed. Raises NotSerializable for the whole of it."""
    if (not op.prefix and op.types is None) or (op.all_streams and not op.prefix):
        raise _reads_feed(op)
    return Boundary((BoundaryItem(types=op.types, prefix=op.prefix),))


def _second(op: _Write) -> NotSerializable:
    return NotSerializable(
        f"{op!r:.200} is a second write: make it one AppendAll with the first, so that both are stored "
        "or neither"
    )


def _with_events(conflict: Conflict) -> Do[Read, Conflict]:
    if conflict.events:
        return conflict
    page = yield from Read(conflict.stream, cast("int", conflict.expected), CONFLICT_EVENTS)
    return attrs.evolve(conflict, actual=page.head, events=page.events)


class _Reads:
    """The versions that one run of a program has read, and what became of its write."""

    def __init__(self, append_id: UUID | None = None, request: bytes | None = None) -> None:
        self._append_id = append_id
        self._request = request
        self._versions: dict[StreamId, int] = {}
        self._bounds: dict[Boundary, tuple[Cursor, ReadFeed | ReadTagged]] = {}
        """The ends of those that were read to their ends, and how to read on."""
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
            case ReadTagged() | ReadFeed():
                boundary = op.boundary if isinstance(op, ReadTagged) else _boundary_of(op)
                found: FeedPage[Any] = yield from op
                self._see_page(boundary, op, found)
                return found
            case _:
                return (yield from self._write(op))

    def confirm(self) -> Do[Head | FindAppend, None]:
        """Makes sure that what was read was so at one moment, if no write has made sure already."""
        if not self._is_written and self._unknown is None:
            yield from self._find()  # perhaps it writes nothing because of what was stored meanwhile
        read = len(self._versions) + len(self._bounds)
        if self._is_written or self._unknown is not None or read < 2:
            return
        # Versions only grow: those that are now as they were read, were so when the last was read.
        for stream in list(self._versions):
            self._see(stream, (yield from Head(stream)))
        for boundary, (cursor, op) in list(self._bounds.items()):
            at, end = cursor, None
            while end is None or at < end:  # what has come since that reading is no part of it
                page: FeedPage[Any] = yield from attrs.evolve(op, after=at, limit=1)  # type: ignore[misc]
                if page.events:
                    raise _Changed(self, changed(boundary, page.events))
                at, end = page.next, end or page.end

    def _see_page(self, boundary: Boundary, op: ReadFeed | ReadTagged, page: FeedPage[Any]) -> None:
        """Notes a page that reached the end: the answer of any other is not changed by what comes."""
        if self._is_written or self._unknown is not None or page.next < page.end:
            return
        before, _ = self._bounds.get(boundary, (page.end, op))
        self._bounds[boundary] = min(before, page.end), op

    def _see(self, stream: StreamId, version: int) -> None:
        if not self._is_written and self._unknown is None:  # or it might be its own write that it sees
            before = self._versions.setdefault(stream, version)
            if before != version:
                raise _Changed(self, Conflict(stream, before, version))

    def _write(self, op: _Write) -> Do[Append | AppendAll | FindAppend, AppendOutcome]:
        if self._is_written or self._unknown not in (None, op.append_id):
            raise _second(op)
        op = self._named(op)
        parts = _parts(op)
        unmet = self._unmet(parts)
        if unmet is not None:
            return Failure(unmet)
        outcome: AppendOutcome = yield from self._conditional(op, parts)
        if not isinstance(outcome, Failure):
            self._is_written = True
            if self._append_id is not None and not (yield from self._fits(op, outcome.unwrap())):
                raise _Stored(self, outcome.unwrap())
            return outcome
        why = outcome.failure()
        if isinstance(why, Unknown):
            self._unknown = why.append_id
        elif isinstance(why, BoundaryChanged):
            if why.boundary in self._bounds:
                raise _Changed(self, why)
        elif isinstance(why, Conflict):
            if self._versions.get(why.stream) == why.expected:
                raise _Changed(self, why)
            self._see(why.stream, why.actual)  # which the program is told
        else:  # perhaps because the same request, with other events, was stored meanwhile
            yield from self._find()
        return outcome

    def _find(self) -> Do[FindAppend, None]:
        """Raises _Stored if there is an append under the id that was given."""
        if self._append_id is not None:
            found = yield from FindAppend(self._append_id, self._request)
            if found is not None:
                raise _Stored(self, found)

    def _named(self, op: _Write) -> _Write:
        """The write under the id that was given."""
        if self._append_id is None:
            return op
        if op.append_id not in (None, self._append_id):
            raise NotSerializable(
                f"{op!r:.200} has an append_id of its own beside {self._append_id}: leave one out"
            )
        return attrs.evolve(op, append_id=self._append_id, request=self._request)  # type: ignore[misc]

    def _fits(self, op: _Write, stored: Appended) -> Do[Any, bool]:
        """Whether what was stored came after just what was read."""
        appends = [op] if isinstance(op, Append) else op.appends
        if not all(
            self._versions.get(part.stream, at - len(part.events)) == at - len(part.events)
            for part in appends
            for at in [stored.token.versions[part.stream]]
        ):
            return False
        first = stored.cursor.position - sum(len(part.events) for part in appends) + 1
        for at, asked in self._bounds.values():
            if at.position >= first:
                return False
            while at.position < first - 1:
                page: FeedPage[Any] = yield from attrs.evolve(asked, after=at, limit=1)  # type: ignore[misc]
                if page.events and page.events[0].position < first:
                    return False
                at = page.next
        return True

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
        self, op: _Write, parts: Sequence[StreamAppend | Condition]
    ) -> Do[Any, AppendOutcome]:
        """Performs the write with a condition on every stream and boundary that was read."""
        named = {part.stream for part in parts}
        read = [Condition(*seen) for seen in self._versions.items() if seen[0] not in named]
        unchanged = tuple(Unchanged(boundary, cursor) for boundary, (cursor, _) in self._bounds.items())
        if isinstance(op, AppendIf):
            unchanged = *op.unchanged, *unchanged
        if isinstance(op, Append) and not read and not unchanged:
            expected = self._expected(parts[0])
            lone = Append(op.stream, op.events, expected, op.append_id, op.metadata, op.request)
            return (yield from lone)
        appends: list[StreamAppend] = []
        for part in parts:
            expected = self._expected(part)
            if isinstance(part, StreamAppend):
                appends.append(StreamAppend(part.stream, part.events, expected))
            else:
                read.append(Condition(part.stream, expected))
        rest = tuple(read), op.append_id, op.metadata, op.request
        if unchanged:
            return (yield from AppendIf(tuple(appends), unchanged, *rest))
        return (yield from AppendAll(tuple(appends), *rest))

    def _expected(self, part: StreamAppend | Condition) -> Expected:
        version = self._versions.get(part.stream)
        if version is None or isinstance(part.expected, Token):
            return part.expected
        return version if is_met(part.expected, version) else part.expected


def _parts(op: _Write) -> tuple[StreamAppend | Condition, ...]:
    if isinstance(op, Append):
        return (StreamAppend(op.stream, op.events, op.expected),)
    return (*op.appends, *op.conditions)


def _wanted(expected: Expected, stream: StreamId) -> Any:
    return expected[stream] if isinstance(expected, Token) else expected


def _least(expected: Any) -> int:
    """The lowest version that fulfils a condition which one that was read does not."""
    return expected if isinstance(expected, int) else int(is_met(expected, 1))
