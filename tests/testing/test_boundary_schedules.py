"""The schedule checker finds the overbooked course, and that `serializable` mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventsrc.events.tags import about
from eventsrc.programs.program import Program
from eventsrc.stores.tags import ReadTagged
from eventsrc.testing import EVERY_FAULT, After, Scenario, SimulatedStore
from examples.courses.events import CourseId, Defined, Joined, StudentId, course, courses
from examples.courses.service import join, join_unsafely

RUST = CourseId("rust")


def seats_are_enough(after: After) -> None:
    page = after.run(ReadTagged(about(course[RUST], of=Joined)))
    assert len(page.events) <= 1, f"{len(page.events)} have one seat"


def rush(how: Callable[[StudentId, CourseId], Program[Any, Any]], **options: Any) -> Scenario:
    return Scenario(
        {name: how(StudentId(name), RUST) for name in ("ann", "bob")},
        on=SimulatedStore,
        before=courses[RUST].append(Defined(RUST, 1)),
        holds=seats_are_enough,
        **options,
    )


def test_the_overbooked_course_is_found() -> None:
    found = rush(join_unsafely).explore()
    assert not found.holds
    assert "2 have one seat" in found.story
    assert "reads what there is of course:rust" in found.story


def test_the_conditional_one_is_shown_to_hold() -> None:
    found = rush(join).explore()
    assert found.holds, found.story
    assert found.schedules > 3


def test_it_holds_whatever_goes_wrong() -> None:
    found = rush(join, faults=EVERY_FAULT).explore()
    assert found.holds, found.story
    assert found.schedules > 50
