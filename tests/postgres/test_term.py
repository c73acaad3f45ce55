"""Sessions are terminated and statements cancelled at random; deadlocks; timeouts.

Passed if an append is tried again only if it is sure that it was not stored, so that nothing is lost
and nothing there twice; and if what is raised as an error is not stored.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventsrc import ANY, Append, Conflict, Head, Interpreter, Read, StoreOp, StreamId, Success
from eventsrc.postgres._conversation import Rows, Statement
from eventsrc.postgres._link import Link
from eventsrc.postgres._policy import Dialogue
from eventsrc.postgres.store import PostgresStore
from eventsrc.stores.operations import Lost, StoreBusy, StoreError, Unknown
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.proxy import Cut, Proxy
from tests.postgres.test_held import ask, is_waiting, locked
from tests.postgres.test_server import until
from tests.postgres.witness import STREAMS, Witness, at_work, outcome, wrong_with

OTHERS = b"""
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def terminate(dsn: str, is_enough: Callable[[], bool], *, kindly: bool) -> Counter[str]:
    """Ends sessions at random, or only statements, until it is enough."""
    chance = random.Random(5)
    done: Counter[str] = Counter()
    end = time.monotonic() + scaled(60)
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not is_enough():
            assert time.monotonic() < end, "it goes on, and not enough is acknowledged"
            sessions = [pid for (pid,) in connection.execute(OTHERS)]
            if sessions:
                how = "pg_cancel_backend" if kindly or chance.random() < 0.3 else "pg_terminate_backend"
                connection.execute(f"SELECT {how}(%s)".encode(), (chance.choice(sessions),))
                done[how] += 1
            time.sleep(chance.choice([0, 0.002, 0.01]))
    return done


def append_under_fire(
    dsn: str, witnesses: list[Witness], appends: int, *, kindly: bool = False
) -> tuple[list[str], Counter[str], Counter[str], int]:
    """Answers what is wrong afterwards, what was ended, what appends were told, how many were found."""
    with contextlib.ExitStack() as opened:
        stores = [opened.enter_context(PostgresStore(dsn, codec=CODEC, timeout=10)) for _ in range(2)]
        over, threads = at_work(witnesses, stores)
        try:
            is_met = "StoreBusy" if kindly else "Unknown"  # by one append at least

            def is_enough() -> bool:
                appended = sum(witness.told["Appended"] for witness in witnesses)
                return appended >= appends and any(witness.told[is_met] for witness in witnesses)

            done = terminate(dsn, is_enough, kindly=kindly)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        told = Counter[str]()
        for witness in witnesses:
            told += witness.told
        found = sum(witness.settle(stores[0]) for witness in witnesses)
        return wrong_with(witnesses, stores[0]), done, told, found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kindly", [False, True], ids=["terminated", "cancelled"])
def test_sessions_that_are_ended_at_random_lose_nothing_and_double_nothing(
    postgres_dsn: str, kindly: bool, figure: Callable[[str], None]
) -> None:
    witnesses = [Witness(number) for number in range(8)]
    wrong, done, told, found = append_under_fire(
        postgres_dsn, witnesses, scaled(300, 9_600), kindly=kindly
    )
    assert wrong == []
    if kindly:
        assert done["pg_cancel_backend"] > 0
        assert told["Unknown"] == 0, "a cancelled statement is known to have stored nothing"
        assert told["StoreBusy"] > 0
    else:
        assert done["pg_terminate_backend"] > 0
        assert told["Unknown"] > 0
    figure(f"{dict(done)}: {dict(told)}, {found} unknown ones were stored")


def tries_again(store: Interpreter[StoreOp], op: Append, told: Unknown) -> Any:
    """Appends again, as if nothing had been stored."""
    return outcome(store, Append(op.stream, op.events, ANY))


def test_control_trying_again_without_the_id_is_caught(postgres_dsn: str) -> None:
    witness = Witness(0, tries_again)
    with Proxy(postgres_dsn) as proxy, PostgresStore(proxy.dsn, codec=CODEC) as store:
        while not witness.told["Unknown"]:
            witness.append(store)
            proxy.fault = Cut(0, "client")  # the next answer is lost
        proxy.fault = None
        assert any("is stored 2 times" in sentence for sentence in wrong_with([witness], store))


# --- what is stored, and said to be not


def cut_before(store: PostgresStore, words: bytes) -> None:
    """The connection breaks just before a statement with these words."""
    policy = store._link.policy
    execute = policy.execute

    def cutting(statement: Statement, deadline: float) -> Dialogue[Rows]:
        if words in statement.sql:
            raise Lost("the connection broke")
        return (yield from execute(statement, deadline))

    policy.execute = cutting  # type: ignore[method-assign]


