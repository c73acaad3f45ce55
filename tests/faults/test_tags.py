"""Rules that span streams hold in a SQLite file, whoever writes it at once, and is killed at it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from returns.result import Failure, Success

from eventsrc import START, Append, SqliteStore, StreamAppend, StreamId, world
from eventsrc.events.codec import Codec
from eventsrc.events.tags import about
from eventsrc.sqlite._appending import Appending
from eventsrc.sqlite._rows import end_of
from eventsrc.sqlite._tags import is_changed
from eventsrc.stores.tags import (
    AppendIf,
    BoundaryChanged,
    NotIndexed,
    ReadTagged,
    Unchanged,
    index_tags,
)
from examples.courses.events import CourseId, Defined, Joined, Left, StudentId, course
from examples.courses.service import MOST, define, join
from tests.faults import scaled
from tests.processes.forked import Forked
from tests.processes.joiner import (
    COURSES,
    KEYS,
    LATE,
    index_and_die,
    late,
    late_types,
    note_untagged,
    rush,
)

SEATS = 6
PATIENCE = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in which courses are offered."""
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        for which in COURSES:
            (store | world).run(define(which, SEATS))
    return path


def taken(path: Path) -> Counter[str]:
    """The seats that were taken, as "who which"."""
    with SqliteStore(path) as store:
        pages = [store.run(ReadTagged(about(course[which], of=Joined))) for which in COURSES]
    return Counter(f"{each.data.who} {each.data.course}" for page in pages for each in page.events)


def wrong_with(seats: Counter[str]) -> list[str]:
    """The rules that were broken."""
    in_courses = Counter(seat.split()[1] for seat in seats.elements())
    of_students = Counter(seat.split()[0] for seat in seats.elements())
    return [
        *(f"{which} has {number}" for which, number in in_courses.items() if number > SEATS),
        *(f"{who} takes {number}" for who, number in of_students.items() if number > MOST),
        *(f"{seat} is taken {number} times" for seat, number in seats.items() if number > 1),
    ]


def told(path: Path, joins: int, killed: int = 0) -> list[str]:
    """What 4 processes were told that they have; so many of them are killed at their first seat."""
    seats: list[str] = []
    with ExitStack() as stack:
        running = [
            stack.enter_context(Forked(rush, str(path), str(seed), str(joins))) for seed in range(4)
        ]
        for process in running:
            assert process.stdout.read(6) == b"ready\n"
        for process in running:
            process.stdin.write(b"go\n")
        for process in running[:killed]:
            seats += process.stdout.read(1 << 16).decode().splitlines()
            process.kill()
        for process in running:
            seats += process.stdout.readall().decode().splitlines()
        assert [process.wait(PATIENCE) for process in running[killed:]] == [0] * (4 - killed)
    return seats


@pytest.mark.parametrize("killed", [0, 2])
def test_processes_that_take_the_last_seats_at_once_keep_the_rules(path: Path, killed: int) -> None:
    said = told(path, scaled(40, 200), killed=killed)
    seats = taken(path)
    assert wrong_with(seats) == []
    assert len(said) > 10
    assert Counter(said) <= seats
    assert seats.total() - len(said) <= killed  # of each, one answer may have been lost


def of_two(path: Path) -> list[Any]:
    """What two are answered of whom one has prepared its append when the other makes its own."""
    with SqliteStore(path) as one, SqliteStore(path) as other:
        prepared = one._job(if_none("homer"))
        return [other.run(if_none("marge")), *one._commit([prepared])]


def test_a_boundary_that_changed_before_the_lock_was_had_is_noticed(path: Path) -> None:
    assert [type(answer) for answer in of_two(path)] == [Success, Failure]


