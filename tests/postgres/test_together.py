"""Appends of a group share a statement, whether their streams are known, new, or others' by now."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventsrc import (
    ANY,
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
from eventsrc.postgres import _questions
from eventsrc.postgres._conversation import Rows, Statement
from eventsrc.postgres._policy import Connections, Dialogue
from eventsrc.postgres.store import AsyncPostgresStore
from eventsrc.stores.operations import Expected, StoreBusy, StoreFull, Unknown
from tests.kits.events import CODEC, Tick
from tests.postgres.test_conflicts import asked, at_once

__all__ = ["asked"]


def tick(name: str, number: int, expected: Expected, of: int = 1, key: UUID | None = None) -> Append:
    return Append(StreamId(name), tuple(Tick(number, n, of) for n in range(of)), expected, key)


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
    monkeypatch.setattr(_questions, "LARGEST", 100)

    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await at_once(store, [tick(f"{n}", 0, 0) for n in range(4)])
            asked.clear()
            await at_once(store, [tick(f"{n}", 1, 1, of=3) for n in range(4)])
            assert len(asked) == 4
            assert [await stored(store, f"{n}") for n in range(4)] == [[0, 1, 1, 1]] * 4

    asyncio.run(main())


# --- one of them fails


def on_insert(dsn: str, batch: int, does: str) -> None:
    """Has the server do something when an event of a batch is stored."""
    with psycopg.connect(dsn) as db:
        db.execute(
            f"""
            CREATE FUNCTION does() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF convert_from(NEW.data, 'UTF8')::json ->> 'batch' = '{batch}' THEN {does}; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER does BEFORE INSERT ON eventsrc.event FOR EACH ROW EXECUTE FUNCTION does();
            """.encode()
        )


async def told(store: AsyncPostgresStore, appends: list[Append]) -> list[Any]:
    """What appends are told that come at once, or what they raise."""
    running = [store.run_async(append) for append in appends]
    return await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("keyed", [False, True], ids=["lean", "keyed"])
def test_one_that_finds_no_room_is_told_so_and_no_other(postgres_dsn: str, keyed: bool) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            on_insert(postgres_dsn, 4, "RAISE EXCEPTION 'no room' USING ERRCODE = '53100'")
            appends = [tick(f"{n}", n, 0, key=uuid4() if keyed else None) for n in range(8)]
            answers = await told(store, appends)
            assert isinstance(answers.pop(4), StoreFull)
            assert all(isinstance(answer, Success) for answer in answers)
            feed = await store.run_async(ReadFeed())
            assert [recorded.data.batch for recorded in feed.events] == [0, 1, 2, 3, 5, 6, 7]

    asyncio.run(main())


def test_a_large_one_that_takes_too_long_costs_the_others_nothing(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_questions, "LIGHT", 100)

    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC, timeout=1) as store:
            on_insert(postgres_dsn, 0, "PERFORM pg_sleep(0.7)")
            large, *small = await told(store, [tick("0", 0, 0, of=9), tick("1", 1, 0), tick("2", 2, 0)])
            assert isinstance(large, StoreBusy)
            assert all(isinstance(answer, Success) for answer in small)
            assert await stored(store, "0") == []

    asyncio.run(main())


class Interruption(Exception):
    """What the handler of a signal raises."""


@pytest.mark.parametrize("keyed", [False, True], ids=["lean", "keyed"])
@pytest.mark.parametrize("is_sent", [False, True], ids=["before", "after"])
def test_an_interruption_is_that_of_one_and_stores_nothing_twice(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, keyed: bool, is_sent: bool
) -> None:
    execute = Connections.execute
    left = [Interruption()]

    def interrupted(policy: Connections, asked: Statement, deadline: float) -> Dialogue[Rows]:
        if b".append" not in asked.sql or not left:
            return (yield from execute(policy, asked, deadline))
        if is_sent:
            yield from execute(policy, asked, deadline)
        raise left.pop()

    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            monkeypatch.setattr(Connections, "execute", interrupted)
            appends = [tick(f"{n}", n, ANY, key=uuid4() if keyed else None) for n in range(4)]
            first, *others = await told(store, appends)
            assert isinstance(first, Interruption)
            unknown = [other.failure() for other in others]
            assert all(isinstance(one, Unknown) for one in unknown)
            for n, one in enumerate(unknown, 1):
                again = await store.run_async(tick(f"{n}", n, ANY, key=one.append_id))
                assert isinstance(again, Success)
            found = [await stored(store, f"{n}") for n in range(4)]
            assert found == [[0] if is_sent else [], [1], [2], [3]]

    asyncio.run(main())
