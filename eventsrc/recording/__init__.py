"""Recording real runs, to be replayed against changed code.

`recording(app, to)` is the application, which writes of each run the program, every operation that a
handler answered, with its answer, and the result: a line of JSON for each run:

    with RunFile("runs.jsonl", masks={(SetEmail, "email"): pseudonyms(secret)}) as runs:
        app = recording(identity(store, views), runs)

`eventsrc.testing.replay` runs the programs again, with these answers, and shows which events differ.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar, cast

from eventsrc.events.codec import Codec
from eventsrc.programs import _loop
from eventsrc.programs._rewiring import rewired
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Wrappable, scope_for, scope_of
from eventsrc.programs.program import Effect
from eventsrc.recording._names import Names, NotPortable
from eventsrc.recording.masks import Masks, hiding, mask_of, replaced, within
from eventsrc.recording.portable import Portable
from eventsrc.stores.operations import LoadSnapshot, Snapshot, StoreClosed

K = TypeVar("K")
O = TypeVar("O")
R = TypeVar("R")

FORMAT: Final = 2
"""The version of what a line has."""

BEGINNING: Final = '{"eventsrc":'
"""The beginning of every line."""


class RunFile:
    """A file to which runs are added, one line for each. It may be used from several threads.

    path: is made readable for its owner only, if it is not there.
    masks: what is written in place of values: by (class, field) or (program, parameter), a function of
        the value, or any replacement; or one function for all, a Mask. A text that was masked in one
        place is masked all over the run: as a whole, as a part of a stream's id, and, from 4 characters
        on, inside other texts. As a key of a dict in an event it is not: mask the dict. Snapshots are
        left out, since nobody can tell what is what in them: what is recorded reads streams from their
        beginning. A run with bytes that hold a masked text is not written: see `failing`. Raises
        BadMask for a mask of what is not there.
    opaque: classes whose values are left out; such an answer cannot be replayed, but may be passed on.
    wanted: which runs to write, of their programs; all if not given.
    failing: is told of a run that cannot be written. If not given, NotPortable or OSError is raised: at
        once for the program and its arguments, and else when the file is closed; the result of a run is
        that of the program in any case.
    codec: of the events; one for all registered events if not given.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        masks: Masks = None,
        opaque: tuple[type, ...] = (),
        wanted: Callable[[Effect[Any, Any]], bool] | None = None,
        failing: Callable[[NotPortable | OSError], None] | None = None,
        codec: Codec | None = None,
    ) -> None:
        self._mask = mask_of(masks)
        self.hides = masks is not None
        self._opaque = (*opaque, Snapshot) if self.hides else opaque
        self._wanted = wanted
        self._failing = failing
        self._codec = Codec() if codec is None else codec
        self._names = Names()
        self._failures: list[NotPortable | OSError] = []
        self._lock = threading.Lock()
        self._path = os.fspath(path)
        self._file: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._is_torn = _ends_torn(self._file)

    def close(self) -> None:
        """Closes the file. Raises why a run could not be written, if nobody was told by `failing`."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            first, self._failures = self._failures[:1], []
        for error in first:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            self.close()
        except (NotPortable, OSError) as failure:
            if error is None:
                raise
            error.add_note(f"a run could not be written to {self._path} either: {failure}")

    def begin(self, source: Effect[Any, Any]) -> Run | None:
        """A run to be told of; None if it is not wanted, or cannot be written.

        Raises StoreClosed, and NotPortable if nobody is told by `failing`: nothing is performed yet.
        """
        self._check_open()
        if self._wanted is not None and not self._wanted(source):
            return None
        portable = Portable(self._codec, self._opaque, self._mask, names=self._names)
        try:
            return Run(self, portable, portable.plain(source))
        except Exception as bad:
            error = not_portable(bad)
            if self._failing is None:
                raise error from error.__cause__
            self._failing(error)
            return None

    def fail(self, error: NotPortable | OSError) -> None:
        """Tells that a run which has been performed cannot be written."""
        if self._failing is not None:
            self._failing(error)
        elif len(self._failures) < 1:  # one says what to do
            self._failures.append(error)

    def write(self, line: bytes) -> None:
        """Adds a line. Raises StoreClosed if the file was closed, OSError if it cannot be written."""
        with self._lock:
            file = self._check_open()
            if self._is_torn:
                line = b"\n" + line
            self._is_torn = True
            while line:
                line = line[os.write(file, line) :]
            self._is_torn = False

    def _check_open(self) -> int:
        if self._file is None:
            raise StoreClosed(f"{self._path} was closed: open it for as long as programs are run")
        return self._file


class Run:
    """One run, as the run loop tells it."""

    def __init__(self, file: RunFile, portable: Portable, source: Any) -> None:
        self._file = file
        self._portable = portable
        self._source = source
        self._began = datetime.now(UTC)
        self._operations: list[Any] = []
        self._error: NotPortable | None = None

    def enter(self, node: Any) -> None:
        """A program is entered: what it does will be told."""

    def leave(self, value: Any, error: BaseException | None) -> None:
        """A program is left."""

    def branch(self) -> Run:
        """Independent branches are told in the order in which they are answered."""
        return self

    def performed(self, op: Any, value: Any, error: BaseException | None) -> None:
        """An operation was answered. It is written at once: values may be changed later."""
        if self._error is None:
            try:
                self._operations.append(
                    {"operation": self._portable.plain(op), **self._end(value, error)}
                )
            except Exception as bad:  # whatever it is, it does not change what the program is answered
                self._error = not_portable(bad)
                self._error.add_note(f"in {type(op).__qualname__}, or its answer")

    def end(self, value: Any, error: BaseException | None) -> None:
        """The run has ended: it is written."""
        try:
            if self._error is not None:
                raise self._error
            ended = self._end(value, error)
        except Exception as bad:
            self._file.fail(not_portable(bad))
            return
        hide = hiding(self._portable.masked, self._portable.fields)
        try:
            run = {
                "eventsrc": FORMAT,
                "began": self._began.isoformat(),
                "program": replaced(self._source, hide),
                "operations": [within(performed, hide) for performed in self._operations],
                **within(ended, hide),
            }
            self._file.write(json.dumps(run, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            self._file.fail(error)
        except Exception as error:  # whatever it is, it does not change how the run ended
            self._file.fail(not_portable(error))

    def _end(self, value: Any, error: BaseException | None) -> dict[str, Any]:
        if error is not None:
            return {"raises": self._portable.plain(error)}
        return {"answer": self._portable.plain(value)}


def not_portable(error: Exception) -> NotPortable:
    """An error of writing a run, as NotPortable."""
    if isinstance(error, NotPortable):
        return error
    made = NotPortable(f"a run cannot be written: {error!r}")
    made.__cause__ = error
    return made


def _without_snapshots(kind: type, _handler: Any) -> Callable[[Any], Any] | None:
    """Answers those who look for a snapshot that there is none."""
    return (lambda _op: None) if kind is LoadSnapshot else None


class _AsyncRecording(AsyncInterpreter[O]):
    def __init__(self, app: AsyncInterpreter[O], to: RunFile) -> None:
        self._scope = rewired(scope_of(app), _without_snapshots) if to.hides else scope_of(app)
        self._to = to

    async def run_async(self, program: Effect[O, R]) -> R:
        scope = scope_for(self, program)
        run = self._to.begin(program)
        if run is None:
            return await _loop.run_async(program, scope)
        try:
            result = await _loop.run_async(program, scope, run)
        except Exception as error:
            run.end(None, error)
            raise
        run.end(result, None)
        return result


class _Recording(_AsyncRecording[O], Interpreter[O]):
    def run(self, program: Effect[O, R]) -> R:
        scope = scope_for(self, program)
        run = self._to.begin(program)
        if run is None:
            return _loop.run(program, scope)
        try:
            result = _loop.run(program, scope, run)
        except Exception as error:
            run.end(None, error)
            raise
        run.end(result, None)
        return result


def recording(app: Wrappable[K], to: RunFile) -> K:
    """The application, which writes its runs to a file: an Interpreter or an AsyncInterpreter.

    It goes outermost: what is joined to it, or made of it, records nothing. A run that is cancelled, or
    ended by what is no Exception, is not written.
    Raises NotPortable for a program or arguments that cannot be written, unless the file was told to do
    otherwise.
    """
    made = _Recording if isinstance(app, Interpreter) else _AsyncRecording
    return cast("K", made(cast("AsyncInterpreter[Any]", app), to))


def _ends_torn(file: int) -> bool:
    """Whether a process ended while it wrote the last line."""
    size = os.fstat(file).st_size
    if not size:
        return False
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) != b"\n"
