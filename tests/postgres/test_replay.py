"""Many events of a Postgres store are replayed in little memory.

Passed if a replay of a million events takes less than 50 MiB more than a page does, with at least
50 000 events a second undecoded and 20 000 decoded; of the hundred thousand of every commit, 20 MiB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventsrc import Append, StreamId, Success
from eventsrc.postgres.store import PostgresStore
from eventsrc.testing.postgres import PostgresServer
from tests.faults import SCALE
from tests.faults.test_replay import EVENTS, MOST
from tests.kits.events import CODEC, Tick
from tests.kits.pages import ROOT

LEAST = {"feed": 50_000, "loop": 50_000, "decoded": 20_000, "fold": 20_000}
"""Events per second, for the longer tier."""

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="there is no /proc to measure memory with"
    ),
]


@pytest.fixture(scope="module")
def dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A store of many events in one stream."""
    dsn = postgres_server.create_database()
    with PostgresStore(dsn, codec=CODEC, timeout=60) as store:
        for batch in range(EVENTS // 10_000):
            ticks = tuple(Tick(batch, number, 1) for number in range(10_000))
            assert isinstance(store.run(Append(StreamId("ticks"), ticks)), Success)
    yield dsn
    postgres_server.drop_database(dsn)


def replay(dsn: str, how: str) -> tuple[float, float]:
    """Reads all events in a process of its own; answers events per second and extra MiB."""
    command = [sys.executable, "-m", "tests.processes.postgres.reader", dsn, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, seconds, extra = json.loads(done.stdout)
    assert count == EVENTS
    return count / seconds, extra


@pytest.mark.parametrize("how", LEAST)
def test_many_events_are_replayed_in_little_memory(
    dsn: str, how: str, figure: Callable[[str], None]
) -> None:
    speed, extra = replay(dsn, how)
    figure(f"{EVENTS} events, {speed:.0f} a second, {extra:.1f} MiB more")
    assert extra < MOST
    if SCALE >= 10:
        assert speed >= LEAST[how]


def test_control_reading_everything_at_once_is_caught(dsn: str) -> None:
    _, extra = replay(dsn, "everything")
    assert extra > MOST
