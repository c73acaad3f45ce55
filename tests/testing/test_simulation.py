"""The simulation is what it stands for: its store keeps the contract, and real stores do as it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Interpreter, MemoryStore, SqliteStore, world
from eventsrc.testing import (
    After,
    Scenario,
    SimulatedStore,
    StoreContract,
    StoreMachine,
    check_history,
)
from eventsrc.testing.simulation import the_time
from tests.testing.shops import HOMER, Deposited, accounts, balance_of, withdraw, withdraw_naively

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


def test_control_what_is_wrong_in_some_schedule_is_seen_on_real_stores(tmp_path: Path) -> None:
    @contextmanager
    def app() -> Iterator[Interpreter[Any]]:
        with SqliteStore(tmp_path / f"{len([*tmp_path.iterdir()])}.db") as store:
            yield store | world

    found = withdrawals(withdraw_naively).for_real(app, rounds=100)
    assert not found.holds
    assert "for real" in found.story
