"""Processes that append without a pause all get their share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import SCALE
from tests.processes.race import race

SECONDS = 5.0 if SCALE > 1 else 1.5

HOG = """
import json, sys, time
from eventsrc import Append, SqliteStore, StreamId
from tests.kits.events import CODEC, Tick
from eventsrc.sqlite import _file
path, name, seconds, size, waiting = sys.argv[1:]
if waiting == "bare":  # SQLite's own waiting in place of ours
    def lock(self, deadline):
        self._writer.execute("PRAGMA busy_timeout = 30000")
        self._writer.execute("BEGIN IMMEDIATE")
    _file.SqliteFile._begin = lock
with SqliteStore(path, CODEC, timeout=10) as store:
    print("ready", flush=True); sys.stdin.readline()
    done, worst, end = 0, 0.0, time.monotonic() + float(seconds)
    while time.monotonic() < end:
        began = time.monotonic()
        store.run(Append(StreamId(name), (Tick(done, 0, 1),) * int(size)))
        worst = max(worst, time.monotonic() - began)
        done += 1
print(json.dumps([done, worst]))
"""


def compete(path: Path, size: int, waiting: str) -> list[tuple[int, float]]:
    """Four processes append batches of a size at once.

    Answers how often each did, and its longest wait in seconds.
    """
    return race(HOG, lambda number: [str(path), f"hog/{number}", str(SECONDS), str(size), waiting])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", [1, 20])
def test_no_process_starves_and_none_waits_long(
    tmp_path: Path, size: int, figure: Callable[[str], None]
) -> None:
    shares = compete(tmp_path / "store.db", size, "ours")
    figure(f"appends of {size}, and the longest wait: {shares}")
    done = [count for count, _ in shares]
    assert min(done) >= 0.1 * sum(done) / len(done), shares
    assert max(wait for _, wait in shares) < 2.0, shares


@pytest.mark.timeout(120)
def test_control_the_waiting_of_sqlite_is_less_fair(tmp_path: Path) -> None:
    def unfairness(shares: list[tuple[int, float]]) -> float:
        return max(wait for _, wait in shares)

    bare = compete(tmp_path / "bare.db", 20, "bare")
    ours = compete(tmp_path / "ours.db", 20, "ours")
    assert unfairness(bare) > 2 * unfairness(ours), (bare, ours)
