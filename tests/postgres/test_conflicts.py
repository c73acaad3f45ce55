"""Conflicts on a stream that many append to: each is told what has come, all by few statements."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from eventsrc import Append, Conflict, Failure, Head, StreamId, Success
from eventsrc.postgres._conversation import Rows, Statement
from eventsrc.postgres._policy import Connections, Dialogue
from eventsrc.postgres.store import AsyncPostgresStore
from eventsrc.stores.operations import CONFLICT_EVENTS
from tests.kits.events import CODEC, Tick

HERE = StreamId("here")


def tick(number: int, expected: int, of: int = 1) -> Append:
    return Append(HERE, tuple(Tick(number, n, of) for n in range(of)), expected)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """What is asked of Postgres."""
    asked: list[Statement] = []
    execute = Connections.execute

    def counted(policy: Connections, statement: Statement, deadline: float) -> Dialogue[Rows]:
        asked.append(statement)
        return (yield from execute(policy, statement, deadline))

    monkeypatch.setattr(Connections, "execute", counted)
    return asked


async def at_once(store: AsyncPostgresStore, appends: Sequence[Append]) -> list[Any]:
    return await asyncio.gather(*[store.run_async(append) for append in appends])


def ticks(conflict: Conflict) -> list[int]:
    return [recorded.data.batch for recorded in conflict.events]


def test_of_many_that_append_together_one_is_first_and_the_others_are_told_its_event(
    postgres_dsn: str, asked: list[Statement]
) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await store.run_async(tick(0, 0))
            asked.clear()
            first, *others = await at_once(store, [tick(1 + n, 1, of=2) for n in range(8)])
            assert isinstance(first, Success)
            assert len(asked) == 1
            for other in others:
                match other:
                    case Failure(Conflict(stream, expected, actual) as conflict):
                        assert (stream, expected, actual) == (HERE, 1, 3)
                        assert ticks(conflict) == [1, 1]
                        found = [recorded.position for recorded in conflict.events]
                        assert found == [2, 3]
                    case answer:
                        pytest.fail(f"{answer}")

    asyncio.run(main())


def test_those_who_come_too_late_share_a_query_that_tells_what_has_come(
    postgres_dsn: str, asked: list[Statement]
) -> None:
    async def main() -> None:
        async with (
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as store,
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as other,
        ):
            for number in range(3):
                await store.run_async(tick(number, number))
            await other.run_async(tick(3, 3))
            asked.clear()
            late = await at_once(store, [tick(4, 1), tick(5, 1), tick(6, 2), tick(7, 1)])
            assert len(asked) == 2, "one for each version that they expected"
            told = [conflict.failure() for conflict in late]
            assert [conflict.actual for conflict in told] == [4] * 4, "the other store's is seen too"
            assert [*map(ticks, told)] == [[1, 2, 3], [1, 2, 3], [2, 3], [1, 2, 3]]
            assert await store.run_async(Head(HERE)) == 4

    asyncio.run(main())


def test_those_who_come_a_little_too_late_are_told_by_the_statement_that_stores_the_next(
    postgres_dsn: str, asked: list[Statement]
) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            for number in range(3):
                await store.run_async(tick(number, number))
            asked.clear()
            late, first, second = await at_once(store, [tick(3, 1), tick(4, 3, of=2), tick(5, 3)])
            assert len(asked) == 1
            assert isinstance(first, Success)
            assert [late.failure().actual, second.failure().actual] == [5, 5]
            assert ticks(late.failure()) == [1, 2, 4, 4]
            assert ticks(second.failure()) == [4, 4]
            found = [recorded.position for recorded in late.failure().events]
            assert found == [2, 3, 4, 5]

    asyncio.run(main())


def test_what_another_store_brought_in_between_is_told_too(postgres_dsn: str) -> None:
    async def main() -> None:
        async with (
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as store,
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as other,
        ):
            await store.run_async(tick(0, 0))
            await other.run_async(tick(1, 1))
            assert await store.run_async(Append(HERE, (Tick(2, 0, 1),)))
            late, first = await at_once(store, [tick(3, 1), tick(4, 3)])
            assert isinstance(first, Success)
            assert ticks(late.failure()) == [1, 2, 4]

    asyncio.run(main())


def test_a_conflict_tells_no_more_events_than_all_stores_do(postgres_dsn: str) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await store.run_async(tick(0, 0))
            many = CONFLICT_EVENTS + 1
            first, second = await at_once(store, [tick(1, 1, of=many), tick(2, 1)])
            assert isinstance(first, Success)
            (third,) = await at_once(store, [tick(3, 1)])
            for conflict in (second.failure(), third.failure()):
                assert conflict.actual == 1 + many
                assert len(conflict.events) == CONFLICT_EVENTS

    asyncio.run(main())
