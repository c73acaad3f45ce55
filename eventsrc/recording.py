"""Recording runs: what programs asked for, and what they were answered, in a file.

    recorder = Recorder("runs.jsonl", mask=hiding("email", key=b"..."))
    recorder.run(app, rename(user, name))       # as app.run(...), and a line in the file

`eventsrc.testing.replay` runs the programs again later, with those answers and no database, and tells
what they do differently.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from eventsrc import machine
from eventsrc.codec import Codec
from eventsrc.errors import EventsrcError
from eventsrc.interpreter import AsyncInterpreter, Interpreter
from eventsrc.plain import Mask, Plain
from eventsrc.program import Call, Effect

O = TypeVar("O")
R = TypeVar("R")

FORMAT: Final = 1
"""The version of the lines."""

MASKED: Final = "masked-"
"""How a text begins that stands for a hidden one."""

_log = logging.getLogger("eventsrc")


class NotHidden(EventsrcError):
    """A value cannot be hidden, because it is no text."""


def hiding(*fields: str, key: bytes) -> Mask:
    """A mask for the texts in fields, keys or arguments of these names, wherever they are.

    The same text is always hidden by the same one, so that a program that compares them does as before.
    key: a secret of at least 16 bytes, without which nobody finds the text by trying likely ones.
    Raises NotHidden, when it is used, for what is no text: hide that by a function of your own.
    """
    if len(key) < 16:
        raise ValueError(f"a key of {len(key)} bytes is found by trying: take 16 or more")
    names = frozenset(fields)

    def mask(name: str, value: Any) -> Any:
        if name not in names or value is None:
            return value
        if not isinstance(value, str):
            raise NotHidden(f"{name} is of type {type(value).__name__}, and only texts are hidden so")
        if value.startswith(MASKED):
            return value
        return MASKED + hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]

    return mask


class Recorder:
    """Runs programs and adds a line for each run to a file. It may be used from several threads.

    mask: what is written in the place of values: a function of the name and value of each field, key or
        argument, such as `hiding("email", key=...)` makes.
    opaque: types of values that are kept as text only, such as connections.
    failing: what to do about a run with a value that cannot be written: "log" it and go on, or "raise".
        The run itself is over by then, and what it did is done.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        mask: Mask | None = None,
        opaque: tuple[type, ...] = (),
        failing: Literal["log", "raise"] = "log",
        codec: Codec | None = None,
    ) -> None:
        self._path = Path(path)
        self._plain = Plain(mask=mask, opaque=opaque, codec=codec)
        self._failing = failing
        self._turn = threading.Lock()
        self.unwritten = 0
        """How many runs could not be written."""

    def run(self, app: Interpreter[O], program: Effect[O, R]) -> R:
        """Interprets a program as `app.run(program)` does, and records it."""
        app._check(program)  # pyright: ignore[reportPrivateUsage]
        scope = app._scope  # pyright: ignore[reportPrivateUsage]
        steps = _Steps()
        try:
            answer = machine.run(program, scope, steps)
        except Exception as error:
            self._keep(program, steps, None, error)
            raise
        self._keep(program, steps, answer, None)
        return answer

    async def run_async(self, app: AsyncInterpreter[O], program: Effect[O, R]) -> R:
        """As `run`, in an event loop."""
        app._check(program)  # pyright: ignore[reportPrivateUsage]
        scope = app._scope  # pyright: ignore[reportPrivateUsage]
        steps = _Steps()
        try:
            answer = await machine.run_async(program, scope, steps)
        except Exception as error:
            self._keep(program, steps, None, error)
            raise
        self._keep(program, steps, answer, None)
        return answer

    def _keep(self, program: Any, steps: _Steps, answer: Any, error: Exception | None) -> None:
        try:
            line = json.dumps(self._line(program, steps, answer, error), ensure_ascii=False)
        except Exception as why:
            self.unwritten += 1
            if self._failing == "raise":
                raise
            _log.error("a run of %r was not recorded: %s", program, why)
            return
        with self._turn:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line.encode() + b"\n")
            finally:
                os.close(file)

    def _line(self, program: Any, steps: _Steps, answer: Any, error: Exception | None) -> Any:
        write = self._plain.write
        if isinstance(program, Call):
            asked = self._plain.write_call(program)
        else:
            asked = write(program, "the program")
        return {
            "eventsrc": FORMAT,
            "program": asked,
            "steps": [self._step(*step) for step in steps.taken],
            "error" if error else "answer": write(error or answer, "the answer"),
        }

    def _step(self, op: Any, value: Any, error: BaseException | None) -> Any:
        name, write = type(op).__qualname__, self._plain.write
        if error is not None:
            return {"op": write(op, name), "error": write(error, f"the error of {name}")}
        return {"op": write(op, name), "answer": write(value, f"the answer of {name}")}


class _Steps:
    """Keeps what a run performs, as the run loop tells it."""

    def __init__(self, kept: list[tuple[Any, Any, BaseException | None]] | None = None) -> None:
        self.taken = [] if kept is None else kept

    def enter(self, node: Any) -> None: ...
    def leave(self, value: Any, error: BaseException | None) -> None: ...

    def performed(self, op: Any, value: Any, error: BaseException | None) -> None:
        self.taken.append((op, value, error))

    def branch(self) -> _Steps:
        return _Steps(self.taken)
