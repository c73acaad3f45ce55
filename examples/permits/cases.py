"""Permit cases and their steps: what is recorded of them, and the command that records it.

A case is a stream. Its steps are appended together, in the order of the log, after a look at those that
are there: a step that is recorded already is left alone. That makes the command safe to repeat.
"""

from __future__ import annotations

from datetime import datetime
from typing import NewType, TypeAlias

from eventsrc import Command, Do, Fold, StoreOp, Streams, Translation, World, event, on

CaseId = NewType("CaseId", str)
TaskId = NewType("TaskId", str)


@event("permit.case-opened")
class CaseOpened:
    case: CaseId
    channel: str
    department: str


@event("permit.step-taken")
class StepTaken:
    case: CaseId
    task: TaskId
    name: str
    user: str
    """The name of who took it; empty if that is not known, as the group may be."""
    group: str
    at: datetime


CaseEvent: TypeAlias = CaseOpened | StepTaken

cases = Streams("permits/{case}", key=CaseId, events=CaseOpened | StepTaken)


class RecordSteps(Command[tuple[StepTaken, ...]]):
    """Records steps of a case, and the case itself if it is new.

    Answers those that contradict what is recorded: a step of the same task that says something else.
    """

    opened: CaseOpened
    steps: tuple[StepTaken, ...]


Steps: TypeAlias = dict[TaskId, StepTaken]


def with_step(steps: Steps, event: CaseEvent) -> Steps:
    match event:
        case CaseOpened():
            return steps
        case StepTaken(task=task):
            return {**steps, task: event}


no_steps: Steps = {}
all_steps = Fold(no_steps, with_step)


class CaseCommands(Translation[RecordSteps, StoreOp | World]):
    @on(RecordSteps).program
    def record(self, op: RecordSteps) -> Do[StoreOp | World, tuple[StepTaken, ...]]:
        def missing(recorded: Steps) -> list[CaseEvent]:
            new: Steps = {}
            for step in op.steps:
                if step.task not in recorded:
                    new.setdefault(step.task, step)
            return [op.opened, *new.values()] if new and not recorded else [*new.values()]

        recorded = (yield from cases[op.opened.case].change(all_steps, missing)).state
        return tuple(step for step in op.steps if recorded[step.task] != step)
