"""Faults that one operation can meet, besides what others do in between."""

from __future__ import annotations

import enum
from typing import Any, Final

from eventsrc.programs.operation import Command, Operation
from eventsrc.programs.world import World
from eventsrc.stores.operations import (
    ANY,
    Append,
    FindAppend,
    Head,
    LoadSnapshot,
    Read,
    ReadFeed,
    SaveSnapshot,
    StoreError,
)
from eventsrc.stores.tags import AnyAppend, AppendIf, ReadTagged, parts_of


class Fault(enum.Enum):
    """A way in which an operation, or the program that performs it, goes wrong."""

    CONFLICT = "conflict"
    """An append with a condition is refused by a Conflict, though it is met: somebody undid what they
    did."""
    REFUSED = "refused"
    """The operation is not done, and raises StoreBusy."""
    DROPPED = "dropped"
    """A command is not done, and nobody knows: appends answer Unknown, others raise AnswerLost."""
    LOST = "lost"
    """As DROPPED, but it is done: just its answer is lost."""
    LATE = "late"
    """As DROPPED, but it is done at some later moment: the request was held up on its way."""
    AGAIN = "again"
    """The command is done and answered, and at some later moment done again: it was delivered twice."""
    SLOW = "slow"
    """The operation takes an hour by the clock of its program."""
    STALLED = "stalled"
    """An hour passes for everybody before the operation: its program sleeps, and the others go on."""
    CRASH = "crash"
    """The program ends before the operation, or after the last before anybody gets its answer."""
    RESTART = "restart"
    """As CRASH, and it is run again from its beginning."""

    def __repr__(self) -> str:
        return self.name


CONFLICT: Final = Fault.CONFLICT
REFUSED: Final = Fault.REFUSED
DROPPED: Final = Fault.DROPPED
LOST: Final = Fault.LOST
LATE: Final = Fault.LATE
AGAIN: Final = Fault.AGAIN
SLOW: Final = Fault.SLOW
STALLED: Final = Fault.STALLED
CRASH: Final = Fault.CRASH
RESTART: Final = Fault.RESTART

EVERY_FAULT: Final = tuple(Fault)

HOUR: Final = 3600.0
"""The seconds that a SLOW operation takes, and a STALLED one waits."""

_TIMELESS: Final = frozenset([Read, Head, ReadFeed, FindAppend, ReadTagged, LoadSnapshot, SaveSnapshot])
_WORLD: Final[tuple[type, ...]] = World.__args__


class AnswerLost(StoreError):
    """It is not known whether a command was done: its answer did not come."""


def can_happen(fault: Fault, op: Any) -> bool:
    """Whether a fault makes sense at an operation."""
    if fault in (CRASH, RESTART):
        return True
    if isinstance(op, _WORLD):
        return False
    if fault is CONFLICT:
        if not isinstance(op, AnyAppend):
            return False
        expected = [part.expected for part in parts_of(op)]
        if not isinstance(op, Append):
            expected += [its.expected for its in op.conditions]
        return isinstance(op, AppendIf) or any(its is not ANY for its in expected)
    if fault in (DROPPED, LOST, LATE, AGAIN):
        return isinstance(op, Command)
    return True


def goes_by_the_clock(op: Any) -> bool:
    """Whether what an operation does may depend on when it is performed."""
    return isinstance(op, Operation) and type(op) not in _TIMELESS
