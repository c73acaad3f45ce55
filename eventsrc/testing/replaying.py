"""Running recorded programs again, with the answers that they got, to see what they do differently.

    replayed = replay("runs.jsonl", on=lambda lower: layer.into(lower))
    assert replayed.same, replayed.story

There is no database: an operation is answered as it was then. Where the code has changed and asks
something else, a read is answered from what the recording knows of the stream, and an append is
compared with the one that was made then; what cannot be answered ends the run, and is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from eventsrc.codec import Codec
from eventsrc.errors import EventsrcError
from eventsrc.handlers import Expands, Scope
from eventsrc.interpreter import Interpreter
from eventsrc.plain import Mask, Plain
from eventsrc.positions import Token
from eventsrc.program import Body, pure
from eventsrc.recorded import Recorded
from eventsrc.recording import FORMAT
from eventsrc.store import Append, AppendAll, Head, Page, Read
from eventsrc.testing.differences import differences
from eventsrc.testing.story import cut, operation, shown
from eventsrc.world import World

_WORLD: Final[tuple[type, ...]] = World.__args__
_APPENDS: Final = (Append, AppendAll)


class NotARecording(EventsrcError):
    """A file is no recording, or one of another version of it."""


@attrs.frozen
class ReplayedRun:
    """What became of one run: no differences if it did as before."""

    program: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether it did as before."""
        return not self.differences


@attrs.frozen
class Replayed:
    """What became of the runs of a recording."""

    runs: tuple[ReplayedRun, ...]

    @property
    def same(self) -> bool:
        """Whether all did as before."""
        return all(run.same for run in self.runs)

    @property
    def story(self) -> str:
        """What those did that did something else."""
        changed = [run for run in self.runs if not run.same]
        lines = [f"{len(changed)} of {len(self.runs)} runs do something else"]
        for run in changed:
            lines += ["", run.program, *(f"    {line}" for line in run.differences)]
        return "\n".join(lines)


def replay(
    path: Path | str,
    *,
    on: Callable[[Interpreter[Any]], Interpreter[Any]] | None = None,
    names: Mapping[str, Any] | None = None,
    mask: Mask | None = None,
    opaque: tuple[type, ...] = (),
    codec: Codec | None = None,
) -> Replayed:
    """Runs the programs of a recording again.

    on: makes the application's interpreter of the one that answers as was recorded, in the place of
        stores, views and whatever else performed operations then; that itself, if not given.
    names: where classes and functions are now that were recorded under another name.
    mask, opaque, codec: as they were given to the Recorder.
    Raises NotARecording, with the line's number.
    """
    plain = Plain(mask=mask, opaque=opaque, names=names, codec=codec)
    return Replayed(tuple(_replayed(line, plain, on) for line in _lines(Path(path))))


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                found = line["eventsrc"]
            except (ValueError, KeyError, TypeError) as error:
                raise NotARecording(f"{path}, line {number} is none of a recording: {error}") from error
            if found != FORMAT:
                raise NotARecording(
                    f"{path}, line {number} is of version {found!r}, and this reads version {FORMAT}"
                )
            yield line


def _replayed(
    line: Mapping[str, Any],
    plain: Plain,
    on: Callable[[Interpreter[Any]], Interpreter[Any]] | None,
) -> ReplayedRun:
    name = _program_name(line["program"])
    answers = Answers(line["steps"], plain)
    try:
        program = plain.make(line["program"])
        app = answers if on is None else on(answers)
        try:
            outcome = {"answer": app.run(program)}
        except Exception as error:
            outcome = {"error": error}
        except _Stopped:
            outcome = {}
    except EventsrcError as error:
        return ReplayedRun(name, (str(error),))
    found = [*answers.differences]
    if outcome:
        found += answers.left()
        found += _outcome(line, outcome, plain)
    return ReplayedRun(name, tuple(found))


def _outcome(line: Mapping[str, Any], outcome: Mapping[str, Any], plain: Plain) -> list[str]:
    """How the end of a run differs."""
    ((how, value),) = outcome.items()
    if how not in line:
        before = "error" if "error" in line else "answer"
        ended = f"raises {value!r}" if how == "error" else f"answers {shown(value)}"
        return [f"it {ended}, and the {before} was {cut(shown(plain.make(line[before])))}"]
    if plain.write(value) == line[how]:
        return []
    name = "the answer" if how == "answer" else "the exception"
    told = differences(plain.make(line[how]), value, name)
    return told or [f"{name} is {shown(value)}, and was another"]


