"""Replaying recorded runs against the code as it is now: which events would it write instead?

    replay("runs.jsonl", identity(MemoryStore(), views)).check()

Nothing is performed. The programs are run again, and what they ask is answered from the recording
(see eventsrc.recording): the same operation gets the same answer, and so does a read of a stream that
the recording knows enough of. The events of each append are compared with those that were recorded, and
the run goes on with the answer that was recorded. Where a program asks what the recording cannot tell,
its run ends, and that is the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec
from eventsrc.programs import _loop
from eventsrc.programs._rewiring import rewired
from eventsrc.programs._scope import Expands, Scope
from eventsrc.programs.interpreter import AsyncInterpreter, scope_of
from eventsrc.programs.program import Effect, Pure
from eventsrc.recording import BEGINNING, FORMAT
from eventsrc.recording._library import PREFIX
from eventsrc.recording._migration import from_version_1
from eventsrc.recording._names import Names
from eventsrc.recording.masks import Masks, hiding, mask_of, replaced
from eventsrc.recording.portable import Portable, effect
from eventsrc.testing._answers import Answers, Untold
from eventsrc.testing._written import compared, renewed, shown
from eventsrc.views.view import View

Programs: TypeAlias = Callable[[str, tuple[Any, ...], Mapping[str, Any]], Effect[Any, Any] | None]
"""The program to run in place of a recorded one, of its name and its arguments; None for the one that
is known by the name."""


class NotARecording(EventsrcError):
    """A file, or a line of it, is not what a recording wrote."""


@attrs.frozen
class ReplayedRun:
    """One recorded run, replayed."""

    line: int
    """The line of the file that it is in."""
    program: str
    differences: tuple[str, ...]
    """The differences from the recording: the events first, by stream, then the outcome."""

    @property
    def same(self) -> bool:
        """Whether the same events were appended, with the same outcome."""
        return not self.differences

    def __str__(self) -> str:
        lines = [f"{self.line}: {self.program}: {'same' if self.same else 'different'}"]
        return "\n".join([*lines, *(f"  {difference}" for difference in self.differences)])


@attrs.frozen(repr=False)
class Replayed:
    """The runs of a file, replayed; printed, it is the differences."""

    runs: tuple[ReplayedRun, ...]
    torn: tuple[int, ...] = ()
    """The lines that hold only a part of a run: the process ended, or the disk was full."""

    @property
    def same(self) -> bool:
        """Whether all of them are the same."""
        return all(run.same for run in self.runs)

    @property
    def different(self) -> tuple[ReplayedRun, ...]:
        """The runs that differ."""
        return tuple(run for run in self.runs if not run.same)

    def __str__(self) -> str:
        count = f"{len(self.runs)} runs, {len(self.different)} different"
        if self.torn:
            count += f"; only a part of a run is in line {', '.join(map(str, self.torn))}"
        return "\n".join([count, *map(str, self.different)])

    __repr__ = __str__  # which a failing `assert replayed.same, replayed` shows, if not all of it

    def check(self) -> None:
        """Raises AssertionError, with all the differences, unless all runs are the same."""
        if not self.same:
            raise AssertionError(str(self))


def replay(
    path: str | os.PathLike[str],
    app: AsyncInterpreter[Any] | None = None,
    *,
    known: Iterable[Any] = (),
    programs: Programs | None = None,
    views: Iterable[View[Any]] = (),
    masks: Masks = None,
    opaque: tuple[type, ...] = (),
    codec: Codec | None = None,
) -> Replayed:
    """Replays the runs of a file.

    app: the application, for its translations and the operations that it handles; none of its other
        handlers is called, so it may be made over a memory store. If None, the programs are over the
        operations that were recorded.
    known: what else the file may name: the programs that were run, the classes of values in them and
        in answers, exceptions, and operations (or unions of them) that the application does not handle.
        Events are those of the codec. Nothing else is made or called for the file.
    programs: finds the program of a recorded name and arguments, where it has other ones now.
    views: those that recorded programs are given.
    masks: those of the recording, for what programs make of unmasked values; a mask must leave what it
        has made as it is, as pseudonyms and constants do.
    opaque: as for the recording.
    codec: of the events; one for all registered events if not given.
    Raises NotARecording for a file that is none or holds no run, BadMask for a mask of what is not
    there, and NotPortable for a run whose program or arguments are not known, and for two things that
    are known by one name.
    """
    names = Names([*_handled(app), *known])
    portable = Portable(codec, opaque, mask_of(masks), views, names)
    runs: list[ReplayedRun] = []
    torn: list[int] = []
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            run = _parsed(line, number, path)
            if run is None:
                torn.append(number)
            else:
                runs.append(_replayed(number, run, app, programs, portable))
    if not runs:
        raise NotARecording(f"{path} holds no run: record some first (see eventsrc.recording)")
    return Replayed(tuple(runs), tuple(torn))


def _parsed(line: str, number: int, path: object) -> Any:
    """The run that is in a line; None if only the beginning of one is."""
    try:
        run = json.loads(line)
        version = run["eventsrc"]
        if version == 1:
            run = from_version_1(run)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        is_part = line.startswith(BEGINNING) or BEGINNING.startswith(line.strip() or "nothing")
        if isinstance(error, ValueError) and is_part:
            return None
        raise NotARecording(f"{path}:{number} is no run: {line[:80]!r}") from error
    if version not in (1, FORMAT):
        raise NotARecording(f"{path}:{number} is of a newer version: update this program")
    if not _is_run(run):
        raise NotARecording(f"{path}:{number} is no run: {line[:80]!r}")
    return run


def _is_run(run: Any) -> bool:
    """Whether it has the parts of one."""
    operations = run.get("operations")
    return (
        isinstance(run.get("program"), dict)
        and isinstance(operations, list)
        and all(isinstance(each, dict) and _is_operation(each.get("operation")) for each in operations)
        and all("answer" in each or "raises" in each for each in [*operations, run])
    )


def _is_operation(plain: Any) -> bool:
    return isinstance(plain, dict) and any(
        isinstance(plain.get(tag), str) for tag in ("$attrs", "$unwritten")
    )


def _replayed(
    number: int,
    run: Any,
    app: AsyncInterpreter[Any] | None,
    programs: Programs | None,
    portable: Portable,
) -> ReplayedRun:
    written = run["program"]
    name = str(written.get("$call") or written.get("$attrs") or "a program").removeprefix(PREFIX)
    source = _program(written, programs, portable)
    answers = Answers(run["operations"], portable)
    ended: Mapping[str, Any] | None = None
    stopped: tuple[str, ...] = ()
    try:
        result = _loop.run(source, _scope(app, answers))
        ended = {"answer": replaced(portable.plain(result), hiding(portable.masked))}
    except Untold as untold:
        stopped = (str(untold),)
    except Exception as error:
        ended = {"raises": replaced(portable.plain(error), hiding(portable.masked))}
    differences = (*answers.differences(), *stopped)
    if ended is not None:
        differences += tuple(_outcomes(run, ended, portable))
    return ReplayedRun(number, name, differences)


def _program(written: Any, programs: Programs | None, portable: Portable) -> Effect[Any, Any]:
    if programs is not None and "$call" in written:
        args = tuple(portable.value(arg) for arg in written["args"])
        kwargs = {key: portable.value(arg) for key, arg in written["kwargs"].items()}
        found = programs(written["$call"], args, kwargs)
        if found is not None:
            return found
    source: Effect[Any, Any] = effect(portable.value(written))
    return source


def _handled(app: AsyncInterpreter[Any] | None) -> list[type]:
    """The operations that an application handles, on all of its levels."""
    found: dict[type, None] = {}

    def see(kind: type, _handler: Any) -> None:
        if attrs.has(kind):
            found[kind] = None

    if app is not None:
        rewired(app._scope, see)  # pyright: ignore[reportPrivateUsage]
    return list(found)


def _scope(app: AsyncInterpreter[Any] | None, answers: Answers) -> Scope:
    """The application's translations over recorded answers."""
    if app is None:
        return Scope(rest=Expands(lambda op: Pure(answers.answer(op)), None))

    def change(_kind: type, handler: Any) -> Callable[[Any], Any] | None:
        return None if isinstance(handler, Expands) else answers.answer

    return rewired(scope_of(app), change)


def _outcomes(run: Any, ended: Mapping[str, Any], portable: Portable) -> Iterator[str]:
    (how, now), *_ = ended.items()
    if how in run:
        yield from compared(renewed(run[how], portable), now, f"{how.rstrip('s')}s", portable)
    else:
        before = "answer" if how == "raises" else "raises"
        told = shown(run[before], portable), shown(now, portable)
        yield f"{before.rstrip('s')}s {told[0]} -> {how.rstrip('s')}s {told[1]}"
