"""Many append to the same streams of a Postgres store, and others read.

Passed if the checker of histories finds no violation, if unconditional appends leave stored just what
was acknowledged, and if what a reader sees is always how the stream begins, and never becomes less: by
threads of one store, by those of two, whose remembered heads go stale, by processes, and by tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

from eventsrc import Append, Failure
from eventsrc.events.record import Corrupted
from eventsrc.postgres._questions import Questions
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from eventsrc.stores.operations import StoreError, Unknown
from eventsrc.testing._contract.history import check_reads
from tests.faults import SCALE, scaled
from tests.faults.test_contention import DEADLINE, at_once, ids, together, watch, wrong_with
from tests.kits.events import CODEC, Tick
from tests.postgres.test_held import ask
from tests.postgres.transactions import in_scripts
from tests.processes.contender import HOT, Contender, Kind, Notes
from tests.processes.forked import Forked
from tests.processes.postgres.contender import contend, main

Contend = Callable[[str, int, Kind, int], Notes]


def by_threads_of(stores: int) -> Contend:
    """16 threads of one store, or of several, each of which believes in the heads that it has seen."""

    def by_threads(dsn: str, appends: int, kind: Kind, seed: int) -> Notes:
        contenders = [Contender(100 * seed + number, kind) for number in range(16)]
        with contextlib.ExitStack() as opened:
            used = [
                opened.enter_context(PostgresStore(dsn, codec=CODEC, timeout=30)) for _ in range(stores)
            ]
            at_once(
                *[
                    lambda one=one, n=n: one.contend(used[n % stores], appends // 16)
                    for n, one in enumerate(contenders)
                ]
            )
        return together([one.notes for one in contenders])

    by_threads.__name__ = f"by_threads_of_{stores}"
    return by_threads


def by_tasks(dsn: str, appends: int, kind: Kind, seed: int) -> Notes:
    """16 tasks of two stores."""

    async def everybody() -> list[Notes]:
        async with (
            AsyncPostgresStore(dsn, codec=CODEC, timeout=30) as one,
            AsyncPostgresStore(dsn, codec=CODEC, timeout=30) as two,
        ):
            contenders = [Contender(100 * seed + number, kind) for number in range(16)]
            tasks = [
                contend((one, two)[n % 2], each, appends // 16) for n, each in enumerate(contenders)
            ]
            return await asyncio.gather(*tasks)

    return together(asyncio.run(everybody()))


def by_processes(dsn: str, appends: int, kind: Kind, seed: int) -> Notes:
    """4 processes."""
    with contextlib.ExitStack() as stack:
        running: list[Forked] = []
        for number in range(4):
            asked = [dsn, str(100 * seed + number), str(appends // 4), kind]
            running.append(stack.enter_context(Forked(main, *asked)))
        for process in running:
            assert process.stdout.readline() == b"ready\n"
        for process in running:
            process.stdin.write(b"go\n")
        return together([pickle.loads(one.stdout.readall()) for one in running])


CONTEND = [by_threads_of(1), by_threads_of(2), by_tasks, by_processes]


def wrong_after(notes: Notes, dsn: str) -> list[str]:
    with PostgresStore(dsn, codec=CODEC) as store:
        return wrong_with(notes, store)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("contend", CONTEND, ids=lambda contend: contend.__name__)
@pytest.mark.parametrize("kind", ["exact", "any"])
@pytest.mark.parametrize("seed", [1, 2, 3] if SCALE > 1 else [1])
def test_appends_are_linearizable(
    postgres_dsn: str, contend: Contend, kind: Kind, seed: int, figure: Callable[[str], None]
) -> None:
    notes = contend(postgres_dsn, scaled(200, 24_000), kind, seed)
    assert wrong_after(notes, postgres_dsn) == []
    figure(f"{notes.operations} operations")


END_ONE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
    "AND datname = current_database() ORDER BY random() LIMIT 1"
)


class Unlucky:
    """A store whose sessions are ended now and then; it tries again until it is told something."""

    _ending = threading.Lock()
    """Or else they would end each other's sessions that end sessions."""

    def __init__(self, store: PostgresStore, dsn: str, seed: int) -> None:
        self._store = store
        self._dsn = dsn
        self._chance = random.Random(seed)
        self.unknown = 0

    def run(self, op: Any) -> Any:
        if self._chance.random() < 0.02:
            with self._ending:
                ask(self._dsn, END_ONE)
        while True:
            try:
                answer: Any = self._store.run(op)
            except StoreError:
                continue  # nothing is stored
            match answer:
                case Failure(Unknown(append_id)):
                    op = Append(op.stream, op.events, op.expected, append_id)
                    self.unknown += 1
                case _:
                    return answer


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["exact", "any"])
def test_appends_are_linearizable_though_sessions_end(
    postgres_dsn: str, kind: Kind, figure: Callable[[str], None]
) -> None:
    with (
        PostgresStore(postgres_dsn, codec=CODEC, timeout=30) as one,
        PostgresStore(postgres_dsn, codec=CODEC, timeout=30) as two,
    ):
        contenders = [Contender(number, kind) for number in range(8)]
        stores: list[Any] = [
            Unlucky((one, two)[number % 2], postgres_dsn, number) for number in range(8)
        ]
        for turn in range(1, 21):  # until it has happened
            at_once(
                *[
                    partial(each.contend, store, turn * scaled(400, 24_000) // 8)
                    for each, store in zip(contenders, stores, strict=True)
                ]
            )
            if any(store.unknown for store in stores):
                break
        notes = together([each.notes for each in contenders])
        assert wrong_with(notes, one) == []
    unknown = sum(store.unknown for store in stores)
    assert unknown > 0
    figure(f"{notes.operations} operations, {unknown} unknown at first")


def test_control_heads_that_nothing_checks_are_caught(postgres_dsn: str) -> None:
    PostgresStore(postgres_dsn, codec=CODEC).close()
    ask(postgres_dsn, "ALTER TABLE eventsrc.event DROP CONSTRAINT event_stream_version_key")
    ask(postgres_dsn, "CREATE INDEX ON eventsrc.event (stream, version)")
    try:
        wrong = wrong_after(by_threads_of(2)(postgres_dsn, 800, "exact", 1), postgres_dsn)
    except Corrupted as error:  # a contender may be the first to see it
        wrong = [str(error)]
    assert wrong != []


# --- unconditional appends


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stores", [1, 2])
def test_parallel_appends_at_any_version_are_all_stored(postgres_dsn: str, stores: int) -> None:
    rounds, turn = scaled(40), threading.Barrier(20)
    acknowledged: list[tuple[int, int, int]] = []
    with contextlib.ExitStack() as opened:
        used = [opened.enter_context(PostgresStore(postgres_dsn, codec=CODEC)) for _ in range(stores)]

        def append(writer: int) -> None:
            for number in range(rounds):
                turn.wait(DEADLINE)
                answer = used[writer % stores].run(Append(HOT, (Tick(writer, number, 1),)))
                acknowledged.append((answer.unwrap().version, writer, number))

        at_once(*[lambda writer=writer: append(writer) for writer in range(20)])
        stored = [(version, *one) for version, one in enumerate(ids(used[0], HOT), 1)]
    assert sorted(acknowledged) == stored
    assert len(stored) == 20 * rounds


def test_control_rows_that_are_dropped_in_silence_are_caught(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = "AS came (stream, version, kind, data, crc, rest, n);"
    in_scripts(monkeypatch, last, f"{last[:-1]} ON CONFLICT DO NOTHING;")

    def never(*_: object) -> Generator[Any, Any, None]:
        yield from ()

    monkeypatch.setattr(Questions, "_append_alone", never)
    notes = by_threads_of(2)(postgres_dsn, 800, "any", 1)
    assert any("were acknowledged" in wrong for wrong in wrong_after(notes, postgres_dsn))


# --- readers


@pytest.mark.timeout(600)
def test_a_reader_sees_the_beginning_of_what_others_append(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    noted: list[Notes] = []
    seen: list[list[tuple[int, int]]] = []
    contending = threading.Thread(
        target=lambda: noted.append(by_threads_of(2)(postgres_dsn, scaled(800), "any", 1))
    )
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        contending.start()
        seen = watch(store, lambda: not contending.is_alive())
        contending.join()
        assert check_reads(seen, ids(store, HOT)) == []
        assert wrong_with(noted[0], store) == []
    assert len({len(read) for read in seen}) > 5, "it was read while it grew"
    figure(f"{len(seen)} reads")