def test_control_to_look_before_the_lock_is_caught(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = SqliteStore._job

    def looks(self: Any, op: Any) -> Any:
        found = prepare(self, op)
        with self._file.reading() as connection:
            end, _ = end_of(connection)
            found.asked.bounds = tuple(b for b in found.asked.bounds if is_changed(connection, b, end))
        return found

    monkeypatch.setattr(SqliteStore, "_job", looks)
    assert [type(answer) for answer in of_two(path)] == [Success, Success]


def test_a_head_that_another_store_has_moved_is_no_obstacle(path: Path) -> None:
    with SqliteStore(path) as one, SqliteStore(path) as other:
        for store in (one, other, one, other):
            answer = store.run(
                AppendIf((joins("homer"),), (Unchanged(about(of=Defined, prefix="none/"), START),))
            )
            assert isinstance(answer, Success)
            store.run(Append(StreamId("elsewhere"), (Left(StudentId("lisa"), CourseId("lisp")),)))


# --- those who share a commit


def of_one_group(path: Path, *ops: Any) -> list[Any]:
    """What some appends are answered that share a commit."""
    with SqliteStore(path) as store:
        return store._commit([store._job(op) for op in ops])


RUST = about(course[CourseId("rust")], of=Joined)


def joins(who: str) -> StreamAppend:
    return StreamAppend(StreamId(f"seats/{who}"), (Joined(StudentId(who), CourseId("rust")),))


def if_none(who: str) -> AppendIf:
    return AppendIf((joins(who),), (Unchanged(RUST, START),))


def without_condition(who: str) -> Append:
    return Append(joins(who).stream, joins(who).events)


def test_each_of_a_group_sees_those_before_it(path: Path) -> None:
    answers = of_one_group(path, if_none("homer"), if_none("marge"), if_none("lisa"))
    assert isinstance(answers[0], Success)
    for answer in answers[1:]:
        conflict = answer.failure()
        assert isinstance(conflict, BoundaryChanged)
        assert [event.data.who for event in conflict.events] == ["homer"]


def test_an_append_without_a_condition_is_seen_too(path: Path) -> None:
    answers = of_one_group(path, without_condition("homer"), if_none("marge"))
    assert [type(answer) for answer in answers] == [Success, Failure]


def test_control_a_group_whose_members_do_not_see_each_other_is_caught(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, begin = Appending._changed, Appending.__init__

    def begun(self: Any, *about: Any) -> None:
        begin(self, *about)
        self.first = self.end

    def changed(self: Any, bound: Any) -> BoundaryChanged | None:
        end, self.end = self.end, self.first
        try:
            return look(self, bound)
        finally:
            self.end = end

    monkeypatch.setattr(Appending, "__init__", begun)
    monkeypatch.setattr(Appending, "_changed", changed)
    answers = of_one_group(path, if_none("homer"), if_none("marge"))
    assert [type(answer) for answer in answers] == [Success, Success]


# --- tags that are declared later


def noted(path: Path, number: int) -> None:
    """Appends events without the tags that they are to have."""
    types, cls = late_types(tagged=False)
    with SqliteStore(path, Codec(types)) as store:
        store.run(Append(LATE, tuple(cls(f"{each % KEYS}") for each in range(number)))).unwrap()


def indexed(path: Path) -> int:
    """Up to where the events have their tags."""
    connection = sqlite3.connect(path)
    ((position,),) = connection.execute("SELECT max(indexed) FROM eventsrc_kind").fetchall()
    connection.close()
    return int(position)


def found(path: Path) -> int:
    """How many events are found by their tags. Raises NotIndexed."""
    types, cls = late_types(tagged=True)
    with SqliteStore(path, Codec(types)) as store:
        boundaries = [about(late[f"{key}"], of=cls, types=types) for key in range(KEYS)]
        return sum(len(store.run(ReadTagged(boundary)).events) for boundary in boundaries)


def test_indexing_that_is_killed_leaves_no_hole_and_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []
    for step in range(1, 1_000, scaled(5, 1)):
        path = tmp_path / f"{step}.db"
        noted(path, 25)
        with Forked(index_and_die, str(path), str(step)) as process:
            is_done = process.stdout.readall() == b"done\n"
            process.wait(PATIENCE)
        try:
            assert found(path) == 25
            seen.append("whole")
        except NotIndexed:
            assert not is_done
            seen.append("in part" if indexed(path) else "not at all")
        types, _ = late_types(tagged=True)
        with SqliteStore(path, Codec(types)) as store:
            store.run(index_tags())
        assert found(path) == 25
        if is_done:
            break
    assert {*seen} == {"not at all", "in part", "whole"}


def test_in_a_rolling_deploy_the_old_process_makes_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    noted(path, 25)
    types, _ = late_types(tagged=True)
    with Forked(note_untagged, str(path)) as old, SqliteStore(path, Codec(types)) as store:
        assert old.stdout.read(6) == b"ready\n"
        store.run(index_tags())
        count, why = old.stdout.readall().decode().split()
        assert why == "OtherTags"
        assert old.wait(PATIENCE) == 0
    assert found(path) == 25 + int(count)


def test_who_joins_afterwards_keeps_the_rules_too(path: Path) -> None:
    with SqliteStore(path) as store:
        answers = [(store | world).run(join(StudentId("homer"), which)) for which in COURSES]
    assert [isinstance(answer, Success) for answer in answers] == [True] * MOST + [False] * 2
