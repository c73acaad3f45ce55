"""E-K9-S: the process that writes to a SQLite store is killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from eventsrc import START, ReadFeed, SqliteStore
from tests.docs.pages import ROOT
from tests.faults import scaled
from tests.faults.events import CODEC, Tick


@attrs.define
class Wreck:
    """What was found after the kills."""

    acknowledged: set[int] = attrs.field(factory=set[int])
    stored: Counter[int] = attrs.field(factory=Counter[int])
    sizes: dict[int, int] = attrs.field(factory=dict[int, int])

    @property
    def lost(self) -> set[int]:
        return self.acknowledged - self.stored.keys()

    @property
    def half(self) -> set[int]:
        return {batch for batch, count in self.stored.items() if count != self.sizes[batch]}


def kill_writers(path: Path, kills: int, *options: str) -> Wreck:
    """Starts a writer, kills it 0 to 20 ms after its first acknowledgement, and again."""
    chance = random.Random(17)
    wreck = Wreck()
    for seed in range(kills):
        command = [sys.executable, "-m", "tests.faults.writer", str(path), str(seed), *options]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline()]
            time.sleep(chance.uniform(0, 0.02))
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.communicate()[0].splitlines(keepends=True)
        wreck.acknowledged |= {int(line) for line in lines if line.endswith("\n")}
    examine(path, wreck)
    return wreck


def examine(path: Path, wreck: Wreck) -> None:
    """Reads the whole feed: positions dense, versions contiguous, the file sound."""
    versions: Counter[str] = Counter()
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
    wreck = kill_writers(tmp_path / "store.db", scaled(15), "--one-by-one")
    assert wreck.half
