"""The service: programs that read what they go by, and append. `serializable` does the rest."""

import enum

from eventsrc import Failure, Success, Try, program
from eventsrc.events.tags import about
from eventsrc.streams.boundaries import BoundaryOp, gather_about
from eventsrc.streams.serializable import serializable
from examples.courses.events import (
    CourseId,
    Defined,
    Joined,
    Left,
    StudentId,
    course,
    courses,
    courses_of,
    free_seats,
    student,
)

MOST = 10
"""The most courses that a student takes."""


class No(enum.Enum):
    """A reason why something is not done."""

    THERE_ALREADY = "there is such a course"
    NO_SUCH_COURSE = "there is no such course"
    FULL = "no seat is free"
    TOO_MANY = f"{MOST} courses are enough"
    TAKEN_ALREADY = "the student takes that course"


@program
def define_unsafely(which: CourseId, seats: int) -> Try[BoundaryOp, None, No]:
    """Offers a course, unless it is offered."""
    if (yield from gather_about(about(course[which], of=Defined), free_seats)).state is not None:
        return Failure(No.THERE_ALREADY)
    yield from courses[which].append(Defined(which, seats))
    return Success(None)


@program
def join_unsafely(who: StudentId, which: CourseId) -> Try[BoundaryOp, int, No]:
    """Has a student take a course, if there is room in it, and in the student's week.

    Answers how many courses the student takes then.
    """
    seats = yield from gather_about(about(course[which], of=Defined | Joined | Left), free_seats)
    mine = yield from gather_about(about(student[who], of=Joined | Left), courses_of)
    match seats.state:
        case None:
            return Failure(No.NO_SUCH_COURSE)
        case _ if which in mine.state:
            return Failure(No.TAKEN_ALREADY)
        case 0:
            return Failure(No.FULL)
        case _ if len(mine.state) >= MOST:
            return Failure(No.TOO_MANY)
    yield from courses[which].append(Joined(who, which))
    return Success(len(mine.state) + 1)


@program
def define(which: CourseId, seats: int) -> Try[BoundaryOp, None, No]:
    """As `define_unsafely`, whatever others do at the same time."""
    return (yield from serializable(define_unsafely(which, seats)))


@program
def join(who: StudentId, which: CourseId) -> Try[BoundaryOp, int, No]:
    """As `join_unsafely`, whatever others do at the same time."""
    return (yield from serializable(join_unsafely(who, which)))
