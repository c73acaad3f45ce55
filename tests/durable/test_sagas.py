"""Sagas undo what they did, in reverse and once, wherever they fail, are cancelled or are killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import Command, Do, Interpreter, MemoryStore, Outcome, Stream, Try, event, ok, on, program
from eventsrc.durable import DAYS, HOURS, Next, RunOp, Runs, StepId
from eventsrc.durable.sagas import NotUndone, Undo, retried, saga
from eventsrc.durable.schedules import Cron, Daily, RepeatOp, repeat
from eventsrc.durable.work import work_off
from eventsrc.programs.world import Sleep, world
from eventsrc.stores.operations import StoreOp
from tests.durable.conftest import MakeStore
from tests.durable.service import CODEC, TYPES, Clock
from tests.kits.dying import Dying, finish_dying


@event("trip.held", types=TYPES)
class Held:
    what: str


@event("trip.released", types=TYPES)
class Released:
    what: str


@event("trip.approved", types=TYPES)
class Approved:
    trip: str


class Pay(Command[Outcome[str, str]]):
    """Takes money: the bank knows a key once. A trip named "poor" has none."""

    trip: str
    key: UUID


class GiveBack(Command[None]):
    receipt: str
    key: UUID


seats = Stream("seats", events=Held | Released)
approvals = Stream("approvals", events=Approved)
Trip = StoreOp | Pay | GiveBack | RunOp


def booking(undo: Undo, trip: str) -> Try[Trip, str, str]:
    yield from seats.append(Held("flight"))
    undo.add(seats.append(Released("flight")))
    yield from seats.append(Held("hotel"))
    undo.add(seats.append(Released("hotel")))
    key = yield from StepId()
    receipt = yield from ok(Pay(trip, key))
    undo.add(GiveBack(receipt, key))
    if trip == "late":
        raise LookupError("no such trip")
    if trip == "waits":
        yield from Next(approvals, Approved)
    return Failure("sold out") if trip == "full" else Success(receipt)


@program
def book(trip: str) -> Try[Trip, str, str]:
    return (yield from saga(lambda undo: booking(undo, trip)))


bookings = Runs("bookings", book, id=lambda trip: trip, known=[LookupError], codec=CODEC)


class Bank(Interpreter[Pay | GiveBack]):
    """What is paid and given back under each key, however often it is asked."""

    def __init__(self) -> None:
        self.paid: dict[UUID, str] = {}
        self.given_back: dict[UUID, str] = {}

    @on(Pay)
    def pay(self, op: Pay) -> Outcome[str, str]:
        if op.trip == "poor":
            return Failure("no money")
        self.paid[op.key] = op.trip
        return Success(f"receipt of {op.trip}")

    @on(GiveBack)
    def give_back(self, op: GiveBack) -> None:
        self.given_back[op.key] = op.receipt


def held(app: Interpreter[Any]) -> list[tuple[str, str]]:
    return [(type(each.data).__name__, each.data.what) for each in app.run(seats.history())]


BOTH_HELD = [("Held", "flight"), ("Held", "hotel")]
UNDONE = [*BOTH_HELD, ("Released", "hotel"), ("Released", "flight")]


@pytest.mark.parametrize(
    ("trip", "result", "seats_", "paid", "given_back"),
    [
        ("sunny", Success("receipt of sunny"), BOTH_HELD, 1, 0),
        ("poor", Failure("no money"), UNDONE, 0, 0),
        ("full", Failure("sold out"), UNDONE, 1, 1),
    ],
)
def test_a_saga_that_fails_undoes_in_reverse_what_it_did(
    trip: str, result: Any, seats_: Any, paid: int, given_back: int, make_store: MakeStore
) -> None:
    bank = Bank()
    app = make_store() | world | bank
    app.run(bookings.start(trip))
    app.run(work_off(bookings))
    status = app.run(bookings.status(trip))
    assert (status.state, status.result) == ("ended", result)
    assert held(app) == seats_
    assert (len(bank.paid), len(bank.given_back)) == (paid, given_back)


def test_outside_of_a_run_it_does_the_same() -> None:
    bank = Bank()
    app: Any = MemoryStore(CODEC) | world | bank
    assert app.run(book("full")) == Failure("sold out")
    assert held(app) == UNDONE
    with pytest.raises(LookupError):
        app.run(book("late"))
    assert held(app) == UNDONE * 2
    assert bank.given_back.keys() == bank.paid.keys()


def test_a_run_that_is_cancelled_undoes_what_it_did(make_store: MakeStore) -> None:
    bank = Bank()
    app = make_store() | world | bank
    app.run(bookings.start("waits"))
    app.run(work_off(bookings))
    assert app.run(bookings.status("waits")).state == "waiting"
    app.run(bookings.cancel("waits", "the customer left"))
    app.run(work_off(bookings))
    assert app.run(bookings.status("waits")).state == "cancelled"
    assert held(app) == UNDONE
    assert bank.given_back.keys() == bank.paid.keys()


def deaths(trip: str) -> Iterator[tuple[str, Any, Any, Any]]:
    """What is true at the end, for a death before or after each operation."""
    for after in (False, True):
        for at in range(1, 500):
            store, bank, clock = MemoryStore(CODEC), Bank(), Clock()
            dying = Dying(at, after=after)

            def process(dying: Dying, store: Any = store, bank: Any = bank, clock: Any = clock) -> Any:
                return dying.around(store) | dying.around(clock) | dying.around(bank)

            app = process(Dying(0, after=False))
            app.run(bookings.start(trip))
            status = finish_dying(process, bookings, trip, dying)
            yield f"killed at {at}", status, held(app), (len(bank.paid), len(bank.given_back))
            if not dying.has_died:
                assert at > 10
                break


def test_a_saga_that_is_killed_at_any_operation_undoes_everything_once() -> None:
    for where, status, seats_, paid in deaths("full"):
        assert (status.state, status.result) == ("ended", Failure("sold out")), where
        assert seats_ == UNDONE, where
        assert paid == (1, 1), where


def test_control_a_saga_that_undoes_from_memory_alone_forgets_on_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: set[int] = set()

    def once(self: Undo) -> Any:
        while self._compensations:
            compensation = self._compensations.pop()
            if len(done) > len(self._compensations):
                continue  # this process thinks that it has been done
            done.add(len(done))
            yield from compensation

    monkeypatch.setattr(Undo, "all", once)
    assert any(seats_ != UNDONE for _, _, seats_, _ in deaths("full"))


def test_a_compensation_that_fails_parks_the_run_until_it_is_retried() -> None:
    answers: list[Any] = [Failure("the bank is closed"), Success("back")]

    def undoing(undo: Undo, trip: str) -> Try[Pay, str, str]:
        undo.add(Pay("back", UUID(int=1)))
        yield from ()
        return Failure("no")

    @program
    def failing(trip: str) -> Try[Trip, str, str]:
        return (yield from saga(lambda undo: undoing(undo, trip)))

    runs = Runs("failing", failing, id=lambda trip: trip, known=[NotUndone], codec=CODEC)
    app = MemoryStore(CODEC) | world | on(Pay).run(lambda _: answers.pop(0))
    app.run(runs.start("a"))
    app.run(work_off(runs))
    parked = app.run(runs.status("a"))
    assert parked.state == "parked"
    assert "the bank is closed" in parked.why


class Flaky(Command[str]):
    key: UUID


@program
def insisting(times: int) -> Do[RunOp | Flaky | Sleep, str]:
    key = yield from StepId()
    return (yield from retried(Flaky(key), attempts=times, first=2.0, on=ConnectionError))


def test_a_retry_policy_pauses_longer_each_time_and_keeps_the_key() -> None:
    keys: list[UUID] = []
    clock = Clock()
    at: list[float] = []

    def flaky(op: Flaky) -> str:
        keys.append(op.key)
        at.append(clock.seconds)
        if len(keys) < 4:
            raise ConnectionError("refused")
        return "done"

    runs = Runs(
        "insisting", insisting, id=lambda times: str(times), known=[ConnectionError], codec=CODEC
    )
    app = MemoryStore(CODEC) | clock | on(Flaky).run(flaky)
    app.run(runs.start(5))
    assert app.run(runs.finish("5")).result == "done"
    assert len(set(keys)) == 1
    assert [round(later - earlier) for earlier, later in pairwise(at)] == [2, 4, 8]
    keys.clear()
    app.run(runs.start(2))
    assert app.run(runs.finish("2")).state == "parked", "it gives up, and somebody is to look"


def test_a_retry_policy_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        world.run(retried(Sleep(0), attempts=0))


# --- schedules

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])


@given(
    after=st.integers(0, 2**31 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    at=st.times(),
    zone=ZONES,
)
def test_a_daily_time_comes_once_a_day_and_is_always_later(
    after: datetime, at: time, zone: str
) -> None:
    daily = Daily(at, zone)
    first = daily.next(after)
    second = daily.next(first)
    assert after < first < second
    assert first - after <= timedelta(hours=25)
    assert timedelta(hours=22) <= second - first <= timedelta(hours=26)
    assert daily.next(first - timedelta(microseconds=1)) == first


def test_a_time_that_there_is_not_is_that_much_later_and_of_one_that_comes_twice_the_first() -> None:
    gap = Daily(time(2, 30), "Europe/Berlin").next(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert gap.isoformat() == "2026-03-29T03:30:00+02:00"
    twice = Daily(time(2, 30), "Europe/Berlin").next(datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert twice.isoformat() == "2026-10-25T02:30:00+02:00"


def test_a_cron_text_names_times_in_its_zone() -> None:
    due = Cron("0 6 * * mon", "Europe/Berlin").next(datetime(2026, 12, 1, tzinfo=UTC))
    assert due.isoformat() == "2026-12-07T06:00:00+01:00"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cron("at night"),
        lambda: Cron("0 6 * * mon", "Mars/Olympus"),
        lambda: Daily(time(1), "../etc/passwd"),
        lambda: Daily(time(1, tzinfo=UTC)),
    ],
)
def test_what_is_no_schedule_says_so(make: Any) -> None:
    with pytest.raises(ValueError, match="no cron text|no time zone|time zone of its own"):
        make()


@program
def report(day: str) -> Do[StoreOp, str]:
    yield from seats.append(Held(day))
    return day


@program
def nightly() -> Do[StoreOp | RepeatOp | RunOp, None]:
    yield from repeat(Daily(time(2), "Europe/Berlin"), lambda due: reports.start(str(due.date())))


reports = Runs("reports", report, id=lambda day: day, codec=CODEC)
nightlies = Runs("nightly", nightly, id=lambda: "nightly", codec=CODEC)


def test_a_schedule_begins_a_run_for_each_of_its_times_also_for_those_that_were_missed(
    make_store: MakeStore,
) -> None:
    clock = Clock()
    app = make_store() | clock
    app.run(nightlies.start())
    for pause in (0.0, 5 * HOURS, DAYS, 3 * DAYS):
        clock.seconds += pause
        app.run(work_off(nightlies, reports))
    assert [what for _, what in held(app)] == [f"2026-01-0{day}" for day in (1, 2, 3, 4, 5)]
    assert app.run(nightlies.status("nightly")).state == "waiting"
