"""Durable runs that depend on boundaries: killed anywhere, they take effect once."""

from __future__ import annotations

from typing import Any

import pytest
from returns.result import Success

from eventsrc import Command, Interpreter, MemoryStore, Outcome, Translation, Try, on, program
from eventsrc.durable import Runs
from eventsrc.events.tags import about
from eventsrc.stores.operations import Append, Read
from eventsrc.stores.tags import AppendIf, ReadTagged
from eventsrc.streams.boundaries import BoundaryOp
from eventsrc.streams.serializable import serializable
from examples.courses.events import CourseId, Joined, StudentId, courses, student
from examples.courses.service import No, define, join, join_unsafely
from tests.durable.service import Clock
from tests.kits.dying import Dying, finish_dying

HOMER = StudentId("homer")
RUST, LISP, BOOKED = CourseId("rust"), CourseId("lisp"), CourseId("booked")


class Join(Command[Outcome[int, No]]):
    """A command of the application, which depends on boundaries."""

    who: StudentId
    course: CourseId


class Joining(Translation[Join, BoundaryOp]):
    @on(Join).program
    def join(self, op: Join) -> Try[BoundaryOp, int, No]:
        return (yield from join(op.who, op.course))


@program
def enrol(who: StudentId) -> Try[Join | BoundaryOp, list[Any], No]:
    """Takes a course by itself, one by a command, and one that is full."""
    first = yield from serializable(join_unsafely(who, RUST))
    second = yield from Join(who, LISP)
    third = yield from Join(who, BOOKED)
    page = yield from ReadTagged(about(student[who], of=Joined))
    return Success([first.unwrap(), second.unwrap(), third.failure().name, len(page.events)])


enrolments = Runs("enrolments", enrol, id=lambda who: who)


class Rival:
    """Another who takes a course just before somebody's first append to one."""

    def __init__(self, store: Interpreter[Any]) -> None:
        self._store = store
        self.has_come = False

    def before(self, op: Any) -> Any:
        if not self.has_come:
            self.has_come = True
            self._store.run(courses[RUST].append(Joined(StudentId("marge"), RUST)))
        return (yield from op)


def run_dying(dying: Dying) -> tuple[Any, list[Any]]:
    """A run with one death; answers its result, and what was stored about its student."""
    store, clock = MemoryStore(), Clock()
    for which, seats in ((RUST, 2), (LISP, 2), (BOOKED, 0)):
        (store | clock).run(define(which, seats))
    rival = Rival(store)

    def process(dying: Dying) -> Interpreter[Any]:
        below = dying.around(store.around(rival.before, only=AppendIf)) | dying.around(clock)
        return Joining().into(below) | below

    app = process(Dying(0, after=False))
    app.run(enrolments.start(HOMER))
    status = finish_dying(process, enrolments, "homer", dying)
    found = store.run(ReadTagged(about(student[HOMER], of=Joined)))
    return status.result or status.why, [each.data for each in found.events]


def test_a_run_that_is_killed_at_any_operation_joins_each_course_once() -> None:
    expected = run_dying(Dying(0, after=False))
    assert expected == (Success([1, 2, "FULL", 2]), [Joined(HOMER, RUST), Joined(HOMER, LISP)])
    for after in (False, True):
        for at in range(1, 1_000):
            dying = Dying(at, after=after)
            found = run_dying(dying)
            if not dying.has_died:
                assert at > 20
                break
            assert found == expected, f"killed {'after' if after else 'before'} operation {at}"


def test_control_what_a_run_does_not_know_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsrc.durable._attempt._IN_COMMANDS", (Append, Read))
    expected = run_dying(Dying(0, after=False))
    assert any(run_dying(Dying(at, after=True)) != expected for at in range(1, 60))
