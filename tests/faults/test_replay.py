"""Many events are replayed in little memory.

Passed if a replay of a million events takes less than 50 MiB more than a page does, with at least
50 000 events a second undecoded and 20 000 decoded; of the 60 000 of every commit, 20 MiB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eventsrc import Append, SqliteStore, StreamId, Success
from tests.faults import SCALE, scaled
from tests.kits.events import CODEC, Tick
from tests.kits.pages import ROOT

EVENTS = scaled(6, 100) * 10_000
MOST = 50.0 if EVENTS > 100_000 else 20.0
LEAST = {"feed": 50_000, "decoded": 20_000, "fold": 20_000}
"""Events per second, for the longer tier."""

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="there is no /proc to measure memory with"
    ),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many events in one stream."""
    path = tmp_path_factory.mktemp("replay") / "store.db"
    with SqliteStore(path, CODEC, durability="process") as store:
        for batch in range(EVENTS // 10_000):
            ticks = tuple(Tick(batch, number, 1) for number in range(10_000))
            assert isinstance(store.run(Append(StreamId("ticks"), ticks)), Success)
    return path


def replay(path: Path, how: str) -> tuple[float, float]:
    """Reads all events in a process of its own; answers events per second and extra MiB."""
    command = [sys.executable, "-m", "tests.processes.reader", str(path), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, seconds, extra = json.loads(done.stdout)
    assert count == EVENTS
    return count / seconds, extra


@pytest.mark.parametrize("how", LEAST)
def test_many_events_are_replayed_in_little_memory(
    path: Path, how: str, figure: Callable[[str], None]
) -> None:
    speed, extra = replay(path, how)
    figure(f"{EVENTS} events, {speed:.0f} a second, {extra:.1f} MiB more")
    assert extra < MOST
    if SCALE >= 10:
        assert speed >= LEAST[how]


def test_control_reading_everything_at_once_is_caught(path: Path) -> None:
    _, extra = replay(path, "everything")
    assert extra > MOST
