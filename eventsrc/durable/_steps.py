"""The steps of a journal: what was asked, and what it was answered, as JSON.

A step is a dict. `op` is what was asked: the operation as recordings write it (eventsrc.recording), or
for what would copy events, a description of it. `query` is there, and true, if it only reads. One more
key says what the answer was:

    answer, raises  the answer or exception itself
    page            of Read: [events, head, store, epoch, digest of the events' ids]
    tagged          of ReadTagged: [events, next, end, store, epoch, digest of the events' ids]
    folded          of Load: [version, epoch]
    appended        true: the events were stored in the append that wrote the step
    conflict        of an append: [stream, expected, actual]; the events are read again. Of a boundary
                    that changed, it is the fourth
    event           of Next: the version of the event
    signal          of Signal: the version of the journal's entry
    timeout         of these two: true
    cancelled       true: the run was cancelled here, whatever it asked

What is in streams is kept by reference, since it does not change: journals stay small, and hold no copy
of what may have to be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import attrs

from eventsrc.durable.journal import (
    MESSAGES,
    Begun,
    CancelAsked,
    Ended,
    Entry,
    Parked,
    Retried,
    Signalled,
    Steps,
    Waits,
    WentOn,
)
from eventsrc.durable.operations import Next, Signal
from eventsrc.events.codec import Codec
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from eventsrc.programs.operation import Query
from eventsrc.programs.world import Elapsed, Now
from eventsrc.recording.portable import Portable
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Condition,
    Expect,
    StreamAppend,
)
from eventsrc.stores.tags import AnyAppend, AppendIf
from eventsrc.streams.fold import Load

WIDTH: Final = 200
"""The most characters of an operation in a message."""


@attrs.frozen
class JournalStep:
    """A step, and the entry of the journal that holds it."""

    written: dict[str, Any]
    entry: Recorded[Entry]

    @property
    def op(self) -> Any:
        """The operation that was asked."""
        return self.written.get("op")

    @property
    def is_query(self) -> bool:
        """Whether it only read."""
        return bool(self.written.get("query"))


class Forms:
    """Writes what is asked."""

    def __init__(self, portable: Portable, codec: Codec) -> None:
        self.portable = portable
        self._codec = codec

    def of(self, op: Any) -> Any:
        """An operation as JSON. Raises NotPortable for one that cannot be written."""
        if isinstance(op, AnyAppend):
            parts, conditions = parts_of(op)
            form: dict[str, Any] = {
                "append": [
                    [str(part.stream), _expected(part.expected), len(part.events)] for part in parts
                ],
                "if": [[str(each.stream), _expected(each.expected)] for each in conditions],
                "id": None if op.append_id is None else str(op.append_id),
                "digest": self._digest([[*part.events] for part in parts]),
            }
            if isinstance(op, AppendIf):
                form["unchanged"] = [[str(its.boundary), its.cursor.position] for its in op.unchanged]
            return form
        if isinstance(op, Load):
            return {"load": str(op.stream), "how": op.consistency.name}
        if isinstance(op, Next):
            names = sorted(self.types_of(op))
            return {"next": str(op.stream.id), "types": names, "within": op.within, "after": op.after}
        return self.portable.plain(op)

    def types_of(self, op: Next[Any]) -> list[str]:
        """The stored names of the events that are waited for."""
        return sorted(self._codec.types.of(each).name for each in op.wanted())

    def are_equal(self, written: Any, form: Any, op: Any) -> bool:
        """Whether what was asked is what is asked now; what has new fields is brought forward."""
        if written == form:
            return True
        if not (isinstance(written, dict) and "$attrs" in written and "$attrs" in form):
            return False
        if written["$attrs"] != form["$attrs"]:
            return False
        try:
            return bool(self.portable.value(written) == op)
        except Exception:  # it cannot be made any more, and so is another
            return False

    def shown(self, written: Any) -> str:
        """An operation, for a reader."""
        try:
            text = repr(self.portable.value(written)) if "$attrs" in written else json.dumps(written)
        except Exception:  # of what the code does not know any more, this is what there is
            text = json.dumps(written)
        return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."

    def _digest(self, events: Any) -> str:
        text = json.dumps(self.portable.plain(events), sort_keys=True)
        return sha256(text.encode()).hexdigest()[:32]


def parts_of(op: AnyAppend) -> tuple[tuple[StreamAppend, ...], tuple[Condition, ...]]:
    """The parts of an append, and its conditions."""
    if isinstance(op, Append):
        return (StreamAppend(op.stream, op.events, op.expected),), ()
    return op.appends, op.conditions


def together(
    op: AnyAppend | None, parts: Iterable[StreamAppend], conditions: Iterable[Condition], **rest: Any
) -> AppendAll | AppendIf:
    """An append of these parts and under these conditions, that depends on what `op` depends on."""
    if isinstance(op, AppendIf):
        return AppendIf((*parts,), op.unchanged, (*conditions,), **rest)
    return AppendAll((*parts,), (*conditions,), **rest)


def _expected(expected: Any) -> Any:
    if isinstance(expected, Expect):
        return expected.name
    return expected if isinstance(expected, int) else str(expected)


def digest_of(events: Sequence[Recorded[Any]]) -> str:
    """A digest of which events these are."""
    return sha256(b"".join(each.id.bytes for each in events)).hexdigest()[:16]


def is_query(op: Any) -> bool:
    """Whether an operation only reads."""
    return isinstance(op, Query) and not isinstance(op, Next | Signal)


def until_of(waits: Waits) -> datetime | None:
    """The time until which a run waits, if there is one. Raises Corrupted for what is no time."""
    if waits.until is None:
        return None
    until = None
    with suppress(ValueError):
        until = datetime.fromisoformat(waits.until)
    if until is None or until.tzinfo is None:
        raise Corrupted(f"a run waits until {waits.until!r:.100}, which is no time with a zone")
    return until


class Journal:
    """A journal, and the place that a program which is run again has come to in it."""

    def __init__(self, entries: Iterable[Recorded[Entry]], forms: Forms) -> None:
        self._forms = forms
        self.begun: Recorded[Begun] | None = None
        self.ended: Ended | None = None
        self.parked: Parked | None = None
        self.waits: Waits | None = None
        self.asks: Any = None
        """The command that may have been performed, without anybody knowing."""
        self.cancel: CancelAsked | None = None
        self.signals: list[tuple[int, Signalled]] = []
        self.version = 0
        self.steps: list[JournalStep] = []
        self.last: Recorded[Entry] | None = None
        for entry in entries:
            self.take(entry)
        self._commands = [n for n, step in enumerate(self.steps) if not step.is_query]
        self.count = 0
        """The commands that the program has performed."""
        self._used: set[int] = set()

    def take(self, entry: Recorded[Entry]) -> None:
        """Adds an entry."""
        self.version = entry.version
        self.last = entry
        its: Any = entry.data
        if not isinstance(its, MESSAGES):
            self.parked = its if isinstance(its, Parked) else None
            if self.parked is None or its.steps:  # one that has not gone on still waits, or is in doubt
                self.waits = its if isinstance(its, Waits) else None
                self.asks = its.asks if isinstance(its, WentOn) else None
        if isinstance(its, WentOn | Waits | Parked | Ended):
            self.steps += [JournalStep(step, entry) for step in its.steps]
        match its:
            case Begun():
                self.begun = entry  # type: ignore[assignment]  # pyright: ignore
            case Ended():
                self.ended = its
            case CancelAsked():
                self.cancel, self.parked = its, None
            case Retried():
                self.parked = None
            case Signalled():
                self.signals.append((entry.version, its))
            case _:
                pass

    @property
    def has_more(self) -> bool:
        """Whether commands are left that the program has not come to."""
        return self.count < len(self._commands)

    @property
    def was_further(self) -> bool:
        """Whether the run had come further than the program is now: to another command, or waiting."""
        is_at_rest = self.count == len(self._commands) and not (self.waits is self.asks is None)
        return self.has_more or is_at_rest

    @property
    def next(self) -> JournalStep:
        """The next command that was performed."""
        return self.steps[self._commands[self.count]]

    def query(self, form: Any, op: Any) -> JournalStep | None:
        """The step that asked this between the last command and the next; each is found once."""
        for number in self._segment():
            step = self.steps[number]
            if number not in self._used and self._forms.are_equal(step.op, form, op):
                self._used.add(number)
                return step
        return None

    def _segment(self) -> Iterator[int]:
        if self.count > len(self._commands):  # it has gone on beyond what is written
            return iter(())
        first = self._commands[self.count - 1] + 1 if self.count else 0
        last = self._commands[self.count] if self.has_more else len(self.steps)
        return iter(range(first, last))


def answer_of_world(op: Any, at: datetime, begun: datetime) -> Any:
    """The answer of a clock at a time; None for what is no clock."""
    if isinstance(op, Now):
        return at
    return (at - begun).total_seconds() if isinstance(op, Elapsed) else None


def without_what_failed(steps: Steps) -> Steps:
    """The steps up to the last command that was answered: what comes behind can be done anew."""
    kept = len(steps)
    while kept and (steps[kept - 1].get("query") or "raises" in steps[kept - 1]):
        kept -= 1
    return steps[:kept]
