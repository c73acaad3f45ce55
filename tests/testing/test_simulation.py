"""The simulation is what it stands for: its store keeps the contract, and real stores do as it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Do,
    Interpreter,
    MemoryStore,
    SqliteStore,
    Success,
    gather,
    on,
    program,
    synchronise,
    world,
)
from eventsrc.stores.operations import StoreOp
from eventsrc.testing import (
    After,
    Scenario,
    SimulatedStore,
    StoreContract,
    StoreMachine,
    check_history,
)
from eventsrc.testing._scenarios.simulation import the_time
from eventsrc.views.memory import MemoryViews
from tests.kits.shops import (
    HOMER,
    MARGE,
    Deposited,
    Totals,
    UserCalled,
    UserId,
    accounts,
    balance_of,
    deposit,
    register,
    spend,
    totals,
    withdraw,
    withdraw_naively,
)

Make = Callable[[], AbstractContextManager[Interpreter[Any]]]


class TestSimulatedStore(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[MemoryStore]:
        before = the_time.set(time.time())  # one of its tests compares the store's clock with its own
        yield SimulatedStore()
        the_time.reset(before)


TestSimulatedStoreAgainstMemory = StoreMachine.for_store(
    lambda _: nullcontext(SimulatedStore())
).TestCase


# --- the same programs on real stores


def is_right(after: After) -> None:
    assert check_history(after) == []
    assert after.run(balance_of(HOMER)) >= 0


def withdrawals(withdraw: Any, people: int = 8) -> Scenario:
    return Scenario(
        {f"p{number}": withdraw(HOMER, 60) for number in range(people)},
        on=SimulatedStore,
        before=accounts[HOMER].append(Deposited(100)),
        holds=is_right,
    )


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    numbers = iter(range(10_000))

    @contextmanager
    def app() -> Iterator[Interpreter[Any]]:
        if request.param == "memory":
            yield MemoryStore() | world
        else:
            with SqliteStore(tmp_path / f"{next(numbers)}.db") as store:
                yield store | world

    return app


def test_what_holds_in_every_schedule_holds_on_real_stores(make: Make) -> None:
    assert withdrawals(withdraw, people=2).explore().holds
    found = withdrawals(withdraw).for_real(make, rounds=20)
    assert found.holds, found.story


def homer_has_what_was_deposited(after: After) -> bool:
    return after.run(balance_of(HOMER)) == 50


def both_have_enough(after: After) -> bool:
    return after.run(balance_of(HOMER)) + after.run(balance_of(MARGE)) >= 0


def one_is_called_homer(after: After) -> bool:
    return sum(isinstance(its, Success) for its in after.answers.values()) == 1


def answers_and_balance(after: After) -> object:
    return [isinstance(its, Success) for its in after.answers.values()], after.run(balance_of(HOMER))


def total_is_right(after: After) -> bool:
    after.run(synchronise(totals))
    done: dict[str, int] = after.run(Totals())
    return done == {accounts[HOMER].id: after.run(balance_of(HOMER))}


REAL: dict[str, Scenario] = {
    "serializable": Scenario(
        {"ann": spend(HOMER, MARGE, 60), "bob": spend(MARGE, HOMER, 60)},
        on=SimulatedStore,
        before=gather(accounts[HOMER].append(Deposited(50)), accounts[MARGE].append(Deposited(50))),
        holds=both_have_enough,
    ),
    "a name": Scenario(
        {f"p{number}": register(UserId(f"{number}"), "homer") for number in range(3)},
        on=lambda: SimulatedStore() | on(UserCalled).always(None),
        holds=one_is_called_homer,
    ),
    "a key": Scenario(
        {f"p{number}": deposit(HOMER, 10) for number in range(5)},
        on=SimulatedStore,
        holds=homer_has_what_was_deposited,
    ),
    "a view": Scenario(
        {"ann": deposit(HOMER, 10), "one": synchronise(totals), "other": synchronise(totals)},
        on=lambda: SimulatedStore() | with_totals(),
        before=accounts[HOMER].append(Deposited(1)),
        holds=total_is_right,
    ),
    "linearizable": Scenario(
        {f"p{number}": withdraw(HOMER, 60) for number in range(3)},
        on=SimulatedStore,
        before=accounts[HOMER].append(Deposited(100)),
        linearizable=answers_and_balance,
    ),
}


def with_totals() -> Interpreter[Any]:
    views = MemoryViews([totals])

    def look(_op: Totals) -> dict[str, int]:
        with views.reading(totals) as tables:
            found: dict[str, int] = dict(tables["totals"])
            return found

    return views | on(Totals).run(look)


def beside(name: str) -> Interpreter[Any]:
    """What a scenario needs besides a store."""
    return with_totals() if name == "a view" else on(UserCalled).always(None)


@pytest.mark.parametrize("name", REAL)
def test_services_that_are_right_are_right_on_real_stores(make: Make, name: str) -> None:
    @contextmanager
    def app() -> Iterator[Interpreter[Any]]:
        with make() as store:
            yield store | beside(name)

    its = REAL[name]
    assert its.explore(most=5_000).holds
    found = its.for_real(app, rounds=10)
    assert found.holds, found.story


def test_control_what_no_order_makes_is_seen_on_a_real_store(make: Make) -> None:
    @program
    def says(name: str) -> Do[StoreOp, str]:
        yield from accounts[HOMER].append(Deposited(1))
        return threading.current_thread().name

    its = Scenario(
        {"ann": says("ann"), "bob": says("bob")},
        on=SimulatedStore,
        linearizable=lambda after: dict(after.answers),
    )
    found = its.for_real(make, rounds=1)
    assert not found.holds
    assert "which no order of the programs makes" in found.story


def test_control_what_is_wrong_in_some_schedule_is_seen_on_real_stores(tmp_path: Path) -> None:
    @contextmanager
    def app() -> Iterator[Interpreter[Any]]:
        with SqliteStore(tmp_path / f"{len([*tmp_path.iterdir()])}.db") as store:
            yield store | world

    found = withdrawals(withdraw_naively).for_real(app, rounds=100)
    assert not found.holds
    assert "for real" in found.story
