"""Appends of a group share a statement, whether their streams are known, new, or others' by now."""

from __future__ import annotations

import asyncio

import pytest

from eventsrc import (
    NO_STREAM,
    Append,
    Appended,
    Conflict,
    Failure,
    Read,
    ReadFeed,
    StreamId,
    Success,
)
from eventsrc.store import Expected
from eventsrc.stores import postgres_conversations
from eventsrc.stores.postgres import AsyncPostgresStore
from tests.faults.events import CODEC, Tick
from tests.postgres.test_conflicts import asked, at_once

__all__ = ["asked"]


def tick(name: str, number: int, expected: Expected, of: int = 1) -> Append:
    return Append(StreamId(name), tuple(Tick(number, n, of) for n in range(of)), expected)


async def stored(store: AsyncPostgresStore, name: str) -> list[int]:
    page = await store.run_async(Read(StreamId(name)))
    return [recorded.data.batch for recorded in page.events]


def test_streams_that_are_new_or_not_known_yet_take_one_query_more(
    postgres_dsn: str, asked: list[object]
) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as other:
            await other.run_async(tick("old", 0, 0))
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            asked.clear()
            appends = [
                tick("new", 1, 0, of=2),
                tick("new", 2, 2),
                tick("other", 3, NO_STREAM),
                tick("old", 4, 1),
                tick("old", 5, 0),
                tick("none", 6, 7),
            ]
            *done, late, early = await at_once(store, appends)
            assert len(asked) == 4, "heads, the appends, what has come since, and the one that is left"
            for answer, version in zip(done, [2, 3, 1, 2], strict=True):
                match answer:
                    case Success(Appended() as appended):
                        assert appended.version == version
                    case _:
                        pytest.fail(f"{answer}")
            assert isinstance(late.failure(), Conflict)
            assert early == Failure(Conflict(StreamId("none"), 7, 0))
            asked.clear()
            await at_once(store, [tick("new", 7, 3), tick("other", 8, 1)])
            assert len(asked) == 1, "now they are known"
            found = [await stored(store, name) for name in ("new", "other", "old", "none")]
            assert found == [[1, 1, 2, 7], [3, 8], [0, 4], []]
            feed = await store.run_async(ReadFeed())
            assert [recorded.position for recorded in feed.events] == [*range(1, 9)]

    asyncio.run(main())


def test_streams_that_another_store_makes_meanwhile_are_no_harm(postgres_dsn: str) -> None:
    async def main() -> None:
        async with (
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as store,
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as other,
        ):
            stores = [store, other]
            for turn in range(20):
                name = f"here/{turn}"
                appends = [tick(name, 0, 0), tick(name, 1, NO_STREAM), tick(f"{name}/b", 2, 0)]
                answers = await asyncio.gather(*[at_once(one, appends) for one in stores])
                told = [answer for some in answers for answer in some]
                assert sum(isinstance(answer, Success) for answer in told) == 2
                assert len(await stored(store, name)) == 1
                assert await stored(store, f"{name}/b") == [2]

    asyncio.run(main())


def test_what_is_too_large_for_one_statement_takes_several(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    monkeypatch.setattr(postgres_conversations, "LARGEST", 100)

    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await at_once(store, [tick(f"{n}", 0, 0) for n in range(4)])
            asked.clear()
            await at_once(store, [tick(f"{n}", 1, 1, of=3) for n in range(4)])
            assert len(asked) == 4
            assert [await stored(store, f"{n}") for n in range(4)] == [[0, 1, 1, 1]] * 4

    asyncio.run(main())
