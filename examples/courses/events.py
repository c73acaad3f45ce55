"""The events of courses and of those who take them, with the tags by which they are found."""

from typing import NewType

from eventsrc import Fold, Streams, event
from eventsrc.events.tags import Tag

StudentId = NewType("StudentId", str)
CourseId = NewType("CourseId", str)

student = Tag("student", key=StudentId)
course = Tag("course", key=CourseId)


@event("course.defined", tags={"course": course})
class Defined:
    """A course is offered, to so many."""

    course: CourseId
    seats: int


@event("course.joined", tags={"who": student, "course": course})
class Joined:
    """A student takes a course."""

    who: StudentId
    course: CourseId


@event("course.left", tags={"who": student, "course": course})
class Left:
    """A student takes it no more."""

    who: StudentId
    course: CourseId


courses = Streams("courses/{id}", key=CourseId, events=Defined | Joined | Left)


def _seats(free: int | None, event: Defined | Joined | Left) -> int | None:
    match event:
        case Defined(seats=seats):
            return seats
        case Joined():
            return (free or 0) - 1
        case Left():
            return (free or 0) + 1


free_seats: Fold[int | None, Defined | Joined | Left] = Fold(None, _seats)
"""The seats of a course that nobody has; None if there is no such course."""


def _taken(taken: frozenset[CourseId], event: Joined | Left) -> frozenset[CourseId]:
    return taken | {event.course} if isinstance(event, Joined) else taken - {event.course}


courses_of: Fold[frozenset[CourseId], Joined | Left] = Fold(frozenset[CourseId](), _taken)
"""The courses that a student takes."""
