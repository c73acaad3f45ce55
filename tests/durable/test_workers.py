"""Workers share runs, bring each forward once, and stop when they are told to."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Do,
    Interpreter,
    MemoryStore,
    NewId,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    program,
    world,
)
from eventsrc.durable import Runs
from eventsrc.durable.journal import Ended, Parked
from eventsrc.durable.work import work
from eventsrc.postgres import PostgresStore
from eventsrc.stores.operations import Unreachable
from tests.durable.service import CODEC, Booked, Clock, Mail, Outside, books

RUNS = 12


@program
def book(order: str) -> Do[Any, str]:
    yield from books.append(Booked(order, 1))
    yield from Mail(order, "booked", (yield from NewId()))
    yield from books.append(Booked(order, 2))
    return order


booking = Runs("booking", book, id=lambda order: order, codec=CODEC)


def worker(
    app: Interpreter[Any], owner: str | None, told: threading.Event, seconds: list[float]
) -> None:
    app.run(work(booking, owner=owner, lease=1.0, until=told.is_set))
    seconds.append(time.monotonic())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("shared", [True, False], ids=["by leases", "by chance"])
def test_several_workers_bring_each_run_forward_once(
    kind: str, shared: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    outside, told, ended = Outside(), threading.Event(), list[float]()
    dsn = request.getfixturevalue("postgres_dsn") if kind == "postgres" else ""

    def opened() -> Any:
        return PostgresStore(dsn, codec=CODEC) if dsn else SqliteStore(tmp_path / "s.db", CODEC)

    with opened() as one, opened() as other, SqliteViews(tmp_path / "views.db") as views:
        apps = [store | world | outside | views for store in (one, other)]
        for number in range(RUNS):
            apps[0].run(booking.start(f"{number}"))
        threads = [
            threading.Thread(target=worker, args=(app, f"w{n}" if shared else None, told, ended))
            for n, app in enumerate(apps)
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(RUNS):
                assert apps[0].run(booking.result(f"{number}", within=60)).unwrap() == f"{number}"
        finally:
            told.set()
            began = time.monotonic()
            for thread in threads:
                thread.join(30)
        assert len(ended) == 2
        assert max(ended) - began < 2.0, "they stop within two seconds"
        amounts = [(each.data.order, each.data.amount) for each in apps[0].run(books.history())]
        assert sorted(amounts) == sorted((f"{n}", amount) for n in range(RUNS) for amount in (1, 2))
        assert {mail.to for mail in outside.mailed} == {f"{n}" for n in range(RUNS)}
        assert len({mail.key for mail in outside.mailed}) == RUNS


def test_a_worker_outlives_a_store_that_is_away_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, clock, outside, away = MemoryStore(CODEC), Clock(), Outside(), 5

    def failing(op: ReadFeed) -> Do[ReadFeed, Any]:
        nonlocal away
        if away:
            away -= 1
            raise Unreachable("no route to the store")
        return (yield from op)

    app = store.around(failing, only=ReadFeed) | clock | outside
    store.run(booking.start("x"))
    has_ended = (Ended, Parked)
    entries = booking.journal("x")
    app.run(work(booking, until=lambda: isinstance(store.run(entries.history())[-1].data, has_ended)))
    assert store.run(booking.status("x")).state == "ended"
    assert away == 0
    assert [record.message.split(":")[0].split(",")[0] for record in caplog.records] == [
        "a worker of booking waits",
        "a worker of booking goes on",
    ]
