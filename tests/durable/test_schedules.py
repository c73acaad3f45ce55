"""Every crash of a saga, explored: what is charged is shipped or paid back, once, whoever goes on."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

from eventsrc import Command, Do, Interpreter, Query, on, program
from eventsrc.durable import Runs, StepId
from eventsrc.durable.sagas import Undo, saga
from eventsrc.durable.work import work_off
from eventsrc.testing import CRASH, After, Scenario, SimulatedStore

Done: TypeAlias = tuple[str, str]


class Charge(Command[None]):
    order: str
    key: UUID


class Refund(Command[None]):
    order: str
    key: UUID


class Ship(Command[bool]):
    order: str
    key: UUID


class Ledger(Query[list[Done]]):
    """All that was done, once for each key."""


class Outside(Interpreter[Charge | Refund | Ship | Ledger]):
    """A bank, and a store room with one lamp; both go by keys, as such services do."""

    def __init__(self) -> None:
        self._done: dict[UUID, Done] = {}

    @on(Charge)
    def charge(self, op: Charge) -> None:
        self._done.setdefault(op.key, ("charged", op.order))

    @on(Refund)
    def refund(self, op: Refund) -> None:
        self._done.setdefault(op.key, ("paid back", op.order))

    @on(Ship)
    def ship(self, op: Ship) -> bool:
        is_there = "shipped" not in (what for what, _ in self._done.values())
        done = self._done.setdefault(op.key, ("shipped" if is_there else "sold out", op.order))
        return done[0] == "shipped"

    @on(Ledger)
    def ledger(self, _op: Ledger) -> list[Done]:
        return [*self._done.values()]


class SoldOut(Exception):
    pass


@program
def pay_back(order: str) -> Do[Any, None]:
    yield from Refund(order, (yield from StepId()))


@program
def fulfil(order: str) -> Do[Any, str]:
    def body(undo: Undo) -> Do[Any, str]:
        yield from Charge(order, (yield from StepId()))
        undo.add(pay_back(order))
        if not (yield from Ship(order, (yield from StepId()))):
            raise SoldOut
        return "shipped"

    try:
        return (yield from saga(body))
    except SoldOut:
        return "sold out"


@program
def fulfil_with_one_key(order: str) -> Do[Any, str]:
    """As `fulfil`, but that the two keys are asked for before either step, and so are the same."""
    charging = yield from StepId()
    refunding = yield from StepId()

    def body(undo: Undo) -> Do[Any, str]:
        yield from Charge(order, charging)
        undo.add(Refund(order, refunding))
        if not (yield from Ship(order, (yield from StepId()))):
            raise SoldOut
        return "shipped"

    try:
        return (yield from saga(body))
    except SoldOut:
        return "sold out"


@program
def fulfil_without_paying_back(order: str) -> Do[Any, str]:
    """As `fulfil`, but that the compensation is added when it is too late."""

    def body(undo: Undo) -> Do[Any, str]:
        yield from Charge(order, (yield from StepId()))
        if not (yield from Ship(order, (yield from StepId()))):
            raise SoldOut
        undo.add(pay_back(order))
        return "shipped"

    try:
        return (yield from saga(body))
    except SoldOut:
        return "sold out"


def explored(body: Any, **options: Any) -> Any:
    runs: Runs[..., str] = Runs("fulfil", body, id=str, known=[SoldOut])

    @program
    def begin() -> Do[Any, None]:
        yield from runs.start("a")
        yield from runs.start("b")

    def all_is_settled(after: After) -> None:
        after.run(work_off(runs))  # another worker goes on where the first was
        done = after.run(Ledger())
        ends = {id: str(after.run(runs.status(id)).result) for id in "ab"}
        assert sorted(ends.values()) == ["shipped", "sold out"]
        for id, end in ends.items():
            its = sorted(what for what, order in done if order == id)
            due = ["charged", "shipped"] if end == "shipped" else ["charged", "paid back", "sold out"]
            assert its == due, f"order {id} was {its}"

    def outside() -> Interpreter[Any]:
        return SimulatedStore() | Outside()

    return Scenario(
        {"worker": work_off(runs)},
        on=outside,
        before=begin(),
        holds=all_is_settled,
        **options,
    ).explore()


def test_a_saga_settles_whenever_its_worker_crashes() -> None:
    found = explored(fulfil, faults=(CRASH,))
    assert found.holds, found.story
    assert found.schedules > 500


def test_control_one_key_for_two_steps_is_found() -> None:
    found = explored(fulfil_with_one_key)
    assert not found.holds
    assert "order" in found.story


def test_control_a_compensation_that_comes_too_late_is_found() -> None:
    found = explored(fulfil_without_paying_back)
    assert not found.holds
    assert "order" in found.story
