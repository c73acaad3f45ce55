"""Ids of appends cost no search of the feed, whoever made them: Postgres touches a few rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import methodcaller
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventsrc import Append, AppendAll, StreamAppend, StreamId
from eventsrc.postgres import _sql
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from eventsrc.stores.operations import Appended, FindAppend
from eventsrc.stores.prepare import new_append_id
from tests.formats.modules import HERE
from tests.kits.events import CODEC, Tick
from tests.sqlite.test_ids import FORGED

LOG, MINE, OURS = StreamId("log"), StreamId("mine"), StreamId("ours")
MANY = 20_000
MOST = _sql.REACH + 50
"""Rows of events: how far a store looks behind the place that an id names, and a few."""

TOUCHED = """
    SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)
    FROM pg_stat_xact_user_tables WHERE schemaname = 'eventsrc' AND relname IN ('event', 'append')
"""


def tick(stream: StreamId, number: int = 0, count: int = 1, **more: Any) -> Append:
    return Append(stream, tuple(Tick(number, n, count) for n in range(count)), **more)


def fill(dsn: str, count: int) -> None:
    """Stores events with another store than the one under test."""
    with PostgresStore(dsn, codec=CODEC) as other:
        for _ in range(0, count, 1000):
            other.run(tick(LOG, count=min(count, 1000))).unwrap()


def touched(store: PostgresStore, dsn: str, act: Callable[[PostgresStore], object]) -> int:
    """How many rows Postgres looks at for something that is done in a transaction."""
    with psycopg.connect(dsn) as connection:
        joined = store.within(connection)
        joined.run(FindAppend(uuid4()))  # whatever is asked once in a transaction
        before = connection.execute(TOUCHED).fetchone()
        act(joined)
        after = connection.execute(TOUCHED).fetchone()
    assert before is not None
    assert after is not None
    return int(after[0] - before[0])


@pytest.mark.parametrize("chosen", FORGED.values(), ids=FORGED)
def test_an_id_that_a_client_chose_costs_no_search(postgres_dsn: str, chosen: UUID) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        store.run(tick(MINE)).unwrap()
        fill(postgres_dsn, MANY)
        asked = tick(MINE, append_id=chosen)
        assert touched(store, postgres_dsn, lambda joined: joined.run(FindAppend(chosen))) < MOST
        for _ in range(2):
            assert touched(store, postgres_dsn, lambda joined: joined.run(asked).unwrap()) < MOST
        assert touched(store, postgres_dsn, lambda joined: joined.run(FindAppend(chosen))) < MOST


def test_an_id_that_the_store_made_costs_a_few_rows(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        answer = store.run(tick(MINE)).unwrap()
        fill(postgres_dsn, MANY)
        never = store._questions._ids.naming(new_append_id(), 7)  # of an append that was not stored
        for append_id, expected in ((answer.append_id, answer), (never, None)):
            ask = FindAppend(append_id)
            assert store.run(ask) == expected
            assert touched(store, postgres_dsn, methodcaller("run", ask)) < MOST
        retry = tick(MINE, append_id=answer.append_id)
        assert touched(store, postgres_dsn, lambda joined: joined.run(retry).unwrap()) < MOST


def test_control_a_search_of_the_feed_is_seen(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching = _sql.FIND_OWN.replace("BETWEEN %s AND %s", "> 0 * (%s + %s)")
    assert searching != _sql.FIND_OWN
    monkeypatch.setattr(_sql, "FIND_OWN", searching)
    fill(postgres_dsn, MANY)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        ask = FindAppend(new_append_id())
        assert touched(store, postgres_dsn, lambda joined: joined.run(ask)) >= MANY


# --- appends whose places are not those that were foretold


def alone(dsn: str) -> list[tuple[Appended, Appended | None]]:
    """Appends before others, just behind a few of them, and far behind; and what is found of each."""
    with PostgresStore(dsn, codec=CODEC) as store:
        answers = [store.run(tick(MINE)).unwrap(), store.run(tick(MINE)).unwrap()]
        fill(dsn, 10)
        answers.append(store.run(tick(MINE)).unwrap())
        fill(dsn, 1000)
        answers.append(store.run(tick(MINE)).unwrap())
        return [(answer, store.run(FindAppend(answer.append_id))) for answer in answers]


def together(dsn: str) -> list[tuple[Appended, Appended | None]]:
    """As `alone`, of appends that share a statement."""

    async def main() -> list[tuple[Appended, Appended | None]]:
        async with AsyncPostgresStore(dsn, codec=CODEC) as store:
            streams = [StreamId(f"{MINE}/{n}") for n in range(5)]
            answers: list[Any] = []
            for before in (0, 10, 1000):
                if before:
                    await asyncio.to_thread(fill, dsn, before)
                several = [store.run_async(tick(stream, count=2)) for stream in streams]
                answers += [answer.unwrap() for answer in await asyncio.gather(*several)]
            return [(answer, await store.run_async(FindAppend(answer.append_id))) for answer in answers]

    return asyncio.run(main())


def by_the_function(dsn: str) -> list[tuple[Appended, Appended | None]]:
    """As `alone`, of appends to several streams."""
    with PostgresStore(dsn, codec=CODEC) as store:
        both = AppendAll(tuple(StreamAppend(each, (Tick(0, 0, 1),)) for each in (MINE, OURS)))
        answers = [store.run(both).unwrap()]
        fill(dsn, 10)
        answers.append(store.run(both).unwrap())
        fill(dsn, 1000)
        answers.append(store.run(both).unwrap())
        return [(answer, store.run(FindAppend(answer.append_id))) for answer in answers]


WAYS = pytest.mark.parametrize("way", [alone, together, by_the_function])


def indexed(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT FROM eventsrc.append").rowcount


@WAYS
def test_ids_are_found_however_many_others_were_faster(
    postgres_dsn: str, way: Callable[[str], list[tuple[Appended, Appended | None]]]
) -> None:
    found = way(postgres_dsn)
    assert [answer for answer, _ in found] == [again for _, again in found]
    assert indexed(postgres_dsn) == (5 if way is together else 1)  # those that are far behind


@WAYS
def test_control_without_the_index_some_are_not_found(
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[str], list[tuple[Appended, Appended | None]]],
) -> None:
    def forgetting(sql: str) -> str:
        for test in ("NOT place BETWEEN", "NOT place + 1 BETWEEN", "NOT began BETWEEN"):
            sql = sql.replace(test, f"false AND {test}")
        return sql

    monkeypatch.setattr(_sql, "SCRIPTS", tuple(map(forgetting, _sql.SCRIPTS)))
    found = way(postgres_dsn)
    assert [answer for answer, _ in found] != [again for _, again in found]
    assert indexed(postgres_dsn) == 0


def test_ids_do_not_tell_how_much_others_store(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        answers = [store.run(tick(MINE)).unwrap() for _ in range(2)]
        ids = store._questions._ids
        places = [answer.cursor.position for answer in answers]
        assert [ids.position(answer.append_id) for answer in answers] == places
        assert not {answer.append_id.int >> 80 for answer in answers} & {0, *places}


def test_ids_that_were_made_before_there_was_a_key_are_found(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute((HERE / "postgres.sql").read_bytes())
        rows = connection.execute("SELECT substring(rest FOR 20), position FROM eventsrc.event")
        firsts = {UUID(bytes=rest[:16]): place for rest, place in rows if rest[16:] == bytes(4)}
        keyed = {id for (id,) in connection.execute("SELECT id FROM eventsrc.append")}
    assert len([id for id in firsts if id.bytes not in keyed]) > 3
    with PostgresStore(postgres_dsn) as store:
        for id in firsts:
            found = store.run(FindAppend(id))
            assert found is not None
            assert found.append_id == id
            assert found.cursor.position >= firsts[id]
