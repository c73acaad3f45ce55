"""Runs: begun once, waiting, told, cancelled, parked by changed code and brought on again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from returns.result import Failure, Success

from eventsrc import Do, Interpreter, MemoryStore, NewId, Now, Sleep, on, program
from eventsrc.durable import HOURS, Changed, Next, NotInARun, Runs, RunStatus, Signal, TimedOut
from eventsrc.durable.runs import NoSuchRun, OtherRun, RunCancelled
from eventsrc.durable.work import check, work_off
from tests.durable.conftest import MakeStore
from tests.durable.service import (
    CODEC,
    Booked,
    Clock,
    Mail,
    Outside,
    Paid,
    app_of,
    books,
    facts,
    fulfilment,
    payments,
)


class Place:
    """An application on a store, with a clock in which nothing takes time."""

    def __init__(self, store: Interpreter[Any]) -> None:
        self.outside, self.clock = Outside(), Clock()
        self.app = app_of(store, self.outside, self.clock)

    def run(self, effect: Any) -> Any:
        return self.app.run(effect)

    def off(self, runs: Runs[..., Any]) -> int:
        done: int = self.app.run(work_off(runs))
        return done


@pytest.fixture
def place(make_store: MakeStore) -> Place:
    return Place(make_store())


@pytest.fixture
def here() -> Place:
    return Place(MemoryStore(CODEC))


def runs_of(body: Callable[..., Any], name: str = "test") -> Runs[..., Any]:
    return Runs(name, program(body), id=lambda *args: str(args[0]), codec=CODEC)


# --- begun and ended


def test_a_run_is_begun_once_however_often_it_is_asked_for(place: Place) -> None:
    first = place.run(fulfilment.start("7", 30))
    assert (first.id, first.is_new) == ("7", True)
    assert not place.run(fulfilment.start("7", 30)).is_new
    with pytest.raises(OtherRun, match="begun with"):
        place.run(fulfilment.start("7", 31))
    with pytest.raises(NoSuchRun):
        place.run(fulfilment.status("8"))


def test_a_run_ends_with_its_result_and_has_a_history(place: Place) -> None:
    place.run(fulfilment.start("7", 30))
    assert place.run(fulfilment.status("7")).state == "ready"
    place.off(fulfilment)
    assert place.run(fulfilment.status("7")).state == "waiting"
    place.clock.seconds += HOURS / 10
    place.run(payments["7"].append(Paid("7")))
    place.off(fulfilment)
    status: RunStatus[Any] = place.run(fulfilment.status("7"))
    assert (status.state, status.result) == ("ended", Success("receipt of 7 0 0"))
    assert place.run(fulfilment.result("7")) == Success(status.result)
    assert any("Charge" in line.what for line in place.run(fulfilment.history("7")))
    assert [mail.to for mail in place.outside.mailed] == ["7"]
    assert place.off(fulfilment) == 0, "nothing is left to do"


def test_a_run_begins_for_each_event_of_a_type_once(here: Place) -> None:
    @program
    def thank(order: str) -> Do[Mail | NewId, None]:
        yield from Mail(order, "thank you", (yield from NewId()))

    runs = Runs("thanks", thank, id=lambda order: order, codec=CODEC)
    runs.begins_on(Paid, lambda recorded: thank(recorded.data.order))
    here.run(payments["1"].append(Paid("1")))
    here.off(runs)
    here.run(payments["2"].append(Paid("2")))
    for _ in range(2):
        here.off(runs)
    assert sorted(mail.to for mail in here.outside.mailed) == ["1", "2"]


# --- waiting


def test_a_run_sleeps_for_as_long_as_it_says_across_processes(place: Place) -> None:
    def nap(id: str) -> Do[Sleep | Now, datetime]:
        yield from Sleep(48 * HOURS)
        return (yield from Now())

    runs = runs_of(nap)
    began = place.run(Now())
    place.run(runs.start("x"))
    for hours in (0, 24, 23):
        place.clock.seconds += hours * HOURS
        place.off(runs_of(nap))  # another process, each time
        assert place.run(runs.status("x")).state == "waiting"
    place.clock.seconds += HOURS
    place.off(runs)
    assert place.run(runs.status("x")).result >= began + timedelta(hours=48)


@pytest.mark.parametrize("when", ["before", "while", "too late", "never"])
def test_a_run_waits_for_an_event_or_a_time(place: Place, when: str) -> None:
    def await_payment(id: str) -> Do[Any, str]:
        match (yield from Next(payments[id], Paid, within=HOURS)):
            case Success(paid):
                return f"paid at {paid.version}"
            case Failure(TimedOut()):
                return "timed out"

    runs = runs_of(await_payment)
    if when == "before":
        place.run(payments["x"].append(Paid("x")))
    place.run(runs.start("x"))
    place.off(runs)
    if when == "while":
        place.run(payments["x"].append(Paid("x")))
    else:
        place.clock.seconds += 2 * HOURS
        if when == "too late":
            place.off(runs)
            place.run(payments["x"].append(Paid("x")))
    place.off(runs)
    expected = "paid at 1" if when in ("before", "while") else "timed out"
    assert place.run(runs.status("x")).result == expected


def test_a_signal_is_answered_once_and_in_turn(place: Place) -> None:
    def talk(id: str) -> Do[Any, list[Any]]:
        first = yield from Signal("word")
        second = yield from Signal("word")
        return [first.unwrap(), second.unwrap(), (yield from Signal("word", within=HOURS))]

    runs = runs_of(talk)
    place.run(runs.start("x"))
    place.run(runs.signal("x", "word", "one"))
    place.off(runs)
    place.run(runs.signal("x", "word", {"two": 2}))
    place.off(runs)
    place.clock.seconds += 2 * HOURS
    place.off(runs)
    assert place.run(runs.status("x")).result == ["one", {"two": 2}, Failure(TimedOut(HOURS))]
    with pytest.raises(NotInARun):
        place.run(Signal("word"))


# --- cancelled


def test_a_run_that_is_cancelled_undoes_what_it_did(place: Place) -> None:
    def book(id: str) -> Do[Any, str]:
        yield from books.append(Booked(id, 5))
        try:
            yield from Sleep(HOURS)
        finally:
            yield from books.append(Booked(id, -5))
        return "done"

    runs = runs_of(book)
    place.run(runs.start("x"))
    place.off(runs)
    place.run(runs.cancel("x", "changed my mind"))
    place.off(runs)
    assert place.run(runs.status("x")).state == "cancelled"
    assert [each.data.amount for each in place.run(books.history())] == [5, -5]
    with pytest.raises(RunCancelled):
        place.run(runs.result("x"))


# --- changed code


def test_changed_code_parks_a_run_with_both_sides_shown_and_a_retry_goes_on(place: Place) -> None:
    def first(id: str) -> Do[Any, str]:
        yield from books.append(Booked(id, 1))
        yield from Sleep(HOURS)
        return "first"

    def second(id: str) -> Do[Any, str]:
        yield from Mail(id, "a letter", (yield from NewId()))
        yield from Sleep(HOURS)
        return "second"

    old, new = runs_of(first), runs_of(second)
    place.run(old.start("x"))
    place.off(old)
    told = place.run(check(new))
    assert told.go_on == 0
    assert len(told.parked) == 1
    assert place.run(check(old)).go_on == 1
    place.clock.seconds += 2 * HOURS
    place.off(new)
    status = place.run(old.status("x"))
    assert status.state == "parked"
    assert "books" in status.why, "which was recorded"
    assert "NewId" in status.why, "which the code asks"
    assert place.off(new) == 0, "it is not tried again and again"
    assert place.outside.mailed == []
    place.run(old.retry("x"))
    place.off(old)
    assert place.run(old.status("x")).result == "first"


def test_code_moves_on_by_a_named_change(place: Place) -> None:
    def old_code(id: str) -> Do[Any, str]:
        yield from Sleep(HOURS)
        return "old"

    def new_code(id: str) -> Do[Any, str]:
        is_new = yield from Changed("a letter is sent")
        if is_new:
            yield from Mail(id, "a letter", (yield from NewId()))
        yield from Sleep(HOURS)
        return "new" if is_new else "old"

    old, new = runs_of(old_code), runs_of(new_code)
    place.run(old.start("before"))
    place.off(old)
    place.run(new.start("after"))
    place.off(new)
    place.clock.seconds += 2 * HOURS
    place.off(new)
    assert place.run(new.status("after")).result == "new"
    assert place.run(new.status("before")).result == "old"
    assert [mail.to for mail in place.outside.mailed] == ["after"]


def test_a_handler_that_fails_parks_its_run_and_no_other(here: Place) -> None:
    def send(id: str) -> Do[Any, None]:
        yield from Mail(id, "x", (yield from NewId()))

    runs = runs_of(send)

    def broken(op: Mail) -> None:
        if op.to == "bad":
            raise OSError("no route to the post office")

    failing: Any = here.app.but(on(Mail).run(broken))
    for id in ("bad", "good"):
        here.run(runs.start(id))
    failing.run(work_off(runs))
    assert here.run(runs.status("good")).state == "ended"
    bad = here.run(runs.status("bad"))
    assert bad.state == "parked"
    assert "no route" in bad.why
    here.run(runs.retry("bad"))
    here.off(runs)
    assert here.run(runs.status("bad")).state == "ended"


def test_the_same_program_runs_at_once_without_a_run(here: Place) -> None:
    here.run(payments["7"].append(Paid("7")))
    assert here.run(fulfilment.program("7", 30)) == Success("receipt of 7 0 0")
    assert facts(here.app, here.outside)["keys"] == 1
