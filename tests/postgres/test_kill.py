"""The process that appends to a Postgres store is killed at any moment.

Passed if nothing that was acknowledged is lost, no batch is half there, and a second after a kill no
session is left in a transaction.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from eventsrc.postgres.store import PostgresStore
from tests.faults import scaled
from tests.faults.test_kill import Wreck
from tests.kits.events import CODEC, Tick
from tests.kits.feed import whole_feed
from tests.kits.pages import ROOT
from tests.postgres.test_server import until

IN_TRANSACTION = (
    b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    b"AND pid <> pg_backend_pid() AND (xact_start IS NOT NULL OR state LIKE 'idle in transaction%')"
)


MOST = 1_000
"""How many kills there are at most, if chance is against what is looked for."""


def kill_writers(dsn: str, kills: int, *broken: str) -> Wreck:
    """Starts a writer, kills it 0 to 20 ms after its first acknowledgement, and again.

    It goes on until one kill at least was inside a transaction. Broken, it is killed until something is
    lost or half, at most so often.
    """
    chance = random.Random(17)
    wreck = Wreck()
    command = [sys.executable, "-m", "tests.processes.postgres.nursery", dsn, *broken]
    pipe = subprocess.PIPE
    with (
        psycopg.connect(dsn, autocommit=True) as connection,
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as nursery,
    ):

        def nobody_is_in_a_transaction() -> bool:
            return connection.execute(IN_TRANSACTION).fetchone() == (0,)

        assert nursery.stdin is not None
        assert nursery.stdout is not None
        inside = 0
        for seed in range(MOST):
            print(seed, file=nursery.stdin, flush=True)
            lines = [nursery.stdout.readline() for _ in range(2)]  # its id and an acknowledgement
            (line,) = [line for line in lines if line.startswith("pid")]
            time.sleep(chance.uniform(0, 0.02))
            os.kill(int(line.split()[1]), signal.SIGKILL)
            wreck.kills += 1
            inside += not nobody_is_in_a_transaction()
            while lines[-1] != "dead\n":
                lines.append(nursery.stdout.readline())
            until(nobody_is_in_a_transaction, 1)
            wreck.acknowledged |= {int(line) for line in lines if line.strip().isdigit()}
            if broken and seed % 10 == 9:
                examine(dsn, wreck)
                if wreck.lost or wreck.half:
                    return wreck
            if wreck.kills >= kills and inside:
                break
        nursery.stdin.close()
    assert inside, "no transaction was under way at any of the kills"
    examine(dsn, wreck)
    return wreck


def examine(dsn: str, wreck: Wreck) -> None:
    """Reads the whole feed: positions dense, versions contiguous."""
    versions: Counter[str] = Counter()
    wreck.stored.clear()
    with PostgresStore(dsn, codec=CODEC) as store:
        for position, recorded in enumerate(whole_feed(store), 1):
            tick: Tick = recorded.data
            versions[recorded.stream] += 1
            assert (recorded.position, recorded.version) == (position, versions[recorded.stream])
            wreck.stored[tick.batch] += 1
            wreck.sizes[tick.batch] = tick.of


@pytest.mark.timeout(600)
def test_what_was_acknowledged_survives_a_kill_and_no_batch_is_half(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    kills = scaled(12, 400)
    wreck = kill_writers(postgres_dsn, kills)
    assert len(wreck.acknowledged) >= kills
    assert wreck.lost == set()
    assert wreck.half == set()
    in_flight = wreck.stored.keys() - wreck.acknowledged
    assert len(in_flight) <= wreck.kills, "at most one batch at each kill"
    figure(f"{wreck.kills} kills, {len(wreck.acknowledged)} batches acknowledged")


@pytest.mark.timeout(600)
def test_control_a_writer_that_acknowledges_before_the_commit_is_caught(postgres_dsn: str) -> None:
    assert kill_writers(postgres_dsn, MOST, "--early").lost


@pytest.mark.timeout(600)
def test_control_a_writer_that_commits_one_event_at_a_time_is_caught(postgres_dsn: str) -> None:
    assert kill_writers(postgres_dsn, MOST, "--one-by-one").half
