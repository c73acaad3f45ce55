"""What holds in every schedule of a simulation holds on Postgres too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eventsrc import Interpreter, world
from eventsrc.postgres import PostgresStore
from tests.kits.shops import withdraw, withdraw_naively
from tests.testing.test_simulation import REAL, beside, withdrawals


@contextmanager
def app(dsn: str, number: int) -> Iterator[Interpreter[Any]]:
    with PostgresStore(dsn, schema=f"round{number}") as store:
        yield store | world


def test_what_holds_in_every_schedule_holds_on_postgres(postgres_dsn: str) -> None:
    numbers = iter(range(1_000))
    found = withdrawals(withdraw).for_real(lambda: app(postgres_dsn, next(numbers)), rounds=10)
    assert found.holds, found.story


def test_control_what_is_wrong_in_some_schedule_is_seen_on_postgres(postgres_dsn: str) -> None:
    numbers = iter(range(1_000))
    naive = withdrawals(withdraw_naively)
    found = naive.for_real(lambda: app(postgres_dsn, next(numbers)), rounds=50)
    assert not found.holds
    assert "for real" in found.story


@pytest.mark.parametrize("name", REAL)
def test_services_that_are_right_are_right_on_postgres(postgres_dsn: str, name: str) -> None:
    @contextmanager
    def with_the_rest() -> Iterator[Interpreter[Any]]:
        with app(postgres_dsn, next(numbers)) as store:
            yield store | beside(name)

    numbers = itertools.count()
    found = REAL[name].for_real(with_the_rest, rounds=5)
    assert found.holds, found.story
