"""Schedules of programs that read boundaries: what they can tell apart is run, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import (
    START,
    Append,
    Codec,
    Do,
    StreamAppend,
    StreamId,
    Success,
    event,
    program,
)
from eventsrc.events.event import EventTypes
from eventsrc.events.tags import Tag, about
from eventsrc.stores.tags import AppendIf, ReadTagged, Unchanged
from eventsrc.testing import CONFLICT, After, Scenario, SimulatedStore, check_history
from eventsrc.testing._scenarios import exploring
from eventsrc.testing._scenarios.footprints import Footprint, are_dependent
from examples.courses.events import CourseId, Joined, StudentId, course
from examples.courses.service import define, join
from tests.faults import scaled

RUST = CourseId("rust")
LISP = CourseId("lisp")

colour = Tag("colour", key=str)
shape = Tag("shape", key=str)

ELSEWHERE = EventTypes()


@event("test.drawn", tags={"colour": colour, "shape": shape})
class Drawn:
    """Something is drawn."""

    colour: str
    shape: str
    number: int = 0


@event("test.painted", tags={"colour": colour}, types=ELSEWHERE)
class Painted:
    """Something is painted; the registered types do not know of it."""

    colour: str


RED = about(colour["red"])
ROUND = about(shape["round"])
BOUNDARIES = {
    "red": RED,
    "round": ROUND,
    "red round": about(colour["red"], shape["round"]),
    "red or round": RED | ROUND,
    "drawn": about(of=Drawn),
}
THINGS = {"red": ("red", "flat"), "round": ("blue", "round"), "red round": ("red", "round")}


@program
def does(number: int, things: Sequence[tuple[str, str]]) -> Do[Any, list[Any]]:
    """Answers what it saw, in its order, and whether its appends were stored."""
    saw: list[Any] = []
    for verb, what in things:
        if verb == "reads":
            page = yield from ReadTagged(BOUNDARIES[what])
            saw.append([each.data for each in page.events])
            continue
        drawn = StreamAppend(StreamId(f"{number}"), (Drawn(*THINGS[what], number),))
        if verb == "appends":
            answer = yield from Append(drawn.stream, drawn.events)
        else:
            at = START if verb == "appends the first" else (yield from ReadTagged(BOUNDARIES[what])).end
            answer = yield from AppendIf((drawn,), (Unchanged(BOUNDARIES[what], at),))
        saw.append(isinstance(answer, Success))
    return saw


things = st.one_of(
    st.tuples(st.just("reads"), st.sampled_from([*BOUNDARIES])),
    st.tuples(
        st.sampled_from(["appends", "appends the first", "appends if unchanged"]),
        st.sampled_from([*THINGS]),
    ),
)
actors = st.lists(st.lists(things, min_size=1, max_size=2), min_size=2, max_size=3).filter(
    lambda lists: sum(1 + verb.endswith("unchanged") for its in lists for verb, _ in its) <= 5
)


def observed(of: Sequence[Sequence[tuple[str, str]]], **more: Any) -> set[str]:
    """What came of the schedules that are run."""
    seen: set[str] = set()
    programs = {f"p{number}": does(number, its) for number, its in enumerate(of)}
    found = Scenario(
        programs, on=SimulatedStore, holds=lambda after: seen.add(repr(sorted(after.answers.items())))
    ).explore(**more)
    assert found.holds, found.story
    return seen


@settings(max_examples=scaled(30, 150), deadline=None)
@given(actors)
def test_what_comes_of_all_schedules_comes_of_those_that_are_run(
    of: Sequence[Sequence[tuple[str, str]]],
) -> None:
    assert observed(of) == observed(of, reduced=False)


@pytest.mark.parametrize(
    "of",
    [
        [[("appends if unchanged", "red")], [("appends if unchanged", "red")]],
        [[("appends", "red")], [("appends", "round")], [("reads", "red or round")]],
        [[("appends", "round")], [("appends", "red round")], [("reads", "drawn")]],
    ],
    ids=["unchanged", "order of two tags", "order of all"],
)
def test_control_without_the_places_of_tags_it_is_caught(
    of: Sequence[Sequence[tuple[str, str]]],
) -> None:
    def only_streams(one: Footprint, other: Footprint) -> bool:
        return are_dependent(*(_only_streams(footprint) for footprint in (one, other)))

    with patch.object(exploring, "are_dependent", only_streams):
        missed = observed(of)
    assert missed < observed(of) == observed(of, reduced=False)


def _only_streams(footprint: Footprint) -> Footprint:
    kept = [
        frozenset(place for place in places if isinstance(place, StreamId) or place == "real time")
        for places in (footprint.reads, footprint.writes)
    ]
    return Footprint(*kept)


def test_an_event_of_types_of_one_s_own_may_have_any_tag() -> None:
    def observe(after: After) -> None:
        seen.add(len(after.answers["reader"].events))

    seen: set[int] = set()
    programs: dict[str, Any] = {
        "painter": Append(StreamId("painted"), (Painted("red"),)),
        "reader": ReadTagged(RED),
    }
    found = Scenario(programs, on=lambda: SimulatedStore(Codec(types=ELSEWHERE)), holds=observe)
    assert found.explore().holds
    assert seen == {0, 1}


# --- the example


def students(after: After, which: CourseId = RUST) -> int:
    page = after.run(ReadTagged(about(course[which], of=Joined)))
    return len(page.events)


def is_kept(after: After) -> bool:
    """Whether the one seat was given to one student at most, and the store did as it said."""
    assert check_history(after) == []
    return students(after) <= 1


def rush(make: Any, *who: tuple[str, CourseId], **more: Any) -> Scenario:
    joins = {name: make(StudentId(name), which) for name, which in who}
    return Scenario(joins, on=SimulatedStore, before=offered(), holds=is_kept, **more)


@program
def offered() -> Do[Any, None]:
    for which, seats in ((RUST, 1), (LISP, 9)):
        yield from define(which, seats)


def test_its_history_is_right_also_where_appends_are_refused_without_a_reason() -> None:
    found = rush(join, ("ann", RUST), ("bob", RUST), faults=[CONFLICT]).explore()
    assert found.holds, found.story


def test_who_has_nothing_in_common_is_run_in_one_order() -> None:
    found = rush(join, ("ann", RUST), ("bob", LISP)).explore()
    assert (found.holds, found.schedules) == (True, 1)


def test_a_student_who_takes_two_courses_at_once_is_seen_by_both() -> None:
    alone = rush(join, ("ann", LISP)).explore().schedules
    both = Scenario(
        {"one": join(StudentId("ann"), RUST), "other": join(StudentId("ann"), LISP)},
        on=SimulatedStore,
        before=offered(),
        holds=lambda after: {its.unwrap() for its in after.answers.values()} == {1, 2},
    ).explore()
    assert both.holds, both.story
    assert both.schedules > alone == 1