def test_an_append_is_acknowledged_though_that_of_another_cannot_be_answered(postgres_dsn: str) -> None:
    with (
        PostgresStore(postgres_dsn, codec=CODEC, timeout=10) as store,
        ThreadPoolExecutor() as threads,
    ):
        store.run(Append(STREAMS[0], (Tick(0, 0, 1),)))
        with locked(postgres_dsn):
            leading = threads.submit(outcome, store, Append(STREAMS[1], (Tick(1, 0, 1),)))
            until(lambda: is_waiting(postgres_dsn))
            refused = threads.submit(outcome, store, Append(STREAMS[0], (Tick(2, 0, 1),), 0))
            stored = threads.submit(outcome, store, Append(STREAMS[2], (Tick(3, 0, 1),)))
            until(lambda: len(store._line._line) == 2)  # type: ignore[union-attr]
            cut_before(store, b"version > ")
        assert not isinstance(leading.result(10), StoreError)
        assert isinstance(refused.result(10), Conflict | StoreError)
        told = stored.result(10)
        assert store.run(Head(STREAMS[2])) == 1
        assert not isinstance(told, StoreError), "an error means that nothing was stored"


def test_a_retry_of_what_is_stored_is_no_failure(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        op = Append(STREAMS[0], (Tick(0, 0, 1),), append_id=uuid4())
        assert isinstance(store.run(op), Success)
        cut_before(store, b"WHERE position >= ")
        assert not isinstance(outcome(store, op), StoreError), "an error means that nothing was stored"


# --- deadlocks and timeouts


def test_an_append_that_is_chosen_in_a_deadlock_is_not_stored(postgres_dsn: str) -> None:
    stream = StreamId("ticks/0")
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        store.run(Append(stream, (Tick(0, 0, 1),)))
    name = psycopg.conninfo.conninfo_to_dict(postgres_dsn)["dbname"]
    ask(postgres_dsn, f'ALTER DATABASE "{name}" SET deadlock_timeout = 300')
    with (
        PostgresStore(postgres_dsn, codec=CODEC, timeout=10) as store,
        psycopg.connect(postgres_dsn) as other,
        ThreadPoolExecutor() as threads,
    ):
        other.execute("SET deadlock_timeout = '60s'")
        other.execute("LOCK TABLE eventsrc.event IN SHARE MODE")
        append = threads.submit(outcome, store, Append(stream, (Tick(1, 0, 1),), append_id=uuid4()))
        until(lambda: bool(ask(postgres_dsn, "SELECT 1 FROM pg_locks WHERE NOT granted")))
        lock = ask(postgres_dsn, "SELECT objid, classid FROM pg_locks WHERE locktype = 'advisory'")
        (number,) = [(high << 32) + low for low, high in lock]
        number -= 2**64 if number >= 2**63 else 0
        other.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
        told = append.result(10)
        assert isinstance(told, StoreBusy)
        assert "40P01" in str(told)
        other.commit()
        assert store.run(Head(stream)) == 1
        assert store.run(Append(stream, (Tick(1, 0, 1),), 1)).unwrap().version == 2


def test_reads_and_appends_that_take_too_long_are_told_so_and_end(postgres_dsn: str) -> None:
    with (
        PostgresStore(postgres_dsn, codec=CODEC, timeout=0.3) as store,
        psycopg.connect(postgres_dsn) as other,
    ):
        store.run(Append(STREAMS[0], (Tick(0, 0, 1),)))
        other.execute("LOCK TABLE eventsrc.event IN ACCESS EXCLUSIVE MODE")
        for op in (Read(STREAMS[0]), Head(STREAMS[0]), Append(STREAMS[0], (Tick(1, 0, 1),))):
            began = time.monotonic()
            with pytest.raises(StoreBusy):
                store.run(op)
            assert 0.3 <= time.monotonic() - began < 0.8
        other.rollback()
        assert store.run(Head(STREAMS[0])) == 1


def test_a_transaction_that_is_idle_for_too_long_is_lost_and_stores_nothing(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        link = Link(postgres_dsn, 0.2)

        def rest_in_a_transaction() -> None:
            with link.transaction() as session:
                connection = session.connection
                store.within(connection).run(Append(STREAMS[0], (Tick(0, 0, 1),))).unwrap()
                time.sleep(0.6)
                connection.execute("SELECT 1")

        with pytest.raises(Lost, match="25P03"):
            rest_in_a_transaction()
        link.close()
        assert store.run(Head(STREAMS[0])) == 0


@pytest.mark.parametrize("keyed", [False, True], ids=["lean", "keyed"])
def test_an_append_that_cannot_be_serialized_is_not_stored(postgres_dsn: str, keyed: bool) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        store.run(Append(STREAMS[0], (Tick(0, 0, 1),)))
        body = "BEGIN RAISE EXCEPTION USING errcode = '40001'; END"
        with psycopg.connect(postgres_dsn) as db:
            db.execute(
                f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $${body}$$".encode()
            )
            db.execute("CREATE TRIGGER fail AFTER INSERT ON eventsrc.event EXECUTE FUNCTION fail()")
        op = Append(STREAMS[0], (Tick(1, 0, 1),), append_id=uuid4() if keyed else None)
        with pytest.raises(StoreBusy, match="40001"):
            store.run(op)
        ask(postgres_dsn, "DROP TRIGGER fail ON eventsrc.event")
        assert store.run(Head(STREAMS[0])) == 1
        assert store.run(op).unwrap().version == 2
