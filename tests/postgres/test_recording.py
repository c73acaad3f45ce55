"""Runs on Postgres, in threads and in an event loop, are recorded and replayed without it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eventsrc import MemoryStore, world
from eventsrc.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.recording import RunFile, recording
from eventsrc.testing.replay import replay
from tests.kits.bank import KNOWN, Banking, bank, deposit, history, pay_all, sum_of

RUNS = (
    deposit("homer", 100),
    pay_all("homer", ["marge", "bart"], 40),
    sum_of(["homer", "marge"]),
    history("homer"),
)


def test_runs_in_a_thread_and_in_a_loop(postgres_dsn: str, tmp_path: Path) -> None:
    async def in_a_loop(runs: RunFile) -> None:
        async with AsyncPostgresStore(postgres_dsn) as store:
            below = store | world
            app = recording(Banking().into(below) | below, runs)
            for each in RUNS:
                await app.run_async(each)

    with RunFile(tmp_path / "runs.jsonl") as runs:
        with PostgresStore(postgres_dsn) as store:
            app = recording(bank(store), runs)
            for each in RUNS:
                app.run(each)
        asyncio.run(in_a_loop(runs))
    replayed = replay(tmp_path / "runs.jsonl", bank(MemoryStore()), known=KNOWN)
    replayed.check()
    assert len(replayed.runs) == 2 * len(RUNS)
