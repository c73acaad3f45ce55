"""The answers that a recorded run got, for its program to get them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.operation import Query
from eventsrc.recording._names import NotPortable
from eventsrc.recording.masks import hiding, replaced
from eventsrc.recording.portable import Portable
from eventsrc.stores.operations import (
    Appended,
    Conflict,
    FeedPage,
    Head,
    Page,
    Read,
    SaveSnapshot,
)
from eventsrc.stores.prepare import page_of
from eventsrc.stores.tags import APPENDS, AnyAppend
from eventsrc.testing._written import compared, compared_events, renewed, shown


class Untold(BaseException):
    """A program asks what the recording does not tell. No Exception: its own handlers let it pass."""


@attrs.define
class _Performed:
    """A recorded operation: as it was written, and as it would be today."""

    written: Any
    operation: Any
    is_used: bool = False

    @property
    def is_write(self) -> bool:
        return self.operation.get("$attrs") in _WRITES


_WRITES = frozenset(f"eventsrc/{each.__name__}" for each in APPENDS)


class Answers:
    """The answers of a recorded run, and the writes of its program now.

    operations: as they were written, in their order. Raises NotPortable for what is no append.
    """

    def __init__(self, operations: list[Any], portable: Portable) -> None:
        self._portable = portable
        self._all = [_Performed(each, renewed(each["operation"], portable)) for each in operations]
        for each in self._all:
            if each.is_write:
                _streams(each.operation)  # raises now for what would fail in the end
        self._at = -1
        """The place of the last operation that was answered."""
        self._writes: list[tuple[Any, Any]] = []
        """Appends as they were recorded and as they are now; None for one that has no counterpart."""
        self._known: _Known | None = None

    def answer(self, op: Any) -> Any:
        """The answer to an operation; raises what it raised, and Untold."""
        try:
            return self._answer(op)
        except NotPortable as error:
            raise Untold(f"asks {op!r:.300}, whose answer cannot be had: {error}") from error

    def _answer(self, op: Any) -> Any:
        plain = replaced(self._portable.plain(op), hiding(self._portable.masked))
        if isinstance(op, AnyAppend):
            return self._write(op, plain)
        for index, performed in enumerate(self._all):
            if performed.operation == plain and not performed.is_used:
                return self._give(index)
        if isinstance(op, SaveSnapshot):  # what is kept beside the events is never the truth
            return None
        if isinstance(op, Read | Head):
            answer = self._knowledge().answer(op, self._at)
            if answer is not None:
                return answer
        elif isinstance(op, Query):
            for performed in reversed(self._all):
                if performed.operation == plain:
                    return self._given(performed)
        raise self._untold(op)

    def differences(self) -> Iterator[str]:
        """Where the appends are different: in what each stream gets, and in their conditions."""
        unused = [(each.operation, None) for each in self._all if each.is_write and not each.is_used]
        for before, now in [*self._writes, *unused]:
            streams = _streams(before), _streams(now)
            for stream in {**streams[0], **streams[1]}:
                its = [found.get(stream, []) for found in streams]
                yield from compared_events(stream, its[0], its[1], self._portable)
            if before is not None and now is not None and before["$attrs"] == now["$attrs"]:
                yield from self._conditions(before["fields"], now["fields"], " and ".join(streams[1]))

    def _conditions(self, before: Any, now: Any, streams: str) -> Iterator[str]:
        for field in sorted(before.keys() & now.keys() - {"stream", "events", "appends"}):
            path = f"the append to {streams}, {field}"
            yield from compared(before[field], now[field], path, self._portable)
        for one, other in zip(_parts(before), _parts(now), strict=False):
            path = f"the append to {other['stream']['$stream']}, expected"
            yield from compared(one["expected"], other["expected"], path, self._portable)

    def _write(self, op: Any, plain: Any) -> Any:
        """The answer of the recorded append that is most like this one."""
        left = [
            (index, each) for index, each in enumerate(self._all) if each.is_write and not each.is_used
        ]
        alike = [
            index for index, each in left if _streams(each.operation).keys() == _streams(plain).keys()
        ]
        if not left:
            self._writes.append((None, plain))
            raise self._untold(op)
        index = alike[0] if alike else left[0][0]
        self._writes.append((self._all[index].operation, plain))
        return self._give(index)

    def _give(self, index: int) -> Any:
        performed = self._all[index]
        performed.is_used = True
        self._at = max(self._at, index)
        return self._given(performed)

    def _given(self, performed: _Performed) -> Any:
        written = performed.written
        if "raises" in written:
            raise error_of(written["raises"], self._portable)
        return self._portable.value(written["answer"])

    def _untold(self, op: Any) -> Untold:
        left = [each for each in self._all[self._at + 1 :] if not each.is_used]
        instead = (
            f"it goes on with {shown(left[0].operation, self._portable)}" if left else "it ends there"
        )
        return Untold(f"asks {op!r:.300}, which the recording does not tell: {instead}")

    def _knowledge(self) -> _Known:
        if self._known is None:
            self._known = _Known()
            for index, performed in enumerate(self._all):
                if "answer" in performed.written:
                    try:
                        op = self._portable.value(performed.operation)
                        answer = self._portable.value(performed.written["answer"])
                    except EventsrcError:  # of a class that is no more: nothing is learnt from it
                        continue
                    self._known.learn(index, op, answer)
        return self._known


class _Known:
    """The streams of a recording: their events, and their versions at its places."""

    def __init__(self) -> None:
        self._events: dict[StreamId, dict[int, Recorded[Any]]] = {}
        self._heads: dict[StreamId, dict[int, int]] = {}
        self._store = ""

    def learn(self, index: int, op: Any, answer: Any) -> None:
        """From the answer of an operation, at its place in the run."""
        match op, answer:
            case Read(stream=stream), Page(events=events, head=head, token=token):
                self._store = token.store_id
                self._see(index, {stream: head}, events)
            case Head(stream=stream), int():
                self._see(index, {stream: answer}, ())
            case _, FeedPage(events=events):
                self._see(index, {}, events)
            case _, Success():
                if isinstance(appended := answer.unwrap(), Appended):
                    self._store = appended.token.store_id
                    self._see(index, dict(appended.token.versions), ())
            case _, Failure():
                if isinstance(conflict := answer.failure(), Conflict):
                    self._see(index, {conflict.stream: conflict.actual}, conflict.events)
            case _:
                pass

    def answer(self, op: Read | Head, at: int) -> Any:
        """The answer of a read at a place in the run; None if not all of it is known."""
        head = self._head(op.stream, at)
        if head is None or isinstance(op, Head):
            return head
        if op.backwards:
            last = head if op.after == 0 else min(op.after - 1, head)
            versions = range(last, max(last - op.limit, 0), -1)
        else:
            versions = range(op.after + 1, min(op.after + op.limit, head) + 1)
        known = self._events.get(op.stream, {})
        events = tuple(known[version] for version in versions if version in known)
        is_whole = not op.whole or all(event.record.position for event in events)
        if len(events) < len(versions) or not is_whole:
            return None
        return page_of(op, events, self._store, head)

    def _see(self, index: int, heads: dict[StreamId, int], events: Any) -> None:
        for stream, head in heads.items():
            self._heads.setdefault(stream, {})[index] = head
        for event in events:
            known = self._events.setdefault(event.stream, {})
            if event.version not in known or event.record.position:
                known[event.version] = event

    def _head(self, stream: StreamId, at: int) -> int | None:
        """The version of a stream at a place in the run, or at the first after it that tells."""
        heads = self._heads.get(stream, {})
        before = [head for index, head in heads.items() if index <= at]
        return before[-1] if before else next(iter(heads.values()), None)


def _parts(fields: Any) -> list[Any]:
    return [part["fields"] for part in fields["appends"]["$tuple"]] if "appends" in fields else []


def _streams(plain: Any) -> dict[str, list[Any]]:
    """The events of an append, as it was written, by stream."""
    if plain is None:
        return {}
    try:
        fields = plain["fields"]
        parts = _parts(fields) or [fields]
        found = {part["stream"]["$stream"]: part["events"]["$tuple"] for part in parts}
        if not all(isinstance(events, list) for events in found.values()):
            raise TypeError("the events are no list")
        _ = [event["$event"][0] for events in found.values() for event in events]
    except (AttributeError, LookupError, TypeError) as error:
        raise NotPortable(f"{plain!r:.300} is no append that a recording wrote") from error
    return found


def error_of(plain: Any, portable: Portable) -> Exception:
    """The exception that was written. Raises NotPortable for one that cannot be had, or is none."""
    error = portable.value(plain)
    if not isinstance(error, Exception):
        raise NotPortable(f"{plain!r:.300} is no exception")
    return error
