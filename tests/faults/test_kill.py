"""The process that writes to a SQLite store is killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from eventsrc import START, ReadFeed, SqliteStore
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.processes.forked import Forked
from tests.processes.writer import main


@attrs.define
class Wreck:
    """What was found after the kills."""

    kills: int = 0
    acknowledged: set[int] = attrs.field(factory=set[int])
    stored: Counter[int] = attrs.field(factory=Counter[int])
    sizes: dict[int, int] = attrs.field(factory=dict[int, int])

    @property
    def lost(self) -> set[int]:
        return self.acknowledged - self.stored.keys()

    @property
    def half(self) -> set[int]:
        return {batch for batch, count in self.stored.items() if count != self.sizes[batch]}


def kill_writers(path: Path, kills: int, *broken: str) -> Wreck:
    """Starts a writer, kills it 0 to 20 ms after its first acknowledgement, and again.

    Broken, it is killed until something is lost or half, at most so often.
    """
    chance = random.Random(17)
    wreck = Wreck()
    for seed in range(kills):
        with Forked(main, str(path), str(seed), *broken) as writer:
            lines = [writer.stdout.readline()]
            time.sleep(chance.uniform(0, 0.02))
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.readall().splitlines(keepends=True)
        wreck.acknowledged |= {int(line) for line in lines if line.endswith(b"\n")}
        if broken and seed % 5 == 4:
            examine(path, wreck)
            if wreck.lost or wreck.half:
                return wreck
    examine(path, wreck)
    return wreck


def examine(path: Path, wreck: Wreck) -> None:
    """Reads the whole feed: positions dense, versions contiguous, the file sound."""
    versions: Counter[str] = Counter()
    wreck.stored.clear()
    with SqliteStore(path, CODEC) as store:
        cursor = START
        while True:
            page = store.run(ReadFeed(cursor, 1000))
            for recorded in page.events:
                tick: Tick = recorded.data
                versions[recorded.stream] += 1
                assert recorded.version == versions[recorded.stream]
                wreck.stored[tick.batch] += 1
                wreck.sizes[tick.batch] = tick.of
            if page.next == cursor:
                break
            cursor = page.next
    assert cursor.position == sum(versions.values())
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.timeout(1800)
def test_what_was_acknowledged_survives_a_kill_and_no_batch_is_half(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    kills = scaled(25, 1_000)
    wreck = kill_writers(tmp_path / "store.db", kills)
    assert len(wreck.acknowledged) >= kills
    assert wreck.lost == set()
    assert wreck.half == set()
    assert len(wreck.stored.keys() - wreck.acknowledged) <= kills, "at most one batch was in flight"
    figure(f"{kills} kills, {len(wreck.acknowledged)} batches acknowledged; 0 lost, 0 half")


@pytest.mark.timeout(600)
def test_control_a_writer_that_commits_one_event_at_a_time_is_caught(tmp_path: Path) -> None:
    assert kill_writers(tmp_path / "store.db", 1_000, "--one-by-one").half
