"""Processes that die: before an operation or after it, wherever in an application it is performed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventsrc import Interpreter
from eventsrc.durable import Runs
from eventsrc.programs.operation import Operation


class Died(BaseException):
    """The process was killed: nothing is performed after it."""


class Dying:
    """Kills the process at one of its operations, and then nobody any more.

    at: the number of the operation, from 1; 0 for never. after: whether the operation is performed.
    """

    def __init__(self, at: int, *, after: bool) -> None:
        self.at = at
        self.after = after
        self.number = 0
        self.has_died = False

    def around(self, app: Interpreter[Any]) -> Interpreter[Any]:
        return app.around(self._perform)

    def _perform(self, op: Operation[Any]) -> Any:
        self.number += 1
        dies = self.number == self.at
        if dies and not self.after:
            self.has_died = True
            raise Died
        answer = yield from op
        if dies:
            self.has_died = True
            raise Died
        return answer


def finish_dying(
    app: Callable[[Dying], Interpreter[Any]], runs: Runs[..., Any], id: str, dying: Dying
) -> Any:
    """Brings a run to its end in one process, and in another one if the first is killed."""
    while True:
        try:
            return app(dying).run(runs.finish(id, every=60.0))
        except Died:
            dying = Dying(0, after=False)
