"""An append to many streams takes Postgres as much longer as there are more of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from eventsrc import AppendAll, Codec, StreamAppend, StreamId, event
from eventsrc.events.event import EventTypes
from eventsrc.postgres import PostgresStore
from eventsrc.stores.operations import Condition

TYPES = EventTypes()
FEW = 200
MOST = 7.0
"""How many times as long four times the streams may take: four is in proportion, 16 by the square."""


@event("test.many.said", types=TYPES)
class Said:
    """An event that is not small: what is copied again for each stream shows."""

    text: str


SAID = Said("x" * 4096)


@pytest.fixture
def store(postgres_dsn: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(postgres_dsn, codec=Codec(TYPES), timeout=100)) as store:
        yield store


def seconds(store: PostgresStore, count: int, *, keyed: bool) -> float:
    """The time that an append to so many new streams takes, on so many conditions."""
    family = uuid4().hex
    parts = tuple(StreamAppend(StreamId(f"{family}/{n}"), (SAID,), 0) for n in range(count))
    conditions = tuple(Condition(StreamId(f"{family}/not/{n}"), 0) for n in range(count))
    op = AppendAll(parts, conditions, uuid4() if keyed else None)
    began = time.perf_counter()
    store.run(op).unwrap()
    return time.perf_counter() - began


def ratio(store: PostgresStore, *, keyed: bool = False) -> float:
    """How many times as long four times the streams take, each at its best."""
    few, many = (min(seconds(store, count, keyed=keyed) for _ in range(2)) for count in (FEW, 4 * FEW))
    return many / few


def alter(dsn: str, change: str) -> None:
    """Changes a setting of the function that appends."""
    with psycopg.connect(dsn) as connection:
        ((function,),) = connection.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'append'"
        ).fetchall()
        query = sql.SQL(f"ALTER FUNCTION {function} {change}")
        connection.execute(query)


@pytest.mark.parametrize("keyed", [False, True])
def test_four_times_the_streams_take_about_four_times_as_long(
    store: PostgresStore, keyed: bool
) -> None:
    tries = (ratio(store, keyed=keyed) for _ in range(3))
    assert any(each < MOST for each in tries), "others may have had the machine, but not each time"


def test_control_plans_that_copy_all_events_for_each_stream_are_caught(
    store: PostgresStore, postgres_dsn: str
) -> None:
    alter(postgres_dsn, "SET plan_cache_mode = force_custom_plan")
    assert any(ratio(store) > MOST for _ in range(4)), "others may have had the machine"


@pytest.mark.parametrize("is_sound", [True, pytest.param(False, id="control: a plan for few rows")])
def test_streams_are_found_by_the_index_also_if_there_were_few_when_postgres_counted(
    store: PostgresStore, postgres_dsn: str, is_sound: bool
) -> None:
    seconds(store, 10, keyed=False)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("ANALYZE eventsrc.stream, eventsrc.event")
        if not is_sound:
            alter(postgres_dsn, "RESET enable_seqscan")
        for _ in range(2):
            seconds(store, FEW, keyed=False)
    store.close()  # by when Postgres has counted all that it did
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        query = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'stream'"
        ((looked_at,),) = connection.execute(query).fetchall()
        assert (looked_at < 2000) == is_sound, looked_at
