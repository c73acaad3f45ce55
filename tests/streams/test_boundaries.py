"""Decisions about boundaries: what was read is what the append depends on, and nobody has to say so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import attrs
import pytest
from returns.result import Failure, Success

from eventsrc import (
    Append,
    AppendAll,
    Fold,
    Interpreter,
    MemoryStore,
    ReadFeed,
    SqliteStore,
    Stream,
    StreamId,
    event,
    on,
    program,
    trace,
    world,
)
from eventsrc.errors import NotSerializable, NotSerialized
from eventsrc.events.positions import START
from eventsrc.events.tags import Tag, about
from eventsrc.programs.program import Do, Outcome
from eventsrc.stores.operations import Appended, Unknown
from eventsrc.stores.tags import AppendIf, ReadTagged, Unchanged
from eventsrc.streams.boundaries import DecidedAbout, decide_about, gather_about
from eventsrc.streams.serializable import serializable
from examples.courses.events import CourseId, Defined, Joined, StudentId, course, courses, student
from examples.courses.service import MOST, No, define, join, join_unsafely

App: TypeAlias = Interpreter[Any]

RUST, LISP = CourseId("rust"), CourseId("lisp")
HOMER, MARGE = StudentId("homer"), StudentId("marge")

ticket = Tag("test-ticket", key=int)


@event("test.sold", tags={"number": ticket})
class Sold:
    """A ticket is sold, by its number."""

    number: int
    to: str


tickets = Stream("tickets", events=Sold)
last: Fold[int, Sold] = Fold(0, lambda before, event: max(before, event.number))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        with SqliteStore(tmp_path / "store.db", durability="process") as opened:
            yield opened


@pytest.fixture
def app(store: App) -> App:
    return store | world


def at_once(*works: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def seated(app: App, which: CourseId) -> int:
    return len(app.run(ReadTagged(about(course[which], of=Joined))).events)


def sell(to: str) -> Callable[[int], Outcome[list[Sold], str]]:
    return lambda before: Success([Sold(before + 1, to)])


def test_rules_that_span_streams_hold_whoever_comes_at_once(app: App) -> None:
    assert app.run(define(RUST, 5)) == Success(None)
    answers: list[Any] = []
    at_once(*(lambda n=n: answers.append(app.run(join(StudentId(f"{n}"), RUST))) for n in range(12)))
    assert answers.count(Success(1)) == 5
    assert answers.count(Failure(No.FULL)) == 7
    assert seated(app, RUST) == 5


def test_each_rule_has_its_answer(app: App) -> None:
    for number in range(MOST + 1):
        app.run(define(CourseId(f"{number}"), 1))
    assert app.run(define(CourseId("0"), 3)) == Failure(No.THERE_ALREADY)
    assert app.run(join(HOMER, RUST)) == Failure(No.NO_SUCH_COURSE)
    for number in range(MOST):
        assert app.run(join(HOMER, CourseId(f"{number}"))) == Success(number + 1)
    assert app.run(join(HOMER, CourseId("3"))) == Failure(No.TAKEN_ALREADY)
    assert app.run(join(MARGE, CourseId("3"))) == Failure(No.FULL)
    assert app.run(join(HOMER, CourseId(f"{MOST}"))) == Failure(No.TOO_MANY)


class Beside:
    """Does something else just before the first append of a kind."""

    def __init__(self, act: Callable[[], object], kinds: tuple[type, ...]) -> None:
        self._act, self._kinds, self._is_done = act, kinds, False

    def around(self, op: Any) -> Any:
        if isinstance(op, self._kinds) and not self._is_done:
            self._is_done = True
            self._act()
        return op


def beside(app: App, act: Callable[[], object]) -> App:
    kinds = (Append, AppendAll, AppendIf)
    return app.around(Beside(act, kinds).around, only=kinds)


def test_who_reads_what_another_changes_decides_again(app: App) -> None:
    app.run(define(RUST, 1))
    slow = beside(app, lambda: app.run(join(MARGE, RUST)))
    assert slow.run(join(HOMER, RUST)) == Failure(No.FULL)
    assert seated(app, RUST) == 1


def test_control_without_serializable_the_course_is_overbooked(app: App) -> None:
    app.run(define(RUST, 1))
    slow = beside(app, lambda: app.run(join(MARGE, RUST)))
    assert slow.run(join_unsafely(HOMER, RUST)) == Success(1)
    assert seated(app, RUST) == 2


def test_what_others_do_elsewhere_is_in_nobody_s_way(app: App) -> None:
    app.run(define(RUST, 1))
    app.run(define(LISP, 1))
    slow = beside(app, lambda: app.run(join(MARGE, LISP)))
    told = trace(slow, join(HOMER, RUST))
    assert told.outcome == Success(Success(1))
    (sent,) = (op for op in told.operations() if isinstance(op, AppendIf))  # at the first attempt
    assert [str(one.boundary) for one in sent.unchanged] == [
        "course:rust and of course.defined or course.joined or course.left",
        "student:homer and of course.joined or course.left",
    ]


def test_numbers_without_gaps(app: App) -> None:
    boundary = about(of=Sold)
    sold: list[int] = []

    def buy(who: str) -> Callable[[], None]:
        def work() -> None:
            decided = app.run(decide_about(boundary, last, sell(who), to=tickets, within=30)).unwrap()
            sold.append(decided.state)

        return work

    at_once(*(buy(f"{number}") for number in range(8)))
    assert sorted(sold) == [*range(1, 9)]
    assert app.run(gather_about(boundary, last)).state == 8


def test_a_decision_may_fail_or_have_nothing_to_do(app: App) -> None:
    boundary = about(of=Sold)
    nothing: Any = app.run(decide_about(boundary, last, lambda _: Success(()), to=tickets))
    assert nothing == Success(DecidedAbout(0, (), None))
    refused = app.run(decide_about(boundary, last, lambda _: Failure("no"), to=tickets))
    assert refused == Failure("no")
    assert app.run(gather_about(boundary, last)).state == 0


def test_a_retry_is_answered_as_the_first_time(app: App) -> None:
    append_id = uuid4()
    decision = decide_about(about(of=Sold), last, sell("a"), to=tickets, append_id=append_id)
    first = app.run(decision)
    app.run(decide_about(about(of=Sold), last, sell("b"), to=tickets))
    assert app.run(decision) == first
    assert first.unwrap().events == (Sold(1, "a"),)
    assert app.run(gather_about(about(of=Sold), last)).state == 2


@pytest.mark.parametrize("also", [False, True])
def test_one_request_that_comes_twice_at_once_is_answered_alike(app: App, also: bool) -> None:
    """The second looks for the first, does not find it, and then reads what it has stored."""
    number: Fold[int, Sold] = Fold(0, lambda before, _: before + 1)
    boundary = about(of=Sold)
    decision: Any = decide_about(
        boundary, number, lambda _: Success([Sold(7, "x")]), to=tickets, append_id=uuid4()
    )
    answers: list[Any] = []

    def meanwhile() -> None:
        answers.append(app.run(decision))
        if also:
            app.run(tickets.append(Sold(8, "another")))

    slow = app.around(Beside(meanwhile, (ReadTagged,)).around, only=(ReadTagged,))
    assert slow.run(decision) == answers[0]
    assert answers[0].unwrap().state == 1
    assert app.run(gather_about(boundary, number)).state == 1 + also


def test_one_request_that_is_stored_after_another_was_is_answered_alike(app: App) -> None:
    """The second reads, another appends, and then the first is stored: on more than was read."""
    number: Fold[int, Sold] = Fold(0, lambda before, _: before + 1)
    decision: Any = decide_about(
        about(of=Sold), number, lambda _: Success([Sold(7, "x")]), to=tickets, append_id=uuid4()
    )
    answers: list[Any] = []

    def meanwhile() -> None:
        app.run(tickets.append(Sold(8, "another")))
        answers.append(app.run(decision))

    assert beside(app, meanwhile).run(decision) == answers[0]
    assert answers[0].unwrap().state == 2


def test_a_lost_answer_is_settled_though_the_boundary_has_changed(store: App) -> None:
    lost: list[AppendIf] = []

    def lose(op: AppendIf) -> Outcome[Appended, Any]:
        answer = store.run(op)
        if lost:
            return answer
        lost.append(op)
        append_id = answer.unwrap().append_id
        assert isinstance(store.run(Append(StreamId("tickets"), (Sold(7, "meanwhile"),))), Success)
        return Failure(Unknown(append_id, "the connection was lost"))

    app = store.but(on(AppendIf).run(lose)) | world
    decided = app.run(decide_about(about(of=Sold), last, sell("a"), to=tickets)).unwrap()
    assert decided.events == (Sold(1, "a"),)
    page = app.run(ReadTagged(about(of=Sold)))
    assert [one.data for one in page.events] == [Sold(1, "a"), Sold(7, "meanwhile")]


@program
def count_below(prefix: str, target: Stream[Sold]) -> Do[Any, int]:
    page = yield from ReadFeed(prefix=prefix)
    yield from target.append(Sold(len(page.events), "counted"))
    return len(page.events)


def test_a_part_of_the_feed_is_a_boundary_too(app: App) -> None:
    here, there = StreamId("here/a"), StreamId("there/a")
    app.run(Append(here, (Sold(1, "a"),)))
    slow = beside(app, lambda: app.run(Append(here, (Sold(2, "b"),))))
    assert slow.run(serializable(count_below("here/", tickets))) == 2
    slow = beside(app, lambda: app.run(Append(there, (Sold(2, "b"),))))
    assert slow.run(serializable(count_below("here/", tickets))) == 2
    with pytest.raises(NotSerializable, match="reads all streams"):
        app.run(serializable(count_below("", tickets)))


def test_a_page_that_others_cannot_change_asks_for_nothing(app: App) -> None:
    @program
    def first_of(target: Stream[Sold]) -> Do[Any, Any]:
        page = yield from ReadTagged(about(of=Sold), limit=1)
        yield from target.append(Sold(99, "x"))
        return page.events[0].data.number

    app.run(tickets.append(Sold(1, "a"), Sold(2, "b")))
    told = trace(app, serializable(first_of(tickets)))
    assert told.outcome == Success(1)
    assert not any(isinstance(op, AppendIf) for op in told.operations())


def test_what_is_read_and_not_written_is_of_one_moment(app: App) -> None:
    app.run(define(RUST, 1))
    app.run(define(LISP, 1))
    moved: list[object] = []

    @program
    def both() -> Do[Any, tuple[int, int]]:
        one = yield from ReadTagged(about(course[RUST], of=Joined))
        if not moved:
            moved.append(app.run(join(HOMER, RUST)))
        other = yield from ReadTagged(about(course[LISP], of=Joined))
        return len(one.events), len(other.events)

    assert app.run(serializable(both())) == (1, 0)


def test_who_gives_up_names_what_came_between(app: App) -> None:
    app.run(define(RUST, 100))
    numbers = iter(range(1000))

    def more() -> None:
        app.run(courses[RUST].append(Joined(StudentId(f"{next(numbers)}"), RUST)))

    def always(op: Any) -> Any:
        more()
        return op

    slow = app.around(always, only=AppendIf)
    with pytest.raises(NotSerialized, match="course:rust") as told:
        slow.run(serializable(join_unsafely(HOMER, RUST), within=0.05))
    assert [one.type for one in told.value.conflict.events] == ["course.joined"]


def test_a_program_s_own_boundary_is_its_own_affair(app: App) -> None:
    @program
    def offer() -> Do[Any, Any]:
        part = courses[RUST].part(Defined(RUST, 1))
        return (yield from AppendIf((part,), (Unchanged(about(course[RUST]), START),)))

    assert isinstance(app.run(serializable(offer())), Success)
    conflict = app.run(serializable(offer())).failure()
    assert [one.data for one in conflict.events] == [Defined(RUST, 1)]


def test_values_are_taken_apart_by_the_tag_s_type() -> None:
    assert attrs.asdict(student[HOMER])["text"] == "homer"
    with pytest.raises(TypeError, match="made of"):
        student[4]  # type: ignore[index]  # pyright: ignore
