"""Whoever copies is killed at any moment, and the next goes on: the copy is the store in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Interpreter, ReadFeed, SqliteStore
from eventsrc.moving import ExportReader, both, compare
from tests.faults import scaled
from tests.kits.moved_shop import fill
from tests.processes.dying_copies import main
from tests.processes.forked import Forked


def copy_and_kill(source: Path, target: Path, how: str, kills: int) -> int:
    """Has processes copy, each of which is killed but for the last; answers how often."""
    chance = random.Random(11)
    killed = 0
    while True:
        with Forked(main, str(source), str(target), how) as copier:
            line = copier.stdout.readline()
            if killed < kills and line != b"done\n":
                time.sleep(chance.uniform(0, 0.004))
                os.kill(copier.pid, signal.SIGKILL)
                killed += b"done\n" not in copier.stdout.readall()
                continue
            rest = copier.stdout.readall()
            assert (line + rest).endswith(b"done\n"), rest
            return killed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.db"
    with SqliteStore(path, durability="process") as store:
        fill(store, 250)
    return path


@pytest.mark.parametrize("how", ["copy", "export"])
def test_a_copy_that_is_killed_anywhere_goes_on(source: Path, tmp_path: Path, how: str) -> None:
    target = tmp_path / "target"
    assert copy_and_kill(source, target, how, scaled(6)) >= 3
    opener: Any = ExportReader if how == "export" else SqliteStore
    with SqliteStore(source) as store, opener(target) as opened:
        copied: Interpreter[Any] = opened
        assert both(store, copied).run(compare(whole=True)) is None


def test_control_events_that_are_appended_anew_are_doubled(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for _ in range(20):
        copy_and_kill(source, target, "broken", 6)
        with SqliteStore(source) as store, SqliteStore(target) as copied:
            if copied.run(ReadFeed()).end.position > store.run(ReadFeed()).end.position:
                return
        target.unlink()
        Path(f"{target}.count").unlink()
    pytest.fail("no kill has doubled an event")