def _program_name(written: Mapping[str, Any]) -> str:
    return str(written.get("type", "")).rpartition(":")[2] or "an operation"


class Answers(Interpreter[Any]):
    """Answers operations as was recorded.

    differences: what was asked that was not asked then. has_stopped: whether one could not be answered.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]], plain: Plain) -> None:
        self._plain = plain
        self._steps = [*steps]
        self._known = _Known(steps, plain)
        self.differences: list[str] = []
        self.has_stopped = False
        self._scope = Scope(rest=Expands(self._perform, None))

    def left(self) -> list[str]:
        """The appends that were made then, and are not made now."""
        ops = [self._plain.make(step["op"]) for step in self._steps if _is_append(step)]
        return [f"it no longer {operation(op)}" for op in ops]

    def _perform(self, op: Any) -> Body[Any, Any]:
        if self.has_stopped:
            raise _Stopped
        step = self._recorded(op)
        if step is None:
            return pure(self._otherwise(op))
        if "error" in step:
            raise self._plain.make(step["error"])
        return pure(self._plain.make(step["answer"]))

    def _recorded(self, op: Any) -> Mapping[str, Any] | None:
        """The next step with this operation, or for appends and the world, of its kind."""
        written = self._plain.write(op)
        for place, step in enumerate(self._steps):
            if step["op"] == written:
                return self._steps.pop(place)
            if isinstance(op, _APPENDS) and _is_append(step):
                break  # another append comes first: they are compared in their order
        if not isinstance(op, (*_APPENDS, *_WORLD)):
            return None
        for place, step in enumerate(self._steps):
            if step["op"].get("type") == written["type"]:
                if isinstance(op, _APPENDS):
                    return self._compared(op, place)
                return self._steps.pop(place)
        return None

    def _compared(self, op: Any, place: int) -> Mapping[str, Any] | None:
        """The append that was made then; how this one differs is told."""
        step = self._steps[place]
        before = self._plain.make(step["op"])
        told = differences(before, op, type(op).__qualname__)
        self.differences += told or [f"it {operation(op)}, and then it was {operation(before)}"]
        if _sizes(op) != _sizes(before):
            return None  # versions would not be those of the answer
        return self._steps.pop(place)

    def _otherwise(self, op: Any) -> Any:
        """Answers what was not asked then. Ends the run if nothing is known of it."""
        found = self._known.answer(op)
        if found is None:
            self.has_stopped = True
            after = f"; then it was {self._next()}" if self._steps else ", after all that was recorded"
            self.differences.append(f"it {_does(op)}, which was not recorded{after}")
            raise _Stopped
        return found

    def _next(self) -> str:
        return _does(self._plain.make(self._steps[0]["op"]))


class _Stopped(BaseException):
    """Ends a run that cannot go on. No Exception: no program catches it."""


class _Known:
    """What a recording knows of streams."""

    def __init__(self, steps: Sequence[Mapping[str, Any]], plain: Plain) -> None:
        self._heads: dict[str, int] = {}
        self._events: dict[str, dict[int, Recorded[Any]]] = {}
        self._store = ""
        for step in steps:
            if "answer" in step and str(step["op"].get("type", "")).endswith(":Read"):
                page = plain.make(step["answer"])
                stream = plain.make(step["op"]).stream
                self._heads[stream] = page.head
                self._store = page.token.store
                its = self._events.setdefault(stream, {})
                its.update((event.version, event) for event in page.events)

    def answer(self, op: Any) -> Any:
        """What a read would have been answered, or None if that is not known."""
        if not isinstance(op, Read | Head) or op.stream not in self._heads:
            return None
        head = self._heads[op.stream]
        if isinstance(op, Head):
            return head
        if op.backwards:
            last = head if op.after == 0 else min(op.after - 1, head)
            wanted = [*range(last, max(last - op.limit, 0), -1)]
        else:
            wanted = [*range(op.after + 1, min(op.after + op.limit, head) + 1)]
        events = self._events[op.stream]
        if not all(version in events for version in wanted):
            return None
        found = tuple(events[version] for version in wanted)
        return Page(found, head, Token(self._store, {op.stream: head}))


def _is_append(step: Mapping[str, Any]) -> bool:
    return str(step["op"].get("type", "")) in ("eventsrc.store:Append", "eventsrc.store:AppendAll")


def _sizes(op: Any) -> list[tuple[str, int]]:
    parts = [op] if isinstance(op, Append) else op.appends
    return [(part.stream, len(part.events)) for part in parts]


def _does(op: Any) -> str:
    text = cut(operation(op))
    return text if text[:1].islower() else f"performs {text}"
