"""Durable programs: runs that outlive the process, journalled in the store. See runs.py.

Waiting for days, effects that happen once, undoing what was done: in plain programs.
"""

from eventsrc.durable.operations import (
    DAYS,
    HOURS,
    MINUTES,
    Cancelled,
    Changed,
    Next,
    NotInARun,
    RunOp,
    Signal,
    StepId,
    TimedOut,
)
from eventsrc.durable.runs import (
    Line,
    NoSuchRun,
    OtherRun,
    RunCancelled,
    Runs,
    RunStatus,
    Started,
)

__all__ = [
    "DAYS",
    "HOURS",
    "MINUTES",
    "Cancelled",
    "Changed",
    "Line",
    "Next",
    "NoSuchRun",
    "NotInARun",
    "OtherRun",
    "RunCancelled",
    "RunOp",
    "RunStatus",
    "Runs",
    "Signal",
    "Started",
    "StepId",
    "TimedOut",
]
