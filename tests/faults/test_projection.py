"""E-PROJ: the process that keeps a view is killed at any moment.

Passed if the view is in the end what a replay gives, row for row: no effect missing and none extra.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventsrc import Append, SqliteStore, SqliteViews, StreamId, synchronise
from eventsrc.view import GetProgress
from tests.docs.pages import ROOT
from tests.faults import scaled
from tests.faults.events import CODEC, Tick
from tests.faults.projector import ticks

EVENTS = min(scaled(4_000), 20_000)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with many events in sixteen streams."""
    path = tmp_path_factory.mktemp("log") / "store.db"
    with SqliteStore(path, CODEC, durability="process") as store:
        for first in range(0, EVENTS, 100):
            batch = tuple(Tick(first + n, n, 100) for n in range(100))
            store.run(Append(StreamId(f"ticks/{first // 100 % 16}"), batch))
    return path


def rows(views: SqliteViews) -> list[tuple[object, ...]]:
    with views.reading() as db:
        return db.execute("SELECT * FROM ticks ORDER BY stream").fetchall()


def replayed(log: Path) -> list[tuple[object, ...]]:
    """What the view is when nothing goes wrong."""
    with SqliteStore(log, CODEC) as store, SqliteViews.temporary([ticks]) as views:
        (store | views).run(synchronise(ticks))
        return rows(views)


def kill_projectors(log: Path, path: Path, kills: int, *options: str) -> tuple[int, int]:
    """Starts a projector and kills it at some moment, again and again; then lets one finish.

    Answers how often it was killed before it was done, and how far the view has come.
    """
    chance = random.Random(23)
    killed = 0
    command = [sys.executable, "-m", "tests.faults.projector", str(log), str(path), *options]
    for _ in range(kills):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as projector:
            assert projector.stdout is not None
            assert projector.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.02))
            os.kill(projector.pid, signal.SIGKILL)
            killed += not projector.communicate()[0]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return killed, int(done.stdout.split()[-1])


@pytest.mark.timeout(600)
def test_a_view_whose_projector_is_killed_again_and_again_is_what_a_replay_gives(
    log: Path, tmp_path: Path
) -> None:
    killed, position = kill_projectors(log, tmp_path / "views.db", min(scaled(12), 50))
    assert killed > 0
    assert position == EVENTS
    with SqliteViews(tmp_path / "views.db") as views:
        assert rows(views) == replayed(log)
        progress = views.run(GetProgress(ticks))
        assert (progress.cursor.position, progress.applied) == (EVENTS, EVENTS)


@pytest.mark.timeout(600)
def test_control_a_view_that_keeps_its_position_apart_is_caught(log: Path, tmp_path: Path) -> None:
    kill_projectors(log, tmp_path / "views.db", min(scaled(12), 50), "--apart")
    with SqliteViews(tmp_path / "views.db") as views:
        assert rows(views) != replayed(log)
